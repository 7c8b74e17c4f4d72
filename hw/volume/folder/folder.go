// Package folder keeps volumes as plain folders, for the demo and for a lab.
// Files are cloned by reference where the file system can (FICLONE: btrfs,
// XFS), else copied.
//
// Below the state folder, images/NAME is an image, volumes/NAME a volume and
// snapshots/VOLUME~NAME a snapshot. What is being made or deleted has another
// name (a tilde is in no volume's name), and takes or leaves its own by one
// rename.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/hw/volume/internal/namelock"
)

const (
	clonePrefix = ".clone~" // and the name: a copy under way
	trashPrefix = ".trash~" // and the name, a tilde and a number: what is being deleted
)

// Options are a driver's settings. The zero value is right for data that matters.
type Options struct {
	// Volatile leaves out flushing to the disk. A clone then survives the
	// death of the process, not that of the machine. It is for a folder that
	// is temporary anyway.
	Volatile bool
	// NearlyFull is the share of the disk at which new work is refused, 0 to
	// 1; 0 means [volume.DefaultNearlyFull], if less than 4 GiB are free too.
	NearlyFull float64
}

// Driver keeps volumes as folders. It implements [volume.Driver].
type Driver struct {
	images, volumes, snapshots string
	opts                       Options

	locks namelock.Locks // volumes by name, images by a slash and the name
	step  func(string)   // told of each step's end; nil but in tests

	mu sync.Mutex
	// elsewhere are the folders of images that are not below the state folder.
	elsewhere map[string]string
}

var _ volume.Driver = (*Driver)(nil)

// Open returns the driver of a state folder, which is made if it is not there.
// Only one process may use it at a time, but for images.
func Open(state string, opts Options) (*Driver, error) {
	abs, err := filepath.Abs(state)
	if err != nil {
		return nil, fmt.Errorf("folder: open: %w", err)
	}
	d := &Driver{
		images: filepath.Join(abs, "images"), volumes: filepath.Join(abs, "volumes"),
		snapshots: filepath.Join(abs, "snapshots"), opts: opts, locks: namelock.Locks{Shared: filepath.Join(abs, "locks")},
	}
	// In the roots are set-user-ID programs and files for all of their users,
	// who are not those of this host.
	for _, dir := range []string{abs, d.images, d.volumes, d.snapshots} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("folder: open: %w", err)
		}
	}
	return d, nil
}

// ImagePath is where an image's folder is or should be put. An image must be
// put there whole, by a rename.
func (d *Driver) ImagePath(image string) (string, error) {
	if err := volume.CheckName(image); err != nil {
		return "", fmt.Errorf("folder: image: %w", err)
	}
	return filepath.Join(d.images, image), nil
}

// SetImages says where images are that are kept elsewhere, by their absolute
// folders; all others are at ImagePath. It replaces what was said before.
func (d *Driver) SetImages(folders map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.elsewhere = maps.Clone(folders)
}

// imageFolder is where an image is.
func (d *Driver) imageFolder(image string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir, ok := d.elsewhere[image]; ok {
		return dir
	}
	return filepath.Join(d.images, image)
}

// Clone implements [volume.Driver]. A tree nested deeper than 512 folders
// gives [volume.ErrTooDeep].
func (d *Driver) Clone(ctx context.Context, image, name string, progress func(done, total int64)) error {
	if err := d.clone(ctx, image, name, progress); err != nil {
		return fmt.Errorf("folder: clone image %.80q to volume %.80q: %w", image, name, err)
	}
	return nil
}

