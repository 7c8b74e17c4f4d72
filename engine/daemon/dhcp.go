package daemon

import (
	"picloud/engine"
	"picloud/netboot/dhcp"
)

// reservations answers DHCP's look-ups from the engine's boot table.
type reservations struct {
	routes *routes
	table  func() *engine.BootTable
}

// Lookup is dhcp.Table's.
func (r reservations) Lookup(in dhcp.Ingress, mac dhcp.MAC) (dhcp.Reservation, dhcp.Verdict) {
	segment := r.routes.find(in.IfIndex, in.Dst)
	e, ok := r.table().Segment(segment)
	if segment == "" || !ok {
		return dhcp.Reservation{}, dhcp.UnknownSegment
	}
	res := dhcp.Reservation{
		Pi: string(e.Pi), Segment: segment, Server: e.Segment.Server, Addr: e.Segment.Addr, HostName: e.Host,
	}
	if e.MAC == (engine.MAC{}) || e.MAC != engine.MAC(mac) {
		return res, dhcp.UnknownPi
	}
	return res, dhcp.Known
}

// dhcpKinds are the engine's words for the events it wants to know of.
var dhcpKinds = map[dhcp.Kind]string{
	dhcp.KindDiscover:  "discover",
	dhcp.KindRequest:   "request",
	dhcp.KindOffer:     "offer",
	dhcp.KindAck:       "ack",
	dhcp.KindNak:       "nak",
	dhcp.KindUnknownPi: "unknown",
}

// dhcpModels are the models that a ROM's packet alone can tell. Where it tells
// a revision code too, that is more exact.
var dhcpModels = map[dhcp.Family]engine.Model{
	dhcp.Family3B:     engine.Model3B,
	dhcp.Family3BPlus: engine.Model3BPlus,
	dhcp.Family4:      engine.Model4B,
	dhcp.Family5:      engine.Model5,
}

// dhcpObservation turns an event into evidence, if it is any.
func dhcpObservation(e dhcp.Event) (engine.Observation, bool) {
	kind, ok := dhcpKinds[e.Kind]
	if !ok {
		return engine.Observation{}, false
	}
	seen := &engine.DHCPSeen{
		Segment: e.Reservation.Segment,
		Kind:    kind,
		MAC:     engine.MAC(e.MAC),
		Model:   dhcpModels[e.Identity.Family],
		ROM:     e.Identity.PXE,
		Second:  e.Identity.Family == dhcp.Family3BPlus,
		Reason:  string(e.Reason),
	}
	if e.Identity.HasSerial {
		seen.Serial = e.Identity.Serial
	}
	return engine.Observation{Time: e.Time, DHCP: seen}, true
}
