package dhcp

import (
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picloud/netboot/dhcp/wire"
)

func serialGUID(serial uint32) string {
	g := wire.SerialGUID(serial)
	return string(g[:])
}

func eepromGUID(fourCC string, revision uint32, mac MAC, serial uint32) string {
	g := wire.EEPROMGUID(fourCC, revision, mac, serial)
	return string(g[:])
}

var (
	mac3B  = mustMAC("b8:27:eb:28:f6:6d") // boot-net.adoc
	mac3BP = mustMAC("b8:27:eb:6c:4c:16") // firmware issue 1605
	mac4   = mustMAC("dc:a6:32:2e:f8:ed")
	mac5   = mustMAC("2c:cf:67:c4:ac:a4")
)

func TestIdentify(t *testing.T) {
	// The form that no log shows: all words big endian, the MAC turned round.
	turned := "\x00" + "4iPR" + "\x00\xc0\x31\x40" + "\xed\xf8\x2e\x32" + "\x5b\x15\x45\x10"
	for _, tt := range []struct {
		name   string
		packet []byte
		want   Identity
	}{
		{"3B ROM", wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B),
			Identity{Family: Family3B}},
		{"3B+ ROM and bootcode.bin", wire.Discover(wire.ROMTransactionID, mac3BP, wire.ParameterList3BPlus, serialGUID(0xb66c4c16)),
			Identity{Family: Family3BPlus, Serial: 0xb66c4c16, HasSerial: true, MACAgrees: true}},
		{"3B+ with a foreign MAC", wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3BPlus, serialGUID(0xb66c4c16)),
			Identity{Family: Family3BPlus, Serial: 0xb66c4c16, HasSerial: true}},
		{"4B", wire.Discover(0x6b0c43cf, mac4, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4, 0xa03111, mac4, 0x5b154510)),
			Identity{Family: Family4, Serial: 0x5b154510, HasSerial: true, Revision: 0xa03111, MACAgrees: true}},
		{"CM4, FourCC reversed", wire.Discover(1, mac4, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4Reversed, 0xa03141, mac4, 0x89)),
			Identity{Family: Family4, Serial: 0x89, HasSerial: true, Revision: 0xa03141, MACAgrees: true}},
		{"4B of before 2020-03-16, no MAC", wire.Discover(1, mac4, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4, 0xa03111, MAC{}, 0x5b154510)),
			Identity{Family: Family4, Serial: 0x5b154510, HasSerial: true, Revision: 0xa03111}},
		{"all turned round", wire.Discover(1, mac4, wire.ParameterListEEPROM, turned),
			Identity{Family: Family4, Serial: 0x5b154510, HasSerial: true, Revision: 0xc03140, MACAgrees: true}},
		{"5", wire.Discover(1, mac5, wire.ParameterListEEPROM, eepromGUID(wire.FourCC5, 0xd04170, mac5, 0xbd989ae1)),
			Identity{Family: Family5, Serial: 0xbd989ae1, HasSerial: true, Revision: 0xd04170, MACAgrees: true}},
		{"CM5, FourCC reversed", wire.Discover(1, mac5, wire.ParameterListEEPROM, eepromGUID(wire.FourCC5Reversed, 0xd04180, mac5, 1)),
			Identity{Family: Family5, Serial: 1, HasSerial: true, Revision: 0xd04180, MACAgrees: true}},
		{"4 or 5 with DHCP_OPTION97=0", wire.Discover(1, mac4, wire.ParameterListEEPROM, serialGUID(0x5b154510)),
			Identity{Family: FamilyEEPROM, Serial: 0x5b154510, HasSerial: true}},
		{"a PC", wire.Discover(1, mac4, "\x01\x03", "\x00"+strings.Repeat("ab", 8)[:15]+"x"), Identity{}},
		{"option 97 of zeros", wire.Discover(1, mac4, "\x01\x03", strings.Repeat("\x00", 17)), Identity{}},
		{"option 97 of another length", wire.Discover(1, mac4, "\x01\x03", "\x00RPi4"), Identity{}},
	} {
		tt.want.PXE, tt.want.VendorClass = true, wire.VendorClass
		p, err := dhcpv4.FromBytes(tt.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := Identify(p); got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestIdentifyIsSafeToShow(t *testing.T) {
	p, err := dhcpv4.New(dhcpv4.WithGeneric(dhcpv4.OptionHostName, []byte("pi\x1b[2J\xff\n\x00\x00")),
		dhcpv4.WithGeneric(dhcpv4.OptionClassIdentifier, []byte(strings.Repeat("A", 300))))
	if err != nil {
		t.Fatal(err)
	}
	id := Identify(p)
	if id.HostName != "pi?[2J??" || len(id.VendorClass) != maxText {
		t.Errorf("%q %d", id.HostName, len(id.VendorClass))
	}
}

func TestPXE(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options dhcpv4.Options
		want    bool
	}{
		{"boot ROM", dhcpv4.Options{60: []byte(wire.VendorClass)}, true},
		{"systemd-networkd", dhcpv4.Options{60: []byte("systemd 252"), 55: {1, 3, 6, 43}}, false},
		{"Pi 4 REQUEST, 97 and no 60", dhcpv4.Options{97: []byte(wire.GUID3B), 55: {1, 3}}, true},
		{"REQUEST with the ROM's list only", dhcpv4.Options{55: []byte(wire.ParameterListEEPROM)}, true},
		{"REQUEST with nothing", dhcpv4.Options{}, true},
		{"dhclient, no 60", dhcpv4.Options{55: {1, 28, 2, 3, 15, 6, 119, 12}}, false},
	} {
		if got := wantsBootOptions(tt.options); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestRevision(t *testing.T) {
	for _, tt := range []struct {
		r     Revision
		ok    bool
		model string
		mem   int
	}{
		{0xa02082, true, "3B", 1024},
		{0xa020d3, true, "3B+", 1024},
		{0xc03111, true, "4B", 4096},
		{0xa03141, true, "CM4", 1024},
		{0xd04170, true, "5", 8192},
		{0x9020e0, true, "3A+", 512},
		{0x2a02082, true, "3B", 1024}, // warranty bit
		{0x0010, false, "", 0},        // old style
		{0x1131a000, false, "", 0},    // a03111 in the wrong order
		{0xc0fff0, true, "", 4096},    // newer than we know
	} {
		if tt.r.Plausible() != tt.ok || tt.r.Model() != tt.model || tt.r.MemoryMB() != tt.mem {
			t.Errorf("%v: %v %q %d", tt.r, tt.r.Plausible(), tt.r.Model(), tt.r.MemoryMB())
		}
	}
}
