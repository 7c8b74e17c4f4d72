package knfsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/nfs"
)

// ownMounts mounts in this process's own mount namespace.
type ownMounts struct{}

func (ownMounts) Mount(source, target, fstype string, flags uintptr) error {
	return unix.Mount(source, target, fstype, flags, "")
}

func (ownMounts) Unmount(target string, flags int) error { return unix.Unmount(target, flags) }

// sameFolder reports whether two names are of one folder.
func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// bound reports whether an export's folder, and no other, is at its path.
func (s *Server) bound(e nfs.Export) bool { return sameFolder(e.Dir, e.Path) }

// bind makes an export's folder be at its path.
func (s *Server) bind(e nfs.Export) error {
	if s.bound(e) {
		return nil
	}
	if err := s.unbind(context.Background(), e.Path); err != nil { // what was there before
		return err
	}
	if err := os.MkdirAll(e.Path, 0o755); err != nil {
		return err
	}
	if resolved, err := filepath.EvalSymlinks(e.Path); err != nil || resolved != e.Path {
		return fmt.Errorf("%s leads to %s: there must be no link in it", e.Path, resolved)
	}
	if err := s.cfg.Mounts.Mount(e.Dir, e.Path, "", unix.MS_BIND); err != nil {
		return fmt.Errorf("bind %s to %s: %w", e.Dir, e.Path, err)
	}
	// Programs and devices in a customer's root mean nothing on this host.
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NODEV | unix.MS_NOSUID)
	if e.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if err := s.cfg.Mounts.Mount("", e.Path, "", flags); err != nil {
		return errors.Join(fmt.Errorf("bind %s: %w", e.Path, err), s.cfg.Mounts.Unmount(e.Path, unix.MNT_DETACH))
	}
	return nil
}

// unbindPatience is how long the kernel may take to close a withdrawn export's
// files.
const unbindPatience = 5 * time.Second

// unbind undoes bind. If the kernel still has files open after a while, the
// folder is taken away from its path all the same and let go of later.
func (s *Server) unbind(ctx context.Context, at string) error {
	deadline := time.Now().Add(unbindPatience)
	for {
		err := s.cfg.Mounts.Unmount(at, unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted there
			if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
				return err
			}
			return nil
		case err == nil:
			continue // there may be another one below it
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("unbind %s: %w", at, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			s.log.Warn("files of a withdrawn export are still open", "path", at)
			if err := s.cfg.Mounts.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("unbind %s: %w", at, err)
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
