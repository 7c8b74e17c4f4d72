package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/hw/volume/btrfs"
	"picloud/hw/volume/folder"
	"picloud/hw/volume/lvmthin"
	"picloud/netboot/bootfs"
	"picloud/netboot/rootfs/image"
	"picloud/netboot/rootfs/netbootable"
)

// volumeDrivers open the volumes of a state folder, by volumes.driver.
var volumeDrivers = map[string]func(ctx context.Context, cfg *config.Config, volatile bool, mounts Mounter) (volume.Driver, error){
	"folder": func(_ context.Context, cfg *config.Config, volatile bool, _ Mounter) (volume.Driver, error) {
		return folder.Open(cfg.State, folder.Options{Volatile: volatile})
	},
	"btrfs": func(_ context.Context, cfg *config.Config, _ bool, _ Mounter) (volume.Driver, error) {
		return btrfs.Open(cfg.State, btrfs.Options{NearlyFull: nearlyFull(cfg)})
	},
	config.VolumesLVM: func(ctx context.Context, cfg *config.Config, _ bool, mounts Mounter) (volume.Driver, error) {
		v := &cfg.Volumes
		return lvmthin.Open(ctx, cfg.State, lvmthin.Options{Group: v.Group, Pool: v.Pool, NearlyFull: nearlyFull(cfg), Mounts: mounts})
	},
}

func nearlyFull(cfg *config.Config) float64 { return float64(cfg.Volumes.NearlyFull) / 100 }

// VolumeDrivers are the values of volumes.driver that this program has.
func VolumeDrivers() []string { return []string{"folder", "btrfs", config.VolumesLVM} }

// openVolumes opens the volumes of a state folder that is closed to others.
func openVolumes(ctx context.Context, cfg *config.Config, volatile bool, mounts Mounter) (volume.Driver, error) {
	if err := closeState(cfg.State); err != nil {
		return nil, err
	}
	return openDriver(ctx, cfg, volatile, mounts)
}

func openDriver(ctx context.Context, cfg *config.Config, volatile bool, mounts Mounter) (volume.Driver, error) {
	open, ok := volumeDrivers[cfg.Volumes.Driver]
	if !ok {
		return nil, fmt.Errorf("volumes.driver %q: there is none", cfg.Volumes.Driver)
	}
	return open(ctx, cfg, volatile, mounts)
}

// imagesFolder is where the drivers have their images, or for those of LVM,
// which are not mounted, what has to be at hand of them.
func imagesFolder(state string) string { return filepath.Join(state, "images") }

// layoutOf is the configuration's layout, with the images that were added
// besides those it names, and what is known of those that it names and has no
// label for.
func layoutOf(ctx context.Context, cfg *config.Config, volumes volume.Driver) (engine.Layout, error) {
	l := cfg.Layout()
	named := make(map[string]int, len(l.Images))
	for i, img := range l.Images {
		named[img.Name] = i
	}
	added, err := imagesOf(ctx, cfg, volumes)
	if err != nil {
		return l, err
	}
	for _, img := range added {
		if img.Source == "" {
			continue // the built-in one
		}
		known := engine.Image{Name: img.Name, Label: imageLabel(img), Added: img.Added}
		if i, ok := named[img.Name]; ok {
			known.Label = cmp.Or(l.Images[i].Label, known.Label)
			l.Images[i] = known
		} else {
			l.Images = append(l.Images, known)
		}
	}
	return l, nil
}

// imagesOf lists the images that the volumes can be cloned from.
func imagesOf(ctx context.Context, cfg *config.Config, volumes volume.Driver) ([]image.Info, error) {
	have, err := volumes.Images(ctx)
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(have))
	for _, i := range have {
		there[i.Name] = true
	}
	list, err := image.List(imagesFolder(cfg.State))
	return slices.DeleteFunc(list, func(i image.Info) bool { return !there[i.Name] }), err
}

