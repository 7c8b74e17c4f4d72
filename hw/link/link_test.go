package link

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func open(t *testing.T) *Links {
	t.Helper()
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLoopback(t *testing.T) {
	l := open(t)
	i, err := l.Lookup("lo")
	if err != nil {
		t.Fatal(err)
	}
	if i.Index != 1 || !i.Up || !i.Carrier || i.MTU == 0 || len(i.Addrs) == 0 {
		t.Errorf("%+v", i)
	}
	if err := l.CheckAddress("lo", netip.MustParsePrefix("127.0.0.1/8")); err != nil {
		t.Error(err)
	}
	if _, err := l.Neighbours("lo"); err != nil {
		t.Error(err)
	}
	if _, err := l.Routes(); err != nil {
		t.Error(err)
	}
	if has, err := l.HasGateway("lo", netip.MustParseAddr("fe80::1")); err != nil || has {
		t.Errorf("fe80::1 on lo: %v, %v", has, err)
	}
	if err := l.RemoveGateway("nosuch0", netip.MustParseAddr("fe80::1")); err != nil {
		t.Error(err)
	}
}

// TestRefused are mistakes that are found before anything is changed.
func TestRefused(t *testing.T) {
	l := open(t)
	mac := [6]byte{0xb8, 0x27, 0xeb, 1, 2, 3}
	addr := netip.MustParseAddr("10.0.0.2")
	for _, tt := range []struct {
		name string
		err  error
		want error
		hint string
	}{
		{"no interface", l.CheckAddress("nosuch0", netip.MustParsePrefix("10.0.0.1/30")), ErrNoInterface, "ip link"},
		{"no name", l.CheckAddress("", netip.MustParsePrefix("10.0.0.1/30")), ErrNoInterface, "ip link"},
		{"64 KB name", l.CheckAddress(strings.Repeat("x", 1<<16), netip.MustParsePrefix("10.0.0.1/30")), ErrNoInterface, "ip link"},
		{"no prefix", l.CheckAddress("lo", netip.Prefix{}), ErrAddress, "10.0.0.1/30"},
		{"IPv6", l.CheckAddress("lo", netip.MustParsePrefix("::1/128")), ErrAddress, "10.0.0.1/30"},
		{"address missing", l.CheckAddress("lo", netip.MustParsePrefix("192.0.2.1/30")), ErrNoAddress, "ip address add 192.0.2.1/30 dev lo"},
		{"other prefix length", l.CheckAddress("lo", netip.MustParsePrefix("127.0.0.1/30")), ErrNoAddress, "ip address del 127.0.0.1/8 dev lo"},
		{"zero MAC", l.SetNeighbour("lo", addr, [6]byte{}), ErrMAC, ""},
		{"group MAC", l.SetNeighbour("lo", addr, [6]byte{1}), ErrMAC, ""},
		{"neighbour without address", l.SetNeighbour("lo", netip.Addr{}, mac), ErrAddress, ""},
		{"neighbour 0.0.0.0", l.SetNeighbour("lo", netip.IPv4Unspecified(), mac), ErrAddress, ""},
		{"neighbour with IPv6", l.SetNeighbour("lo", netip.IPv6Loopback(), mac), ErrAddress, ""},
		{"neighbour elsewhere", l.SetNeighbour("lo", addr, mac), ErrNoAddress, "127.0.0.1/8"},
		{"neighbour that we are", l.SetNeighbour("lo", netip.MustParseAddr("127.0.0.1"), mac), ErrNoAddress, ""},
		{"neighbour on no interface", l.SetNeighbour("nosuch0", addr, mac), ErrNoInterface, ""},
		{"removal from no interface", l.RemoveNeighbour("nosuch0", addr), ErrNoInterface, ""},
		{"route to no address", l.SetRoute(Route{netip.Addr{}, "lo"}), ErrAddress, "public IPv6"},
		{"route to an IPv4 address", l.SetRoute(Route{addr, "lo"}), ErrAddress, "public IPv6"},
		{"link-local route", l.SetRoute(Route{netip.MustParseAddr("fe80::2"), "lo"}), ErrAddress, "public IPv6"},
		{"route on no interface", l.SetRoute(Route{netip.MustParseAddr("2001:db8::2"), "nosuch0"}), ErrNoInterface, "ip link"},
		{"removal of no route", l.RemoveRoute(Route{addr, "lo"}), ErrAddress, ""},
		{"public gateway", l.SetGateway("lo", netip.MustParseAddr("2001:db8::1")), ErrAddress, "fe80::1"},
		{"gateway with a zone", l.SetGateway("lo", netip.MustParseAddr("fe80::1%lo")), ErrAddress, "fe80::1"},
		{"gateway on no interface", l.SetGateway("nosuch0", netip.MustParseAddr("fe80::1")), ErrNoInterface, ""},
		{"removal of no address", l.RemoveNeighbour("lo", netip.Addr{}), ErrAddress, ""},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
			continue
		}
		if s := tt.err.Error(); !strings.Contains(s, tt.hint) || !strings.HasPrefix(s, "link: ") || len(s) > 300 {
			t.Errorf("%s: %.300s", tt.name, s)
		}
	}
	if _, err := l.Neighbours("nosuch0"); !errors.Is(err, ErrNoInterface) {
		t.Errorf("neighbours: %v", err)
	}
}
