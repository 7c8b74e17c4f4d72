package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of include/uapi/linux/btrfs.h. They are numbers of one table, so
// that no tool, of one version or another, stands between us and the kernel.
const (
	iocTreeSearch   = 0xd0009411 // _IOWR(0x94, 17, 4096)
	iocSnapDestroy  = 0x5000940f // _IOW(0x94, 15, 4096)
	iocSnapCreate   = 0x50009417 // _IOW(0x94, 23, 4096): BTRFS_IOC_SNAP_CREATE_V2
	iocSubvolCreate = 0x50009418 // _IOW(0x94, 24, 4096): BTRFS_IOC_SUBVOL_CREATE_V2
	iocGetFlags     = 0x80089419 // _IOR(0x94, 25, 8): BTRFS_IOC_SUBVOL_GETFLAGS
	iocSetFlags     = 0x4008941a // _IOW(0x94, 26, 8): BTRFS_IOC_SUBVOL_SETFLAGS
	iocQuotaCtl     = 0xc0109428 // _IOWR(0x94, 40, 16)
	iocQgroupCreate = 0x4010942a // _IOW(0x94, 42, 16)
	iocQgroupLimit  = 0x8030942b // _IOR(0x94, 43, 48)
	iocRescanWait   = 0x0000942e // _IO(0x94, 46): BTRFS_IOC_QUOTA_RESCAN_WAIT
	iocSubvolInfo   = 0x81f8943c // _IOR(0x94, 60, 504): BTRFS_IOC_GET_SUBVOL_INFO
)

// Values of include/uapi/linux/btrfs.h and btrfs_tree.h.
const (
	magic             = 0x9123683e // BTRFS_SUPER_MAGIC
	firstInode        = 256        // BTRFS_FIRST_FREE_OBJECTID: the top folder of every subvolume
	subvolReadOnly    = 1 << 1     // BTRFS_SUBVOL_RDONLY
	quotaEnable       = 1          // BTRFS_QUOTA_CTL_ENABLE
	quotaEnableSimple = 4          // BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA, Linux 6.7
	limitMaxRfer      = 1 << 0     // BTRFS_QGROUP_LIMIT_MAX_RFER
	rootTree          = 1          // BTRFS_ROOT_TREE_OBJECTID
	quotaTree         = 8          // BTRFS_QUOTA_TREE_OBJECTID
	keyRootItem       = 132        // BTRFS_ROOT_ITEM_KEY
	keyQgroupInfo     = 242        // BTRFS_QGROUP_INFO_KEY
	keyQgroupLimit    = 244        // BTRFS_QGROUP_LIMIT_KEY
)

func fd(f *os.File) int { return int(f.Fd()) }

func ioctl(what string, dir *os.File, request uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), uintptr(request), uintptr(arg))
	switch {
	case errno == 0:
		return nil
	case errors.Is(errno, unix.EPERM):
		return fmt.Errorf("%s: %w (it needs CAP_SYS_ADMIN: run as root)", what, errno)
	}
	return fmt.Errorf("%s: %w", what, errno)
}

// openFolder opens a folder, without following a link at the end of name.
func openFolder(name string) (*os.File, error) {
	n, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open folder", Path: name, Err: err}
	}
	return os.NewFile(uintptr(n), name), nil
}

// volArgsV2 is struct btrfs_ioctl_vol_args_v2.
type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [4040]byte
}

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	fd   int64
	name [4088]byte
}

// createSubvolume makes an empty subvolume, of mode 0755 less the umask.
func createSubvolume(parent *os.File, name string) error {
	var a volArgsV2
	copy(a.name[:len(a.name)-1], name)
	return ioctl("create subvolume", parent, iocSubvolCreate, unsafe.Pointer(&a))
}

// createSnapshot makes name in parent a subvolume with the content of src.
func createSnapshot(src, parent *os.File, name string, readOnly bool) error {
	a := volArgsV2{fd: int64(src.Fd())}
	if readOnly {
		a.flags = subvolReadOnly
	}
	copy(a.name[:len(a.name)-1], name)
	return ioctl("create snapshot", parent, iocSnapCreate, unsafe.Pointer(&a))
}

