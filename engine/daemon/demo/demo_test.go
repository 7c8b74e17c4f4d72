package demo

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// TestDemo boots a small rack through the product, gives a Pi a fresh root and
// its former one back, and wants nothing left when it ends.
func TestDemo(t *testing.T) {
	d, err := Open(t.Context(), Options{Seed: 2, Pis: 6, Speed: 30})
	if err != nil {
		t.Fatal(err)
	}
	state := d.temp
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()

	s := await(t, d.Engine(), "all up, and no job left", atRest)
	p := s.Pis[0]
	for _, v := range s.Pis {
		if v.Server == "" {
			p = v
		}
	}
	first := p.Root
	do(t, d.Engine(), engine.VerbReimage, p)
	s = await(t, d.Engine(), "reimaged", settled(p.Name, func(v *engine.PiView) bool { return v.Root != first && v.Stage == engine.StageUp }))
	now, _ := s.Pi(p.Name)
	host, err := os.ReadFile(filepath.Join(state, "volumes", now.Root, "etc", "hostname"))
	if err != nil || strings.TrimSpace(string(host)) != string(p.Name) {
		t.Errorf("host name of the new root %q, %v", host, err)
	}
	do(t, d.Engine(), engine.VerbUndo, *now)
	await(t, d.Engine(), "undone", settled(p.Name, func(v *engine.PiView) bool { return v.Root == first && v.Stage == engine.StageUp }))

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the temporary folder stays: %v", err)
	}
	wantNoGoroutines(t)
}

// atRest tells whether every Pi is up and can be acted on: a job that deploys
// one ends after its SSH has answered.
func atRest(s *engine.Snapshot) bool {
	return !slices.ContainsFunc(s.Pis, func(p engine.PiView) bool { return p.Stage != engine.StageUp || p.Job != nil })
}

func settled(name engine.PiName, cond func(*engine.PiView) bool) func(*engine.Snapshot) bool {
	return func(s *engine.Snapshot) bool {
		v, ok := s.Pi(name)
		return ok && v.Job == nil && cond(v)
	}
}

func do(t *testing.T, e *engine.Engine, verb engine.VerbName, p engine.PiView) {
	t.Helper()
	res, err := e.Do(t.Context(), engine.Command{
		Verb: verb, Actor: engine.Actor{Name: "test", Role: engine.RoleAdmin}, Passed: engine.GuardCountdown,
		Targets: []engine.Target{{Pi: p.Name, Gen: p.Gen}},
	})
	if err != nil || res.Err() != nil {
		t.Fatalf("%s: %v %v", verb, err, res.Err())
	}
}

func await(t *testing.T, e *engine.Engine, what string, cond func(*engine.Snapshot) bool) *engine.Snapshot {
	t.Helper()
	snapshots, stop := e.Subscribe()
	defer stop()
	limit := time.After(60 * time.Second)
	for {
		select {
		case s := <-snapshots:
			if cond(s) {
				return s
			}
		case <-limit:
			t.Fatalf("never: %s: %+v", what, e.Snapshot().Counts)
		}
	}
}

// wantNoGoroutines gives what is ending a moment, and then wants none of ours.
func wantNoGoroutines(t *testing.T) {
	t.Helper()
	var ours []string
	for range 100 {
		ours = ours[:0]
		buf := make([]byte, 4<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "picloud/") && !strings.Contains(g, "testing.tRunner") {
				ours = append(ours, g)
			}
		}
		if len(ours) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines are left:\n%s", len(ours), strings.Join(ours, "\n\n"))
}
