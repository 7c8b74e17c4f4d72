package snmpagent

import (
	"fmt"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/gosnmp/gosnmp"
)

// Value is a typed SNMP value.
type Value struct {
	Type gosnmp.Asn1BER
	Any  any
}

// Integer is an INTEGER (Integer32).
func Integer(n int32) Value { return Value{gosnmp.Integer, int(n)} }

// OctetString is an OCTET STRING.
func OctetString[S string | []byte](s S) Value { return Value{gosnmp.OctetString, []byte(s)} }

// ObjectID is an OBJECT IDENTIFIER.
func ObjectID(oid OID) Value { return Value{gosnmp.ObjectIdentifier, oid.String()} }

// Counter32 is a counter that wraps.
func Counter32(n uint32) Value { return Value{gosnmp.Counter32, n} }

// Gauge32 is a non-negative number that may fall.
func Gauge32(n uint32) Value { return Value{gosnmp.Gauge32, n} }

// TimeTicks counts hundredths of a second.
func TimeTicks(n uint32) Value { return Value{gosnmp.TimeTicks, n} }

// Status is an SNMP error-status (RFC 3416, section 3) that a setter returns.
type Status gosnmp.SNMPError

// The error statuses that setters return.
const (
	WrongType           = Status(gosnmp.WrongType)
	WrongLength         = Status(gosnmp.WrongLength)
	WrongValue          = Status(gosnmp.WrongValue)
	InconsistentValue   = Status(gosnmp.InconsistentValue)
	ResourceUnavailable = Status(gosnmp.ResourceUnavailable)
	CommitFailed        = Status(gosnmp.CommitFailed)
	GenErr              = Status(gosnmp.GenErr)
)

// Error is the status's name in RFC 3416.
func (s Status) Error() string { return "snmpagent: " + gosnmp.SNMPError(s).String() }

// Getter returns a variable's present value, and false where the instance does
// not exist just now.
type Getter func() (Value, bool)

// Setter checks a new value and returns the function that stores it. All
// variables of a SetRequest are checked before the first is stored (RFC 3416,
// section 4.2.5). Its error is a Status; any other error is sent as genErr.
type Setter func(Value) (commit func(), err error)

// Variable is one instance of an object.
type Variable struct {
	Object   OID // the object, without the instance
	Instance OID // 0 for a scalar, else the row's index
	Get      Getter
	Set      Setter // nil: read only
}

// Const is the Getter of a value that never changes.
func Const(v Value) Getter { return func() (Value, bool) { return v, true } }

// node is a Variable under its full name.
type node struct {
	oid OID
	Variable
}

// MIB is an ordered set of variables. Readers see one consistent snapshot
// while Replace makes the next.
type MIB struct {
	nodes atomic.Pointer[[]node] // sorted by oid
}

// NewMIB makes a MIB of vars. Two variables of one name are an error.
func NewMIB(vars []Variable) (*MIB, error) {
	nodes, err := sorted(vars)
	if err != nil {
		return nil, err
	}
	m := new(MIB)
	m.nodes.Store(&nodes)
	return m, nil
}

// Replace puts vars in the place of everything at and beneath prefix, for
// tables whose rows come and go. It must not run concurrently with itself.
func (m *MIB) Replace(prefix OID, vars []Variable) error {
	rows, err := sorted(vars)
	if err != nil {
		return err
	}
	for _, n := range rows {
		if !n.oid.HasPrefix(prefix) {
			return fmt.Errorf("snmpagent: replace %v: %v is not beneath it", prefix, n.oid)
		}
	}
	old := m.snapshot()
	from := search(old, prefix)
	to := from + sort.Search(len(old)-from, func(i int) bool { return !old[from+i].oid.HasPrefix(prefix) })
	next := slices.Concat(old[:from], rows, old[to:])
	m.nodes.Store(&next)
	return nil
}

// Len is the number of variables.
func (m *MIB) Len() int { return len(m.snapshot()) }

func (m *MIB) snapshot() []node { return *m.nodes.Load() }

func sorted(vars []Variable) ([]node, error) {
	nodes := make([]node, len(vars))
	for i, v := range vars {
		oid := v.Object.Append(v.Instance...)
		if len(oid) < 2 || len(oid) > maxSubIDs {
			return nil, fmt.Errorf("snmpagent: variable %v: a name has 2 to %d parts", oid, maxSubIDs)
		}
		nodes[i] = node{oid, v}
	}
	slices.SortFunc(nodes, func(a, b node) int { return a.oid.Compare(b.oid) })
	for i := 1; i < len(nodes); i++ {
		if nodes[i].oid.Compare(nodes[i-1].oid) == 0 {
			return nil, fmt.Errorf("snmpagent: variable %v is there twice", nodes[i].oid)
		}
	}
	return nodes, nil
}

// search finds the first node at or after oid.
func search(nodes []node, oid OID) int {
	return sort.Search(len(nodes), func(i int) bool { return nodes[i].oid.Compare(oid) >= 0 })
}

// find returns the variable of that name, or the exception that a Get answers
// with in its place (RFC 3416, section 4.2.1).
func find(nodes []node, oid OID) (node, gosnmp.Asn1BER) {
	i := search(nodes, oid)
	if i < len(nodes) && nodes[i].oid.Compare(oid) == 0 {
		return nodes[i], 0
	}
	// The instances of one object lie side by side, so an object that exists
	// at all has one next to where the missing instance would be.
	for _, j := range [2]int{i - 1, i} {
		if j >= 0 && j < len(nodes) && oid.HasPrefix(nodes[j].Object) {
			return node{}, gosnmp.NoSuchInstance
		}
	}
	return node{}, gosnmp.NoSuchObject
}

// next returns the first variable after oid that has a value now.
func next(nodes []node, oid OID) (OID, Value, bool) {
	i := search(nodes, oid)
	if i < len(nodes) && nodes[i].oid.Compare(oid) == 0 {
		i++
	}
	for ; i < len(nodes); i++ {
		if v, ok := nodes[i].Get(); ok {
			return nodes[i].oid, v, true
		}
	}
	return nil, Value{}, false
}
