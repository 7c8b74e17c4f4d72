package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// lock is held by the process that has the database open. It is an flock, so
// the kernel releases it when the process dies in whatever way. The file is
// never removed: a process that waits to open a removed one would lock nothing.
type lock struct{ f *os.File }

// takeLock locks the file at path or returns an ErrInUse that names the
// process which has it.
func takeLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w by %s: %s", ErrInUse, holder(f), hintInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l := &lock{f: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

// sign writes the process id into the file, for people and for holder.
func (l *lock) sign() error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// release unlocks by name: a process that is just being started holds a copy of
// the file until it executes, and closing ours alone would leave the lock to it.
func (l *lock) release() error {
	return errors.Join(syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN), l.f.Close())
}

// holder reads who signed the lock file.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" {
		return "another process"
	}
	return "process " + pid
}
