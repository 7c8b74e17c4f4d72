// Package ext4 reads ext2, ext3 and ext4 file systems out of an image file,
// without mounting them and without writing.
//
// An image comes from the network, so that every structure in it may be
// hostile: every number is checked against the file system's size before it is
// used, no structure is read more often than the file system has blocks, and
// memory is bounded by a block, a directory and [MaxXattrs] whatever the image
// says. A kernel that mounts the same image has no such bounds, which is why
// this is not done by a loop device.
//
// The format is that of the kernel's Documentation/filesystems/ext4.
package ext4

import "errors"

var (
	// ErrNotExt4 means that there is no ext2, ext3 or ext4 here.
	ErrNotExt4 = errors.New("not an ext4 file system")
	// ErrCorrupt means that a structure contradicts itself, its checksum or the
	// size of the file system.
	ErrCorrupt = errors.New("corrupt ext4 file system")
	// ErrUnsupported means a feature that this package does not read; the
	// error says which.
	ErrUnsupported = errors.New("unsupported ext4 feature")
	// ErrDirty means that the journal has to be replayed first.
	ErrDirty = errors.New("ext4 journal was not replayed: the image was taken from a mounted file system; run e2fsck on it")
)
