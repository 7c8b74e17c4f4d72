package poe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gosnmp/gosnmp"
)

// Truth is TruthValue of RFC 2579, with its numbers.
type Truth uint8

// The values of Truth; the zero value is what no answer leaves.
const (
	TruthUnknown Truth = iota
	True
	False
)

var truthWords = [...]string{"unknown", "true", "false"}

func (t Truth) String() string { return word(truthWords[:], int(t)) }

// BridgePort is what the bridge in the switch said of one port. What it did
// not tell is zero.
type BridgePort struct {
	Port       int // the number in Config.Ports
	BridgePort int // dot1dBasePort
	STP        STP
	STPEnabled Truth // dot1dStpPortEnable: enabled is True
	AdminEdge  Truth // dot1dStpPortAdminEdgePort of RFC 4318: configured as an edge port
	OperEdge   Truth // dot1dStpPortOperEdgePort: works as one
	PVID       int   // VLAN that its untagged frames belong to
}

// VLAN is one VLAN of a switch: dot1qVlanCurrentTable of RFC 4363, or where a
// switch has none dot1qVlanStaticTable.
type VLAN struct {
	ID       int   // 1 to 4094
	Egress   []int // bridge ports that its frames leave by, ordered
	Untagged []int // those of them that they leave by without a tag
}

// Bridge is how the switch forwards.
type Bridge struct {
	Ports []BridgePort // those of Config.Ports whose bridge port is known, ordered by number
	VLANs []VLAN       // ordered; none: not told
}

// Bridge reads the spanning tree and the VLANs of the ports. The errors are
// those of Poll.
func (d *SNMP) Bridge(ctx context.Context) (Bridge, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return Bridge{}, d.fail("read the bridge of", 0, err)
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, tableLimit)
	defer cancel()
	b, err := d.bridge(limited)
	if err != nil {
		return Bridge{}, d.fail("read the bridge of", 0, late(inner, tableLimit, err))
	}
	return b, nil
}

func (d *SNMP) bridge(ctx context.Context) (b Bridge, err error) {
	if b.Ports, err = d.bridgePorts(ctx); err != nil {
		return b, err
	}
	b.VLANs, err = d.vlanTable(ctx, oidVlanEgress, oidVlanUntagged, 2) // a TimeFilter and the VLAN
	if err == nil && len(b.VLANs) == 0 {
		b.VLANs, err = d.vlanTable(ctx, oidVlanStaticEgress, oidVlanStaticUntagged, 1)
	}
	return b, err
}

// bridgeFields are what is read of each port.
var bridgeFields = []struct {
	oid    string
	decode func(*BridgePort, gosnmp.SnmpPDU)
}{
	{oidStpPortState, func(p *BridgePort, v gosnmp.SnmpPDU) { p.STP = STP(enum(v, int64(STPBroken))) }},
	{oidStpPortEnable, func(p *BridgePort, v gosnmp.SnmpPDU) { p.STPEnabled = Truth(enum(v, int64(False))) }},
	{oidStpAdminEdge, func(p *BridgePort, v gosnmp.SnmpPDU) { p.AdminEdge = Truth(enum(v, int64(False))) }},
	{oidStpOperEdge, func(p *BridgePort, v gosnmp.SnmpPDU) { p.OperEdge = Truth(enum(v, int64(False))) }},
	{oidPvid, func(p *BridgePort, v gosnmp.SnmpPDU) { p.PVID = int(enum(v, maxVLAN)) }},
}

// maxVLAN is the highest number of a VLAN (IEEE 802.1Q).
const maxVLAN = maxVLANs - 2

func (d *SNMP) bridgePorts(ctx context.Context) ([]BridgePort, error) {
	var ports []BridgePort
	var oids []string
	for _, n := range d.numbers {
		p := BridgePort{Port: n, BridgePort: d.plans[n].BridgePort}
		if p.BridgePort == 0 {
			continue
		}
		ports = append(ports, p)
		for _, f := range bridgeFields {
			oids = append(oids, f.oid+"."+strconv.Itoa(p.BridgePort))
		}
	}
	vars, err := d.get(ctx, oids)
	if err != nil {
		return nil, err
	}
	for i, v := range vars {
		bridgeFields[i%len(bridgeFields)].decode(&ports[i/len(bridgeFields)], v)
	}
	return ports, nil
}

// vlanTable reads a table of VLANs whose index has so many parts, the VLAN
// last.
func (d *SNMP) vlanTable(ctx context.Context, egress, untagged string, parts int) ([]VLAN, error) {
	vlans := make(map[int]*VLAN)
	row := func(set func(*VLAN, []int)) func([]uint32, gosnmp.SnmpPDU) {
		return func(index []uint32, v gosnmp.SnmpPDU) {
			ports, ok := portList(v)
			if !ok || len(index) != parts || index[parts-1] < 1 || index[parts-1] > maxVLAN {
				return
			}
			id := int(index[parts-1])
			if vlans[id] == nil {
				vlans[id] = &VLAN{ID: id}
			}
			set(vlans[id], ports)
		}
	}
	if err := d.walk(ctx, egress, maxVLANs, row(func(v *VLAN, ports []int) { v.Egress = ports })); err != nil {
		return nil, err
	}
	if err := d.walk(ctx, untagged, maxVLANs, row(func(v *VLAN, ports []int) { v.Untagged = ports })); err != nil {
		return nil, err
	}
	list := make([]VLAN, 0, len(vlans))
	for _, id := range slices.Sorted(maps.Keys(vlans)) {
		list = append(list, *vlans[id])
	}
	return list, nil
}

// maxPortList bounds a PortList, in octets: no stack has more bridge ports.
const maxPortList = 512

// portList reads a PortList of RFC 4363: port 1 is the highest bit of the
// first octet.
func portList(v gosnmp.SnmpPDU) (ports []int, ok bool) {
	octets, ok := v.Value.([]byte)
	if !ok || v.Type != gosnmp.OctetString || len(octets) > maxPortList {
		return nil, false
	}
	for i, o := range octets {
		for bit := range 8 {
			if o&(0x80>>bit) != 0 {
				ports = append(ports, 8*i+bit+1)
			}
		}
	}
	return ports, true
}

// Rewrite reads what a port's power was told to be, and writes that very
// value: it changes nothing, and tells whether the credentials may write.
// ErrReadOnly, ErrNoPort, ErrRefused, ErrNoAnswer, ErrAnswer.
func (d *SNMP) Rewrite(ctx context.Context, port int) error {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return d.fail("rewrite power of", port, err)
	}
	defer done()
	return d.fail("rewrite power of", port, d.rewrite(inner, port))
}

func (d *SNMP) rewrite(ctx context.Context, port int) error {
	if d.profile.ReadOnly {
		return fmt.Errorf("%w: %s", ErrReadOnly, d.profile.Vendor)
	}
	if err := d.check(port); err != nil {
		return err
	}
	oid := d.profile.Enable.OID + d.profile.Enable.Index.of(d.plans[port].PortIndex)
	vars, err := d.get(ctx, []string{oid})
	if err != nil {
		return err
	}
	n, err := number(vars[0])
	if err != nil || n < 0 || n > maxIndex {
		return fmt.Errorf("%w: power enable at %s", ErrAnswer, oid)
	}
	return d.sess.set(ctx, oid, int(n))
}
