package bootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxFileSize is the size of the largest file served, in octets: twice what a
// bootloader of before September 2025 can load (65,535 blocks of 1,468 octets), and
// the limit of a boot.img.
const MaxFileSize = 128 << 20

// maxLinks is how many links are followed for one name.
const maxLinks = 8

// OpenRegular opens for reading the regular file name beneath a root that may be
// hostile, through links that stay within it. What is no regular file is never
// opened, since opening has effects: a pipe blocks, and a device such as a watchdog
// starts. Errors: [ErrNotRegular], [ErrTooLarge], [ErrLink], [fs.ErrNotExist], or
// what the file system said.
func OpenRegular(root *os.Root, name string) (*os.File, error) {
	f, _, err := openBeneath(root, name)
	return f, err
}

// openIn opens the regular file name beneath the folder sub of dir, and nothing
// that is outside of sub.
func openIn(dir, sub, name string) (*os.File, int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	if sub != "" {
		inner, err := openFolder(root, sub)
		if err != nil {
			return nil, 0, err
		}
		defer inner.Close()
		root = inner
	}
	return openBeneath(root, name)
}

// openFolder opens a folder. os.Root.OpenRoot would do, but that it waits for a
// writer if what has the name is a pipe.
func openFolder(root *os.Root, name string) (*os.Root, error) {
	handle, info, err := hold(root, name)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	if !info.IsDir() {
		return nil, fs.ErrNotExist
	}
	var folder *os.Root
	err = byHandle(handle, func(path string) (err error) {
		folder, err = os.OpenRoot(path)
		return err
	})
	return folder, err
}

// openBeneath opens a regular file.
func openBeneath(root *os.Root, name string) (*os.File, int64, error) {
	handle, info, err := hold(root, name)
	if err != nil {
		return nil, 0, err
	}
	defer handle.Close()
	return reopen(handle, info)
}

// hold gets hold of whatever has the name, or is at the end of its links, without
// opening it (O_PATH), since opening has effects: a pipe blocks, and a device such
// as a watchdog starts. What then is of the right kind is opened by way of the
// same handle, so that nothing can be put in its place meanwhile.
func hold(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	for range maxLinks {
		handle, err := root.OpenFile(name, unix.O_PATH, 0)
		if err != nil {
			return nil, nil, pathError(err)
		}
		info, err := handle.Stat()
		if err != nil {
			handle.Close()
			return nil, nil, err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			return handle, info, nil
		}
		handle.Close()
		if name, err = follow(root, name); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, ErrLink
}

// follow returns where the link name leads. os.Root follows links itself, but not
// the last one of a path with O_PATH.
func follow(root *os.Root, name string) (string, error) {
	target, err := root.Readlink(name)
	if err != nil {
		return "", pathError(err)
	}
	to := path.Join(path.Dir(name), target)
	if path.IsAbs(target) || !filepath.IsLocal(to) {
		return "", ErrLink
	}
	return to, nil
}

// reopen opens for reading what handle refers to, if it is a regular file.
func reopen(handle *os.File, info fs.FileInfo) (*os.File, int64, error) {
	if !info.Mode().IsRegular() {
		return nil, 0, ErrNotRegular
	}
	if info.Size() > MaxFileSize {
		return nil, 0, ErrTooLarge
	}
	var f *os.File
	err := byHandle(handle, func(path string) (err error) {
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		return err
	})
	return f, info.Size(), err
}

// byHandle calls open with a path that leads to what a handle refers to.
func byHandle(handle *os.File, open func(path string) error) error {
	raw, err := handle.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = open("/proc/self/fd/" + strconv.Itoa(int(fd))) })
	if err = errors.Join(cerr, err); err != nil {
		return fmt.Errorf("open what was found: %w", err)
	}
	return nil
}

// pathError tells apart the errors of os.Root. It reports a path that leads out by
// an error that it does not export, which is the only one without an errno.
func pathError(err error) error {
	var errno syscall.Errno
	switch {
	case !errors.As(err, &errno), errno == syscall.ELOOP:
		return ErrLink
	case errno == syscall.ENOTDIR, errno == syscall.ENAMETOOLONG:
		return fs.ErrNotExist
	}
	return err
}
