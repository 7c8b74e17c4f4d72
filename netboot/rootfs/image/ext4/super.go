package ext4

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Incompatible features: a reader that does not know one must not read
// (Documentation/filesystems/ext4/super.rst, s_feature_incompat).
const (
	incompatFiletype   = 0x2
	incompatRecover    = 0x4
	incompatMetaBG     = 0x10
	incompatExtents    = 0x40
	incompat64Bit      = 0x80
	incompatMMP        = 0x100
	incompatFlexBG     = 0x200
	incompatEAInode    = 0x400
	incompatCsumSeed   = 0x2000
	incompatLargeDir   = 0x4000
	incompatInlineData = 0x8000
	incompatEncrypt    = 0x10000 // of single files, which are refused
	incompatCasefold   = 0x20000

	incompatKnown = incompatFiletype | incompatMetaBG | incompatExtents | incompat64Bit |
		incompatMMP | incompatFlexBG | incompatEAInode | incompatCsumSeed | incompatLargeDir |
		incompatInlineData | incompatEncrypt | incompatCasefold
)

const (
	roCompatSparseSuper  = 0x1
	roCompatMetadataCsum = 0x400

	superOffset = 1024
	superSize   = 1024
	superMagic  = 0xEF53
	rootInode   = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c is the kernel's: started from seed, and not inverted at either end.
func crc32c(seed uint32, parts ...[]byte) uint32 {
	c := ^seed
	for _, p := range parts {
		c = crc32.Update(c, castagnoli, p)
	}
	return ^c
}

// FS is an open file system. It may not be used by two goroutines at once.
type FS struct {
	r         io.ReaderAt
	blockSize int64
	blocks    uint64 // in the file system
	free      uint64
	first     uint64 // first data block: 1 when blocks have 1 KiB
	inodes    uint32
	perGroup  uint32 // inodes
	blocksPer uint32
	groups    uint64
	inodeSize int64
	descSize  int64
	firstMeta uint64
	incompat  uint32
	sparse    bool
	csum      bool
	seed      uint32
	budget    uint64 // blocks of extents, maps and attributes that may still be read
}

// Open reads the superblock of the file system that takes up the first size
// bytes of r. Errors: [ErrNotExt4], [ErrCorrupt], [ErrUnsupported], [ErrDirty],
// or r's.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	sb := make([]byte, superSize)
	if size < superOffset+superSize {
		return nil, fmt.Errorf("ext4: open: %w: %d bytes are too few", ErrNotExt4, size)
	}
	if _, err := r.ReadAt(sb, superOffset); err != nil {
		return nil, fmt.Errorf("ext4: read superblock: %w", err)
	}
	fs, err := parseSuper(sb, size)
	if err != nil {
		return nil, fmt.Errorf("ext4: open: %w", err)
	}
	fs.r = r
	return fs, nil
}

func le16(b []byte, o int) uint16 { return binary.LittleEndian.Uint16(b[o:]) }
func le32(b []byte, o int) uint32 { return binary.LittleEndian.Uint32(b[o:]) }

func parseSuper(sb []byte, size int64) (*FS, error) {
	if le16(sb, 0x38) != superMagic {
		return nil, ErrNotExt4
	}
	fs := &FS{
		inodes:    le32(sb, 0x0),
		blocks:    uint64(le32(sb, 0x4)),
		free:      uint64(le32(sb, 0xC)),
		first:     uint64(le32(sb, 0x14)),
		blocksPer: le32(sb, 0x20),
		perGroup:  le32(sb, 0x28),
		incompat:  le32(sb, 0x60),
		firstMeta: uint64(le32(sb, 0x104)),
		inodeSize: 128,
		descSize:  32,
		sparse:    le32(sb, 0x64)&roCompatSparseSuper != 0,
		csum:      le32(sb, 0x64)&roCompatMetadataCsum != 0,
	}
	if le32(sb, 0x4C) == 0 { // revision 0 has no features and small inodes
		fs.incompat, fs.csum, fs.sparse = 0, false, false
	} else {
		fs.inodeSize = int64(le16(sb, 0x58))
	}
	if fs.incompat&incompat64Bit != 0 {
		fs.blocks |= uint64(le32(sb, 0x150)) << 32
		fs.free |= uint64(le32(sb, 0x158)) << 32
		fs.descSize = int64(le16(sb, 0xFE))
	}
	if fs.csum && crc32c(^uint32(0), sb[:0x3FC]) != le32(sb, 0x3FC) {
		return nil, fmt.Errorf("%w: checksum of the superblock", ErrCorrupt)
	}
	fs.seed = crc32c(^uint32(0), sb[0x68:0x78])
	if fs.incompat&incompatCsumSeed != 0 {
		fs.seed = le32(sb, 0x270)
	}
	return fs, fs.check(sb, size)
}

