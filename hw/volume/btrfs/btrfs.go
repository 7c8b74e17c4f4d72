// Package btrfs keeps volumes as btrfs subvolumes. Cloning an image and taking
// a snapshot take no time and no room, however large they are.
//
// A volume's size is the limit of its quota group. Where the kernel has simple
// quotas (Linux 6.7) they are used: a volume then pays for what it has written
// itself, and what it shares with its image is free. Older kernels have full
// quota groups, which count what is shared too, and cost more the more
// snapshots there are. What the file system has on already is left on.
//
// All volumes are in one file system: see [volume.Features]. It needs root.
//
// Below the state folder, images/NAME is an image, volumes/NAME a volume and
// snapshots/VOLUME~NAME a snapshot. What is being made has another name (a
// tilde is in no volume's name), and takes its own by one rename, which btrfs
// never puts on the disk before what it was done to.
package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/hw/volume/internal/namelock"
)

// freshPrefix, and the name, is what a subvolume has while it is being made,
// and what the former one has after an exchange.
const freshPrefix = ".fresh~"

// Options are a driver's settings. The zero value is good.
type Options struct {
	// NearlyFull is the share of the disk at which new work is refused, 0 to
	// 1; 0 means [volume.DefaultNearlyFull].
	NearlyFull float64
}

// Driver keeps volumes as subvolumes. It implements [volume.Driver].
type Driver struct {
	images, volumes, snapshots string
	opts                       Options
	locks                      namelock.Locks // volumes by name, images by a slash and the name
	step                       func(string)   // told of each step's end; nil but in tests
}

var _ volume.Driver = (*Driver)(nil)

// Open returns the driver of a state folder on a btrfs file system. The folder
// is made if it is not there, and quotas are turned on. Only one process may
// use it at a time, but for images. On another file system the error wraps
// [volume.ErrNotSupported].
func Open(state string, opts Options) (*Driver, error) {
	d, err := open(state, opts)
	if err != nil {
		return nil, fmt.Errorf("btrfs: open %s: %w", state, err)
	}
	return d, nil
}

func open(state string, opts Options) (*Driver, error) {
	abs, err := filepath.Abs(state)
	if err != nil {
		return nil, err
	}
	if opts.NearlyFull <= 0 {
		opts.NearlyFull = volume.DefaultNearlyFull
	}
	d := &Driver{
		images: filepath.Join(abs, "images"), volumes: filepath.Join(abs, "volumes"),
		snapshots: filepath.Join(abs, "snapshots"), opts: opts, locks: namelock.Locks{Shared: filepath.Join(abs, "locks")},
	}
	// In the roots are set-user-ID programs and files for all of their users,
	// who are not those of this host.
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return nil, &fs.PathError{Op: "statfs", Path: abs, Err: err}
	}
	if st.Type != magic {
		return nil, fmt.Errorf("%w: the folder is not on btrfs (mkfs.btrfs a disk and mount it there)", volume.ErrNotSupported)
	}
	for _, dir := range []string{d.images, d.volumes, d.snapshots} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	dir, err := openFolder(abs)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return d, enableQuota(dir)
}

func (d *Driver) did(step string) {
	if d.step != nil {
		d.step(step)
	}
}

// Features implements [volume.Driver].
func (d *Driver) Features() volume.Features { return volume.Features{Quota: true} }

// Pool implements [volume.Driver]: the file system, with all else that is there.
func (d *Driver) Pool(context.Context) (volume.Pool, error) {
	p, err := d.pool()
	if err != nil {
		return volume.Pool{}, fmt.Errorf("btrfs: pool: %w", err)
	}
	return p, nil
}

func (d *Driver) pool() (volume.Pool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.volumes, &st); err != nil {
		return volume.Pool{}, &fs.PathError{Op: "statfs", Path: d.volumes, Err: err}
	}
	// What is available is 0 when the metadata has no room left, too.
	p := volume.Pool{Size: int64(st.Blocks) * st.Bsize, Used: int64(st.Blocks-st.Bavail) * st.Bsize}
	p.NearlyFull = float64(p.Used) >= d.opts.NearlyFull*float64(p.Size)
	return p, nil
}

