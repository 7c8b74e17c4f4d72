package dhcp

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// pi tells Pis apart: the segment, then the MAC address.
type pi struct {
	segment string
	mac     MAC
}

// step is one thing to do for a Pi at its time.
type step struct {
	at time.Time
	do func()
}

// plan is what is still to be done for one Pi, in order of time.
type plan struct {
	pi    pi
	steps []step
	index int // in the heap
}

// queue does things later: answers that are held back, and nudges. It has one
// goroutine, whoever calls run, and one plan for each Pi: a new plan replaces
// the old one. Its size is bounded by the number of plans.
type queue struct {
	mu    sync.Mutex
	plans map[pi]*plan
	heap  planHeap
	limit int
	wake  chan struct{} // one slot: the first step changed
}

func newQueue(limit int) *queue {
	return &queue{plans: make(map[pi]*plan), limit: limit, wake: make(chan struct{}, 1)}
}

// set replaces the Pi's plan; no steps remove it. Steps are sorted by time. It
// returns false, and has only removed the old plan, when the queue is full.
func (q *queue) set(p pi, steps []step) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old, ok := q.plans[p]; ok {
		heap.Remove(&q.heap, old.index)
		delete(q.plans, p)
	}
	if len(steps) == 0 {
		return true
	}
	if len(q.plans) >= q.limit {
		return false
	}
	n := &plan{pi: p, steps: steps}
	q.plans[p] = n
	heap.Push(&q.heap, n)
	if n.index == 0 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// len returns the number of Pis that something is planned for.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.plans)
}

// run does what is due until ctx ends; what is left then is not done.
func (q *queue) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait := q.next(time.Now())
		if due != nil {
			due()
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// next takes the first step that is due, or tells how long there is none.
func (q *queue) next(now time.Time) (func(), time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.heap) == 0 {
		return nil, time.Hour
	}
	first := q.heap[0]
	s := first.steps[0]
	if wait := s.at.Sub(now); wait > 0 {
		return nil, wait
	}
	first.steps = first.steps[1:]
	if len(first.steps) == 0 {
		heap.Pop(&q.heap)
		delete(q.plans, first.pi)
	} else {
		heap.Fix(&q.heap, 0)
	}
	return s.do, 0
}

// planHeap orders plans by their next step.
type planHeap []*plan

func (h planHeap) Len() int           { return len(h) }
func (h planHeap) Less(i, j int) bool { return h[i].steps[0].at.Before(h[j].steps[0].at) }
func (h planHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is of heap.Interface.
func (h *planHeap) Push(x any) {
	p := x.(*plan)
	p.index = len(*h)
	*h = append(*h, p)
}

// Pop is of heap.Interface.
func (h *planHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
