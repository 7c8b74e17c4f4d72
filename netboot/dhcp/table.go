package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Ingress is where a message came in.
type Ingress struct {
	// IfIndex is the index of the interface; the answer leaves by it.
	IfIndex int
	// Dst is the address that the message was sent to, most often
	// 255.255.255.255.
	Dst netip.Addr
	// Src is its sender, most often 0.0.0.0:68. Hostile.
	Src netip.AddrPort
}

// Verdict is whether a Pi is one of ours.
type Verdict uint8

// The verdicts.
const (
	// UnknownSegment: nothing is expected there.
	UnknownSegment Verdict = iota
	// UnknownPi: the segment is ours and the MAC address is not the one, or
	// not one of those, that it is reserved for.
	UnknownPi
	// Known: the reservation is this Pi's.
	Known
)

var verdictNames = [...]string{"unknown segment", "unknown Pi", "known"}

// String returns the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", v)
}

// Reservation is what one Pi gets on one segment.
type Reservation struct {
	// Pi and Segment are the caller's names. Together with the MAC address
	// they tell Pis apart, so Segment must not be empty.
	Pi, Segment string
	// Server is our address on the segment: server identifier, TFTP server
	// and source of the answer. It must be within Addr's network, since the
	// 3B ROM asks for it by ARP and knows no router.
	Server netip.Addr
	// Addr is the Pi's address with the length of the network's prefix.
	Addr netip.Prefix
	// Lease is the lease time; 0 is [DefaultLease].
	Lease time.Duration

	// The rest is for operating systems that ask for it; zero values are
	// left out. At most three DNS and NTP servers are told.
	Router   netip.Addr
	DNS, NTP []netip.Addr
	HostName string
}

// DefaultLease is the lease time of a reservation that names none.
const DefaultLease = 12 * time.Hour

// ErrReservation is the cause of [Reservation.Check]'s errors.
var ErrReservation = errors.New("reservation cannot work")

// Check says why r could not be answered with, or nil.
func (r *Reservation) Check() error {
	switch {
	case r.Segment == "":
		return fmt.Errorf("dhcp: check reservation of %q: %w: it has no segment", r.Pi, ErrReservation)
	case !r.Server.Is4() || !r.Addr.Addr().Is4():
		return fmt.Errorf("dhcp: check segment %q: %w: server %v and address %v must both be IPv4",
			r.Segment, ErrReservation, r.Server, r.Addr)
	case r.Addr.Bits() > 30:
		return fmt.Errorf("dhcp: check segment %q: %w: %v has no room for a server and a Pi: use a /30 or larger",
			r.Segment, ErrReservation, r.Addr)
	case !r.Addr.Contains(r.Server):
		return fmt.Errorf("dhcp: check segment %q: %w: server %v is not in the Pi's network %v",
			r.Segment, ErrReservation, r.Server, r.Addr.Masked())
	case r.Server == r.Addr.Addr():
		return fmt.Errorf("dhcp: check segment %q: %w: server and Pi have the same address %v",
			r.Segment, ErrReservation, r.Server)
	case !isHost(r.Addr, r.Addr.Addr()) || !isHost(r.Addr, r.Server):
		return fmt.Errorf("dhcp: check segment %q: %w: %v or %v is the network's own or its broadcast address",
			r.Segment, ErrReservation, r.Addr.Addr(), r.Server)
	case r.Lease < 0:
		return fmt.Errorf("dhcp: check segment %q: %w: negative lease time %v", r.Segment, ErrReservation, r.Lease)
	}
	return nil
}

// same says that an answer made from r is still the right one to give by o.
func (r *Reservation) same(o *Reservation) bool {
	return r.Pi == o.Pi && r.Segment == o.Segment && r.Server == o.Server && r.Addr == o.Addr
}

func (r *Reservation) lease() time.Duration {
	if r.Lease == 0 {
		return DefaultLease
	}
	return r.Lease
}

// Table tells who gets what. Lookup is called for every message, so it answers
// from memory and does not block, and it may be called by several goroutines
// at once. For UnknownPi the reservation need only name the segment.
type Table interface {
	Lookup(in Ingress, mac MAC) (Reservation, Verdict)
}

func mask(p netip.Prefix) uint32 { return ^uint32(0) << (32 - p.Bits()) }

func toUint32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func broadcast(p netip.Prefix) uint32 { return toUint32(p.Addr()) | ^mask(p) }

func isHost(p netip.Prefix, a netip.Addr) bool {
	n := toUint32(a)
	return n&^mask(p) != 0 && n != broadcast(p)
}
