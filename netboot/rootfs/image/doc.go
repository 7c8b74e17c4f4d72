// Package image keeps the operating systems that roots are cloned from: each a
// folder with a whole root file system, the boot files under boot/firmware (or
// boot, as Raspberry Pi OS had it until Bullseye).
//
// [Add] makes one out of what people have: a Raspberry Pi OS disk image or a
// tarball, compressed or not. Nothing is mounted and no part of an image is
// trusted: it comes to an end within the limits of [Limits], is refused with
// an [Error] that says why, and leaves nothing behind then or after a power
// cut, since a folder is filled under another name and moved into place whole.
package image

import (
	"errors"
	"fmt"
	"regexp"

	"picloud/netboot/rootfs/image/ext4"
	"picloud/netboot/rootfs/image/fat"
	"picloud/netboot/rootfs/image/ptable"
)

var (
	// ErrInvalidName means that an image cannot have this name.
	ErrInvalidName = errors.New("invalid image name")
	// ErrExists means that there is an image of this name.
	ErrExists = errors.New("image exists")
	// ErrNotFound means that there is no image of this name.
	ErrNotFound = errors.New("no such image")
	// ErrInUse means that something else still needs the image.
	ErrInUse = errors.New("image is in use")
	// ErrDigest means that a file is not the one that was meant.
	ErrDigest = errors.New("SHA-256 differs")
	// ErrFormat means a file that holds no image that can be read.
	ErrFormat = errors.New("not an image")
	// ErrTruncated means that a file ends before its content does.
	ErrTruncated = errors.New("file is cut off")
	// ErrLimit means that an image has more of something than [Limits] allow.
	ErrLimit = errors.New("over the limit")
	// ErrUnsafe means that an image has a name, a link or a device that no
	// honest one has.
	ErrUnsafe = errors.New("unsafe content")
	// ErrNotRoot means that what was unpacked is no root of an operating system.
	ErrNotRoot = errors.New("no operating system in it")
)

// Error is what every function here returns.
type Error struct {
	Op   string // add, list, show, remove, sweep
	Name string // of the image, or the folder
	Err  error  // the cause
	Hint string // what a person can do; may be empty
}

// Error returns all of it in one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("image: %s %s: %v", e.Op, e.Name, e.Err)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// hints are in the order in which they are tried.
var hints = []struct {
	err  error
	hint string
}{
	{ErrInvalidName, "use 1 to 63 small letters, digits, and . - _ between them"},
	{ErrExists, "choose another name, or remove the image first"},
	{errNoDigest, "give the 64 hexadecimal digits that the publisher tells"},
	{ErrDigest, "download the file again, and compare the digest with the publisher's"},
	{ErrTruncated, "download the file again"},
	{ptable.ErrOutside, "the file is cut off, or a trap: download it again"},
	{ptable.ErrCorrupt, "download the file again"},
	{ext4.ErrCorrupt, "download the file again"},
	{fat.ErrCorrupt, "download the file again"},
	{ext4.ErrUnsupported, "make the image anew with mke2fs's usual features"},
	{ErrLimit, "if you trust the image, raise the limit"},
	{ErrUnsafe, "do not use this image: honest ones do not do this"},
	{ErrNotRoot, "give a whole Raspberry Pi OS or Debian image, and with a root tarball its boot tarball"},
	{ErrFormat, "give an .img or a .tar, plain or packed with xz, gzip or zstd; unpack anything else first"},
}

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Name: name, Err: err}
	for _, h := range hints {
		if errors.Is(err, h.err) {
			e.Hint = h.hint
			break
		}
	}
	return e
}

const maxName = 63

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

func checkName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return fmt.Errorf("%w: %.80q", ErrInvalidName, name)
	}
	return nil
}

// Limits bound what an image may use. The zero value of a field means its
// default.
type Limits struct {
	// Bytes that all files have together, holes included, and that a packed
	// file unpacks to. Default 64 GiB.
	Bytes int64
	// Entries are files, directories, links and devices. Default 2 million.
	Entries int
	// Devices are device nodes. Default 4096; a root needs about 200.
	Devices int
	// Memory is the most that unpacking may take for its window, in bytes.
	// Default 256 MiB; xz -9 needs 64 MiB.
	Memory int64
}

func (l Limits) orDefault() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 64 << 30
	}
	if l.Entries <= 0 {
		l.Entries = 2_000_000
	}
	if l.Devices <= 0 {
		l.Devices = 4096
	}
	if l.Memory <= 0 {
		l.Memory = 256 << 20
	}
	return l
}
