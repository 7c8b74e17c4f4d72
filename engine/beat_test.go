package engine

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBeat wants beats while the loop turns, and none as soon as it is stuck.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats atomic.Int64
		var stick atomic.Bool
		stuck := make(chan struct{})
		b := newBench(t, 1, func(cfg *Config) {
			cfg.Beat = func() { beats.Add(1) }
			cfg.Stage = func(StageChange) {
				if stick.Load() {
					<-stuck
				}
			}
		})
		b.awaitAll(StageUp)
		before := beats.Load()
		time.Sleep(10 * time.Second)
		if n := beats.Load() - before; n < 20 {
			t.Errorf("%d beats in 10 s", n)
		}
		stick.Store(true)
		go func() { _ = b.act(VerbCycle, "t-000", GuardCountdown, "") }()
		time.Sleep(30 * time.Second)
		before = beats.Load()
		time.Sleep(time.Minute)
		if n := beats.Load() - before; n != 0 {
			t.Errorf("%d beats of a loop that is stuck", n)
		}
		close(stuck)
		time.Sleep(time.Second)
		if beats.Load() == before {
			t.Error("no beat of a loop that turns again")
		}
		b.awaitAll(StageUp)
		b.stop()
	})
}
