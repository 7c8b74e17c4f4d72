package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"picloud/engine"
)

// TestAnswersAreCounted wants each request told once, by its route and never by
// its path.
func TestAnswersAreCounted(t *testing.T) {
	var mu sync.Mutex
	var got []string
	a, err := New(Config{
		Desk: struct{ engine.Desk }{}, Base: "/beta", Secret: make([]byte, SecretLen),
		Deliveries: func(context.Context, string, string, int64, int) ([]engine.Sending, error) { return nil, nil },
		Answered: func(route string, status int, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if took < 0 {
				t.Errorf("%s took %s", route, took)
			}
			got = append(got, fmt.Sprintf("%s: %d", route, status))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ method, path string }{
		{"GET", "/v1/servers/secret-name"}, {"GET", "/no/such/secret-name"}, {"PATCH", "/beta/pi/servers/secret-name"}, {"GET", "/docs"},
	} {
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), r.method, r.path, http.NoBody))
	}
	want := "GET /v1/servers/{id}: 401\n: 404\n: 405\nGET /docs: 200"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("told\n%s\nwant\n%s", text, want)
	}
}
