package dhcp

import "fmt"

// Revision is a new-style board revision code (Raspberry Pi documentation,
// "Raspberry Pi revision codes"): bits 0-3 revision, 4-11 type, 12-15
// processor, 16-19 maker, 20-22 memory, 23 set.
type Revision uint32

const (
	newStyle   = 1 << 23
	unusedBits = 1<<24 | 7<<26
)

var boardTypes = map[Revision]string{
	0x00: "A", 0x01: "B", 0x02: "A+", 0x03: "B+", 0x04: "2B", 0x06: "CM1",
	0x08: "3B", 0x09: "Zero", 0x0a: "CM3", 0x0c: "Zero W", 0x0d: "3B+",
	0x0e: "3A+", 0x10: "CM3+", 0x11: "4B", 0x12: "Zero 2 W", 0x13: "400",
	0x14: "CM4", 0x15: "CM4S", 0x17: "5", 0x18: "CM5", 0x19: "500",
	0x1a: "CM5 Lite",
}

// Plausible says whether r can be a revision code: the bit that all have is
// set and the bits that none has are not.
func (r Revision) Plausible() bool { return r&newStyle != 0 && r&unusedBits == 0 }

// Model returns the name of the board's type, such as "4B", or "" when r does
// not tell or is newer than this table.
func (r Revision) Model() string {
	if !r.Plausible() {
		return ""
	}
	return boardTypes[r>>4&0xff]
}

// MemoryMB returns the board's memory in MiB, 0 when r does not tell.
func (r Revision) MemoryMB() int {
	if !r.Plausible() {
		return 0
	}
	return 256 << (r >> 20 & 7)
}

// String returns the code as /proc/cpuinfo shows it.
func (r Revision) String() string { return fmt.Sprintf("%06x", uint32(r)) }
