package api_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"picloud/engine"
)

// FuzzBody sends any body to what takes one. Whatever comes, the answer is one
// that the API has for it, and the desk is asked for nothing that it must not be.
func FuzzBody(f *testing.F) {
	e, full := emptyDesk(f)
	var t *testing.T
	desk := &smallDesk{Desk: e, serve: func(cmd engine.ServerCommand) (engine.ServerResult, error) {
		if cmd.DiskGB < 0 || cmd.DiskGB%10 != 0 || cmd.DiskGB > 16000 || len(cmd.Keys) > 100 || cmd.Wish.Model < 0 || cmd.Wish.Memory < 0 || len(cmd.Image) > 128*4 {
			t.Errorf("asked for %+v", cmd)
		}
		for _, k := range cmd.Keys {
			if _, err := engine.ParseOperatorKey(k); err != nil {
				t.Errorf("key %q: %v", k, err)
			}
		}
		return engine.ServerResult{Server: "x", Job: 1}, nil
	}}
	h := start(f, desk, nil, nil).api.Handler()
	targets := []struct{ method, path string }{
		{"POST", "/beta/pi/servers/x"}, {"PUT", "/beta/pi/servers/x/ssh-key"}, {"PUT", "/beta/pi/servers/x/power"},
		{"POST", "/v1/servers"}, {"PUT", "/v1/servers/x/keys"}, {"POST", "/v1/servers/x/resize"}, {"POST", "/v1/servers/x/reimage"},
	}
	for i, body := range []string{
		`{"disk":10,"model":4,"memory":1024,"os_image":"x","ssh_key":"` + publicKey("a") + `\r\n","wait_for_dns":false}`, `{"ssh_key":""}`, `{"power":true}`,
		`{"id":"x","account":"y","ssh_keys":["` + publicKey("a") + `"]}`, `{"ssh_keys":[]}`, `{"disk":20}`, `{"image":null}`, `{"disk":1e1}`, `{"disk":10.0}`, `{"Disk":-0}`,
	} {
		f.Add(uint8(i), body)
	}
	answers := []int{200, 202, 400, 403, 408, 413, 415, 422}
	f.Fuzz(func(now *testing.T, which uint8, body string) {
		t = now
		to := targets[int(which)%len(targets)]
		r := httptest.NewRequest(to.method, "http://api.test"+to.path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth(full.id, full.secret)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !slices.Contains(answers, w.Code) || w.Body.Len() > 4<<10 && w.Code != http.StatusOK || w.Code >= 400 && strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s %s %q: %d %s", to.method, to.path, body, w.Code, w.Body)
		}
	})
}
