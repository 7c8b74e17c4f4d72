package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"picloud/engine"
)

// What is wrong is refused with one sentence that names it, and nothing is done.
func TestBadOrders(t *testing.T) {
	account, full, _ := newAccount(t, 0)
	c := newClient(t, full).login()
	key := publicKey("a@b")
	for name, tc := range map[string]struct {
		body   string
		status int // in the hosted-Pi API
		say    string
	}{
		"no JSON":             {`{"disk":`, 400, "JSON"},
		"JSON and more":       {`{} {}`, 400, "after top-level value"},
		"a list":              {`[]`, 400, "expected object"},
		"a text":              {`"disk"`, 400, "expected object"},
		"an unknown member":   {`{"disc":10}`, 400, "Disc: unexpected property"},
		"disk as text":        {`{"disk":"10"}`, 400, "Disk: expected integer"},
		"disk 0":              {`{"disk":0}`, 400, "Disk: expected number >= 10"},
		"disk 15":             {`{"disk":15}`, 400, "Disk: expected number to be a multiple of 10"},
		"disk -10":            {`{"disk":-10}`, 400, "Disk: expected number >= 10"},
		"disk 10^12":          {`{"disk":1000000000000}`, 400, "Disk: expected number <= 16000"},
		"disk 1e400":          {`{"disk":1e400}`, 400, "cannot unmarshal"},
		"disk 10.5":           {`{"disk":10.5}`, 400, "Disk: expected integer"},
		"model as text":       {`{"model":"4"}`, 400, "Model: expected integer"},
		"model -3":            {`{"model":-3}`, 400, "Model: expected number >= 1"},
		"a model of another":  {`{"model":2}`, 400, "no board like that"},
		"memory as a list":    {`{"memory":[1024]}`, 400, "Memory: expected integer"},
		"an unknown image":    {`{"os_image":"windows"}`, 400, `no image "windows"`},
		"an image with ../":   {`{"os_image":"../../etc/passwd"}`, 400, "no image"},
		"a long image":        {`{"os_image":"` + strings.Repeat("x", 200) + `"}`, 400, "Os_image: expected length <= 128"},
		"no key":              {`{"ssh_key":"hello"}`, 400, "not an SSH public key"},
		"a key with options":  {`{"ssh_key":"command=\"rm -rf /\" ` + key + `"}`, 400, "not an SSH public key"},
		"a key with an end":   {`{"ssh_key":"` + key + `\u0000 x"}`, 400, "not an SSH public key"},
		"a key that is cut":   {`{"ssh_key":"` + key[:40] + `"}`, 400, "not an SSH public key"},
		"a lone CR":           {`{"ssh_key":"` + key + `\r` + key + `"}`, 400, "not an SSH public key"},
		"a key with a colour": {`{"ssh_key":"` + key + ` \u001b[31m"}`, 400, "not an SSH public key"},
		"DSA":                 {`{"ssh_key":"ssh-dss AAAAB3NzaC1kc3MAAACBAP x"}`, 400, "not an SSH public key"},
		"101 keys":            {`{"ssh_key":"` + manyKeys(101) + `"}`, 400, "more than 100 SSH keys"},
		"wait_for_dns as 1":   {`{"wait_for_dns":1}`, 400, "Wait_for_dns: expected boolean"},
		"deep":                {strings.Repeat(`{"a":`, 12000), 400, "max depth"},
		"64 KiB":              {`{"ssh_key":"` + strings.Repeat(" ", 64<<10) + `"}`, 413, "too large"},
		"10 MB":               {`{"ssh_key":"` + strings.Repeat(" ", 10_000_000) + `"}`, 413, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			c := *c
			c.t = t
			r := c.ask("POST", "/beta/pi/servers", tc.body)
			if r.status != tc.status || !strings.Contains(r.sentence(), tc.say) || strings.ContainsAny(r.sentence(), "\r\n\x1b\x00") || len(r.body) > 1000 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	for _, name := range []string{"Web1", "web.1", "web_1", "-web", "web-", "wéb", "a b", strings.Repeat("a", 64), strings.Repeat("a", 65), "%00", "x%2f..%2fy"} {
		path := "/beta/pi/servers/" + strings.ReplaceAll(name, " ", "%20")
		r := c.ask("POST", path, "{}")
		if r.status != http.StatusBadRequest && r.status != http.StatusNotFound || r.sentence() == "" {
			t.Errorf("name %q: %d %s", name, r.status, r.body)
		}
		body := fmt.Sprintf(`{"id":%q}`, strings.ReplaceAll(name, "%00", "\u0001"))
		if strings.Contains(body, `\x`) {
			continue
		}
		if r := c.ask("POST", "/v1/servers", body); r.status != http.StatusUnprocessableEntity {
			t.Errorf("name %q: %d %s", name, r.status, r.body)
		}
	}
	if r := c.ask("POST", "/v1/servers", map[string]any{"ssh_keys": []string{key + "\n" + publicKey("b")}}); r.status != http.StatusUnprocessableEntity {
		t.Errorf("two keys in one: %d %s", r.status, r.body)
	}
	for kind, status := range map[string]int{"text/plain": 415, "application/x-www-form-urlencoded": 415, "application/xml;a+b": 415, "application/json; charset=utf-8": 400} {
		if r := c.ask("POST", "/beta/pi/servers", `{"disk":5}`, "Content-Type", kind); r.status != status {
			t.Errorf("%s: %d %s", kind, r.status, r.body)
		}
	}
	if list := rack().Engine().Servers(account); len(list) != 0 {
		t.Errorf("servers: %+v", list)
	}
	notices, err := rack().Engine().Notices(t.Context(), account, 0, 10)
	if err != nil || len(notices) != 0 {
		t.Errorf("notices: %+v, %v", notices, err)
	}
}

func manyKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, publicKey(fmt.Sprintf("k%d", i)))
	}
	return strings.Join(keys, `\n`)
}

