package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what is known of an image.
type Info struct {
	Name string `json:"name"`
	Path string `json:"-"` // of the folder
	// Source is the name of the file that it was made from, and SHA256 its
	// digest. Both are empty if it was not made by [Add].
	Source string    `json:"source,omitempty"`
	SHA256 string    `json:"sha256,omitempty"`
	Added  time.Time `json:"added,omitzero"`
	Files  int       `json:"files,omitempty"` // entries of every kind
	Bytes  int64     `json:"bytes,omitempty"` // of all files' content

	Arch    string  `json:"arch"` // Debian's name: arm64, armhf, amd64; "" if unknown
	Release Release `json:"release"`
	// Boot is the folder within with the files that a Pi boots from; "" if it
	// has none.
	Boot string `json:"boot"`
	// Lost is what could not be kept: without root, owners and devices.
	Lost []Lost `json:"lost,omitempty"`
}

const (
	// stampName tells what an image was made from. It is in the image, so that
	// it comes and goes with it, and a root tells what it was cloned from.
	stampName = "etc/picloud-image.json"

	freshPrefix = ".new-"
	gonePrefix  = ".gone-"
)

// List returns the images in a folder, by name. What cannot be an image is left
// out. A folder that does not exist has none.
func List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("list", dir, err)
	}
	var list []Info
	for _, e := range entries {
		if !e.IsDir() || checkName(e.Name()) != nil {
			continue
		}
		info, err := show(dir, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, wrap("list", e.Name(), err)
		}
		list = append(list, info)
	}
	return list, nil
}

// Show returns one image. Errors: [ErrInvalidName], [ErrNotFound].
func Show(dir, name string) (Info, error) {
	if err := checkName(name); err != nil {
		return Info{}, wrap("show", name, err)
	}
	info, err := show(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	return info, wrap("show", name, err)
}

func show(dir, name string) (Info, error) {
	root, err := os.OpenRoot(filepath.Join(dir, name))
	if err != nil {
		return Info{}, err
	}
	defer root.Close()
	info := Info{Name: name}
	if b, err := readBeneath(root, stampName, maxRead); err == nil {
		var stamped Info
		if json.Unmarshal(b, &stamped) == nil {
			info = stamped
		}
	} else {
		look(root, &info)
	}
	info.Name, info.Path = name, filepath.Join(dir, name)
	return info, nil
}

// look fills in what the tree itself tells.
func look(root *os.Root, info *Info) {
	info.Arch, info.Release, info.Boot = architecture(root), release(root), findBoot(root)
}

// Remove deletes an image. users are those that still need it, such as volumes
// that are snapshots of it; if there is one, the image stays. Errors:
// [ErrInvalidName], [ErrNotFound], [ErrInUse], or the file system's.
func Remove(dir, name string, users ...string) error {
	return wrap("remove", name, remove(dir, name, users))
}

func remove(dir, name string, users []string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%w by %d: %s", ErrInUse, len(users), strings.Join(users[:min(len(users), 5)], ", "))
	}
	if info, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return ErrNotFound
	}
	s, err := newStage(dir, gonePrefix)
	if err != nil {
		return err
	}
	defer func() { _ = s.remove() }()
	// From here on it is gone, even if the power goes while it is deleted.
	if err := os.Rename(filepath.Join(dir, name), filepath.Join(s.path, "root")); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return s.remove()
}

// Sweep deletes what a crash left of images that were being added or removed.
// What another process is at is left alone. [Add] sweeps, too.
func Sweep(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return wrap("sweep", dir, sweep(dir))
}

func sweep(dir string) error {
	left, err := abandoned(dir)
	for _, s := range left {
		err = errors.Join(err, s.remove())
	}
	return err
}

// abandoned locks and returns the stages that nobody has locked.
func abandoned(dir string) ([]*stage, error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var left []*stage
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), freshPrefix) && !strings.HasPrefix(e.Name(), gonePrefix) {
			continue
		}
		if s, err := lockStage(filepath.Join(dir, e.Name())); err == nil {
			left = append(left, s)
		}
	}
	return left, nil
}

// stage is a folder in which an image is made or taken apart. It is locked for
// as long as its process lives (flock(2)), which is how [Sweep] tells.
type stage struct {
	path string
	f    *os.File
}

// lockDir keeps others from making a stage or sweeping.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { f.Close() }, nil
}

func newStage(dir, prefix string) (*stage, error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	path, err := os.MkdirTemp(dir, prefix) // mode 0700: nobody else gets in
	if err != nil {
		return nil, err
	}
	return lockStage(path)
}

func lockStage(path string) (*stage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return &stage{path: path, f: f}, nil
}

// remove deletes the stage and what is in it. It may be called again.
func (s *stage) remove() error {
	if s.f == nil {
		return nil
	}
	err := os.RemoveAll(s.path)
	s.f.Close()
	s.f = nil
	return err
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
