package dhcp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"picloud/netboot/dhcp/wire"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func zeros(n int) string { return strings.Repeat("00", n) }

// bootReply is the header of an answer: the addresses of boot-net.adoc's
// trace, no file name and no server name.
func bootReply(xid string, mac MAC, yiaddr string) string {
	return "02010600" + xid + "00000000" + "00000000" + yiaddr + "c0a80101" + "00000000" +
		hex.EncodeToString(mac[:]) + zeros(10+64+128) + "63825363"
}

// The options of the trace, in its order, with option 43 in form B and option
// 66, which dnsmasq did not send.
const (
	leaseOptions = `3604c0a80101 33040000a8c0 3a0400005460 3b04000093a8 0104ffffff00 1c04c0a801ff`
	bootOptions1 = `420b3139322e3136382e312e31 3c09505845436c69656e74`
	bootOptions2 = `2b23 060103 0a0400505845
		0917000014 526173706265727279 205069 20426f6f74202020 ff  ff`
	ourAddr = "c0a8018b"
)

func TestAnswersOfEachFamily(t *testing.T) {
	guid4 := eepromGUID(wire.FourCC4, 0xa03111, mac4, 0x5b154510)
	guid5 := eepromGUID(wire.FourCC5, 0xd04170, mac5, 0xbd989ae1)
	addr, server := [4]byte{192, 168, 1, 139}, [4]byte{192, 168, 1, 1}
	for _, tt := range []struct {
		name   string
		packet []byte
		mac    MAC
		xid    string
		typ    string // option 53 of the answer
		guid   string
		kind   Kind
		reply  Kind
	}{
		{"3B ROM", wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B), mac3B,
			"26f30339", "350102", "6111 00 44444444 44444444 44444444 44444444", KindDiscover, KindOffer},
		{"3B+", wire.Discover(wire.ROMTransactionID, mac3BP, wire.ParameterList3BPlus, serialGUID(0xb66c4c16)), mac3BP,
			"26f30339", "350102", "6111 00 164c6cb6 164c6cb6 164c6cb6 164c6cb6", KindDiscover, KindOffer},
		{"4", wire.Discover(0x6b0c43cf, mac4, wire.ParameterListEEPROM, guid4), mac4,
			"6b0c43cf", "350102", "6111 00 52506934 1131a000 322ef8ed 1045155b", KindDiscover, KindOffer},
		{"4 ACK", wire.Request(0x6b0c43cf, mac4, wire.ParameterListEEPROM, guid4, addr, server), mac4,
			"6b0c43cf", "350105", "6111 00 52506934 1131a000 322ef8ed 1045155b", KindRequest, KindAck},
		{"5", wire.Discover(0x01020304, mac5, wire.ParameterListEEPROM, guid5), mac5,
			"01020304", "350102", "6111 00 52506935 7041d000 67c4aca4 e19a98bd", KindDiscover, KindOffer},
		{"5 ACK", wire.Request(0x01020304, mac5, wire.ParameterListEEPROM, guid5, addr, server), mac5,
			"01020304", "350105", "6111 00 52506935 7041d000 67c4aca4 e19a98bd", KindRequest, KindAck},
	} {
		d := Decide(tt.packet, docIngress, &mapTable{rows: []row{docRow(tt.mac)}})
		want := unhex(bootReply(tt.xid, tt.mac, ourAddr) + tt.typ + leaseOptions + bootOptions1 + tt.guid + bootOptions2)
		if !bytes.Equal(d.Reply, want) {
			t.Errorf("%s: answer\n%x\nwant\n%x", tt.name, d.Reply, want)
		}
		if d.Event.Kind != tt.kind || d.ReplyKind != tt.reply || d.To != ToClient {
			t.Errorf("%s: %v, %v to %d", tt.name, d.Event.Kind, d.ReplyKind, d.To)
		}
	}
}

// client builds an operating system's message.
func client(typ byte, mac MAC, ciaddr string, options string) []byte {
	b := wire.AppendHeader(nil, 0xcafe0001, mac)
	copy(b[wire.OffCIAddr:], unhex(ciaddr))
	b = append(b, wire.OptMessageType, 1, typ)
	b = append(b, unhex(options)...)
	return append(b, wire.OptEnd)
}

const (
	typeDecline = 4
	typeRelease = 7
	typeInform  = 8

	dhclientList = "37 08 01 1c 02 03 0f 06 0c 2a"
)

func TestOperatingSystem(t *testing.T) {
	r := docRow(mac4)
	r.res.Router = netip.MustParseAddr("192.168.1.254")
	r.res.DNS = []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")}
	r.res.NTP = []netip.Addr{r.res.Server}
	r.res.HostName = "pi1"
	d := Decide(client(wire.TypeDiscover, mac4, zeros(4), dhclientList+"3d07 01 dca6322ef8ed"),
		docIngress, &mapTable{rows: []row{r}})
	want := unhex(bootReply("cafe0001", mac4, ourAddr) + "350102" + leaseOptions +
		"0304c0a801fe" + "3d07 01 dca6322ef8ed" + "060409090909" + "0c03706931" + "2a04c0a80101" + "ff")
	if n := wire.MinLen - len(want); n > 0 {
		want = append(want, make([]byte, n)...)
	}
	if !bytes.Equal(d.Reply, want) {
		t.Errorf("answer\n%x\nwant\n%x", d.Reply, want)
	}
	if d.Event.Identity.PXE || d.Event.Identity.Family != FamilyUnknown {
		t.Errorf("taken for a boot ROM: %+v", d.Event.Identity)
	}
}

