package ext4

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"
)

// Inode numbers a file within its file system.
type Inode uint32

// Root is the inode of the top directory.
const Root Inode = rootInode

// Inode flags (inodes.rst, i_flags).
const (
	flagEncrypt    = 0x800
	flagExtents    = 0x80000
	flagEAInode    = 0x200000
	flagInlineData = 0x10000000
)

// File is what an inode says of a file.
type File struct {
	Inode        Inode
	Mode         fs.FileMode // type, permissions, set-uid, set-gid, sticky
	UID, GID     uint32
	Links        uint16
	Size         int64
	Atime, Mtime time.Time
	Major, Minor uint32 // of a device

	raw   []byte
	flags uint32
	seed  uint32 // of the checksums of its blocks
}

// fileTypes are the type bits of i_mode.
var fileTypes = map[uint16]fs.FileMode{
	0x1000: fs.ModeNamedPipe,
	0x2000: fs.ModeDevice | fs.ModeCharDevice,
	0x4000: fs.ModeDir,
	0x6000: fs.ModeDevice,
	0x8000: 0,
	0xA000: fs.ModeSymlink,
	0xC000: fs.ModeSocket,
}

// File returns the file of an inode. Errors: [ErrCorrupt], [ErrUnsupported] if
// the file is encrypted, or the reader's.
func (f *FS) File(n Inode) (*File, error) {
	file, err := f.file(n)
	if err != nil {
		return nil, fmt.Errorf("ext4: inode %d: %w", n, err)
	}
	return file, nil
}

func (f *FS) file(n Inode) (*File, error) {
	if n == 0 || uint32(n) > f.inodes {
		return nil, fmt.Errorf("%w: there are only %d", ErrCorrupt, f.inodes)
	}
	group, index := uint64(uint32(n)-1)/uint64(f.perGroup), int64((uint32(n)-1)%f.perGroup)
	d, err := f.descriptor(group)
	if err != nil {
		return nil, err
	}
	table := uint64(le32(d, 0x8))
	if f.descSize >= 64 {
		table |= uint64(le32(d, 0x28)) << 32
	}
	tableBlocks := uint64((int64(f.perGroup)*f.inodeSize + f.blockSize - 1) / f.blockSize)
	if table < f.first || table >= f.blocks || f.blocks-table < tableBlocks {
		return nil, fmt.Errorf("%w: inode table of group %d is outside", ErrCorrupt, group)
	}
	raw := make([]byte, f.inodeSize)
	if _, err := f.r.ReadAt(raw, int64(table)*f.blockSize+index*f.inodeSize); err != nil {
		return nil, err
	}
	return f.parseInode(n, raw)
}

func (f *FS) parseInode(n Inode, raw []byte) (*File, error) {
	seed, err := f.checkInode(n, raw)
	if err != nil {
		return nil, err
	}
	mode := le16(raw, 0)
	kind, ok := fileTypes[mode&0xF000]
	if !ok {
		return nil, fmt.Errorf("%w: file type %#x", ErrCorrupt, mode>>12)
	}
	file := &File{
		Inode: n,
		Mode:  kind | fs.FileMode(mode&0o777),
		UID:   uint32(le16(raw, 0x2)) | uint32(le16(raw, 0x78))<<16,
		GID:   uint32(le16(raw, 0x18)) | uint32(le16(raw, 0x7A))<<16,
		Links: le16(raw, 0x1A),
		Size:  int64(le32(raw, 0x4)),
		Atime: inodeTime(raw, 0x8, 0x8C),
		Mtime: inodeTime(raw, 0x10, 0x88),
		raw:   raw,
		flags: le32(raw, 0x20),
		seed:  seed,
	}
	for bit, m := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			file.Mode |= m
		}
	}
	if kind == 0 || kind == fs.ModeDir {
		file.Size |= int64(le32(raw, 0x6C)) << 32
	}
	switch {
	case file.Size < 0:
		return nil, fmt.Errorf("%w: size", ErrCorrupt)
	case file.flags&flagEncrypt != 0:
		return nil, fmt.Errorf("%w: the file is encrypted", ErrUnsupported)
	}
	if kind&fs.ModeDevice != 0 {
		file.Major, file.Minor = device(raw)
	}
	return file, nil
}

// checkInode checks the checksum and returns the seed for the inode's blocks.
func (f *FS) checkInode(n Inode, raw []byte) (uint32, error) {
	extra := int64(0)
	if f.inodeSize > 128 {
		extra = int64(le16(raw, 0x80))
		if 128+extra > f.inodeSize || extra%4 != 0 {
			return 0, fmt.Errorf("%w: extra size %d", ErrCorrupt, extra)
		}
	}
	if !f.csum {
		return 0, nil
	}
	var num [4]byte
	binary.LittleEndian.PutUint32(num[:], uint32(n))
	seed := crc32c(f.seed, num[:], raw[0x64:0x68])
	c := append([]byte(nil), raw...)
	want, mask := uint32(le16(c, 0x7C)), uint32(0xFFFF)
	c[0x7C], c[0x7D] = 0, 0
	if extra >= 4 {
		want, mask = want|uint32(le16(c, 0x82))<<16, 0xFFFFFFFF
		c[0x82], c[0x83] = 0, 0
	}
	if crc32c(seed, c)&mask != want {
		return 0, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return seed, nil
}

// inodeTime reads seconds and, in an inode that has them, the two epoch bits
// and nanoseconds (inodes.rst, "Inode Timestamps").
func inodeTime(raw []byte, at, extra int) time.Time {
	sec, nsec := int64(int32(le32(raw, at))), int64(0)
	if len(raw) > 128 && 128+int(le16(raw, 0x80)) >= extra+4 {
		e := le32(raw, extra)
		sec += int64(e&3) << 32
		nsec = min(int64(e>>2), 999_999_999)
	}
	return time.Unix(sec, nsec)
}

// device reads the number of a device: the short form in the first word of
// i_block, else the long form in the second.
func device(raw []byte) (major, minor uint32) {
	if d := le32(raw, 0x28); d != 0 {
		return d >> 8 & 0xFF, d & 0xFF
	}
	d := le32(raw, 0x2C)
	return d >> 8 & 0xFFF, d&0xFF | d>>12&0xFFF00
}
