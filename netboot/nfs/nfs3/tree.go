package nfs3

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
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

// token marks the file handles of one export, so that a handle cannot be
// guessed. Without a key it is random and new for each Add. With one it depends
// on the export and its folder, so that the handles of running Pis survive a
// restart of the server; those of a folder that was replaced die all the same.
type token [tokenLen]byte

func newToken(key []byte, e nfs.Export, dev, ino uint64) token {
	var t token
	if len(key) == 0 {
		rand.Read(t[:])
		return t
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%q %q %s %d %d", e.ID, e.Path, e.Client, dev, ino)
	copy(t[:], mac.Sum(nil))
	return t
}

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

	// keyed says that handles of an earlier process may come, and searched that
	// the folder has been looked through for what they name.
	keyed    bool
	searched sync.Once
}

// node is where a file was last seen. Directories point to their parents, so
// that a renamed directory takes what is below it along.
type node struct {
	parent uint64
	name   string
}

func openTree(e nfs.Export, limit int, key []byte) (*tree, error) {
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
		token: newToken(key, e, st.Dev, st.Ino),
		keyed: len(key) > 0,
	}
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

// search remembers every file below the folder, up to the limit, since a handle
// of before a restart says nothing but an inode number.
func (t *tree) search() {
	inodes := map[string]uint64{".": t.ino}
	_ = fs.WalkDir(t.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return nil // what cannot be read is not found; the rest is
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st, isStat := info.Sys().(*syscall.Stat_t)
		if !isStat || !t.remember(st.Ino, inodes[path.Dir(p)], d.Name()) {
			return fs.SkipAll
		}
		if d.IsDir() {
			inodes[p] = st.Ino
		}
		return nil
	})
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
	if !known && t.keyed {
		t.searched.Do(t.search)
		p, known = t.pathOf(ino)
	}
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
