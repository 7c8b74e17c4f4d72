package poe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// WorkerConfig is what a Worker is made from.
type WorkerConfig struct {
	// Interval is the time between the starts of two polls; default 5 s.
	Interval time.Duration
	// Publish is given every Reading, those of failed polls too, by the
	// worker's goroutine. It must not block.
	Publish func(Reading)
	Log     *slog.Logger
}

// maxQueue bounds the changes that wait; Submit waits beyond it.
const maxQueue = 4 * MaxPorts

// driver is what a Worker needs of SNMP.
type driver interface {
	Poll(ctx context.Context) (Reading, error)
	Read(ctx context.Context, ports ...int) ([]PortState, error)
	write(ctx context.Context, port int, on bool) (change, error)
	confirm(c change, s PortState) (done bool, err error)
	hold(port int) time.Duration
	fail(op string, port int, err error) error
	unknown(port int, err error) PortState
}

// Worker is the one goroutine that talks to a switch. It polls, and it writes
// the changes that were submitted one at a time, in order for each port; while
// the switch detects the device of one port, the next port is written, and all
// that wait are read back together. A port that must stay off a while longer
// lets others pass.
type Worker struct {
	sw       driver
	cfg      WorkerConfig
	readBack time.Duration
	submit   chan *job
	done     chan struct{}
}

// job is a submitted change.
type job struct {
	ctx    context.Context
	port   int
	on     bool
	result chan result // room for the one result
}

type result struct {
	state PortState
	err   error
}

// pending is a job that was written and waits for the switch to agree.
type pending struct {
	*job
	change change
}

// NewWorker makes the worker of a switch. The switch stays the caller's to
// close, after Run has returned.
func NewWorker(sw *SNMP, cfg WorkerConfig) *Worker {
	return newWorker(sw, cfg, sw.cfg.ReadBack)
}

