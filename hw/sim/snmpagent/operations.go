package snmpagent

import (
	"errors"

	"github.com/gosnmp/gosnmp"
)

// operations are the request PDUs that the agent carries out.
var operations = map[gosnmp.PDUType]func(a *Agent, req, resp *gosnmp.SnmpPacket, canWrite bool){
	gosnmp.GetRequest:     (*Agent).get,
	gosnmp.GetNextRequest: (*Agent).getNext,
	gosnmp.GetBulkRequest: (*Agent).getBulk,
	gosnmp.SetRequest:     (*Agent).set,
}

// get: RFC 3416, section 4.2.1.
func (a *Agent) get(req, resp *gosnmp.SnmpPacket, _ bool) {
	nodes := a.mib.snapshot()
	for i, v := range req.Variables {
		oid, err := ParseOID(v.Name)
		if err != nil {
			fail(req, resp, gosnmp.GenErr, i)
			return
		}
		resp.Variables = append(resp.Variables, getOne(nodes, oid))
	}
}

func getOne(nodes []node, oid OID) gosnmp.SnmpPDU {
	n, missing := find(nodes, oid)
	if missing != 0 {
		return gosnmp.SnmpPDU{Name: oid.String(), Type: missing}
	}
	v, ok := n.Get()
	if !ok {
		return gosnmp.SnmpPDU{Name: oid.String(), Type: gosnmp.NoSuchInstance}
	}
	return gosnmp.SnmpPDU{Name: oid.String(), Type: v.Type, Value: v.Any}
}

// getNext: RFC 3416, section 4.2.2.
func (a *Agent) getNext(req, resp *gosnmp.SnmpPacket, _ bool) {
	nodes := a.mib.snapshot()
	for i, v := range req.Variables {
		oid, err := ParseOID(v.Name)
		if err != nil {
			fail(req, resp, gosnmp.GenErr, i)
			return
		}
		_, pdu := nextOne(nodes, oid)
		resp.Variables = append(resp.Variables, pdu)
	}
}

func nextOne(nodes []node, oid OID) (OID, gosnmp.SnmpPDU) {
	name, v, ok := next(nodes, oid)
	if !ok {
		return oid, gosnmp.SnmpPDU{Name: oid.String(), Type: gosnmp.EndOfMibView}
	}
	return name, gosnmp.SnmpPDU{Name: name.String(), Type: v.Type, Value: v.Any}
}

// getBulk: RFC 3416, section 4.2.3. It stops when the message is full or all
// walks are at the end.
func (a *Agent) getBulk(req, resp *gosnmp.SnmpPacket, _ bool) {
	nodes := a.mib.snapshot()
	room := a.cfg.MaxMessage - messageOverhead - len(req.Community)
	add := func(oid OID, pdu gosnmp.SnmpPDU) bool {
		if room -= varbindLen(oid, pdu); room < 0 {
			return false
		}
		resp.Variables = append(resp.Variables, pdu)
		return true
	}
	at := make([]OID, len(req.Variables))
	for i, v := range req.Variables {
		oid, err := ParseOID(v.Name)
		if err != nil {
			fail(req, resp, gosnmp.GenErr, i)
			return
		}
		at[i] = oid
	}
	once := min(int(req.NonRepeaters), len(at))
	for _, oid := range at[:once] {
		if !add(nextOne(nodes, oid)) {
			return
		}
	}
	at = at[once:]
	for range req.MaxRepetitions {
		ended := true
		for i, oid := range at {
			name, pdu := nextOne(nodes, oid)
			if !add(name, pdu) {
				return
			}
			at[i] = name
			ended = ended && pdu.Type == gosnmp.EndOfMibView
		}
		if ended {
			return
		}
	}
}

// set: RFC 3416, section 4.2.5: every variable is checked, then every variable
// is stored; one that is refused leaves all as they were.
func (a *Agent) set(req, resp *gosnmp.SnmpPacket, canWrite bool) {
	if !canWrite && len(req.Variables) > 0 {
		fail(req, resp, gosnmp.NoAccess, 0)
		return
	}
	nodes := a.mib.snapshot()
	commits := make([]func(), 0, len(req.Variables))
	for i, v := range req.Variables {
		commit, status := check(nodes, v)
		if status != gosnmp.NoError {
			fail(req, resp, status, i)
			return
		}
		commits = append(commits, commit)
	}
	for _, commit := range commits {
		commit()
	}
	resp.Variables = req.Variables
}

func check(nodes []node, v gosnmp.SnmpPDU) (commit func(), status gosnmp.SNMPError) {
	oid, err := ParseOID(v.Name)
	if err != nil {
		return nil, gosnmp.GenErr
	}
	n, missing := find(nodes, oid)
	switch {
	case missing == gosnmp.NoSuchInstance:
		return nil, gosnmp.NoCreation
	case missing != 0 || n.Set == nil:
		return nil, gosnmp.NotWritable
	}
	commit, err = n.Set(Value{v.Type, v.Value})
	var s Status
	switch {
	case err == nil && commit == nil:
		return func() {}, gosnmp.NoError
	case err == nil:
		return commit, gosnmp.NoError
	case errors.As(err, &s):
		return nil, gosnmp.SNMPError(s)
	default:
		return nil, gosnmp.GenErr
	}
}

// fail makes resp an error answer: the request's own variables come back with
// the status and the place of the one at fault, which counts from 1.
func fail(req, resp *gosnmp.SnmpPacket, status gosnmp.SNMPError, i int) {
	resp.Error, resp.ErrorIndex, resp.Variables = status, uint8(min(i+1, 255)), req.Variables
}

// messageOverhead bounds what surrounds the variables of an answer: three
// SEQUENCE or PDU headers of up to 4 octets, version, community header, request
// id, status and index.
const messageOverhead = 3*4 + 4 + 3 + 2 + 7 + 3 + 4

// varbindLen bounds the encoded length of one variable binding.
func varbindLen(oid OID, pdu gosnmp.SnmpPDU) int {
	value := 5 // the longest 32-bit number
	switch v := pdu.Value.(type) {
	case nil:
		value = 0
	case []byte:
		value = len(v)
	case string: // an object identifier: a sub-identifier is never longer than its digits and dot
		value = len(v)
	}
	return tlvLen(tlvLen(oid.encodedLen()) + tlvLen(value))
}

func tlvLen(n int) int {
	switch {
	case n < 128:
		return n + 2
	case n < 256:
		return n + 3
	default:
		return n + 4
	}
}
