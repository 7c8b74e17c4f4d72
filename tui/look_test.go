package tui

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"picloud/engine"
)

var look = flag.Bool("look", false, "show the console on this terminal with a rack that changes by itself")

// TestLook is for a person: build the test and run it with -look.
func TestLook(t *testing.T) {
	if !*look {
		t.Skip("no -look")
	}
	s := makeRack(7, 2, 60)
	delta := time.Since(epoch)
	for i := range s.Pis {
		s.Pis[i].Since = s.Pis[i].Since.Add(delta)
	}
	f := newFake(s)
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(700 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				f.change(func(s *engine.Snapshot) {
					p := &s.Pis[rand.IntN(len(s.Pis))]
					if p.Stage.Booting() || rand.IntN(4) == 0 {
						p.Stage = (p.Stage + 1) % (engine.StageUp + 1)
						p.Since = now
					}
				})
			}
		}
	}()
	actor := engine.Actor{Name: "alice", Role: engine.RoleOperator}
	if err := Run(t.Context(), Options{Viewer: f, Actor: actor}, os.Stdin, os.Stdout, os.Environ()); err != nil {
		t.Fatal(err)
	}
}
