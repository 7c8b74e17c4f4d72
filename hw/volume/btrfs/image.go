package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// Import implements [volume.Driver]. The image and its clones have no limit if
// size is not positive.
func (d *Driver) Import(ctx context.Context, image string, size int64, fill func(context.Context, string) error) error {
	if err := d.importImage(ctx, image, size, fill); err != nil {
		return fmt.Errorf("btrfs: import image %.80q: %w", image, err)
	}
	return nil
}

func (d *Driver) importImage(ctx context.Context, image string, size int64, fill func(context.Context, string) error) error {
	if err := volume.CheckName(image); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, "/"+image)
	if err != nil {
		return err
	}
	defer release()
	if there, err := exists(d.images, image); err != nil || there {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	return d.place(d.images, image, 0, func(dir *os.File, fresh string) error {
		name := filepath.Join(d.images, fresh)
		if err := createSubvolume(dir, fresh); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(name, 0o755), limit(name, size)); err != nil {
			return err
		}
		d.did("empty subvolume made")
		if err := fill(ctx, name); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		sub, err := openFolder(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return setReadOnly(sub)
	})
}

// Images implements [volume.Driver].
func (d *Driver) Images(context.Context) ([]volume.Info, error) {
	all, err := list(d.images, "")
	if err != nil {
		return nil, fmt.Errorf("btrfs: list images: %w", err)
	}
	return all, nil
}

// RemoveImage implements [volume.Driver].
func (d *Driver) RemoveImage(ctx context.Context, image string) error {
	err := volume.CheckName(image)
	if err == nil {
		err = d.removeLocked(ctx, "/"+image, d.images, image)
	}
	if err != nil {
		return fmt.Errorf("btrfs: remove image %.80q: %w", image, err)
	}
	return nil
}

func (d *Driver) removeLocked(ctx context.Context, lock, parent, name string) error {
	release, err := d.locks.Acquire(ctx, lock)
	if err != nil {
		return err
	}
	defer release()
	return d.remove(ctx, parent, func(entry string) bool { return entry == name })
}

// Recover implements [volume.Driver]. It also forgets the quota groups of
// subvolumes that are no more.
func (d *Driver) Recover(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("btrfs: recover: %w", err)
	}
	return nil
}

func (d *Driver) recover(ctx context.Context) error {
	for _, parent := range []string{d.images, d.volumes, d.snapshots} {
		entries, err := os.ReadDir(parent)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := d.recoverEntry(ctx, parent, e.Name()); err != nil {
				return fmt.Errorf("%s: %w", e.Name(), err)
			}
		}
	}
	return d.forgetQgroups()
}

// recoverEntry deletes an entry if it is half-made, or a snapshot of a volume
// that is gone.
func (d *Driver) recoverEntry(ctx context.Context, parent, entry string) error {
	name, fresh := strings.CutPrefix(entry, freshPrefix)
	if !fresh && parent != d.snapshots {
		return nil
	}
	lock, _, _ := strings.Cut(name, "~") // a snapshot is guarded by its volume
	of := lock
	if parent == d.images {
		lock = "/" + lock
	}
	release, ok, err := d.locks.Try(ctx, lock)
	if err != nil || !ok { // another process is at the image
		return err
	}
	defer release()
	if !fresh {
		if there, err := exists(d.volumes, of); err != nil || there {
			return err
		}
	}
	dir, err := openFolder(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	return destroySubvolume(dir, entry)
}

// forgetQgroups deletes the accounts of subvolumes that are no more. Those that
// the kernel is not done with stay until the next time.
func (d *Driver) forgetQgroups() error {
	dir, err := openFolder(d.volumes)
	if err != nil {
		return err
	}
	defer dir.Close()
	dead, err := deadQgroups(dir)
	if err != nil {
		return err
	}
	for _, id := range dead {
		err := destroyQgroup(dir, id)
		if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}
