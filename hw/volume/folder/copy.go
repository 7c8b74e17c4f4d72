package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// chunk is how much is copied between two looks at the context.
const chunk = 4 << 20

// copier copies one tree. Modes, times, links, several names of one file,
// holes and special files are kept, and owners when it runs as root.
type copier struct {
	ctx         context.Context
	parent      *os.File // the folder that the copy is made in
	dst         *os.File // the copy's top folder
	dev         uint64   // of the tree: what is mounted in it is left out
	done, total int64
	progress    func(done, total int64)
	links       map[inode]string // where the first name of a file is in the copy
	reflink     bool             // until the file system says that it cannot
	root        bool
}

func (c *copier) copyRoot(src *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd(src), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	c.dev = st.Dev
	c.report(0)
	if err := makeDir(c.parent, name); err != nil {
		return err
	}
	var err error
	if c.dst, err = openDir(fd(c.parent), name); err != nil {
		return err
	}
	defer c.dst.Close()
	if err := c.copyEntries(src, c.dst, "", 0); err != nil {
		return err
	}
	if err := c.finish(c.parent, src, c.dst, name, &st); err != nil {
		return err
	}
	c.report(c.total - c.done) // the image may have changed since it was measured
	return nil
}

func (c *copier) report(n int64) {
	c.done = min(c.done+n, c.total)
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
}

func makeDir(dir *os.File, name string) error {
	if err := unix.Mkdirat(fd(dir), name, 0o700); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

// copyEntries copies what is in src, which is at rel in the tree, to dst.
func (c *copier) copyEntries(src, dst *os.File, rel string, depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("%w: more than %d", volume.ErrTooDeep, maxDepth)
	}
	return eachEntry(c.ctx, src, func(name string) error {
		st, err := lstatAt(src, name)
		if err != nil {
			return err
		}
		at := path.Join(rel, name)
		if err := c.copyEntry(src, dst, name, at, depth, &st); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	})
}

func (c *copier) copyEntry(src, dst *os.File, name, at string, depth int, st *unix.Stat_t) error {
	id := inode{st.Dev, st.Ino}
	if first, known := c.links[id]; known && !isDir(st) {
		return os.NewSyscallError("link", unix.Linkat(fd(c.dst), first, fd(dst), name, 0))
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.copyDir(src, dst, name, at, depth, st)
	case unix.S_IFREG:
		if err := c.copyFile(src, dst, name, st); err != nil {
			return err
		}
		if st.Nlink > 1 {
			c.links[id] = at
		}
		return nil
	case unix.S_IFLNK:
		err = copyLink(src, dst, name)
	default:
		err = c.makeNode(dst, name, st)
	}
	if err != nil {
		return err
	}
	if st.Nlink > 1 {
		c.links[id] = at
	}
	return c.finish(dst, nil, nil, name, st)
}

func (c *copier) copyDir(src, dst *os.File, name, at string, depth int, st *unix.Stat_t) error {
	if err := makeDir(dst, name); err != nil {
		return err
	}
	to, err := openDir(fd(dst), name)
	if err != nil {
		return err
	}
	defer to.Close()
	if st.Dev != c.dev {
		return c.finish(dst, nil, to, name, st)
	}
	from, err := openDir(fd(src), name)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := c.copyEntries(from, to, at, depth+1); err != nil {
		return err
	}
	return c.finish(dst, from, to, name, st)
}

// finish gives a copied entry its owner, mode, extended attributes and times,
// in this order: the owner's change clears set-uid bits and file capabilities,
// and all else would change the times. The copy is in nobody else's hands yet,
// so names in it can be trusted. from and open are the original and the copy,
// nil if the entry is of a kind that is not opened.
func (c *copier) finish(dir, from, open *os.File, name string, st *unix.Stat_t) error {
	if c.root {
		if err := unix.Fchownat(fd(dir), name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return os.NewSyscallError("chown", err)
		}
	}
	mode := st.Mode & 0o7777
	var err error
	switch {
	case open != nil:
		err = unix.Fchmod(fd(open), mode)
	case st.Mode&unix.S_IFMT != unix.S_IFLNK:
		err = unix.Fchmodat(fd(dir), name, mode, 0)
	}
	if err != nil {
		return os.NewSyscallError("chmod", err)
	}
	if from != nil {
		if err := c.copyXattrs(open, from); err != nil {
			return err
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd(dir), name, times, unix.AT_SYMLINK_NOFOLLOW))
}

func copyLink(src, dst *os.File, name string) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd(src), name, buf)
	if err != nil {
		return os.NewSyscallError("readlink", err)
	}
	return os.NewSyscallError("symlink", unix.Symlinkat(string(buf[:n]), fd(dst), name))
}

// makeNode makes a pipe, a socket or a device.
func (c *copier) makeNode(dst *os.File, name string, st *unix.Stat_t) error {
	err := unix.Mknodat(fd(dst), name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev))
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("make device: %w (it needs CAP_MKNOD: run as root, or take devices out of the image)", err)
	}
	return os.NewSyscallError("mknod", err)
}

func (c *copier) copyFile(src, dst *os.File, name string, st *unix.Stat_t) error {
	// If a pipe has taken the file's place, opening must not wait.
	n, err := unix.Openat(fd(src), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	from := os.NewFile(uintptr(n), name)
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("changed while it was copied")
	}
	n, err = unix.Openat(fd(dst), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("create", err)
	}
	to := os.NewFile(uintptr(n), name)
	err = c.copyData(to, from, info.Size())
	if err == nil {
		err = c.finish(dst, from, to, name, st)
	}
	return errors.Join(err, to.Close())
}

func (c *copier) copyData(to, from *os.File, size int64) error {
	if c.reflink && size > 0 {
		err := unix.IoctlFileClone(fd(to), fd(from))
		if err == nil {
			c.report(size)
			return nil
		}
		c.reflink = false // EOPNOTSUPP, EXDEV, ENOTTY or EINVAL: the same for every file
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd(from), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			c.report(size - at)
			break
		}
		if err != nil {
			return os.NewSyscallError("seek", err)
		}
		hole, err := unix.Seek(fd(from), data, unix.SEEK_HOLE)
		if err != nil {
			return os.NewSyscallError("seek", err)
		}
		c.report(data - at)
		if err := c.copyRange(to, from, data, hole); err != nil {
			return err
		}
		at = hole
	}
	return to.Truncate(size)
}

// copyRange copies the bytes from start to end, in the kernel where it can
// (copy_file_range(2), by io.CopyN).
func (c *copier) copyRange(to, from *os.File, start, end int64) error {
	for _, f := range [...]*os.File{from, to} {
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	for start < end {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		n, err := io.CopyN(to, from, min(chunk, end-start))
		start += n
		c.report(n)
		if err != nil {
			return err
		}
	}
	return nil
}
