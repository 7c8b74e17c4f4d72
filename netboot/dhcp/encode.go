package dhcp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picloud/netboot/dhcp/wire"
)

// maxReply is the longest answer: every client takes 576 bytes with the
// headers of IP and UDP (RFC 2131 section 2).
const maxReply = 576 - 20 - 8

// Option codes that only operating systems ask for (RFC 2132).
const (
	optDNS      = 6
	optHostName = 12
	optNTP      = 42
)

const maxServers = 3

// encoder builds an answer. Its options keep the order in which dnsmasq sends
// them, the one in which the boot ROMs have been seen to work.
type encoder struct{ b []byte }

// encodeLease returns an OFFER or ACK with the address, RFC 2131 table 3.
func encodeLease(m *message, r *Reservation, typ dhcpv4.MessageType) []byte {
	e := newEncoder(m, r, typ)
	copy(e.b[wire.OffYIAddr:], r.Addr.Addr().AsSlice())
	if typ == dhcpv4.MessageTypeAck {
		copy(e.b[wire.OffCIAddr:], m.raw[wire.OffCIAddr:][:4])
	}
	lease := r.lease()
	e.seconds(wire.OptLeaseTime, lease)
	e.seconds(wire.OptRenewalTime, lease/2)
	e.seconds(wire.OptRebindingTime, lease*7/8)
	return e.finish(m, r)
}

// encodeInform returns an ACK without address and lease times.
func encodeInform(m *message, r *Reservation) []byte {
	e := newEncoder(m, r, dhcpv4.MessageTypeAck)
	copy(e.b[wire.OffCIAddr:], m.raw[wire.OffCIAddr:][:4])
	return e.finish(m, r)
}

// encodeNak returns a NAK, RFC 2131 table 3: no addresses, and next to no
// options.
func encodeNak(m *message, r *Reservation) []byte {
	e := newEncoder(m, r, dhcpv4.MessageTypeNak)
	clear(e.b[wire.OffSIAddr:][:4])
	e.option(wire.OptMessage, string(ReasonWrongAddress))
	e.clientIdentifier(m)
	return e.end()
}

func newEncoder(m *message, r *Reservation, typ dhcpv4.MessageType) *encoder {
	e := &encoder{b: make([]byte, wire.HeaderLen, maxReply)}
	copy(e.b, m.raw[:wire.OffCIAddr]) // type, lengths, xid, secs, flags
	e.b[0] = byte(dhcpv4.OpcodeBootReply)
	clear(e.b[8:wire.OffFlags]) // secs
	copy(e.b[wire.OffSIAddr:], r.Server.AsSlice())
	copy(e.b[wire.OffCHAddr:], m.raw[wire.OffCHAddr:wire.OffSName])
	copy(e.b[wire.OffCookie:], wire.Cookie)
	e.option(wire.OptMessageType, string([]byte{byte(typ)}))
	e.addr(wire.OptServerIdentifier, r.Server)
	return e
}

// finish adds the network's options, then those of the client's kind.
func (e *encoder) finish(m *message, r *Reservation) []byte {
	pxe := m.identity.PXE
	if pxe || m.asksFor(wire.OptSubnetMask) {
		e.uint32(wire.OptSubnetMask, mask(r.Addr))
	}
	if pxe || m.asksFor(wire.OptBroadcastAddress) {
		e.uint32(wire.OptBroadcastAddress, broadcast(r.Addr))
	}
	if r.Router.Is4() && m.asksFor(wire.OptRouter) {
		e.addr(wire.OptRouter, r.Router)
	}
	e.clientIdentifier(m)
	if pxe {
		e.bootOptions(m, r)
	} else {
		e.systemOptions(m, r)
	}
	return e.end()
}

// bootOptions adds what a boot ROM goes by. They are sent without being asked
// for, since the ROMs' lists are not to be trusted.
func (e *encoder) bootOptions(m *message, r *Reservation) {
	e.option(wire.OptTFTPServerName, r.Server.String())
	e.option(wire.OptVendorClass, wire.ServerVendorClass)
	if guid := m.options[wire.OptClientGUID]; len(guid) == wire.GUIDLen {
		e.option(wire.OptClientGUID, string(guid))
	}
	e.option(wire.OptVendorSpecific, wire.VendorOptions)
}

func (e *encoder) systemOptions(m *message, r *Reservation) {
	if m.asksFor(optDNS) {
		e.addrs(optDNS, r.DNS)
	}
	if m.asksFor(optHostName) && r.HostName != "" {
		e.option(optHostName, r.HostName)
	}
	if m.asksFor(optNTP) {
		e.addrs(optNTP, r.NTP)
	}
}

// clientIdentifier echoes option 61, as RFC 6842 demands.
func (e *encoder) clientIdentifier(m *message) {
	if id, ok := m.options[wire.OptClientIdentifier]; ok {
		e.option(wire.OptClientIdentifier, string(id))
	}
}

// roomForBoot is kept free for what a boot ROM needs, whatever the client puts
// into its identifier: options 66, 60, 97, 43 and the end.
const roomForBoot = 2 + len("255.255.255.255") + 2 + len(wire.ServerVendorClass) +
	2 + wire.GUIDLen + 2 + len(wire.VendorOptions) + 1

// option adds one option, or leaves it out if it does not fit.
func (e *encoder) option(code byte, value string) {
	limit := maxReply - 1
	if code == wire.OptClientIdentifier {
		limit = maxReply - roomForBoot
	}
	if len(value) > 255 || len(e.b)+2+len(value) > limit {
		return
	}
	e.b = wire.AppendOption(e.b, code, value)
}

func (e *encoder) addr(code byte, a netip.Addr) { e.uint32(code, toUint32(a)) }

func (e *encoder) addrs(code byte, list []netip.Addr) {
	var b []byte
	for _, a := range list {
		if a.Is4() && len(b) < maxServers*4 {
			b = append(b, a.AsSlice()...)
		}
	}
	if len(b) > 0 {
		e.option(code, string(b))
	}
}

func (e *encoder) seconds(code byte, d time.Duration) {
	s := min(d/time.Second, 1<<32-1)
	e.uint32(code, uint32(s))
}

func (e *encoder) uint32(code byte, v uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	e.option(code, string(b[:]))
}

// end closes the options and fills up to the least length of BOOTP.
func (e *encoder) end() []byte {
	e.b = append(e.b, wire.OptEnd)
	if n := wire.MinLen - len(e.b); n > 0 {
		e.b = append(e.b, make([]byte, n)...)
	}
	return e.b
}
