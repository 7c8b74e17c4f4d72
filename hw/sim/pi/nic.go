package pi

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// NIC is the wired network port of a Pi together with its cable. The boot ROM,
// the firmware and the kernel use it one after the other, from one goroutine.
type NIC interface {
	// OpenDHCP opens the port for packets before the Pi has an address.
	OpenDHCP() (DHCPConn, error)
	// Configure gives the port an address, in place of the one that it had.
	Configure(Addressing) error
	// ListenUDP opens a UDP socket on a port of the configured address. Its packets
	// have the TTL and the checksum of d; their identification is the kernel's.
	ListenUDP(port uint16, d Datagram) (*net.UDPConn, error)
	// DialTCP connects from the configured address.
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// ListenTCP listens on the configured address.
	ListenTCP(ctx context.Context, port uint16) (net.Listener, error)
	// AnswerARP sets whether the Pi answers ARP requests. It does after Configure.
	AnswerARP(on bool) error
	// Reset takes the address away. Sockets are closed by whoever opened them.
	Reset() error
}

// Addressing is what a program on the Pi sets an interface to.
type Addressing struct {
	// Prefix is the address with the length of its network's prefix.
	Prefix netip.Prefix
	// Gateway is the default router; the zero value means none.
	Gateway netip.Addr
	// OnLink is whether the program asks for every address by ARP, routers or not,
	// as the 3B's ROM and bootcode.bin do (raspberrypi/firmware issues 859, 983).
	OnLink bool
}

// DHCPConn carries DHCP packets of a Pi that has no address. Its methods are
// called from one goroutine, except Close, which ends a Receive.
type DHCPConn interface {
	// Broadcast sends a message from 0.0.0.0 port 68 to the broadcast address, port
	// 67.
	Broadcast(message []byte, d Datagram) error
	// Receive waits for one packet. It returns 0 octets for a packet to the Pi that
	// is no DHCP message to port 68 but did arrive, and an error that wraps
	// os.ErrDeadlineExceeded or net.ErrClosed when there was none.
	Receive(buf []byte, deadline time.Time) (n int, src netip.Addr, err error)
	Close() error
}

// Port is the switch port at the other end of the cable, as the Pi works on it.
// Its methods must not block and may be called from any goroutine.
type Port interface {
	// SetLink tells the switch that its port has a link or lost it.
	SetLink(up bool)
	// SetDraw sets what the Pi takes over PoE, in milliwatts.
	SetDraw(milliwatts int)
	// Learn tells the switch that a frame with this source address came in.
	Learn(mac net.HardwareAddr)
	// Forwarding reports whether the switch passes frames on. Until spanning tree
	// lets it, everything sent in either direction is lost.
	Forwarding() bool
}

// unmanaged is the Port of a Pi that hangs on no simulated switch.
type unmanaged struct{}

func (unmanaged) SetLink(bool)           {}
func (unmanaged) SetDraw(int)            {}
func (unmanaged) Learn(net.HardwareAddr) {}
func (unmanaged) Forwarding() bool       { return true }
