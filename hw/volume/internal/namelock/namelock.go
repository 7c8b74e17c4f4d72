// Package namelock lets one call at a time change what has a name.
package namelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Locks are the names that calls are changing. The zero value has none.
type Locks struct {
	// Shared is a folder by which names that begin with a slash are kept from
	// other processes, too: an image is added by one beside the service. Empty
	// means that there are none.
	Shared string

	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the call is done
}

// poll is how often it is looked whether another process has let go of a name.
const poll = 100 * time.Millisecond

// Acquire waits until no other call has the name. When ctx ends first, it
// returns its cause.
func (l *Locks) Acquire(ctx context.Context, name string) (release func(), err error) {
	for {
		release, ok, err := l.Try(ctx, name)
		if err != nil || ok {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

// Try is [Locks.Acquire] that waits for this process alone: ok is false if
// another has the name.
func (l *Locks) Try(ctx context.Context, name string) (release func(), ok bool, err error) {
	here, err := l.acquire(ctx, name)
	if err != nil || l.Shared == "" || !strings.HasPrefix(name, "/") {
		return here, err == nil, err
	}
	file, err := l.lockFile(name[1:])
	if file == nil || err != nil {
		here()
		return nil, false, err
	}
	return func() {
		_ = os.Remove(file.Name()) // while it is locked: whoever waits for it sees that
		_ = file.Close()
		here()
	}, true, nil
}

func (l *Locks) acquire(ctx context.Context, name string) (release func(), err error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l.mu.Lock()
		other := l.busy[name]
		if other == nil {
			done := make(chan struct{})
			if l.busy == nil {
				l.busy = map[string]chan struct{}{}
			}
			l.busy[name] = done
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.busy, name)
				l.mu.Unlock()
				close(done)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-other:
		}
	}
}

// lockFile returns the locked file of a name, nil if another process has it. The
// lock goes with its process (flock(2)).
func (l *Locks) lockFile(name string) (*os.File, error) {
	if err := os.MkdirAll(l.Shared, 0o700); err != nil {
		return nil, err
	}
	for {
		file, err := os.OpenFile(filepath.Join(l.Shared, name+".lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, file.Close()
		}
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("flock", err), file.Close())
		}
		// Whoever had it may have removed it meanwhile.
		now, err := os.Stat(file.Name())
		if err == nil {
			var mine os.FileInfo
			if mine, err = file.Stat(); err == nil && os.SameFile(mine, now) {
				return file, nil
			}
		}
		if closeErr := file.Close(); closeErr != nil || err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(err, closeErr)
		}
	}
}
