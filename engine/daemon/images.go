package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/hw/volume/btrfs"
	"picloud/hw/volume/folder"
	"picloud/netboot/rootfs/image"
	"picloud/netboot/rootfs/netbootable"
)

// volumeDrivers open the volumes of a state folder, by volumes.driver.
var volumeDrivers = map[string]func(cfg *config.Config, volatile bool) (volume.Driver, error){
	"folder": func(cfg *config.Config, volatile bool) (volume.Driver, error) {
		return folder.Open(cfg.State, folder.Options{Volatile: volatile})
	},
	"btrfs": func(cfg *config.Config, _ bool) (volume.Driver, error) {
		return btrfs.Open(cfg.State, btrfs.Options{NearlyFull: float64(cfg.Volumes.NearlyFull) / 100})
	},
}

// VolumeDrivers are the values of volumes.driver that this program has.
func VolumeDrivers() []string { return []string{"folder", "btrfs"} }

func openVolumes(cfg *config.Config, volatile bool) (volume.Driver, error) {
	open, ok := volumeDrivers[cfg.Volumes.Driver]
	if !ok {
		return nil, fmt.Errorf("volumes.driver %q: there is none", cfg.Volumes.Driver)
	}
	return open(cfg, volatile)
}

// imagesFolder is where both drivers have their images.
func imagesFolder(cfg *config.Config) string { return filepath.Join(cfg.State, "images") }

// layoutOf is the configuration's layout, with the images that were added to
// the state folder besides those it names.
func layoutOf(cfg *config.Config) (engine.Layout, error) {
	l := cfg.Layout()
	named := make(map[string]bool, len(l.Images))
	for _, img := range l.Images {
		named[img.Name] = true
	}
	added, err := image.List(imagesFolder(cfg))
	if err != nil {
		return l, err
	}
	for _, img := range added {
		if !named[img.Name] && img.Source != "" {
			l.Images = append(l.Images, engine.Image{Name: img.Name, Label: imageLabel(img), Added: img.Added})
		}
	}
	return l, nil
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
// it boot over the network. It is there whole or not at all. o.Dir is not
// looked at. A service that is running sees it after a reload.
func AddImage(ctx context.Context, cfg *config.Config, o image.Options) (AddedImage, error) {
	driver, err := openVolumes(cfg, false)
	if err != nil {
		return AddedImage{}, err
	}
	if _, err := image.Show(imagesFolder(cfg), o.Name); err == nil {
		return AddedImage{}, &image.Error{Op: "add", Name: o.Name, Err: image.ErrExists, Hint: "give it another name, or remove that one first"}
	}
	var added AddedImage
	err = driver.Import(ctx, o.Name, 0, func(ctx context.Context, dir string) error {
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
	if err != nil {
		return AddedImage{}, err
	}
	added.Info, err = image.Show(imagesFolder(cfg), o.Name)
	return added, err
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

// Images lists the images of a configuration's state folder.
func Images(cfg *config.Config) ([]image.Info, error) { return image.List(imagesFolder(cfg)) }

// ImageNamed returns one image.
func ImageNamed(cfg *config.Config, name string) (image.Info, error) {
	return image.Show(imagesFolder(cfg), name)
}

// RemoveImage deletes an image that no root was made from.
func RemoveImage(ctx context.Context, cfg *config.Config, name string) error {
	driver, err := openVolumes(cfg, false)
	if err != nil {
		return err
	}
	if _, err := image.Show(imagesFolder(cfg), name); err != nil {
		return err
	}
	users, err := clonesOf(ctx, driver, name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return &image.Error{
			Op: "remove", Name: name, Err: fmt.Errorf("%w by %d roots, such as %s", image.ErrInUse, len(users), users[0]),
			Hint: "reimage those Pis with another image first; their former roots count too",
		}
	}
	return driver.RemoveImage(ctx, name)
}

// clonesOf returns the volumes that say they were made from an image. A
// customer can change what their root says; that loses nobody's data, since
// volumes stay whole without their image.
func clonesOf(ctx context.Context, driver volume.Driver, name string) ([]string, error) {
	list, err := driver.List(ctx)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, v := range list {
		dir, err := driver.Path(v.Name)
		if errors.Is(err, volume.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if from, err := clonedFrom(dir); err == nil && from == name {
			users = append(users, v.Name)
		}
	}
	return users, nil
}

// clonedFrom reads in a root the name of its image. The root is hostile: the
// file is opened beneath it, and read within a bound.
func clonedFrom(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Lstat(imageStamp)
	if err != nil || !info.Mode().IsRegular() {
		return "", fs.ErrNotExist
	}
	f, err := root.Open(imageStamp)
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
