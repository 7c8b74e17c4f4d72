package nfs3

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"sync"
	"syscall"

	"picloud/netboot/nfs"
)

const (
	tokenLen  = 16
	handleLen = tokenLen + 8
	maxHandle = 64 // NFS3_FHSIZE, RFC 1813, section 2.4
	maxDepth  = 256
)

// token marks the file handles of one export. It is random, so that a handle
// cannot be guessed, and new for each Add, so that handles die with the export.
type token [tokenLen]byte

// tree is one export that is being served.
type tree struct {
	nfs.Export
	token token
	fsid  uint64

	// use is held for reading by each operation. Closing takes it whole, so
	// that no operation goes on once an export is removed.
	use    sync.RWMutex
	root   *os.Root
	closed bool

	dev, ino uint64 // of the folder

	mu    sync.Mutex
	nodes map[uint64]node // by inode number: what a handle may name
	limit int
}

// node is where a file was last seen. Directories point to their parents, so
// that a renamed directory takes what is below it along.
type node struct {
	parent uint64
	name   string
}

func openTree(e nfs.Export, limit int) (*tree, error) {
	root, err := os.OpenRoot(e.Dir)
	if err != nil {
		return nil, err
	}
	st, err := lstat(root, ".")
	if err != nil {
		root.Close()
		return nil, err
	}
	id := e.FSID()
	t := &tree{
		Export: e, root: root, limit: limit,
		fsid: binary.BigEndian.Uint64(id[:8]),
		dev:  st.Dev, ino: st.Ino,
		nodes: map[uint64]node{},
	}
	rand.Read(t.token[:])
	return t, nil
}

// inPlace reports whether the export's folder is still the one that was
// opened. A reimage puts another folder in its place, and adding the same
// export again must then serve the new one.
func (t *tree) inPlace() bool {
	info, err := os.Stat(t.Dir)
	if err != nil {
		return false
	}
	st, isStat := info.Sys().(*syscall.Stat_t)
	return isStat && st.Ino == t.ino && st.Dev == t.dev
}

// close waits for the operations under way, then makes every handle stale.
func (t *tree) close() {
	t.use.Lock()
	defer t.use.Unlock()
	t.closed = true
	t.root.Close()
}

func (t *tree) handle(ino uint64) []byte {
	return binary.BigEndian.AppendUint64(t.token[:tokenLen:tokenLen], ino)
}

// remember notes where a file is, so that its handle can be used. It reports
// false if the export has too many files.
func (t *tree) remember(ino, parent uint64, name string) bool {
	if ino == t.ino {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.nodes[ino]
	if known && old.parent == parent && old.name == name {
		return true
	}
	if !known && len(t.nodes) >= t.limit {
		return false
	}
	t.nodes[ino] = node{parent, name}
	return true
}

// pathOf returns the path of a file that a handle names, relative to the root.
func (t *tree) pathOf(ino uint64) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := ""
	for range maxDepth {
		if ino == t.ino {
			return path.Join(".", p), true
		}
		n, known := t.nodes[ino]
		if !known {
			return "", false
		}
		p = path.Join(n.name, p)
		ino = n.parent
	}
	return "", false // two directories that have been moved into one another
}

// parentOf returns the inode number of the directory in which ino was seen.
func (t *tree) parentOf(ino uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, known := t.nodes[ino]; known {
		return n.parent
	}
	return t.ino
}

// file is what a handle stands for, found again and checked.
type file struct {
	*tree
	path string // relative to the root
	st   syscall.Stat_t
}

// file finds the file with this inode number. If something else is at its
// place by now, or nothing, the handle is stale.
func (t *tree) file(ino uint64) (file, status) {
	p, known := t.pathOf(ino)
	if !known {
		return file{}, errStale
	}
	st, err := lstat(t.root, p)
	switch {
	case err != nil && statusOf(err) == errAccess:
		return file{}, errAccess
	case err != nil, st.Ino != ino, st.Dev != t.dev:
		return file{}, errStale
	}
	return file{t, p, st}, ok
}

// open opens the file for reading and makes sure that it is the same one. It
// never waits, even if a pipe has taken the file's place.
func (f file) open() (*os.File, status) {
	fd, err := f.root.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, statusOf(err)
	}
	info, err := fd.Stat()
	if err != nil {
		fd.Close()
		return nil, statusOf(err)
	}
	if st, isStat := info.Sys().(*syscall.Stat_t); !isStat || st.Ino != f.st.Ino || st.Dev != f.st.Dev {
		fd.Close()
		return nil, errStale
	}
	return fd, ok
}

func (f file) kind() uint32 { return f.st.Mode & syscall.S_IFMT }

func lstat(root *os.Root, p string) (syscall.Stat_t, error) {
	info, err := root.Lstat(p)
	if err != nil {
		return syscall.Stat_t{}, err
	}
	st, isStat := info.Sys().(*syscall.Stat_t)
	if !isStat {
		return syscall.Stat_t{}, fmt.Errorf("no inode in %T", info.Sys())
	}
	return *st, nil
}
