package pi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	nfs "github.com/willscott/go-nfs"
	nfshelper "github.com/willscott/go-nfs/helpers"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/dhcp/wire"
)

// server is a scripted netboot server for one Pi on loopback. It is not the
// product's: a test of the simulator must not depend on what is tested with it.
type server struct {
	t          *testing.T
	addr, pi   netip.Addr
	dhcp, tftp *net.UDPConn
	nfs        net.Listener
	to         func(netip.AddrPort) netip.AddrPort // where DHCP answers go
	dial       func() (*net.UDPConn, error)        // a socket for a transfer
	nfsPort    uint16
	files      map[string][]byte
	delay      time.Duration // of DHCP answers
	mute       func(n int) bool
	vendor     string
	next       string // option 66, "" for none
	exported   string // path that may be mounted
	mu         sync.Mutex
	messages   [][]byte // DHCP messages received
	rrqs       []string // read requests received, NULs as blanks
	ports      []uint16 // and the ports that they came from
	ends       []string // errors received from the Pi
	wg         sync.WaitGroup
	nudge      bool
	clientPort uint16
}

var segment struct {
	sync.Mutex
	next uint32
}

// newServer makes a server on a loopback segment of its own.
func newServer(t *testing.T) *server {
	t.Helper()
	segment.Lock()
	base := 0x7f460000 + segment.next*4 + uint32(os.Getpid()%64)<<10
	segment.next++
	segment.Unlock()
	ip := func(n uint32) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], base+n)
		return netip.AddrFrom4(b)
	}
	s := serverAt(t, ip(1), ip(2))
	s.open(netip.AddrPortFrom(s.addr, 0), 0, 0)
	return s
}

// serverAt makes a server that has no sockets yet.
func serverAt(t *testing.T, addr, pi netip.Addr) *server {
	return &server{
		t: t, addr: addr, pi: pi, next: addr.String(), files: map[string][]byte{}, vendor: wire.VendorOptions,
		exported: "/srv/pi/a3-001", mute: func(int) bool { return false }, clientPort: 40068,
		to: func(from netip.AddrPort) netip.AddrPort { return from },
	}
}

// open opens the server's sockets.
func (s *server) open(dhcp netip.AddrPort, tftp, nfs uint16) {
	s.t.Helper()
	listen := func(at netip.AddrPort) *net.UDPConn {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			s.t.Fatal(err)
		}
		return c
	}
	s.dhcp, s.tftp = listen(dhcp), listen(netip.AddrPortFrom(s.addr, tftp))
	s.dial = func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{IP: s.addr.AsSlice()}) }
	s.serveNFS(nfs)
	s.t.Cleanup(func() {
		s.dhcp.Close()
		s.tftp.Close()
		s.nfs.Close()
		s.wg.Wait()
	})
}

func port(c *net.UDPConn) uint16 { return uint16(c.LocalAddr().(*net.UDPAddr).Port) }

// serve starts to answer. What the server says must be set before.
func (s *server) serve() {
	s.wg.Go(s.serveDHCP)
	s.wg.Go(s.serveTFTP)
}

// config serves and returns a Pi on this server's loopback segment.
func (s *server) config(b Board, fault string) Config {
	s.serve()
	return Config{
		Name: "a3-001", Board: b, Speed: 200, Seed: seedOf(false), Fault: fault,
		NIC:      &Loopback{Pi: s.pi, Server: netip.AddrPortFrom(s.addr, port(s.dhcp)), ClientPort: s.clientPort},
		TFTPPort: port(s.tftp), SSHPort: 40022,
	}
}

// boot fills the folder with what the family needs.
func (s *server) boot(f order.Family, prefix string) {
	for i, group := range order.Need(f) {
		name := group[0]
		if name != "bootcode.bin" {
			name = prefix + name
		}
		s.files[name] = bytes.Repeat([]byte{byte(i)}, 3000+7*i)
	}
	if f == order.Pi5 {
		s.files[prefix+"start4.elf"] = []byte("never loaded")
	}
	s.files[prefix+"config.txt"] = []byte("[all]\narm_64bit=1\nauto_initramfs=0\n[pi9]\nkernel=none\n")
	s.files[prefix+"cmdline.txt"] = []byte(s.cmdline())
}

func (s *server) cmdline() string {
	return fmt.Sprintf("console=tty1 root=/dev/nfs nfsroot=%v:%s,vers=3,tcp,port=%d,mountport=%d,hard,nolock ro ip=%v:%v::255.255.255.252:a3-001:eth0:off rootwait\n",
		s.addr, s.exported, s.nfsPort, s.nfsPort, s.pi, s.addr)
}