// check refuses what later arithmetic could not bear.
func (fs *FS) check(sb []byte, size int64) error {
	if fs.incompat&incompatRecover != 0 {
		return ErrDirty
	}
	if unknown := fs.incompat &^ incompatKnown; unknown != 0 {
		return fmt.Errorf("%w: incompatible feature bits %#x", ErrUnsupported, unknown)
	}
	logSize := le32(sb, 0x18)
	if logSize > 6 {
		return fmt.Errorf("%w: block size 2^%d", ErrCorrupt, 10+uint64(logSize))
	}
	fs.blockSize = 1024 << logSize
	wantFirst := uint64(0)
	if fs.blockSize == 1024 {
		wantFirst = 1
	}
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{fs.first != wantFirst, "first data block"},
		{fs.blocks <= fs.first || fs.blocks > uint64(size/fs.blockSize), "it has more blocks than its partition: the image is cut off, or was never whole"},
		{fs.blocksPer == 0 || int64(fs.blocksPer) > fs.blockSize*8, "blocks per group"},
		{fs.inodeSize < 128 || fs.inodeSize > fs.blockSize || fs.inodeSize&(fs.inodeSize-1) != 0, "inode size"},
		{fs.perGroup == 0 || int64(fs.perGroup) > fs.blockSize*8, "inodes per group"},
		{fs.descSize < 32 || fs.descSize > 1024 || fs.descSize > fs.blockSize || fs.descSize&(fs.descSize-1) != 0, "size of group descriptors"},
		{fs.incompat&incompat64Bit != 0 && fs.descSize < 64, "size of group descriptors"},
		{fs.inodes < rootInode, "number of inodes"},
	} {
		if c.bad {
			return fmt.Errorf("%w: superblock: %s", ErrCorrupt, c.what)
		}
	}
	fs.groups = (fs.blocks - fs.first + uint64(fs.blocksPer) - 1) / uint64(fs.blocksPer)
	if uint64(fs.inodes) > fs.groups*uint64(fs.perGroup) {
		return fmt.Errorf("%w: superblock: number of inodes", ErrCorrupt)
	}
	fs.budget = 2 * fs.blocks // a directory may be read twice: by path, and to be copied
	return nil
}

// Size is the bytes from the first to the last block.
func (fs *FS) Size() int64 { return int64(fs.blocks) * fs.blockSize }

// Used is about how many bytes files and structures take up.
func (fs *FS) Used() int64 { return int64(fs.blocks-min(fs.free, fs.blocks)) * fs.blockSize }

// block reads one block of structure into a new buffer.
func (fs *FS) block(n uint64) ([]byte, error) {
	if n < fs.first || n >= fs.blocks {
		return nil, fmt.Errorf("%w: block %d is outside", ErrCorrupt, n)
	}
	b := make([]byte, fs.blockSize)
	if _, err := fs.r.ReadAt(b, int64(n)*fs.blockSize); err != nil {
		return nil, fmt.Errorf("block %d: %w", n, err)
	}
	return b, nil
}

// structure reads a block that no two structures share. Since there are only
// so many, an image whose structures point at each other comes to an end.
func (fs *FS) structure(n uint64) ([]byte, error) {
	if fs.budget == 0 {
		return nil, fmt.Errorf("%w: more blocks of structure than blocks", ErrCorrupt)
	}
	fs.budget--
	return fs.block(n)
}

// descriptor returns group g's descriptor (group_descr.rst).
func (fs *FS) descriptor(g uint64) ([]byte, error) {
	perBlock := uint64(fs.blockSize / fs.descSize)
	at := fs.first + 1 + g/perBlock
	if fs.incompat&incompatMetaBG != 0 && g/perBlock >= fs.firstMeta {
		// The descriptors of a meta group stand in its first group, behind
		// that group's copy of the superblock if it has one.
		head := g / perBlock * perBlock
		at = fs.first + head*uint64(fs.blocksPer)
		if fs.hasSuper(head) {
			at++
		}
	}
	if at >= fs.blocks {
		return nil, fmt.Errorf("%w: descriptor of group %d is outside", ErrCorrupt, g)
	}
	d := make([]byte, fs.descSize)
	if _, err := fs.r.ReadAt(d, int64(at)*fs.blockSize+int64(g%perBlock)*fs.descSize); err != nil {
		return nil, fmt.Errorf("descriptor of group %d: %w", g, err)
	}
	if fs.csum {
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], uint32(g))
		if uint16(crc32c(fs.seed, n[:], d[:0x1E], []byte{0, 0}, d[0x20:])) != le16(d, 0x1E) {
			return nil, fmt.Errorf("%w: checksum of group descriptor %d", ErrCorrupt, g)
		}
	}
	return d, nil
}

// hasSuper tells whether a group holds a copy of the superblock.
func (fs *FS) hasSuper(g uint64) bool {
	if g <= 1 || !fs.sparse {
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		p := base
		for p < g {
			p *= base
		}
		if p == g {
			return true
		}
	}
	return false
}
