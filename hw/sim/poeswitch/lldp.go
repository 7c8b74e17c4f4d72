package poeswitch

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"

	"picloud/hw/sim/snmpagent"
)

// Neighbour is what a device tells by LLDP of itself.
type Neighbour struct {
	Chassis  net.HardwareAddr // its chassis ID
	Port     string           // its port's interface name
	PortDesc string
	SysName  string
	SysDesc  string
	// Bridge and Router are what it says to work as; neither is a station.
	Bridge, Router bool
}

// LLDP-MIB, IEEE 802.1AB.
var (
	oidLLDPLocal  = snmpagent.MustOID("1.0.8802.1.1.2.1.3.7.1")
	oidLLDPRemote = snmpagent.MustOID("1.0.8802.1.1.2.1.4.1.1")
)

// Subtypes and capabilities of LLDP-MIB.
const (
	chassisMAC    = 4
	portInterface = 5

	capBridge  = 0x80 >> 2 // BITS: bit 0 is the highest
	capRouter  = 0x80 >> 4
	capStation = 0x80 >> 7
)

// SetNeighbour makes a device at a port, the uplink included, tell what it is;
// nil ends that. Its row is there while the port's link is up.
func (sw *Switch) SetNeighbour(n int, neighbour *Neighbour) error {
	if n < 1 || n > sw.uplink.number {
		return fmt.Errorf("%w: %d of %d", ErrNoPort, n, sw.uplink.number)
	}
	sw.tableMu.Lock()
	defer sw.tableMu.Unlock()
	if neighbour == nil {
		delete(sw.neighbours, n)
	} else {
		sw.neighbours[n] = *neighbour
	}
	var vars []snmpagent.Variable
	for _, port := range slices.Sorted(maps.Keys(sw.neighbours)) {
		vars = append(vars, sw.remote(port, sw.neighbours[port])...)
	}
	if err := sw.mib.Replace(oidLLDPRemote, vars); err != nil {
		return fmt.Errorf("poeswitch: neighbour at port %d: %w", n, err)
	}
	return nil
}

// remote is a row of lldpRemTable. Its index begins with a TimeFilter, 0 here.
func (sw *Switch) remote(port int, n Neighbour) []snmpagent.Variable {
	p := sw.uplink
	if port < p.number {
		p = sw.ports[port-1]
	}
	caps := byte(0)
	if n.Bridge {
		caps |= capBridge
	}
	if n.Router {
		caps |= capRouter
	}
	caps = cmp.Or(caps, capStation)
	row := make([]snmpagent.Variable, 0, 9)
	for _, c := range []struct {
		column uint32
		value  snmpagent.Value
	}{
		{4, snmpagent.Integer(chassisMAC)},
		{5, snmpagent.OctetString([]byte(n.Chassis))},
		{6, snmpagent.Integer(portInterface)},
		{7, snmpagent.OctetString(n.Port)},
		{8, snmpagent.OctetString(n.PortDesc)},
		{9, snmpagent.OctetString(n.SysName)},
		{10, snmpagent.OctetString(n.SysDesc)},
		{11, snmpagent.OctetString([]byte{caps, 0})},
		{12, snmpagent.OctetString([]byte{caps, 0})},
	} {
		row = append(row, snmpagent.Variable{
			Object: oidLLDPRemote.Append(c.column), Instance: snmpagent.OID{0, uint32(port), 1},
			Get: func() (snmpagent.Value, bool) {
				sw.mu.Lock()
				defer sw.mu.Unlock()
				return c.value, p.link
			},
		})
	}
	return row
}

// localColumns are lldpLocPortTable, indexed by LldpPortNumber, which is the
// bridge port.
var localColumns = []column{
	{object: oidLLDPLocal.Append(2), get: fixed(portInterface)},
	{object: oidLLDPLocal.Append(3), get: text((*Switch).ifName)},
	{object: oidLLDPLocal.Append(4), get: text(func(_ *Switch, p *port) string { return fmt.Sprintf("port %d", p.number) })},
}
