package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// maxDir bounds a directory: 65536 records (fatgen103, "FAT Directory
// Structure").
const maxDir = 65536 * 32

// Attributes of a record.
const (
	attrVolume    = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0F
)

// Entry is a file or a directory.
type Entry struct {
	Name  string // the long name if there is one, else the short one
	Dir   bool
	Size  int64
	Mtime time.Time // in local time on the disk; taken as UTC

	first uint32
}

// Root calls yield for each entry of the top directory, and returns what yield
// returned. Names come as they are. Errors: [ErrCorrupt], or the reader's.
func (fs *FS) Root(yield func(Entry) error) error {
	if fs.bits == 32 {
		return fs.walk(fs.root, yield)
	}
	return fs.records(io.NewSectionReader(fs.r, fs.rootAt, fs.rootSize), yield)
}

// Dir calls yield for each entry of a directory but "." and "..". A directory
// can be walked once: FAT has no links, so that one met again is a loop.
// Errors: [ErrCorrupt], what yield returned, or the reader's.
func (fs *FS) Dir(d Entry, yield func(Entry) error) error {
	if !d.Dir {
		return fmt.Errorf("fat: %q: %w: not a directory", d.Name, ErrCorrupt)
	}
	return fs.walk(d.first, yield)
}

func (fs *FS) walk(first uint32, yield func(Entry) error) error {
	if fs.used[first] {
		return fmt.Errorf("fat: %w: a directory is inside itself", ErrCorrupt)
	}
	fs.used[first] = true
	return fs.records(fs.chain(first, maxDir), yield)
}

// Content returns a reader of a file's bytes: exactly Size of them, or an
// error that wraps [ErrCorrupt] or is the reader's.
func (fs *FS) Content(e Entry) io.Reader {
	return &content{chain: fs.chain(e.first, e.Size)}
}

type content struct{ chain *chain }

func (c *content) Read(p []byte) (int, error) {
	n, err := c.chain.Read(p)
	switch {
	case errors.Is(err, io.EOF) && c.chain.rest > 0:
		err = fmt.Errorf("fat: %w: a file ends %d bytes early", ErrCorrupt, c.chain.rest)
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("fat: %w", err)
	}
	return n, err
}

// longName gathers the records of a long name, which stand before the short
// one's, the last part first.
type longName struct {
	units [20 * 13]uint16
	next  byte // the part that is to come
	parts int
	sum   byte
}

// add takes a record of a long name.
func (l *longName) add(b []byte) {
	order := b[0] & 0x3F
	if b[0]&0x40 != 0 {
		if order == 0 || order > 20 {
			l.parts, l.next = 0, 0
			return
		}
		l.parts, l.next, l.sum = int(order), order, b[13]
	}
	if order == 0 || order != l.next || b[13] != l.sum {
		l.parts, l.next = 0, 0
		return
	}
	for i, at := range [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		l.units[(int(order)-1)*13+i] = binary.LittleEndian.Uint16(b[at:])
	}
	l.next--
}

// take returns the long name if it is whole and belongs to the short name.
func (l *longName) take(short []byte) (string, bool) {
	ok := l.parts > 0 && l.next == 0 && l.sum == checksum(short)
	units := l.units[:l.parts*13]
	l.parts = 0
	if !ok {
		return "", false
	}
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return string(utf16.Decode(units)), len(units) > 0
}

// checksum is that of a short name (fatgen103, "FAT Long Directory Entries").
func checksum(short []byte) byte {
	var sum byte
	for _, c := range short[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// shortName puts base and extension together. Windows and Linux keep names
// that are all small in two bits of record byte 12.
func shortName(b []byte) string {
	base, ext := bytes.TrimRight(b[:8], " "), bytes.TrimRight(b[8:11], " ")
	base = bytes.Clone(base)
	if len(base) > 0 && base[0] == 0x05 {
		base[0] = 0xE5
	}
	s, e := string(base), string(ext)
	if b[12]&0x08 != 0 {
		s = strings.ToLower(s)
	}
	if b[12]&0x10 != 0 {
		e = strings.ToLower(e)
	}
	if e != "" {
		s += "." + e
	}
	return s
}

// records walks a directory's records.
func (fs *FS) records(r io.Reader, yield func(Entry) error) error {
	var long longName
	b := make([]byte, 32)
	for {
		switch _, err := io.ReadFull(r, b); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("fat: directory: %w", err)
		}
		switch {
		case b[0] == 0:
			return nil
		case b[0] == 0xE5: // deleted
			long.parts = 0
			continue
		case b[11]&0x3F == attrLongName:
			long.add(b)
			continue
		}
		name, ok := long.take(b)
		if !ok {
			name = shortName(b)
		}
		if b[11]&attrVolume != 0 || name == "." || name == ".." {
			continue
		}
		if err := yield(fs.entry(name, b)); err != nil {
			return err
		}
	}
}

func (fs *FS) entry(name string, b []byte) Entry {
	e := Entry{
		Name:  name,
		Dir:   b[11]&attrDirectory != 0,
		Size:  int64(binary.LittleEndian.Uint32(b[28:])),
		first: uint32(binary.LittleEndian.Uint16(b[26:])),
	}
	if fs.bits == 32 {
		e.first |= uint32(binary.LittleEndian.Uint16(b[20:])) << 16
	}
	d, t := int(binary.LittleEndian.Uint16(b[24:])), int(binary.LittleEndian.Uint16(b[22:]))
	e.Mtime = time.Date(1980+d>>9, time.Month(d>>5&15), d&31, t>>11, t>>5&63, t&31*2, 0, time.UTC)
	return e
}
