package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract holds every answer that a test of this package gets against the
// OpenAPI document: its operation, its status, its content type and its body.
var contract = &document{schemas: map[string]*jsonschema.Schema{}, seen: map[string]map[int]bool{}}

type document struct {
	once sync.Once
	err  error
	root map[string]any
	mux  *http.ServeMux // its paths

	mu      sync.Mutex
	build   *jsonschema.Compiler
	schemas map[string]*jsonschema.Schema // by place in the document
	seen    map[string]map[int]bool       // statuses of each "GET /path"
}

// over is a transport whose answers are checked.
func (d *document) over(t testing.TB, next http.RoundTripper) http.RoundTripper {
	d.once.Do(func() { d.err = d.fetch() })
	if d.err != nil {
		t.Fatal("the document: ", d.err)
	}
	return checked{t, d, next}
}

func (d *document) fetch() error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, rack().APIURL()+"/openapi.json", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	root, err := jsonschema.UnmarshalJSON(res.Body)
	if err != nil {
		return err
	}
	d.root, d.mux, d.build = root.(map[string]any), http.NewServeMux(), jsonschema.NewCompiler()
	d.build.AssertFormat()
	for p, item := range d.paths() {
		for method := range item {
			pattern := strings.ToUpper(method) + " " + p
			if p == "/" {
				pattern += "{$}"
			}
			d.mux.Handle(pattern, http.NotFoundHandler())
		}
	}
	return d.build.AddResource("openapi.json", root)
}

func (d *document) paths() map[string]map[string]any {
	paths := map[string]map[string]any{}
	for p, item := range d.root["paths"].(map[string]any) {
		paths[p] = item.(map[string]any)
	}
	return paths
}

type checked struct {
	t    testing.TB
	doc  *document
	next http.RoundTripper
}

// RoundTrip is http.RoundTripper's.
func (c checked) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(req)
	if err != nil {
		return res, err
	}
	var body []byte
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") { // which has no end
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return nil, err
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := c.doc.check(req, res, body); err != nil {
		c.t.Errorf("%s %s answers what the document does not say: %d %s: %v", req.Method, req.URL.Path, res.StatusCode, clip(body), err)
	}
	return res, nil
}

func clip(b []byte) string {
	if len(b) > 400 {
		return string(b[:400]) + "…"
	}
	return string(b)
}

func (d *document) check(req *http.Request, res *http.Response, body []byte) error {
	_, pattern := d.mux.Handler(req)
	if pattern == "" || path.Clean(req.URL.Path) != req.URL.Path {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			return errors.New("no such operation")
		}
		return nil
	}
	d.note(pattern, res.StatusCode)
	method, at, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
	responses := d.paths()[at][strings.ToLower(method)].(map[string]any)["responses"].(map[string]any)
	told, ok := responses[fmt.Sprint(res.StatusCode)].(map[string]any)
	if !ok {
		return errors.New("no such status")
	}
	content, ok := told["content"].(map[string]any)
	if !ok {
		if res.StatusCode != http.StatusSeeOther && len(body) > 0 {
			return errors.New("no body is described")
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	media, ok := content[kind].(map[string]any)
	if err != nil || !ok {
		return fmt.Errorf("content type %q: %w", res.Header.Get("Content-Type"), err)
	}
	if media["schema"] == nil {
		return nil
	}
	return d.validate(strings.Join([]string{"", "paths", at, strings.ToLower(method), "responses", fmt.Sprint(res.StatusCode), "content", kind, "schema"}, "\x00"), body)
}

// validate holds a body against the schema at a place, its parts apart by NUL.
func (d *document) validate(place string, body []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema := d.schemas[place]
	if schema == nil {
		pointer := strings.NewReplacer("~", "~0", "/", "~1").Replace(place)
		pointer = strings.ReplaceAll(pointer, "\x00", "/")
		pointer = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer)
		var err error
		if schema, err = d.build.Compile("openapi.json#" + pointer); err != nil {
			return err
		}
		d.schemas[place] = schema
	}
	if strings.Contains(place, "\x00text/") {
		return schema.Validate(string(body))
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func (d *document) note(pattern string, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[pattern] == nil {
		d.seen[pattern] = map[int]bool{}
	}
	d.seen[pattern][status] = true
}

// uncovered fails if an operation of the document was never seen to do what it
// is for.
func (d *document) uncovered() error {
	var missing []string
	for p, item := range d.paths() {
		for method, op := range item {
			pattern := strings.ToUpper(method) + " " + p
			if p == "/" {
				pattern += "{$}"
			}
			if !d.did(pattern, op.(map[string]any)) {
				missing = append(missing, pattern)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("no test has these operations do what they are for:\n%s", strings.Join(missing, "\n"))
}

func (d *document) did(pattern string, op map[string]any) bool {
	for status := range op["responses"].(map[string]any) {
		var n int
		if _, err := fmt.Sscan(status, &n); err == nil && n < 400 && d.seen[pattern][n] {
			return true
		}
	}
	return false
}
