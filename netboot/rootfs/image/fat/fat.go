// Package fat reads FAT12, FAT16 and FAT32 file systems out of an image file:
// the boot partition of a Raspberry Pi. It never writes, and takes every
// structure for hostile: a chain of clusters ends at the latest when it has as
// many as the file system, and a directory tree when it has used each
// directory once.
//
// The format is that of Microsoft's "FAT: General Overview of On-Disk Format"
// (fatgen103).
package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNotFAT means that there is no FAT file system here.
	ErrNotFAT = errors.New("not a FAT file system")
	// ErrCorrupt means that a structure contradicts itself or the size of the
	// file system.
	ErrCorrupt = errors.New("corrupt FAT file system")
)

// FS is an open file system. It may not be used by two goroutines at once.
type FS struct {
	r        io.ReaderAt
	bits     int   // 12, 16 or 32
	cluster  int64 // bytes
	data     int64 // offset of cluster 2
	clusters uint32
	table    []byte // the first FAT
	root     uint32 // first cluster of the root of FAT32
	rootAt   int64  // of FAT12 and FAT16
	rootSize int64
	used     map[uint32]bool // first clusters of directories seen
}

const (
	minSize = 512
	// maxTable bounds the memory for the FAT: 2 GiB partitions of 512-byte
	// clusters need 16 MiB.
	maxTable = 64 << 20
)

// Open reads the boot sector and the first FAT of the file system that takes up
// the first size bytes of r. Errors: [ErrNotFAT], [ErrCorrupt], or r's.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, minSize)
	if size < minSize {
		return nil, fmt.Errorf("fat: open: %w: %d bytes are too few", ErrNotFAT, size)
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("fat: read boot sector: %w", err)
	}
	fs, err := parseBoot(b, size)
	if err != nil {
		return nil, fmt.Errorf("fat: open: %w", err)
	}
	fs.r = r
	at := int64(binary.LittleEndian.Uint16(b[14:])) * int64(binary.LittleEndian.Uint16(b[11:]))
	if _, err := r.ReadAt(fs.table, at); err != nil {
		return nil, fmt.Errorf("fat: read table: %w", err)
	}
	return fs, nil
}

// parseBoot reads the BIOS parameter block (fatgen103, "Boot Sector and BPB").
func parseBoot(b []byte, size int64) (*FS, error) {
	le16 := func(o int) int64 { return int64(binary.LittleEndian.Uint16(b[o:])) }
	le32 := func(o int) int64 { return int64(binary.LittleEndian.Uint32(b[o:])) }
	sector, perCluster, reserved := le16(11), int64(b[13]), le16(14)
	switch {
	case b[510] != 0x55 || b[511] != 0xAA || b[0] != 0xEB && b[0] != 0xE9:
		return nil, ErrNotFAT
	case sector < 512 || sector > 4096 || sector&(sector-1) != 0,
		perCluster == 0 || perCluster&(perCluster-1) != 0,
		reserved == 0, b[16] == 0 || b[16] > 4:
		return nil, ErrNotFAT
	}
	total, tableSectors := le16(19), le16(22)
	if total == 0 {
		total = le32(32)
	}
	if tableSectors == 0 {
		tableSectors = le32(36)
	}
	fs := &FS{cluster: sector * perCluster, rootSize: le16(17) * 32, used: map[uint32]bool{}}
	fs.rootAt = (reserved + int64(b[16])*tableSectors) * sector
	fs.data = fs.rootAt + (fs.rootSize+sector-1)/sector*sector
	switch {
	case tableSectors == 0 || total == 0:
		return nil, ErrNotFAT
	case total*sector > size:
		return nil, fmt.Errorf("%w: it has more sectors than its partition", ErrCorrupt)
	case fs.data >= total*sector:
		return nil, fmt.Errorf("%w: no room for data", ErrCorrupt)
	}
	clusters := (total*sector - fs.data) / fs.cluster
	// The number of clusters, and nothing else, tells the kind.
	switch {
	case clusters < 4085:
		fs.bits = 12
	case clusters < 65525:
		fs.bits = 16
	default:
		fs.bits, fs.root = 32, uint32(le32(44))
	}
	need := (clusters + 2) * int64(fs.bits) / 8
	if fs.bits == 12 {
		need++
	}
	if need > tableSectors*sector || need > maxTable || clusters > 0x0FFFFFF5 || fs.bits == 32 && fs.rootSize != 0 {
		return nil, fmt.Errorf("%w: %d clusters do not fit the table", ErrCorrupt, clusters)
	}
	fs.clusters = uint32(clusters)
	fs.table = make([]byte, need)
	return fs, nil
}

// next returns what follows a cluster; done at the end of the chain.
func (fs *FS) next(c uint32) (next uint32, done bool) {
	last := uint32(0x0FFFFFF8)
	switch fs.bits {
	case 12:
		at := c + c/2
		next, last = uint32(binary.LittleEndian.Uint16(fs.table[at:])), 0xFF8
		if c%2 == 1 {
			next >>= 4
		}
		next &= 0xFFF
	case 16:
		next, last = uint32(binary.LittleEndian.Uint16(fs.table[2*c:])), 0xFFF8
	default:
		next = binary.LittleEndian.Uint32(fs.table[4*c:]) & 0x0FFFFFFF
	}
	return next, next >= last
}

// chain returns a reader of at most limit bytes of a chain of clusters.
func (fs *FS) chain(first uint32, limit int64) *chain {
	return &chain{fs: fs, at: first, rest: limit, left: fs.clusters}
}

type chain struct {
	fs   *FS
	at   uint32
	off  int64 // within the cluster
	rest int64
	left uint32 // clusters that may still come
	end  bool
}

func (c *chain) Read(p []byte) (int, error) {
	if c.rest == 0 || c.end {
		return 0, io.EOF
	}
	if c.at < 2 || c.at-2 >= c.fs.clusters {
		return 0, fmt.Errorf("%w: cluster %d is outside", ErrCorrupt, c.at)
	}
	p = p[:min(int64(len(p)), c.rest, c.fs.cluster-c.off)]
	n, err := c.fs.r.ReadAt(p, c.fs.data+int64(c.at-2)*c.fs.cluster+c.off)
	if n < len(p) {
		return n, fmt.Errorf("cluster %d: %w", c.at, err)
	}
	c.off += int64(n)
	c.rest -= int64(n)
	if c.off == c.fs.cluster && c.rest > 0 {
		c.off = 0
		c.left--
		if c.left == 0 {
			return n, fmt.Errorf("%w: a chain of clusters without an end", ErrCorrupt)
		}
		c.at, c.end = c.fs.next(c.at)
	}
	return n, nil
}

// Size is the bytes that the file system takes up.
func (fs *FS) Size() int64 { return fs.data + int64(fs.clusters)*fs.cluster }
