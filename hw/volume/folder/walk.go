package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// maxDepth bounds the folders, and so the file descriptors, that are open at
// once when a tree is walked.
const maxDepth = 512

// batch is how many names of a folder are in memory at once.
const batch = 1024

func fd(f *os.File) int { return int(f.Fd()) }

// inode identifies a file with several names.
type inode struct{ dev, ino uint64 }

// openDir opens a folder for reading. It follows no link at the end of name,
// which is one path element if dirFD is a folder's.
func openDir(dirFD int, name string) (*os.File, error) {
	n, err := unix.Openat(dirFD, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open folder", Path: name, Err: err}
	}
	return os.NewFile(uintptr(n), name), nil
}

func lstatAt(dir *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd(dir), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return st, nil
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// eachEntry calls f for every name in an open folder, from the first on.
func eachEntry(ctx context.Context, dir *os.File, f func(name string) error) error {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := f(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// treeSize adds up a measure of every file below dir, counting a file with
// several names once. Folders of other file systems mounted in the tree are
// left out.
func treeSize(ctx context.Context, dir *os.File, measure func(*unix.Stat_t) int64) (int64, error) {
	var top unix.Stat_t
	if err := unix.Fstat(fd(dir), &top); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	s := sizer{ctx: ctx, dev: top.Dev, measure: measure, seen: map[inode]bool{}}
	if err := s.add(dir, 0); err != nil {
		return 0, err
	}
	return s.sum, nil
}

type sizer struct {
	ctx     context.Context
	dev     uint64
	measure func(*unix.Stat_t) int64
	seen    map[inode]bool
	sum     int64
}

func (s *sizer) add(dir *os.File, depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("%w: more than %d", volume.ErrTooDeep, maxDepth)
	}
	return eachEntry(s.ctx, dir, func(name string) error {
		st, err := lstatAt(dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile, by the volume's Pi
		case err != nil:
			return err
		case isDir(&st):
			if st.Dev != s.dev {
				return nil
			}
			return s.addDir(dir, name, depth)
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			return nil
		case st.Nlink > 1:
			id := inode{st.Dev, st.Ino}
			if s.seen[id] {
				return nil
			}
			s.seen[id] = true
		}
		s.sum += s.measure(&st)
		return nil
	})
}

func (s *sizer) addDir(dir *os.File, name string, depth int) error {
	sub, err := openDir(fd(dir), name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // replaced meanwhile
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	return s.add(sub, depth+1)
}
