package engine

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// stepped is a reading of a clock whose wall part was set by d, and whose
// monotonic part was not: what time.Now returns after settimeofday(2). The layout
// is that of a time.Time with both: 33 bits of seconds above 30 of nanoseconds.
func stepped(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(int64(d/time.Second)) << 30
	return t
}

func TestSteppedIsAStepOfTheWallClock(t *testing.T) {
	now := time.Now()
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		s := stepped(now, d)
		if got := s.Round(0).Sub(now.Round(0)); got != d {
			t.Errorf("the wall clock went by %s, want %s", got, d)
		}
		if got := s.Sub(now); got != 0 {
			t.Errorf("the monotonic clock went by %s", got)
		}
	}
}

func TestBillClockGoesOnWhateverTheWallClockDoes(t *testing.T) {
	c := newBillClock(time.Time{})
	var steps time.Duration
	for i, step := range []time.Duration{0, time.Hour, -3 * time.Hour, 1000 * 24 * time.Hour, -time.Second, time.Second} {
		ran := time.Duration(i+1) * 1500 * time.Millisecond
		steps += step
		want := c.start.Round(0).UTC().Add(ran).Truncate(time.Second)
		if got := c.at(stepped(c.start.Add(ran), steps)); !got.Equal(want) {
			t.Errorf("after a step by %s: %s, want %s", step, got, want)
		}
	}
}

// TestBillClockRuns has time pass. In a bubble times have no monotonic reading, so
// that this is also the clock of a system without one.
func TestBillClockRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBillClock(time.Time{})
		for _, pause := range []time.Duration{0, 999 * time.Millisecond, time.Millisecond, 31 * 24 * time.Hour} {
			time.Sleep(pause)
			if got, want := c.now(), time.Now().UTC().Truncate(time.Second); !got.Equal(want) {
				t.Errorf("after %s: %s, want %s", pause, got, want)
			}
		}
	})
}

// TestBillClockIsNotBeforeTheLedger starts it again with wall clocks that were
// set anywhere meanwhile.
func TestBillClockIsNotBeforeTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ahead := range []time.Duration{-time.Hour, -time.Nanosecond, 0, time.Nanosecond, time.Second, 400 * 24 * time.Hour} {
			floor := time.Now().Add(ahead)
			for _, floor := range []time.Time{floor, floor.Round(0), floor.In(time.FixedZone("", 5*3600+1800))} {
				c, want := newBillClock(floor), max(time.Until(floor), 0)
				if got := c.ahead(); got < want || got >= want+time.Second {
					t.Errorf("a ledger %s ahead is told as %s", want, got)
				}
				first := c.now()
				if first.Before(floor) || first.Nanosecond() != 0 || first.Location() != time.UTC {
					t.Errorf("a ledger %s ahead: the clock begins at %s, before %s", ahead, first, floor)
				}
				time.Sleep(time.Hour)
				if got := c.now().Sub(first); got != time.Hour {
					t.Errorf("a ledger %s ahead: an hour took %s", ahead, got)
				}
			}
		}
	})
}

// TestBillClockNeverGoesBack draws restarts, pauses, and steps of the wall clock,
// readings without their monotonic part among them.
func TestBillClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Int64Range(-1e8, 1e8)
		floor := time.Unix(1_790_000_000, 0)
		for range rapid.IntRange(1, 4).Draw(t, "processes") {
			c := newBillClock(floor)
			c.start = stepped(c.start, time.Duration(seconds.Draw(t, "wall"))*time.Second)
			reading, last := c.start, floor
			for range rapid.IntRange(0, 5).Draw(t, "readings") {
				reading = reading.Add(time.Duration(rapid.Int64Range(0, 1e13).Draw(t, "pause")))
				got := c.at(stepped(reading, time.Duration(seconds.Draw(t, "step"))*time.Second))
				if got.Before(last) || got.Nanosecond() != 0 || got.Location() != time.UTC {
					t.Fatalf("%s after %s", got, last)
				}
				last = got
			}
			// Without a monotonic reading steps show, but never before the floor.
			bare := reading.Round(0).Add(time.Duration(seconds.Draw(t, "step")) * time.Second)
			if got := c.at(bare); got.Before(floor) {
				t.Fatalf("%s is before the ledger's %s", got, floor)
			}
			floor = last
		}
	})
}

func TestBillClockTellsHowFarTheLedgerIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		floor := time.Now().Add(-time.Hour).Truncate(time.Second)
		c := newBillClock(floor)
		if got := c.complete(); !got.Equal(floor) {
			t.Errorf("before the first flush: %s, want the newest row's %s", got, floor)
		}
		c.settle()
		settled := c.now()
		time.Sleep(time.Minute)
		if got := c.complete(); !got.Equal(settled) {
			t.Errorf("a minute after a flush: %s, want %s", got, settled)
		}
	})
}