// TestStates walks through RFC 2131 section 4.3.
func TestStates(t *testing.T) {
	const (
		asks   = "3204c0a8018b" // option 50, our address
		other  = "3204c0a8018c"
		us     = "3604c0a80101" // option 54
		them   = "3604c0a80102"
		addr   = ourAddr
		nobody = "00000000"
	)
	for _, tt := range []struct {
		name            string
		typ             byte
		ciaddr, options string
		kind, reply     Kind
		reason          Reason // of the message, or of the NAK
		to              Destination
	}{
		{"selecting", wire.TypeRequest, nobody, asks + us, KindRequest, KindAck, "", ToClient},
		{"selecting another address", wire.TypeRequest, nobody, other + us, KindRequest, KindNak, ReasonWrongAddress, ToClient},
		{"selecting another server", wire.TypeRequest, nobody, asks + them, KindRequest, 0, ReasonOtherServer, ToNobody},
		{"selecting nothing", wire.TypeRequest, nobody, us, KindRequest, 0, ReasonNoAddress, ToNobody},
		{"init-reboot", wire.TypeRequest, nobody, asks, KindRequest, KindAck, "", ToClient},
		{"init-reboot from another network", wire.TypeRequest, nobody, "32040a000001", KindRequest, KindNak, ReasonWrongAddress, ToClient},
		{"renewing", wire.TypeRequest, addr, "", KindRequest, KindAck, "", ToAddress},
		{"renewing another address", wire.TypeRequest, "c0a8018c", "", KindRequest, KindNak, ReasonWrongAddress, ToClient},
		{"renewing another address, asking for ours", wire.TypeRequest, "c0a8018c", asks, KindRequest, KindNak, ReasonWrongAddress, ToClient},
		{"request of nothing", wire.TypeRequest, nobody, "", KindRequest, 0, ReasonNoAddress, ToNobody},
		{"inform", typeInform, addr, "", KindInform, KindAck, "", ToAddress},
		{"inform from elsewhere", typeInform, "08080808", "", KindInform, 0, ReasonInform, ToNobody},
		{"decline", typeDecline, nobody, asks + us, KindDecline, 0, "", ToNobody},
		{"release", typeRelease, addr, us, KindRelease, 0, "", ToNobody},
		{"offer", wire.TypeOffer, nobody, "", KindIgnored, 0, ReasonType, ToNobody},
		{"unknown type", 99, nobody, "", KindIgnored, 0, ReasonType, ToNobody},
	} {
		d := Decide(client(tt.typ, mac4, tt.ciaddr, tt.options), docIngress, &mapTable{rows: []row{docRow(mac4)}})
		reason := d.Event.Reason
		if d.ReplyKind == KindNak {
			reason = d.ReplyReason
		}
		if d.Event.Kind != tt.kind || d.ReplyKind != tt.reply || reason != tt.reason || d.To != tt.to {
			t.Errorf("%s: %v %q, %v to %d", tt.name, d.Event.Kind, reason, d.ReplyKind, d.To)
		}
		if (d.Reply != nil) != (tt.to != ToNobody) {
			t.Errorf("%s: answer %x", tt.name, d.Reply)
		}
	}
}

func TestNak(t *testing.T) {
	d := Decide(client(wire.TypeRequest, mac4, zeros(4), "32040a000001"), docIngress, &mapTable{rows: []row{docRow(mac4)}})
	want := unhex("02010600cafe000100000000" + zeros(16) + hex.EncodeToString(mac4[:]) + zeros(10+64+128) +
		"63825363" + "350106" + "3604c0a80101" +
		"3829" + hex.EncodeToString([]byte(ReasonWrongAddress)) + "ff")
	if n := wire.MinLen - len(want); n > 0 {
		want = append(want, make([]byte, n)...)
	}
	if !bytes.Equal(d.Reply, want) {
		t.Errorf("NAK\n%x\nwant\n%x", d.Reply, want)
	}
}

func TestInformHasNoLease(t *testing.T) {
	d := Decide(client(typeInform, mac4, ourAddr, "3702 01 33"), docIngress, &mapTable{rows: []row{docRow(mac4)}})
	if got := hex.EncodeToString(d.Reply[wire.HeaderLen:][:16]); got != "350105"+"3604c0a80101"+"0104ffffff00"+"ff" {
		t.Errorf("options %s", got)
	}
	if !bytes.Equal(d.Reply[wire.OffYIAddr:][:4], make([]byte, 4)) {
		t.Errorf("yiaddr %x", d.Reply[wire.OffYIAddr:][:4])
	}
}

