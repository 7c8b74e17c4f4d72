package ext4

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
)

// Segment is a run of a file's bytes. Bytes between segments are zero.
type Segment struct {
	Offset int64     // in the file
	Data   io.Reader // Length bytes
	Length int64
}

// maxExtentDepth is that of the kernel's EXT4_MAX_EXTENT_DEPTH.
const maxExtentDepth = 5

// run is a run of blocks; physical 0 means zeros.
type run struct {
	logical, physical, count uint64
}

// Content calls yield for each segment of a regular file or a directory, in
// the order of their offsets and never beyond the file's size, and returns
// what yield returned. Errors: [ErrCorrupt], or the reader's.
func (f *FS) Content(file *File, yield func(Segment) error) error {
	if file.flags&flagInlineData != 0 {
		b, err := f.inlineData(file)
		if err != nil {
			return fmt.Errorf("ext4: inode %d: %w", file.Inode, err)
		}
		return yield(Segment{Data: bytesReader(b), Length: int64(len(b))})
	}
	var yielded error
	err := f.runs(file, func(r run) error {
		off := int64(r.logical) * f.blockSize
		if r.physical == 0 || off >= file.Size {
			return nil
		}
		n := min(int64(r.count)*f.blockSize, file.Size-off)
		yielded = yield(Segment{
			Offset: off, Length: n,
			Data: io.NewSectionReader(f.r, int64(r.physical)*f.blockSize, n),
		})
		return yielded
	})
	if err != nil && yielded == nil {
		err = fmt.Errorf("ext4: inode %d: %w", file.Inode, err)
	}
	return err
}

// runs calls yield for the file's runs in the order of their logical blocks.
func (f *FS) runs(file *File, yield func(run) error) error {
	w := &runWalk{f: f, file: file, yield: yield}
	w.limit = uint64((file.Size + f.blockSize - 1) / f.blockSize)
	if file.flags&flagExtents != 0 {
		return w.extents(file.raw[0x28:0x28+60], -1)
	}
	return w.blockMap()
}

type runWalk struct {
	f     *FS
	file  *File
	yield func(run) error
	next  uint64 // the first logical block not seen yet
	limit uint64 // logical blocks that the size covers
}

func (w *runWalk) run(r run) error {
	if r.logical < w.next {
		return fmt.Errorf("%w: blocks of the file overlap", ErrCorrupt)
	}
	if r.physical != 0 && (r.physical < w.f.first || r.physical >= w.f.blocks || r.count > w.f.blocks-r.physical) {
		return fmt.Errorf("%w: blocks %d to %d of the file are outside", ErrCorrupt, r.physical, r.physical+r.count)
	}
	w.next = r.logical + r.count
	return w.yield(r)
}

// extents walks one node of the tree (ifork.rst, "Extent Tree"). depth is what
// the node above says, or -1 at the top.
func (w *runWalk) extents(node []byte, depth int) error {
	entries, most, level := int(le16(node, 2)), int(le16(node, 4)), int(le16(node, 6))
	switch {
	case le16(node, 0) != 0xF30A:
		return fmt.Errorf("%w: no extent tree", ErrCorrupt)
	case level > maxExtentDepth || depth >= 0 && level != depth:
		return fmt.Errorf("%w: depth of the extent tree", ErrCorrupt)
	case most > (len(node)-12)/12 || entries > most:
		return fmt.Errorf("%w: size of an extent tree node", ErrCorrupt)
	}
	for i := range entries {
		e := node[12+12*i:]
		var err error
		if level == 0 {
			err = w.extent(e)
		} else {
			err = w.child(uint64(le32(e, 4))|uint64(le16(e, 8))<<32, level-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *runWalk) extent(e []byte) error {
	count, start := uint64(le16(e, 4)), uint64(le32(e, 8))|uint64(le16(e, 6))<<32
	if count > 32768 { // allocated and not written: reads as zeros
		count, start = count-32768, 0
	} else if start == 0 {
		return fmt.Errorf("%w: an extent at block 0", ErrCorrupt)
	}
	if count == 0 {
		return fmt.Errorf("%w: an extent of no blocks", ErrCorrupt)
	}
	return w.run(run{logical: uint64(le32(e, 0)), physical: start, count: count})
}

func (w *runWalk) child(at uint64, depth int) error {
	b, err := w.f.structure(at)
	if err != nil {
		return err
	}
	if w.f.csum {
		end := 12 + 12*int(le16(b, 4))
		if end+4 > len(b) || crc32c(w.file.seed, b[:end]) != le32(b, end) {
			return fmt.Errorf("%w: checksum of extent block %d", ErrCorrupt, at)
		}
	}
	return w.extents(b, depth)
}

// blockMap walks the map of a file without extents: twelve direct blocks, then
// one block of block numbers, one of such blocks, and one of those.
func (w *runWalk) blockMap() error {
	block := w.file.raw[0x28:]
	for i := range 12 {
		if err := w.mapped(uint64(le32(block, 4*i)), 0); err != nil {
			return err
		}
	}
	for level := 1; level <= 3; level++ {
		if err := w.mapped(uint64(le32(block, 4*(11+level))), level); err != nil {
			return err
		}
	}
	return nil
}

// mapped walks what stands at one number in the map: a block of data at level
// 0, else a block of numbers of the level below.
func (w *runWalk) mapped(at uint64, level int) error {
	if w.next >= w.limit {
		return nil
	}
	span, perBlock := uint64(1), uint64(w.f.blockSize/4)
	for range level {
		span *= perBlock
	}
	if at == 0 || level == 0 {
		return w.run(run{logical: w.next, physical: at, count: span})
	}
	b, err := w.f.structure(at)
	if err != nil {
		return err
	}
	for i := range int(perBlock) {
		if err := w.mapped(uint64(binary.LittleEndian.Uint32(b[4*i:])), level-1); err != nil {
			return err
		}
	}
	return nil
}

// maxLink is the longest target of a symbolic link that the kernel reads.
const maxLink = 4095

// Link returns the target of a symbolic link. Errors: [ErrCorrupt], or the
// reader's.
func (f *FS) Link(file *File) (string, error) {
	b, err := f.link(file)
	if err != nil {
		return "", fmt.Errorf("ext4: inode %d: link: %w", file.Inode, err)
	}
	return string(b), nil
}

func (f *FS) link(file *File) ([]byte, error) {
	if file.Mode.Type() != fs.ModeSymlink || file.Size < 1 || file.Size > maxLink {
		return nil, fmt.Errorf("%w: length %d", ErrCorrupt, file.Size)
	}
	if file.flags&(flagExtents|flagInlineData) == 0 && file.Size < 60 {
		return file.raw[0x28 : 0x28+file.Size], nil
	}
	return f.small(file, maxLink)
}

// small returns the content of a file of at most limit bytes.
func (f *FS) small(file *File, limit int64) ([]byte, error) {
	if file.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes are too many", ErrCorrupt, file.Size)
	}
	b := make([]byte, file.Size)
	err := f.Content(file, func(s Segment) error {
		if s.Offset+s.Length > int64(len(b)) {
			return fmt.Errorf("%w: longer than its size", ErrCorrupt)
		}
		_, err := io.ReadFull(s.Data, b[s.Offset:s.Offset+s.Length])
		return err
	})
	return b, err
}
