// Package lvmthin keeps each volume as an ext4 file system of its own in an
// LVM thin pool. It is the driver for customers: a volume's size is the size of
// its disk, no file handle of one names a file of another, and clones and
// snapshots share blocks until they are written to.
//
// Volumes are mounted at volumes/NAME below the state folder, and images and
// snapshots not at all. A logical volume's tags say what it is; whatever takes
// several steps ends with the one tag that makes it count, so that at any
// moment the former state or the new one is there.
//
// It calls LVM's and ext4's own tools (lvm2, thin-provisioning-tools,
// e2fsprogs) and needs root. The pool is made by the operator, and used for
// nothing else:
//
//	lvcreate --type thin-pool --name picloud --extents 95%FREE VG
package lvmthin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"picloud/hw/volume"
	"picloud/hw/volume/internal/namelock"
)

// DefaultSize is what images are imported with if nothing else is said, in bytes.
const DefaultSize = 8 << 30

// Options are a driver's settings.
type Options struct {
	Group, Pool string // the volume group, and the thin pool in it
	// NearlyFull is the share of the pool's data or metadata at which new work
	// is refused, 0 to 1; 0 means [volume.DefaultNearlyFull].
	NearlyFull float64
	Mounts     Mounter // nil mounts in this process's own mount namespace
}

// Mounter mounts file systems, as mount(2) and umount2(2) do; an error wraps
// the system call's. What it mounts this process must see.
type Mounter interface {
	Mount(source, target, fstype string, flags uintptr) error
	Unmount(target string, flags int) error
}

// Driver keeps volumes in a thin pool. It implements [volume.Driver].
type Driver struct {
	volumes, imports string // the folders to mount at
	opts             Options
	locks            namelock.Locks // volumes by name, images by a slash and the name
	step             func(string)   // told of each step's end; nil but in tests
}

var _ volume.Driver = (*Driver)(nil)

// Open returns the driver of a thin pool, with its mounts below the state
// folder, which is made if it is not there. Only one process may use the pool
// at a time, but for images. If there is no such pool, the error wraps [volume.ErrNotFound].
func Open(ctx context.Context, state string, opts Options) (*Driver, error) {
	d, err := open(ctx, state, opts)
	if err != nil {
		return nil, fmt.Errorf("lvmthin: open pool %.80s/%.80s: %w", opts.Group, opts.Pool, err)
	}
	return d, nil
}

func open(ctx context.Context, state string, opts Options) (*Driver, error) {
	if err := volume.CheckNames(opts.Group, opts.Pool); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(state)
	if err != nil {
		return nil, err
	}
	if opts.NearlyFull <= 0 {
		opts.NearlyFull = volume.DefaultNearlyFull
	}
	d := &Driver{volumes: filepath.Join(abs, "volumes"), imports: filepath.Join(abs, "imports"), opts: opts, locks: namelock.Locks{Shared: filepath.Join(abs, "locks")}}
	// In the roots are set-user-ID programs and files for all of their users,
	// who are not those of this host.
	for _, dir := range []string{abs, d.volumes, d.imports} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	_, err = d.look(ctx)
	return d, err
}

func (d *Driver) did(step string) {
	if d.step != nil {
		d.step(step)
	}
}

func (d *Driver) lvName(id string) string { return d.opts.Group + "/" + id }
func (d *Driver) device(id string) string { return "/dev/" + d.opts.Group + "/" + id }
func (d *Driver) mountPoint(name string) string {
	return filepath.Join(d.volumes, name)
}

// Features implements [volume.Driver].
func (d *Driver) Features() volume.Features {
	return volume.Features{Quota: true, OwnFileSystem: true}
}

// Pool implements [volume.Driver].
func (d *Driver) Pool(ctx context.Context) (volume.Pool, error) {
	s, err := d.look(ctx)
	if err != nil {
		return volume.Pool{}, fmt.Errorf("lvmthin: pool: %w", err)
	}
	return s.pool, nil
}

// look returns what the pool holds.
func (d *Driver) look(ctx context.Context) (stock, error) {
	r, err := lvs(ctx, d.opts.Group, d.opts.Pool)
	if err != nil {
		return stock{}, err
	}
	s, err := r.stock(d.opts.Pool, d.opts.NearlyFull)
	if errors.Is(err, errNoPool) {
		return s, fmt.Errorf("%w (make it: lvcreate --type thin-pool --name %s --extents 95%%FREE %s)", err, d.opts.Pool, d.opts.Group)
	}
	return s, err
}

// pick returns the one that counts, of those with this kind and name; nil if
// there is none. of is a snapshot's volume, else empty.
func pick(all []lv, k kind, of, name string) *lv {
	var best *lv
	for i := range all {
		v := &all[i]
		if v.ready && v.kind == k && v.of == of && v.name == name && (best == nil || v.turn > best.turn) {
			best = v
		}
	}
	return best
}

// fresh returns a new logical volume's identity.
func fresh(k kind, of, name string, turn int) lv {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return lv{id: "pi-" + hex.EncodeToString(b[:]), kind: k, of: of, name: name, turn: turn}
}

// createEmpty makes a thin volume without content.
func (d *Driver) createEmpty(ctx context.Context, v *lv, size int64) error {
	v.active = true
	args := append([]string{"--yes", "--type", "thin", "--thinpool", d.opts.Pool, "--virtualsize", strconv.FormatInt(size, 10) + "b",
		"--name", v.id, "--wipesignatures", "n"}, v.tags()...)
	_, err := command(ctx, "lvcreate", append(args, d.opts.Group)...)
	return err
}

