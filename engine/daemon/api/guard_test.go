package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"picloud/engine"
)

// whoMay is who may use each operation: everybody, any key, keys that may act,
// or staff's. What is not here is for keys that may act.
var whoMay = map[string]string{
	"login": "all", "hosted-login": "all", "home": "all", "docs": "all", "openapi": "all",
	"hosted-models": "any", "hosted-images": "any", "hosted-list": "any", "hosted-show": "any", "hosted-keys": "any", "hosted-queue": "any",
	"servers": "any", "server": "any", "boots": "any", "task": "any", "account": "any", "prices": "any", "usage": "any",
	"events": "any", "webhooks": "any", "webhook": "any", "deliveries": "any",
	"move": "staff",
}

// bodies are what an operation is sent.
var bodies = map[string]string{
	"hosted-set-keys": `{"ssh_key":""}`, "hosted-power": `{"power":true}`, "resize": `{"disk":20}`, "keys": `{"ssh_keys":[]}`,
	"add-webhook": `{"url":"https://example.org/hook"}`, "hosted-order-named": `{}`, "hosted-order": `{"model":99}`, "order": `{"model":99}`,
}

// Every operation of the document, by everybody who may ask for it: nobody, who
// makes a token up, a key that may only read, one of the staff who may only look,
// another account's and the own.
func TestEveryOperationIsGuarded(t *testing.T) {
	account, own, reader := newAccount(t, 0)
	victim := newKey(t, engine.APIKey{Account: account}) // whose secret is guessed, and who has to wait for that
	_, other, _ := newAccount(t, 0)
	viewer := newStaff(t, engine.RoleViewer)
	c := newClient(t, own).login()
	at := c.order("/beta/pi/servers/guarded", nil)
	if !strings.HasSuffix(at, "/guarded") {
		t.Fatal(at)
	}
	c.settle("guarded")
	s, _ := rack().Engine().Server("", "guarded")
	hook := c.want(http.StatusCreated, "POST", "/v1/webhooks", bodies["add-webhook"]).str("id")
	fill := strings.NewReplacer("{id}", "guarded", "{task}", fmt.Sprint(s.Task), "{webhook}", hook, "{model}", "4")

	ops := operations(t, c)
	slices.SortFunc(ops, func(a, b operation) int { return b.rank() - a.rank() })
	from := 0
	ask := func(who string, key credentials, token string, op operation) (int, string) {
		from++
		return op.ask(t, c.base, fill.Replace(op.path), key, token, fmt.Sprintf("2001:db8:0:%x::1", from))
	}
	for _, op := range ops {
		may := whoMay[op.id]
		if status, body := ask("nobody", credentials{}, "", op); (status == http.StatusUnauthorized) != (may != "all") && !strings.HasSuffix(op.id, "login") {
			t.Errorf("%s by nobody: %d %s", op.id, status, body)
		}
		if may == "all" {
			continue
		}
		for _, token := range []string{"x", other.id + ".t0.AAAA", strings.Repeat("a", 300), own.id + "." + own.secret} {
			if status, body := ask("a made-up token", credentials{}, token, op); status != http.StatusUnauthorized {
				t.Errorf("%s by token %.20q: %d %s", op.id, token, status, body)
			}
		}
		if status, body := ask("a wrong secret", credentials{victim.id, other.secret}, "", op); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			t.Errorf("%s by a wrong secret: %d %s", op.id, status, body)
		}
		if status, body := ask("a reader", reader, "", op); (status == http.StatusForbidden) != (may != "any") || may == "any" && status >= 400 {
			t.Errorf("%s by a key that may only read: %d %s", op.id, status, body)
		}
		if status, body := ask("a viewer of the staff", viewer, "", op); (status == http.StatusForbidden) != (may != "any") || may == "any" && status >= 400 {
			t.Errorf("%s by a viewer of the staff: %d %s", op.id, status, body)
		}
		status, body := ask("another account", other, "", op)
		named := strings.Contains(op.path, "{id}") && op.id != "hosted-order-named" || strings.Contains(op.path, "{task}") || strings.Contains(op.path, "{webhook}")
		switch {
		case may == "staff":
			if status != http.StatusForbidden {
				t.Errorf("%s by another account: %d %s", op.id, status, body)
			}
		case named && status != http.StatusNotFound, !named && (status == http.StatusNotFound || strings.Contains(body, "guarded") && op.id != "hosted-order-named"):
			t.Errorf("%s by another account: %d %s", op.id, status, body)
		}
	}
	after, ok := rack().Engine().Server("", "guarded")
	if !ok || after.Job != nil || after.Wanted != s.Wanted || after.Image != s.Image || len(after.Keys) != len(s.Keys) || after.Pi != s.Pi {
		t.Errorf("what others asked for was done: %+v", after)
	}
	for _, op := range ops {
		if op.id == "remove-webhook" || strings.Contains(op.id, "release") {
			continue
		}
		status, body := ask("the owner", own, "", op)
		want := status < 400 || status == http.StatusConflict
		switch op.id {
		case "move":
			want = status == http.StatusForbidden
		case "login", "hosted-login":
			want = status == http.StatusBadRequest // no form
		case "order":
			want = status == http.StatusUnprocessableEntity // no such board
		case "hosted-order":
			want = status == http.StatusBadRequest
		}
		if !want {
			t.Errorf("%s by its owner: %d %s", op.id, status, body)
		}
	}
	if names := ownersOf(rack().Engine().Servers("")); names["guarded"] == "" {
		t.Error("it is gone")
	}
	c.settle("guarded")
	c.want(http.StatusNoContent, "DELETE", "/v1/webhooks/"+hook, nil)
	c.want(http.StatusNoContent, "DELETE", "/beta/pi/servers/guarded", nil)
}

