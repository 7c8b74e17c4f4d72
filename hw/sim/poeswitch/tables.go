package poeswitch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gosnmp/gosnmp"

	"picloud/hw/sim/snmpagent"
)

// Description is what sysDescr begins with.
const Description = "picloud simulated PoE switch"

// The objects. sysObjectID lies beneath the enterprise number that is set
// aside for examples (RFC 5612).
var (
	oidSystem    = snmpagent.MustOID("1.3.6.1.2.1.1")
	oidSimulated = snmpagent.MustOID("1.3.6.1.4.1.32473.1.1")
	oidIfNumber  = snmpagent.MustOID("1.3.6.1.2.1.2.1")
	oidIf        = snmpagent.MustOID("1.3.6.1.2.1.2.2.1")
	oidIfX       = snmpagent.MustOID("1.3.6.1.2.1.31.1.1.1")
	oidPethPort  = snmpagent.MustOID("1.3.6.1.2.1.105.1.1.1")
	oidPethMain  = snmpagent.MustOID("1.3.6.1.2.1.105.1.3.1.1")
	oidWatts     = snmpagent.MustOID("1.3.6.1.4.1.9.6.1.101.108.1.1.5")
	oidBase      = snmpagent.MustOID("1.3.6.1.2.1.17.1")
	oidBasePort  = snmpagent.MustOID("1.3.6.1.2.1.17.1.4.1")
	oidStp       = snmpagent.MustOID("1.3.6.1.2.1.17.2")
	oidStpPort   = snmpagent.MustOID("1.3.6.1.2.1.17.2.15.1")
	oidStpExt    = snmpagent.MustOID("1.3.6.1.2.1.17.2.19.1")
	oidTpFdb     = snmpagent.MustOID("1.3.6.1.2.1.17.4.3.1")
	oidQTpFdb    = snmpagent.MustOID("1.3.6.1.2.1.17.7.1.2.2.1")
	oidVlan      = snmpagent.MustOID("1.3.6.1.2.1.17.7.1.4.2.1")
	oidQPort     = snmpagent.MustOID("1.3.6.1.2.1.17.7.1.4.5.1")
)

// column is one object of a port's row.
type column struct {
	object snmpagent.OID
	get    func(sw *Switch, p *port) snmpagent.Value // called with the switch locked
	set    func(sw *Switch, p *port) snmpagent.Setter
}

func integer(f func(*port) int) func(*Switch, *port) snmpagent.Value {
	return func(_ *Switch, p *port) snmpagent.Value { return snmpagent.Integer(int32(f(p))) }
}

func fixed(n int) func(*Switch, *port) snmpagent.Value {
	return integer(func(*port) int { return n })
}

func counter(f func(*port) uint32) func(*Switch, *port) snmpagent.Value {
	return func(_ *Switch, p *port) snmpagent.Value { return snmpagent.Counter32(f(p)) }
}

func text(f func(*Switch, *port) string) func(*Switch, *port) snmpagent.Value {
	return func(sw *Switch, p *port) snmpagent.Value { return snmpagent.OctetString(f(sw, p)) }
}

// truth is TruthValue, RFC 2579.
func truth(b bool) int {
	if b {
		return 1
	}
	return 2
}

// upDown is ifAdminStatus and ifOperStatus.
var upDown = truth

// class is pethPsePortPowerClassifications: class 0 is 1. Classes above 4 have
// no word in RFC 3621 and are told as class 4.
func class(p *port) int {
	if p.device == nil || p.detection != detDelivering {
		return 1
	}
	return min(p.device.Class, 4) + 1
}

// pethColumns are indexed by group and port.
var pethColumns = []column{
	{object: oidPethPort.Append(3), get: integer(func(p *port) int { return truth(p.admin) }), set: setAdmin},
	{object: oidPethPort.Append(4), get: fixed(2)}, // pairs cannot be chosen
	{object: oidPethPort.Append(5), get: fixed(1)}, // signal pairs
	{object: oidPethPort.Append(6), get: integer(func(p *port) int { return p.detection })},
	{object: oidPethPort.Append(7), get: fixed(3)}, // low priority
	{object: oidPethPort.Append(8), get: counter(func(p *port) uint32 { return p.mpsAbsent })},
	{object: oidPethPort.Append(9), get: text(func(*Switch, *port) string { return "" })},
	{object: oidPethPort.Append(10), get: integer(class)},
	{object: oidPethPort.Append(11), get: counter(func(*port) uint32 { return 0 })}, // every device has a valid signature
	{object: oidPethPort.Append(12), get: counter(func(p *port) uint32 { return p.denied })},
	{object: oidPethPort.Append(13), get: counter(func(p *port) uint32 { return p.overload })},
	{object: oidPethPort.Append(14), get: counter(func(p *port) uint32 { return p.short })},
}

