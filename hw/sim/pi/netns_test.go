//go:build netns

package pi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	simnetns "picloud/hw/sim/netns"
	"picloud/netboot/bootfs/order"
)

// Real broadcasts on port 67, TFTP on 69, NFS on 2049 and SSH on 22: a Pi of each
// family, each in its own namespace. Needs root: go test -tags netns.
func TestBootInNamespaces(t *testing.T) {
	names := make([]string, 0, 4)
	for _, f := range order.Families() {
		names = append(names, string(f))
	}
	top, err := simnetns.NewTopology(names...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	})
	// Not parallel: the topology must outlive them all.
	for i, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) { bootInNamespace(t, top, top.Segments[i], f) })
	}
}

func bootInNamespace(t *testing.T, top *simnetns.Topology, seg simnetns.Segment, f order.Family) {
	b := testBoard(f)
	s := serverAt(t, seg.Server.Addr(), seg.Pi)
	s.delay = 25 * time.Millisecond
	s.to = func(netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(broadcastIP, 68) }
	var seen *capture
	err := top.Do(func() error {
		s.open(netip.MustParseAddrPort("0.0.0.0:67"), 69, 2049)
		var err error
		seen, err = newCapture(t, seg.ServerInterface, b.MAC)
		return errors.Join(err, bindDHCP(s.dhcp, seg.ServerInterface))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.dial = func() (c *net.UDPConn, err error) {
		err = top.Do(func() (err error) {
			c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: s.addr.AsSlice()})
			return err
		})
		return c, err
	}
	s.boot(f, b.SerialText()+"/")
	s.serve()
	nic, err := NewNetNS(seg.NS, simnetns.PiInterface, b.MAC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nic.Close)
	p := start(t, Config{Name: "a3-001", Board: b, NIC: nic, Speed: 50, Seed: seedOf(false)})
	if got := await(t, p, StageUp, StageDead); got.Stage != StageUp {
		t.Fatalf("state %+v, counters %+v\n%s", got, p.Counters(), strings.Join(s.requests(), "\n"))
	}
	if got := s.banner(t, top); got != banners["trixie"] {
		t.Errorf("banner %q", got)
	}
	s.checkMessages(b)
	seen.check(t, b, s)
	p.SetPower(false)
	await(t, p, StageOff)
	if addrs, err := nic.handle.AddrList(nic.link, unix.AF_INET); err != nil || len(addrs) != 0 {
		t.Errorf("off, with addresses %v, %v", addrs, err)
	}
}

// bindDHCP ties the socket to one segment, so that broadcasts go and come there.
func bindDHCP(c *net.UDPConn, device string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var bindErr error
	err = raw.Control(func(fd uintptr) {
		bindErr = errors.Join(unix.BindToDevice(int(fd), device), unix.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1))
	})
	return errors.Join(err, bindErr)
}

func (s *server) banner(t *testing.T, top *simnetns.Topology) string {
	t.Helper()
	buf := make([]byte, 300)
	n := 0
	err := top.Do(func() error {
		c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(s.pi, 22).String(), 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		n, err = c.Read(buf)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return strings.TrimRight(string(buf[:n]), "\r\n")
}

// capture keeps the frames that a board sent.
type capture struct {
	mu     sync.Mutex
	frames [][]byte
}

func newCapture(t *testing.T, device string, mac net.HardwareAddr) (*capture, error) {
	ifi, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil)
	if err != nil {
		return nil, err
	}
	c, done := new(capture), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 42 && bytes.Equal(buf[6:12], mac) {
				c.mu.Lock()
				c.frames = append(c.frames, bytes.Clone(buf[:n]))
				c.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return c, nil
}

// check looks at the first DISCOVER and the first read request as frames.
func (c *capture) check(t *testing.T, b Board, s *server) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Family.UsesBootcode() {
		want := broadcastFrame(b.MAC, romDialect[b.Family].discover(b, romXIDofCapture), romDatagram)
		if !bytes.Equal(c.frames[0], want) {
			t.Errorf("first frame\n%x\nwant\n%x", c.frames[0], want)
		}
	}
	ttl, rom := byte(eepromTTL), b.Family.UsesBootcode()
	if rom {
		ttl = 128
	}
	for _, f := range c.frames {
		if f[23] != protoUDP || !bytes.Equal(f[36:38], []byte{0, 69}) {
			continue
		}
		addr := s.pi.As4()
		if f[22] != ttl || !bytes.Equal(f[26:30], addr[:]) || rom != bytes.Equal(f[40:42], []byte{0, 0}) {
			t.Errorf("read request has ttl %d, source %v, checksum %x", f[22], f[26:30], f[40:42])
		}
		return
	}
	t.Error("no read request captured")
}

// The 3B answers no ARP while a transfer runs; everything else does.
func TestAnswerARP(t *testing.T) {
	top, err := simnetns.NewTopology("a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	seg := top.Segments[0]
	nic, err := NewNetNS(seg.NS, simnetns.PiInterface, testBoard(order.Pi3B).MAC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nic.Close)
	if err := nic.Configure(Addressing{Prefix: netip.PrefixFrom(seg.Pi, 30), OnLink: true}); err != nil {
		t.Fatal(err)
	}
	reach := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return top.Do(func() error {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp4", netip.AddrPortFrom(seg.Pi, 9).String())
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	if err := nic.AnswerARP(false); err != nil {
		t.Fatal(err)
	}
	if err := reach(); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("without ARP: %v, want no route to host", err)
	}
	if err := nic.AnswerARP(true); err != nil {
		t.Fatal(err)
	}
	if err := reach(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with ARP: %v, want connection refused", err)
	}
}
