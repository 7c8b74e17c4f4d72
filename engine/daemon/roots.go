package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/hw/volume/folder"
	"picloud/netboot/bootfs"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/nfs"
	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/rootfs/rescue"
)

// roots are the volumes of the Pis and their exports. They implement
// engine.Roots.
type roots struct {
	volumes volume.Driver
	exports *exporter
	records bootRecords
	rescues memories[rescueRecord]
	exams   memories[examRecord]
	exam    config.Exam
	guest   config.Guest
	disk    int64  // size of a root that nobody gave one, 0 = as its image
	prefix  string // of the exported paths
	state   string
	log     *slog.Logger

	mu sync.Mutex // held for writing while an export is found to be nobody's
	// published are the Pis whose roots are, or are to be, exported.
	published map[engine.PiName]bool

	// elsewhere are the folders of images that the configuration names. It is not
	// under mu, which is held while a server is waited for: Pis ask for files
	// meanwhile.
	elsewhere atomic.Pointer[map[string]string]

	looks looks
}

// openVolumeStore opens the volumes below the state folder, and clears away
// what a crash left there.
func openVolumeStore(ctx context.Context, cfg *config.Config, volatile bool, mounts Mounter, log *slog.Logger) (volume.Driver, error) {
	driver, err := openVolumes(ctx, cfg, volatile, mounts)
	if err != nil {
		return nil, err
	}
	// One volume that is damaged is no reason to let the others down.
	log.Info("volumes: "+cfg.Volumes.Driver, "driver", cfg.Volumes.Driver, "state", cfg.State)
	if err := driver.Recover(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		log.Error("not every volume is back", "err", err)
	}
	return driver, nil
}

// openRoots joins the volumes with what exports them, and makes the built-in
// image if the configuration names it.
func openRoots(ctx context.Context, cfg *config.Config, volumes volume.Driver, exports *exporter, log *slog.Logger) (*roots, error) {
	r := &roots{
		volumes: volumes, exports: exports, records: bootRecordsOf(cfg.State), rescues: newMemories[rescueRecord](cfg.State, rescue.Rescue),
		exams: newMemories[examRecord](cfg.State, rescue.Examination), exam: cfg.Exam,
		guest: cfg.Guest, disk: cfg.Volumes.Disk(), prefix: cfg.NFS.Path, state: cfg.State, log: log,
		published: map[engine.PiName]bool{},
	}
	return r, r.setImages(ctx, cfg.Images)
}

// setImages makes the images of the configuration available to the driver.
func (r *roots) setImages(ctx context.Context, images []config.Image) error {
	elsewhere := map[string]string{}
	for _, img := range images {
		if img.Path != "" {
			elsewhere[img.Name] = img.Path
			continue
		}
		if img.Name != config.BuiltinImage {
			continue // added by picloud image add
		}
		if err := importImage(ctx, r.volumes, r.state, img.Name, 0, fillBuiltin); err != nil {
			return err
		}
	}
	if folders, ok := r.volumes.(*folder.Driver); ok {
		folders.SetImages(elsewhere)
	} else {
		for name := range elsewhere {
			return fmt.Errorf("image %s: path = works with volumes.driver = \"folder\" only (pack it as a tarball and add it with picloud image add)", name)
		}
	}
	r.elsewhere.Store(&elsewhere)
	return r.missing(ctx, images)
}

// imageFolder is where an image's files are: all of them, or at least those
// that it boots from.
func (r *roots) imageFolder(name string) string {
	if elsewhere := r.elsewhere.Load(); elsewhere != nil {
		if dir, ok := (*elsewhere)[name]; ok {
			return dir
		}
	}
	return filepath.Join(imagesFolder(r.state), name)
}

