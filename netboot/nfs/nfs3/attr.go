package nfs3

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ftype3 of RFC 1813, section 2.5.
var fileTypes = map[uint32]uint32{
	syscall.S_IFREG:  1,
	syscall.S_IFDIR:  2,
	syscall.S_IFBLK:  3,
	syscall.S_IFCHR:  4,
	syscall.S_IFLNK:  5,
	syscall.S_IFSOCK: 6,
	syscall.S_IFIFO:  7,
}

const (
	attrLen       = 84          // fattr3
	postOpAttrLen = 4 + attrLen // post_op_attr with attributes
)

// appendAttr appends fattr3 of RFC 1813, section 2.5.
func (t *tree) appendAttr(w []byte, st *syscall.Stat_t) []byte {
	w = appendUint32(w, fileTypes[st.Mode&syscall.S_IFMT])
	w = appendUint32(w, st.Mode&0o7777)
	w = appendUint32(w, uint32(st.Nlink))
	w = appendUint32(w, st.Uid)
	w = appendUint32(w, st.Gid)
	w = appendUint64(w, uint64(st.Size))
	w = appendUint64(w, uint64(st.Blocks)*512)
	w = appendUint32(w, unix.Major(st.Rdev))
	w = appendUint32(w, unix.Minor(st.Rdev))
	w = appendUint64(w, t.fsid)
	w = appendUint64(w, st.Ino)
	for _, ts := range [...]syscall.Timespec{st.Atim, st.Mtim, st.Ctim} {
		w = appendUint32(w, uint32(ts.Sec))
		w = appendUint32(w, uint32(ts.Nsec))
	}
	return w
}

func (t *tree) appendPostOpAttr(w []byte, st *syscall.Stat_t) []byte {
	return t.appendAttr(appendBool(w, true), st)
}

// Permission bits of one class of user.
const (
	permRead = 4
	permExec = 1
)

// may reports whether who has a permission by the file's mode. The Pi's root
// may do all, since the tree is its own.
func (f file) may(who identity, perm uint32) bool {
	switch {
	case who.uid == 0:
		return true
	case who.uid == f.st.Uid:
		return f.st.Mode>>6&perm != 0
	case who.gid == f.st.Gid || slices.Contains(who.groups, f.st.Gid):
		return f.st.Mode>>3&perm != 0
	}
	return f.st.Mode&perm != 0
}
