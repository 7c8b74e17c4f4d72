package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/hw/link"
)

// fakeLinks are the kernel's tables.
type fakeLinks struct {
	routes   map[netip.Addr]string
	gateways map[wireGateway]bool
	err      error
	calls    int
}

func (f *fakeLinks) SetRoute(r link.Route) error {
	if f.err == nil {
		f.routes[r.Addr] = r.Interface
	}
	return f.err
}

func (f *fakeLinks) RemoveRoute(r link.Route) error {
	if f.routes[r.Addr] == r.Interface {
		delete(f.routes, r.Addr)
	}
	return f.err
}

func (f *fakeLinks) Routes() (list []link.Route, err error) {
	f.calls++
	for a, i := range f.routes {
		list = append(list, link.Route{Addr: a, Interface: i})
	}
	return list, nil
}

func (f *fakeLinks) SetGateway(name string, a netip.Addr) error {
	f.gateways[wireGateway{name, a}] = true
	return nil
}

func (f *fakeLinks) RemoveGateway(name string, a netip.Addr) error {
	delete(f.gateways, wireGateway{name, a})
	return nil
}

func (f *fakeLinks) Close() {}

func TestAddressesFollowServers(t *testing.T) {
	a1, a2, old := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::9")
	gw := netip.MustParseAddr("fe80::1")
	links := &fakeLinks{routes: map[netip.Addr]string{old: "eth0.1", a1: "eth0.3"}, gateways: map[wireGateway]bool{}}
	var log bytes.Buffer
	segments := &routes{}
	segments.table.Store(&routeTable{loop: map[string]bool{"lo-1": true}})
	a := newAddresses(segments, slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	a.now, a.links = func() time.Time { return now }, links
	servers := map[string]engine.PiView{
		"one":   {Public: netip.PrefixFrom(a1, 64), Gateway: gw},
		"two":   {Public: netip.PrefixFrom(a2, 64), Gateway: netip.MustParseAddr("2001:db8::ff")},
		"plain": {},
	}
	on := func(names ...string) *engine.Snapshot {
		s := &engine.Snapshot{}
		for i, n := range names {
			iface := "eth0." + string(rune('1'+i))
			p := servers[n]
			p.Server, p.Segment = n, engine.Segment{Name: iface, Interface: iface}
			s.Pis = append(s.Pis, p)
		}
		return s
	}
	want := func(what string, routes map[netip.Addr]string, gateways ...string) {
		t.Helper()
		gws := map[wireGateway]bool{}
		for _, i := range gateways {
			gws[wireGateway{i, gw}] = true
		}
		if !maps.Equal(links.routes, routes) || !maps.Equal(links.gateways, gws) {
			t.Errorf("%s: %v %v, want %v %v", what, links.routes, links.gateways, routes, gws)
		}
	}
	a.follow(on("one", "two", "plain", ""))
	want("at the start", map[netip.Addr]string{a1: "eth0.1", a2: "eth0.2"}, "eth0.1")
	a.follow(on("", "two", "one"))
	want("moved", map[netip.Addr]string{a1: "eth0.3", a2: "eth0.2"}, "eth0.3")

	calls := links.calls
	a.follow(on("", "two", "one"))
	if links.calls != calls {
		t.Error("looked again at once")
	}
	clear(links.routes) // the interface went down and up
	now = now.Add(addressesAgain)
	a.follow(on("", "two", "one"))
	want("mended", map[netip.Addr]string{a1: "eth0.3", a2: "eth0.2"}, "eth0.3")

	s := on("one")
	s.Pis[0].Segment.Name = "lo-1"
	a.follow(s)
	want("on loopback, or gone", map[netip.Addr]string{})

	links.err = errors.New("link: interface is down (bring it up: ip link set eth0.1 up)")
	log.Reset()
	for range 3 {
		now = now.Add(addressesAgain)
		a.follow(on("one"))
	}
	if n := strings.Count(log.String(), "ip link set eth0.1 up"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
	a.close()
	a.follow(on("one"))
}
