package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"picloud/engine"
)

// What the desk says, in both families.
func TestErrors(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	var says error
	desk := &smallDesk{serve: func(engine.ServerCommand) (engine.ServerResult, error) {
		return engine.ServerResult{}, fmt.Errorf("order x: %w", says)
	}}
	s := start(t, desk, nil, nil)
	c := s.client(t, full)
	for _, tc := range []struct {
		err         error
		hosted, own int
		sentence    string
	}{
		{fmt.Errorf("%w: a disk of 15 GB", engine.ErrBadOrder), 400, 422, "Order x: bad order: a disk of 15 GB"},
		{engine.ErrServerTaken, 409, 409, "The name is taken"},
		{engine.ErrNoneFree, 503, 503, "Order x: no such Pi is free"},
		{engine.ErrNoSuchServer, 404, 404, "No such server"},
		{engine.ErrProvisioning, 409, 409, "The server is not provisioned yet"},
		{engine.ErrRebooting, 409, 409, "The server is already rebooting"},
		{engine.ErrOnceDiffers, 409, 422, "Order x: the same idempotency key came with another request"},
		{fmt.Errorf("%w: job 5 is not over", engine.ErrNotNow), 409, 409, "Order x: not now: job 5 is not over"},
		{engine.ErrTooMany, 403, 403, "Order x: too many"},
		{engine.ErrNotAllowed, 403, 403, "Order x: your role may not"},
		{engine.ErrAccountClosed, 403, 403, "The account is closed"},
		{engine.ErrNoSuchAccount, 400, 422, "No such account"},
		{engine.ErrNotWritten, 503, 503, "It could not be written down, so nothing is done"},
		{engine.ErrStopped, 503, 503, "The service is being stopped"},
		{context.Canceled, 503, 503, "The service is being stopped, or the client has gone"},
		{errors.New("disk on fire at /srv/secret\nline"), 500, 500, "Something went wrong here; it is logged"},
	} {
		says = tc.err
		for path, want := range map[string]int{"/beta/pi/servers/x/reboot": tc.hosted, "/v1/servers/x/cycle": tc.own} {
			r := c.ask("POST", path, nil)
			if r.status != want || r.sentence() != tc.sentence {
				t.Errorf("%v at %s: %d %s, want %d", tc.err, path, r.status, r.body, want)
			}
			if (r.header.Get("Retry-After") != "") != (want == http.StatusServiceUnavailable && !errors.Is(tc.err, context.Canceled)) {
				t.Errorf("%v at %s: Retry-After %q", tc.err, path, r.header.Get("Retry-After"))
			}
		}
	}
	if log := s.log.String(); strings.Count(log, "disk on fire") != 2 || strings.Contains(log, "name is taken") {
		t.Errorf("the log: %s", log)
	}
}

// Acts that the demo's rack cannot do, by what the desk is asked for.
func TestActs(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	var asked engine.ServerCommand
	desk := &smallDesk{serve: func(cmd engine.ServerCommand) (engine.ServerResult, error) {
		asked = cmd
		return engine.ServerResult{Server: cmd.Server, Job: 12}, nil
	}}
	c := start(t, desk, nil, nil).client(t, full)
	for _, tc := range []struct {
		path, body string
		want       engine.ServerCommand
	}{
		{"resize", `{"disk":40}`, engine.ServerCommand{Verb: engine.ServerResize, DiskGB: 40}},
		{"rescue", "", engine.ServerCommand{Verb: engine.ServerRescue}},
		{"unrescue", "", engine.ServerCommand{Verb: engine.ServerUnrescue}},
		{"reimage", `{"image":"other"}`, engine.ServerCommand{Verb: engine.ServerReimage, Image: "other"}},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		r := c.want(http.StatusAccepted, "POST", "/v1/servers/web/"+tc.path, body, "Idempotency-Key", "k")
		if r.header.Get("Location") != c.base+"/v1/tasks/12" || r.str("server") != "web" || r.num("task") != 12 {
			t.Errorf("%s: %s %s", tc.path, r.header, r.body)
		}
		if asked.Verb != tc.want.Verb || asked.DiskGB != tc.want.DiskGB || asked.Image != tc.want.Image || asked.Server != "web" || asked.Typed != "web" ||
			asked.Once.Key != "k" || len(asked.Once.Digest) != 64 || asked.Actor.Key != full.id || asked.Actor.Source != "api" || !asked.Actor.From.Addr().IsLoopback() {
			t.Errorf("%s: asked for %+v", tc.path, asked)
		}
	}
}

// A handler that panics is one request's failure, and is logged.
func TestPanic(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	s := start(t, &smallDesk{serve: func(engine.ServerCommand) (engine.ServerResult, error) { panic("oh no") }}, nil, nil)
	c := s.client(t, full)
	if r := c.want(http.StatusInternalServerError, "POST", "/beta/pi/servers", nil); strings.Contains(string(r.body), "oh no") {
		t.Errorf("it tells: %s", r.body)
	}
	c.want(http.StatusInternalServerError, "POST", "/v1/servers", nil)
	if log := s.log.String(); strings.Count(log, `"panic":"oh no"`) != 2 || !strings.Contains(log, "goroutine") {
		t.Errorf("the log: %s", log)
	}
}
