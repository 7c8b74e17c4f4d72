package nfs3

import (
	"errors"
	"io"
	"math"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sizes that FSINFO tells the client (RFC 1813, section 3.3.19).
const (
	maxRead    = 64 << 10
	maxWrite   = 8 << 10 // libnfs refuses to mount with less
	maxReadDir = 64 << 10
)

// request is one NFS call on its way through a procedure.
type request struct {
	*session
	args *decoder
	who  identity
	file file // what the call's first handle names
}

// procedure is one row of the NFS program. Every call but NULL starts with a
// file handle, which is looked up before run is called.
type procedure struct {
	run func(r *request, w []byte) ([]byte, status)
	// failLen is the length of what follows an error's status: attributes and
	// wcc_data that are absent, each one a zero word.
	failLen int
}

// nfsProcedures is the program of RFC 1813, section 3.3, by procedure number;
// 0 (NULL) is not here because it has no arguments.
var nfsProcedures = map[uint32]procedure{
	1:  {getAttr, 0},
	2:  {refuseWrite, 8},  // SETATTR
	3:  {lookup, 4},       //
	4:  {access, 4},       //
	5:  {readLink, 4},     //
	6:  {read, 4},         //
	7:  {refuseWrite, 8},  // WRITE
	8:  {refuseWrite, 8},  // CREATE
	9:  {refuseWrite, 8},  // MKDIR
	10: {refuseWrite, 8},  // SYMLINK
	11: {refuseWrite, 8},  // MKNOD
	12: {refuseWrite, 8},  // REMOVE
	13: {refuseWrite, 8},  // RMDIR
	14: {refuseWrite, 16}, // RENAME
	15: {refuseWrite, 12}, // LINK
	16: {readDir, 4},      //
	17: {readDirPlus, 4},  //
	18: {fsStat, 4},       //
	19: {fsInfo, 4},       //
	20: {pathConf, 4},     //
	21: {refuseWrite, 8},  // COMMIT
}

func refuseWrite(*request, []byte) ([]byte, status) { return nil, errROFS }

func getAttr(r *request, w []byte) ([]byte, status) {
	return r.file.appendAttr(w, &r.file.st), ok
}

func lookup(r *request, w []byte) ([]byte, status) {
	name := string(r.args.opaque(maxRecord))
	dir := r.file
	switch {
	case r.args.bad:
		return nil, ok
	case dir.kind() != syscall.S_IFDIR:
		return nil, errNotDir
	case !dir.may(r.who, permExec):
		return nil, errAccess
	}
	f, s := dir.child(name)
	if s != ok {
		return nil, s
	}
	w = appendOpaque(w, f.handle(f.st.Ino))
	w = f.appendPostOpAttr(w, &f.st)
	return dir.appendPostOpAttr(w, &dir.st), ok
}

// child finds a name in a directory. The name is one path element; the root
// is its own parent.
func (f file) child(name string) (file, status) {
	switch {
	case name == ".":
		return f, ok
	case name == "..":
		if f.st.Ino == f.ino {
			return f, ok
		}
		return f.file(f.parentOf(f.st.Ino))
	case len(name) > 255:
		return file{}, errNameTooLong
	case name == "" || strings.ContainsAny(name, "/\x00"):
		return file{}, errInval
	}
	p := f.path + "/" + name
	st, err := lstat(f.root, p)
	switch {
	case err != nil:
		return file{}, statusOf(err)
	case st.Dev != f.dev:
		return file{}, errAccess // another file system is mounted there: its inode numbers are not ours
	case !f.remember(st.Ino, f.st.Ino, name):
		return file{}, errServerFault
	}
	return file{f.tree, p, st}, ok
}

// Bits of ACCESS (RFC 1813, section 3.3.4). Those that need writing are never granted.
const (
	accessRead    = 0x01
	accessLookup  = 0x02
	accessExecute = 0x20
)

func access(r *request, w []byte) ([]byte, status) {
	asked := r.args.uint32()
	var granted uint32
	if r.file.may(r.who, permRead) {
		granted |= accessRead
	}
	if r.file.may(r.who, permExec) {
		if r.file.kind() == syscall.S_IFDIR {
			granted |= accessLookup
		} else {
			granted |= accessExecute
		}
	}
	w = r.file.appendPostOpAttr(w, &r.file.st)
	return appendUint32(w, asked&granted), ok
}

func readLink(r *request, w []byte) ([]byte, status) {
	if r.file.kind() != syscall.S_IFLNK {
		return nil, errInval
	}
	target, err := r.file.root.Readlink(r.file.path)
	if err != nil {
		return nil, statusOf(err)
	}
	w = r.file.appendPostOpAttr(w, &r.file.st)
	return appendOpaque(w, target), ok
}

func read(r *request, w []byte) ([]byte, status) {
	offset, count := r.args.uint64(), min(r.args.uint32(), maxRead)
	switch {
	case r.args.bad:
		return nil, ok
	case r.file.kind() == syscall.S_IFDIR:
		return nil, errIsDir
	case r.file.kind() != syscall.S_IFREG:
		return nil, errInval
	case !r.file.may(r.who, permRead) && !r.file.may(r.who, permExec): // running a program reads it
		return nil, errAccess
	}
	size := uint64(r.file.st.Size)
	data, s := r.readAt(offset, count, size)
	if s != ok {
		return nil, s
	}
	w = r.file.appendPostOpAttr(w, &r.file.st)
	w = appendUint32(w, uint32(len(data)))
	w = appendBool(w, offset >= size || offset+uint64(len(data)) >= size)
	return appendOpaque(w, data), ok
}

// readAt reads at most count bytes of the call's file. The slice is the
// session's and good until the next call.
func (r *request) readAt(offset uint64, count uint32, size uint64) ([]byte, status) {
	if count == 0 || offset >= size {
		return nil, ok
	}
	fd, s := r.file.open()
	if s != ok {
		return nil, s
	}
	defer fd.Close()
	if r.scratch == nil {
		r.scratch = make([]byte, maxRead)
	}
	n, err := fd.ReadAt(r.scratch[:min(uint64(count), size-offset)], int64(offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, statusOf(err)
	}
	return r.scratch[:n], ok
}

func fsStat(r *request, w []byte) ([]byte, status) {
	var st unix.Statfs_t
	dir, s := r.rootDir()
	if s != ok {
		return nil, s
	}
	defer dir.Close()
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return nil, statusOf(err)
	}
	w = r.file.appendPostOpAttr(w, &r.file.st)
	size := uint64(st.Bsize)
	for _, v := range [...]uint64{
		st.Blocks * size, st.Bfree * size, 0, // bytes: in all, free, free to this client
		st.Files, st.Ffree, 0, // files
	} {
		w = appendUint64(w, v)
	}
	return appendUint32(w, 0), ok // invarsec: may change at any time
}

// Properties of FSINFO.
const (
	fsfLink        = 0x1
	fsfSymlink     = 0x2
	fsfHomogeneous = 0x8
)

func fsInfo(r *request, w []byte) ([]byte, status) {
	w = r.file.appendPostOpAttr(w, &r.file.st)
	for _, v := range [...]uint32{
		maxRead, maxRead, 4096, // rtmax, rtpref, rtmult
		maxWrite, maxWrite, 4096, // wtmax, wtpref, wtmult
		maxReadDir / 2, // dtpref
	} {
		w = appendUint32(w, v)
	}
	w = appendUint64(w, math.MaxInt64) // maxfilesize
	w = appendUint32(w, 0)             // time_delta: 1 ns
	w = appendUint32(w, 1)
	return appendUint32(w, fsfLink|fsfSymlink|fsfHomogeneous), ok
}

func pathConf(r *request, w []byte) ([]byte, status) {
	w = r.file.appendPostOpAttr(w, &r.file.st)
	w = appendUint32(w, 32000) // linkmax
	w = appendUint32(w, 255)   // name_max
	w = appendBool(w, true)    // no_trunc
	w = appendBool(w, true)    // chown_restricted
	w = appendBool(w, false)   // case_insensitive
	return appendBool(w, true), ok
}