func (s *server) serveDHCP() {
	buf := make([]byte, 1500)
	for n := 1; ; n++ {
		l, from, err := s.dhcp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m := bytes.Clone(buf[:l])
		s.mu.Lock()
		s.messages = append(s.messages, m)
		s.mu.Unlock()
		if s.mute(n) {
			continue
		}
		s.wg.Go(func() {
			time.Sleep(s.delay)
			_, _ = s.dhcp.WriteToUDPAddrPort(s.offer(m), s.to(from))
			if s.nudge {
				_, _ = s.dhcp.WriteToUDPAddrPort([]byte("nudge"), s.to(from))
			}
		})
	}
}

// offer answers a message.
func (s *server) offer(m []byte) []byte {
	kind := byte(wire.TypeOffer)
	if m[242] == wire.TypeRequest {
		kind = wire.TypeAck
	}
	addr, pi := s.addr.As4(), s.pi.As4()
	p := bytes.Clone(m[:wire.HeaderLen])
	p[0] = 2
	copy(p[wire.OffYIAddr:], pi[:])
	copy(p[wire.OffSIAddr:], addr[:])
	p = append(p, wire.OptMessageType, 1, kind)
	p = wire.AppendOption(p, wire.OptServerIdentifier, string(addr[:]))
	p = wire.AppendOption(p, wire.OptSubnetMask, "\xff\xff\xff\xfc")
	if s.next != "" {
		p = wire.AppendOption(p, wire.OptTFTPServerName, s.next)
	}
	p = wire.AppendOption(p, wire.OptVendorSpecific, s.vendor)
	return append(p, wire.OptEnd)
}

func (s *server) serveTFTP() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.tftp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		p := string(buf[:n])
		s.mu.Lock()
		s.rrqs = append(s.rrqs, strings.TrimSpace(strings.ReplaceAll(p[2:], "\x00", " ")))
		s.ports = append(s.ports, from.Port())
		s.mu.Unlock()
		s.wg.Go(func() { s.transfer(p, from) })
	}
}

// transfer serves one read request with one packet at a time.
func (s *server) transfer(rrq string, to netip.AddrPort) {
	c, err := s.dial()
	if err != nil {
		return
	}
	defer c.Close()
	f := strings.Split(rrq[2:], "\x00")
	file, ok := s.files[f[0]]
	if !ok {
		_, _ = c.WriteToUDPAddrPort([]byte("\x00\x05\x00\x01no such file\x00"), to)
		return
	}
	size, oack := 512, []byte{0, 6}
	for i := 2; i+1 < len(f); i += 2 {
		v := f[i+1]
		switch f[i] {
		case "tsize":
			v = strconv.Itoa(len(file))
		case "blksize":
			size, _ = strconv.Atoi(v)
		}
		oack = append(oack, f[i]+"\x00"+v+"\x00"...)
	}
	if len(f) > 3 && !s.exchange(c, to, oack, 0) {
		return
	}
	for block := 1; ; block++ {
		part := file[:min(size, len(file))]
		file = file[len(part):]
		p := append([]byte{0, 3, byte(block >> 8), byte(block)}, part...)
		if !s.exchange(c, to, p, block) || len(part) < size {
			return
		}
	}
}

// exchange sends a packet until its acknowledgement comes.
func (s *server) exchange(c *net.UDPConn, to netip.AddrPort, p []byte, block int) bool {
	buf := make([]byte, 600)
	for range 5 {
		if _, err := c.WriteToUDPAddrPort(p, to); err != nil {
			return false
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return false
			}
			if buf[1] == 5 {
				s.mu.Lock()
				s.ends = append(s.ends, strings.TrimRight(string(buf[4:n]), "\x00"))
				s.mu.Unlock()
				return false
			}
			if int(binary.BigEndian.Uint16(buf[2:])) == block&0xffff {
				return true
			}
		}
	}
	return false
}

// onePath is an NFS handler that lets one path be mounted.
type onePath struct {
	nfs.Handler
	path string
}

func (h onePath) Mount(ctx context.Context, c net.Conn, r nfs.MountRequest) (nfs.MountStatus, billy.Filesystem, []nfs.AuthFlavor) {
	status, fs, flavors := h.Handler.Mount(ctx, c, r)
	if string(r.Dirpath) != h.path {
		status = nfs.MountStatusErrNoEnt
	}
	return status, fs, flavors
}

func (s *server) serveNFS(port uint16) {
	root := s.t.TempDir()
	for name, text := range map[string]string{
		"etc/hostname": "a3-001\n", "usr/lib/os-release": "VERSION_CODENAME=trixie\n",
	} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Symlink("../usr/lib/os-release", filepath.Join(root, "etc/os-release")); err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp4", netip.AddrPortFrom(s.addr, port).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.nfsPort = uint16(l.Addr().(*net.TCPAddr).Port)
	h := nfshelper.NewCachingHandler(onePath{nfshelper.NewNullAuthHandler(osfs.New(root)), s.exported}, 64)
	s.wg.Go(func() { _ = nfs.Serve(l, h) })
	s.nfs = l
}
