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

// Clone implements [volume.Driver].
func (d *Driver) Clone(ctx context.Context, image, name string, progress func(done, total int64)) error {
	if err := d.clone(ctx, image, name, progress); err != nil {
		return fmt.Errorf("btrfs: clone image %.80q to volume %.80q: %w", image, name, err)
	}
	return nil
}

func (d *Driver) clone(ctx context.Context, image, name string, progress func(done, total int64)) error {
	if err := volume.CheckNames(image, name); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if there, err := exists(d.volumes, name); err != nil || there {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	from := filepath.Join(d.images, image)
	q, err := account(from)
	if err != nil {
		return err
	}
	if err := d.removeSnapshots(ctx, name); err != nil { // left by a removal
		return err
	}
	if err := d.placeCopy(from, d.volumes, name, q.limit, 0, false); err != nil {
		return err
	}
	if progress != nil {
		progress(q.used, q.used)
	}
	return nil
}

func (d *Driver) removeSnapshots(ctx context.Context, name string) error {
	return d.remove(ctx, d.snapshots, func(entry string) bool { return strings.HasPrefix(entry, name+"~") })
}

// withVolume calls f while no other call changes the volume, which must exist.
func (d *Driver) withVolume(ctx context.Context, name string, f func(at string) error) error {
	if err := volume.CheckName(name); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	there, err := exists(d.volumes, name)
	if err != nil {
		return err
	}
	if !there {
		return volume.ErrNotFound
	}
	return f(filepath.Join(d.volumes, name))
}

// Grow implements [volume.Driver].
func (d *Driver) Grow(ctx context.Context, name string, size int64) error {
	err := d.withVolume(ctx, name, func(at string) error {
		q, err := account(at)
		if err != nil {
			return err
		}
		switch {
		case size <= 0:
			return fmt.Errorf("%w: %d", volume.ErrInvalidSize, size)
		case size < q.limit || size < q.used:
			return fmt.Errorf("%w: %d bytes, but the volume has %d and uses %d", volume.ErrInvalidSize, size, q.limit, q.used)
		case size == q.limit:
			return nil
		}
		if err := d.admit(); err != nil {
			return err
		}
		return limit(at, size)
	})
	if err != nil {
		return fmt.Errorf("btrfs: grow volume %.80q: %w", name, err)
	}
	return nil
}

// Wipe implements [volume.Driver].
func (d *Driver) Wipe(ctx context.Context, name string) error {
	err := d.withVolume(ctx, name, func(at string) error {
		q, err := account(at)
		if err != nil {
			return err
		}
		return d.place(d.volumes, name, unix.RENAME_EXCHANGE, func(dir *os.File, fresh string) error {
			if err := createSubvolume(dir, fresh); err != nil {
				return err
			}
			d.did("empty subvolume made")
			empty := filepath.Join(d.volumes, fresh)
			return errors.Join(os.Chmod(empty, 0o755), limit(empty, q.limit))
		})
	})
	if err != nil {
		return fmt.Errorf("btrfs: wipe volume %.80q: %w", name, err)
	}
	return nil
}

// Path implements [volume.Driver].
func (d *Driver) Path(name string) (string, error) {
	err := volume.CheckName(name)
	if err == nil {
		var there bool
		if there, err = exists(d.volumes, name); err == nil && !there {
			err = volume.ErrNotFound
		}
	}
	if err != nil {
		return "", fmt.Errorf("btrfs: volume %.80q: %w", name, err)
	}
	return filepath.Join(d.volumes, name), nil
}

// Exists implements [volume.Driver].
func (d *Driver) Exists(_ context.Context, name string) (bool, error) {
	err := volume.CheckName(name)
	if err == nil {
		var there bool
		if there, err = exists(d.volumes, name); err == nil {
			return there, nil
		}
	}
	return false, fmt.Errorf("btrfs: volume %.80q: %w", name, err)
}

// List implements [volume.Driver].
func (d *Driver) List(context.Context) ([]volume.Info, error) {
	all, err := list(d.volumes, "")
	if err != nil {
		return nil, fmt.Errorf("btrfs: list volumes: %w", err)
	}
	return all, nil
}

// Remove implements [volume.Driver]. The room comes back within seconds to
// minutes, as the kernel gets to it.
func (d *Driver) Remove(ctx context.Context, name string) error {
	err := volume.CheckName(name)
	if err == nil {
		err = d.removeVolume(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("btrfs: remove volume %.80q: %w", name, err)
	}
	return nil
}

func (d *Driver) removeVolume(ctx context.Context, name string) error {
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := d.remove(ctx, d.volumes, func(entry string) bool { return entry == name }); err != nil {
		return err
	}
	return d.removeSnapshots(ctx, name)
}

// Usage implements [volume.Driver]. It is up to date as of the file system's
// last commit, every 30 seconds.
func (d *Driver) Usage(_ context.Context, name string) (int64, error) {
	err := volume.CheckName(name)
	if err == nil {
		var q quota
		if q, err = account(filepath.Join(d.volumes, name)); err == nil {
			return q.used, nil
		}
	}
	return 0, fmt.Errorf("btrfs: usage of volume %.80q: %w", name, err)
}

// Trim implements [volume.Driver]. There is never anything to give back.
func (d *Driver) Trim(ctx context.Context, name string) (int64, error) {
	if err := d.withVolume(ctx, name, func(string) error { return nil }); err != nil {
		return 0, fmt.Errorf("btrfs: trim volume %.80q: %w", name, err)
	}
	return 0, nil
}

// Snapshot implements [volume.Driver].
func (d *Driver) Snapshot(ctx context.Context, name, snapshot string) error {
	err := volume.CheckName(snapshot)
	if err == nil {
		err = d.withVolume(ctx, name, func(at string) error {
			tree := name + "~" + snapshot
			if there, err := exists(d.snapshots, tree); err != nil || there {
				return err
			}
			if err := d.admit(); err != nil {
				return err
			}
			return d.placeCopy(at, d.snapshots, tree, 0, 0, true)
		})
	}
	if err != nil {
		return fmt.Errorf("btrfs: snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}

// Snapshots implements [volume.Driver].
func (d *Driver) Snapshots(_ context.Context, name string) ([]volume.Info, error) {
	err := volume.CheckName(name)
	if err == nil {
		var there bool
		if there, err = exists(d.volumes, name); err == nil && !there {
			return nil, nil // those that a removal has yet to delete do not count
		}
	}
	if err == nil {
		var all []volume.Info
		if all, err = list(d.snapshots, name+"~"); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("btrfs: list snapshots of volume %.80q: %w", name, err)
}

// Rollback implements [volume.Driver].
func (d *Driver) Rollback(ctx context.Context, name, snapshot string) error {
	err := volume.CheckName(snapshot)
	if err == nil {
		err = d.withVolume(ctx, name, func(at string) error {
			q, err := account(at)
			if err != nil {
				return err
			}
			return d.placeCopy(filepath.Join(d.snapshots, name+"~"+snapshot), d.volumes, name, q.limit, unix.RENAME_EXCHANGE, false)
		})
	}
	if err != nil {
		return fmt.Errorf("btrfs: roll volume %.80q back to %.80q: %w", name, snapshot, err)
	}
	return nil
}

// RemoveSnapshot implements [volume.Driver].
func (d *Driver) RemoveSnapshot(ctx context.Context, name, snapshot string) error {
	err := volume.CheckNames(name, snapshot)
	if err == nil {
		err = d.removeLocked(ctx, name, d.snapshots, name+"~"+snapshot)
	}
	if err != nil {
		return fmt.Errorf("btrfs: remove snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}
