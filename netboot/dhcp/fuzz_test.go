package dhcp

import (
	"bytes"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picloud/netboot/dhcp/wire"
)

// FuzzDecide feeds any bytes to the server's whole way from packet to answer,
// and checks what must hold of every answer.
func FuzzDecide(f *testing.F) {
	guid4 := eepromGUID(wire.FourCC4, 0xa03111, mac4, 0x5b154510)
	guid5 := eepromGUID(wire.FourCC5Reversed, 0xd04180, mac5, 0xbd989ae1)
	addr, server := [4]byte{192, 168, 1, 139}, [4]byte{192, 168, 1, 1}
	for _, seed := range [][]byte{
		wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B),
		wire.Discover(wire.ROMTransactionID, mac3BP, wire.ParameterList3BPlus, serialGUID(0xb66c4c16)),
		wire.Discover(0x6b0c43cf, mac4, wire.ParameterListEEPROM, guid4),
		wire.Request(0x6b0c43cf, mac4, wire.ParameterListEEPROM, guid4, addr, server),
		wire.Discover(1, mac5, wire.ParameterListEEPROM, guid5),
		client(wire.TypeDiscover, mac4, zeros(4), dhclientList+"3d07 01 dca6322ef8ed"),
		client(wire.TypeRequest, mac4, ourAddr, ""),
		client(wire.TypeRequest, mac4, zeros(4), "32040a000001"),
		client(typeInform, mac4, ourAddr, "3702 01 33"),
		client(typeDecline, mac4, zeros(4), "3204c0a8018b 3604c0a80101"),
		nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		kept := bytes.Clone(packet)
		d := Decide(packet, docIngress, everyMAC{})
		if !bytes.Equal(packet, kept) {
			t.Error("the packet was changed")
		}
		if (d.Reply == nil) != (d.To == ToNobody) || (d.Reply == nil) != (d.ReplyKind == 0) {
			t.Fatalf("answer and destination do not fit: %+v", d)
		}
		if d.Event.Kind == 0 || d.Event.Count != 1 {
			t.Errorf("event %+v", d.Event)
		}
		if d.Reply != nil {
			checkReply(t, packet, d)
		}
	})
}

// everyMAC reserves the address for whoever asks.
type everyMAC struct{}

func (everyMAC) Lookup(_ Ingress, mac MAC) (Reservation, Verdict) { return docRow(mac).res, Known }

func checkReply(t *testing.T, packet []byte, d Decision) {
	t.Helper()
	if len(d.Reply) < wire.MinLen || len(d.Reply) > maxReply {
		t.Fatalf("answer of %d bytes", len(d.Reply))
	}
	p, err := dhcpv4.FromBytes(d.Reply)
	if err != nil {
		t.Fatalf("answer is malformed: %v", err)
	}
	if p.OpCode != dhcpv4.OpcodeBootReply || !bytes.Equal(d.Reply[wire.OffXID:][:4], packet[wire.OffXID:][:4]) ||
		!bytes.Equal(d.Reply[wire.OffCHAddr:][:16], packet[wire.OffCHAddr:][:16]) {
		t.Error("answer is not to the question")
	}
	if got := p.ServerIdentifier().String(); got != "192.168.1.1" {
		t.Errorf("server %s", got)
	}
	if a := p.YourIPAddr.String(); a != "192.168.1.139" && a != "0.0.0.0" {
		t.Errorf("address %s", a)
	}
	if d.Event.Identity.PXE && d.ReplyKind != KindNak && string(p.Options[wire.OptVendorSpecific]) != wire.VendorOptions {
		t.Error("boot ROM got no option 43")
	}
}

func BenchmarkDecide(b *testing.B) {
	guid4 := eepromGUID(wire.FourCC4, 0xa03111, mac4, 0x5b154510)
	for _, bb := range []struct {
		name   string
		packet []byte
	}{
		{"3B", wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B)},
		{"4", wire.Discover(1, mac4, wire.ParameterListEEPROM, guid4)},
		{"4-ack", wire.Request(1, mac4, wire.ParameterListEEPROM, guid4, [4]byte{192, 168, 1, 139}, [4]byte{192, 168, 1, 1})},
		{"linux", client(wire.TypeDiscover, mac4, zeros(4), dhclientList)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := Decide(bb.packet, docIngress, everyMAC{}); d.Reply == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}
