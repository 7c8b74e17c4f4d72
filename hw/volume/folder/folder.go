// Package folder keeps volumes as plain folders, for the demo and for a lab.
// Files are cloned by reference where the file system can (FICLONE: btrfs,
// XFS), else copied.
//
// Below the state folder, images/NAME is an image and volumes/NAME a volume. A
// volume that is being made or deleted has another name (a tilde is in no
// volume's name), and takes or leaves its own by one rename.
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
)

const (
	clonePrefix = ".clone~" // and the volume's name: a copy under way
	trashPrefix = ".trash~" // and the name, a tilde and a number: what is being deleted
)

// Options are a driver's settings. The zero value is right for data that matters.
type Options struct {
	// Volatile leaves out flushing to the disk. A clone then survives the
	// death of the process, not that of the machine. It is for a folder that
	// is temporary anyway.
	Volatile bool
}

// Driver keeps volumes as folders. It implements [volume.Driver].
type Driver struct {
	images, volumes string
	opts            Options

	mu   sync.Mutex
	busy map[string]chan struct{} // volumes that a call is changing; closed when it is done
	// elsewhere are the folders of images that are not below the state folder.
	elsewhere map[string]string
}

var _ volume.Driver = (*Driver)(nil)

// Open returns the driver of a state folder, which is made if it is not there.
// Only one process may use it at a time.
func Open(state string, opts Options) (*Driver, error) {
	abs, err := filepath.Abs(state)
	if err != nil {
		return nil, fmt.Errorf("folder: open: %w", err)
	}
	d := &Driver{
		images: filepath.Join(abs, "images"), volumes: filepath.Join(abs, "volumes"),
		opts: opts, busy: map[string]chan struct{}{},
	}
	for _, dir := range []string{d.images, d.volumes} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
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

// acquire waits until no other call changes the volume.
func (d *Driver) acquire(ctx context.Context, name string) (release func(), err error) {
	for {
		d.mu.Lock()
		other := d.busy[name]
		if other == nil {
			done := make(chan struct{})
			d.busy[name] = done
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.busy, name)
				d.mu.Unlock()
				close(done)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-other:
		}
	}
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
	release, err := d.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if there, err := d.exists(name); err != nil || there {
		return err
	}
	src, err := openDir(unix.AT_FDCWD, d.imageFolder(image))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("image: %w", volume.ErrNotFound)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	parent, err := openDir(unix.AT_FDCWD, d.volumes)
	if err != nil {
		return err
	}
	defer parent.Close()

	fresh := clonePrefix + name
	if err := removeTree(ctx, parent, fresh); err != nil { // left by a crash
		return err
	}
	if err := d.copyInto(ctx, src, parent, fresh, progress); err != nil {
		// The job may be cancelled, but its half copy is not to stay.
		return errors.Join(err, removeTree(context.WithoutCancel(ctx), parent, fresh))
	}
	if err := unix.Renameat2(fd(parent), fresh, fd(parent), name, unix.RENAME_NOREPLACE); err != nil {
		return errors.Join(os.NewSyscallError("rename", err), removeTree(context.WithoutCancel(ctx), parent, fresh))
	}
	return d.sync(parent)
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
	info, err := os.Lstat(filepath.Join(d.volumes, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}

// List implements [volume.Driver].
func (d *Driver) List(context.Context) ([]volume.Info, error) {
	entries, err := os.ReadDir(d.volumes) // sorted
	if err != nil {
		return nil, fmt.Errorf("folder: list volumes: %w", err)
	}
	list := make([]volume.Info, 0, len(entries))
	for _, e := range entries {
		if volume.CheckName(e.Name()) != nil || !e.IsDir() {
			continue
		}
		created, err := birth(filepath.Join(d.volumes, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("folder: list volumes: %w", err)
		}
		list = append(list, volume.Info{Name: e.Name(), Created: created})
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
	release, err := d.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	parent, err := openDir(unix.AT_FDCWD, d.volumes)
	if err != nil {
		return err
	}
	defer parent.Close()
	there, err := d.exists(name)
	if err != nil {
		return err
	}
	if there {
		trash := fmt.Sprintf("%s%s~%d", trashPrefix, name, time.Now().UnixNano())
		if err := unix.Renameat2(fd(parent), name, fd(parent), trash, unix.RENAME_NOREPLACE); err != nil {
			return os.NewSyscallError("rename", err)
		}
		if err := d.sync(parent); err != nil {
			return err
		}
	}
	return d.sweep(ctx, parent, func(left string) bool {
		return left == clonePrefix+name || strings.HasPrefix(left, trashPrefix+name+"~")
	})
}

// Recover deletes what calls that a crash cut short have left. It may run
// beside other calls.
func (d *Driver) Recover(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("folder: recover: %w", err)
	}
	return nil
}

func (d *Driver) recover(ctx context.Context) error {
	entries, err := os.ReadDir(d.volumes)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if name, ok := leftOf(e.Name()); ok {
			names = append(names, name)
		}
	}
	var errs []error
	for _, name := range slices.Compact(names) {
		errs = append(errs, d.recoverVolume(ctx, name))
	}
	return errors.Join(errs...)
}

func (d *Driver) recoverVolume(ctx context.Context, name string) error {
	release, err := d.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	parent, err := openDir(unix.AT_FDCWD, d.volumes)
	if err != nil {
		return err
	}
	defer parent.Close()
	return d.sweep(ctx, parent, func(left string) bool {
		of, ok := leftOf(left)
		return ok && of == name
	})
}

// leftOf returns the volume of which a folder was left by a crash.
func leftOf(entry string) (string, bool) {
	if name, ok := strings.CutPrefix(entry, clonePrefix); ok {
		return name, true
	}
	if rest, ok := strings.CutPrefix(entry, trashPrefix); ok {
		name, _, _ := strings.Cut(rest, "~")
		return name, true
	}
	return "", false
}

func (d *Driver) sweep(ctx context.Context, parent *os.File, match func(string) bool) error {
	entries, err := os.ReadDir(d.volumes)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if match(e.Name()) {
			errs = append(errs, removeTree(ctx, parent, e.Name()))
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
