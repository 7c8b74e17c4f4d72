package ganesha

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errCall wraps what is wrong with a call.
var errCall = errors.New("bad call")

const (
	// headSize is how much of a call is looked at, in octets. All names of a call
	// are in it: the head of a call has at most 840, a handle 64, and a name 255.
	headSize = 4096
	// maxCall is the longest call, in octets: a WRITE of 1 MiB and its head.
	maxCall = 1<<20 + headSize
	// lastFragment marks the last part of a record (RFC 5531, section 11).
	lastFragment = 1 << 31
)

// relayCalls copies calls, each of which it checks first, until from ends. It
// returns an error that wraps errCall at the first that is bad. mayMount says
// which paths the server is asked to mount.
func relayCalls(to io.Writer, from io.Reader, mayMount func(path string) bool) error {
	in := bufio.NewReaderSize(from, headSize+4)
	for {
		mark, err := in.Peek(4)
		if err != nil {
			return nil // hung up
		}
		m := binary.BigEndian.Uint32(mark)
		if m&lastFragment == 0 {
			return fmt.Errorf("%w: in fragments", errCall) // which neither Linux nor klibc send
		}
		size := int(m &^ lastFragment)
		if size > maxCall {
			return fmt.Errorf("%w: of %d octets", errCall, size)
		}
		head, err := in.Peek(4 + min(size, headSize))
		if err != nil {
			return nil
		}
		if err := checkCall(head[4:], mayMount); err != nil {
			return err
		}
		if _, err := io.CopyN(to, in, int64(4+size)); err != nil {
			return nil // either side hung up
		}
	}
}

// Programs that the server has (RFC 1813; NFSACL is Solaris's and Linux's), and
// one that no server has.
const (
	progNFS, progMount, progACL = 100003, 100005, 100227
	progNone                    = 0x3fffffff
	version3                    = 3
)

// shapes are, for the calls of NFS version 3 that have names in them, what their
// arguments begin with: h is a handle, n a name.
var shapes = map[uint32]string{
	3:  "hn",   // LOOKUP
	8:  "hn",   // CREATE
	9:  "hn",   // MKDIR
	10: "hn",   // SYMLINK
	11: "hn",   // MKNOD
	12: "hn",   // REMOVE
	13: "hn",   // RMDIR
	14: "hnhn", // RENAME
	15: "hhn",  // LINK
}

// Limits of RFC 1813, section 2.4, of Linux's file systems, and of RFC 5531,
// section 8.2.
const (
	maxHandle = 64
	maxName   = 255
	maxPath   = 1024
	maxAuth   = 400
	maxProc   = 21 // COMMIT
)

// checkCall returns nil for a call that may be passed on. call is its beginning.
// A path that may not be mounted is written over, for the server to refuse: it
// would follow it below the export, wherever that leads. So is the program NFSACL,
// for the server to have none: it has no access lists to keep, but says of each
// "Input/output error", of which clients make nothing. Without the program they
// say that there are none, which is what programs can deal with.
func checkCall(call []byte, mayMount func(path string) bool) error {
	d := decoder{call}
	d.word() // its number
	kind, rpc := d.word(), d.word()
	prog, vers, proc := d.word(), d.word(), d.word()
	for range 2 { // credentials and verifier
		d.word()
		d.opaque(maxAuth)
	}
	switch {
	case d.bad() || kind != 0 || rpc != 2:
		return fmt.Errorf("%w: not one of RPC", errCall)
	case prog == progNFS && vers == version3 && proc <= maxProc:
		return checkNames(&d, shapes[proc])
	case prog == progNFS && vers != version3:
		return nil // the server answers that it has no such version
	case prog == progACL:
		binary.BigEndian.PutUint32(call[12:], progNone)
		return nil
	case prog == progMount && vers == version3 && mountProcs[proc]:
		if path := d.opaque(maxPath); proc == 1 && !mayMount(string(path)) {
			copy(path, bytes.Repeat([]byte{'?'}, len(path)))
		}
		return nil
	}
	return fmt.Errorf("%w: procedure %d of program %d, version %d", errCall, proc, prog, vers)
}

// mountProcs are those that a client needs: all but DUMP and EXPORT, which tell
// of others (RFC 1813, section 5.2).
var mountProcs = map[uint32]bool{0: true, 1: true, 3: true, 4: true}

func checkNames(d *decoder, shape string) error {
	for _, what := range shape {
		if what == 'h' {
			d.opaque(maxHandle)
			continue
		}
		name := d.opaque(maxName)
		if bytes.ContainsAny(name, "/\x00") {
			return fmt.Errorf("%w: name %q", errCall, name)
		}
	}
	if d.bad() {
		return fmt.Errorf("%w: arguments", errCall)
	}
	return nil
}

// decoder reads XDR (RFC 4506). After the first mistake all values are zero.
type decoder struct{ b []byte }

// bad reports whether there was a mistake.
func (d *decoder) bad() bool { return d.b == nil }

func (d *decoder) word() uint32 {
	if len(d.b) < 4 {
		d.b = nil
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) opaque(limit uint32) []byte {
	n := d.word()
	padded := (n + 3) &^ 3
	if d.b == nil || n > limit || padded > uint32(len(d.b)) {
		d.b = nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[padded:]
	return v
}
