package engine

import "sync"

// maxQueued bounds the observations waiting for the loop. A rack of a thousand
// Pis makes some hundreds a second; this is several minutes of them.
const maxQueued = 1 << 16

// queue hands observations to the loop without ever blocking who observed.
type queue struct {
	mu      sync.Mutex
	waiting []Observation
	dropped uint64
	wake    chan struct{} // holds one
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) put(o Observation) {
	q.mu.Lock()
	if len(q.waiting) < maxQueued {
		q.waiting = append(q.waiting, o)
	} else {
		q.dropped++
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all that wait; spare is an emptied slice to put the next into.
func (q *queue) take(spare []Observation) (got []Observation, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	got, q.waiting = q.waiting, spare[:0]
	return got, q.dropped
}
