package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Egress is how a datagram leaves.
type Egress struct {
	// IfIndex is the interface that it leaves by.
	IfIndex int
	// Src is its IP source address, one of the host's own.
	Src netip.Addr
	Dst netip.AddrPort
}

// PacketConn is a UDP socket that tells the interface and the addresses of
// each datagram. [Conn] is the real one.
type PacketConn interface {
	// ReadFrom reads one datagram. A datagram longer than b is cut.
	ReadFrom(b []byte) (n int, in Ingress, err error)
	WriteTo(b []byte, out Egress) error
	// SetReadDeadline ends a waiting ReadFrom with os.ErrDeadlineExceeded.
	SetReadDeadline(t time.Time) error
	Close() error
}

// Errors that [Listen] explains.
var (
	ErrPortTaken  = errors.New("port is taken")
	ErrPermission = errors.New("not permitted")
	ErrNoDevice   = errors.New("no such interface")
)

// ListenConfig says which socket to open.
type ListenConfig struct {
	// Addr is the address and port. It must be 0.0.0.0 to hear broadcasts;
	// port 0 takes a free one.
	Addr netip.AddrPort
	// Device, unless empty, is the one interface to hear and to speak on
	// (SO_BINDTODEVICE).
	Device string
}

// receiveBuffer holds the DISCOVERs of some 1500 Pis that are powered on at
// the same moment; the kernel's default holds 90.
const receiveBuffer = 4 << 20

// Conn is a UDP socket with the packet information of ip(7), IP_PKTINFO.
type Conn struct{ udp *net.UDPConn }

// Listen opens the socket. A port that is held by another server is an error
// that wraps [ErrPortTaken]: ports are not shared, since two DHCP servers would
// each get a part of the messages. Other errors wrap [ErrPermission],
// [ErrNoDevice] or the system's.
func Listen(ctx context.Context, c ListenConfig) (*Conn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = setOptions(int(fd), c.Device) }); cerr != nil {
			return cerr
		}
		return err
	}}
	pc, err := lc.ListenPacket(ctx, "udp4", c.Addr.String())
	if err != nil {
		return nil, listenError(c, err)
	}
	return &Conn{udp: pc.(*net.UDPConn)}, nil
}

func setOptions(fd int, device string) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1); err != nil {
		return fmt.Errorf("set IP_PKTINFO: %w", err)
	}
	if device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			return fmt.Errorf("bind to %s: %w", device, err)
		}
	}
	// A larger buffer is welcome and not needed; without CAP_NET_ADMIN the
	// kernel gives what net.core.rmem_max allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return nil
}

// listenError names the cause in the terms of somebody who can mend it.
func listenError(c ListenConfig, err error) error {
	where := c.Addr.String()
	if c.Device != "" {
		where += " on " + c.Device
	}
	for _, known := range []struct {
		errno, is error
		hint      string
	}{
		{unix.EADDRINUSE, ErrPortTaken, fmt.Sprintf("another DHCP server runs here: find it with \"ss -ulpn sport = :%d\" and stop it", c.Addr.Port())},
		{unix.EACCES, ErrPermission, "ports below 1024 need root or CAP_NET_BIND_SERVICE"},
		{unix.EPERM, ErrPermission, "binding to an interface needs CAP_NET_RAW on this kernel"},
		{unix.ENODEV, ErrNoDevice, "list the interfaces with \"ip link\""},
		{unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL, "the address is not on this host: list them with \"ip address\""},
	} {
		if errors.Is(err, known.errno) {
			return fmt.Errorf("dhcp: listen %s: %w (%s)", where, known.is, known.hint)
		}
	}
	return fmt.Errorf("dhcp: listen %s: %w", where, err)
}

// Addr returns the local address and port.
func (c *Conn) Addr() netip.AddrPort { return c.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the socket and ends a waiting ReadFrom.
func (c *Conn) Close() error { return c.udp.Close() }

// SetReadDeadline sets when a waiting ReadFrom gives up.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.udp.SetReadDeadline(t) }

// ReadFrom reads one datagram and where it came in.
func (c *Conn) ReadFrom(b []byte) (int, Ingress, error) {
	var oob [128]byte
	n, oobn, _, src, err := c.udp.ReadMsgUDPAddrPort(b, oob[:])
	if err != nil {
		return 0, Ingress{}, err
	}
	in := Ingress{Src: netip.AddrPortFrom(src.Addr().Unmap(), src.Port())}
	in.IfIndex, in.Dst = packetInfo(oob[:oobn])
	return n, in, nil
}

// packetInfo reads struct in_pktinfo of ip(7): the interface index in the
// host's byte order, the local address, the address in the header.
func packetInfo(oob []byte) (int, netip.Addr) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo {
			return int(hostUint32(data)), netip.AddrFrom4([4]byte(data[8:12]))
		}
		oob = rest
	}
	return 0, netip.Addr{}
}

// WriteTo sends one datagram by out.IfIndex with the source out.Src.
func (c *Conn) WriteTo(b []byte, out Egress) error {
	if !out.Src.Is4() || !out.Dst.Addr().Is4() {
		return fmt.Errorf("dhcp: send to %v from %v: %w", out.Dst, out.Src, unix.EAFNOSUPPORT)
	}
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(out.IfIndex), Spec_dst: out.Src.As4()})
	if _, _, err := c.udp.WriteMsgUDPAddrPort(b, oob, out.Dst); err != nil {
		return sendError(out, err)
	}
	return nil
}

func sendError(out Egress, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.EINVAL):
		hint = fmt.Sprintf(" (%v must be an address of interface %d)", out.Src, out.IfIndex)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENODEV):
		hint = fmt.Sprintf(" (is interface %d up and has it an address?)", out.IfIndex)
	case errors.Is(err, unix.EPERM):
		hint = " (a firewall rule forbids it)"
	}
	return fmt.Errorf("dhcp: send to %v from %v by interface %d: %w%s", out.Dst, out.Src, out.IfIndex, err, hint)
}
