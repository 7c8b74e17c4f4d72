package lvmthin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// deviceNumber is the number of a block device.
func deviceNumber(device string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: device, Err: err}
	}
	return st.Rdev, nil
}

// Import implements [volume.Driver]. A size that is not positive means
// [DefaultSize]; the least is 16 MiB.
func (d *Driver) Import(ctx context.Context, image string, size int64, fill func(context.Context, string) error) error {
	if err := d.importImage(ctx, image, size, fill); err != nil {
		return fmt.Errorf("lvmthin: import image %.80q: %w", image, err)
	}
	return nil
}

const minSize = 16 << 20

func (d *Driver) importImage(ctx context.Context, image string, size int64, fill func(context.Context, string) error) error {
	if err := volume.CheckName(image); err != nil {
		return err
	}
	if size <= 0 {
		size = DefaultSize
	}
	if size < minSize {
		return fmt.Errorf("%w: %d bytes, want at least %d", volume.ErrInvalidSize, size, minSize)
	}
	release, err := d.locks.Acquire(ctx, "/"+image)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil || pick(s.all, kindImage, "", image) != nil {
		return err
	}
	if err := s.pool.Admit(); err != nil {
		return err
	}
	at := filepath.Join(d.imports, image)
	left := filter(s.all, func(v *lv) bool { return v.kind == kindImage && v.name == image })
	if err := errors.Join(d.unmountFS(at), d.destroy(ctx, left)); err != nil {
		return err
	}
	v := fresh(kindImage, "", image, 1)
	if err := d.fillImage(ctx, &v, size, at, fill); err != nil {
		// The job may be cancelled, but its half image is not to stay.
		cleanup := context.WithoutCancel(ctx)
		return errors.Join(err, d.unmountFS(at), d.destroy(cleanup, []lv{v}))
	}
	return nil
}

func (d *Driver) fillImage(ctx context.Context, v *lv, size int64, at string, fill func(context.Context, string) error) error {
	if err := d.createEmpty(ctx, v, size); err != nil {
		return err
	}
	d.did("created")
	if err := makeFS(ctx, d.device(v.id), size); err != nil {
		return err
	}
	d.did("file system made")
	if err := d.mountFS(d.device(v.id), at); err != nil {
		return err
	}
	d.did("mounted")
	if err := fill(ctx, at); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := errors.Join(syncFS(at), d.unmountFS(at)); err != nil {
		return err
	}
	d.did("filled")
	if _, err := command(ctx, "lvchange", "--yes", "--activate", "n", d.lvName(v.id)); err != nil {
		return err
	}
	d.did("deactivated")
	return d.commit(ctx, v.id)
}

// ReadImage calls f with a folder that has an image's files, to be read and only
// until f returns. Errors: [volume.ErrNotFound], f's.
func (d *Driver) ReadImage(ctx context.Context, image string, f func(dir string) error) error {
	err := volume.CheckName(image)
	if err == nil {
		err = d.readImage(ctx, image, f)
	}
	if err != nil {
		return fmt.Errorf("lvmthin: read image %.80q: %w", image, err)
	}
	return nil
}

func (d *Driver) readImage(ctx context.Context, image string, f func(dir string) error) error {
	release, err := d.locks.Acquire(ctx, "/"+image)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	v := pick(s.all, kindImage, "", image)
	if v == nil {
		return volume.ErrNotFound
	}
	at := filepath.Join(d.imports, image)
	if err := errors.Join(d.unmountFS(at), d.activate(ctx, v.id)); err != nil {
		return err
	}
	if err = d.mountFlags(d.device(v.id), at, unix.MS_RDONLY); err == nil {
		err = f(at)
	}
	err = errors.Join(err, d.unmountFS(at))
	_, off := command(context.WithoutCancel(ctx), "lvchange", "--yes", "--activate", "n", d.lvName(v.id))
	return errors.Join(err, off)
}

// Images implements [volume.Driver].
func (d *Driver) Images(ctx context.Context) ([]volume.Info, error) {
	return d.list(ctx, "images", kindImage, "")
}

// list returns the ready ones of a kind, sorted by name. of is a snapshot's
// volume, else empty.
func (d *Driver) list(ctx context.Context, what string, k kind, of string) ([]volume.Info, error) {
	s, err := d.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("lvmthin: list %s: %w", what, err)
	}
	all := s.all
	if k == kindSnapshot && pick(all, kindVolume, "", of) == nil {
		return nil, nil // those that a removal has yet to delete do not count
	}
	var list []volume.Info
	for i := range all {
		v := &all[i]
		if v.kind == k && v.of == of && pick(all, k, of, v.name) == v {
			list = append(list, volume.Info{Name: v.name, Created: v.created, Size: v.size})
		}
	}
	slices.SortFunc(list, func(a, b volume.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// RemoveImage implements [volume.Driver].
func (d *Driver) RemoveImage(ctx context.Context, image string) error {
	err := volume.CheckName(image)
	if err == nil {
		err = d.removeImage(ctx, image)
	}
	if err != nil {
		return fmt.Errorf("lvmthin: remove image %.80q: %w", image, err)
	}
	return nil
}

func (d *Driver) removeImage(ctx context.Context, image string) error {
	release, err := d.locks.Acquire(ctx, "/"+image)
	if err != nil {
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	if err := d.unmountFS(filepath.Join(d.imports, image)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.destroy(ctx, filter(s.all, func(v *lv) bool { return v.kind == kindImage && v.name == image }))
}
