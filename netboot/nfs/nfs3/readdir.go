package nfs3

import (
	"errors"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxNames is how many names a directory may have and still be listed.
const maxNames = 1 << 16

// listing is the last directory that a connection read. It makes reading a
// long directory page by page cost one pass and not one a page.
type listing struct {
	token token
	ino   uint64
	mtime syscall.Timespec
	names []string
}

// verifier is the cookie verifier: a directory that has changed has another one.
func (l *listing) verifier() uint64 { return uint64(l.mtime.Sec)<<30 ^ uint64(l.mtime.Nsec) }

func (r *request) rootDir() (*os.File, status) {
	dir, err := r.file.root.Open(".")
	if err != nil {
		return nil, statusOf(err)
	}
	return dir, ok
}

// list returns the sorted names of an open directory.
func (r *request) list(dir *os.File) (*listing, status) {
	l, st := &r.listing, &r.file.st
	if l.token == r.file.token && l.ino == st.Ino && l.mtime == st.Mtim && l.names != nil {
		return l, ok
	}
	names, err := dir.Readdirnames(maxNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, statusOf(err)
	}
	if len(names) > maxNames {
		return nil, errServerFault
	}
	slices.Sort(names)
	*l = listing{r.file.token, st.Ino, st.Mtim, append([]string{".", ".."}, names...)}
	return l, ok
}

func readDir(r *request, w []byte) ([]byte, status) {
	cookie, verifier := r.args.uint64(), r.args.uint64()
	limit := r.args.uint32()
	return r.listPage(w, page{cookie: cookie, verifier: verifier, limit: limit, dirLimit: limit})
}

func readDirPlus(r *request, w []byte) ([]byte, status) {
	cookie, verifier := r.args.uint64(), r.args.uint64()
	dirLimit, limit := r.args.uint32(), r.args.uint32()
	return r.listPage(w, page{cookie: cookie, verifier: verifier, limit: limit, dirLimit: dirLimit, plus: true})
}

// page is one READDIR or READDIRPLUS call. A cookie is the number of names
// that the client has.
type page struct {
	cookie, verifier uint64
	limit            uint32 // bytes of the whole result
	dirLimit         uint32 // bytes of names, numbers and cookies
	plus             bool
}

func (r *request) listPage(w []byte, p page) ([]byte, status) {
	switch {
	case r.args.bad:
		return nil, ok
	case r.file.kind() != syscall.S_IFDIR:
		return nil, errNotDir
	case !r.file.may(r.who, permRead):
		return nil, errAccess
	}
	dir, s := r.file.open()
	if s != ok {
		return nil, s
	}
	defer dir.Close()
	l, s := r.list(dir)
	if s != ok {
		return nil, s
	}
	if p.cookie > uint64(len(l.names)) || p.cookie != 0 && p.verifier != l.verifier() {
		return nil, errBadCookie
	}
	start := len(w)
	w = r.file.appendPostOpAttr(w, &r.file.st)
	w = appendUint64(w, l.verifier())
	room := int(min(p.limit, maxReadDir)) - 4 - (len(w) - start) - 8 // status, head, end of list and eof
	dirRoom := int(min(p.dirLimit, maxReadDir))
	i, first := int(p.cookie), int(p.cookie)
	for ; i < len(l.names); i++ {
		name := l.names[i]
		dirLen := 4 + 8 + opaqueLen(len(name)) + 8
		fullLen := dirLen
		if p.plus {
			fullLen += postOpAttrLen + 4 + opaqueLen(handleLen)
		}
		if room -= fullLen; room < 0 {
			break
		}
		if dirRoom -= dirLen; dirRoom < 0 {
			break
		}
		w = r.appendEntry(w, dir, name, uint64(i+1), p.plus)
	}
	if i == first && i < len(l.names) {
		return nil, errTooSmall
	}
	w = appendBool(w, false)
	return appendBool(w, i == len(l.names)), ok
}

// appendEntry appends entry3 or entryplus3. A name that has gone meanwhile
// is listed without attributes.
func (r *request) appendEntry(w []byte, dir *os.File, name string, cookie uint64, plus bool) []byte {
	st, found := r.entryStat(dir, name)
	w = appendBool(w, true)
	w = appendUint64(w, st.Ino)
	w = appendOpaque(w, name)
	w = appendUint64(w, cookie)
	if !plus {
		return w
	}
	if !found {
		return appendBool(appendBool(w, false), false)
	}
	w = r.file.appendPostOpAttr(w, &st)
	isDot := name == "." || name == ".."
	if !isDot && !r.file.remember(st.Ino, r.file.st.Ino, name) {
		return appendBool(w, false)
	}
	return appendOpaque(appendBool(w, true), r.file.handle(st.Ino))
}

func (r *request) entryStat(dir *os.File, name string) (syscall.Stat_t, bool) {
	switch name {
	case ".":
		return r.file.st, true
	case "..":
		up, s := r.file.child("..")
		return up.st, s == ok
	}
	var u unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &u, unix.AT_SYMLINK_NOFOLLOW); err != nil || u.Dev != r.file.dev {
		return syscall.Stat_t{}, false
	}
	return syscall.Stat_t{
		Dev: u.Dev, Ino: u.Ino, Nlink: u.Nlink, Mode: u.Mode, Uid: u.Uid, Gid: u.Gid,
		Rdev: u.Rdev, Size: u.Size, Blocks: u.Blocks,
		Atim: syscall.Timespec(u.Atim), Mtim: syscall.Timespec(u.Mtim), Ctim: syscall.Timespec(u.Ctim),
	}, true
}
