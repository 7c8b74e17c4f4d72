package poe

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// Neighbour is a device that told the switch by LLDP what it is: a row of
// lldpRemTable (IEEE 802.1AB). All text is the neighbour's own, made printable.
type Neighbour struct {
	BridgePort int    // dot1dBasePort of the switch's port, 0 where it cannot be told
	LocalPort  string // what the switch calls its port: lldpLocPortId or lldpLocPortDesc
	ChassisID  string // a MAC or IP address, or text
	PortID     string
	PortDesc   string
	SysName    string
	SysDesc    string
	// Forwards says that it works as a bridge, a router or a wireless access
	// point: what hangs on such a port is no single board.
	Forwards bool
}

// maxNeighbours bounds the LLDP rows of one switch.
const maxNeighbours = 4096

// Neighbours reads what the switch has heard by LLDP, ordered by port; none
// where it does not speak it.
func (d *SNMP) Neighbours(ctx context.Context) ([]Neighbour, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return nil, d.fail("read neighbours of", 0, err)
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, tableLimit)
	defer cancel()
	list, err := d.neighbours(limited)
	return list, d.fail("read neighbours of", 0, late(inner, tableLimit, err))
}

// remote is the index of lldpRemTable without its TimeMark: the local port and
// a number.
type remote struct{ port, index uint32 }

// lldpRow is a neighbour while it is read, column by column.
type lldpRow struct {
	Neighbour
	chassisKind, portKind int64
	chassis, portID       gosnmp.SnmpPDU
}

// lldpColumns are read of every neighbour. The subtypes come before what they
// are about.
var lldpColumns = []struct {
	column uint32
	take   func(*lldpRow, gosnmp.SnmpPDU)
}{
	{4, func(r *lldpRow, v gosnmp.SnmpPDU) { r.chassisKind, _ = number(v) }},
	{5, func(r *lldpRow, v gosnmp.SnmpPDU) { r.chassis = v }},
	{6, func(r *lldpRow, v gosnmp.SnmpPDU) { r.portKind, _ = number(v) }},
	{7, func(r *lldpRow, v gosnmp.SnmpPDU) { r.portID = v }},
	{8, func(r *lldpRow, v gosnmp.SnmpPDU) { r.PortDesc = printable(v) }},
	{9, func(r *lldpRow, v gosnmp.SnmpPDU) { r.SysName = printable(v) }},
	{10, func(r *lldpRow, v gosnmp.SnmpPDU) { r.SysDesc = printable(v) }},
	{12, func(r *lldpRow, v gosnmp.SnmpPDU) { r.Forwards = forwards(v) }},
}

func (d *SNMP) neighbours(ctx context.Context) ([]Neighbour, error) {
	rows := make(map[remote]*lldpRow)
	for _, c := range lldpColumns {
		err := d.walk(ctx, fmt.Sprintf("%s.%d", oidLLDPRemote, c.column), maxNeighbours, func(index []uint32, v gosnmp.SnmpPDU) {
			if len(index) != 3 { // a TimeFilter, the local port and a number
				return
			}
			key := remote{index[1], index[2]}
			if rows[key] == nil && len(rows) < maxNeighbours {
				rows[key] = &lldpRow{}
			}
			if r := rows[key]; r != nil {
				c.take(r, v)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	names, err := d.localPorts(ctx)
	if err != nil {
		return nil, err
	}
	order := slices.SortedFunc(maps.Keys(rows), func(a, b remote) int {
		return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.index, b.index))
	})
	list := make([]Neighbour, 0, len(rows))
	for _, key := range order {
		r := rows[key]
		// LldpPortNumber: "the same value as the dot1dBasePort object".
		if key.port > 0 && key.port <= maxIndex {
			r.BridgePort = int(key.port)
		}
		r.LocalPort = names[key.port]
		r.ChassisID, r.PortID = chassisID(r.chassisKind, r.chassis), portID(r.portKind, r.portID)
		list = append(list, r.Neighbour)
	}
	return list, nil
}

// localPorts are the switch's own names of its ports, by LldpPortNumber.
func (d *SNMP) localPorts(ctx context.Context) (map[uint32]string, error) {
	names, kinds := make(map[uint32]string), make(map[uint32]int64)
	for _, c := range []struct {
		column uint32
		take   func(port uint32, v gosnmp.SnmpPDU)
	}{
		{2, func(port uint32, v gosnmp.SnmpPDU) { kinds[port], _ = number(v) }},
		{4, func(port uint32, v gosnmp.SnmpPDU) { names[port] = printable(v) }},
		{3, func(port uint32, v gosnmp.SnmpPDU) {
			if kinds[port] == portInterfaceName {
				names[port] = cmp.Or(printable(v), names[port])
			}
		}},
	} {
		err := d.walk(ctx, fmt.Sprintf("%s.%d", oidLLDPLocal, c.column), maxIfs, func(index []uint32, v gosnmp.SnmpPDU) {
			if len(index) == 1 {
				c.take(index[0], v)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Subtypes of LldpChassisIdSubtype and LldpPortIdSubtype (LLDP-MIB) whose value
// is no text.
const (
	chassisMAC        = 4
	chassisAddress    = 5
	portMAC           = 3
	portAddress       = 4
	portInterfaceName = 5
)

func chassisID(kind int64, v gosnmp.SnmpPDU) string {
	return identifier(v, kind == chassisMAC, kind == chassisAddress)
}

func portID(kind int64, v gosnmp.SnmpPDU) string {
	return identifier(v, kind == portMAC, kind == portAddress)
}

// identifier reads a MAC address, an address with its family's number before it
// (IANA: 1 is IPv4, 2 is IPv6), or text.
func identifier(v gosnmp.SnmpPDU, mac, address bool) string {
	raw, _ := v.Value.([]byte)
	switch {
	case mac && len(raw) == macLen:
		return net.HardwareAddr(raw).String()
	case address && len(raw) > 1 && (raw[0] == 1 || raw[0] == 2):
		if a, ok := netip.AddrFromSlice(raw[1:]); ok {
			return a.String()
		}
	}
	return strings.TrimSpace(printable(v))
}

// forwards reads lldpRemSysCapEnabled: BITS other, repeater, bridge,
// wlanAccessPoint, router, telephone, docsisCableDevice, stationOnly.
func forwards(v gosnmp.SnmpPDU) bool {
	const bridge, accessPoint, router = 0x80 >> 2, 0x80 >> 3, 0x80 >> 4
	raw, _ := v.Value.([]byte)
	return len(raw) > 0 && raw[0]&(bridge|accessPoint|router) != 0
}