// ifColumns are indexed by ifIndex.
var ifColumns = []column{
	{object: oidIf.Append(1), get: func(sw *Switch, p *port) snmpagent.Value { return snmpagent.Integer(int32(sw.ifIndex(p))) }},
	{object: oidIf.Append(2), get: text((*Switch).ifName)},
	{object: oidIf.Append(3), get: fixed(6)}, // ethernetCsmacd
	{object: oidIf.Append(7), get: integer(func(p *port) int { return upDown(p.ifAdmin) }), set: setIfAdmin},
	{object: oidIf.Append(8), get: integer(func(p *port) int { return upDown(p.link) })},
	{object: oidIf.Append(9), get: func(_ *Switch, p *port) snmpagent.Value { return ticks(p.linkChange) }},
	{object: oidIfX.Append(1), get: text((*Switch).ifName)},
	{object: oidIfX.Append(15), get: func(_ *Switch, p *port) snmpagent.Value { return snmpagent.Gauge32(speed(p)) }},
	{object: oidIfX.Append(18), get: text((*Switch).alias)},
}

// bridgeColumns are indexed by the bridge port, which is the port's number.
var bridgeColumns = []column{
	{object: oidBasePort.Append(1), get: integer(func(p *port) int { return p.number })},
	{object: oidBasePort.Append(2), get: func(sw *Switch, p *port) snmpagent.Value { return snmpagent.Integer(int32(sw.ifIndex(p))) }},
	{object: oidStpPort.Append(1), get: integer(func(p *port) int { return p.number })},
	{object: oidStpPort.Append(2), get: fixed(128)}, // the default priority
	{object: oidStpPort.Append(3), get: integer(func(p *port) int { return p.stpState })},
	{object: oidStpPort.Append(4), get: fixed(1)}, // spanning tree enabled
	{object: oidStpExt.Append(2), get: integer(func(p *port) int { return truth(p.stp.Edge) })},
	{object: oidStpExt.Append(3), get: integer(func(p *port) int { return truth(p.stp.Edge) })},
	{object: oidQPort.Append(1), get: func(sw *Switch, p *port) snmpagent.Value {
		return snmpagent.Gauge32(uint32(sw.pvid(p)))
	}},
	{object: oidQPort.Append(2), get: fixed(1)}, // admit all frames
	{object: oidQPort.Append(3), get: fixed(2)}, // no ingress filter
}

// setAdmin is a SET of pethPsePortAdminEnable.
func setAdmin(sw *Switch, p *port) snmpagent.Setter {
	return truthSetter(func(on bool) { _ = sw.SetPower(p.number, on) })
}

// setIfAdmin is a SET of ifAdminStatus: it takes the link down and leaves the
// power alone.
func setIfAdmin(sw *Switch, p *port) snmpagent.Setter {
	return truthSetter(func(up bool) {
		sw.mu.Lock()
		p.ifAdmin = up
		sw.setLink(p)
		sw.mu.Unlock()
		sw.publishStations()
	})
}

func truthSetter(store func(bool)) snmpagent.Setter {
	return func(v snmpagent.Value) (func(), error) {
		n, ok := v.Any.(int)
		switch {
		case v.Type != gosnmp.Integer || !ok:
			return nil, snmpagent.WrongType
		case n != 1 && n != 2:
			return nil, snmpagent.WrongValue
		}
		return func() { store(n == 1) }, nil
	}
}

func (sw *Switch) ifIndex(p *port) int { return p.number + sw.cfg.IfIndexOffset }

func (sw *Switch) ifName(p *port) string { return fmt.Sprintf("gi1/0/%d", p.number) }

func (sw *Switch) alias(p *port) string {
	if sw.cfg.Alias == nil {
		return ""
	}
	return sw.cfg.Alias(p.number)
}

func speed(p *port) uint32 {
	if !p.link {
		return 0
	}
	return 1000 // Mb/s
}

func ticks(d time.Duration) snmpagent.Value {
	return snmpagent.TimeTicks(uint32(d / (10 * time.Millisecond)))
}

