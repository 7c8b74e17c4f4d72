package pi

import (
	"fmt"
	"math/rand/v2"
	"net"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/dhcp/wire"
)

// Board is one piece of hardware, as its label and its OTP memory tell it.
type Board struct {
	// Family decides what the boot ROM does.
	Family order.Family
	// Revision is the revision code (raspberrypi/documentation
	// revision-codes.adoc), such as 0xa02082.
	Revision uint32
	// Serial is the low half of the serial number, the one that the TFTP prefix
	// has.
	Serial uint32
	// MAC is the address of the wired interface.
	MAC net.HardwareAddr
}

// MemoryMB returns the memory in MiB that the revision code tells: bits 20 to 22
// are 0 for 256 MiB and each step doubles it.
func (b Board) MemoryMB() int { return 256 << (b.Revision >> 20 & 7) }

// SerialText returns the serial number as the TFTP prefix has it: 8 lower case
// hexadecimal digits.
func (b Board) SerialText() string { return fmt.Sprintf("%08x", b.Serial) }

// model is what all boards of a family have in common.
type model struct {
	revisions []uint32
	// ouis are the first half of MAC addresses seen on the family.
	ouis [][3]byte
	// serialMAC is whether the MAC's second half is the serial number's
	// (raspberrypi/firmware issues 1041 and 1605).
	serialMAC bool
	// bootMW and idleMW are what the board draws while it boots and when it has
	// nothing to do, HAT included, in milliwatts (from memory).
	bootMW, idleMW int
	// class is the PoE class of the usual HAT: the PoE+ HAT is class 4; a 3B has no
	// PoE header and takes a class 3 splitter (from memory).
	class int
}

// models lists the families. Revision codes are those of revision-codes.adoc,
// from memory.
var models = map[order.Family]model{
	order.Pi3B: {
		revisions: []uint32{0xa02082, 0xa22082, 0xa32082},
		ouis:      [][3]byte{{0xb8, 0x27, 0xeb}},
		serialMAC: true,
		bootMW:    3600, idleMW: 2300, class: 3,
	},
	order.Pi3BPlus: {
		revisions: []uint32{0xa020d3, 0xa020d4},
		ouis:      [][3]byte{{0xb8, 0x27, 0xeb}},
		serialMAC: true,
		bootMW:    4700, idleMW: 3100, class: 4,
	},
	order.Pi4B: {
		revisions: []uint32{0xb03114, 0xb03115, 0xc03111, 0xc03112, 0xc03114, 0xd03114},
		ouis:      [][3]byte{{0xdc, 0xa6, 0x32}, {0xe4, 0x5f, 0x01}},
		bootMW:    5600, idleMW: 3400, class: 4,
	},
	order.Pi5: {
		revisions: []uint32{0xc04170, 0xd04170},
		ouis:      [][3]byte{{0x2c, 0xcf, 0x67}, {0xd8, 0x3a, 0xdd}},
		bootMW:    7400, idleMW: 3900, class: 4,
	},
}

// NewBoard makes up a board of the family. It returns an error for a family that
// cannot boot over the network.
func NewBoard(f order.Family, rng *rand.Rand) (Board, error) {
	m, ok := models[f]
	if !ok {
		return Board{}, fmt.Errorf("pi: new board: no family %q (have %v)", f, order.Families())
	}
	b := Board{
		Family:   f,
		Revision: m.revisions[rng.IntN(len(m.revisions))],
		Serial:   rng.Uint32(),
	}
	oui, low := m.ouis[rng.IntN(len(m.ouis))], rng.Uint32()
	if m.serialMAC {
		low = b.Serial
	}
	b.MAC = net.HardwareAddr{oui[0], oui[1], oui[2], byte(low >> 16), byte(low >> 8), byte(low)}
	return b, nil
}

// PoEClass returns the power class (IEEE 802.3af/at, 0 to 4) that the family's
// usual HAT asks for.
func PoEClass(f order.Family) int { return models[f].class }

// Draw returns what a board of the family draws while it boots and when idle, in
// milliwatts.
func Draw(f order.Family) (boot, idle int) { return models[f].bootMW, models[f].idleMW }

// mac6 is the MAC address as an array.
func (b Board) mac6() [6]byte { return [6]byte(b.MAC) }

// romGUID is option 97 of the 3B's mask ROM: a constant.
func romGUID(Board) string { return wire.GUID3B }

// serialGUID is option 97 of the 3B+ and of bootcode.bin.
func serialGUID(b Board) string {
	g := wire.SerialGUID(b.Serial)
	return string(g[:])
}

// eepromGUID is option 97 of the EEPROM bootloaders.
func eepromGUID(b Board) string {
	g := wire.EEPROMGUID(fourCC[b.Family], b.Revision, b.mac6(), b.Serial)
	return string(g[:])
}

var fourCC = map[order.Family]string{order.Pi4B: wire.FourCC4, order.Pi5: wire.FourCC5}
