package dhcp

import "time"

// source is what the rate of messages is limited by. A known Pi is its own
// source; all unknown ones on a segment are one source together, so that one
// who makes up MAC addresses uses up no other's share; and what cannot be put
// to a segment is one source for each interface.
type source struct {
	pi      pi
	ifIndex int
}

func sourceOf(e *Event) source {
	switch {
	case e.Reservation.Segment == "":
		return source{ifIndex: e.Ingress.IfIndex}
	case e.Kind == KindUnknownPi:
		return source{pi: pi{segment: e.Reservation.Segment}}
	default:
		return source{pi: pi{segment: e.Reservation.Segment, mac: e.MAC}}
	}
}

// bucket is a token bucket, and the messages that found it empty.
type bucket struct {
	tokens     float64
	at         time.Time
	suppressed int
	last       Event // the last message suppressed
}

// limiter bounds the rate of each source, and the number of sources.
type limiter struct {
	rate    float64 // tokens a second
	burst   float64
	max     int
	buckets map[source]*bucket
	swept   time.Time
	// flooding are the sources with suppressed messages.
	flooding map[source]*bucket
}

func newLimiter(l Limits) *limiter {
	return &limiter{
		rate: l.Rate, burst: float64(l.Burst), max: l.Sources,
		buckets: make(map[source]*bucket), flooding: make(map[source]*bucket),
	}
}

// allow takes a token for e's source, or counts e as suppressed.
func (l *limiter) allow(e *Event, now time.Time) bool {
	s := sourceOf(e)
	b, ok := l.buckets[s]
	if !ok {
		if len(l.buckets) >= l.max && !l.sweep(now) {
			s = source{} // everybody who found no room
			b, ok = l.buckets[s]
		}
		if !ok {
			b = &bucket{tokens: l.burst, at: now}
			l.buckets[s] = b
		}
	}
	l.refill(b, now)
	if b.tokens >= 1 {
		b.tokens--
		return true
	}
	b.suppressed++
	b.last = *e
	l.flooding[s] = b
	return false
}

func (l *limiter) refill(b *bucket, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(l.burst, b.tokens+l.rate*d.Seconds())
		b.at = now
	}
}

// sweep forgets the sources whose buckets are full: they are as new. It makes
// room, if there is any, once a second at most: it is not to be a way to keep
// the server busy.
func (l *limiter) sweep(now time.Time) bool {
	if now.Sub(l.swept) < time.Second {
		return false
	}
	l.swept = now
	for s, b := range l.buckets {
		if l.refill(b, now); b.tokens >= l.burst && b.suppressed == 0 {
			delete(l.buckets, s)
		}
	}
	return len(l.buckets) < l.max
}

// report returns one event for each source that messages of were suppressed
// since the last report.
func (l *limiter) report() []Event {
	events := make([]Event, 0, len(l.flooding))
	for s, b := range l.flooding {
		e := b.last
		e.Kind, e.Reason, e.Count = KindIgnored, ReasonFlood, b.suppressed
		events = append(events, e)
		b.suppressed = 0
		delete(l.flooding, s)
	}
	return events
}
