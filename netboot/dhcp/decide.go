package dhcp

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Destination is where an answer goes.
type Destination uint8

// The destinations.
const (
	// ToNobody: there is no answer.
	ToNobody Destination = iota
	// ToClient is a client that has no address yet: everybody on its
	// segment, or with [ReplyUnicast] the address reserved for it.
	ToClient
	// ToAddress is a client that uses its address: there.
	ToAddress
)

// Decision is what one message means and what is due for it.
type Decision struct {
	// Event tells of the message, without its time.
	Event Event
	// Reply is the answer's bytes, nil for silence; ReplyKind is KindOffer,
	// KindAck or KindNak, and ReplyReason is why a NAK.
	Reply       []byte
	ReplyKind   Kind
	ReplyReason Reason
	To          Destination
}

// Decide works out the answer to one message: bytes in, bytes out. It does no
// input or output, keeps nothing, and takes any bytes.
func Decide(packet []byte, in Ingress, table Table) Decision {
	m, reason := parse(packet)
	d := Decision{Event: Event{
		Kind: KindIgnored, Reason: reason, Ingress: in, MAC: m.mac, XID: m.xid,
		Identity: m.identity, Requested: m.requested, Server: m.server, Count: 1,
	}}
	if reason != ReasonNone {
		return d
	}
	handle, ok := handlers[m.typ]
	if !ok {
		d.Event.Reason = ReasonType
		return d
	}
	res, verdict := table.Lookup(in, m.mac)
	d.Event.Reservation = res
	switch verdict {
	case Known:
	case UnknownPi:
		d.Event.Kind = KindUnknownPi
		return d
	default:
		d.Event.Kind = KindUnknownSegment
		return d
	}
	if err := res.Check(); err != nil {
		d.Event.Kind, d.Event.Reason, d.Event.Err = KindFailed, ReasonReservation, err
		return d
	}
	handle(&m, &res, &d)
	return d
}

// handlers holds what is due for each type of message (RFC 2131 section 4.3).
var handlers = map[dhcpv4.MessageType]func(*message, *Reservation, *Decision){
	dhcpv4.MessageTypeDiscover: discover,
	dhcpv4.MessageTypeRequest:  request,
	dhcpv4.MessageTypeInform:   inform,
	dhcpv4.MessageTypeDecline:  func(_ *message, _ *Reservation, d *Decision) { d.Event.Kind = KindDecline },
	dhcpv4.MessageTypeRelease:  func(_ *message, _ *Reservation, d *Decision) { d.Event.Kind = KindRelease },
}

func discover(m *message, r *Reservation, d *Decision) {
	d.Event.Kind = KindDiscover
	d.Reply = encodeLease(m, r, dhcpv4.MessageTypeOffer)
	d.ReplyKind, d.To = KindOffer, ToClient
}

// request answers in the four states of RFC 2131 section 4.3.2, which differ
// in the address that the client names and in whether it names a server.
func request(m *message, r *Reservation, d *Decision) {
	d.Event.Kind = KindRequest
	if m.server.IsValid() && m.server != r.Server {
		d.Event.Reason = ReasonOtherServer
		return
	}
	wanted := m.requested // SELECTING, INIT-REBOOT
	if !wanted.IsValid() {
		wanted = m.ciaddr // RENEWING, REBINDING
	}
	switch {
	case !wanted.IsValid():
		d.Event.Reason = ReasonNoAddress
	case wanted != r.Addr.Addr(), m.ciaddr.IsValid() && m.ciaddr != r.Addr.Addr():
		d.Reply = encodeNak(m, r)
		d.ReplyKind, d.ReplyReason, d.To = KindNak, ReasonWrongAddress, ToClient
	default:
		d.Reply = encodeLease(m, r, dhcpv4.MessageTypeAck)
		d.ReplyKind, d.To = KindAck, destination(m.ciaddr)
	}
}

// inform answers a client that set its address by itself (RFC 2131 section
// 4.3.5). Another address than the reserved one is not answered: the answer
// would go there.
func inform(m *message, r *Reservation, d *Decision) {
	d.Event.Kind = KindInform
	if m.ciaddr != r.Addr.Addr() {
		d.Event.Reason = ReasonInform
		return
	}
	d.Reply = encodeInform(m, r)
	d.ReplyKind, d.To = KindAck, ToAddress
}

func destination(ciaddr netip.Addr) Destination {
	if ciaddr.IsValid() {
		return ToAddress
	}
	return ToClient
}
