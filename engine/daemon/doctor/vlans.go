package doctor

import (
	"fmt"
	"slices"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/poe"
)

// bridged is what a switch says of the VLANs of one Pi's port.
type bridged struct {
	poe.BridgePort
	egress, untagged []int
}

// checkVLANs: each Pi has a VLAN to itself. Its port is in it, untagged, and
// in no other; no other Pi's port is in it; and an uplink carries it.
func (e *Env) checkVLANs(c config.Switch, b poe.Bridge) []Finding {
	pis := e.onSwitch(c.Name)
	byBridge := make(map[int]int, len(b.Ports)) // a Pi's port by its bridge port
	for _, p := range b.Ports {
		if pis[p.Port] != nil {
			byBridge[p.BridgePort] = p.Port
		}
	}
	var found []Finding
	good, untold := 0, 0
	for _, p := range b.Ports {
		pi := pis[p.Port]
		if pi == nil {
			continue
		}
		if p.PVID == 0 && len(b.VLANs) == 0 {
			untold++
			continue
		}
		f := e.checkVLAN(pi, vlansOf(p, b), b, byBridge)
		found = append(found, f...)
		if len(f) == 0 {
			good++
		}
	}
	if untold > 0 {
		found = append(found, okf(c.Name, "the VLANs of %d ports with Pis are not told (Q-BRIDGE-MIB)", untold))
	}
	if good > 0 {
		found = append(found, okf(c.Name, "%d ports with Pis have a VLAN to themselves", good))
	}
	for i := range found {
		found[i].Check = "vlans"
	}
	return found
}

func vlansOf(p poe.BridgePort, b poe.Bridge) bridged {
	at := bridged{BridgePort: p}
	for _, v := range b.VLANs {
		if slices.Contains(v.Egress, p.BridgePort) {
			at.egress = append(at.egress, v.ID)
		}
		if slices.Contains(v.Untagged, p.BridgePort) {
			at.untagged = append(at.untagged, v.ID)
		}
	}
	return at
}

func (e *Env) checkVLAN(pi *engine.Pi, at bridged, b poe.Bridge, byBridge map[int]int) []Finding {
	subject := place(pi)
	want := e.vlanOf(&pi.Segment)
	own := at.PVID
	if own == 0 && len(at.untagged) == 1 {
		own = at.untagged[0]
	}
	if want != 0 && own != 0 && want != own {
		return []Finding{failf(subject, fmt.Sprintf("set the port's untagged VLAN to %d, and take it out of all others", want),
			"its untagged VLAN is %d, and %s is on VLAN %d", own, pi.Segment.Interface, want)}
	}
	var found []Finding
	if own != 0 && len(at.untagged) > 0 && !slices.Equal(at.untagged, []int{own}) {
		found = append(found, failf(subject, fmt.Sprintf("take the port out of all VLANs but %d", own), "frames leave it untagged from VLANs %v, and its own is %d", at.untagged, own))
	} else if others := without(at.egress, own); own != 0 && len(others) > 0 {
		found = append(found, failf(subject, fmt.Sprintf("take the port out of VLANs %v", others), "it is in VLANs %v, too: its Pi reaches what is there", others))
	}
	return append(found, e.checkAlone(pi, own, b, byBridge)...)
}

// checkAlone looks at who else is in a Pi's VLAN.
func (e *Env) checkAlone(pi *engine.Pi, own int, b poe.Bridge, byBridge map[int]int) []Finding {
	i := slices.IndexFunc(b.VLANs, func(v poe.VLAN) bool { return v.ID == own })
	if i < 0 {
		return e.checkShared(pi, own, b, byBridge)
	}
	v := b.VLANs[i]
	var found []Finding
	var with []string
	trunks := 0
	for _, port := range v.Egress {
		other, isPi := byBridge[port]
		switch {
		case isPi && other != pi.Segment.Port.Port:
			with = append(with, fmt.Sprint(other))
		case isPi:
		case slices.Contains(v.Untagged, port):
			found = append(found, warnf(place(pi), fmt.Sprintf("take bridge port %d out of VLAN %d, unless the server is there", port, own), "bridge port %d is in its VLAN %d, too, untagged", port, own))
			trunks++
		default:
			trunks++
		}
	}
	if len(with) > 0 {
		found = append(found, shared(pi, own, with))
	}
	if trunks == 0 {
		found = append(found, failf(place(pi), fmt.Sprintf("add VLAN %d, tagged, to the uplink", own), "no uplink carries its VLAN %d: it cannot reach the server", own))
	}
	return found
}

// checkShared is for switches that tell the ports' VLANs and no more.
func (e *Env) checkShared(pi *engine.Pi, own int, b poe.Bridge, byBridge map[int]int) []Finding {
	var with []string
	for _, p := range b.Ports {
		if _, isPi := byBridge[p.BridgePort]; isPi && own != 0 && p.PVID == own && p.Port != pi.Segment.Port.Port {
			with = append(with, fmt.Sprint(p.Port))
		}
	}
	if len(with) == 0 {
		return nil
	}
	return []Finding{shared(pi, own, with)}
}

func shared(pi *engine.Pi, own int, with []string) Finding {
	return failf(place(pi), "give each Pi's port a VLAN of its own", "its VLAN %d is that of ports %s, too: their Pis reach each other", own, ranges(with))
}

func without(list []int, one int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(n int) bool { return n == one })
}
