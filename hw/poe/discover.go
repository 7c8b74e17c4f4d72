package poe

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/gosnmp/gosnmp"
)

// Found is a PSE port that the switch has, with a guess at its other indices.
type Found struct {
	PortIndex
	IfName string // ifName or ifDescr, at most 255 printable bytes; empty where the interface is not known
	Alias  string // ifAlias, what staff wrote at the interface, as bounded as IfName
}

// ethernet is ifType ethernetCsmacd (RFC 2863).
const ethernet = 6

// maxIfs bounds the interfaces of one switch.
const maxIfs = 16_384

// Discover asks the switch for its PSE ports and guesses the interface and the
// bridge port of each by the profile's rule. Numbers are given in the order of
// the ports' indices, from 1; staff correct what is wrong.
func (d *SNMP) Discover(ctx context.Context) ([]Found, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return nil, d.fail("discover", 0, err)
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, tableLimit)
	defer cancel()
	found, err := d.discover(limited)
	return found, d.fail("discover", 0, late(inner, tableLimit, err))
}

// adopt uses the ports found.
func (d *SNMP) adopt(found []Found) error {
	ports := make([]PortIndex, len(found))
	for i, f := range found {
		ports[i] = f.PortIndex
	}
	if err := validatePorts(ports, d.profile); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	d.usePorts(ports)
	return nil
}

// iface is a row of the interface table.
type iface struct {
	index int
	name  string
}

// interfaces is what discovery knows of the switch beside its PSE ports.
type interfaces struct {
	ethernet   []iface          // ordered by index
	byIndex    map[int]string   // name of every Ethernet interface
	alias      map[int]string   // by ifIndex
	bridgePort map[int]int      // by ifIndex
	entity     map[[2]int]int   // CiscoEntity: entPhysicalIndex of a group.port
	ifOf       map[int]int      // CiscoEntity: ifIndex of an entPhysicalIndex
	fpcPort    map[[2]int]iface // JuniperName: by FPC and port
}

func (d *SNMP) discover(ctx context.Context) ([]Found, error) {
	ports, err := d.psePorts(ctx)
	if err != nil {
		return nil, err
	}
	if len(ports) == 0 {
		return nil, fmt.Errorf("%w: the switch shows no PSE port to profile %s", ErrAnswer, d.profile.Name)
	}
	ifs, err := d.interfaces(ctx)
	if err != nil {
		return nil, err
	}
	return match(d.profile, ports, ifs), nil
}

// match gives every PSE port its number and guesses its interface.
func match(p Profile, ports []PortIndex, ifs interfaces) []Found {
	same := sameAsIfIndex(ports, ifs)
	found := make([]Found, len(ports))
	for i, port := range ports {
		port.Number = i + 1
		if port.IfIndex == 0 {
			port.IfIndex = guess(p.Rule, same, i, port, ifs)
		}
		port.BridgePort = ifs.bridgePort[port.IfIndex]
		found[i] = Found{PortIndex: port, IfName: ifs.byIndex[port.IfIndex], Alias: ifs.alias[port.IfIndex]}
	}
	return found
}

// sameAsIfIndex tells whether every PSE port's index is an Ethernet interface.
func sameAsIfIndex(ports []PortIndex, ifs interfaces) bool {
	for _, p := range ports {
		if _, ok := ifs.byIndex[p.Port]; !ok || p.Group > 1 {
			return false
		}
	}
	return true
}

// guess is the ifIndex of the i-th PSE port, or 0.
func guess(rule IndexRule, same bool, i int, p PortIndex, ifs interfaces) int {
	switch rule {
	case GroupThousand:
		return known(ifs, p.Group*1000+p.Port)
	case CiscoEntity:
		return known(ifs, ifs.ifOf[ifs.entity[[2]int{p.Group, p.Port}]])
	case JuniperName:
		return ifs.fpcPort[[2]int{p.Group - 1, p.Port - 1}].index
	case SameAsIfIndex:
		if same {
			return p.Port
		}
	}
	if i < len(ifs.ethernet) {
		return ifs.ethernet[i].index
	}
	return 0
}

func known(ifs interfaces, index int) int {
	if _, ok := ifs.byIndex[index]; !ok {
		return 0
	}
	return index
}

// psePorts walks the detection status, which every profile has.
func (d *SNMP) psePorts(ctx context.Context) ([]PortIndex, error) {
	var ports []PortIndex
	column := d.profile.Detection
	err := d.walk(ctx, column.OID, MaxPorts, func(index []uint32, _ gosnmp.SnmpPDU) {
		if p, ok := parsePort(column.Index, index); ok {
			ports = append(ports, p)
		}
	})
	return ports, err
}

