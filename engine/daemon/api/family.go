package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// family is a part of the API whose errors look alike.
type family struct {
	api    *API
	group  *huma.Group
	errors *errorForm
}

// errorForm is how a family tells errors.
type errorForm struct {
	contentType string
	body        func(*failure) any
	statuses    func(statusRow) int
	status      func(int) int // what it makes of a status of huma's
}

// hostedError is an error of the hosted-Pi API.
type hostedError struct {
	Error string `json:"error" doc:"What is wrong, in one sentence." example:"No such server"`
}

// problem is an error of picloud's own API (RFC 9457).
type problem struct {
	Title  string `json:"title" doc:"The status in words." example:"Not Found"`
	Status int    `json:"status" doc:"The HTTP status." example:"404"`
	Detail string `json:"detail" doc:"What is wrong, in one sentence." example:"No such server"`
}

var hostedErrors = &errorForm{
	contentType: "application/json",
	body:        func(f *failure) any { return &hostedError{f.sentence} },
	statuses:    func(r statusRow) int { return r.hosted },
	// The hosted-Pi API has 400 for every value that is wrong.
	status: func(s int) int {
		if s == http.StatusUnprocessableEntity {
			return http.StatusBadRequest
		}
		return s
	},
}

var ownErrors = &errorForm{
	contentType: "application/problem+json",
	body: func(f *failure) any {
		return &problem{Title: http.StatusText(f.status), Status: f.status, Detail: f.sentence}
	},
	statuses: func(r statusRow) int { return r.own },
	status:   func(s int) int { return s },
}

func (a *API) newFamily(root huma.API, form *errorForm) *family {
	f := &family{api: a, group: huma.NewGroup(root), errors: form}
	f.group.UseMiddleware(f.restate, f.guard)
	f.group.UseTransformer(f.transform)
	return f
}

// restate gives huma's statuses the family's meaning.
func (f *family) restate(ctx huma.Context, next func(huma.Context)) {
	next(&restated{ctx, f.errors.status})
}

// underlying has another name than its method Context.
type underlying huma.Context

type restated struct {
	underlying
	status func(int) int
}

// SetStatus is huma.Context's.
func (r *restated) SetStatus(code int) { r.underlying.SetStatus(r.status(code)) }

// Unwrap lets humago find the request.
func (r *restated) Unwrap() huma.Context { return r.underlying }

// transform gives errors the family's form, huma's own too.
func (f *family) transform(ctx huma.Context, status string, v any) (any, error) {
	fail, ok := v.(*failure)
	if m, is := v.(*huma.ErrorModel); is {
		fail, ok = &failure{status: f.errors.status(m.Status), sentence: sentenceOf(m)}, true
	}
	if !ok {
		return v, nil
	}
	ctx.SetHeader("Content-Type", f.errors.contentType)
	return f.errors.body(fail), nil
}

// sentenceOf tells the first of what huma found wrong, without the value.
func sentenceOf(m *huma.ErrorModel) string {
	if len(m.Errors) == 0 || m.Errors[0] == nil {
		return sentence(m.Detail)
	}
	first := m.Errors[0]
	where := first.Location
	for _, part := range []string{"body.", "path.", "query.", "header."} {
		where = strings.TrimPrefix(where, part)
	}
	if where == "" {
		return sentence(first.Message)
	}
	return sentence(where + ": " + first.Message)
}

// sentence makes a text one line that starts with a capital and is not long.
func sentence(s string) string {
	const longest = 300
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return ' '
		}
		return c
	}, s)
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest-1]) + "…"
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// failure is an error as it is answered.
type failure struct {
	status   int
	sentence string
	headers  http.Header
}

// Error is error's.
func (f *failure) Error() string { return f.sentence }

// GetStatus is huma.StatusError's.
func (f *failure) GetStatus() int { return f.status }

// GetHeaders is huma.HeadersError's.
func (f *failure) GetHeaders() http.Header { return f.headers }

// fail makes a failure of a status and a sentence.
func fail(status int, text string) *failure {
	return &failure{status: status, sentence: sentence(text)}
}

func (f *failure) with(name, value string) *failure {
	if f.headers == nil {
		f.headers = http.Header{}
	}
	f.headers.Set(name, value)
	return f
}

// failure finds what to answer for an error. One that no client can do anything
// about is logged whole and told in no detail.
func (f *family) failure(c *caller, operation string, err error) *failure {
	var made *failure
	if errors.As(err, &made) {
		return made
	}
	for _, row := range statusTable {
		if errors.Is(err, row.err) {
			made = fail(f.errors.statuses(row), cmp.Or(row.say, err.Error()))
			if made.status == http.StatusServiceUnavailable {
				made = made.with("Retry-After", "5")
			}
			return made
		}
	}
	if errors.Is(err, context.Canceled) {
		return fail(http.StatusServiceUnavailable, "The service is being stopped, or the client has gone")
	}
	f.api.log.Error("API operation failed", "operation", operation, "account", c.Account, "key", c.Key, "err", err)
	return fail(http.StatusInternalServerError, "Something went wrong here; it is logged")
}

// write answers a failure where no handler does.
func (form *errorForm) write(w http.ResponseWriter, fail *failure) {
	for name, values := range fail.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", form.contentType)
	w.WriteHeader(fail.status)
	_ = huma.DefaultJSONFormat.Marshal(w, form.body(fail)) // else the client has gone
}

// describe fills in what the document says of every operation: whom it wants,
// and the errors that follow from its input.
func (f *family) describe(op *huma.Operation, n need, input reflect.Type) {
	statuses := append([]int{http.StatusInternalServerError}, op.Errors...)
	op.Errors = nil
	if n != needNobody {
		op.Security = []map[string][]string{{"token": {}}, {"key": {}}}
		statuses = append(statuses, http.StatusUnauthorized, http.StatusTooManyRequests)
	}
	if n == needWrite || n == needStaff {
		statuses = append(statuses, http.StatusForbidden, http.StatusServiceUnavailable)
	}
	if strings.Contains(op.Path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if input.NumField() > 0 {
		statuses = append(statuses, http.StatusUnprocessableEntity)
	}
	if _, ok := input.FieldByName("Body"); ok {
		statuses = append(statuses, bodyErrors...)
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	schema := f.group.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(f.errors.body(&failure{})), true, "")
	for _, s := range statuses {
		op.Responses[strconv.Itoa(f.errors.status(s))] = &huma.Response{
			Description: http.StatusText(f.errors.status(s)),
			Content:     map[string]*huma.MediaType{f.errors.contentType: {Schema: schema}},
		}
	}
}

// bodyErrors are what a body may be refused with before its members are looked
// at.
var bodyErrors = []int{
	http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
}
