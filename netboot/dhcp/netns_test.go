//go:build netns

package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"picloud/netboot/dhcp/wire"
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

// wirePi is a Pi's end of a veth pair: frames in, frames out, no IP stack.
type wirePi struct {
	conn    *packet.Conn
	mac     MAC
	server  netip.Addr
	addr    netip.Addr
	ifIndex int
}

// plug makes segment k: the server's interface with the first address of a
// /30, and a Pi at the other end.
func plug(t *testing.T, k int, mac MAC) *wirePi {
	t.Helper()
	ours, theirs := fmt.Sprintf("seg%d", k), fmt.Sprintf("pi%d", k)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = ours
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: theirs, PeerHardwareAddr: mac[:]}))
	server, err := netlink.LinkByName(ours)
	must(t, err)
	far, err := netlink.LinkByName(theirs)
	must(t, err)
	p := &wirePi{mac: mac, ifIndex: server.Attrs().Index,
		server: netip.AddrFrom4([4]byte{10, 77, 0, byte(4*k + 1)}), addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(4*k + 2)})}
	must(t, netlink.AddrAdd(server, &netlink.Addr{IPNet: &net.IPNet{IP: p.server.AsSlice(), Mask: net.CIDRMask(30, 32)}}))
	must(t, netlink.LinkSetUp(server))
	must(t, netlink.LinkSetUp(far))
	// The 3B does not answer ARP: unicast needs a permanent entry.
	must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: p.ifIndex, State: netlink.NUD_PERMANENT,
		IP: p.addr.AsSlice(), HardwareAddr: mac[:]}))
	p.conn, err = packet.Listen(&net.Interface{Index: far.Attrs().Index, Name: theirs, HardwareAddr: mac[:]},
		packet.Raw, 0x0800, nil)
	must(t, err)
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// broadcastFrame is a boot ROM's frame: ttl 128, id 0, no UDP checksum.
func broadcastFrame(mac MAC, payload []byte) []byte {
	f := make([]byte, 14+20+8, 14+20+8+len(payload))
	for i := range 6 {
		f[i] = 0xff
	}
	copy(f[6:], mac[:])
	f[12] = 8
	ip := f[14:34]
	ip[0], ip[8], ip[9] = 0x45, wire.ROMTTL, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(20+8+len(payload)))
	copy(ip[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[10:], ipChecksum(ip))
	udp := f[34:42]
	binary.BigEndian.PutUint16(udp, wire.ClientPort)
	binary.BigEndian.PutUint16(udp[2:], wire.ServerPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	return append(f, payload...)
}

func ipChecksum(h []byte) uint16 {
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// got is a frame that came to a Pi.
type got struct {
	dstMAC           MAC
	src, dst         netip.Addr
	srcPort, dstPort uint16
	payload          []byte
}

// receive returns the next UDP frame that the server sent to the Pi.
func (p *wirePi) receive(t *testing.T) got {
	t.Helper()
	must(t, p.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, 2000)
	for {
		n, _, err := p.conn.ReadFrom(buf)
		must(t, err)
		f := buf[:n]
		if len(f) < 42 || f[12] != 8 || f[13] != 0 || f[14] != 0x45 || f[23] != 17 || MAC(f[6:12]) == p.mac {
			continue
		}
		return got{
			dstMAC: MAC(f), src: netip.AddrFrom4([4]byte(f[26:30])), dst: netip.AddrFrom4([4]byte(f[30:34])),
			srcPort: binary.BigEndian.Uint16(f[34:]), dstPort: binary.BigEndian.Uint16(f[36:]),
			payload: f[42 : 34+int(binary.BigEndian.Uint16(f[38:]))],
		}
	}
}

func (p *wirePi) send(t *testing.T, payload []byte) {
	t.Helper()
	_, err := p.conn.WriteTo(broadcastFrame(p.mac, payload), &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
	must(t, err)
}

// One socket on port 67 serves two segments by real broadcast. Two 3Bs ask at
// the same moment with the same xid and the same GUID, and each gets its own
// address, from its own segment's server address, on its own wire.
func TestBroadcastOnVeth(t *testing.T) {
	newNamespace(t)
	pis := []*wirePi{plug(t, 0, mac3B), plug(t, 1, mac3BP)}
	table := &mapTable{}
	for k, p := range pis {
		table.rows = append(table.rows, row{ifIndex: p.ifIndex, mac: p.mac, res: Reservation{
			Pi: fmt.Sprint("pi", k), Segment: fmt.Sprint("seg", k), Server: p.server, Addr: netip.PrefixFrom(p.addr, 30)}})
	}
	conn, err := Listen(t.Context(), ListenConfig{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), wire.ServerPort)})
	must(t, err)
	s, err := New(Config{Conn: conn, Table: table,
		Delay: map[Family]time.Duration{Family3B: 50 * time.Millisecond},
		Nudge: Nudge{After: []time.Duration{30 * time.Millisecond, 60 * time.Millisecond}}})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()

	for _, p := range pis {
		p.send(t, wire.Discover(wire.ROMTransactionID, p.mac, wire.ParameterList3B, wire.GUID3B))
	}
	for _, p := range pis {
		checkNudge(t, p, p.receive(t))
		checkOffer(t, p, p.receive(t))
		checkNudge(t, p, p.receive(t))
	}
	// A stranger on a known segment is not answered; the Pi that asks after it
	// is the next to hear something.
	pis[0].send(t, wire.Discover(1, mac5, wire.ParameterListEEPROM, eepromGUID(wire.FourCC5, 0xd04170, mac5, 1)))
	pis[0].send(t, wire.Discover(2, pis[0].mac, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4, 0xa03111, mac3B, 1)))
	checkOffer(t, pis[0], pis[0].receive(t))

	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func checkOffer(t *testing.T, p *wirePi, g got) {
	t.Helper()
	if g.src != p.server || g.srcPort != wire.ServerPort || g.dst != everybody || g.dstPort != wire.ClientPort ||
		g.dstMAC != (MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("OFFER %v:%d > %v:%d (%v)", g.src, g.srcPort, g.dst, g.dstPort, g.dstMAC)
	}
	if len(g.payload) < wire.HeaderLen {
		t.Fatalf("payload %x", g.payload)
	}
	if a := address(g.payload[wire.OffYIAddr:][:4]); a != p.addr {
		t.Errorf("yiaddr %v, want %v", a, p.addr)
	}
	if a := address(g.payload[wire.OffSIAddr:][:4]); a != p.server {
		t.Errorf("siaddr %v, want %v", a, p.server)
	}
	if MAC(g.payload[wire.OffCHAddr:]) != p.mac {
		t.Errorf("chaddr %x", g.payload[wire.OffCHAddr:][:6])
	}
}

func checkNudge(t *testing.T, p *wirePi, g got) {
	t.Helper()
	if g.src != p.server || g.dst != p.addr || g.dstPort != wolPort || g.dstMAC != p.mac || len(g.payload) != 102 {
		t.Errorf("nudge %v > %v:%d (%v), %d bytes", g.src, g.dst, g.dstPort, g.dstMAC, len(g.payload))
	}
}
