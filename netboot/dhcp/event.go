package dhcp

import (
	"net/netip"
	"time"
)

// Kind is what happened.
type Kind uint8

// The kinds. The first group is messages of a known Pi, the second our answers
// to it as they leave.
const (
	KindDiscover Kind = iota + 1
	KindRequest
	KindDecline // the Pi says that somebody else uses its address
	KindRelease
	KindInform

	KindOffer
	KindAck
	KindNak

	KindUnknownPi      // its segment is ours, it is not the Pi reserved there
	KindUnknownSegment // it came in where nothing is expected
	KindIgnored        // no answer is due: Reason says why
	KindFailed         // an answer was due and not given: Reason, Err
)

var kindNames = [...]string{
	KindDiscover: "discover", KindRequest: "request", KindDecline: "decline",
	KindRelease: "release", KindInform: "inform", KindOffer: "offer",
	KindAck: "ack", KindNak: "nak", KindUnknownPi: "unknown pi",
	KindUnknownSegment: "unknown segment", KindIgnored: "ignored", KindFailed: "failed",
}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "none"
}

// Reason is why there was no answer, or a NAK. It is made to be shown.
type Reason string

// The reasons.
const (
	ReasonNone Reason = ""

	// Messages that are not for us.
	ReasonShort     Reason = "shorter than a DHCP message"
	ReasonLong      Reason = "longer than a DHCP message can be"
	ReasonMalformed Reason = "malformed options"
	ReasonReply     Reason = "an answer of another DHCP server or relay"
	ReasonHardware  Reason = "not from an Ethernet card"
	ReasonMAC       Reason = "MAC address is zero or a group's"
	ReasonRelayed   Reason = "came through a DHCP relay: Pis must be on a segment of the server's own"
	ReasonNoType    Reason = "BOOTP without a DHCP message type"
	ReasonType      Reason = "a message type that only servers send, or none that exists"
	ReasonFlood     Reason = "too many messages"

	// A known Pi's messages that get no answer.
	ReasonOtherServer Reason = "the Pi took the offer of another DHCP server on its segment"
	ReasonNoAddress   Reason = "request names no address"
	ReasonInform      Reason = "inform from an address that is not reserved for the Pi"

	// NAKs.
	ReasonWrongAddress Reason = "the Pi wants another address than its own"

	// Failures.
	ReasonReservation Reason = "the reservation cannot work"
	ReasonTaken       Reason = "the address is reserved on another segment too"
	ReasonChanged     Reason = "the reservation changed while the answer was held back"
	ReasonBusy        Reason = "too many answers are held back"
	ReasonSend        Reason = "the answer could not be sent"
)

// Event is one message, or one answer, or one that was not given.
type Event struct {
	Time    time.Time
	Kind    Kind
	Reason  Reason
	Err     error // of a failure
	Ingress Ingress
	// MAC, XID and Identity are what the message told; zero if it was not
	// readable.
	MAC      MAC
	XID      uint32
	Identity Identity
	// Reservation is the Pi's. For an unknown Pi only the segment counts.
	Reservation Reservation
	// Requested is the address that the Pi asked for or said to have, and
	// Server the server that it named; invalid if none.
	Requested, Server netip.Addr
	// Count is the number of messages that a flood's event stands for, 1 for
	// all others.
	Count int
}