func (d *Driver) clone(ctx context.Context, image, name string, progress func(done, total int64)) error {
	if err := errors.Join(volume.CheckName(image), volume.CheckName(name)); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if there, err := d.exists(name); err != nil || there {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	if err := d.discardSnapshots(ctx, name); err != nil { // left by a removal
		return err
	}
	return d.copyTree(ctx, d.imageFolder(image), d.volumes, name, 0, progress)
}

// copyTree makes name in the folder parent a copy of the tree in from, whole or
// not at all. With flags RENAME_EXCHANGE it takes the place of the tree that
// has the name, else there must be none.
func (d *Driver) copyTree(ctx context.Context, from, parent, name string, flags uint, progress func(done, total int64)) error {
	src, err := openDir(unix.AT_FDCWD, from)
	if errors.Is(err, fs.ErrNotExist) {
		return volume.ErrNotFound
	}
	if err != nil {
		return err
	}
	defer src.Close()
	return d.place(ctx, parent, name, flags, func(dir *os.File, fresh string) error {
		return d.copyInto(ctx, src, dir, fresh, progress)
	})
}

// place has fill make a tree under another name and gives it its own by a
// rename with these flags.
func (d *Driver) place(ctx context.Context, parent, name string, flags uint, fill func(dir *os.File, fresh string) error) error {
	dir, err := openDir(unix.AT_FDCWD, parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	fresh := clonePrefix + name
	if err := removeTree(ctx, dir, fresh); err != nil { // left by a crash
		return err
	}
	d.did("cleared")
	if err := fill(dir, fresh); err != nil {
		// The job may be cancelled, but its half copy is not to stay.
		return errors.Join(err, removeTree(context.WithoutCancel(ctx), dir, fresh))
	}
	d.did("filled")
	if flags == 0 {
		flags = unix.RENAME_NOREPLACE
	}
	if err := unix.Renameat2(fd(dir), fresh, fd(dir), name, flags); err != nil {
		return errors.Join(os.NewSyscallError("rename", err), removeTree(context.WithoutCancel(ctx), dir, fresh))
	}
	d.did("renamed")
	if err := d.sync(dir); err != nil || flags == unix.RENAME_NOREPLACE {
		return err
	}
	return removeTree(ctx, dir, fresh)
}

// did marks the end of a step, for tests that crash there.
func (d *Driver) did(step string) {
	if d.step != nil {
		d.step(step)
	}
}

func (d *Driver) copyInto(ctx context.Context, src, parent *os.File, fresh string, progress func(done, total int64)) error {
	total, err := treeSize(ctx, src, func(st *unix.Stat_t) int64 { return st.Size })
	if err != nil {
		return err
	}
	c := copier{ctx: ctx, parent: parent, total: total, progress: progress, links: map[inode]string{}, reflink: true, root: os.Geteuid() == 0}
	if err := c.copyRoot(src, fresh); err != nil {
		return err
	}
	if d.opts.Volatile {
		return nil
	}
	return os.NewSyscallError("syncfs", unix.Syncfs(fd(parent)))
}

// sync makes a rename in dir last.
func (d *Driver) sync(dir *os.File) error {
	if d.opts.Volatile {
		return nil
	}
	return dir.Sync()
}

// Path implements [volume.Driver].
func (d *Driver) Path(name string) (string, error) {
	there, err := d.exists(name)
	if err == nil && !there {
		err = volume.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("folder: volume %.80q: %w", name, err)
	}
	return filepath.Join(d.volumes, name), nil
}

// Exists implements [volume.Driver].
func (d *Driver) Exists(_ context.Context, name string) (bool, error) {
	there, err := d.exists(name)
	if err != nil {
		return false, fmt.Errorf("folder: volume %.80q: %w", name, err)
	}
	return there, nil
}

func (d *Driver) exists(name string) (bool, error) {
	if err := volume.CheckName(name); err != nil {
		return false, err
	}
	return isFolder(filepath.Join(d.volumes, name))
}

// List implements [volume.Driver].
func (d *Driver) List(context.Context) ([]volume.Info, error) {
	list, err := listTrees(d.volumes, "")
	if err != nil {
		return nil, fmt.Errorf("folder: list volumes: %w", err)
	}
	return list, nil
}

// listTrees returns the trees in a folder whose names begin with prefix, by
// the rest of their names.
func listTrees(parent, prefix string) ([]volume.Info, error) {
	entries, err := os.ReadDir(parent) // sorted
	if err != nil {
		return nil, err
	}
	list := make([]volume.Info, 0, len(entries))
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || volume.CheckName(name) != nil || !e.IsDir() {
			continue
		}
		created, err := birth(filepath.Join(parent, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, volume.Info{Name: name, Created: created})
	}
	return list, nil
}

// birth is when a folder was made, or if the file system does not keep that
// (statx(2), stx_btime), when its inode last changed.
func birth(name string) (time.Time, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_CTIME, &st)
	if err != nil {
		return time.Time{}, os.NewSyscallError("statx", err)
	}
	ts := st.Ctime
	if st.Mask&unix.STATX_BTIME != 0 {
		ts = st.Btime
	}
	return time.Unix(ts.Sec, int64(ts.Nsec)), nil
}

// Remove implements [volume.Driver].
func (d *Driver) Remove(ctx context.Context, name string) error {
	if err := d.remove(ctx, name); err != nil {
		return fmt.Errorf("folder: remove volume %.80q: %w", name, err)
	}
	return nil
}

func (d *Driver) remove(ctx context.Context, name string) error {
	if err := volume.CheckName(name); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := d.discard(ctx, d.volumes, func(entry string) bool { return entry == name }); err != nil {
		return err
	}
	return d.discardSnapshots(ctx, name)
}

// discard deletes the trees in the folder parent whose names match, and what
// earlier calls have left of them.
func (d *Driver) discard(ctx context.Context, parent string, match func(entry string) bool) error {
	dir, err := openDir(unix.AT_FDCWD, parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	moved := false
	for _, e := range entries {
		if !match(e.Name()) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		trash := fmt.Sprintf("%s%s~%d", trashPrefix, e.Name(), time.Now().UnixNano())
		if err := unix.Renameat2(fd(dir), e.Name(), fd(dir), trash, unix.RENAME_NOREPLACE); err != nil {
			return os.NewSyscallError("rename", err)
		}
		moved = true
	}
	if moved {
		if err := d.sync(dir); err != nil {
			return err
		}
		d.did("moved to trash")
	}
	return d.sweep(ctx, dir, parent, match)
}

// Recover implements [volume.Driver].
func (d *Driver) Recover(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("folder: recover: %w", err)
	}
	return nil
}

func (d *Driver) recover(ctx context.Context) error {
	var errs []error
	for _, parent := range []string{d.volumes, d.snapshots, d.images} {
		entries, err := os.ReadDir(parent)
		if err != nil {
			return err
		}
		var names []string
		for _, e := range entries {
			if name, ok := leftOf(e.Name()); ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			errs = append(errs, d.recoverTree(ctx, parent, name))
		}
	}
	errs = append(errs, d.recoverOrphans(ctx))
	return errors.Join(errs...)
}

func (d *Driver) recoverTree(ctx context.Context, parent, name string) error {
	lock, _, _ := strings.Cut(name, "~") // a snapshot is guarded by its volume
	if parent == d.images {
		lock = "/" + lock
	}
	release, ok, err := d.locks.Try(ctx, lock)
	if err != nil || !ok { // another process is at the image
		return err
	}
	defer release()
	dir, err := openDir(unix.AT_FDCWD, parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	return d.sweep(ctx, dir, parent, func(of string) bool { return of == name })
}

// leftOf returns the name of the tree that a crash has left under another.
func leftOf(entry string) (string, bool) {
	if name, ok := strings.CutPrefix(entry, clonePrefix); ok {
		return name, true
	}
	if rest, ok := strings.CutPrefix(entry, trashPrefix); ok {
		if i := strings.LastIndexByte(rest, '~'); i >= 0 {
			return rest[:i], true
		}
	}
	return "", false
}

// sweep deletes what is left in a folder of trees whose names match.
func (d *Driver) sweep(ctx context.Context, dir *os.File, parent string, match func(name string) bool) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if name, ok := leftOf(e.Name()); ok && match(name) {
			errs = append(errs, removeTree(ctx, dir, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// Usage implements [volume.Driver]. A tree nested deeper than 512 folders
// gives [volume.ErrTooDeep].
func (d *Driver) Usage(ctx context.Context, name string) (int64, error) {
	n, err := d.usage(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("folder: usage of volume %.80q: %w", name, err)
	}
	return n, nil
}

func (d *Driver) usage(ctx context.Context, name string) (int64, error) {
	if err := volume.CheckName(name); err != nil {
		return 0, err
	}
	dir, err := openDir(unix.AT_FDCWD, filepath.Join(d.volumes, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, volume.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return treeSize(ctx, dir, func(st *unix.Stat_t) int64 { return st.Blocks * 512 })
}
