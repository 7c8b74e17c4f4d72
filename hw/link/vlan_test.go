//go:build netns

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// addVLAN makes an 802.1Q interface on a trunk, or skips the test on a kernel
// without them. The guest of hw/vmtest has them.
func addVLAN(t *testing.T, name, trunk string, id int, prefix string) netlink.Link {
	t.Helper()
	parent, err := netlink.LinkByName(trunk)
	must(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, parent.Attrs().Index
	err = netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv("PICLOUD_VMTEST") == "" {
		t.Skip("this kernel has no 802.1Q: run just vmtest")
	}
	must(t, err)
	setUp(t, name)
	addAddress(t, name, prefix)
	link, err := netlink.LinkByName(name)
	must(t, err)
	return link
}

// TestVLANs is a switch's trunk with two Pis, one of which does not answer
// ARP, as the Pi 3's boot ROM does not while it loads.
func TestVLANs(t *testing.T) {
	newNamespace(t)
	server, err := netns.Get()
	must(t, err)
	defer server.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "trunk"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"}))
	setUp(t, "trunk")
	addVLAN(t, "seg101", "trunk", 101, "10.77.0.1/30")
	addVLAN(t, "seg102", "trunk", 102, "10.77.0.5/30")
	l := open(t)

	deaf, other := farEnd(t, server)
	for name, want := range map[string]string{"seg101": "10.77.0.1/30", "seg102": "10.77.0.5/30"} {
		must(t, l.CheckAddress(name, netip.MustParsePrefix(want)))
		if i, err := l.Lookup(name); err != nil || name != fmt.Sprint("seg", i.VLAN) || i.Parent != "trunk" {
			t.Errorf("%s is VLAN %d of %q, %v", name, i.VLAN, i.Parent, err)
		}
	}
	pi := netip.MustParseAddr("10.77.0.2")
	send(t, pi)
	if deaf.receives(t, 300*time.Millisecond) {
		t.Fatal("a Pi that does not answer ARP was reached without an entry")
	}
	must(t, l.SetNeighbour("seg101", pi, deaf.mac))
	if err := l.SetNeighbour("seg102", pi, deaf.mac); !errors.Is(err, ErrNoAddress) {
		t.Errorf("entry on another Pi's VLAN: %v", err)
	}
	send(t, pi)
	if !deaf.receives(t, 5*time.Second) {
		t.Error("the Pi was not reached with its entry")
	}
	if other.receives(t, 100*time.Millisecond) {
		t.Error("the Pi of another VLAN received it")
	}
	// Downing the trunk takes the entries with it; they can be set again.
	trunk, err := netlink.LinkByName("trunk")
	must(t, err)
	must(t, netlink.LinkSetDown(trunk))
	must(t, netlink.LinkSetUp(trunk))
	setUp(t, "seg101")
	must(t, l.SetNeighbour("seg101", pi, deaf.mac))
	send(t, pi)
	if !deaf.receives(t, 5*time.Second) {
		t.Error("the Pi was not reached after the trunk was down")
	}
	must(t, l.RemoveNeighbour("seg101", pi))
}

// virtualPi is the far end of one VLAN.
type virtualPi struct {
	mac  [6]byte
	sock net.PacketConn
}

// farEnd puts the other end of the trunk, with a Pi on each VLAN, into a
// namespace of its own.
func farEnd(t *testing.T, server netns.NsHandle) (deaf, other virtualPi) {
	t.Helper()
	far, err := netns.New()
	must(t, err)
	t.Cleanup(func() { _ = far.Close() })
	must(t, netns.Set(server))
	link, err := netlink.LinkByName("far")
	must(t, err)
	must(t, netlink.LinkSetNsFd(link, int(far)))
	must(t, netns.Set(far))
	defer func() { must(t, netns.Set(server)) }()
	setUp(t, "far")
	pi := func(name string, id int, prefix string) virtualPi {
		link := addVLAN(t, name, "far", id, prefix)
		sock, err := net.ListenPacket("udp4", net.JoinHostPort(netip.MustParsePrefix(prefix).Addr().String(), "6900"))
		must(t, err)
		t.Cleanup(func() { _ = sock.Close() })
		return virtualPi{[6]byte(link.Attrs().HardwareAddr), sock}
	}
	deaf, other = pi("pi101", 101, "10.77.0.2/30"), pi("pi102", 102, "10.77.0.6/30")
	silent, err := netlink.LinkByName("pi101")
	must(t, err)
	must(t, netlink.LinkSetARPOff(silent))
	return deaf, other
}

func send(t *testing.T, to netip.Addr) {
	t.Helper()
	c, err := net.Dial("udp4", netip.AddrPortFrom(to, 6900).String())
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("block"))
	must(t, err)
}

func (p virtualPi) receives(t *testing.T, within time.Duration) bool {
	t.Helper()
	must(t, p.sock.SetReadDeadline(time.Now().Add(within)))
	n, _, err := p.sock.ReadFrom(make([]byte, 16))
	return err == nil && n == 5
}
