package sshprobe

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Defaults of [Config].
const (
	DefaultEvery    = 5 * time.Second
	DefaultParallel = 32
)

// Target is one SSH server to watch.
type Target struct {
	Addr   netip.AddrPort
	Source netip.Addr // the server's own address to probe from; zero leaves it to the kernel
}

// Result is the outcome of one probe.
type Result struct {
	Target
	Time   time.Time // when the probe began
	Took   time.Duration
	Banner string // the identification string if Err is nil
	Err    error
}

// Config is a [Prober]'s settings.
type Config struct {
	Every    time.Duration // between the starts of two probes of one target; 0 means DefaultEvery
	Parallel int           // probes under way at once; 0 means DefaultParallel
	Timeout  time.Duration // of one probe; 0, and whatever is longer, means DefaultTimeout
	// Report is called once for each probe that ends, unless its target is
	// gone. It runs on the probe's goroutine and must not block.
	Report func(Result)

	// probe is ProbeFrom, but for tests.
	probe func(ctx context.Context, source netip.Addr, addr netip.AddrPort) (string, error)
}

// Prober probes a changing set of targets again and again.
type Prober struct {
	cfg  Config
	wake chan struct{} // one slot: the loop has something to look at

	mu      sync.Mutex
	targets map[Target]*schedule
	running int
}

// schedule is one target's next probe.
type schedule struct {
	next   time.Time          // zero: at once
	cancel context.CancelFunc // set while a probe is under way
}

// NewProber returns a prober without targets that does not run yet.
func NewProber(cfg Config) *Prober {
	cfg.Every = cmp.Or(cfg.Every, DefaultEvery)
	cfg.Parallel = cmp.Or(cfg.Parallel, DefaultParallel)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	if cfg.probe == nil {
		cfg.probe = ProbeFrom
	}
	return &Prober{cfg: cfg, wake: make(chan struct{}, 1), targets: map[Target]*schedule{}}
}

// Set replaces the set of targets. A new one is probed at once, one that
// stays keeps its turn, and the probe of one that goes is broken off and not
// reported. Set never waits.
func (p *Prober) Set(targets []Target) {
	p.mu.Lock()
	keep := make(map[Target]*schedule, len(targets))
	for _, t := range targets {
		s := p.targets[t]
		if s == nil {
			s = &schedule{}
		}
		keep[t] = s
	}
	for t, s := range p.targets {
		if keep[t] == nil && s.cancel != nil {
			s.cancel()
		}
	}
	p.targets = keep
	p.mu.Unlock()
	p.nudge()
}

func (p *Prober) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends, waits for the probes under way, which end with
// it, and returns nil. It runs once.
func (p *Prober) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
		timer.Reset(p.startDue(ctx, &wg))
	}
}

// startDue starts the probes whose time has come, the longest waiting first,
// as far as Parallel allows, and returns how long until the next is due.
func (p *Prober) startDue(ctx context.Context, wg *sync.WaitGroup) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	wait := p.cfg.Every
	var due []Target
	for t, s := range p.targets {
		switch {
		case s.cancel != nil:
		case !s.next.After(now):
			due = append(due, t)
		default:
			wait = min(wait, s.next.Sub(now))
		}
	}
	slices.SortFunc(due, func(a, b Target) int {
		return cmp.Or(p.targets[a].next.Compare(p.targets[b].next), a.Addr.Compare(b.Addr))
	})
	for _, t := range due[:min(len(due), p.cfg.Parallel-p.running)] {
		s := p.targets[t]
		probeCtx, cancel := context.WithCancel(ctx)
		s.cancel, s.next = cancel, now.Add(p.cfg.Every)
		p.running++
		wg.Go(func() { p.probe(probeCtx, t, s) })
	}
	return wait // a probe that ends wakes the loop for those that had no room
}

func (p *Prober) probe(ctx context.Context, t Target, s *schedule) {
	begin := time.Now()
	limited, stop := context.WithTimeout(ctx, p.cfg.Timeout)
	defer stop()
	banner, err := p.cfg.probe(limited, t.Source, t.Addr)
	p.mu.Lock()
	wanted := ctx.Err() == nil && p.targets[t] == s
	s.cancel()
	s.cancel = nil
	p.running--
	p.mu.Unlock()
	if wanted && p.cfg.Report != nil {
		p.cfg.Report(Result{Target: t, Time: begin, Took: time.Since(begin), Banner: banner, Err: err})
	}
	p.nudge()
}
