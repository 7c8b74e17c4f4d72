package propose

import (
	"fmt"
	"slices"
	"strings"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/poe"
)

// piBlocks are address blocks that Raspberry Pis have had. They are hints: a
// board's address can be changed, and new boards have new blocks.
var piBlocks = []string{"28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"}

func ofPi(e poe.FDBEntry) bool {
	return slices.Contains(piBlocks, e.HardwareAddr().String()[:len("b8:27:eb")])
}

// segment writes what a port may be the place of, and tells whether it is one
// beyond doubt.
func (p *proposal) segment(port *poe.SurveyPort) bool {
	p.out.WriteByte('\n')
	p.say("Port %d%s: %s.", port.Number, named(port), power(port))
	if isVLAN(port.PVID) {
		p.say("VLAN %d has its frames without a tag (dot1qPvid).", port.PVID)
	}
	if len(port.Tagged) > 0 {
		p.say("It is in VLANs %s too, with a tag: whoever has the Pi could reach them.", numbers(port.Tagged))
	}
	for _, n := range port.Neighbours {
		p.say("LLDP: %s.", neighbour(n))
	}
	board := p.board(port)
	why := p.doubt(port)
	if why != "" {
		p.say("Not proposed: %s", why)
	}
	if !isVLAN(port.PVID) {
		return false
	}
	prefix := ""
	if why != "" {
		prefix = "#"
	}
	p.encode(prefix, &config.Config{Segments: []config.Segment{{
		Name: p.name(port), Interface: fmt.Sprintf("%s.%d", p.o.Interface, port.PVID), Address: p.network(port.Number),
		Switch: p.sw.Name, Port: port.Number, MAC: board,
	}}})
	return why == ""
}

func named(port *poe.SurveyPort) string {
	s := ""
	if port.IfName != "" {
		s += ", " + quoted(port.IfName) + " (ifName)"
	}
	if port.Alias != "" {
		s += ", " + quoted(port.Alias) + " (ifAlias)"
	}
	return s
}

// power is what the switch says of the port's power.
func power(port *poe.SurveyPort) string {
	st := &port.State
	if st.Err != nil {
		return "its power is not known"
	}
	if !st.On() {
		return fmt.Sprintf("no power, %s", st.Detection)
	}
	s := "delivers power"
	if st.HasWatts {
		s += fmt.Sprintf(", %.1f W", float64(st.Milliwatts)/1000)
	}
	if st.Class != poe.ClassUnknown {
		s += fmt.Sprintf(", class %d", st.Class)
	}
	return s
}

func numbers(list []int) string {
	const most = 8
	words := make([]string, 0, most)
	for _, n := range list[:min(len(list), most)] {
		words = append(words, fmt.Sprint(n))
	}
	if len(list) > most {
		words = append(words, fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(words, ", ")
}

// board is the address of the one board at the port: the only station in its
// VLAN, or the only one of a block that Pis have had.
func (p *proposal) board(port *poe.SurveyPort) engine.MAC {
	var here, pis []poe.FDBEntry
	for _, e := range port.Stations {
		if e.VLAN != 0 && e.VLAN != port.PVID {
			continue
		}
		here = append(here, e)
		hint := "not of a block that Raspberry Pis are known to have"
		if ofPi(e) {
			pis = append(pis, e)
			hint = "of a block of Raspberry Pis"
		}
		p.say("Heard there: %s, %s.", e.HardwareAddr(), hint)
	}
	if port.More > 0 {
		p.say("And %d more.", port.More)
		return engine.MAC{}
	}
	for _, list := range [][]poe.FDBEntry{here, pis} {
		if len(list) == 1 && list[0].MAC[0]&1 == 0 && list[0].MAC != [6]byte{} && !p.names[list[0].HardwareAddr().String()] {
			p.names[list[0].HardwareAddr().String()] = true // a board is at one place
			return engine.MAC(list[0].MAC)
		}
	}
	return engine.MAC{}
}

// isVLAN tells whether a number is a VLAN's (IEEE 802.1Q, section 9.6).
func isVLAN(n int) bool { return n >= 1 && n <= 4094 }

// doubt is why a port is no place of a Pi, "" = it looks like one. Nothing is
// held against a port that gives no power now: its Pi may be off.
func (p *proposal) doubt(port *poe.SurveyPort) string {
	switch {
	case port.PVID == 0:
		return "the switch does not tell its VLAN."
	case !isVLAN(port.PVID):
		return fmt.Sprintf("its VLAN is told to be %d, which is none.", port.PVID)
	case slices.ContainsFunc(port.Neighbours, func(n poe.Neighbour) bool { return n.Forwards }):
		return "what is there forwards, so it is no single Pi."
	case len(p.vlans[port.PVID]) > 1:
		return fmt.Sprintf("VLAN %d is not its alone, but of ports %s. Give each Pi a VLAN of its own.", port.PVID, numbers(p.vlans[port.PVID]))
	}
	return ""
}

// name is the segment's, and the Pi's: what staff wrote at the port if that can
// be a host name and no other has it, else made of the port's number.
func (p *proposal) name(port *poe.SurveyPort) string {
	name := label(port.Alias)
	if name == "" || p.names[name] {
		name = fmt.Sprintf("%s-%03d", p.o.Prefix, port.Number)
	}
	for n := 2; p.names[name]; n++ {
		name = fmt.Sprintf("%s-%03d-%d", p.o.Prefix, port.Number, n)
	}
	p.names[name] = true
	return name
}
