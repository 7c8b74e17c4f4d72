package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// Import implements [volume.Driver]. size is not looked at. An image that
// [Driver.SetImages] puts elsewhere counts as there.
func (d *Driver) Import(ctx context.Context, image string, _ int64, fill func(context.Context, string) error) error {
	if err := d.importImage(ctx, image, fill); err != nil {
		return fmt.Errorf("folder: import image %.80q: %w", image, err)
	}
	return nil
}

func (d *Driver) importImage(ctx context.Context, image string, fill func(context.Context, string) error) error {
	if err := volume.CheckName(image); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, "/"+image)
	if err != nil {
		return err
	}
	defer release()
	if there, err := isFolder(d.imageFolder(image)); err != nil || there {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	return d.place(ctx, d.images, image, 0, func(dir *os.File, fresh string) error {
		if err := makeDir(dir, fresh); err != nil {
			return err
		}
		if err := os.NewSyscallError("chmod", unix.Fchmodat(fd(dir), fresh, 0o755, 0)); err != nil {
			return err
		}
		if err := fill(ctx, filepath.Join(d.images, fresh)); err != nil {
			return err
		}
		if d.opts.Volatile {
			return nil
		}
		return os.NewSyscallError("syncfs", unix.Syncfs(fd(dir)))
	})
}

// Images implements [volume.Driver]. It leaves out those that are elsewhere.
func (d *Driver) Images(context.Context) ([]volume.Info, error) {
	list, err := listTrees(d.images, "")
	if err != nil {
		return nil, fmt.Errorf("folder: list images: %w", err)
	}
	return list, nil
}

// RemoveImage implements [volume.Driver]. Images that are elsewhere are left alone.
func (d *Driver) RemoveImage(ctx context.Context, image string) error {
	err := volume.CheckName(image)
	if err == nil {
		err = d.discardLocked(ctx, "/"+image, d.images, image)
	}
	if err != nil {
		return fmt.Errorf("folder: remove image %.80q: %w", image, err)
	}
	return nil
}

// Features implements [volume.Driver].
func (d *Driver) Features() volume.Features { return volume.Features{Copies: true} }

// Pool implements [volume.Driver]: the disk that the state folder is on, with
// all else that is there.
func (d *Driver) Pool(context.Context) (volume.Pool, error) {
	p, err := d.pool()
	if err != nil {
		return volume.Pool{}, fmt.Errorf("folder: pool: %w", err)
	}
	return p, nil
}

// enoughFree is how many bytes a disk, which may be large and mostly full of
// other things, needs to have free for the default alarm to stay quiet.
const enoughFree = 4 << 30

func (d *Driver) pool() (volume.Pool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.volumes, &st); err != nil {
		return volume.Pool{}, &fs.PathError{Op: "statfs", Path: d.volumes, Err: err}
	}
	p := volume.Pool{Size: int64(st.Blocks) * st.Bsize, Used: int64(st.Blocks-st.Bavail) * st.Bsize}
	limit, spare := d.opts.NearlyFull, int64(0)
	if limit <= 0 {
		limit, spare = volume.DefaultNearlyFull, enoughFree
	}
	p.NearlyFull = float64(p.Used) >= limit*float64(p.Size) && (spare == 0 || p.Size-p.Used < spare)
	return p, nil
}

func (d *Driver) admit() error {
	p, err := d.pool()
	if err != nil {
		return err
	}
	return p.Admit()
}

func isFolder(name string) (bool, error) {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}
