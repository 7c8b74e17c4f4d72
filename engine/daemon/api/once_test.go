package api_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

// An order that is sent twice, or by many at once, is one; another request under
// its name is refused.
func TestIdempotentOrders(t *testing.T) {
	for _, f := range []struct {
		name, named, unnamed, differs string
		status                        int
	}{
		{"hosted", "/beta/pi/servers/once", "/beta/pi/servers", `{"disk":20}`, http.StatusConflict},
		{"own", "", "/v1/servers", `{"disk":20}`, http.StatusUnprocessableEntity},
	} {
		t.Run(f.name, func(t *testing.T) {
			_, full, _ := newAccount(t, 0)
			c := newClient(t, full)
			first := c.want(http.StatusAccepted, "POST", f.unnamed, `{"disk":10}`, "Idempotency-Key", "order-1")
			var again sync.WaitGroup
			for range 8 {
				again.Go(func() {
					// The same in other words: spaces do not count.
					r := c.ask("POST", f.unnamed, ` { "disk" : 10 } `, "Idempotency-Key", "order-1")
					if r.status != first.status || r.header.Get("Location") != first.header.Get("Location") || string(r.body) != string(first.body) {
						t.Errorf("again: %d %s %s", r.status, r.header.Get("Location"), r.body)
					}
				})
			}
			again.Wait()
			if servers := c.want(http.StatusOK, "GET", "/beta/pi/servers", nil).object()["servers"].(map[string]any); len(servers) != 1 {
				t.Errorf("servers: %v", servers)
			}
			c.want(f.status, "POST", f.unnamed, f.differs, "Idempotency-Key", "order-1")
			if f.named != "" {
				c.want(f.status, "POST", f.named, `{"disk":10}`, "Idempotency-Key", "order-1")
			}
			// Another customer's name for a request is another's.
			_, others, _ := newAccount(t, 0)
			r := newClient(t, others).want(http.StatusAccepted, "POST", f.unnamed, `{"disk":10}`, "Idempotency-Key", "order-1")
			if r.header.Get("Location") == first.header.Get("Location") {
				t.Error("two customers have one order")
			}
		})
	}
}

func TestIdempotentActs(t *testing.T) {
	t.Parallel()
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	c.order("/beta/pi/servers/once-act", nil)
	c.settle("once-act")
	first := c.want(http.StatusAccepted, "POST", "/v1/servers/once-act/cycle", nil, "Idempotency-Key", "cycle-1")
	again := c.want(http.StatusAccepted, "POST", "/v1/servers/once-act/cycle", nil, "Idempotency-Key", "cycle-1")
	if again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	c.want(http.StatusUnprocessableEntity, "POST", "/v1/servers/once-act/undo", nil, "Idempotency-Key", "cycle-1")
	c.done(first)
	c.settle("once-act")
	c.want(http.StatusOK, "POST", "/beta/pi/servers/once-act/reboot", nil, "Idempotency-Key", "cycle-2")
	c.want(http.StatusOK, "POST", "/beta/pi/servers/once-act/reboot", nil, "Idempotency-Key", "cycle-2")
	c.want(http.StatusConflict, "POST", "/beta/pi/servers/once-act/reboot", nil)
	c.want(http.StatusConflict, "POST", "/beta/pi/servers", nil, "Idempotency-Key", "cycle-2")
	for _, name := range []string{"with space", strings.Repeat("x", 200), "é"} {
		r := c.ask("POST", "/v1/servers", nil, "Idempotency-Key", name)
		if r.status != http.StatusUnprocessableEntity {
			t.Errorf("%q: %d %s", name, r.status, r.body)
		}
	}
}