// variables are all that the agent serves but the forwarding tables.
func (sw *Switch) variables() []snmpagent.Variable {
	vars := sw.system()
	vars = append(vars, sw.pse()...)
	for _, p := range sw.ports {
		n, ifIndex := uint32(p.number), uint32(sw.ifIndex(p))
		vars = append(vars, sw.row(pethColumns, p, 1, n)...)
		vars = append(vars, sw.row(ifColumns, p, ifIndex)...)
		vars = append(vars, sw.row(bridgeColumns, p, n)...)
		vars = append(vars, sw.row(localColumns, p, n)...)
		vars = append(vars, snmpagent.Variable{
			Object: oidWatts, Instance: snmpagent.OID{1, n},
			Get: func() (snmpagent.Value, bool) { return snmpagent.Integer(int32(sw.portMilliwatts(p))), true },
		})
	}
	n, ifIndex := uint32(sw.uplink.number), uint32(sw.ifIndex(sw.uplink))
	vars = append(vars, sw.row(ifColumns, sw.uplink, ifIndex)...)
	vars = append(vars, sw.row(bridgeColumns, sw.uplink, n)...)
	vars = append(vars, sw.row(localColumns, sw.uplink, n)...)
	return append(vars, sw.vlans()...)
}

func (sw *Switch) row(columns []column, p *port, index ...uint32) []snmpagent.Variable {
	vars := make([]snmpagent.Variable, 0, len(columns))
	for _, c := range columns {
		v := snmpagent.Variable{
			Object: c.object, Instance: index,
			Get: func() (snmpagent.Value, bool) {
				sw.mu.Lock()
				defer sw.mu.Unlock()
				return c.get(sw, p), true
			},
		}
		if c.set != nil {
			v.Set = c.set(sw, p)
		}
		vars = append(vars, v)
	}
	return vars
}

// portMilliwatts is what one port gives now.
func (sw *Switch) portMilliwatts(p *port) int {
	sw.mu.Lock()
	var d Device
	if p.detection == detDelivering && p.device != nil {
		d = *p.device
	}
	sw.mu.Unlock()
	return d.milliwatts()
}

func scalar(object snmpagent.OID, get snmpagent.Getter) snmpagent.Variable {
	return snmpagent.Variable{Object: object, Instance: snmpagent.OID{0}, Get: get}
}

// system is SNMPv2-MIB's system group and the scalars of IF-MIB and BRIDGE-MIB.
func (sw *Switch) system() []snmpagent.Variable {
	descr := fmt.Sprintf("%s, %d ports, %d W; not a real device", Description, sw.cfg.Ports, sw.cfg.BudgetWatts)
	ports := snmpagent.Const(snmpagent.Integer(int32(sw.uplink.number)))
	// Hundredths of a second, as the spanning tree's Timeout type wants it.
	delay := int32(sw.cfg.Timing.scale(sw.cfg.Timing.ForwardDelay) / (10 * time.Millisecond))
	return []snmpagent.Variable{
		scalar(oidSystem.Append(1), snmpagent.Const(snmpagent.OctetString(descr))),
		scalar(oidSystem.Append(2), snmpagent.Const(snmpagent.ObjectID(oidSimulated))),
		scalar(oidSystem.Append(3), func() (snmpagent.Value, bool) { return ticks(sw.uptime()), true }),
		scalar(oidSystem.Append(4), snmpagent.Const(snmpagent.OctetString(""))),
		scalar(oidSystem.Append(5), snmpagent.Const(snmpagent.OctetString(sw.cfg.Name))),
		scalar(oidSystem.Append(6), snmpagent.Const(snmpagent.OctetString("simulated"))),
		scalar(oidSystem.Append(7), snmpagent.Const(snmpagent.Integer(2))), // layer 2
		scalar(oidIfNumber, ports),
		scalar(oidBase.Append(2), ports),
		scalar(oidBase.Append(3), snmpagent.Const(snmpagent.Integer(2))), // transparent only
		scalar(oidStp.Append(11), snmpagent.Const(snmpagent.Integer(delay))),
		scalar(oidStp.Append(16), snmpagent.Const(snmpagent.Integer(2))), // RSTP
	}
}