// parsePort reads a row of a power table.
func parsePort(kind Index, index []uint32) (PortIndex, bool) {
	want := 1
	if kind == ByGroupPort {
		want = 2
	}
	if len(index) != want || slices.Max(index) > maxIndex || index[want-1] == 0 {
		return PortIndex{}, false
	}
	p := PortIndex{Group: 1, Port: int(index[want-1])}
	switch kind {
	case ByGroupPort:
		p.Group = int(index[0])
	case ByIfIndex:
		p.IfIndex = p.Port
	}
	return p, true
}

// interfaces reads the Ethernet interfaces and what the profile's rule needs.
func (d *SNMP) interfaces(ctx context.Context) (interfaces, error) {
	ifs := interfaces{
		byIndex: make(map[int]string), alias: make(map[int]string), bridgePort: make(map[int]int),
		entity: make(map[[2]int]int), ifOf: make(map[int]int), fpcPort: make(map[[2]int]iface),
	}
	names := make(map[int]string)
	one := func(f func(index int, v gosnmp.SnmpPDU)) func([]uint32, gosnmp.SnmpPDU) {
		return func(index []uint32, v gosnmp.SnmpPDU) {
			if len(index) == 1 && index[0] > 0 && index[0] <= maxIndex {
				f(int(index[0]), v)
			}
		}
	}
	walks := []struct {
		column string
		row    func([]uint32, gosnmp.SnmpPDU)
	}{
		{oidIfDescr, one(func(i int, v gosnmp.SnmpPDU) { names[i] = printable(v) })},
		{oidIfName, one(func(i int, v gosnmp.SnmpPDU) { names[i] = cmp.Or(printable(v), names[i]) })},
		{oidIfAlias, one(func(i int, v gosnmp.SnmpPDU) { ifs.alias[i] = printable(v) })},
		{oidIfType, one(func(i int, v gosnmp.SnmpPDU) {
			if n, err := number(v); err == nil && n == ethernet {
				ifs.byIndex[i] = names[i]
			}
		})},
		{oidBasePortIfIndex, one(func(bridgePort int, v gosnmp.SnmpPDU) {
			if n, err := number(v); err == nil && n > 0 && n <= maxIndex {
				ifs.bridgePort[int(n)] = bridgePort
			}
		})},
	}
	if d.profile.Rule == CiscoEntity {
		walks = append(walks, []struct {
			column string
			row    func([]uint32, gosnmp.SnmpPDU)
		}{{oidCiscoEntPhyIdx, ifs.addEntity}, {oidEntAlias, ifs.addAlias}}...)
	}
	for _, w := range walks {
		if err := d.walk(ctx, w.column, maxIfs, w.row); err != nil {
			return ifs, err
		}
	}
	for _, index := range slices.Sorted(maps.Keys(ifs.byIndex)) {
		ifs.add(iface{index, ifs.byIndex[index]})
	}
	return ifs, nil
}

// juniperName is an interface's name: type, FPC, PIC 0, port.
var juniperName = regexp.MustCompile(`^[a-z]{2}-(\d{1,3})/0/(\d{1,3})$`)

func (ifs *interfaces) add(i iface) {
	ifs.ethernet = append(ifs.ethernet, i)
	if m := juniperName.FindStringSubmatch(i.name); m != nil {
		fpc, _ := strconv.Atoi(m[1])
		port, _ := strconv.Atoi(m[2])
		ifs.fpcPort[[2]int{fpc, port}] = i
	}
}

// addEntity takes a row of cpeExtPsePortEntPhyIndex.
func (ifs *interfaces) addEntity(index []uint32, v gosnmp.SnmpPDU) {
	n, err := number(v)
	if err == nil && len(index) == 2 && slices.Max(index) <= maxIndex && n > 0 && n <= maxIndex {
		ifs.entity[[2]int{int(index[0]), int(index[1])}] = int(n)
	}
}

// addAlias takes a row of entAliasMappingIdentifier (RFC 6933), indexed by
// entity and logical entity, which points at an instance of ifIndex.
func (ifs *interfaces) addAlias(index []uint32, v gosnmp.SnmpPDU) {
	const ifIndex = ".1.3.6.1.2.1.2.2.1.1."
	name, ok := v.Value.(string)
	if !ok || v.Type != gosnmp.ObjectIdentifier || len(index) != 2 || index[0] > maxIndex || len(name) <= len(ifIndex) || name[:len(ifIndex)] != ifIndex {
		return
	}
	if n, err := strconv.Atoi(name[len(ifIndex):]); err == nil && n > 0 && n <= maxIndex {
		ifs.ifOf[int(index[0])] = n
	}
}
