package api

import "time"

// Hasten shortens what a test would wait for.
func (a *API) Hasten(beat, slow, header, read time.Duration) {
	a.times.beat, a.times.slow, a.times.header, a.times.read = beat, slow, header, read
}

// Streams counts the streams that are open.
func (a *API) Streams() (n int) {
	a.streams.mu.Lock()
	defer a.streams.mu.Unlock()
	for _, open := range a.streams.open {
		n += open
	}
	return n
}

// Patterns are the routes of the mux.
func (a *API) Patterns() []string { return a.mux.patterns }

// MaxStreams and MaxBody are limits that tests go up to.
const (
	MaxStreams = maxStreams
	MaxBody    = maxBody
)
