package dhcp

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// mapTable is a table of one Pi for each segment, told by interface or by
// destination address.
type mapTable struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	ifIndex int
	dst     netip.Addr
	mac     MAC
	res     Reservation
}

func (t *mapTable) Lookup(in Ingress, mac MAC) (Reservation, Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if r.ifIndex != in.IfIndex || r.dst.IsValid() && r.dst != in.Dst {
			continue
		}
		if r.mac != mac {
			return Reservation{Segment: r.res.Segment}, UnknownPi
		}
		return r.res, Known
	}
	return Reservation{}, UnknownSegment
}

func (t *mapTable) set(rows ...row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = rows
}

func mustMAC(s string) MAC {
	m, err := ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// The network of the trace in boot-net.adoc, on interface 7.
func docRow(mac MAC) row {
	return row{ifIndex: 7, mac: mac, res: Reservation{
		Pi: "pi1", Segment: "seg1", Lease: 12 * time.Hour,
		Server: netip.MustParseAddr("192.168.1.1"), Addr: netip.MustParsePrefix("192.168.1.139/24"),
	}}
}

var docIngress = Ingress{IfIndex: 7, Dst: everybody, Src: netip.MustParseAddrPort("0.0.0.0:68")}

func TestReservationCheck(t *testing.T) {
	good := docRow(MAC{}).res
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(*Reservation)
	}{
		{"no segment", "no segment", func(r *Reservation) { r.Segment = "" }},
		{"zero", "IPv4", func(r *Reservation) { *r = Reservation{Segment: "s"} }},
		{"IPv6", "IPv4", func(r *Reservation) { r.Addr = netip.MustParsePrefix("2001:db8::1/64") }},
		{"/31", "no room", func(r *Reservation) { r.Addr = netip.MustParsePrefix("192.168.1.0/31") }},
		{"other network", "not in the Pi's network", func(r *Reservation) { r.Server = netip.MustParseAddr("10.0.0.1") }},
		{"same", "same address", func(r *Reservation) { r.Server = r.Addr.Addr() }},
		{"network address", "broadcast", func(r *Reservation) { r.Addr = netip.MustParsePrefix("192.168.1.0/24") }},
		{"broadcast address", "broadcast", func(r *Reservation) { r.Server = netip.MustParseAddr("192.168.1.255") }},
		{"lease", "lease", func(r *Reservation) { r.Lease = -1 }},
	} {
		r := good
		tt.change(&r)
		err := r.Check()
		if !errors.Is(err, ErrReservation) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestParseMAC(t *testing.T) {
	for _, s := range []string{"b8:27:eb:28:f6:6d", "B8-27-EB-28-F6-6D", "b827.eb28.f66d"} {
		if m, err := ParseMAC(s); err != nil || m.String() != "b8:27:eb:28:f6:6d" {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "b8:27:eb:28:f6", "00:00:00:00:fe:80:00:00", strings.Repeat("x", 1000)} {
		if _, err := ParseMAC(s); !errors.Is(err, ErrMAC) || len(err.Error()) > 200 {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		Known.String(): "known", Verdict(9).String(): "verdict 9",
		Family5.String(): "5", Family(99).String(): "unknown",
		KindNak.String(): "nak", Kind(0).String(): "none", Kind(99).String(): "none",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