func imageLabel(i image.Info) string {
	if i.Arch == "" {
		return i.Release.Pretty
	}
	return fmt.Sprintf("%s (%s)", i.Release.Pretty, i.Arch)
}

// AddedImage is what AddImage did.
type AddedImage struct {
	image.Info
	Changes  []netbootable.Change
	Warnings []string
}

// AddImage unpacks an image into the state folder of a configuration and makes
// it boot over the network. It is there whole or not at all. size is how many
// bytes an image that is a disk of its own may hold, 0 = as the configuration
// says. o.Dir and o.Spool are not looked at. A service that is running sees it after a reload.
func AddImage(ctx context.Context, cfg *config.Config, o image.Options, size int64) (AddedImage, error) {
	driver, err := openVolumes(ctx, cfg, false, nil)
	if err != nil {
		return AddedImage{}, err
	}
	list, err := imagesOf(ctx, cfg, driver)
	if err != nil {
		return AddedImage{}, err
	}
	if slices.ContainsFunc(list, func(i image.Info) bool { return i.Name == o.Name }) {
		return AddedImage{}, &image.Error{Op: "add", Name: o.Name, Err: image.ErrExists, Hint: "give it another name, or remove that one first"}
	}
	var added AddedImage
	// Not in the image's own file system: blocks of a pool that were written once
	// stay the image's, and would be every root's.
	o.Spool = cfg.State
	err = importImage(ctx, driver, cfg.State, o.Name, cmp.Or(size, cfg.Volumes.Disk()), func(ctx context.Context, dir string) error {
		o.Dir = dir
		if _, err := image.Add(ctx, o); err != nil {
			return err
		}
		if err := moveUp(dir, o.Name); err != nil {
			return err
		}
		result, err := netbootable.Apply(ctx, dir, netbootable.Options{})
		added.Changes, added.Warnings = result.Changes, result.Warnings
		return err
	})
	if errors.Is(err, syscall.ENOSPC) && !isFolders(driver) {
		err = fmt.Errorf("%w (give the image more room: --disk-gb N)", err)
	}
	if err != nil {
		return AddedImage{}, err
	}
	added.Info, err = image.Show(imagesFolder(cfg.State), o.Name)
	return added, err
}

// isFolders tells whether a driver's images are folders on this host.
func isFolders(driver volume.Driver) bool {
	_, disks := driver.(*lvmthin.Driver)
	return !disks
}

// importImage has the driver make an image. Of one that is a disk, what it is
// and its boot files are kept as a folder, too. size counts for disks alone:
// a folder's roots get theirs when they are cloned.
func importImage(ctx context.Context, driver volume.Driver, state, name string, size int64, fill func(context.Context, string) error) error {
	if isFolders(driver) {
		return driver.Import(ctx, name, 0, fill)
	}
	return driver.Import(ctx, name, size, func(ctx context.Context, dir string) error {
		if err := fill(ctx, dir); err != nil {
			return err
		}
		if err := keepBootFiles(dir, imagesFolder(state), name); err != nil {
			return fmt.Errorf("keep its boot files: %w", err)
		}
		return nil
	})
}

// keepBootFiles copies what an image is and its boot files to name below
// parent, whole or not at all.
func keepBootFiles(dir, parent, name string) error {
	if err := volume.CheckName(name); err != nil {
		return err
	}
	fresh, target := filepath.Join(parent, ".new-"+name), filepath.Join(parent, name)
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(target)); err != nil { // of one that was given up
		return err
	}
	for _, sub := range []string{"etc", "boot"} {
		if err := os.MkdirAll(filepath.Join(fresh, sub), 0o700); err != nil {
			return err
		}
	}
	from, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer from.Close()
	stamp, err := from.ReadFile(imageStamp)
	if err == nil {
		err = os.WriteFile(filepath.Join(fresh, imageStamp), stamp, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the built-in image has none
		return err
	}
	look, err := netbootable.Look(dir)
	if err != nil {
		return err
	}
	for _, sub := range append([]string{"boot"}, look.Folders...) {
		if err := copyFolder(from, sub, filepath.Join(fresh, sub)); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, target); err != nil {
		return err
	}
	return syncFolder(parent)
}

