package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"picloud/engine"
)

func (c *client) logins(path, id, secret, from, form string) reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+path, strings.NewReader(form))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Forwarded-For", from)
	if id != "" {
		req.SetBasicAuth(id, secret)
	}
	return c.send(req)
}

const grant = "grant_type=client_credentials"

func TestLogin(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	c := newClient(t, credentials{})
	for _, path := range []string{"/login", "/beta/login"} {
		if r := c.logins(path, full.id, full.secret, "192.0.2.1", grant); r.status != http.StatusOK || r.str("access_token") == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, tc := range []struct {
		id, secret, form string
		status           int
	}{
		{"", "", grant, 401}, {full.id, "", grant, 401}, {full.id, full.secret + "x", grant, 401}, {full.secret, full.id, grant, 401},
		{"nobody", full.secret, grant, 401}, {full.id, full.secret, "", 400}, {full.id, full.secret, "grant_type=password", 400},
		{full.id, full.secret, "%zz", 400},
	} {
		r := c.logins("/login", tc.id, tc.secret, "192.0.2.2", tc.form)
		if r.status != tc.status || r.str("error") == "" || (r.header.Get("WWW-Authenticate") != "") != (tc.status == 401) {
			t.Errorf("%q with %q: %d %s %s", tc.id, tc.form, r.status, r.header, r.body)
		}
	}
	if r := c.logins("/login", full.id, full.secret, "192.0.2.3", grant+"&pad="+strings.Repeat("x", 70<<10)); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long form: %d %s", r.status, r.body)
	}
}

// Whoever guesses waits, longer each time, whatever they guess, and is logged
// without what they sent.
func TestGuessing(t *testing.T) {
	account, full, _ := newAccount(t, 0)
	s := start(t, nil, nil, nil)
	c := s.client(t, credentials{})
	guess := "not-the-secret-" + full.secret
	guesser := func(i int) string { return fmt.Sprintf("2001:db8:77::%x", i) } // one network
	status := map[int]int{}
	for i := range 30 {
		status[c.logins("/login", full.id, guess, guesser(i), grant).status]++
	}
	if status[401] < 10 || status[401] > 12 || status[401]+status[429] != 30 {
		t.Errorf("statuses: %v", status)
	}
	r := c.logins("/login", full.id, full.secret, guesser(99), grant)
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
		t.Errorf("the right secret in between: %d %s", r.status, r.body)
	}
	for i := range 15 {
		c.ask("GET", "/v1/account", nil, "Authorization", "Bearer "+guess, "X-Forwarded-For", fmt.Sprintf("2001:db8:78::%x", i))
	}
	if r := c.ask("GET", "/v1/account", nil, "Authorization", "Bearer "+guess, "X-Forwarded-For", "2001:db8:78::1"); r.status != http.StatusTooManyRequests {
		t.Errorf("a made-up token: %d %s", r.status, r.body)
	}
	// A token that is right is not a guess, wherever it comes from.
	other := newKey(t, engine.APIKey{Account: account})
	token := c.logins("/login", other.id, other.secret, "192.0.2.9", grant).str("access_token")
	if r := c.ask("GET", "/v1/account", nil, "Authorization", "Bearer "+token, "X-Forwarded-For", "2001:db8:78::1"); r.status != http.StatusOK {
		t.Errorf("a good token among bad ones: %d %s", r.status, r.body)
	}
	log := s.log.String()
	if strings.Count(log, `"API key refused"`) != status[401] || !strings.Contains(log, `"from":"2001:db8:77::3"`) || !strings.Contains(log, `"key":"`+full.id+`"`) {
		t.Errorf("the log: %s", log)
	}
	for _, secret := range []string{full.secret, other.secret, guess, token} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// A client behind a proxy on this host is told the proxy's URL if the
// configuration has it, else the one that it asked.
func TestAbsoluteURLs(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	desk := &smallDesk{serve: func(engine.ServerCommand) (engine.ServerResult, error) {
		return engine.ServerResult{Server: "x", Job: 4}, nil
	}}
	asked := start(t, desk, nil, nil)
	u, err := url.Parse(asked.url)
	if err != nil {
		t.Fatal(err)
	}
	r := asked.client(t, full).want(http.StatusAccepted, "POST", "http://localhost:"+u.Port()+"/beta/pi/servers", nil, "X-Forwarded-Proto", "https")
	if got := r.header.Get("Location"); got != "https://localhost:"+u.Port()+"/beta/queue/pi/4" {
		t.Errorf("as asked: %q", got)
	}
	set := start(t, desk, func(c *apiConfig) { c.URL = "https://api.example.org/" }, nil)
	if got := set.client(t, full).want(http.StatusAccepted, "POST", "/v1/servers", nil).header.Get("Location"); got != "https://api.example.org/v1/tasks/4" {
		t.Errorf("as configured: %q", got)
	}
}
