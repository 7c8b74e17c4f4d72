package daemon

import (
	"errors"
	"sync"
	"time"

	"picloud/netboot/rootfs/netbootable"
)

const (
	// lookFor is how long what was found out about a root's kernels holds. It is
	// shorter than it takes a Pi to shut down and ask again.
	lookFor = 2 * time.Second
	// lookWithin is how long a Pi waits for a look at its root: a root that is
	// slow to look at boots as it did when it was made.
	lookWithin = time.Second
)

// errSlowLook means that a root has not been looked at in time.
var errSlowLook = errors.New("it takes too long to look at")

// looks keeps what the roots of late boots need, since a Pi asks for some
// thirty files in a few seconds. A root is its owner's, and may be slow to look
// at: nobody waits for another's, and each is looked at once at a time.
type looks struct {
	look func(dir string) (netbootable.Boot, error) // nil = netbootable.Look

	mu   sync.Mutex // not held while a root is looked at
	seen map[string]*look
}

// look is one look at a root, or that it failed.
type look struct {
	began time.Time
	done  chan struct{} // closed when the rest is set
	ended time.Time
	boot  netbootable.Boot
	err   error
}

// old tells whether a look has ended too long ago.
func (k *look) old() bool {
	select {
	case <-k.done:
		return time.Since(k.ended) >= lookFor
	default:
		return false
	}
}

func (l *looks) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, name)
}

// at returns what the root in dir needs to boot, after lookWithin of a look at
// the latest.
func (l *looks) at(name, dir string) (netbootable.Boot, error) {
	k := l.of(name, dir)
	late := time.NewTimer(lookWithin - time.Since(k.began))
	defer late.Stop()
	select {
	case <-k.done:
		return k.boot, k.err
	default: // it counts however late it is
	}
	select {
	case <-k.done:
		return k.boot, k.err
	case <-late.C:
		return netbootable.Boot{}, errSlowLook
	}
}

// of returns the look at a root that holds or goes on, else a new one. It goes
// on by itself, and ends since Look reads within bounds.
func (l *looks) of(name, dir string) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.seen[name]; k != nil && !k.old() {
		return k
	}
	k := &look{began: time.Now(), done: make(chan struct{})}
	if l.seen == nil {
		l.seen = map[string]*look{}
	}
	l.seen[name] = k
	from := l.look
	if from == nil {
		from = netbootable.Look
	}
	go func() {
		k.boot, k.err = from(dir)
		k.ended = time.Now()
		close(k.done)
	}()
	return k
}
