package rescue

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// member is one entry of an archive. Everything belongs to root, and nothing has
// a time: an archive depends on its content alone.
type member struct {
	name string // without a slash at either end
	mode uint32 // type and permissions, as in stat(2)
	rdev uint64 // of a device
	size int64  // of a file's content, or of a link's target
}

const (
	newcMagic   = "070701"
	newcHeader  = 110
	newcTrailer = "TRAILER!!!"
	// maxNewcFile is the largest file of the format, whose numbers have 32 bits.
	maxNewcFile = 1<<32 - 1
	// maxNewcName is the kernel's limit (init/initramfs.c, PATH_MAX).
	maxNewcName = 4095
)

// archive writes the cpio format "newc" as the kernel unpacks it (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst): each header and
// each file's content starts at a multiple of 4.
type archive struct {
	w    io.Writer
	ino  uint32
	at   int64
	left int64 // of the content that belongs to the last header
	err  error
}

func newArchive(w io.Writer) *archive { return &archive{w: w} }

// next begins an entry, whose content is then to be written.
func (a *archive) next(m member) error {
	switch {
	case a.err != nil:
	case a.left != 0:
		a.err = fmt.Errorf("%d bytes of the file before are missing", a.left)
	case m.name == "" || len(m.name) > maxNewcName:
		a.err = fmt.Errorf("name of %d bytes", len(m.name))
	case m.size < 0 || m.size > maxNewcFile:
		a.err = fmt.Errorf("%s: %d bytes", m.name, m.size)
	}
	if a.err != nil {
		return a.err
	}
	a.ino++
	a.header(m, a.ino)
	a.left = m.size
	a.pad()
	return a.err
}

// header writes the fields in their order: inode, mode, owner, group, links,
// time, size, device, device of a special file, length of the name, checksum.
func (a *archive) header(m member, ino uint32) {
	links := 1
	if m.mode&unix.S_IFMT == unix.S_IFDIR {
		links = 2
	}
	h := []byte(newcMagic)
	for _, v := range []uint32{
		ino, m.mode, 0, 0, uint32(links), 0, uint32(m.size), 0, 0,
		unix.Major(m.rdev), unix.Minor(m.rdev), uint32(len(m.name) + 1), 0,
	} {
		h = fmt.Appendf(h, "%08x", v)
	}
	a.put(append(append(h, m.name...), 0))
	a.fill()
}

// Write writes content of the entry that [archive.next] began.
func (a *archive) Write(p []byte) (int, error) {
	if a.err == nil && int64(len(p)) > a.left {
		a.err = errors.New("a file has more bytes than its header says")
	}
	if a.err != nil {
		return 0, a.err
	}
	a.left -= int64(len(p))
	a.put(p)
	a.pad()
	if a.err != nil {
		return 0, a.err
	}
	return len(p), nil
}

// close ends the archive, whose length is then a multiple of 4.
func (a *archive) close() error {
	if a.err == nil && a.left != 0 {
		a.err = fmt.Errorf("%d bytes of the last file are missing", a.left)
	}
	if a.err == nil {
		a.header(member{name: newcTrailer}, 0)
	}
	return a.err
}

// pad fills up once a file's content is whole.
func (a *archive) pad() {
	if a.left == 0 {
		a.fill()
	}
}

func (a *archive) fill() {
	if n := -a.at & 3; n != 0 {
		a.put(make([]byte, n))
	}
}

func (a *archive) put(p []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(p)
	a.at += int64(n)
	a.err = err
}
