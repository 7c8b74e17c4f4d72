package pi

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/dhcp/wire"
)

// Loopback is a NIC that needs no privileges: the Pi has an address in 127/8.
//
// Loopback has no broadcast, so a DISCOVER goes from the Pi's address to the
// server's, with the payload of the real one. Nothing is sent from 0.0.0.0 and
// there is no ARP. Packets to the DHCP client port that hold no DHCP message
// stand for all other traffic that a real port would see.
type Loopback struct {
	// Pi is the address that the Pi's DHCP packets come from and that it gets
	// answers on.
	Pi netip.Addr
	// Server is where DHCP messages go: the server's address on this segment and
	// its DHCP port (67 if 0).
	Server netip.AddrPort
	// ClientPort is the DHCP client's port (68 if 0).
	ClientPort uint16

	addr netip.Addr
}

// OpenDHCP implements NIC.
func (l *Loopback) OpenDHCP() (DHCPConn, error) {
	server := l.Server
	if server.Port() == 0 {
		server = netip.AddrPortFrom(server.Addr(), wire.ServerPort)
	}
	port := l.ClientPort
	if port == 0 {
		port = wire.ClientPort
	}
	c, err := listenUDP(netip.AddrPortFrom(l.Pi, port), Datagram{})
	if err != nil {
		return nil, fmt.Errorf("pi: open dhcp: %w", err)
	}
	return &loopbackDHCP{c: c, server: server}, nil
}

// Configure implements NIC. Any 127/8 address can be had without being set up.
func (l *Loopback) Configure(a Addressing) error {
	if !a.Prefix.Addr().IsLoopback() {
		return fmt.Errorf("pi: configure: %v is not a loopback address", a.Prefix)
	}
	l.addr = a.Prefix.Addr()
	return nil
}

// ListenUDP implements NIC.
func (l *Loopback) ListenUDP(port uint16, d Datagram) (*net.UDPConn, error) {
	return listenUDP(netip.AddrPortFrom(l.addr, port), d)
}

// DialTCP implements NIC.
func (l *Loopback) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: l.addr.AsSlice()}}
	return d.DialContext(ctx, "tcp4", to.String())
}

// ListenTCP implements NIC.
func (l *Loopback) ListenTCP(ctx context.Context, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp4", netip.AddrPortFrom(l.addr, port).String())
}

// AnswerARP implements NIC. There is no ARP on loopback.
func (l *Loopback) AnswerARP(bool) error { return nil }

// Reset implements NIC.
func (l *Loopback) Reset() error {
	l.addr = netip.Addr{}
	return nil
}

type loopbackDHCP struct {
	c      *net.UDPConn
	server netip.AddrPort
}

func (d *loopbackDHCP) Broadcast(message []byte, _ Datagram) error {
	_, err := d.c.WriteToUDPAddrPort(message, d.server)
	return err
}

func (d *loopbackDHCP) Receive(buf []byte, deadline time.Time) (int, netip.Addr, error) {
	if err := d.c.SetReadDeadline(deadline); err != nil {
		return 0, netip.Addr{}, err
	}
	n, src, err := d.c.ReadFromUDPAddrPort(buf)
	if err != nil {
		return 0, netip.Addr{}, err
	}
	if n < wire.HeaderLen {
		n = 0
	}
	return n, src.Addr().Unmap(), nil
}

func (d *loopbackDHCP) Close() error { return d.c.Close() }

// listenUDP opens a socket whose packets have the TTL and checksum of d, and
// small buffers: a Pi has one packet under way.
func listenUDP(at netip.AddrPort, d Datagram) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = setDatagram(int(fd), d) }); cerr != nil {
			return cerr
		}
		return err
	}}
	// Listening on a literal address does not block; there is nothing to cancel.
	c, err := lc.ListenPacket(context.Background(), "udp4", at.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func setDatagram(fd int, d Datagram) error {
	if d == (Datagram{}) {
		return nil
	}
	noCheck := 1
	if d.Checksum {
		noCheck = 0
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, noCheck); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, int(d.TTL))
}
