package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"picloud/engine"
)

// memoryBox is an outbox as simple as can be, for a bubble's time: the store's
// calls into SQLite are real.
type memoryBox struct {
	mu  sync.Mutex
	all []engine.Sending // in the order of their numbers
}

func (m *memoryBox) FirstDeliveries(_ context.Context, hook string) ([]engine.Sending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.Sending
	seen := map[string]bool{}
	for _, s := range m.all {
		if id := s.Webhook.ID; !s.Delivery.Next.IsZero() && !seen[id] && (hook == "" || hook == id) {
			seen[id] = true
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memoryBox) SaveDelivery(_ context.Context, d engine.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.all {
		if s := &m.all[i]; s.Delivery.Notice == d.Notice && s.Delivery.Webhook == d.Webhook {
			s.Delivery = d
			return nil
		}
	}
	return engine.ErrNotFound
}

func (m *memoryBox) tell(id int64, hook string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, engine.Sending{
		Delivery: engine.Delivery{Notice: id, Webhook: hook, Next: time.Now()},
		Notice:   engine.Notice{ID: id, Time: time.Now(), Account: "acme", Server: "web", Kind: engine.NoticeUp, Text: "up"},
		Webhook:  engine.Webhook{ID: hook, Account: "acme", URL: "http://" + hook + ".test/", Secret: secret},
	})
}

func (m *memoryBox) delivery(i int) engine.Delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[i].Delivery
}

// pipes are connections within the process to a server: a bubble's time goes on
// while they are waited at.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p <- theirs:
		return mine, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble runs a sender whose requests go to a real HTTP server over pipes.
func bubble(t *testing.T, answer http.HandlerFunc, f func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{})) {
	t.Helper()
	bubbleWith(t, answer, func(*Sender, *memoryBox) {}, f)
}

// bubbleWith is bubble with a sender that change has changed.
func bubbleWith(t *testing.T, answer http.HandlerFunc, change func(*Sender, *memoryBox), f func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, r, p := &memoryBox{}, newReceiver(t, answer), make(pipes)
		srv := &http.Server{Handler: r, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		served := make(chan struct{})
		go func() { defer close(served); _ = srv.Serve(p) }()
		noticed := make(chan struct{}, 1)
		s := New(Config{Outbox: m, Noticed: func() <-chan struct{} { return noticed }})
		s.client.plain.Transport.(*http.Transport).DialContext = p.dial
		change(s, m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		f(t, m, r, noticed)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(p)
		srv.Close()
		<-served
	})
}

// TestThreeDaysOfTries has a server that never takes anything.
func TestThreeDaysOfTries(t *testing.T) {
	fail := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	bubble(t, fail, func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{}) {
		begun := time.Now()
		m.tell(1, "dead")
		noticed <- struct{}{}
		time.Sleep(giveUp + time.Minute)
		synctest.Wait()
		all := r.until(1)
		last := all[len(all)-1].at.Sub(begun)
		if last < giveUp || last > giveUp+time.Second {
			t.Errorf("the last try was after %s, want %s", last, giveUp)
		}
		for i := 1; i < len(all)-1; i++ {
			want := delays[min(i, len(delays))-1]
			got := all[i].at.Sub(all[i-1].at)
			if off := (got - want).Abs(); off > want/10+2*gather {
				t.Errorf("try %d came %s after the one before, want %s and a tenth", i+1, got, want)
			}
		}
		if len(all) < 17 || len(all) > 21 {
			t.Errorf("%d tries", len(all))
		}
		d := m.delivery(0)
		if d.Attempts != len(all) || !d.Next.IsZero() || !d.Done.IsZero() || d.Status != 500 {
			t.Errorf("%+v", d)
		}
		before := len(all)
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if n := len(r.ids()); n != before {
			t.Errorf("%d more tries after it was given up", n-before)
		}
	})
}