// pse is pethMainPseTable with its one group.
func (sw *Switch) pse() []snmpagent.Variable {
	group := func(col uint32, get snmpagent.Getter) snmpagent.Variable {
		return snmpagent.Variable{Object: oidPethMain.Append(col), Instance: snmpagent.OID{1}, Get: get}
	}
	return []snmpagent.Variable{
		group(2, snmpagent.Const(snmpagent.Gauge32(uint32(sw.cfg.BudgetWatts)))),
		group(3, snmpagent.Const(snmpagent.Integer(1))), // on
		group(4, func() (snmpagent.Value, bool) {
			return snmpagent.Gauge32(uint32((sw.milliwatts() + 500) / 1000)), true
		}),
		group(5, snmpagent.Const(snmpagent.Integer(95))),
	}
}

// vlans is dot1qVlanCurrentTable: each VLAN learns on its own and its forwarding
// database has its number. Its index begins with a TimeFilter, 0 here.
func (sw *Switch) vlans() []snmpagent.Variable {
	egress, untagged := make(map[int][]int), make(map[int][]int)
	for _, p := range sw.ports {
		id := sw.cfg.VLAN(p.number)
		egress[id] = append(egress[id], p.number)
		untagged[id] = append(untagged[id], p.number)
		for _, id := range sw.cfg.tagged(p.number) {
			egress[id] = append(egress[id], p.number)
		}
	}
	var vars []snmpagent.Variable
	for _, id := range slices.Sorted(maps.Keys(egress)) {
		for col, v := range map[uint32]snmpagent.Value{
			3: snmpagent.Gauge32(uint32(id)),
			4: sw.portList(append(egress[id], sw.uplink.number)),
			5: sw.portList(untagged[id]),
			6: snmpagent.Integer(2), // permanent
		} {
			vars = append(vars, snmpagent.Variable{
				Object: oidVlan.Append(col), Instance: snmpagent.OID{0, uint32(id)}, Get: snmpagent.Const(v),
			})
		}
	}
	return vars
}

// portList is PortList of Q-BRIDGE-MIB: port 1 is the highest bit of the first
// octet.
func (sw *Switch) portList(ports []int) snmpagent.Value {
	list := make([]byte, (sw.uplink.number+7)/8)
	for _, p := range ports {
		list[(p-1)/8] |= 0x80 >> ((p - 1) % 8)
	}
	return snmpagent.OctetString(list)
}

// pvid is the VLAN of a port's untagged frames.
func (sw *Switch) pvid(p *port) int {
	if p == sw.uplink {
		return 1
	}
	return sw.cfg.VLAN(p.number)
}

// publishStations puts the present stations into dot1dTpFdbTable and
// dot1qTpFdbTable.
func (sw *Switch) publishStations() {
	sw.tableMu.Lock()
	defer sw.tableMu.Unlock()
	sw.mu.Lock()
	stations := slices.SortedFunc(maps.Values(sw.stations), func(a, b station) int {
		return cmp.Compare(string(a.mac[:]), string(b.mac[:]))
	})
	sw.mu.Unlock()
	var bridge, q []snmpagent.Variable
	for _, s := range stations {
		mac := make([]uint32, len(s.mac))
		for i, b := range s.mac {
			mac[i] = uint32(b)
		}
		port, learned := sw.atPort(s, int32(s.port)), sw.atPort(s, 3)
		bridge = append(bridge,
			snmpagent.Variable{Object: oidTpFdb.Append(1), Instance: mac, Get: snmpagent.Const(snmpagent.OctetString(s.mac[:]))},
			snmpagent.Variable{Object: oidTpFdb.Append(2), Instance: mac, Get: port},
			snmpagent.Variable{Object: oidTpFdb.Append(3), Instance: mac, Get: learned})
		index := append([]uint32{uint32(s.vlan)}, mac...)
		q = append(q,
			snmpagent.Variable{Object: oidQTpFdb.Append(2), Instance: index, Get: port},
			snmpagent.Variable{Object: oidQTpFdb.Append(3), Instance: index, Get: learned})
	}
	for _, t := range []struct {
		prefix snmpagent.OID
		vars   []snmpagent.Variable
	}{{oidTpFdb, bridge}, {oidQTpFdb, q}} {
		if err := sw.mib.Replace(t.prefix, t.vars); err != nil {
			sw.cfg.Log.Error("forwarding table not replaced", "switch", sw.cfg.Name, "error", err)
		}
	}
}

// atPort is n while the station is still known at that port: a row outlives
// its station until the next publication.
func (sw *Switch) atPort(s station, n int32) snmpagent.Getter {
	return func() (snmpagent.Value, bool) {
		sw.mu.Lock()
		defer sw.mu.Unlock()
		return snmpagent.Integer(n), sw.stations[s.mac] == s
	}
}
