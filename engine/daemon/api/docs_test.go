package api_test

import (
	"html/template"
	"net/http"
	"strings"
	"testing"
)

// The documentation is readable without a script or another site, and tells
// every operation.
func TestDocumentation(t *testing.T) {
	c := newClient(t, credentials{})
	answer := c.want(http.StatusOK, "GET", "/", nil)
	if string(answer.body) != string(c.want(http.StatusOK, "GET", "/docs", nil).body) {
		t.Error("/ and /docs differ")
	}
	page := string(answer.body)
	for _, no := range []string{"<script", "src=", "//unpkg", "http://", "https://cdn", "@import", "ErrorModel"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %s", no)
		}
	}
	doc := c.want(http.StatusOK, "GET", "/openapi.json", nil).object()
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi: %v", doc["openapi"])
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, no := range []string{"ErrorModel", "ErrorDetail"} {
		if schemas[no] != nil {
			t.Errorf("the document has %s", no)
		}
	}
	for p, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			o := op.(map[string]any)
			if !strings.Contains(page, "<code>"+p+"</code>") || o["summary"] == nil || !strings.Contains(page, template.HTMLEscapeString(o["summary"].(string))) {
				t.Errorf("the page has no %s %s", method, p)
			}
		}
	}
}

func TestSafetyHeaders(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	for _, path := range []string{"/", "/openapi.json", "/v1/account", "/beta/pi/models", "/beta/nothing", "/v1/servers/x%2Fy", "/login"} {
		r := c.ask("GET", path, nil, "Origin", "https://evil.example")
		if r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Cache-Control") != "no-store" ||
			!strings.HasPrefix(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, r.header)
		}
		for name := range r.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", path, name)
			}
		}
	}
}
