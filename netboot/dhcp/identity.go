package dhcp

import (
	"encoding/binary"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"picloud/netboot/dhcp/wire"
)

// Family is the kind of boot ROM, as its messages show it.
type Family uint8

// The families.
const (
	// FamilyUnknown is an operating system, or nothing that we know.
	FamilyUnknown Family = iota
	// Family3B is the mask ROM of the Pi 2B v1.2, 3B and CM3.
	Family3B
	// Family3BPlus is the mask ROM of the Pi 3B+ and CM3+; and bootcode.bin,
	// the second stage, on every board that has a mask ROM. Their messages
	// are the same to the byte: a DISCOVER of this family from a 3B is its
	// second stage, from a 3B+ it can be either.
	Family3BPlus
	// Family4 is the boot loader of the Pi 4, 400 and CM4.
	Family4
	// Family5 is the boot loader of the Pi 5, 500 and CM5.
	Family5
	// FamilyEEPROM is a Pi 4 or 5 that hides which: its EEPROM says
	// DHCP_OPTION97=0, or is of before March 2020.
	FamilyEEPROM
)

var familyNames = [...]string{"unknown", "3B", "3B+", "4", "5", "EEPROM"}

// String returns the name of the model that the family is called after.
func (f Family) String() string {
	if int(f) < len(familyNames) {
		return familyNames[f]
	}
	return familyNames[FamilyUnknown]
}

// Identity is what a message tells of its sender. All of it is hostile input:
// it may be shown, and compared with what is known, and nothing more.
type Identity struct {
	Family Family
	// PXE says that the sender wants the boot options: it is a boot ROM or
	// boot loader, and not an operating system.
	PXE bool
	// Serial is the low half of the board's serial number, the half that
	// names its TFTP folder. It is there if HasSerial says so.
	Serial    uint32
	HasSerial bool
	// Revision is the board's revision code, 0 when it is not told.
	Revision Revision
	// MACAgrees says that the serial number (Pi 3) or the MAC bytes (Pi 4
	// and later) in option 97 fit the sender's MAC address. It is false as
	// well when option 97 has nothing to compare, and may be on an honest Pi
	// whose MAC address was changed by hand.
	MACAgrees bool
	// VendorClass and HostName are options 60 and 12: printable ASCII, at
	// most 64 bytes.
	VendorClass, HostName string
}

const maxText = 64

// Identify reads what m tells of its sender.
func Identify(m *dhcpv4.DHCPv4) Identity {
	id := Identity{
		VendorClass: printable(m.Options.Get(dhcpv4.OptionClassIdentifier)),
		HostName:    printable(m.Options.Get(dhcpv4.OptionHostName)),
		PXE:         wantsBootOptions(m.Options),
	}
	guid := m.Options.Get(dhcpv4.OptionClientMachineIdentifier)
	if len(guid) != wire.GUIDLen || guid[0] != 0 || len(m.ClientHWAddr) != len(MAC{}) {
		return id
	}
	mac := MAC(m.ClientHWAddr)
	switch {
	case string(guid) == wire.GUID3B:
		id.Family = Family3B
	case isRepeated(guid[1:]):
		id.fromSerialGUID(guid, mac, binary.BigEndian.Uint32(m.TransactionID[:]))
	default:
		id.fromFourCC(guid, mac)
	}
	return id
}

// wantsBootOptions tells a boot ROM from an operating system. The Pi 4's
// REQUEST has no option 60 (rpi-eeprom issues 82 and 87), so that its absence
// says nothing; but an operating system that has none either lists what it
// wants, and neither 43 nor 60 is in the list.
func wantsBootOptions(o dhcpv4.Options) bool {
	if class, ok := o[wire.OptVendorClass]; ok {
		return strings.HasPrefix(string(class), wire.ServerVendorClass)
	}
	if o.Has(dhcpv4.OptionClientMachineIdentifier) || o.Has(dhcpv4.OptionClientSystemArchitectureType) {
		return true
	}
	list, ok := o[wire.OptParameterList]
	return !ok || strings.IndexByte(string(list), wire.OptVendorSpecific) >= 0 ||
		strings.IndexByte(string(list), wire.OptVendorClass) >= 0
}

// isRepeated says that b is one word four times, and not zeros.
func isRepeated(b []byte) bool {
	w := string(b[:4])
	return w != "\x00\x00\x00\x00" && w == string(b[4:8]) && w == string(b[8:12]) && w == string(b[12:16])
}

// fromSerialGUID reads "serial number four times". The 3B+ ROM and
// bootcode.bin are told from an EEPROM by their constant xid; and by their
// MAC address, which they make from the serial number.
func (id *Identity) fromSerialGUID(guid []byte, mac MAC, xid uint32) {
	id.Serial, id.HasSerial = binary.LittleEndian.Uint32(guid[1:]), true
	low := uint32(mac[3])<<16 | uint32(mac[4])<<8 | uint32(mac[5])
	id.MACAgrees = low == id.Serial&0xffffff
	id.Family = FamilyEEPROM
	if xid == wire.ROMTransactionID || id.MACAgrees {
		id.Family = Family3BPlus
	}
}

var fourCCs = map[string]Family{
	wire.FourCC4: Family4, wire.FourCC4Reversed: Family4,
	wire.FourCC5: Family5, wire.FourCC5Reversed: Family5,
}

// fromFourCC reads the EEPROM's form. In every log known the words behind the
// FourCC are as [wire.EEPROMGUID] writes them, even where the FourCC itself
// was reversed; the other order of each is taken too.
func (id *Identity) fromFourCC(guid []byte, mac MAC) {
	family, ok := fourCCs[string(guid[1:5])]
	if !ok {
		return
	}
	id.Family = family
	var order binary.ByteOrder = binary.LittleEndian
	if !Revision(order.Uint32(guid[5:])).Plausible() && Revision(binary.BigEndian.Uint32(guid[5:])).Plausible() {
		order = binary.BigEndian
	}
	if r := Revision(order.Uint32(guid[5:])); r.Plausible() {
		id.Revision = r
	}
	id.Serial, id.HasSerial = order.Uint32(guid[13:]), true
	m := guid[9:13]
	id.MACAgrees = [4]byte(m) == [4]byte(mac[2:]) || [4]byte{m[3], m[2], m[1], m[0]} == [4]byte(mac[2:])
}

// printable makes hostile text harmless on a terminal and in a log.
func printable(b []byte) string {
	if len(b) > maxText {
		b = b[:maxText]
	}
	s := strings.TrimRight(string(b), "\x00")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
