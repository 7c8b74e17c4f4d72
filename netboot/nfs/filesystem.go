package nfs

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// FileSystem is what a folder is on.
type FileSystem struct {
	// Whole is set if the folder is the top of a file system that has nothing
	// else in it. A file handle, which a Pi's root can make up, then names
	// nothing that is not below the folder.
	Whole bool
	// Subvolume is set if the folder is the top of a btrfs subvolume that is
	// not mounted by itself.
	Subvolume bool
	// Kind is its magic number, as statfs(2) lists them.
	Kind int64
}

// Magic numbers of include/uapi/linux/magic.h.
const (
	Ext4  = 0xef53
	Btrfs = 0x9123683e
)

// FileSystemOf looks at what a folder is on. Only ext4 is known to be whole: of
// btrfs, one handle names a file of any subvolume.
func FileSystemOf(dir string) (FileSystem, error) {
	var sfs unix.Statfs_t
	if err := unix.Statfs(dir, &sfs); err != nil {
		return FileSystem{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &st); err != nil {
		return FileSystem{}, &fs.PathError{Op: "statx", Path: dir, Err: err}
	}
	const (
		ext4Top  = 2   // EXT4_ROOT_INO; a bind mount is the top of a mount, too
		btrfsTop = 256 // BTRFS_FIRST_FREE_OBJECTID
	)
	mounted := st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	return FileSystem{
		Whole:     mounted && sfs.Type == Ext4 && st.Ino == ext4Top,
		Subvolume: !mounted && sfs.Type == Btrfs && st.Ino == btrfsTop,
		Kind:      sfs.Type,
	}, nil
}