func TestIgnored(t *testing.T) {
	good := wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B)
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	for _, tt := range []struct {
		name   string
		packet []byte
		reason Reason
	}{
		{"nothing", nil, ReasonShort},
		{"header only", good[:wire.HeaderLen-1], ReasonShort},
		{"oversized", append(bytes.Clone(good), make([]byte, 1500)...), ReasonLong},
		{"BOOTREPLY", change(0, 2), ReasonReply},
		{"op 0", change(0, 0), ReasonReply},
		{"token ring", change(1, 6), ReasonHardware},
		{"8-byte address", change(2, 8), ReasonHardware},
		{"no address", change(2, 0), ReasonHardware},
		{"zero MAC", change(wire.OffCHAddr, 0, 0, 0, 0, 0, 0), ReasonMAC},
		{"group MAC", change(wire.OffCHAddr, 1), ReasonMAC},
		{"hops", change(3, 1), ReasonRelayed},
		{"giaddr", change(wire.OffGIAddr, 10, 0, 0, 1), ReasonRelayed},
		{"no cookie", change(wire.OffCookie, 0), ReasonMalformed},
		{"no end", good[:len(good)-1], ReasonMalformed},
		{"option runs over", change(len(good)-35, 60, 200), ReasonMalformed},
		{"BOOTP", change(wire.HeaderLen, 255), ReasonNoType},
		{"type of two bytes", append(bytes.Clone(good[:wire.HeaderLen]), 53, 2, 1, 1, 255), ReasonNoType},
	} {
		d := Decide(tt.packet, docIngress, &mapTable{rows: []row{docRow(mac3B)}})
		if d.Event.Kind != KindIgnored || d.Event.Reason != tt.reason || d.Reply != nil {
			t.Errorf("%s: %v %q %x", tt.name, d.Event.Kind, d.Event.Reason, d.Reply)
		}
	}
}

func TestUnknown(t *testing.T) {
	table := &mapTable{rows: []row{docRow(mac3B)}}
	stranger := wire.Discover(9, mac5, wire.ParameterListEEPROM, eepromGUID(wire.FourCC5, 0xd04170, mac5, 0xbd989ae1))

	d := Decide(stranger, docIngress, table)
	if d.Event.Kind != KindUnknownPi || d.Reply != nil || d.Event.Reservation.Segment != "seg1" {
		t.Errorf("stranger: %+v", d)
	}
	if id := d.Event.Identity; id.Revision.Model() != "5" || id.Serial != 0xbd989ae1 {
		t.Errorf("the report lacks model and serial: %+v", id)
	}
	d = Decide(stranger, Ingress{IfIndex: 8}, table)
	if d.Event.Kind != KindUnknownSegment || d.Reply != nil {
		t.Errorf("nowhere: %+v", d)
	}
}

func TestReservationThatCannotWork(t *testing.T) {
	r := docRow(mac3B)
	r.res.Server = netip.MustParseAddr("10.0.0.1")
	d := Decide(wire.Discover(1, mac3B, wire.ParameterList3B, wire.GUID3B), docIngress, &mapTable{rows: []row{r}})
	if d.Event.Kind != KindFailed || d.Event.Reason != ReasonReservation || d.Reply != nil || d.Event.Err == nil {
		t.Errorf("%+v", d)
	}
}

// The constant xid must not matter: two 3Bs on two segments get two addresses.
func TestSameTransactionOnTwoSegments(t *testing.T) {
	other := docRow(mac3BP)
	other.ifIndex, other.res.Segment = 8, "seg2"
	other.res.Server, other.res.Addr = netip.MustParseAddr("10.1.0.1"), netip.MustParsePrefix("10.1.0.2/30")
	table := &mapTable{rows: []row{docRow(mac3B), other}}
	a := Decide(wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B), docIngress, table)
	b := Decide(wire.Discover(wire.ROMTransactionID, mac3BP, wire.ParameterList3B, wire.GUID3B), Ingress{IfIndex: 8}, table)
	if got := hex.EncodeToString(a.Reply[16:20]) + hex.EncodeToString(b.Reply[16:20]); got != ourAddr+"0a010002" {
		t.Errorf("addresses %s", got)
	}
}

// A client that fills the answer with its own identifier still gets all that a
// boot ROM needs, in 576 bytes.
func TestLongClientIdentifier(t *testing.T) {
	id := strings.Repeat("ab", 255)
	r := docRow(mac4)
	r.res.HostName = strings.Repeat("h", 255)
	for _, extra := range []string{"", "3c20" + hex.EncodeToString([]byte(wire.VendorClass))} {
		d := Decide(client(wire.TypeDiscover, mac4, zeros(4), "3dff"+id+extra), docIngress, &mapTable{rows: []row{r}})
		if len(d.Reply) > maxReply {
			t.Errorf("answer has %d bytes", len(d.Reply))
		}
		if !bytes.Contains(d.Reply, []byte(wire.VendorOptions)) {
			t.Error("option 43 was left out")
		}
	}
}