func ownersOf(list []engine.ServerView) map[string]string {
	m := map[string]string{}
	for _, s := range list {
		m[s.Name] = s.Account
	}
	return m
}

type operation struct{ id, method, path string }

// rank has what reads go before what acts.
func (o operation) rank() int {
	if o.method == http.MethodGet {
		return 1
	}
	return 0
}

func operations(t *testing.T, c *client) (list []operation) {
	t.Helper()
	paths := c.want(http.StatusOK, "GET", "/openapi.json", nil).object()["paths"].(map[string]any)
	for p, item := range paths {
		for method, op := range item.(map[string]any) {
			o := operation{op.(map[string]any)["operationId"].(string), strings.ToUpper(method), p}
			list = append(list, o)
			if whoMay[o.id] == "" && o.method == http.MethodGet {
				t.Errorf("nothing is said of who may %s", o.id)
			}
		}
	}
	if len(list) < 30 {
		t.Fatalf("%d operations", len(list))
	}
	return list
}

// ask asks for an operation from an address, and reads a stream no further than
// its head.
func (o operation) ask(t *testing.T, base, path string, key credentials, token, from string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var text io.Reader
	if b := bodies[o.id]; b != "" {
		text = strings.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, o.method, base+path, text)
	if err != nil {
		t.Fatal(err)
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Forwarded-For", "203.0.113.9, "+from)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	} else if key.id != "" {
		req.SetBasicAuth(key.id, key.secret)
	}
	client := newClient(t, key)
	res, err := client.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, ""
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// Every route of the mux is in the document, and every operation of the document
// has a route.
func TestTheDocumentIsTheMux(t *testing.T) {
	s := start(t, nil, nil, nil)
	var told []string
	for _, o := range operations(t, s.client(t, credentials{})) {
		pattern := o.method + " " + o.path
		if o.path == "/" {
			pattern += "{$}"
		}
		told = append(told, pattern)
	}
	have := slices.Clone(s.api.Patterns())
	slices.Sort(told)
	slices.Sort(have)
	if !slices.Equal(told, have) {
		t.Errorf("the document has\n%q\nthe mux\n%q", told, have)
	}
}

// Where no operation is, each family says so in its own form.
func TestNoSuchPath(t *testing.T) {
	c := newClient(t, credentials{})
	for _, tc := range []struct {
		method, path string
		status       int
		member       string
	}{
		{"GET", "/beta/pi/nothing", 404, "error"}, {"GET", "/beta/pi/servers/", 404, "error"}, {"GET", "/beta/pi/servers/../models", 404, "error"},
		{"POST", "/beta/pi/servers/%2e%2e%2fx", 404, "error"}, {"POST", "/beta//pi/servers/x", 404, "error"},
		{"PATCH", "/beta/pi/servers/x", 405, "error"}, {"GET", "/login", 405, "error"},
		{"GET", "/v1/nothing", 404, "detail"}, {"PUT", "/v1/servers", 405, "detail"}, {"GET", "/v2/servers", 404, "detail"}, {"DELETE", "/", 405, "detail"},
	} {
		u, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		r := c.ask(tc.method, u.String()+tc.path, nil)
		if said, _ := r.object()[tc.member].(string); r.status != tc.status || said == "" {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, r.status, r.body)
		}
		if allow := r.header.Get("Allow"); (allow != "") != (tc.status == 405) {
			t.Errorf("%s %s: Allow %q", tc.method, tc.path, allow)
		}
	}
}
