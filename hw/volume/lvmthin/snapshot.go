package lvmthin

import (
	"context"
	"fmt"

	"picloud/hw/volume"
)

// Snapshot implements [volume.Driver]. The file system is still for the
// moment, and then goes on.
func (d *Driver) Snapshot(ctx context.Context, name, snapshot string) error {
	err := volume.CheckName(snapshot)
	if err == nil {
		err = d.withVolume(ctx, name, func(s stock, current *lv) error {
			if pick(s.all, kindSnapshot, name, snapshot) != nil {
				return nil
			}
			if err := s.pool.Admit(); err != nil {
				return err
			}
			half := filter(s.all, func(v *lv) bool { return v.kind == kindSnapshot && v.of == name && v.name == snapshot })
			if err := d.destroy(ctx, half); err != nil { // left by a crash
				return err
			}
			v := fresh(kindSnapshot, name, snapshot, 1)
			if err := d.createCopy(ctx, &v, current.id); err != nil {
				return err
			}
			d.did("copied")
			return d.commit(ctx, v.id) // not before the pool has it, as in clone
		})
	}
	if err != nil {
		return fmt.Errorf("lvmthin: snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}

// Snapshots implements [volume.Driver].
func (d *Driver) Snapshots(ctx context.Context, name string) ([]volume.Info, error) {
	if err := volume.CheckName(name); err != nil {
		return nil, fmt.Errorf("lvmthin: list snapshots: %w", err)
	}
	return d.list(ctx, "snapshots", kindSnapshot, name)
}

// Rollback implements [volume.Driver].
func (d *Driver) Rollback(ctx context.Context, name, snapshot string) error {
	err := volume.CheckName(snapshot)
	if err == nil {
		err = d.withVolume(ctx, name, func(s stock, current *lv) error {
			from := pick(s.all, kindSnapshot, name, snapshot)
			if from == nil {
				return volume.ErrNotFound
			}
			return d.replace(ctx, s.all, current, func(next *lv) error {
				next.size = from.size
				if err := d.createCopy(ctx, next, from.id); err != nil {
					return err
				}
				d.did("copied")
				if from.size >= current.size {
					return nil
				}
				return d.extend(ctx, next, current.size) // it has grown since
			})
		})
	}
	if err != nil {
		return fmt.Errorf("lvmthin: roll volume %.80q back to %.80q: %w", name, snapshot, err)
	}
	return nil
}

// RemoveSnapshot implements [volume.Driver].
func (d *Driver) RemoveSnapshot(ctx context.Context, name, snapshot string) error {
	err := volume.CheckNames(name, snapshot)
	if err == nil {
		err = d.removeSnapshot(ctx, name, snapshot)
	}
	if err != nil {
		return fmt.Errorf("lvmthin: remove snapshot %.80q of volume %.80q: %w", snapshot, name, err)
	}
	return nil
}

func (d *Driver) removeSnapshot(ctx context.Context, name, snapshot string) error {
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	return d.destroy(ctx, filter(s.all, func(v *lv) bool { return v.kind == kindSnapshot && v.of == name && v.name == snapshot }))
}
