package poe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a driver whose ports take a second to deliver power.
type fake struct {
	*SNMP // for verdicts, holds and errors

	mu      sync.Mutex
	on      map[int]bool
	since   map[int]time.Time
	writes  []string
	polls   int
	silent  bool
	neverOn map[int]bool
}

const detectTime = time.Second

func newFake(t *testing.T) *fake {
	t.Helper()
	d := hostile(t, Config{}, good) // never asked anything
	d.cfg.MinOff, d.cfg.OnLimit, d.cfg.OffLimit, d.cfg.ReadBack = 4*time.Second, 8*time.Second, 5*time.Second, 250*time.Millisecond
	return &fake{SNMP: d, on: make(map[int]bool), since: make(map[int]time.Time), neverOn: make(map[int]bool)}
}

func (f *fake) state(port int) PortState {
	s := PortState{Port: port, Class: ClassUnknown, At: time.Now(), Admin: AdminDisabled, Detection: DetectionDisabled}
	if f.on[port] {
		s.Admin, s.Detection = AdminEnabled, DetectionSearching
		if time.Since(f.since[port]) >= detectTime && !f.neverOn[port] {
			s.Detection = DetectionDeliveringPower
		}
	}
	return s
}

func (f *fake) Poll(context.Context) (Reading, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	if f.silent {
		return Reading{Err: ErrNoAnswer}, ErrNoAnswer
	}
	return Reading{At: time.Now()}, nil
}

func (f *fake) Read(_ context.Context, ports ...int) ([]PortState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var states []PortState
	for _, p := range ports {
		s := f.state(p)
		if f.silent {
			s = unknown(p, time.Time{}, ErrNoAnswer)
		}
		states = append(states, s)
	}
	return states, nil
}

func (f *fake) write(_ context.Context, port int, on bool) (change, error) {
	if left := f.hold(port); on && left > 0 {
		return change{}, tooSoon(left)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, fmt.Sprintf("%d %v", port, on))
	f.on[port], f.since[port] = on, time.Now()
	limit := f.cfg.OnLimit
	if !on {
		f.offNow(port)
		limit = f.cfg.OffLimit
	}
	return change{port: port, on: on, deadline: time.Now().Add(limit)}, nil
}

func (f *fake) written() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.writes)
}

// work runs a worker in a bubble of time until f returns.
func work(t *testing.T, f func(t *testing.T, sw *fake, w *Worker, readings *[]Reading)) {
	sw := newFake(t) // its socket stays outside the bubble
	synctest.Test(t, func(t *testing.T) {
		var readings []Reading
		var mu sync.Mutex
		w := newWorker(sw, WorkerConfig{Interval: 5 * time.Second, Publish: func(r Reading) {
			mu.Lock()
			defer mu.Unlock()
			readings = append(readings, r)
		}}, 250*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		f(t, sw, w, &readings)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if _, err := w.Submit(t.Context(), 1, true); !errors.Is(err, ErrClosed) {
			t.Errorf("Submit after Run: %v", err)
		}
	})
}

func TestWorkerPolls(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, _ *Worker, readings *[]Reading) {
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if len(*readings) != 4 { // at 0, 5, 10 and 15 s
			t.Errorf("%d readings in 16 s", len(*readings))
		}
		sw.mu.Lock()
		sw.silent = true
		sw.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if last := (*readings)[len(*readings)-1]; !errors.Is(last.Err, ErrNoAnswer) {
			t.Errorf("a poll that failed was published as %+v", last)
		}
	})
}

// TestWorkerManyPorts powers 48 ports in little more than the time of one.
func TestWorkerManyPorts(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, w *Worker, _ *[]Reading) {
		start := time.Now()
		var all sync.WaitGroup
		for port := 1; port <= 48; port++ {
			all.Go(func() {
				if s, err := w.Submit(t.Context(), port, true); err != nil || !s.On() || s.Port != port {
					t.Errorf("Submit: %+v, %v", s, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 2*detectTime {
			t.Errorf("48 ports took %v", took)
		}
		if n := len(sw.written()); n != 48 {
			t.Errorf("%d writes", n)
		}
	})
}

// TestWorkerHold keeps a port off for its time and lets another pass.
func TestWorkerHold(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, w *Worker, _ *[]Reading) {
		if _, err := w.Submit(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		off := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := w.Submit(t.Context(), 1, true); err != nil {
				t.Error(err)
			}
			if took := time.Since(off); took < 4*time.Second+detectTime {
				t.Errorf("on again after %v", took)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := w.Submit(t.Context(), 2, true); err != nil {
				t.Error(err)
			}
			if took := time.Since(off); took > 2*detectTime {
				t.Errorf("port 2 waited %v", took)
			}
		})
		all.Wait()
		if got, want := sw.written(), []string{"1 false", "2 true", "1 true"}; !slices.Equal(got, want) {
			t.Errorf("writes %v, want %v", got, want)
		}
	})
}

// TestWorkerSupersedes: power off does not wait for power on.
func TestWorkerSupersedes(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, w *Worker, _ *[]Reading) {
		sw.neverOn[1] = true
		first := make(chan error, 1)
		go func() { _, err := w.Submit(t.Context(), 1, true); first <- err }()
		time.Sleep(detectTime)
		start := time.Now()
		if s, err := w.Submit(t.Context(), 1, false); err != nil || s.Admin != AdminDisabled {
			t.Errorf("Submit off: %+v, %v", s, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("power off took %v", took)
		}
		if err := <-first; !errors.Is(err, ErrSuperseded) {
			t.Errorf("Submit on: %v", err)
		}
	})
}

func TestWorkerLimits(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, w *Worker, _ *[]Reading) {
		sw.neverOn[1] = true
		start := time.Now()
		if _, err := w.Submit(t.Context(), 1, true); !errors.Is(err, ErrNoLoad) {
			t.Errorf("Submit: %v", err)
		}
		if took := time.Since(start); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("gave up after %v", took)
		}
		sw.mu.Lock()
		sw.silent = true
		sw.mu.Unlock()
		s, err := w.Submit(t.Context(), 2, true)
		if !errors.Is(err, ErrNoAnswer) || s.Err == nil || s.Detection != DetectionUnknown {
			t.Errorf("Submit to a silent switch: %+v, %v", s, err)
		}
	})
}

func TestWorkerCancel(t *testing.T) {
	work(t, func(t *testing.T, sw *fake, w *Worker, _ *[]Reading) {
		if _, err := w.Submit(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Submit(ctx, 1, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Submit: %v", err)
		}
		time.Sleep(10 * time.Second)
		if got := sw.written(); len(got) != 1 {
			t.Errorf("writes %v: one that was cancelled was written", got)
		}
		// What is under way when the worker ends, ends with it.
		end := make(chan error, 1)
		sw.neverOn[3] = true
		go func() { _, err := w.Submit(context.Background(), 3, true); end <- err }()
		t.Cleanup(func() {
			if err := <-end; !errors.Is(err, ErrClosed) {
				t.Errorf("Submit at the end: %v", err)
			}
		})
		time.Sleep(time.Second)
	})
}
