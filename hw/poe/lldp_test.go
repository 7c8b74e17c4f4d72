package poe

import (
	"errors"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"
)

func octets(b ...byte) gosnmp.SnmpPDU { return gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: b} }

// Identifiers are of the kind that their subtype says, or text made harmless.
func TestIdentifiers(t *testing.T) {
	mac := octets(0xb8, 0x27, 0xeb, 1, 2, 3)
	for _, c := range []struct {
		of   func(int64, gosnmp.SnmpPDU) string
		kind int64
		in   gosnmp.SnmpPDU
		want string
	}{
		{chassisID, chassisMAC, mac, "b8:27:eb:01:02:03"},
		{portID, portMAC, mac, "b8:27:eb:01:02:03"},
		{chassisID, chassisMAC, octets(1, 2), ""},
		{chassisID, chassisAddress, octets(1, 10, 0, 0, 2), "10.0.0.2"},
		{portID, portAddress, octets(append([]byte{2}, make([]byte, 16)...)...), "::"},
		{chassisID, chassisAddress, octets(1, 10, 0), ""},
		{chassisID, 7, octets([]byte(" sw\x1b[2J1\n")...), "sw[2J1"},
		{portID, portInterfaceName, octets([]byte("Gi1/0/1")...), "Gi1/0/1"},
		{portID, 0, gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: 7}, ""},
	} {
		if got := c.of(c.kind, c.in); got != c.want {
			t.Errorf("kind %d of % x: %q, want %q", c.kind, c.in.Value, got, c.want)
		}
	}
}

func TestForwards(t *testing.T) {
	for in, want := range map[byte]bool{0x20: true, 0x10: true, 0x08: true, 0x28: true, 0x01: false, 0x80: false, 0: false} {
		if forwards(octets(in)) != want {
			t.Errorf("capabilities %08b", in)
		}
	}
	if forwards(octets()) || forwards(gosnmp.SnmpPDU{Type: gosnmp.Integer, Value: 0x20}) {
		t.Error("nothing forwards")
	}
}

// lldpAgent answers each GetBulk with one row: what next says follows an object.
func lldpAgent(next func(oid string) gosnmp.SnmpPDU) agentFunc {
	return func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return reply(next(req.Variables[0].Name)) }
}

// Walks of LLDP end at their bounds, and rows of odd shape are nobody.
func TestHostileLLDP(t *testing.T) {
	n := uint32(0)
	for name, test := range map[string]struct {
		next func(oid string) gosnmp.SnmpPDU
		err  error
	}{
		"does not end": {func(string) gosnmp.SnmpPDU {
			n++
			v := octets('x')
			v.Name = oidLLDPRemote + ".4.0.1" + formatOID([]uint32{n})
			return v
		}, ErrAnswer},
		"does not increase": {func(string) gosnmp.SnmpPDU {
			v := octets('x')
			v.Name = oidLLDPRemote + ".4.0.1.1"
			return v
		}, ErrAnswer},
		"odd index": {func(oid string) gosnmp.SnmpPDU {
			v := octets('x')
			v.Name = oid + ".1.2"
			if len(oid) > len(oidLLDPRemote)+4 {
				v.Name = ".2.1"
			}
			return v
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := hostile(t, Config{}, lldpAgent(test.next)).Neighbours(t.Context())
			if !errors.Is(err, test.err) || len(list) > 0 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

func FuzzIdentifier(f *testing.F) {
	f.Add([]byte{0xb8, 0x27, 0xeb, 1, 2, 3}, int64(chassisMAC))
	f.Add([]byte{1, 10, 0, 0, 2}, int64(chassisAddress))
	f.Add([]byte("Gi1/0/1\x1b[31m"), int64(portInterfaceName))
	f.Fuzz(func(t *testing.T, raw []byte, kind int64) {
		for _, s := range []string{chassisID(kind, octets(raw...)), portID(kind, octets(raw...))} {
			if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", s)
			}
		}
		forwards(octets(raw...))
	})
}
