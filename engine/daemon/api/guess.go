package api

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// backoff is how long a wrong secret makes the next try wait: not at all for the
// first few, then twice as long each time.
type backoff struct {
	free    int // wrong ones that cost nothing
	longest time.Duration
}

func (b backoff) after(wrong int) time.Duration {
	over := wrong - b.free
	if over <= 0 {
		return 0
	}
	return min(time.Second<<min(over-1, 30), b.longest)
}

// Behind one address may be many people; one key's secret is not guessed however
// often it is tried, so that its owner should not have to wait long for others.
var (
	sourceBackoff = backoff{free: 10, longest: 15 * time.Minute}
	secretBackoff = backoff{free: 10, longest: time.Minute}
)

const (
	// forgotten is how long wrong ones count.
	forgotten = time.Hour
	// maxGuessers bounds the addresses and keys that are kept in mind; the one
	// not heard of longest goes first.
	maxGuessers = 1 << 14
)

// guesses slows those down who guess secrets: by the address they come from and
// by the key they guess. Its methods may be called by many goroutines.
type guesses struct {
	mu      sync.Mutex
	sources *lru.Cache[netip.Prefix, wrongs]
	keys    *lru.Cache[string, wrongs]
	// known are the addresses that a key's right secret came from: they do not
	// wait for what others guess.
	known *lru.Cache[knownSource, struct{}]
}

type wrongs struct {
	count int
	last  time.Time
	until time.Time // the next try
}

type knownSource struct {
	key    string
	source netip.Prefix
}

func newGuesses() *guesses {
	return &guesses{sources: newCache[netip.Prefix, wrongs](), keys: newCache[string, wrongs](), known: newCache[knownSource, struct{}]()}
}

func newCache[K comparable, V any]() *lru.Cache[K, V] {
	c, err := lru.New[K, V](maxGuessers)
	if err != nil {
		panic(err) // only of a size below 1
	}
	return c
}

// sourceOf is what counts as one source: an IPv4 address, or the /64 that an
// IPv6 host picks its addresses from.
func sourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	p, _ := a.Prefix(64)
	return p
}

// wait is how long this source has to wait before it may try a secret of this
// key ("" = before it may be wrong again with a token).
func (g *guesses) wait(from netip.Addr, key string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, source := time.Now(), sourceOf(from)
	s, _ := g.sources.Get(source)
	until := s.until
	if k, ok := g.keys.Get(key); ok && !g.known.Contains(knownSource{key, source}) && k.until.After(until) {
		until = k.until
	}
	return max(0, until.Sub(now))
}

// wrong takes note of a wrong secret or token, and says how many this source has
// had. key is "" where there is none to protect.
func (g *guesses) wrong(from netip.Addr, key string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if key != "" {
		note(g.keys, key, secretBackoff, now)
	}
	return note(g.sources, sourceOf(from), sourceBackoff, now)
}

// right takes note that a key's secret came from this source.
func (g *guesses) right(from netip.Addr, key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Add(knownSource{key, sourceOf(from)}, struct{}{})
}

func note[K comparable](c *lru.Cache[K, wrongs], k K, b backoff, now time.Time) int {
	w, _ := c.Get(k)
	if now.Sub(w.last) > forgotten {
		w = wrongs{}
	}
	w.count, w.last = w.count+1, now
	w.until = now.Add(b.after(w.count))
	c.Add(k, w)
	return w.count
}