// destroySubvolume deletes a subvolume at once; the kernel reclaims its room
// later. One that is not there is no error.
func destroySubvolume(parent *os.File, name string) error {
	var a volArgs
	copy(a.name[:len(a.name)-1], name)
	err := ioctl("delete subvolume", parent, iocSnapDestroy, unsafe.Pointer(&a))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func setReadOnly(dir *os.File) error {
	var flags uint64
	if err := ioctl("read subvolume's flags", dir, iocGetFlags, unsafe.Pointer(&flags)); err != nil {
		return err
	}
	flags |= subvolReadOnly
	return ioctl("make subvolume read-only", dir, iocSetFlags, unsafe.Pointer(&flags))
}

// subvolInfo is struct btrfs_ioctl_get_subvol_info_args.
type subvolInfo struct {
	id                                     uint64
	name                                   [256]byte
	parentID, dirID, generation, flags     uint64
	uuid, parentUUID, receivedUUID         [16]byte
	ctransid, otransid, stransid, rtransid uint64
	ctime, otime, stime, rtime             ioctlTime
	reserved                               [8]uint64
}

type ioctlTime struct {
	sec  uint64
	nsec uint32
	_    uint32
}

// describe returns the number of the subvolume that dir is in, and when it was made.
func describe(dir *os.File) (id uint64, created time.Time, err error) {
	var a subvolInfo
	if err := ioctl("read subvolume's description", dir, iocSubvolInfo, unsafe.Pointer(&a)); err != nil {
		return 0, time.Time{}, err
	}
	return a.id, time.Unix(int64(a.otime.sec), int64(a.otime.nsec)), nil
}

// enableQuota turns quotas on: simple ones where the kernel has them, because
// full ones make every write dearer by the number of snapshots. What is on
// already stays as it is.
func enableQuota(dir *os.File) error {
	a := [2]uint64{quotaEnableSimple}
	err := ioctl("enable simple quotas", dir, iocQuotaCtl, unsafe.Pointer(&a))
	if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	a = [2]uint64{quotaEnable}
	if err := ioctl("enable quotas", dir, iocQuotaCtl, unsafe.Pointer(&a)); err != nil {
		return err
	}
	return ioctl("wait for quotas", dir, iocRescanWait, nil)
}

// setLimit limits what the subvolume with this number may refer to, in bytes.
func setLimit(dir *os.File, id uint64, limit int64) error {
	a := [6]uint64{id, limitMaxRfer, uint64(limit)} // struct btrfs_ioctl_qgroup_limit_args
	return ioctl("limit subvolume", dir, iocQgroupLimit, unsafe.Pointer(&a))
}

// destroyQgroup forgets the accounts of a subvolume.
func destroyQgroup(dir *os.File, id uint64) error {
	a := [2]uint64{0, id} // struct btrfs_ioctl_qgroup_create_args
	return ioctl("delete quota group", dir, iocQgroupCreate, unsafe.Pointer(&a))
}

// quota is a subvolume's account.
type quota struct {
	used  int64 // bytes
	limit int64 // bytes, 0 for none
}

func quotaOf(dir *os.File, id uint64) (q quota, err error) {
	err = search(dir, quotaTree, key{0, keyQgroupInfo, id}, key{0, keyQgroupInfo, id}, func(_ key, item []byte) {
		if len(item) >= 16 { // struct btrfs_qgroup_info_item
			q.used = int64(binary.LittleEndian.Uint64(item[8:]))
		}
	})
	if err != nil {
		return q, err
	}
	err = search(dir, quotaTree, key{0, keyQgroupLimit, id}, key{0, keyQgroupLimit, id}, func(_ key, item []byte) {
		if len(item) >= 16 && binary.LittleEndian.Uint64(item)&limitMaxRfer != 0 { // struct btrfs_qgroup_limit_item
			q.limit = int64(binary.LittleEndian.Uint64(item[8:]))
		}
	})
	return q, err
}

// deadQgroups are the accounts of subvolumes that are no more.
func deadQgroups(dir *os.File) ([]uint64, error) {
	alive := map[uint64]bool{5: true} // BTRFS_FS_TREE_OBJECTID, the top
	err := search(dir, rootTree, key{firstInode, keyRootItem, 0}, key{^uint64(0) - 256, keyRootItem, ^uint64(0)},
		func(k key, _ []byte) {
			if k.kind == keyRootItem {
				alive[k.object] = true
			}
		})
	if err != nil {
		return nil, err
	}
	var dead []uint64
	err = search(dir, quotaTree, key{0, keyQgroupInfo, 0}, key{0, keyQgroupInfo, 1<<48 - 1}, func(k key, _ []byte) {
		if !alive[k.offset] {
			dead = append(dead, k.offset)
		}
	})
	return dead, err
}

type key struct {
	object uint64
	kind   uint32
	offset uint64
}

// searchArgs is struct btrfs_ioctl_search_args.
type searchArgs struct {
	tree                          uint64
	minObject, maxObject          uint64
	minOffset, maxOffset          uint64
	minTransid, maxTransid        uint64
	minKind, maxKind              uint32
	items, unused                 uint32
	unused1, unused2, u3, unused4 uint64
	buf                           [3992]byte
}

const itemHeader = 32 // struct btrfs_ioctl_search_header

// search calls f for each item of a tree from one key to another, in order.
func search(dir *os.File, tree uint64, from, to key, f func(key, []byte)) error {
	for {
		a := searchArgs{
			tree: tree, minObject: from.object, maxObject: to.object, minOffset: from.offset, maxOffset: to.offset,
			minKind: from.kind, maxKind: to.kind, maxTransid: ^uint64(0), items: 4096,
		}
		if err := ioctl("search tree", dir, iocTreeSearch, unsafe.Pointer(&a)); err != nil {
			return err
		}
		if a.items == 0 {
			return nil
		}
		last, err := eachItem(a.buf[:], int(a.items), f)
		if err != nil {
			return err
		}
		if last == to || last.offset == ^uint64(0) {
			return nil
		}
		from = last
		from.offset++
	}
}

var errShortItem = errors.New("search tree: the kernel's answer is cut short")

func eachItem(b []byte, items int, f func(key, []byte)) (last key, err error) {
	for range items {
		if len(b) < itemHeader {
			return last, errShortItem
		}
		last = key{binary.NativeEndian.Uint64(b[8:]), binary.NativeEndian.Uint32(b[24:]), binary.NativeEndian.Uint64(b[16:])}
		n := int(binary.NativeEndian.Uint32(b[28:]))
		if n > len(b)-itemHeader {
			return last, errShortItem
		}
		f(last, b[itemHeader:itemHeader+n])
		b = b[itemHeader+n:]
	}
	return last, nil
}
