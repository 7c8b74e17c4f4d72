// Package namelock lets one call at a time change what has a name.
package namelock

import (
	"context"
	"sync"
)

// Locks are the names that calls are changing. The zero value has none.
type Locks struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the call is done
}

// Acquire waits until no other call has the name. When ctx ends first, it
// returns its cause.
func (l *Locks) Acquire(ctx context.Context, name string) (release func(), err error) {
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
