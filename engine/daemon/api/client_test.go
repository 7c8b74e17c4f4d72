package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

type credentials struct{ id, secret string }

// client speaks to the API as a customer's program does. What it gets is held
// against the document.
type client struct {
	t     testing.TB
	base  string
	http  *http.Client
	token string
	key   credentials // used by HTTP Basic where there is no token
}

func newClient(t testing.TB, key credentials) *client {
	t.Helper()
	return &client{t: t, base: rack().APIURL(), key: key, http: &http.Client{
		Transport: contract.over(t, http.DefaultTransport),
		// A client that reads the Location itself.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// login gets a token, as clients of hosted Pis do.
func (c *client) login() *client {
	c.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.SetBasicAuth(c.key.id, c.key.secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r := c.send(req)
	if r.status != http.StatusOK || r.str("token_type") != "bearer" || r.num("expires_in") != 300 {
		c.t.Fatalf("login: %d %s", r.status, r.body)
	}
	c.token = r.str("access_token")
	secrets.Store(c.token, "token")
	return c
}

// reply is an answer, read whole.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	http   int // major version
}

// ask sends a request; body is what is sent as JSON, a string as it is, nil none.
func (c *client) ask(method, path string, body any, headers ...string) reply {
	c.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = c.base + path
	}
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		text = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, path, text)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case c.token != "":
		req.Header.Set("Authorization", "Bearer "+c.token)
	case c.key.id != "":
		req.SetBasicAuth(c.key.id, c.key.secret)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return c.send(req)
}

func (c *client) send(req *http.Request) reply {
	c.t.Helper()
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{c.t, res.StatusCode, res.Header, b, res.ProtoMajor}
}

// want asks, and fails the test if the status is another.
func (c *client) want(status int, method, path string, body any, headers ...string) reply {
	c.t.Helper()
	r := c.ask(method, path, body, headers...)
	if r.status != status {
		c.t.Fatalf("%s %s: %d %s, want %d", method, path, r.status, r.body, status)
	}
	return r
}

func (r reply) object() map[string]any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		r.t.Fatalf("%s: %v", r.body, err)
	}
	return v
}

func (r reply) str(name string) string {
	r.t.Helper()
	s, _ := r.object()[name].(string)
	return s
}

func (r reply) num(name string) float64 {
	r.t.Helper()
	n, _ := r.object()[name].(float64)
	return n
}

// sentence is what an error says, in either family's form.
func (r reply) sentence() string {
	r.t.Helper()
	if s := r.str("error"); s != "" {
		return s
	}
	return r.str("detail")
}
