package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"picloud/netboot/bootfs/order"
)

// Image is an image that roots can be made from.
type Image struct {
	Name   string
	Folder string // with at least its boot files
	Whole  bool   // all of it is in Folder
	There  bool   // the volumes have it, or are to make it
}

// checkImages: each image that is named, or was added, must be there with what
// the rack's Pis boot from.
func checkImages(ctx context.Context, e *Env) []Finding {
	if e.Images == nil {
		return nil
	}
	list, err := e.Images(ctx)
	if err != nil {
		return []Finding{ofError(Failure, "", err)}
	}
	var found []Finding
	for _, i := range list {
		found = append(found, e.checkImage(i)...)
	}
	return found
}

func (e *Env) checkImage(i Image) []Finding {
	if !i.There {
		return []Finding{failf(i.Name, "picloud image add "+i.Name+" FILE", "there is no such image")}
	}
	root, err := os.OpenRoot(i.Folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{failf(i.Name, "picloud image remove "+i.Name+", and add it again", "its folder %s is gone", i.Folder)}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{warnf(i.Name, "sudo picloud doctor", "%s cannot be read by this user", i.Folder)}
	case err != nil:
		return []Finding{failf(i.Name, "", "%v", err)}
	}
	defer root.Close()
	var found []Finding
	if i.Whole && !regular(root, "etc/os-release") && !regular(root, "usr/lib/os-release") {
		found = append(found, failf(i.Name, "add a whole Raspberry Pi OS or Debian image", "it has no os-release: it is no operating system"))
	}
	boards := e.families("")
	if len(boards) == 0 {
		// No board is known yet: it could be any.
		boards = slices.DeleteFunc(order.Families(), func(f order.Family) bool { return len(missingFiles(root, f)) > 0 })
		if len(boards) == 0 {
			return append(found, failf(i.Name, addImage, "no Pi boots from it: boot/firmware has no firmware, device tree or kernel"))
		}
	}
	found = append(found, e.checkBoot(i, root, boards)...)
	if len(found) == 0 {
		found = append(found, okf(i.Name, "it has what Pi %s boards boot from", joined(boards)))
	}
	return found
}

const addImage = "add an image for them: picloud image add NAME FILE"

// checkBoot: what a Pi with this image lacks is a failure; what other Pis of
// the rack would lack is not.
func (e *Env) checkBoot(i Image, root *os.Root, boards []order.Family) []Finding {
	var found []Finding
	own := e.families(i.Name)
	for _, f := range boards {
		missing := missingFiles(root, f)
		if len(missing) == 0 {
			continue
		}
		text := fmt.Sprintf("Pi %s boards do not boot from it: no %s", f, strings.Join(missing, ", no "))
		if slices.Contains(own, f) {
			found = append(found, failf(i.Name, addImage, "%s", text))
		} else {
			found = append(found, warnf(i.Name, addImage, "%s", text))
		}
	}
	return found
}

// families are the generations of the known boards that have an image, "" =
// of all known boards.
func (e *Env) families(image string) []order.Family {
	var list []order.Family
	for i := range e.Pis {
		p := &e.Pis[i]
		f := order.Family(p.Model)
		if (image == "" || p.Image == image) && order.Need(f) != nil && !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

func joined(list []order.Family) string {
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// bootFolders are where images have their boot files, the newer place first.
var bootFolders = []string{"boot/firmware", "boot"}

// missingFiles are the files that a family needs and an image lacks.
// config.txt is made for each Pi.
func missingFiles(root *os.Root, f order.Family) []string {
	var missing []string
	for _, group := range order.Need(f) {
		there := slices.ContainsFunc(group, func(name string) bool {
			return name == "config.txt" || slices.ContainsFunc(bootFolders, func(dir string) bool { return regular(root, path.Join(dir, name)) })
		})
		if !there {
			missing = append(missing, strings.Join(group, " or "))
		}
	}
	return missing
}

// regular tells whether a file is there and has something in it. Links are
// followed within the image.
func regular(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}
