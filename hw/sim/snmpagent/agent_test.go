package snmpagent

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A conversation of Net-SNMP 5.9.3's snmpget with its snmpd: a Get of
// pethPsePortAdminEnable.1.1, DetectionStatus.1.1, a row that does not exist
// and pethMainPsePower.1.
const (
	recordedGet = "306302010104067075626c6963a056020429c9126c0201000201003048" +
		"3010060c2b0601020169010101030101" + "0500" +
		"3010060c2b0601020169010101060101" + "0500" +
		"3010060c2b0601020169010101030163" + "0500" +
		"3010060c2b0601020169010301010201" + "0500"
	recordedAnswer = "306702010104067075626c6963a25a020429c9126c020100020100304c" +
		"3011060c2b0601020169010101030101" + "020101" +
		"3011060c2b0601020169010101060101" + "020103" +
		"3010060c2b0601020169010101030163" + "8100" +
		"3012060c2b0601020169010301010201" + "42020172"
)

var (
	admin     = MustOID("1.3.6.1.2.1.105.1.1.1.3")
	detection = MustOID("1.3.6.1.2.1.105.1.1.1.6")
	power     = MustOID("1.3.6.1.2.1.105.1.3.1.1.2")
)

// table is a small MIB: two ports, of which the second's admin value is kept
// in *set, and one object whose only instance is not there just now.
func table(tb testing.TB, set *int) *MIB {
	tb.Helper()
	row := func(object OID, n uint32, v Value) Variable {
		return Variable{Object: object, Instance: OID{1, n}, Get: Const(v)}
	}
	second := row(admin, 2, Integer(1))
	second.Get = func() (Value, bool) { return Integer(int32(*set)), true }
	second.Set = func(v Value) (func(), error) {
		n, ok := v.Any.(int)
		switch {
		case !ok || v.Type != gosnmp.Integer:
			return nil, WrongType
		case n != 1 && n != 2:
			return nil, WrongValue
		}
		return func() { *set = n }, nil
	}
	m, err := NewMIB([]Variable{
		row(detection, 2, Integer(2)), row(detection, 1, Integer(3)), row(admin, 1, Integer(1)), second,
		{Object: power, Instance: OID{1}, Get: Const(Gauge32(370))},
		{Object: MustOID("1.3.6.1.4.1.32473.9"), Instance: OID{0}, Get: func() (Value, bool) { return Value{}, false }},
		{Object: MustOID("1.3.6.1.4.1.32473.10"), Instance: OID{0}, Get: Const(OctetString("the end"))},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func newAgent(tb testing.TB, m *MIB) *Agent {
	tb.Helper()
	a, err := New(Config{ReadCommunity: "public", WriteCommunity: "private"}, m)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestAnswerByteExact(t *testing.T) {
	set := 1
	a := newAgent(t, table(t, &set))
	if got := hex.EncodeToString(a.Answer(unhex(t, recordedGet))); got != recordedAnswer {
		t.Errorf("got  %s\nwant %s", got, recordedAnswer)
	}
}

// ask sends one request through the agent's bytes.
func ask(t *testing.T, a *Agent, community string, kind gosnmp.PDUType, nonRepeaters uint8, repetitions uint32, vars ...gosnmp.SnmpPDU) *gosnmp.SnmpPacket {
	t.Helper()
	req := gosnmp.SnmpPacket{
		Version: gosnmp.Version2c, Community: community, PDUType: kind, RequestID: 7,
		NonRepeaters: nonRepeaters, MaxRepetitions: repetitions, Variables: vars,
	}
	out, err := req.MarshalMsg()
	if err != nil {
		t.Fatal(err)
	}
	answer := a.Answer(out)
	if answer == nil {
		return nil
	}
	pkt, err := a.decode(answer)
	if err != nil {
		t.Fatal(err)
	}
	if pkt.RequestID != 7 || pkt.PDUType != gosnmp.GetResponse || pkt.Community != community {
		t.Errorf("answer %+v", pkt)
	}
	return pkt
}

func null(oid OID) gosnmp.SnmpPDU { return gosnmp.SnmpPDU{Name: oid.String(), Type: gosnmp.Null} }

func TestExceptions(t *testing.T) {
	set := 1
	a := newAgent(t, table(t, &set))
	pkt := ask(t, a, "public", gosnmp.GetRequest, 0, 0,
		null(admin.Append(1, 1)), null(admin.Append(1, 9)), null(admin.Append(0)), null(admin),
		null(OID{1, 3, 9}), null(MustOID("1.3.6.1.4.1.32473.9.0")))
	want := []gosnmp.Asn1BER{gosnmp.Integer, gosnmp.NoSuchInstance, gosnmp.NoSuchInstance, gosnmp.NoSuchInstance, gosnmp.NoSuchObject, gosnmp.NoSuchInstance}
	for i, v := range pkt.Variables {
		if v.Type != want[i] {
			t.Errorf("%s: %v, want %v", v.Name, v.Type, want[i])
		}
	}
}

func TestWalk(t *testing.T) {
	set := 1
	a := newAgent(t, table(t, &set))
	var names []string
	at := OID{1, 3}
	for range 20 {
		pkt := ask(t, a, "public", gosnmp.GetNextRequest, 0, 0, null(at))
		v := pkt.Variables[0]
		if v.Type == gosnmp.EndOfMibView {
			break
		}
		names = append(names, v.Name)
		at = MustOID(v.Name)
	}
	want := []string{
		admin.Append(1, 1).String(), admin.Append(1, 2).String(), detection.Append(1, 1).String(), detection.Append(1, 2).String(),
		power.Append(1).String(), ".1.3.6.1.4.1.32473.10.0",
	}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("walked %v, want %v", names, want)
	}
	// The same in one GetBulk, with a variable that is asked for once.
	pkt := ask(t, a, "public", gosnmp.GetBulkRequest, 1, 100, null(power), null(OID{1, 3}))
	if len(pkt.Variables) != 1+len(want)+1 || pkt.Variables[0].Name != want[4] || pkt.Variables[len(want)+1].Type != gosnmp.EndOfMibView {
		t.Errorf("bulk %v", pkt.Variables)
	}
	for i, name := range want {
		if pkt.Variables[1+i].Name != name {
			t.Errorf("bulk %d: %s, want %s", i, pkt.Variables[1+i].Name, name)
		}
	}
}

func TestSet(t *testing.T) {
	one := func(oid OID, kind gosnmp.Asn1BER, v any) gosnmp.SnmpPDU {
		return gosnmp.SnmpPDU{Name: oid.String(), Type: kind, Value: v}
	}
	second := admin.Append(1, 2)
	for name, test := range map[string]struct {
		community string
		vars      []gosnmp.SnmpPDU
		status    gosnmp.SNMPError
		index     uint8
		set       int
	}{
		"done":            {"private", []gosnmp.SnmpPDU{one(second, gosnmp.Integer, 2)}, gosnmp.NoError, 0, 2},
		"read community":  {"public", []gosnmp.SnmpPDU{one(second, gosnmp.Integer, 2)}, gosnmp.NoAccess, 1, 1},
		"wrong value":     {"private", []gosnmp.SnmpPDU{one(second, gosnmp.Integer, 3)}, gosnmp.WrongValue, 1, 1},
		"wrong type":      {"private", []gosnmp.SnmpPDU{one(second, gosnmp.OctetString, "2")}, gosnmp.WrongType, 1, 1},
		"read only":       {"private", []gosnmp.SnmpPDU{one(admin.Append(1, 1), gosnmp.Integer, 2)}, gosnmp.NotWritable, 1, 1},
		"no row":          {"private", []gosnmp.SnmpPDU{one(admin.Append(1, 9), gosnmp.Integer, 2)}, gosnmp.NoCreation, 1, 1},
		"no object":       {"private", []gosnmp.SnmpPDU{one(OID{1, 3, 9}, gosnmp.Integer, 2)}, gosnmp.NotWritable, 1, 1},
		"all or nothing":  {"private", []gosnmp.SnmpPDU{one(second, gosnmp.Integer, 2), one(power.Append(1), gosnmp.Gauge32, uint(1))}, gosnmp.NotWritable, 2, 1},
		"value of a Null": {"private", []gosnmp.SnmpPDU{null(second)}, gosnmp.WrongType, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			set := 1
			pkt := ask(t, newAgent(t, table(t, &set)), test.community, gosnmp.SetRequest, 0, 0, test.vars...)
			if pkt.Error != test.status || pkt.ErrorIndex != test.index || set != test.set {
				t.Errorf("status %v at %d, value %d; want %v at %d, %d", pkt.Error, pkt.ErrorIndex, set, test.status, test.index, test.set)
			}
			if len(pkt.Variables) != len(test.vars) {
				t.Errorf("%d variables come back, want %d", len(pkt.Variables), len(test.vars))
			}
		})
	}
}

func TestSilence(t *testing.T) {
	set := 1
	a := newAgent(t, table(t, &set))
	if pkt := ask(t, a, "guess", gosnmp.GetRequest, 0, 0, null(power.Append(1))); pkt != nil {
		t.Errorf("an unknown community was answered: %+v", pkt)
	}
	if pkt := ask(t, a, "public", gosnmp.SNMPv2Trap, 0, 0, null(power.Append(1))); pkt != nil {
		t.Errorf("a trap was answered: %+v", pkt)
	}
	for _, damaged := range [][]byte{nil, {0}, {0x30, 0}, unhex(t, recordedGet)[:40], unhex(t, "3003020100"), unhex(t, "3003020103")} {
		if out := a.Answer(damaged); out != nil {
			t.Errorf("% x was answered", damaged)
		}
	}
}

// TestSizes fills messages: GetBulk is cut, Get is tooBig.
func TestSizes(t *testing.T) {
	object := MustOID("1.3.6.1.4.1.32473.300.70000")
	var vars []Variable
	for n := range uint32(500) {
		v := []Value{Integer(-5), OctetString(make([]byte, n)), Gauge32(1 << 31), ObjectID(object), Counter32(n), TimeTicks(n)}[n%6]
		vars = append(vars, Variable{Object: object, Instance: OID{n * n * 1000}, Get: Const(v)})
	}
	m, err := NewMIB(vars)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{minMessage, 900, DefaultMaxMessage, 9000} {
		a, err := New(Config{ReadCommunity: "public", MaxMessage: size}, m)
		if err != nil {
			t.Fatal(err)
		}
		bulk := ask(t, a, "public", gosnmp.GetBulkRequest, 0, 1000, null(object))
		if bulk.Error != gosnmp.NoError || len(bulk.Variables) == 0 || len(bulk.Variables) == 500 {
			t.Errorf("%d bytes: %v, %d variables", size, bulk.Error, len(bulk.Variables))
		}
		bulk.PDUType, bulk.SnmpTrap = gosnmp.GetResponse, gosnmp.SnmpTrap{}
		if out, err := bulk.MarshalMsg(); err != nil || len(out) > size || len(out) < size*4/5-500 {
			t.Errorf("%d bytes: the answer has %d, %v", size, len(out), err)
		}
		var all []gosnmp.SnmpPDU
		for _, v := range vars {
			all = append(all, null(v.Object.Append(v.Instance...)))
		}
		if pkt := ask(t, a, "public", gosnmp.GetRequest, 0, 0, all...); pkt.Error != gosnmp.TooBig || len(pkt.Variables) != 0 {
			t.Errorf("%d bytes: Get of all: %v", size, pkt.Error)
		}
	}
}

func TestReplace(t *testing.T) {
	set := 1
	m := table(t, &set)
	before := m.Len()
	prefix := MustOID("1.3.6.1.2.1.17.4.3.1")
	rows := []Variable{
		{Object: prefix.Append(2), Instance: OID{2}, Get: Const(Integer(2))},
		{Object: prefix.Append(2), Instance: OID{1}, Get: Const(Integer(1))},
	}
	for _, vars := range [][]Variable{rows, rows[:1], nil} {
		if err := m.Replace(prefix, vars); err != nil || m.Len() != before+len(vars) {
			t.Errorf("Replace: %d variables, %v, want %d", m.Len(), err, before+len(vars))
		}
	}
	if err := m.Replace(prefix, []Variable{{Object: power, Instance: OID{9}}}); err == nil {
		t.Error("a row outside was taken")
	}
	if err := m.Replace(prefix, []Variable{rows[0], rows[0]}); err == nil {
		t.Error("a row was taken twice")
	}
	if m.Len() != before {
		t.Errorf("%d variables after refusals, want %d", m.Len(), before)
	}
}

func TestServe(t *testing.T) {
	set := 1
	a := newAgent(t, table(t, &set))
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, conn) }()
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	exchange := func(limit time.Duration) error {
		if _, err := client.Write(unhex(t, recordedGet)); err != nil {
			t.Fatal(err)
		}
		_ = client.SetReadDeadline(time.Now().Add(limit))
		_, err := client.Read(make([]byte, 2000))
		return err
	}
	if err := exchange(5 * time.Second); err != nil || a.Served() != 1 {
		t.Errorf("%d served, %v", a.Served(), err)
	}
	a.SetSilent(true)
	if err := exchange(50 * time.Millisecond); err == nil {
		t.Error("a silent agent answered")
	}
	a.SetSilent(false)
	a.SetDelay(time.Hour) // the end of ctx must end that too
	if err := exchange(50 * time.Millisecond); err == nil {
		t.Error("a slow agent answered at once")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	m, err := NewMIB(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{}, {ReadCommunity: "public", MaxMessage: 100}, {ReadCommunity: string(make([]byte, 128))}} {
		if _, err := New(cfg, m); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if _, err := NewMIB([]Variable{{Object: OID{1}}}); err == nil {
		t.Error("a name of one part was taken")
	}
	for _, s := range []string{"", "1..2", "x", "1.4294967296", "-1.3"} {
		if oid, err := ParseOID(s); err == nil {
			t.Errorf("ParseOID(%q) = %v", s, oid)
		}
	}
}

// FuzzAnswer sends arbitrary messages; whatever comes back must be a message
// of the size allowed.
func FuzzAnswer(f *testing.F) {
	f.Add(unhex(f, recordedGet))
	f.Add(unhex(f, recordedAnswer))
	f.Add([]byte{0x30, 0x82, 0xff, 0xff})
	for _, kind := range []gosnmp.PDUType{gosnmp.GetNextRequest, gosnmp.GetBulkRequest, gosnmp.SetRequest} {
		pkt := gosnmp.SnmpPacket{
			Version: gosnmp.Version2c, Community: "private", PDUType: kind, RequestID: 1, MaxRepetitions: 10,
			Variables: []gosnmp.SnmpPDU{{Name: admin.Append(1, 2).String(), Type: gosnmp.Integer, Value: 2}},
		}
		out, err := pkt.MarshalMsg()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		set := 1
		a := newAgent(t, table(t, &set))
		out := a.Answer(message)
		if out == nil {
			return
		}
		if len(out) > DefaultMaxMessage {
			t.Fatalf("an answer of %d bytes", len(out))
		}
		if pkt, err := a.decode(out); err != nil || pkt.PDUType != gosnmp.GetResponse {
			t.Fatalf("answer % x: %v", out, err)
		}
		if set != 1 && set != 2 {
			t.Fatalf("a value of %d was stored", set)
		}
	})
}

// BenchmarkGetBulk answers ten rows out of 48 ports' worth of variables.
func BenchmarkGetBulk(b *testing.B) {
	var vars []Variable
	for column := range uint32(40) {
		for port := range uint32(48) {
			vars = append(vars, Variable{Object: admin.Append(column), Instance: OID{1, port + 1}, Get: Const(Integer(1))})
		}
	}
	m, err := NewMIB(vars)
	if err != nil {
		b.Fatal(err)
	}
	a := newAgent(b, m)
	req := gosnmp.SnmpPacket{
		Version: gosnmp.Version2c, Community: "public", PDUType: gosnmp.GetBulkRequest, RequestID: 1, MaxRepetitions: 10,
		Variables: []gosnmp.SnmpPDU{null(admin.Append(20))},
	}
	message, err := req.MarshalMsg()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if a.Answer(message) == nil {
			b.Fatal("no answer")
		}
	}
}
