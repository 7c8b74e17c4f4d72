package lvmthin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"picloud/hw/volume"
)

// Clone implements [volume.Driver].
func (d *Driver) Clone(ctx context.Context, image, name string, progress func(done, total int64)) error {
	if err := d.clone(ctx, image, name, progress); err != nil {
		return fmt.Errorf("lvmthin: clone image %.80q to volume %.80q: %w", image, name, err)
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
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	if v := pick(s.all, kindVolume, "", name); v != nil {
		return d.ensureMounted(ctx, v)
	}
	if err := s.pool.Admit(); err != nil {
		return err
	}
	from := pick(s.all, kindImage, "", image)
	if from == nil {
		return volume.ErrNotFound
	}
	if err := d.destroyVolume(ctx, s.all, name); err != nil { // left by a removal
		return err
	}
	v := fresh(kindVolume, "", name, 1)
	v.size = from.size
	if err := d.createCopy(ctx, &v, from.id); err != nil {
		return err
	}
	d.did("copied")
	// LVM writes down that it is there, with its tags, before the pool has it: if
	// the power goes in between, it never will.
	if err := d.commit(ctx, v.id); err != nil {
		return err
	}
	d.did("committed")
	if err := d.ensureMounted(ctx, &v); err != nil {
		return err
	}
	if progress != nil {
		n := int64(from.used * float64(from.size))
		progress(n, n)
	}
	return nil
}

// withVolume calls f while no other call changes the volume, which must exist.
func (d *Driver) withVolume(ctx context.Context, name string, f func(s stock, current *lv) error) error {
	if err := volume.CheckName(name); err != nil {
		return err
	}
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	current := pick(s.all, kindVolume, "", name)
	if current == nil {
		return volume.ErrNotFound
	}
	return f(s, current)
}

// Grow implements [volume.Driver]. The size is rounded up to LVM's extents.
func (d *Driver) Grow(ctx context.Context, name string, size int64) error {
	err := d.withVolume(ctx, name, func(s stock, v *lv) error {
		const most = 1 << 60
		rounded := (size + s.extent - 1) / s.extent * s.extent
		switch {
		case size <= 0 || size > most:
			return fmt.Errorf("%w: %d", volume.ErrInvalidSize, size)
		case rounded < v.size:
			return fmt.Errorf("%w: %d bytes, but the volume has %d", volume.ErrInvalidSize, size, v.size)
		case rounded > v.size:
			if err := s.pool.Admit(); err != nil {
				return err
			}
			if err := d.extend(ctx, v, rounded); err != nil {
				return err
			}
			d.did("extended")
		}
		if err := d.ensureMounted(ctx, v); err != nil {
			return err
		}
		return growFS(ctx, d.device(v.id))
	})
	if err != nil {
		return fmt.Errorf("lvmthin: grow volume %.80q: %w", name, err)
	}
	return nil
}

func (d *Driver) extend(ctx context.Context, v *lv, size int64) error {
	_, err := command(ctx, "lvextend", "--size", strconv.FormatInt(size, 10)+"b", d.lvName(v.id))
	if err == nil {
		v.size = size
	}
	return err
}

// Wipe implements [volume.Driver].
func (d *Driver) Wipe(ctx context.Context, name string) error {
	err := d.withVolume(ctx, name, func(s stock, current *lv) error {
		return d.replace(ctx, s.all, current, func(next *lv) error {
			next.size = current.size
			if err := d.createEmpty(ctx, next, current.size); err != nil {
				return err
			}
			d.did("created")
			return makeFS(ctx, d.device(next.id), current.size)
		})
	})
	if err != nil {
		return fmt.Errorf("lvmthin: wipe volume %.80q: %w", name, err)
	}
	return nil
}

// replace puts another logical volume, which make creates, in the place of a
// volume's current one.
func (d *Driver) replace(ctx context.Context, all []lv, current *lv, make func(next *lv) error) error {
	if err := d.destroy(ctx, replaced(all, current)); err != nil { // left by a crash
		return err
	}
	next := fresh(kindVolume, "", current.name, current.turn+1)
	undo := func(err error) error {
		cleanup := context.WithoutCancel(ctx)
		return errors.Join(err, d.destroy(cleanup, []lv{next}), d.ensureMounted(cleanup, current))
	}
	if err := make(&next); err != nil {
		return undo(err)
	}
	d.did("next made")
	if err := d.release(current); err != nil {
		return undo(err)
	}
	d.did("unmounted")
	if err := d.commit(ctx, next.id); err != nil {
		return undo(err)
	}
	d.did("committed")
	if err := d.ensureMounted(ctx, &next); err != nil {
		return err
	}
	return d.destroy(ctx, []lv{*current})
}

// release unmounts a volume, or finds that someone has it open.
func (d *Driver) release(v *lv) error {
	if err := d.unmountFS(d.mountPoint(v.name)); err != nil {
		return err
	}
	if !v.active {
		return nil
	}
	return idle(d.device(v.id))
}

// Path implements [volume.Driver].
func (d *Driver) Path(name string) (string, error) {
	err := volume.CheckName(name)
	if err == nil {
		var mounted bool
		if mounted, err = isMounted(d.mountPoint(name)); err == nil && !mounted {
			err = volume.ErrNotFound
		}
	}
	if err != nil {
		return "", fmt.Errorf("lvmthin: volume %.80q: %w", name, err)
	}
	return d.mountPoint(name), nil
}

// Exists implements [volume.Driver].
func (d *Driver) Exists(ctx context.Context, name string) (bool, error) {
	err := volume.CheckName(name)
	if err == nil {
		var s stock
		if s, err = d.look(ctx); err == nil {
			return pick(s.all, kindVolume, "", name) != nil, nil
		}
	}
	return false, fmt.Errorf("lvmthin: volume %.80q: %w", name, err)
}

// List implements [volume.Driver].
func (d *Driver) List(ctx context.Context) ([]volume.Info, error) {
	return d.list(ctx, "volumes", kindVolume, "")
}

// Remove implements [volume.Driver].
func (d *Driver) Remove(ctx context.Context, name string) error {
	err := volume.CheckName(name)
	if err == nil {
		err = d.remove(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("lvmthin: remove volume %.80q: %w", name, err)
	}
	return nil
}

func (d *Driver) remove(ctx context.Context, name string) error {
	release, err := d.locks.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	all := s.all
	current := pick(all, kindVolume, "", name)
	if current != nil {
		if err := d.release(current); err != nil {
			return errors.Join(err, d.ensureMounted(context.WithoutCancel(ctx), current))
		}
		d.did("unmounted")
		// The others first, so that none of them comes to count.
		if err := d.destroy(ctx, replaced(all, current)); err != nil {
			return err
		}
		if err := d.destroy(ctx, []lv{*current}); err != nil {
			return err
		}
		d.did("deleted")
		all = filter(all, func(v *lv) bool { return v.kind == kindSnapshot && v.ready })
	}
	return d.destroyVolume(ctx, all, name)
}

// destroyVolume deletes all that there is of a volume which does not count.
func (d *Driver) destroyVolume(ctx context.Context, all []lv, name string) error {
	if err := d.unmountFS(d.mountPoint(name)); err != nil {
		return err
	}
	return d.destroy(ctx, filter(all, func(v *lv) bool {
		return v.kind == kindVolume && v.name == name || v.kind == kindSnapshot && v.of == name
	}))
}

// Usage implements [volume.Driver]: the blocks that the volume has in the
// pool, those that it shares with its image included.
func (d *Driver) Usage(ctx context.Context, name string) (int64, error) {
	err := volume.CheckName(name)
	if err == nil {
		var s stock
		if s, err = d.look(ctx); err == nil {
			if v := pick(s.all, kindVolume, "", name); v != nil {
				return int64(v.used * float64(v.size)), nil
			}
			err = volume.ErrNotFound
		}
	}
	return 0, fmt.Errorf("lvmthin: usage of volume %.80q: %w", name, err)
}

// Usages returns for each volume what Usage does, with one call of LVM, which
// takes a tenth of a second, for all.
func (d *Driver) Usages(ctx context.Context) (map[string]int64, error) {
	s, err := d.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("lvmthin: usage of all volumes: %w", err)
	}
	used := map[string]int64{}
	for i := range s.all {
		if v := &s.all[i]; v.kind == kindVolume && pick(s.all, kindVolume, "", v.name) == v {
			used[v.name] = int64(v.used * float64(v.size))
		}
	}
	return used, nil
}

// Trim implements [volume.Driver].
func (d *Driver) Trim(ctx context.Context, name string) (int64, error) {
	freed := int64(0)
	err := d.withVolume(ctx, name, func(_ stock, v *lv) error {
		if err := d.ensureMounted(ctx, v); err != nil {
			return err
		}
		if err := trimFS(d.mountPoint(name)); err != nil {
			return err
		}
		s, err := d.look(ctx)
		if err != nil {
			return err
		}
		if after := pick(s.all, kindVolume, "", name); after != nil {
			freed = max(0, int64((v.used-after.used)*float64(v.size)))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("lvmthin: trim volume %.80q: %w", name, err)
	}
	return freed, nil
}
