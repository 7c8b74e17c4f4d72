package poe

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gosnmp/gosnmp"
)

// errAbsent means that the switch has no such object or row.
var errAbsent = errors.New("no such row")

// number reads any of SNMP's whole numbers.
func number(v gosnmp.SnmpPDU) (int64, error) {
	switch n := v.Value.(type) {
	case int:
		return int64(n), nil
	case uint:
		return bounded(uint64(n))
	case uint32:
		return int64(n), nil
	case uint64:
		return bounded(n)
	case nil:
		switch v.Type {
		case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView, gosnmp.Null:
			return 0, errAbsent
		}
	}
	return 0, fmt.Errorf("%w: %.200s is no number", ErrAnswer, v.Name)
}

func bounded(n uint64) (int64, error) {
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: a number of %d", ErrAnswer, n)
	}
	return int64(n), nil
}

// enum reads a number of 1 to last; an absent or unknown one is 0.
func enum(v gosnmp.SnmpPDU, last int64) int64 {
	n, err := number(v)
	if err != nil || n < 1 || n > last {
		return 0
	}
	return n
}

// field is one object of a port: where it is and what its value means.
type field struct {
	column func(*Profile) Column
	decode func(*Profile, *PortState, gosnmp.SnmpPDU) error
}

// fields are read in this order, and detection before what depends on it. A
// field that fails makes the port unknown; those that a port can do without
// never fail.
var fields = []field{
	{func(p *Profile) Column { return p.Enable }, decodeAdmin},
	{func(p *Profile) Column { return p.Detection }, decodeDetection},
	{func(p *Profile) Column { return p.Class }, decodeClass},
	{func(p *Profile) Column { return p.Watts }, decodeWatts},
	{counterColumn(oidPethDenied), decodeCounter(func(s *PortState) *uint32 { return &s.Denied })},
	{counterColumn(oidPethOverload), decodeCounter(func(s *PortState) *uint32 { return &s.Overload })},
	{counterColumn(oidPethShort), decodeCounter(func(s *PortState) *uint32 { return &s.Short })},
	{func(*Profile) Column { return Column{oidIfOperStatus, ByIfIndex} }, func(_ *Profile, s *PortState, v gosnmp.SnmpPDU) error {
		s.Link = Link(enum(v, int64(LinkLowerLayerDown)))
		return nil
	}},
	{func(*Profile) Column { return Column{oidStpPortState, byBridgePort} }, func(_ *Profile, s *PortState, v gosnmp.SnmpPDU) error {
		s.STP = STP(enum(v, int64(STPBroken)))
		return nil
	}},
}

// byBridgePort is the index of BRIDGE-MIB, which no profile needs.
const byBridgePort Index = 255

func counterColumn(oid string) func(*Profile) Column {
	return func(p *Profile) Column {
		if !p.Counters {
			return Column{}
		}
		return Column{OID: oid}
	}
}

func decodeAdmin(p *Profile, s *PortState, v gosnmp.SnmpPDU) error {
	n, err := number(v)
	switch {
	case err != nil:
		return err
	case slices.Contains(p.OnValues, int(n)):
		s.Admin = AdminEnabled
	case int(n) == p.Off:
		s.Admin = AdminDisabled
	default:
		return fmt.Errorf("%w: power enable of %d", ErrAnswer, n)
	}
	return nil
}

func decodeDetection(p *Profile, s *PortState, v gosnmp.SnmpPDU) error {
	n, err := number(v)
	if err != nil {
		return err
	}
	if p.DetectionMap == nil {
		if n < int64(DetectionDisabled) || n > int64(DetectionOtherFault) {
			return fmt.Errorf("%w: detection status of %d", ErrAnswer, n)
		}
		s.Detection = Detection(n)
		return nil
	}
	d, ok := p.DetectionMap[int(n)]
	if !ok {
		return fmt.Errorf("%w: vendor's detection status of %d", ErrAnswer, n)
	}
	s.Detection = d
	if p.AdminFromDetection {
		s.Admin = AdminEnabled
		if d == DetectionDisabled {
			s.Admin = AdminDisabled
		}
	}
	if p.IdleIsOff && d == DetectionDisabled && s.Admin == AdminEnabled {
		s.Detection = DetectionSearching
	}
	return nil
}

func decodeClass(p *Profile, s *PortState, v gosnmp.SnmpPDU) error {
	n, err := number(v)
	n -= int64(p.ClassZero)
	if err == nil && s.On() && n >= 0 && n <= 8 {
		s.Class = int(n)
	}
	return nil
}

