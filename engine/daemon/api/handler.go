package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
)

// safety are headers of every answer. Answers are for programs, hold what is one
// account's, and are never shown in another site's page; the documentation has
// its style in it and no script.
var safety = map[string]string{
	"Cache-Control":           "no-store",
	"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Referrer-Policy":         "no-referrer",
	"X-Content-Type-Options":  "nosniff",
	"X-Frame-Options":         "DENY",
}

// Handler answers every request of the API.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.count) }

func (a *API) handle(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range safety {
		h.Set(name, value)
	}
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	defer a.recover(w, r)
	if f := a.misses(r); f != nil {
		a.form(r).write(w, f)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// misses says why there is no operation for a request, nil = there is one. What
// the mux would answer itself, a redirect among it, no client of this API knows.
func (a *API) misses(r *http.Request) *failure {
	if r.URL.Path == "" || path.Clean(r.URL.Path) != r.URL.Path {
		return fail(http.StatusNotFound, "No such path")
	}
	inner, pattern := a.mux.Handler(r)
	if pattern != "" {
		return nil
	}
	told := &answer{header: http.Header{}}
	inner.ServeHTTP(told, r)
	if told.status != http.StatusMethodNotAllowed {
		return fail(http.StatusNotFound, "No such path")
	}
	allow := told.header.Get("Allow")
	return fail(http.StatusMethodNotAllowed, fmt.Sprintf("This path is for %s", allow)).with("Allow", allow)
}

// answer takes note of what a handler says, and drops its body.
type answer struct {
	header http.Header
	status int
}

// Header is http.ResponseWriter's.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is http.ResponseWriter's.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write is http.ResponseWriter's.
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }

// form is how errors look where there is no operation to tell.
func (a *API) form(r *http.Request) *errorForm {
	if r.URL.Path == "/login" || strings.HasPrefix(r.URL.Path, a.cfg.Base+"/") {
		return hostedErrors
	}
	return ownErrors
}

// recover makes a mistake of ours one request's.
func (a *API) recover(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	err, _ := cause.(error)
	if broken := (net.Error)(nil); errors.Is(err, http.ErrAbortHandler) || errors.As(err, &broken) || r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has gone, or takes nothing
	}
	a.log.Error("API request panicked", "method", r.Method, "path", r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
	a.form(r).write(w, fail(http.StatusInternalServerError, "Something went wrong here; it is logged"))
}
