package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tick is how often limits are checked and gathered changes are stored.
const tick = 250 * time.Millisecond

// Run owns the rack until ctx ends. It first publishes the roots that may be
// in use and takes up the jobs that the last process left. It returns nil
// after a clean stop; jobs that were running are taken up by the next Run.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.stopped)
	r := e.state
	ctx, cancel := context.WithCancel(ctx)
	r.runners.start(ctx)
	defer func() {
		cancel()
		r.runners.wait(e.steps)
	}()
	r.publishRoots(ctx)
	close(e.published)
	r.resumeJobs()
	r.unswept = true
	r.settle(ctx)

	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var spare []Observation
	var published time.Time
	for {
		e.turned.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return r.stop()
		case req := <-e.commands:
			result, err := r.do(req.value)
			r.settle(ctx)
			req.reply <- answer[Result]{result, err}
		case req := <-e.layouts:
			r.applyLayout(req.value)
			r.publishBootTable()
			r.mendExports(time.Now())
			err := r.flush(ctx)
			r.save(ctx)
			req.reply <- answer[struct{}]{err: err}
		case req := <-e.staff:
			req.reply <- answer[struct{}]{err: r.changeOperators(req.value)}
		case req := <-e.serves:
			result, err := r.serve(req.value)
			if e.cfg.Served != nil {
				e.cfg.Served(req.value.Verb, result, err)
			}
			r.settle(ctx)
			req.reply <- answer[ServerResult]{result, err}
		case req := <-e.customers:
			req.reply <- answer[struct{}]{err: r.changeAccounts(req.value)}
		case req := <-e.notes:
			id, err := r.note(req.value)
			req.reply <- answer[int64]{id, err}
		case m := <-e.steps:
			r.handleStep(m)
			r.settle(ctx)
		case <-e.queue.wake:
			spare = r.observe(spare)
			if r.stale {
				r.publishBootTable()
			}
			r.startJobs()
		case now := <-ticker.C:
			r.checkLimits(now)
			r.mendExports(now)
			r.expire(now)
			r.examineDue(now)
			r.tidyOrders(now)
			r.noteKeys()
			r.dirty = r.dirty || len(r.jobs) > 0 // their progress
			r.startJobs()
			r.save(ctx)
			if e.cfg.Beat != nil {
				e.cfg.Beat()
			}
		}
		if r.dirty && time.Since(published) >= e.cfg.Publish {
			published = time.Now()
			r.publishSnapshot()
		}
	}
}

// settle makes what was decided lasting, and starts what may start.
func (r *rack) settle(ctx context.Context) {
	r.startJobs()
	r.save(ctx)
	r.publishBootTable()
}

func (r *rack) observe(spare []Observation) []Observation {
	got, dropped := r.e.queue.take(spare)
	for i := range got {
		r.apply(got[i])
		got[i] = Observation{}
	}
	if dropped != r.dropped {
		r.dropped = dropped
		r.dirty = true
	}
	return got
}

// stop stores what is left.
func (r *rack) stop() error {
	if err := r.flush(context.Background()); err != nil {
		return fmt.Errorf("engine: stop: %w", err)
	}
	return nil
}

// runners are the goroutines of jobs. They end with the context, and Run waits
// for them.
type runners struct {
	ctx context.Context
	wg  sync.WaitGroup
}

func (s *runners) start(ctx context.Context) { s.ctx = ctx }

func (s *runners) spawn(f func(context.Context)) {
	ctx := s.ctx
	s.wg.Go(func() { f(ctx) })
}

// wait lets the runners end while nobody reads their messages any more.
func (s *runners) wait(steps <-chan stepMessage) {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	for {
		select {
		case m := <-steps:
			m.reply <- errStopping
		case <-done:
			return
		}
	}
}

var errStopping = errors.New("the service is stopping; the job goes on when it starts again")