// createCopy makes a thin snapshot of another logical volume: active, unless
// it is to be kept as a snapshot.
func (d *Driver) createCopy(ctx context.Context, v *lv, of string) error {
	skip := "n"
	if v.kind == kindSnapshot {
		skip = "y"
	}
	args := append([]string{"--yes", "--snapshot", "--setactivationskip", skip, "--name", v.id}, v.tags()...)
	v.active = v.kind != kindSnapshot
	_, err := command(ctx, "lvcreate", append(args, d.lvName(of))...)
	return err
}

func (d *Driver) activate(ctx context.Context, id string) error {
	_, err := command(ctx, "lvchange", "--yes", "--activate", "y", "--ignoreactivationskip", d.lvName(id))
	return err
}

// commit makes a logical volume count, from this moment on and after a loss of
// power, too.
func (d *Driver) commit(ctx context.Context, id string) error {
	if _, err := command(ctx, "lvchange", "--addtag", tagReady, d.lvName(id)); err != nil {
		return err
	}
	return d.flush(ctx)
}

// flush has the group's disks keep what they were told, which LVM does not: its
// own record of a change may still be in a disk's cache when it has ended.
func (d *Driver) flush(ctx context.Context) error {
	out, err := command(ctx, "pvs", "--noheadings", "--options", "pv_name", "--select", "vg_name="+d.opts.Group)
	if err != nil {
		return err
	}
	for _, disk := range strings.Fields(string(out)) {
		f, err := os.Open(disk)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// destroy deletes logical volumes, one after the other.
func (d *Driver) destroy(ctx context.Context, doomed []lv) error {
	if len(doomed) == 0 {
		return nil
	}
	args := []string{"--yes", "--force"}
	for _, v := range doomed {
		args = append(args, d.lvName(v.id))
	}
	_, err := command(ctx, "lvremove", args...)
	return err
}

// Recover implements [volume.Driver]: it deletes what is half-made and what has
// been replaced, and mounts every volume.
func (d *Driver) Recover(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("lvmthin: recover: %w", err)
	}
	return nil
}

func (d *Driver) recover(ctx context.Context) error {
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	all := s.all
	// Each name whose state is not plain is looked at again under its lock.
	locks := map[string]bool{}
	for _, v := range all {
		switch {
		case v.kind == kindImage && !v.ready:
			locks["/"+v.name] = true
		case v.kind == kindVolume:
			if mounted, err := d.isMounted(&v); err != nil || !mounted {
				locks[v.name] = true
			}
		case v.kind == kindSnapshot && (!v.ready || pick(all, kindVolume, "", v.of) == nil):
			locks[v.of] = true
		}
	}
	for dir, prefix := range map[string]string{d.volumes: "", d.imports: "/"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if prefix == "/" || pick(all, kindVolume, "", e.Name()) == nil {
				locks[prefix+e.Name()] = true
			}
		}
	}
	var errs []error
	for lock := range locks {
		if err := d.recoverName(ctx, lock); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", lock, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) recoverName(ctx context.Context, lock string) error {
	release, ok, err := d.locks.Try(ctx, lock)
	if err != nil || !ok { // another process is at the image
		return err
	}
	defer release()
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	all := s.all
	if image, ok := strings.CutPrefix(lock, "/"); ok {
		if err := d.unmountFS(filepath.Join(d.imports, image)); err != nil {
			return err
		}
		return d.destroy(ctx, filter(all, func(v *lv) bool { return v.kind == kindImage && v.name == image && !v.ready }))
	}
	current := pick(all, kindVolume, "", lock)
	if current == nil {
		return d.destroyVolume(ctx, all, lock)
	}
	if err := d.ensureMounted(ctx, current); err != nil {
		return err
	}
	return d.destroy(ctx, replaced(all, current))
}

// replaced are the volume's former and half-made logical volumes, and its
// half-made snapshots.
func replaced(all []lv, current *lv) []lv {
	return filter(all, func(v *lv) bool {
		return v.kind == kindVolume && v.name == current.name && v.id != current.id ||
			v.kind == kindSnapshot && v.of == current.name && !v.ready
	})
}

func filter(all []lv, match func(*lv) bool) []lv {
	var some []lv
	for i := range all {
		if match(&all[i]) {
			some = append(some, all[i])
		}
	}
	return some
}

// isMounted reports whether this very logical volume is at its mount point.
func (d *Driver) isMounted(v *lv) (bool, error) {
	at, err := deviceOf(d.mountPoint(v.name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	number, err := deviceNumber(d.device(v.id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && number == at, err
}

// ensureMounted mounts a volume at its mount point, with all its room.
func (d *Driver) ensureMounted(ctx context.Context, v *lv) error {
	if mounted, err := d.isMounted(v); err != nil || mounted {
		return err
	}
	at := d.mountPoint(v.name)
	if err := d.unmountFS(at); err != nil { // a former one
		return err
	}
	if !v.active {
		if err := d.activate(ctx, v.id); err != nil {
			return err
		}
	}
	super, err := readSuper(d.device(v.id))
	if err != nil {
		return err
	}
	if err := setUUID(ctx, d.device(v.id), v.id, super); err != nil {
		return err
	}
	d.did("ready to mount")
	if err := d.mountFS(d.device(v.id), at); err != nil {
		return err
	}
	d.did("mounted")
	if super.fills(v.size) {
		return nil
	}
	return growFS(ctx, d.device(v.id))
}
