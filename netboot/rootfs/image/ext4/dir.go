package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxDir bounds a directory's size in bytes: a million entries with long names.
const maxDir = 256 << 20

// Entry is one name in a directory.
type Entry struct {
	Name  string
	Inode Inode
}

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// errStop ends a walk over a directory early.
var errStop = errors.New("stop")

// Dir calls yield for each entry of a directory but "." and "..", in the order
// on the disk, and returns what yield returned. Names come as they are: it is
// the caller who decides which to take. Errors: [ErrCorrupt], or the reader's.
func (f *FS) Dir(file *File, yield func(Entry) error) error {
	var yielded error
	err := f.dir(file, func(e Entry) error {
		if e.Name == "." || e.Name == ".." {
			return nil
		}
		yielded = yield(e)
		return yielded
	})
	if err != nil && yielded == nil {
		err = fmt.Errorf("ext4: directory of inode %d: %w", file.Inode, err)
	}
	return err
}

func (f *FS) dir(file *File, yield func(Entry) error) error {
	if !file.Mode.IsDir() {
		return fmt.Errorf("%w: not a directory", ErrCorrupt)
	}
	if file.flags&flagInlineData != 0 {
		return f.inlineDir(file, yield)
	}
	if file.Size > maxDir || file.Size%f.blockSize != 0 {
		return fmt.Errorf("%w: size %d", ErrCorrupt, file.Size)
	}
	limit := uint64(file.Size / f.blockSize)
	return f.runs(file, func(r run) error {
		if r.logical >= limit {
			return nil
		}
		if r.physical == 0 {
			return fmt.Errorf("%w: a hole", ErrCorrupt)
		}
		for i := range min(r.count, limit-r.logical) {
			b, err := f.block(r.physical + i)
			if err != nil {
				return err
			}
			if err := f.checkDirBlock(file, b); err != nil {
				return err
			}
			if err := f.entries(b, yield); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkDirBlock checks the checksum in the tail of a leaf. An index block of a
// hashed directory looks like one empty entry, or like "." and "..", and has
// its checksum elsewhere; what it holds is not used.
func (f *FS) checkDirBlock(file *File, b []byte) error {
	tail := len(b) - 12
	if !f.csum || le32(b, tail) != 0 || le16(b, tail+4) != 12 || b[tail+6] != 0 || b[tail+7] != 0xDE {
		return nil
	}
	if crc32c(file.seed, b[:tail]) != le32(b, tail+8) {
		return fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return nil
}

// entries walks the records of a block (directory.rst, "Linear Directories").
// Index blocks of a hashed directory pass as empty records.
func (f *FS) entries(b []byte, yield func(Entry) error) error {
	for at := 0; at < len(b); {
		if len(b)-at < 8 {
			return fmt.Errorf("%w: half an entry", ErrCorrupt)
		}
		inode, length, name := le32(b, at), f.recordLen(le16(b, at+4)), int(b[at+6])
		if length < 8 || length%4 != 0 || length > len(b)-at || name > length-8 {
			return fmt.Errorf("%w: length of an entry", ErrCorrupt)
		}
		if f.incompat&incompatFiletype == 0 && b[at+7] != 0 {
			return fmt.Errorf("%w: length of a name", ErrCorrupt)
		}
		if inode != 0 {
			if name == 0 {
				return fmt.Errorf("%w: an entry without a name", ErrCorrupt)
			}
			if err := yield(Entry{Name: string(b[at+8 : at+8+name]), Inode: Inode(inode)}); err != nil {
				return err
			}
		}
		at += length
	}
	return nil
}

// recordLen decodes the length of a record, which in blocks of 64 KiB does not
// fit its field.
func (f *FS) recordLen(n uint16) int {
	if f.blockSize == 1<<16 && (n == 0 || n == 0xFFFF) {
		return 1 << 16
	}
	return int(n)
}

// inlineDir walks a directory inside its inode: the parent's number, then
// records to the end of i_block, and more of them in an attribute.
func (f *FS) inlineDir(file *File, yield func(Entry) error) error {
	b, err := f.inlineData(file)
	if err != nil {
		return err
	}
	if len(b) < 4 {
		return fmt.Errorf("%w: inline data", ErrCorrupt)
	}
	head := min(len(b), 60)
	if err := f.entries(b[4:head], yield); err != nil {
		return err
	}
	return f.entries(b[head:], yield)
}

// Lookup returns the file of a path from the top, such as "etc/fstab". Links
// are not followed. Errors: [fs.ErrNotExist] and those of [FS.Dir].
func (f *FS) Lookup(path ...string) (*File, error) {
	file, err := f.File(Root)
	for _, name := range path {
		if err != nil {
			return nil, err
		}
		found := Inode(0)
		err = f.Dir(file, func(e Entry) error {
			if e.Name == name {
				found = e.Inode
				return errStop
			}
			return nil
		})
		switch {
		case err != nil && !errors.Is(err, errStop):
			return nil, err
		case found == 0:
			return nil, fmt.Errorf("ext4: %s: %w", name, fs.ErrNotExist)
		}
		file, err = f.File(found)
	}
	return file, err
}
