package daemon_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
)

// How servers are ordered and what they cost changes while the rack runs; where
// the API is does not, and is told.
func TestReloadOrders(t *testing.T) {
	d, first := simulated(t, 1)
	cfg := *first
	cfg.Orders.Tries, cfg.Orders.Disk, cfg.Orders.Pool = 2, 85, netip.MustParsePrefix("2001:db8:7::/64")
	cfg.Plans = []config.Plan{{Model: 4, Month: 575}}
	if err := d.Reload(t.Context(), &cfg); err != nil {
		t.Fatal(err)
	}
	rules := d.Engine().Rules()
	if price, ok := rules.Price(engine.Spec{Model: 4, Memory: 1024}, 20); !ok || price != 575+2*85 || rules.Tries != 2 || rules.Pool != cfg.Orders.Pool {
		t.Errorf("price %s (%t), rules %+v", price, ok, rules)
	}
	next := cfg
	next.Plans = []config.Plan{{Model: 4, Month: 600}}
	next.API.Domain = "pi.example.org"
	if err := d.Reload(t.Context(), &next); !errors.Is(err, daemon.ErrRestart) || !strings.HasPrefix(err.Error(), "[api]: ") {
		t.Errorf("another API: %v", err)
	}
	if price, _ := d.Engine().Rules().Price(engine.Spec{Model: 4}, 0); price != 600 {
		t.Errorf("the rest was not taken: %s", price)
	}
}
