//go:build netns

package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// newNamespace moves the test into a network namespace of its own, which goes
// away with the test. Without the rights it skips the test; in CI it fails it.
func newNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root, and CI must run this test")
		}
		t.Skip("network namespaces need root: run with sudo go test -tags netns")
	}
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Set(old); err != nil {
			t.Error(err) // the thread stays locked, and so ends with the test
			return
		}
		_ = fresh.Close()
		_ = old.Close()
		runtime.UnlockOSThread()
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addAddress(t *testing.T, name, prefix string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	p := netip.MustParsePrefix(prefix)
	must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{
		IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}))
}

func setUp(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(link))
}

// TestVeth takes a segment from nothing to working, and reads at each step what
// an operator would be told.
func TestVeth(t *testing.T) {
	newNamespace(t)
	l := open(t)
	want := netip.MustParsePrefix("10.77.0.1/30")
	expect := func(cause error, hint string) {
		t.Helper()
		if err := l.CheckAddress("seg0", want); !errors.Is(err, cause) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v, want %v with %q", err, cause, hint)
		}
	}

	expect(ErrNoInterface, "ip link")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "seg0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "pi0"}))
	expect(ErrDown, "ip link set seg0 up")
	setUp(t, "seg0")
	expect(ErrNoAddress, "ip address add 10.77.0.1/30 dev seg0")
	addAddress(t, "seg0", "10.77.0.1/30")
	must(t, l.CheckAddress("seg0", want))

	i, err := l.Lookup("seg0")
	must(t, err)
	if i.Carrier || !i.Up || i.MAC == [6]byte{} || len(i.Addrs) != 1 || i.Addrs[0] != want {
		t.Errorf("with the other end down: %+v", i)
	}
	setUp(t, "pi0")
	if i, err = l.Lookup("seg0"); err != nil || !i.Carrier {
		t.Errorf("with the other end up: %+v, %v", i, err)
	}

	addAddress(t, "pi0", "10.77.0.1/24")
	expect(ErrTwice, "pi0")
}

func TestNeighbour(t *testing.T) {
	newNamespace(t)
	l := open(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "seg0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "pi0"}))
	setUp(t, "seg0")
	setUp(t, "pi0")
	addAddress(t, "seg0", "10.77.0.1/30")

	pi := netip.MustParseAddr("10.77.0.2")
	first, second := [6]byte{0xb8, 0x27, 0xeb, 0, 0, 1}, [6]byte{0xdc, 0xa6, 0x32, 0, 0, 2}
	// From another goroutine, and so in another namespace: the handle stays in
	// its own.
	set := make(chan error)
	go func() { set <- l.SetNeighbour("seg0", pi, first) }()
	must(t, <-set)
	expectNeighbours(t, l, Neighbour{pi, first, true})
	must(t, l.SetNeighbour("seg0", pi, second))
	expectNeighbours(t, l, Neighbour{pi, second, true})
	far, err := netlink.LinkByName("pi0")
	must(t, err)
	must(t, netlink.LinkSetDown(far)) // the Pi loses power
	expectNeighbours(t, l, Neighbour{pi, second, true})
	must(t, l.RemoveNeighbour("seg0", pi))
	must(t, l.RemoveNeighbour("seg0", pi))
	expectNeighbours(t, l)
}

func expectNeighbours(t *testing.T, l *Links, want ...Neighbour) {
	t.Helper()
	got, err := l.Neighbours("seg0")
	must(t, err)
	var permanent []Neighbour
	for _, n := range got {
		if n.Permanent || len(want) == 0 {
			permanent = append(permanent, n)
		}
	}
	if len(permanent) != len(want) || len(want) == 1 && permanent[0] != want[0] {
		t.Errorf("neighbours %+v, want %+v", permanent, want)
	}
}
