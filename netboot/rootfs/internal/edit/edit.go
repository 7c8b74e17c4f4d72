// Package edit changes files of a root file system that may be a customer's,
// and so hostile: whatever stands at a place that is written, no link leads
// out, nothing is written through a link, and nothing makes it wait.
package edit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir makes sure that name is a real directory. A link or a file in its place
// goes. The mode of one that exists is set only if it is to be private.
func Dir(root *os.Root, name string, mode fs.FileMode) error {
	info, err := root.Lstat(name)
	switch {
	case err == nil && info.IsDir() && mode&0o077 != 0:
		return nil
	case err == nil && !info.IsDir():
		if err := root.Remove(name); err != nil {
			return err
		}
		fallthrough
	case errors.Is(err, fs.ErrNotExist):
		if err := root.Mkdir(name, mode); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	return root.Chmod(name, mode)
}

// Dirs makes sure that name and all above it are real directories.
func Dirs(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	for i := range len(name) {
		if name[i] == '/' {
			if err := Dir(root, name[:i], 0o755); err != nil {
				return err
			}
		}
	}
	return Dir(root, name, 0o755)
}

// File writes a new file beside name and moves it into place. The move replaces
// a link, never what it points to; a directory in its place goes.
func File(root *os.Root, name string, mode fs.FileMode, content []byte) error {
	return put(root, name, func(fresh string) error {
		f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	})
}

// OwnedFile is [File] for a file of a user of the root. Without the right to
// give files away it stays the caller's.
func OwnedFile(root *os.Root, name string, mode fs.FileMode, uid, gid int, content []byte) error {
	return put(root, name, func(fresh string) error {
		f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		if chown := f.Chown(uid, gid); !errors.Is(chown, fs.ErrPermission) {
			err = errors.Join(err, chown)
		}
		return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	})
}

// Link puts a symbolic link at name, in place of whatever is there.
func Link(root *os.Root, name, target string) error {
	return put(root, name, func(fresh string) error { return root.Symlink(target, fresh) })
}

// put makes a file under another name and moves it to name.
func put(root *os.Root, name string, build func(fresh string) error) error {
	fresh := path.Join(path.Dir(name), "."+path.Base(name)+".picloud-new")
	if err := root.RemoveAll(fresh); err != nil { // left by a crash
		return err
	}
	err := build(fresh)
	if err == nil {
		if info, statErr := root.Lstat(name); statErr == nil && info.IsDir() {
			err = root.RemoveAll(name)
		}
	}
	if err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		return errors.Join(err, root.RemoveAll(fresh))
	}
	return nil
}

// Read returns the content of a regular file of at most limit bytes, else nil.
// The file itself may not be a link.
func Read(root *os.Root, name string, limit int64) []byte {
	handle, info, err := hold(root, name)
	if err != nil {
		return nil
	}
	defer handle.Close()
	return readHeld(handle, info, limit)
}

// Follow is [Read] through links that stay within the root.
func Follow(root *os.Root, name string, limit int64) []byte {
	for range maxLinks {
		handle, info, err := hold(root, name)
		if err != nil {
			return nil
		}
		if info.Mode().Type() != fs.ModeSymlink {
			defer handle.Close()
			return readHeld(handle, info, limit)
		}
		handle.Close()
		target, err := root.Readlink(name)
		if err != nil || path.IsAbs(target) {
			return nil
		}
		name = path.Dir(name) + "/" + target // not cleaned: the folder may be a link, too
	}
	return nil
}

// maxLinks is how many links are followed for one name.
const maxLinks = 8

// hold gets hold of whatever has the name, even a link, without opening it
// (O_PATH): opening has effects, such as to start a watchdog. os.Root follows
// links itself, but not the last one of a path with O_PATH.
func hold(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	handle, err := root.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := handle.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, handle.Close())
	}
	return handle, info, nil
}

// readHeld reads what is held, if it is a regular file. It is opened by way of
// its handle, so that nothing can be put in its place meanwhile.
func readHeld(handle *os.File, info fs.FileInfo, limit int64) []byte {
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil
	}
	f, err := reopen(handle)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	n, err := b.ReadFrom(io.LimitReader(f, limit+1)) // it may have grown
	if err != nil || n > limit {
		return nil
	}
	return b.Bytes()
}

// reopen opens for reading what a handle refers to.
func reopen(handle *os.File) (f *os.File, err error) {
	raw, err := handle.SyscallConn()
	if err != nil {
		return nil, err
	}
	held := raw.Control(func(fd uintptr) {
		f, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(fd)), os.O_RDONLY|unix.O_NONBLOCK, 0)
	})
	return f, errors.Join(held, err)
}

// maxNames bounds a directory that is listed.
const maxNames = 10_000

// Names returns the names in a directory, but not more than 10,000, and not
// those that edits leave for a moment.
func Names(root *os.Root, name string) []string {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	all, _ := f.Readdirnames(maxNames)
	var names []string
	for _, n := range all {
		if !strings.HasSuffix(n, ".picloud-new") {
			names = append(names, n)
		}
	}
	return names
}

// Sync flushes a directory.
func Sync(root *os.Root, name string) error {
	d, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
