package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxRemoveDepth is how deep removeTree goes before it moves a folder up.
// It bounds the file descriptors, however deep a customer has nested folders.
const maxRemoveDepth = 128

// removeTree deletes the folder name in parent and all that is below it. It
// follows no link. A folder that is not there is no error.
func removeTree(ctx context.Context, parent *os.File, name string) error {
	top, err := openForRemoval(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	r := remover{ctx: ctx, top: top}
	for {
		r.moved = 0
		if err := r.empty(top, 0); err != nil {
			return err
		}
		if r.moved == 0 {
			break
		}
	}
	return unlink(parent, name, unix.AT_REMOVEDIR)
}

type remover struct {
	ctx   context.Context
	top   *os.File
	moved int // folders that were moved up in this pass
	named int // moved up ever: makes their new names unique
}

// empty deletes what is in dir.
func (r *remover) empty(dir *os.File, depth int) error {
	for {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(batch)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if r.ctx.Err() != nil {
				return context.Cause(r.ctx)
			}
			if err := r.remove(dir, name, depth); err != nil {
				return err
			}
		}
	}
}

func (r *remover) remove(dir *os.File, name string, depth int) error {
	st, err := lstatAt(dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !isDir(&st):
		return unlink(dir, name, 0)
	}
	sub, err := openForRemoval(dir, name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if depth+1 >= maxRemoveDepth {
		return r.moveUp(dir, name)
	}
	if err := r.empty(sub, depth+1); err != nil {
		return err
	}
	return unlink(dir, name, unix.AT_REMOVEDIR)
}

// moveUp puts a folder under a new name into the top one, where a later pass
// finds it.
func (r *remover) moveUp(dir *os.File, name string) error {
	for {
		r.named++
		err := unix.Renameat2(fd(dir), name, fd(r.top), fmt.Sprintf(".moved~%d", r.named), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "move up", Path: name, Err: err}
		}
		r.moved++
		return nil
	}
}

func unlink(dir *os.File, name string, flags int) error {
	err := unix.Unlinkat(fd(dir), name, flags)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// openForRemoval opens a folder and makes sure that its owner may change it.
// The mode is set through a handle on the very folder (O_PATH), so that a link
// that takes its place is not followed.
func openForRemoval(dir *os.File, name string) (*os.File, error) {
	h, err := unix.Openat(fd(dir), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open folder", Path: name, Err: err}
	}
	defer unix.Close(h)
	var st unix.Stat_t
	if err := unix.Fstat(h, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Mode&0o700 != 0o700 {
		if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", h), st.Mode&0o7777|0o700); err != nil {
			return nil, &fs.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	return openDir(h, ".")
}