// maxPortMilliwatts is above what any PoE standard gives a port (IEEE
// 802.3bt: 90 W); a higher reading is nonsense.
const maxPortMilliwatts = 200_000

func decodeWatts(p *Profile, s *PortState, v gosnmp.SnmpPDU) error {
	n, err := number(v)
	unit := int64(max(p.MilliwattsUnit, 1))
	if err == nil && n >= 0 && n <= maxPortMilliwatts/unit {
		s.Milliwatts, s.HasWatts = int(n*unit), true
	}
	return nil
}

func decodeCounter(of func(*PortState) *uint32) func(*Profile, *PortState, gosnmp.SnmpPDU) error {
	return func(_ *Profile, s *PortState, v gosnmp.SnmpPDU) error {
		if n, err := number(v); err == nil && n >= 0 && n <= math.MaxUint32 {
			*of(s) = uint32(n)
		}
		return nil
	}
}

// portPlan is what is asked for about one port.
type portPlan struct {
	PortIndex
	oids   []string
	fields []field // as many as oids
}

// plan names the objects of a port. Columns whose index is not known (0) are
// left out.
func plan(p *Profile, index PortIndex) portPlan {
	pl := portPlan{PortIndex: index}
	for _, f := range fields {
		c := f.column(p)
		if c.OID == "" || (c.Index == ByIfIndex && index.IfIndex == 0) {
			continue
		}
		row := ""
		if c.Index == byBridgePort {
			if index.BridgePort == 0 {
				continue
			}
			row = "." + strconv.Itoa(index.BridgePort)
		} else {
			row = c.Index.of(index)
		}
		pl.oids = append(pl.oids, c.OID+row)
		pl.fields = append(pl.fields, f)
	}
	return pl
}

// decode makes a port's state of the answers to its plan.
func (pl portPlan) decode(p *Profile, vars []gosnmp.SnmpPDU, at time.Time) PortState {
	s := PortState{Port: pl.Number, Class: ClassUnknown, At: at}
	for i, f := range pl.fields {
		if err := f.decode(p, &s, vars[i]); err != nil {
			if errors.Is(err, errAbsent) {
				err = fmt.Errorf("%w at %s: check the port's indices and the profile", err, pl.oids[i])
			}
			return unknown(pl.Number, at, err)
		}
	}
	if s.Detection == DetectionUnknown {
		return unknown(pl.Number, at, fmt.Errorf("%w: check the port's indices and the profile", errAbsent))
	}
	return s
}

// unknown is the state of a port that the switch last told something about at
// the time at.
func unknown(port int, at time.Time, err error) PortState {
	return PortState{Port: port, Class: ClassUnknown, At: at, Err: err}
}

// decodePSE reads one row of pethMainPseTable.
func decodePSE(group int, power, status, consumption gosnmp.SnmpPDU) PSE {
	const mostWatts = 1_000_000
	pse := PSE{Group: group}
	budget, err1 := number(power)
	used, err2 := number(consumption)
	if err1 != nil || err2 != nil || budget < 0 || used < 0 {
		return pse
	}
	// Some switches tell milliwatts. A supply that is overloaded gives little
	// more than it has.
	if used > budget+budget/4 && used/1000 <= budget {
		used /= 1000
	}
	if budget > mostWatts || used > mostWatts {
		return pse
	}
	pse.BudgetWatts, pse.ConsumptionWatts = int(budget), int(used)
	pse.Status = PSEStatus(enum(status, int64(PSEFaulty)))
	return pse
}

// maxText is the longest DisplayString (RFC 2579).
const maxText = 255

// printable reads a text for a person: bounded, and without what could steer
// a terminal.
func printable(v gosnmp.SnmpPDU) string {
	raw, _ := v.Value.([]byte)
	out := make([]byte, 0, min(len(raw), maxText))
	for _, b := range raw[:min(len(raw), maxText)] {
		switch {
		case b >= ' ' && b < 0x7f:
			out = append(out, b)
		case b == '\n' || b == '\r' || b == '\t':
			out = append(out, ' ')
		}
	}
	return string(out)
}

// upTime reads TimeTicks.
func upTime(v gosnmp.SnmpPDU) time.Duration {
	n, err := number(v)
	if err != nil || n < 0 || n > math.MaxUint32 {
		return 0
	}
	return time.Duration(n) * 10 * time.Millisecond
}
