package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picloud/netboot/dhcp/wire"
)

// maxMessage is the longest message that is read: what one Ethernet frame
// holds, less the headers of IP and UDP.
const maxMessage = 1500 - 20 - 8

// message is a client's message that was found fit to be looked at.
type message struct {
	typ               dhcpv4.MessageType
	mac               MAC
	xid               uint32
	ciaddr            netip.Addr // invalid when 0.0.0.0
	requested, server netip.Addr // options 50 and 54
	identity          Identity
	raw               []byte // as received
	options           dhcpv4.Options
}

// parse reads a client's message. Whatever it does not refuse is a message
// directly from an Ethernet card; its mac is set as soon as it can be read.
func parse(b []byte) (message, Reason) {
	m := message{raw: b}
	if r := m.checkHeader(); r != ReasonNone {
		return m, r
	}
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		return m, ReasonMalformed
	}
	m.options = p.Options
	m.typ = p.MessageType()
	m.ciaddr = address(b[wire.OffCIAddr:][:4])
	m.requested = address(p.Options[wire.OptRequestedAddress])
	m.server = address(p.Options[wire.OptServerIdentifier])
	m.identity = Identify(p)
	if m.typ == dhcpv4.MessageTypeNone {
		return m, ReasonNoType
	}
	return m, ReasonNone
}

func (m *message) checkHeader() Reason {
	b := m.raw
	switch {
	case len(b) < wire.HeaderLen:
		return ReasonShort
	case len(b) > maxMessage:
		return ReasonLong
	case b[0] != byte(dhcpv4.OpcodeBootRequest):
		return ReasonReply
	case b[1] != 1 || b[2] != byte(len(m.mac)):
		return ReasonHardware
	}
	m.mac = MAC(b[wire.OffCHAddr:])
	m.xid = binary.BigEndian.Uint32(b[wire.OffXID:])
	switch {
	case !m.mac.IsUnicast():
		return ReasonMAC
	case b[3] != 0 || address(b[wire.OffGIAddr:][:4]).IsValid():
		return ReasonRelayed
	}
	return ReasonNone
}

// address reads four bytes; it is invalid for anything else and for 0.0.0.0.
func address(b []byte) netip.Addr {
	if len(b) != net.IPv4len || [4]byte(b) == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}

// asksFor says whether option 55 has the code. Without the list everything is
// asked for (RFC 2131 section 3.5).
func (m *message) asksFor(code byte) bool {
	list, ok := m.options[wire.OptParameterList]
	if !ok {
		return true
	}
	for _, c := range list {
		if c == code {
			return true
		}
	}
	return false
}
