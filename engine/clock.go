package engine

import (
	"sync/atomic"
	"time"
)

// billClock is the time of the ledger: what the wall clock said when the process
// began, and how long ago that is by the monotonic clock. Steps of the wall clock
// and leap seconds do not move it, so that no server costs more or less for them;
// a wrong wall clock is forgotten at the next start. Any goroutine may read it.
type billClock struct {
	start   time.Time // with its monotonic reading
	base    time.Time // the time of the ledger at start
	settled atomic.Int64
}

// newBillClock begins a clock that is never before floor, the newest row of the
// ledger: a wall clock that was set back meanwhile cannot make a row come before
// one that is there. Until the wall clock has reached floor, time goes on from it.
func newBillClock(floor time.Time) *billClock {
	c := &billClock{start: time.Now()}
	// Without Round the sum of base and a duration would have a monotonic reading,
	// and comparisons would go by that.
	c.base = c.start.Round(0).UTC()
	if !floor.IsZero() {
		floor = ceilSecond(floor)
		c.settled.Store(floor.Unix())
		if c.base.Before(floor) {
			c.base = floor
		}
	}
	return c
}

// ceilSecond is t, or the next whole second.
func ceilSecond(t time.Time) time.Time {
	t = t.Round(0).UTC()
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// now is the time in UTC and whole seconds, never before an earlier now.
func (c *billClock) now() time.Time { return c.at(time.Now()) }

// at is now, at a reading of the process's clock.
func (c *billClock) at(reading time.Time) time.Time {
	return c.base.Add(max(reading.Sub(c.start), 0)).Truncate(time.Second)
}

// ahead is by how much the clock began later than the wall clock said, since the
// ledger has rows from then: the wall clock is wrong, or was.
func (c *billClock) ahead() time.Duration { return c.base.Sub(c.start.Round(0)) }

// settle takes note that every row whose time was read before is in the store:
// those to come have a time that is not before now. The loop says so after each
// flush.
func (c *billClock) settle() { c.settled.Store(c.now().Unix()) }

// complete is the time before which the ledger has all its rows.
func (c *billClock) complete() time.Time { return time.Unix(c.settled.Load(), 0).UTC() }

// Billed is how far the ledger is whole; see Desk.
func (e *Engine) Billed() time.Time { return e.state.clock.complete() }
