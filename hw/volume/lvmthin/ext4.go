package lvmthin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// makeFS makes an empty ext4 file system on a fresh thin volume, whose blocks
// all read as zeros.
func makeFS(ctx context.Context, device string, size int64) error {
	args := []string{"-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096", "-O", "metadata_csum_seed",
		"-E", "nodiscard,assume_storage_prezeroed=1"}
	if size >= 1<<30 {
		// In time a journal takes all its blocks in the pool.
		args = append(args, "-J", "size=32")
	}
	_, err := command(ctx, "mke2fs", append(args, device)...)
	return err
}

// super is what of ext4's superblock matters here.
type super struct {
	uuid   [16]byte
	blocks uint64
	block  uint64 // bytes
}

// readSuper reads the superblock, at 1024 of the disk (Documentation/filesystems/ext4/super.rst).
func readSuper(device string) (super, error) {
	f, err := os.Open(device)
	if err != nil {
		return super{}, err
	}
	defer f.Close()
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, 1024); err != nil {
		return super{}, err
	}
	s, err := parseSuper(b)
	if err != nil {
		return super{}, fmt.Errorf("%s: %w", device, err)
	}
	return s, nil
}

var errNotExt4 = errors.New("not an ext4 file system")

func parseSuper(b []byte) (super, error) {
	if len(b) < 1024 || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return super{}, errNotExt4
	}
	s := super{uuid: [16]byte(b[0x68:]), blocks: uint64(binary.LittleEndian.Uint32(b[0x4:]))}
	if binary.LittleEndian.Uint32(b[0x60:])&0x80 != 0 { // INCOMPAT_64BIT
		s.blocks |= uint64(binary.LittleEndian.Uint32(b[0x150:])) << 32
	}
	log := binary.LittleEndian.Uint32(b[0x18:])
	if log > 6 {
		return super{}, errNotExt4
	}
	s.block = 1024 << log
	return s, nil
}

// fills reports whether the file system has all of a disk of this size.
func (s super) fills(size int64) bool { return s.blocks >= uint64(size)/s.block }

// setUUID gives the file system on an unmounted copy a UUID of its own, made
// from the logical volume's name, unless it has it already. NFS servers that
// know file systems by UUID would else mix up the roots of two Pis.
func setUUID(ctx context.Context, device, id string, has super) error {
	sum := sha256.Sum256([]byte("picloud volume\x00" + id))
	want := [16]byte(sum[:16])
	want[6], want[8] = want[6]&0x0f|0x80, want[8]&0x3f|0x80 // version 8, RFC 9562
	if has.uuid == want {
		return nil
	}
	_, err := command(ctx, "tune2fs", "-U",
		fmt.Sprintf("%x-%x-%x-%x-%x", want[:4], want[4:6], want[6:8], want[8:10], want[10:]), device)
	return err
}

func growFS(ctx context.Context, device string) error {
	_, err := command(ctx, "resize2fs", device)
	return err
}

func (d *Driver) mounts() Mounter {
	if d.opts.Mounts != nil {
		return d.opts.Mounts
	}
	return ownMounts{}
}

// ownMounts mounts in this process's own mount namespace.
type ownMounts struct{}

func (ownMounts) Mount(source, target, fstype string, flags uintptr) error {
	return unix.Mount(source, target, fstype, flags, "")
}

func (ownMounts) Unmount(target string, flags int) error { return unix.Unmount(target, flags) }

// mountFS mounts a device. Programs and devices in a customer's root mean
// nothing on this host.
func (d *Driver) mountFS(device, at string) error { return d.mountFlags(device, at, 0) }

func (d *Driver) mountFlags(device, at string, flags uintptr) error {
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.mounts().Mount(device, at, "ext4", unix.MS_NODEV|unix.MS_NOSUID|flags); err != nil {
		return fmt.Errorf("mount %s at %s: %w", device, at, err)
	}
	return nil
}

// unmountFS unmounts what is mounted at a folder and removes the folder. That
// there is nothing is no error.
func (d *Driver) unmountFS(at string) error {
	for {
		if mounted, err := isMounted(at); err != nil || !mounted {
			if err == nil {
				err = os.Remove(at)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		err := d.mounts().Unmount(at, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("unmount %s: %w", at, volume.ErrBusy)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
}

// isMounted reports whether a folder is on another device than its parent. A
// folder that is not there is not.
func isMounted(at string) (bool, error) {
	dev, err := deviceOf(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	parent, err := deviceOf(filepath.Dir(at))
	return dev != parent, err
}

func deviceOf(name string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return st.Dev, nil
}

// idle returns nil if nobody else, such as a bind mount, has the device's file
// system mounted. Opening a block device with O_EXCL tells (open(2)).
func idle(device string) error {
	n, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is mounted elsewhere: %w", device, volume.ErrBusy)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: device, Err: err}
	}
	return unix.Close(n)
}

// trimFS tells the pool which blocks the file system does not use (FITRIM).
func trimFS(at string) error {
	dir, err := os.Open(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	const fitrim = 0xc0185879 // _IOWR('X', 121, struct fstrim_range)
	span := [3]uint64{0, ^uint64(0), 0}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fitrim, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return os.NewSyscallError("fitrim", errno)
	}
	return nil
}

func syncFS(at string) error {
	dir, err := os.Open(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(dir.Fd())))
}