// imageBoot is the folder of an image's boot files, "" if there is none.
func (r *roots) imageBoot(name string) string {
	if volume.CheckName(name) != nil {
		return ""
	}
	for _, sub := range []string{"boot/firmware", "boot"} {
		dir := filepath.Join(r.imageFolder(name), sub)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return ""
}

// missing says which images are named and not there: the rest of the rack can
// do without them.
func (r *roots) missing(ctx context.Context, images []config.Image) error {
	have, err := r.volumes.Images(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(have))
	for _, i := range have {
		there[i.Name] = true
	}
	for _, img := range images {
		if img.Path == "" && !there[img.Name] {
			r.log.Warn("there is no such image; add it: picloud image add "+img.Name+" FILE --config ...", "image", img.Name)
		}
	}
	return nil
}

// fillBuiltin writes the built-in image into an empty folder.
func fillBuiltin(ctx context.Context, dir string) error {
	const fresh = "builtin"
	if err := rootfs.Builtin(ctx, filepath.Join(dir, fresh)); err != nil {
		return err
	}
	return moveUp(dir, fresh)
}

// Clone is engine.Roots'. A volume is never smaller than its image.
func (r *roots) Clone(ctx context.Context, image, name string, size int64, progress func(done, total int64)) error {
	there, err := r.volumes.Exists(ctx, name)
	if err != nil {
		return err
	}
	if !there { // what is recorded under the name is of one that is gone
		if err := r.records.write(name, bootRecord{Image: image}); err != nil {
			return err
		}
	}
	if err := r.volumes.Clone(ctx, image, name, progress); err != nil {
		return err
	}
	if size == 0 {
		size = r.disk
	}
	if size == 0 || !r.volumes.Features().Quota {
		return nil
	}
	if err := r.volumes.Grow(ctx, name, size); err != nil && !errors.Is(err, volume.ErrInvalidSize) {
		return err
	}
	return nil
}

// Grow is engine.Roots'.
func (r *roots) Grow(ctx context.Context, name string, size int64) error {
	err := r.volumes.Grow(ctx, name, size)
	if errors.Is(err, volume.ErrNotSupported) {
		return fmt.Errorf("%w (a folder has no size: set driver = \"btrfs\" or \"lvm\" below [volumes])", err)
	}
	return err
}

// Personalise is engine.Roots'. A root is made bootable once, when it is fresh:
// later it is its owner's, and may boot as they changed it.
func (r *roots) Personalise(ctx context.Context, name string, who engine.Person) ([]engine.HostKey, error) {
	dir, err := r.volumes.Path(name)
	if err != nil {
		return nil, err
	}
	record, _, err := r.records.read(name)
	if err != nil {
		return nil, err
	}
	if !record.bootable() {
		image := record.Image
		if record, err = r.makeBootable(ctx, dir, who.Hostname); err != nil {
			return nil, err
		}
		record.Image = image
		if err := r.records.write(name, record); err != nil {
			return nil, err
		}
	}
	err = rootfs.Personalise(dir, rootfs.Person{
		Hostname: who.Hostname, AuthorizedKeys: who.Keys,
		Network:   rootfs.Network{Address: who.Address, Gateway: who.Gateway},
		Resolvers: r.guest.Resolvers, TimeZone: r.guest.TimeZone,
	})
	return record.HostKeys, err
}

// Keys is engine.Roots'.
func (r *roots) Keys(_ context.Context, name string, keys []string) error {
	dir, err := r.volumes.Path(name)
	if err != nil {
		return err
	}
	return rootfs.SetKeys(dir, keys)
}

func (r *roots) makeBootable(ctx context.Context, dir, host string) (bootRecord, error) {
	made, err := netbootable.Apply(ctx, dir, netbootable.Options{HostKeys: true, Comment: host})
	if err != nil {
		return bootRecord{}, err
	}
	for _, w := range made.Warnings {
		r.log.Warn("of a new root: "+w, "host", host)
	}
	record := bootRecord{Boot: made.Boot}
	for _, k := range made.HostKeys {
		record.HostKeys = append(record.HostKeys, engine.HostKey{Type: k.Type, Fingerprint: k.Fingerprint})
	}
	return record, nil
}

// Publish is engine.Roots'. The export's name is the Pi's: a new root replaces
// the former under the same path.
func (r *roots) Publish(ctx context.Context, pi engine.Pi, name string) (string, error) {
	r.setPublished(pi.Name, true)
	dir, err := r.volumes.Path(name)
	if err == nil && r.exports.binds != nil {
		dir, err = r.exports.binds.bind(name, dir)
	}
	if err != nil {
		return "", err
	}
	e := nfs.Export{
		ID: string(pi.Name), Dir: dir, Path: r.exportPath(pi.Name), Client: pi.Segment.Addr.Addr(), ReadOnly: r.exports.readOnly,
	}
	if err := r.exports.await(ctx); err != nil {
		return "", err
	}
	if err := r.exports.Add(ctx, e); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s:%s %s", r.exports.name, pi.Segment.Server, e.Path, r.exports.access()), nil
}

func (r *roots) setPublished(pi engine.PiName, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if yes {
		r.published[pi] = true
	} else {
		delete(r.published, pi)
	}
}

// Withdraw is engine.Roots'.
func (r *roots) Withdraw(ctx context.Context, pi engine.Pi) error {
	r.setPublished(pi.Name, false)
	return r.exports.Remove(ctx, string(pi.Name))
}

// Remove is engine.Roots'.
func (r *roots) Remove(ctx context.Context, name string) error {
	if r.exports.binds != nil {
		if err := r.exports.binds.unbind(ctx, name); err != nil {
			return err
		}
	}
	if err := r.volumes.Remove(ctx, name); err != nil {
		return err
	}
	r.looks.forget(name)
	return errors.Join(r.forgetRescues(name), r.records.remove(name))
}

func (r *roots) exportPath(pi engine.PiName) string { return path.Join(r.prefix, string(pi)) }

// bootOf is how the root of a volume boots: as it is now, since its owner may
// have installed another kernel; if that cannot be told, as when it was made.
func (r *roots) bootOf(name, dir string) netbootable.Boot {
	boot, err := r.looks.at(name, dir)
	if err == nil {
		return boot
	}
	r.log.Warn("a root's kernels cannot be looked at", "volume", name, "err", err)
	record, _, err := r.records.read(name)
	if err != nil {
		r.log.Warn("nor is it known how it booted", "volume", name, "err", err)
	}
	return record.Boot
}

// nfsVersion is what every kind of server here has, and every initramfs can
// mount. Version 4 has locks, which a root with one user does not need, and
// shows each Pi a tree above its root.
const nfsVersion = "3"

// bootFolder is the boot folder of a Pi: its own root's files, and what is made
// from its state.
func (r *roots) bootFolder(e engine.BootEntry) (*bootfs.Folder, error) {
	switch {
	case e.Exam:
		return r.examFolder(e)
	case e.Rescue:
		return r.rescueFolder(e)
	}
	dir, err := r.volumes.Path(e.Volume)
	if err != nil {
		return nil, fmt.Errorf("boot folder of %s: %w", e.Pi, err)
	}
	boot := r.bootOf(e.Volume, dir)
	spec := r.bootSpec(e)
	spec.Root, spec.Folders, spec.Image = dir, boot.Folders, r.imageBoot(e.Image)
	spec.Config.Kernel, spec.Config.Extra = boot.Kernel, boot.ConfigLines
	spec.Cmdline.Initramfs, spec.Cmdline.Extra = boot.Initramfs, boot.KernelArgs
	if r.exports.mount != 0 && !boot.Initramfs {
		// Then no portmapper is needed. klibc's nfsmount knows no mountport=.
		spec.Cmdline.NFSPort, spec.Cmdline.MountPort = r.exports.port, r.exports.mount
	}
	return bootfs.New(spec)
}

// bootSpec is what is the same whatever the Pi boots.
func (r *roots) bootSpec(e engine.BootEntry) bootfs.Spec {
	spec := bootfs.Spec{
		Family: order.Family(e.Model), MAC: e.MAC[:],
		Config: bootfs.Config{UART: true},
		Cmdline: bootfs.Cmdline{
			Server: e.Segment.Server, Client: e.Segment.Addr, Hostname: e.Host, ExportPath: r.exportPath(e.Pi),
			NFSVersion: nfsVersion, ReadOnly: r.exports.readOnly,
		},
	}
	if r.exports.port != standardNFS {
		spec.Cmdline.NFSPort = r.exports.port
	}
	if e.Serial != 0 {
		spec.Serial = fmt.Sprintf("%08x", e.Serial)
	}
	return spec
}

// standardNFS is the port that a Pi takes if it is told none (RFC 1813, section
// 2.1).
const standardNFS = 2049
