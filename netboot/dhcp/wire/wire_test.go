package wire_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"picloud/netboot/dhcp/wire"
)

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestVendorOptions(t *testing.T) {
	want := unhex(t, `06 01 03  0a 04 00 50 58 45
		09 17 00 00 14 52 61 73 70 62 65 72 72 79 20 50 69 20 42 6f 6f 74 20 20 20  ff`)
	if wire.VendorOptions != want || len(want) != 35 {
		t.Errorf("VendorOptions = %x\nwant            %x", wire.VendorOptions, want)
	}
}

func TestGUID(t *testing.T) {
	serial := wire.SerialGUID(0xb66c4c16)
	cm4 := wire.EEPROMGUID(wire.FourCC4, 0xc03140, [6]byte{0xe4, 0x5f, 0x01, 0x94, 0x24, 0xf8}, 0x5b1545e7)
	flipped := wire.EEPROMGUID(wire.FourCC4Reversed, 0xa03141, [6]byte{0xd8, 0x3a, 0x01, 0xf8, 0xde, 0x90}, 0x00000089)
	for _, tt := range []struct {
		name, got, want string
	}{
		{"3B", wire.GUID3B, "00" + strings.Repeat("44", 16)},
		// firmware issue 1605
		{"3B+", string(serial[:]), "00 164c6cb6 164c6cb6 164c6cb6 164c6cb6"},
		// cmprovision issue 5; its log cuts the option after e7
		{"CM4", string(cm4[:]), "00 52506934 4031c000 019424f8 e745155b"},
		// cmprovision issue 16; its log cuts the option after 89
		{"CM4 with the FourCC reversed", string(flipped[:]), "00 34695052 4131a000 01f8de90 89000000"},
	} {
		if want := unhex(t, tt.want); tt.got != want {
			t.Errorf("%s: %x, want %x", tt.name, tt.got, want)
		}
	}
}

// The option bytes of the tcpdump trace in boot-net.adoc.
const trace3B = `35 01 01
	37 0c 2b 3c 43 80 81 82 83 84 85 86 87 42
	5d 02 00 00
	5e 03 01 02 01
	61 11 00 44 44 44 44 44 44 44 44 44 44 44 44 44 44 44 44
	3c 20 50 58 45 43 6c 69 65 6e 74 3a 41 72 63 68 3a 30 30 30 30 30 3a 55 4e 44 49 3a 30 30 32 30 30 31
	ff`

func TestDiscover3B(t *testing.T) {
	mac := [6]byte{0xb8, 0x27, 0xeb, 0x28, 0xf6, 0x6d}
	got := wire.Discover(wire.ROMTransactionID, mac, wire.ParameterList3B, wire.GUID3B)
	header := "01010600 26f30339 0000 0000" + strings.Repeat("00", 16) +
		"b827eb28f66d" + strings.Repeat("00", 10+64+128) + "63825363"
	if want := unhex(t, header+trace3B); string(got) != want {
		t.Errorf("DISCOVER\n%x\nwant\n%x", got, want)
	}
	if len(got) != wire.DiscoverLen3B {
		t.Errorf("length %d, want %d as in the trace", len(got), wire.DiscoverLen3B)
	}
}

func TestDiscoverLengths(t *testing.T) {
	for _, list := range []string{wire.ParameterList3BPlus, wire.ParameterListEEPROM} {
		guid := wire.SerialGUID(1)
		if n := len(wire.Discover(7, [6]byte{}, list, string(guid[:]))); n != wire.DiscoverLen {
			t.Errorf("list %x: %d bytes, want %d", list, n, wire.DiscoverLen)
		}
	}
}

func TestAppendOptionSplits(t *testing.T) {
	got := wire.AppendOption(nil, 43, strings.Repeat("x", 300))
	want := "\x2b\xff" + strings.Repeat("x", 255) + "\x2b\x2d" + strings.Repeat("x", 45)
	if string(got) != want {
		t.Errorf("%q", got)
	}
}
