package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/hw/volume/folder"
	"picloud/netboot/bootfs"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/nfs"
	"picloud/netboot/rootfs"
)

// roots are the volumes of the Pis and their exports. They implement
// engine.Roots.
type roots struct {
	volumes volume.Driver
	images  string // the folder of images
	exports nfs.Exporter
	prefix  string // of the exported paths
}

// openRoots opens the volumes below the state folder, clears away what a crash
// left there, and makes the built-in image if the configuration names it.
func openRoots(ctx context.Context, cfg *config.Config, volatile bool, exports nfs.Exporter) (*roots, error) {
	driver, err := openVolumes(cfg, volatile)
	if err != nil {
		return nil, err
	}
	if err := driver.Recover(ctx); err != nil {
		return nil, err
	}
	r := &roots{volumes: driver, images: imagesFolder(cfg), exports: exports, prefix: cfg.NFS.Path}
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
		if err := r.volumes.Import(ctx, img.Name, 0, fillBuiltin); err != nil {
			return err
		}
	}
	folders, ok := r.volumes.(*folder.Driver)
	if ok {
		folders.SetImages(elsewhere)
		return nil
	}
	for name := range elsewhere {
		return fmt.Errorf("image %s: path = works with volumes.driver = \"folder\" only (pack it as a tarball and add it with picloud image add)", name)
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

// Clone is engine.Roots'.
func (r *roots) Clone(ctx context.Context, image, volume string, _ int64, progress func(done, total int64)) error {
	return r.volumes.Clone(ctx, image, volume, progress)
}

// Personalise is engine.Roots'.
func (r *roots) Personalise(_ context.Context, volume string, who engine.Person) ([]engine.HostKey, error) {
	dir, err := r.volumes.Path(volume)
	if err != nil {
		return nil, err
	}
	return nil, rootfs.Personalise(dir, rootfs.Person{Hostname: who.Hostname, AuthorizedKeys: who.Keys})
}

// Publish is engine.Roots'. The export's name is the Pi's: a new root replaces
// the former under the same path.
func (r *roots) Publish(ctx context.Context, pi engine.Pi, volume string) (string, error) {
	dir, err := r.volumes.Path(volume)
	if err != nil {
		return "", err
	}
	e := nfs.Export{
		ID: string(pi.Name), Dir: dir, Path: r.exportPath(pi.Name), Client: pi.Segment.Addr.Addr(), ReadOnly: true,
	}
	return fmt.Sprintf("%s:%s", pi.Segment.Server, e.Path), r.exports.Add(ctx, e)
}

// Grow is engine.Roots'.
func (r *roots) Grow(ctx context.Context, volume string, size int64) error {
	return r.volumes.Grow(ctx, volume, size)
}

// Rescue is engine.Roots'.
func (r *roots) Rescue(context.Context, engine.Pi, string, engine.Person) ([]engine.HostKey, error) {
	return nil, errors.ErrUnsupported
}

// Withdraw is engine.Roots'.
func (r *roots) Withdraw(ctx context.Context, pi engine.Pi) error {
	return r.exports.Remove(ctx, string(pi.Name))
}

// Remove is engine.Roots'.
func (r *roots) Remove(ctx context.Context, volume string) error {
	return r.volumes.Remove(ctx, volume)
}

func (r *roots) exportPath(pi engine.PiName) string { return path.Join(r.prefix, string(pi)) }

// bootFolder is the boot folder of a Pi: its own root's files, and what is made
// from its state. The demo's NFS server has no portmapper, so that the kernel
// is told its port.
func (r *roots) bootFolder(e engine.BootEntry, nfsPort uint16) (*bootfs.Folder, error) {
	dir, err := r.volumes.Path(e.Volume)
	if err != nil {
		return nil, fmt.Errorf("boot folder of %s: %w", e.Pi, err)
	}
	spec := bootfs.Spec{
		Family: order.Family(e.Model), MAC: e.MAC[:], Root: dir,
		Config: bootfs.Config{UART: true},
		Cmdline: bootfs.Cmdline{
			Server: e.Segment.Server, Client: e.Segment.Addr, Hostname: e.Host, ExportPath: r.exportPath(e.Pi),
			NFSVersion: "3", NFSPort: nfsPort, MountPort: nfsPort, ReadOnly: true,
		},
	}
	if e.Serial != 0 {
		spec.Serial = fmt.Sprintf("%08x", e.Serial)
	}
	return bootfs.New(spec)
}