func (d *Driver) admit() error {
	p, err := d.pool()
	if err != nil {
		return err
	}
	return p.Admit()
}

// exists reports whether parent has a subvolume of this name.
func exists(parent, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(parent, name), &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "lstat", Path: filepath.Join(parent, name), Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Ino == firstInode, nil
}

// place has make a subvolume made under another name, then gives it its own.
// With flags RENAME_EXCHANGE it takes the place of the one that has the name.
func (d *Driver) place(parent, name string, flags uint, make func(dir *os.File, fresh string) error) error {
	dir, err := openFolder(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	fresh := freshPrefix + name
	if err := destroySubvolume(dir, fresh); err != nil { // left by a crash
		return err
	}
	d.did("cleared")
	if err := make(dir, fresh); err != nil {
		return errors.Join(err, destroySubvolume(dir, fresh))
	}
	d.did("made")
	if flags == 0 {
		flags = unix.RENAME_NOREPLACE
	}
	if err := unix.Renameat2(fd(dir), fresh, fd(dir), name, flags); err != nil {
		return errors.Join(os.NewSyscallError("rename", err), destroySubvolume(dir, fresh))
	}
	d.did("renamed")
	if flags != unix.RENAME_NOREPLACE {
		if err := destroySubvolume(dir, fresh); err != nil {
			return err
		}
		d.did("former deleted")
	}
	return os.NewSyscallError("syncfs", unix.Syncfs(fd(dir)))
}

// placeCopy makes name in parent a snapshot of the subvolume from, with this
// size; 0 means no limit.
func (d *Driver) placeCopy(from, parent, name string, size int64, flags uint, readOnly bool) error {
	src, err := openFolder(from)
	if errors.Is(err, fs.ErrNotExist) {
		return volume.ErrNotFound
	}
	if err != nil {
		return err
	}
	defer src.Close()
	return d.place(parent, name, flags, func(dir *os.File, fresh string) error {
		if err := createSnapshot(src, dir, fresh, readOnly); err != nil {
			return err
		}
		d.did("snapshot made")
		return limit(filepath.Join(parent, fresh), size)
	})
}

func limit(name string, size int64) error {
	if size <= 0 {
		return nil
	}
	dir, err := openFolder(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	id, _, err := describe(dir)
	if err != nil {
		return err
	}
	return setLimit(dir, id, size)
}

// account returns the quota of a subvolume.
func account(name string) (quota, error) {
	dir, err := openFolder(name)
	if errors.Is(err, fs.ErrNotExist) {
		return quota{}, volume.ErrNotFound
	}
	if err != nil {
		return quota{}, err
	}
	defer dir.Close()
	id, _, err := describe(dir)
	if err != nil {
		return quota{}, err
	}
	return quotaOf(dir, id)
}

// remove deletes the subvolumes in parent whose names match, and what earlier
// calls left of them.
func (d *Driver) remove(ctx context.Context, parent string, match func(name string) bool) error {
	dir, err := openFolder(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	gone := false
	for _, e := range entries {
		if !match(strings.TrimPrefix(e.Name(), freshPrefix)) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := destroySubvolume(dir, e.Name()); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		gone = true
		d.did("deleted")
	}
	if !gone {
		return nil
	}
	return os.NewSyscallError("syncfs", unix.Syncfs(fd(dir)))
}

// list returns the subvolumes in parent whose names begin with prefix, by the
// rest of their names.
func list(parent, prefix string) ([]volume.Info, error) {
	entries, err := os.ReadDir(parent) // sorted
	if err != nil {
		return nil, err
	}
	all := make([]volume.Info, 0, len(entries))
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || volume.CheckName(name) != nil || !e.IsDir() {
			continue
		}
		info, err := inform(filepath.Join(parent, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		info.Name = name
		all = append(all, info)
	}
	return all, nil
}

func inform(name string) (volume.Info, error) {
	dir, err := openFolder(name)
	if err != nil {
		return volume.Info{}, err
	}
	defer dir.Close()
	id, created, err := describe(dir)
	if err != nil {
		return volume.Info{}, err
	}
	q, err := quotaOf(dir, id)
	return volume.Info{Created: created, Size: q.limit}, err
}
