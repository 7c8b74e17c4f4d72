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
	r.publishRoots(ctx, r.order)
	close(e.published)
	r.resumeJobs()
	r.sweep()
	r.settle(ctx)

	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var spare []Observation
	var published time.Time
	for {
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
			r.publishMoved()
			err := r.flush(ctx)
			req.reply <- answer[struct{}]{err: err}
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
			r.dirty = r.dirty || len(r.jobs) > 0 // their progress
			r.startJobs()
			_ = r.flush(ctx) // kept and shown as a warning when it fails
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
	_ = r.flush(ctx)
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

// publishRoots exports the roots of those Pis that may boot. At the start that
// is before anything else: running Pis wait for it after a restart of the
// server. It is the loop's own work, so that no job can export another root of
// the same Pi meanwhile.
func (r *rack) publishRoots(ctx context.Context, list []*piState) {
	const atOnce = 8
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := map[PiName]error{}
	for _, p := range list {
		p.moved = false
		if !p.mayBoot() {
			continue
		}
		slots <- struct{}{}
		pi := p.Pi
		wg.Go(func() {
			defer func() { <-slots }()
			if _, err := r.e.cfg.Roots.Publish(ctx, pi, pi.Volume); err != nil {
				mu.Lock()
				failed[pi.Name] = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, err := range failed {
		if ctx.Err() == nil {
			r.logf(SystemActor().Name, name, 0, "its root is not published: %v", err)
		}
	}
}

// publishMoved follows a new layout. A Pi with a job waits for its end, since
// a step may be exporting its root right now.
func (r *rack) publishMoved() {
	if r.runners.ctx == nil {
		return // Run does it
	}
	var moved []*piState
	for _, p := range r.order {
		if p.moved && p.job == nil {
			moved = append(moved, p)
		}
	}
	r.publishRoots(r.runners.ctx, moved)
}

// withdraw ends the exports of a Pi that is not in the layout any more, once
// no step of a job can make another.
func (r *rack) withdraw(p *piState) {
	if r.runners.ctx == nil || p.job != nil || r.pis[p.Name] != nil {
		return
	}
	if err := r.e.cfg.Roots.Withdraw(r.runners.ctx, p.Pi); err != nil {
		r.logf(SystemActor().Name, p.Name, 0, "its root is still exported: %v", err)
	}
}

// mayBoot is the one gate of boot files and export alike. DHCP answers without
// it: the refused boot file then says why, where silence would not.
func (p *piState) mayBoot() bool { return p.Life != LifeBroken && p.Volume != "" && !p.leaving() }

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