// moveUp moves what is in a folder's only folder into it.
func moveUp(dir, only string) error {
	inner := filepath.Join(dir, only)
	entries, err := os.ReadDir(inner)
	if err != nil {
		return err
	}
	// The folder's own name may be among those in it.
	aside := filepath.Join(dir, ".moving~")
	if err := os.Rename(inner, aside); err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(aside, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(aside)
}

// copyFolder copies the files of a folder, which need not be there.
func copyFolder(root *os.Root, sub, to string) error {
	from, err := root.OpenRoot(sub)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(os.CopyFS(to, from.FS()), from.Close())
}

// Images lists the images of a configuration's volumes.
func Images(ctx context.Context, cfg *config.Config) ([]image.Info, error) {
	driver, err := openVolumes(ctx, cfg, false, nil)
	if err != nil {
		return nil, err
	}
	return imagesOf(ctx, cfg, driver)
}

// ImageNamed returns one image.
func ImageNamed(ctx context.Context, cfg *config.Config, name string) (image.Info, error) {
	driver, err := openVolumes(ctx, cfg, false, nil)
	if err != nil {
		return image.Info{}, err
	}
	return imageNamed(ctx, cfg, driver, name)
}

func imageNamed(ctx context.Context, cfg *config.Config, driver volume.Driver, name string) (image.Info, error) {
	list, err := imagesOf(ctx, cfg, driver)
	if err != nil {
		return image.Info{}, err
	}
	if i := slices.IndexFunc(list, func(i image.Info) bool { return i.Name == name }); i >= 0 {
		return list[i], nil
	}
	return image.Info{}, &image.Error{Op: "show", Name: name, Err: image.ErrNotFound, Hint: "picloud image list says which there are"}
}

// RemoveImage deletes an image that no root was made from.
func RemoveImage(ctx context.Context, cfg *config.Config, name string) error {
	driver, err := openVolumes(ctx, cfg, false, nil)
	if err != nil {
		return err
	}
	if _, err := imageNamed(ctx, cfg, driver, name); err != nil {
		return err
	}
	users, err := clonesOf(ctx, driver, bootRecordsOf(cfg.State), name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return &image.Error{
			Op: "remove", Name: name, Err: fmt.Errorf("%w by %d roots, such as %s", image.ErrInUse, len(users), users[0]),
			Hint: "reimage those Pis with another image first; their former roots count too",
		}
	}
	if err := driver.RemoveImage(ctx, name); err != nil || isFolders(driver) {
		return err
	}
	return os.RemoveAll(filepath.Join(imagesFolder(cfg.State), name))
}

// clonesOf returns the volumes that were made from an image, also those that are
// being made. Of one without a record the root itself is asked, which its owner
// can change; that loses nobody's data, since volumes stay whole without their
// image.
func clonesOf(ctx context.Context, driver volume.Driver, records bootRecords, name string) ([]string, error) {
	recorded, err := records.images()
	if err != nil {
		return nil, err
	}
	list, err := driver.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		if recorded[v.Name] != "" {
			continue
		}
		dir, err := driver.Path(v.Name)
		if errors.Is(err, volume.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if from, err := clonedFrom(dir); err == nil {
			recorded[v.Name] = from
		}
	}
	maps.DeleteFunc(recorded, func(_, from string) bool { return from != name })
	return slices.Sorted(maps.Keys(recorded)), nil
}

// clonedFrom reads in a root the name of its image. The root is hostile: the
// file is opened beneath it, and read within a bound.
func clonedFrom(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := bootfs.OpenRegular(root, imageStamp)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var stamp struct {
		Name string `json:"name"`
	}
	err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&stamp)
	return stamp.Name, err
}

// imageStamp is where netboot/rootfs/image writes what a root was made from.
const imageStamp = "etc/picloud-image.json"
