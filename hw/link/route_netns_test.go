//go:build netns

package link

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestRoutes moves a server's address from one segment to another.
func TestRoutes(t *testing.T) {
	newNamespace(t)
	l := open(t)
	for _, name := range []string{"seg0", "seg1"} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "pi" + name}))
	}
	a, gw := netip.MustParseAddr("2001:db8:77::2"), netip.MustParseAddr("fe80::1")
	if err := l.SetRoute(Route{a, "seg0"}); !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), "ip link set seg0 up") {
		t.Errorf("interface down: %v", err)
	}
	setUp(t, "seg0")
	setUp(t, "seg1")
	want := func(routes ...Route) {
		t.Helper()
		got, err := l.Routes()
		if err != nil || !slices.Equal(got, routes) {
			t.Errorf("routes %v, %v; want %v", got, err, routes)
		}
	}
	want()
	must(t, l.SetRoute(Route{a, "seg0"}))
	must(t, l.SetRoute(Route{a, "seg0"}))
	want(Route{a, "seg0"})
	must(t, l.SetRoute(Route{a, "seg1"}))
	want(Route{a, "seg1"})
	must(t, l.RemoveRoute(Route{a, "seg0"})) // which it is not any more
	want(Route{a, "seg1"})

	for range 2 {
		must(t, l.SetGateway("seg1", gw))
	}
	link, err := netlink.LinkByName("seg1")
	must(t, err)
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	must(t, err)
	if !slices.ContainsFunc(addrs, func(have netlink.Addr) bool { return have.IPNet.String() == "fe80::1/64" && have.Flags&0x40 == 0 }) {
		t.Errorf("addresses %v: fe80::1 is not there, or still tentative", addrs)
	}
	for name, want := range map[string]bool{"seg0": false, "seg1": true} {
		if has, err := l.HasGateway(name, gw); err != nil || has != want {
			t.Errorf("%s has it: %v, %v", name, has, err)
		}
	}

	// A route that somebody else made is not ours to know.
	other := netip.MustParseAddr("2001:db8:77::3")
	foreign := route(other, link.Attrs().Index)
	foreign.Protocol = 3 // boot
	must(t, netlink.RouteAdd(foreign))
	want(Route{a, "seg1"})

	for range 2 {
		must(t, l.RemoveRoute(Route{a, "seg1"}))
		must(t, l.RemoveGateway("seg1", gw))
	}
	want()
	if has, err := l.HasGateway("seg1", gw); err != nil || has {
		t.Errorf("seg1 has it: %v, %v", has, err)
	}

	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/seg0/disable_ipv6", []byte("1"), 0o600))
	for what, err := range map[string]error{"route": l.SetRoute(Route{a, "seg0"}), "gateway": l.SetGateway("seg0", gw)} {
		if err == nil || !strings.Contains(err.Error(), "net.ipv6.conf.seg0.disable_ipv6=0") && !errors.Is(err, ErrDown) {
			t.Errorf("%s without IPv6: %v", what, err)
		}
	}
	must(t, netlink.LinkDel(link))
	must(t, l.RemoveRoute(Route{a, "seg1"}))
	must(t, l.RemoveGateway("seg1", gw))
}
