package rescue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is taken. A rescue system has about 600 entries and 60 MB.
const (
	maxEntries  = 20_000
	maxTaken    = 512 << 20
	maxFile     = 64 << 20
	maxLinks    = 40 // the kernel's own (path_resolution(7))
	maxPath     = 4096
	maxInFolder = 5000
)

var errNotFile = errors.New("not a regular file")

// entry is what stands at a path of the rescue system.
type entry struct {
	mode   uint32 // type and permissions
	rdev   uint64
	source string // a file of the image, by its real path
	data   []byte // a file of our own, or a link's target
	size   int64
}

// tree collects what the rescue system has. Paths are without a leading slash.
type tree struct {
	image   *os.Root
	entries map[string]entry
	taken   int64 // bytes
}

func newTree(image *os.Root) *tree { return &tree{image: image, entries: map[string]entry{}} }

// found is a path of the image, followed to its end.
type found struct {
	real string
	info fs.FileInfo
	via  map[string]entry // folders and links on the way
}

// find follows a path through the image's links, each of which is taken to
// begin at the image's top, as it would once the image were booted.
func (t *tree) find(name string) (found, error) {
	f := found{real: ".", via: map[string]entry{}}
	pending := strings.Split(name, "/")
	for links := 0; len(pending) > 0; {
		part := pending[0]
		pending = pending[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			f.real, f.info = path.Dir(f.real), nil
			continue
		}
		at := path.Join(f.real, part)
		info, err := t.image.Lstat(at)
		if err != nil {
			return found{}, err
		}
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := t.image.Readlink(at)
			if err != nil {
				return found{}, err
			}
			if links++; links > maxLinks || len(target) > maxPath {
				return found{}, &fs.PathError{Op: "find", Path: name, Err: unix.ELOOP}
			}
			f.via[at] = entry{mode: unix.S_IFLNK | 0o777, data: []byte(target), size: int64(len(target))}
			if path.IsAbs(target) {
				f.real = "."
			}
			f.info = nil
			pending = append(strings.Split(target, "/"), pending...)
		case fs.ModeDir:
			f.via[at] = entry{mode: unix.S_IFDIR | uint32(info.Mode().Perm())}
			f.real, f.info = at, info
		default:
			if slices.ContainsFunc(pending, func(s string) bool { return s != "" }) {
				return found{}, &fs.PathError{Op: "find", Path: name, Err: unix.ENOTDIR}
			}
			f.real, f.info = at, info
			return f, nil
		}
	}
	if f.info == nil {
		info, err := t.image.Lstat(f.real)
		if err != nil {
			return found{}, err
		}
		f.info = info
	}
	return f, nil
}

// file is [tree.find] for a regular file that is not too large.
func (t *tree) file(name string) (found, error) {
	f, err := t.find(name)
	switch {
	case err != nil:
		return found{}, err
	case !f.info.Mode().IsRegular():
		return found{}, &fs.PathError{Op: "find", Path: name, Err: errNotFile}
	case f.info.Size() > maxFile:
		return found{}, &fs.PathError{Op: "find", Path: name, Err: unix.EFBIG}
	}
	return f, nil
}

// take adds a file of the image, with the folders and links that lead to it.
// known tells that it was there before.
func (t *tree) take(f found) (known bool, err error) {
	for p, e := range f.via {
		if err := t.put(p, e); err != nil {
			return false, err
		}
	}
	if _, known = t.entries[f.real]; known {
		return true, nil
	}
	return false, t.put(f.real, entry{
		mode: unix.S_IFREG | uint32(f.info.Mode().Perm()), source: f.real, size: f.info.Size(),
	})
}

// put adds or replaces an entry.
func (t *tree) put(p string, e entry) error {
	if old, ok := t.entries[p]; ok {
		t.taken -= old.size
	}
	t.entries[p] = e
	if t.taken += e.size; t.taken > maxTaken || len(t.entries) > maxEntries {
		return fmt.Errorf("%w: more than %d MB or %d files", ErrTooLarge, maxTaken>>20, maxEntries)
	}
	return nil
}

// own adds a file that is not the image's. Folders above it that the image has
// are as there; a link among them is followed.
func (t *tree) own(p string, perm uint32, data []byte) error {
	dir, err := t.folder(path.Dir(p))
	if err != nil {
		return err
	}
	return t.put(path.Join(dir, path.Base(p)), entry{mode: unix.S_IFREG | perm, data: data, size: int64(len(data))})
}

// link adds a symbolic link that is not the image's.
func (t *tree) link(p, target string) error {
	dir, err := t.folder(path.Dir(p))
	if err != nil {
		return err
	}
	return t.put(path.Join(dir, path.Base(p)), entry{mode: unix.S_IFLNK | 0o777, data: []byte(target), size: int64(len(target))})
}

// folder makes sure that there is a folder, and returns its real path.
func (t *tree) folder(p string) (string, error) {
	if p == "." {
		return p, nil
	}
	f, err := t.find(p)
	if err == nil && f.info.IsDir() {
		for p, e := range f.via {
			if err := t.put(p, e); err != nil {
				return "", err
			}
		}
		return f.real, nil
	}
	above, err := t.folder(path.Dir(p))
	if err != nil {
		return "", err
	}
	at := path.Join(above, path.Base(p))
	if e, ok := t.entries[at]; ok && e.mode&unix.S_IFMT == unix.S_IFDIR {
		return at, nil
	}
	return at, t.put(at, entry{mode: unix.S_IFDIR | 0o755})
}

// under takes all regular files below a folder of the image, and the links among
// them that lead to one. Nothing is taken if there is no such folder.
func (t *tree) under(name string) error {
	f, err := t.find(name)
	if err != nil || !f.info.IsDir() {
		return nil
	}
	for p, e := range f.via {
		if err := t.put(p, e); err != nil {
			return err
		}
	}
	names, err := t.names(f.real)
	if err != nil {
		return err
	}
	for _, n := range names {
		p := path.Join(f.real, n)
		info, err := t.image.Lstat(p)
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := t.under(p); err != nil {
				return err
			}
			continue
		}
		if f, err := t.file(p); err == nil {
			if _, err := t.take(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// names lists a folder of the image by its real path, sorted.
func (t *tree) names(real string) ([]string, error) {
	d, err := t.image.Open(real)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	if len(names) > maxInFolder {
		return nil, fmt.Errorf("%w: %s has %d entries", ErrTooLarge, real, len(names))
	}
	slices.Sort(names)
	return names, nil
}

// open opens a file that was found. The image is staff's, but whatever has taken
// the file's place meanwhile, nothing waits.
func (t *tree) open(real string) (*os.File, error) {
	f, err := t.image.OpenFile(real, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, &fs.PathError{Op: "open", Path: real, Err: errNotFile})
	}
	return f, nil
}
