package webhook

import (
	"net/http"
	"time"

	"picloud/engine"
)

// delays are how long after each try that was in vain the next one is, each a
// tenth more or less; the last goes on until it is given up.
var delays = [...]time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour,
	8 * time.Hour,
}

const (
	longestDelay = 8 * time.Hour
	// giveUp is how long after the notice the last try is.
	giveUp = 72 * time.Hour
	// furthest is how far ahead the next try can be. If it is further, the clock
	// was set back, and it is due.
	furthest = longestDelay + longestDelay/10
)

// after is a delivery with what came of a try at now; jitter is from 0 to 1.
func after(s *engine.Sending, a answer, now time.Time, jitter float64) engine.Delivery {
	d := s.Delivery
	d.Attempts++
	d.Status, d.Error, d.Next = a.status, a.why, time.Time{}
	if a.why == "" {
		d.Done = now
		return d
	}
	delay := delays[min(d.Attempts, len(delays))-1]
	delay += time.Duration(float64(delay) / 5 * (jitter - 0.5))
	delay = max(delay, min(a.later, longestDelay))
	next, last := now.Add(delay), s.Notice.Time.Add(giveUp)
	if next.After(last) {
		next = last
	}
	if next.After(now) && a.status != http.StatusGone {
		d.Next = next
	}
	return d
}

// due is how long it is until a delivery is to be tried.
func due(d *engine.Delivery, now time.Time) time.Duration {
	wait := d.Next.Sub(now)
	if wait > furthest {
		return 0
	}
	return max(wait, 0)
}
