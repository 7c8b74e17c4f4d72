package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// Snapshot implements [volume.Driver]. It copies: a volume that its Pi is
// writing to is not kept as of one moment.
func (d *Driver) Snapshot(ctx context.Context, name, snapshot string) error {
	err := d.withVolume(ctx, name, snapshot, func() error {
		tree := name + "~" + snapshot
		if there, err := isFolder(filepath.Join(d.snapshots, tree)); err != nil || there {
			return err
		}
		if err := d.admit(); err != nil {
			return err
		}
		return d.copyTree(ctx, filepath.Join(d.volumes, name), d.snapshots, tree, 0, nil)
	})
	if err != nil {
		return fmt.Errorf("folder: snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}

// Rollback implements [volume.Driver].
func (d *Driver) Rollback(ctx context.Context, name, snapshot string) error {
	err := d.withVolume(ctx, name, snapshot, func() error {
		return d.copyTree(ctx, filepath.Join(d.snapshots, name+"~"+snapshot), d.volumes, name, unix.RENAME_EXCHANGE, nil)
	})
	if err != nil {
		return fmt.Errorf("folder: roll volume %.80q back to %.80q: %w", name, snapshot, err)
	}
	return nil
}

// withVolume calls f while no other call changes the volume, which must exist.
func (d *Driver) withVolume(ctx context.Context, name, snapshot string, f func() error) error {
	if err := volume.CheckNames(name, snapshot); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	there, err := d.exists(name)
	if err != nil {
		return err
	}
	if !there {
		return volume.ErrNotFound
	}
	return f()
}

// Snapshots implements [volume.Driver].
func (d *Driver) Snapshots(_ context.Context, name string) ([]volume.Info, error) {
	there, err := d.exists(name)
	if err == nil && !there {
		return nil, nil // those that a removal has yet to delete do not count
	}
	if err == nil {
		var list []volume.Info
		if list, err = listTrees(d.snapshots, name+"~"); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("folder: list snapshots of volume %.80q: %w", name, err)
}

// RemoveSnapshot implements [volume.Driver].
func (d *Driver) RemoveSnapshot(ctx context.Context, name, snapshot string) error {
	err := volume.CheckNames(name, snapshot)
	if err == nil {
		err = d.discardLocked(ctx, name, d.snapshots, name+"~"+snapshot)
	}
	if err != nil {
		return fmt.Errorf("folder: remove snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}

// discardSnapshots deletes all snapshots of a volume.
func (d *Driver) discardSnapshots(ctx context.Context, name string) error {
	return d.discard(ctx, d.snapshots, func(entry string) bool { return strings.HasPrefix(entry, name+"~") })
}

// recoverOrphans deletes the snapshots of volumes that are gone.
func (d *Driver) recoverOrphans(ctx context.Context) error {
	entries, err := os.ReadDir(d.snapshots)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, _, ok := strings.Cut(e.Name(), "~")
		if !ok || volume.CheckName(name) != nil {
			continue
		}
		if err := d.recoverOrphan(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) recoverOrphan(ctx context.Context, name string) error {
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if there, err := d.exists(name); err != nil || there {
		return err
	}
	return d.discardSnapshots(ctx, name)
}

func (d *Driver) discardLocked(ctx context.Context, lock, parent, tree string) error {
	release, err := d.locks.Acquire(ctx, lock)
	if err != nil {
		return err
	}
	defer release()
	return d.discard(ctx, parent, func(entry string) bool { return entry == tree })
}

// Wipe implements [volume.Driver].
func (d *Driver) Wipe(ctx context.Context, name string) error {
	err := d.withVolume(ctx, name, name, func() error {
		return d.place(ctx, d.volumes, name, unix.RENAME_EXCHANGE, func(dir *os.File, fresh string) error {
			if err := makeDir(dir, fresh); err != nil {
				return err
			}
			return os.NewSyscallError("chmod", unix.Fchmodat(fd(dir), fresh, 0o755, 0))
		})
	})
	if err != nil {
		return fmt.Errorf("folder: wipe volume %.80q: %w", name, err)
	}
	return nil
}

// Grow implements [volume.Driver]: it always gives [volume.ErrNotSupported],
// or why it cannot even say that.
func (d *Driver) Grow(ctx context.Context, name string, size int64) error {
	err := d.withVolume(ctx, name, name, func() error {
		if size <= 0 {
			return fmt.Errorf("%w: %d", volume.ErrInvalidSize, size)
		}
		return fmt.Errorf("%w: plain folders have no size (keep volumes on LVM or btrfs)", volume.ErrNotSupported)
	})
	return fmt.Errorf("folder: grow volume %.80q: %w", name, err)
}

// Trim implements [volume.Driver]. There is never anything to give back.
func (d *Driver) Trim(ctx context.Context, name string) (int64, error) {
	if err := d.withVolume(ctx, name, name, func() error { return nil }); err != nil {
		return 0, fmt.Errorf("folder: trim volume %.80q: %w", name, err)
	}
	return 0, nil
}