// Acts with bad input: the server stays as it is.
func TestBadActs(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	served := 0
	c := start(t, &smallDesk{serve: func(engine.ServerCommand) (engine.ServerResult, error) {
		served++
		return engine.ServerResult{}, nil
	}}, nil, nil).client(t, full)
	for _, tc := range []struct{ method, path, body string }{
		{"PUT", "/beta/pi/servers/x/power", `{}`}, {"PUT", "/beta/pi/servers/x/power", `{"power":"on"}`}, {"PUT", "/beta/pi/servers/x/power", `{"power":null}`},
		{"PUT", "/beta/pi/servers/x/power", ``}, {"PUT", "/beta/pi/servers/x/ssh-key", `{}`}, {"PUT", "/beta/pi/servers/x/ssh-key", `{"ssh_key":null}`},
		{"PUT", "/beta/pi/servers/x/ssh-key", `{"ssh_key":"command=\"x\" ` + publicKey("a") + `"}`}, {"PUT", "/v1/servers/x/keys", `{"ssh_keys":"x"}`},
		{"PUT", "/v1/servers/x/keys", `{"ssh_keys":null}`}, {"POST", "/v1/servers/x/resize", `{"disk":15}`}, {"POST", "/v1/servers/x/resize", `{}`},
		{"POST", "/v1/servers/x/reimage", `{"image":7}`}, {"POST", "/v1/servers/x/reimage", `{"imag":"x"}`}, {"POST", "/v1/webhooks", `{"url":""}`},
		{"GET", "/v1/tasks/0", ""}, {"GET", "/v1/tasks/x", ""}, {"GET", "/v1/tasks/99999999999999999999", ""}, {"GET", "/beta/queue/pi/-1", ""},
		{"GET", "/v1/events", ""},
	} {
		var body any
		if tc.body != "" || tc.method == "PUT" {
			body = tc.body
		}
		r := c.ask(tc.method, tc.path, body, "Last-Event-ID", "x")
		if r.status < 400 || r.status >= 500 || r.sentence() == "" {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, r.status, r.body)
		}
	}
	if served != 0 {
		t.Errorf("the desk was asked %d times", served)
	}
}