// TestABacklogIsDrained has a server that is down for a day, and what was told
// meanwhile: it comes at once, whole and in order, when the server is back.
func TestABacklogIsDrained(t *testing.T) {
	var mu sync.Mutex
	up := false
	answer := func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !up {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
	bubble(t, answer, func(t *testing.T, m *memoryBox, r *receiver, _ chan struct{}) {
		for id := range int64(24) { // found by the time alone: nobody tells of them
			m.tell(id+1, "hook")
			time.Sleep(time.Hour)
		}
		before := len(r.ids())
		mu.Lock()
		up = true
		mu.Unlock()
		time.Sleep(furthest)
		synctest.Wait()
		got := r.until(before + 24)[before:]
		var ids []int64
		for _, g := range got {
			ids = append(ids, g.id)
		}
		if !slices.Equal(ids, numbers(24)) {
			t.Errorf("it had %v", ids)
		}
		if took := got[23].at.Sub(got[0].at); took > time.Second {
			t.Errorf("the backlog took %s", took)
		}
	})
}

// TestWhatWaitedTooLongIsTriedOnce has a server that is down for a week.
func TestWhatWaitedTooLongIsTriedOnce(t *testing.T) {
	fail := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	bubble(t, fail, func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{}) {
		for id := range int64(100) {
			m.tell(id+1, "dead")
		}
		noticed <- struct{}{}
		time.Sleep(7 * 24 * time.Hour)
		synctest.Wait()
		for i := range 100 {
			d := m.delivery(i)
			if !d.Next.IsZero() || i > 0 && d.Attempts != 1 || i == 0 && d.Attempts < 10 {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// TestASlowDownIsHeard has a server that asks to be left alone for an hour.
func TestASlowDownIsHeard(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"3600": time.Hour, "1": 5 * time.Second, "": 5 * time.Second, "-5": 5 * time.Second, "soon": 5 * time.Second,
		"99999999999999999999": 5 * time.Second, "2000000000": longestDelay,
	} {
		busy := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		}
		bubble(t, busy, func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{}) {
			m.tell(1, "busy")
			noticed <- struct{}{}
			time.Sleep(longestDelay + 10*time.Second)
			synctest.Wait()
			all := r.until(2)
			if got := all[1].at.Sub(all[0].at); (got - want).Abs() > time.Second {
				t.Errorf("Retry-After %q: tried again after %s, want %s", header, got, want)
			}
		})
	}
}

// TestAHangIsOneTry has a server that never answers.
func TestAHangIsOneTry(t *testing.T) {
	silent := func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }
	bubble(t, silent, func(t *testing.T, m *memoryBox, _ *receiver, noticed chan struct{}) {
		m.tell(1, "hangs")
		noticed <- struct{}{}
		time.Sleep(requestTimeout - time.Second)
		synctest.Wait()
		if d := m.delivery(0); d.Attempts != 0 {
			t.Errorf("before the time-out: %+v", d)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d := m.delivery(0); d.Attempts != 1 || d.Error != "no answer in time" || d.Next.IsZero() {
			t.Errorf("after the time-out: %+v", d)
		}
	})
}

// failingBox is an outbox whose first writes fail.
type failingBox struct {
	Outbox
	fails atomic.Int32
}

func (f *failingBox) SaveDelivery(ctx context.Context, d engine.Delivery) error {
	if f.fails.Add(-1) >= 0 {
		return errors.New("disk full")
	}
	return f.Outbox.SaveDelivery(ctx, d)
}

// TestAStoreThatFails must not have the same notice sent in a circle.
func TestAStoreThatFails(t *testing.T) {
	var f failingBox
	f.fails.Store(3)
	broken := func(s *Sender, m *memoryBox) { f.Outbox, s.cfg.Outbox = m, &f }
	bubbleWith(t, nil, broken, func(t *testing.T, m *memoryBox, r *receiver, noticed chan struct{}) {
		m.tell(1, "hook")
		noticed <- struct{}{}
		time.Sleep(time.Minute)
		synctest.Wait()
		all := r.until(4)
		for i := range all[1:] {
			if got := all[i+1].at.Sub(all[i].at); got < storeAgain || got > storeAgain+time.Second {
				t.Errorf("it is sent again after %s", got)
			}
		}
		if d := m.delivery(0); len(all) != 4 || d.Done.IsZero() || d.Attempts != 1 {
			t.Errorf("sent %d times: %+v", len(all), d)
		}
	})
}

func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_795_000_000, 0)
		s := engine.Sending{
			Delivery: engine.Delivery{Notice: 1, Webhook: "h", Attempts: rapid.IntRange(0, 1000).Draw(t, "attempts"), Next: now},
			Notice:   engine.Notice{Time: now.Add(-time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "age")))},
		}
		a := answer{status: rapid.SampledFrom([]int{0, 410, 500, 503}).Draw(t, "status"), why: "no", later: time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "later"))}
		d := after(&s, a, now, rapid.Float64Range(0, 1).Draw(t, "jitter"))
		if d.Attempts != s.Delivery.Attempts+1 || !d.Done.IsZero() || d.Error == "" {
			t.Fatalf("%+v", d)
		}
		last := s.Notice.Time.Add(giveUp)
		if over := a.status == 410 || !now.Before(last); d.Next.IsZero() != over {
			t.Fatalf("age %s, %d: next %s", now.Sub(s.Notice.Time), a.status, d.Next)
		}
		if !d.Next.IsZero() && (!d.Next.After(now) || d.Next.After(last) || d.Next.Sub(now) > furthest || due(&d, now) != d.Next.Sub(now)) {
			t.Fatalf("next %s at %s", d.Next, now)
		}
	})
	// A clock that was set back by a year makes nothing wait for a year.
	now := time.Unix(1_795_000_000, 0)
	if wait := due(&engine.Delivery{Next: now.Add(365 * 24 * time.Hour)}, now); wait != 0 {
		t.Errorf("it waits for %s", wait)
	}
}
