package api

import (
	"net/http"
	"time"
)

// count has a request answered, and tells Config.Answered how.
func (a *API) count(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Answered == nil {
		a.handle(w, r)
		return
	}
	told, began := &told{ResponseWriter: w, status: http.StatusOK}, time.Now()
	// The mux writes the route into the request. A request whose client has gone
	// panics, and is counted too.
	defer func() { a.cfg.Answered(r.Pattern, told.status, time.Since(began)) }()
	a.handle(told, r)
}

// told takes note of the status of an answer.
type told struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader is http.ResponseWriter's. Informational headers are no answer.
func (t *told) WriteHeader(status int) {
	if !t.begun && status >= http.StatusOK {
		t.status, t.begun = status, true
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's: the status is 200 if none was told.
func (t *told) Write(b []byte) (int, error) {
	t.begun = true
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *told) Unwrap() http.ResponseWriter { return t.ResponseWriter }
