// Package ptable reads partition tables: MBR, and GPT (UEFI 2.10, section 5).
package ptable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

var (
	// ErrNoTable means that there is no partition table.
	ErrNoTable = errors.New("no partition table")
	// ErrCorrupt means that the table contradicts itself.
	ErrCorrupt = errors.New("corrupt partition table")
	// ErrOutside means that a partition is not within the file: the file is cut
	// off, or the table is a trap.
	ErrOutside = errors.New("a partition reaches beyond the end of the image")
)

const (
	sector     = 512
	protective = 0xEE
	maxEntries = 1024
	maxEntry   = 4096
)

// Partition is a part of an image, in bytes.
type Partition struct {
	Number int // from 1, as in the table
	Offset int64
	Size   int64
}

// Read returns the partitions of an image of size bytes, in the table's order.
// Logical partitions inside an extended one are not read; Raspberry Pi images
// have none. Errors: [ErrNoTable], [ErrCorrupt], [ErrOutside], or r's.
func Read(r io.ReaderAt, size int64) ([]Partition, error) {
	parts, err := read(r, size)
	if err != nil {
		return nil, fmt.Errorf("ptable: read: %w", err)
	}
	return parts, nil
}

func read(r io.ReaderAt, size int64) ([]Partition, error) {
	b := make([]byte, sector)
	if size < sector {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrNoTable, size)
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, err
	}
	if b[510] != 0x55 || b[511] != 0xAA {
		return nil, ErrNoTable
	}
	if isProtective(b) {
		return readGPT(r, size)
	}
	var parts []Partition
	for i := range 4 {
		e := b[446+16*i:]
		start, count := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		if e[0]&0x7F != 0 {
			return nil, ErrNoTable // a boot sector, say, and no table
		}
		if e[4] == 0 || count == 0 {
			continue
		}
		parts = append(parts, Partition{Number: i + 1, Offset: start * sector, Size: count * sector})
	}
	return parts, check(parts, size)
}

// isProtective tells whether the MBR only guards a GPT.
func isProtective(b []byte) bool {
	for i := range 4 {
		if b[446+16*i+4] == protective {
			return true
		}
	}
	return false
}

// check refuses partitions that are outside or overlap.
func check(parts []Partition, size int64) error {
	if len(parts) == 0 {
		return fmt.Errorf("%w: it is empty", ErrNoTable)
	}
	for i, p := range parts {
		if p.Offset < sector {
			return fmt.Errorf("%w: partition %d starts at the table", ErrCorrupt, p.Number)
		}
		if p.Offset > size || p.Size > size-p.Offset {
			return fmt.Errorf("%w: partition %d ends at byte %d, the image has %d", ErrOutside, p.Number, p.Offset+p.Size, size)
		}
		for _, q := range parts[:i] {
			if p.Offset < q.Offset+q.Size && q.Offset < p.Offset+p.Size {
				return fmt.Errorf("%w: partitions %d and %d overlap", ErrCorrupt, q.Number, p.Number)
			}
		}
	}
	return nil
}

// readGPT reads the first header and its entries (UEFI 2.10, section 5.3).
func readGPT(r io.ReaderAt, size int64) ([]Partition, error) {
	h := make([]byte, sector)
	if size < 2*sector {
		return nil, fmt.Errorf("%w: no room for a GPT", ErrCorrupt)
	}
	if _, err := r.ReadAt(h, sector); err != nil {
		return nil, err
	}
	le32 := func(o int) uint32 { return binary.LittleEndian.Uint32(h[o:]) }
	if string(h[:8]) != "EFI PART" {
		return nil, fmt.Errorf("%w: no GPT header in the second sector", ErrCorrupt)
	}
	length, sum := le32(12), le32(16)
	if length < 92 || length > sector {
		return nil, fmt.Errorf("%w: GPT header of %d bytes", ErrCorrupt, length)
	}
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:length]) != sum {
		return nil, fmt.Errorf("%w: checksum of the GPT header", ErrCorrupt)
	}
	at, count, each := binary.LittleEndian.Uint64(h[72:]), le32(80), le32(84)
	if count == 0 || count > maxEntries || each < 128 || each > maxEntry || each%128 != 0 {
		return nil, fmt.Errorf("%w: %d GPT entries of %d bytes", ErrCorrupt, count, each)
	}
	table := make([]byte, count*each)
	if at < 2 || at > uint64(size/sector) || int64(len(table)) > size-int64(at)*sector {
		return nil, fmt.Errorf("%w: the GPT entries", ErrOutside)
	}
	if _, err := r.ReadAt(table, int64(at)*sector); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(table) != le32(88) {
		return nil, fmt.Errorf("%w: checksum of the GPT entries", ErrCorrupt)
	}
	return parseGPT(table, int(each), size)
}

func parseGPT(table []byte, each int, size int64) ([]Partition, error) {
	var parts []Partition
	for i := range len(table) / each {
		e := table[i*each:]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		const most = 1 << 50 // sectors: their bytes still fit an int64
		if first > last || last > most {
			return nil, fmt.Errorf("%w: partition %d: sectors %d to %d", ErrOutside, i+1, first, last)
		}
		parts = append(parts, Partition{Number: i + 1, Offset: int64(first) * sector, Size: int64(last-first+1) * sector})
	}
	return parts, check(parts, size)
}
