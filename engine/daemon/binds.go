package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/netboot/nfs"
)

// binds mount btrfs subvolumes by themselves, since nfs-ganesha finds no root
// that is not a mount. Each volume has one as long as it exists: a running
// Pi's must be there before the server starts again.
type binds struct{ dir string }

// restore binds all volumes, as after a restart of the host, and lets go of
// those that are no more.
func (b binds) restore(ctx context.Context, volumes volume.Driver) error {
	list, err := volumes.List(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	var errs []error
	for _, v := range list {
		there[v.Name] = true
		dir, err := volumes.Path(v.Name)
		if err == nil {
			_, err = b.bind(v.Name, dir)
		}
		errs = append(errs, err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if !there[e.Name()] {
			errs = append(errs, b.unbind(ctx, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// bind returns where a volume is a mount of its own. One that is not a
// subvolume needs none.
func (b binds) bind(name, dir string) (string, error) {
	on, err := nfs.FileSystemOf(dir)
	if err != nil || !on.Subvolume {
		return dir, err
	}
	at := filepath.Join(b.dir, name)
	if err := os.MkdirAll(at, 0o700); err != nil {
		return "", err
	}
	if same, err := sameFolder(dir, at); err != nil || same {
		return at, err
	}
	if err := unix.Mount(dir, at, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("bind %s to %s: %w", dir, at, err)
	}
	// Programs and devices in a customer's root mean nothing on this host.
	if err := unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NODEV|unix.MS_NOSUID, ""); err != nil {
		return "", errors.Join(fmt.Errorf("bind %s: %w", at, err), unix.Unmount(at, unix.MNT_DETACH))
	}
	return at, nil
}

func sameFolder(a, b string) (bool, error) {
	one, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other), err
}

// unbindPatience is how long the server may take to close a withdrawn root's
// files.
const unbindPatience = 5 * time.Second

// unbind undoes bind. That there is nothing is no error.
func (b binds) unbind(ctx context.Context, name string) error {
	if err := volume.CheckName(name); err != nil {
		return err
	}
	at := filepath.Join(b.dir, name)
	flags := unix.UMOUNT_NOFOLLOW
	for deadline := time.Now().Add(unbindPatience); ; {
		err := unix.Unmount(at, flags)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // not, or no longer, a mount
			if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		case err == nil:
			continue
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("unbind %s: %w", at, err)
		case time.Now().After(deadline):
			flags |= unix.MNT_DETACH // it is let go of later
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
