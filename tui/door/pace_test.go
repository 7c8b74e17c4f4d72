package door

import (
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
)

// TestPace publishes four times a second to a session among few, and among 50, where one a second is left.
func TestPace(t *testing.T) {
	for sessions, want := range map[int][2]int{1: {40, 40}, 50: {9, 11}} {
		synctest.Test(t, func(t *testing.T) {
			feed, box, stop := engine.NewMailbox[*engine.Snapshot](), engine.NewMailbox[*engine.Snapshot](), make(chan struct{})
			go pace(feed.C(), box, stop, func() int { return sessions })
			got := 0
			var last uint64
			for gen := range uint64(40) {
				feed.Put(&engine.Snapshot{Gen: gen + 1})
				for range 25 {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
					select {
					case s := <-box.C():
						got++
						if s.Gen <= last || s.Gen+4 < gen {
							t.Errorf("snapshot %d after %d, at %d", s.Gen, last, gen)
						}
						last = s.Gen
					default:
					}
				}
			}
			close(stop)
			synctest.Wait()
			if got < want[0] || got > want[1] {
				t.Errorf("%d sessions: %d snapshots in 10 s, want %v", sessions, got, want)
			}
		})
	}
}