func newWorker(sw driver, cfg WorkerConfig, readBack time.Duration) *Worker {
	orDefault(&cfg.Interval, 5*time.Second)
	if cfg.Publish == nil {
		cfg.Publish = func(Reading) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{
		sw: sw, cfg: cfg, readBack: readBack,
		submit: make(chan *job), done: make(chan struct{}),
	}
}

// Submit switches a port's power and waits for the outcome, as
// Switch.SetPower; further errors are ErrSuperseded, where power on was not
// confirmed yet when power off came, and ErrClosed. A change whose ctx ends
// before it is written is not written; one that was written stays.
func (w *Worker) Submit(ctx context.Context, port int, on bool) (PortState, error) {
	j := &job{ctx: ctx, port: port, on: on, result: make(chan result, 1)}
	select {
	case w.submit <- j:
	case <-ctx.Done():
		return w.failed(j, ctx.Err())
	case <-w.done:
		return w.failed(j, ErrClosed)
	}
	select {
	case r := <-j.result:
		return r.state, r.err
	case <-ctx.Done():
		return w.failed(j, ctx.Err())
	}
}

// failed is the outcome of a job that did not come to an end.
func (w *Worker) failed(j *job, err error) (PortState, error) {
	err = w.sw.fail("set power", j.port, err)
	return w.sw.unknown(j.port, err), err
}

func (j *job) finish(s PortState, err error) { j.result <- result{s, err} }

// loop is the state of a running Worker.
type loop struct {
	*Worker
	queue   []*job
	pending []pending
	poll    time.Time // when to poll next
	confirm time.Time // when to read the pending ports next
}

// Run works until ctx ends and then returns nil. Changes that are not done by
// then end with ErrClosed. Run is called once.
func (w *Worker) Run(ctx context.Context) error {
	defer close(w.done)
	l := &loop{Worker: w}
	defer l.abandon()
	for ctx.Err() == nil {
		l.writeNext(ctx)
		l.confirmDue(ctx)
		l.pollDue(ctx)
		l.wait(ctx)
	}
	return nil
}

// wait takes submitted jobs until there is something to do.
func (l *loop) wait(ctx context.Context) {
	timer := time.NewTimer(l.idle())
	defer timer.Stop()
	submit := l.submit
	if len(l.queue) >= maxQueue {
		submit = nil
	}
	select {
	case j := <-submit:
		l.queue = append(l.queue, j)
	case <-timer.C:
	case <-ctx.Done():
	}
}

// idle is the time until something is due.
func (l *loop) idle() time.Duration {
	idle := time.Until(l.poll)
	if len(l.pending) > 0 {
		idle = min(idle, time.Until(l.confirm))
	}
	for i := range l.queue {
		if l.blocked(i) {
			continue // until a pending job is done
		}
		idle = min(idle, l.holdOf(l.queue[i]))
	}
	return max(0, idle)
}

func (l *loop) holdOf(j *job) time.Duration {
	if !j.on || j.ctx.Err() != nil {
		return 0
	}
	return l.sw.hold(j.port)
}

// blocked tells whether a job must wait for another of its port: an earlier
// one, or one that is not confirmed. Power off waits for no power on.
func (l *loop) blocked(i int) bool {
	j := l.queue[i]
	if slices.ContainsFunc(l.queue[:i], func(k *job) bool { return k.port == j.port }) {
		return true
	}
	return slices.ContainsFunc(l.pending, func(p pending) bool { return p.port == j.port && (!p.on || j.on) })
}

// writeNext writes the first job that can be written.
func (l *loop) writeNext(ctx context.Context) {
	for i := range l.queue {
		if l.blocked(i) || l.holdOf(l.queue[i]) > 0 {
			continue
		}
		j := l.queue[i]
		l.queue = slices.Delete(l.queue, i, i+1)
		l.write(ctx, j)
		return
	}
}

func (l *loop) write(ctx context.Context, j *job) {
	if err := j.ctx.Err(); err != nil {
		j.finish(l.failed(j, err))
		return
	}
	l.pending = slices.DeleteFunc(l.pending, func(p pending) bool {
		if p.port != j.port {
			return false
		}
		p.finish(l.failed(p.job, ErrSuperseded))
		return true
	})
	c, err := l.sw.write(ctx, j.port, j.on)
	if err != nil {
		l.cfg.Log.Warn("port power not set", "port", j.port, "on", j.on, "error", err)
		j.finish(l.failed(j, err))
		return
	}
	if len(l.pending) == 0 {
		l.confirm = time.Now()
	}
	l.pending = append(l.pending, pending{j, c})
}

// confirmDue reads the ports of all pending jobs and finishes those that are
// done. When none is left the switch is polled, so that the new state is seen.
func (l *loop) confirmDue(ctx context.Context) {
	if len(l.pending) == 0 || time.Until(l.confirm) > 0 {
		return
	}
	ports := make([]int, len(l.pending))
	for i, p := range l.pending {
		ports[i] = p.port
	}
	states, _ := l.sw.Read(ctx, ports...) // each state says why it is unknown
	if ctx.Err() != nil {
		return
	}
	still := l.pending[:0]
	for i, p := range l.pending {
		done, err := l.sw.confirm(p.change, states[i])
		if !done {
			still = append(still, p)
			continue
		}
		if err != nil {
			l.cfg.Log.Warn("port power not as set", "port", p.port, "on", p.on, "error", err)
		}
		p.finish(states[i], err)
	}
	clear(l.pending[len(still):])
	l.pending = still
	l.confirm = time.Now().Add(l.readBack)
	if len(l.pending) == 0 {
		l.poll = time.Now()
	}
}

// pollDue polls the switch and publishes what it said or that it did not. A
// switch that takes longer than the interval gets half of it to itself.
func (l *loop) pollDue(ctx context.Context) {
	if time.Until(l.poll) > 0 {
		return
	}
	l.poll = time.Now().Add(l.cfg.Interval)
	r, err := l.sw.Poll(ctx)
	if rest := time.Now().Add(l.cfg.Interval / 2); rest.After(l.poll) {
		l.poll = rest
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.cfg.Log.Debug("switch not read", "error", err)
	}
	l.cfg.Publish(r)
}

// abandon ends what is not done.
func (l *loop) abandon() {
	for _, p := range l.pending {
		p.finish(l.failed(p.job, fmt.Errorf("set but not confirmed: %w", ErrClosed)))
	}
	for _, j := range l.queue {
		j.finish(l.failed(j, ErrClosed))
	}
}

// IsPermanent tells whether trying again cannot help: the configuration, the
// switch's access rights or its abilities must change first.
func IsPermanent(err error) bool {
	for _, permanent := range []error{ErrReadOnly, ErrNoPort, ErrRefused, ErrAuth, ErrClosed} {
		if errors.Is(err, permanent) {
			return true
		}
	}
	return false
}
