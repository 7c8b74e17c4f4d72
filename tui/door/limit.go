package door

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds how many addresses are remembered.
const maxSources = 4096

// gate rations connections without a login. Each takes a token of its source
// and gives it back when the login succeeds, so that only those that fail are
// slowed.
type gate struct {
	pending, perSource int
	burst              float64
	refill             time.Duration

	mu      sync.Mutex
	open    int
	sources map[string]*source
}

type source struct {
	tokens float64
	at     time.Time // when tokens was right
	open   int
	told   bool // that it is refused, since it last got in
}

func newGate(l Limits) *gate {
	return &gate{
		pending: l.Pending, perSource: l.PerSource, burst: float64(l.Burst), refill: l.Refill,
		sources: make(map[string]*source),
	}
}

// enter says why a source may not try a login now, "" = it may and has to
// leave. tell is true the first time a source is refused.
func (g *gate) enter(name string, now time.Time) (why string, tell bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	src := g.source(name, now)
	if src == nil {
		return "too many addresses at once", false
	}
	switch {
	case src.tokens < 1:
		why = "too many failed logins"
	case src.open >= g.perSource:
		why = fmt.Sprintf("%d logins from there are not over", src.open)
	case g.open >= g.pending:
		why = fmt.Sprintf("%d logins are not over", g.open)
	default:
		src.tokens--
		src.open++
		g.open++
		src.told = false
		return "", false
	}
	tell, src.told = !src.told, true
	return why, tell
}

// leave ends what enter allowed.
func (g *gate) leave(name string, loggedIn bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	src := g.sources[name]
	src.open--
	g.open--
	if loggedIn {
		src.tokens = min(src.tokens+1, g.burst)
	}
}

// source finds or makes a source; nil when there are too many.
func (g *gate) source(name string, now time.Time) *source {
	src := g.sources[name]
	if src == nil {
		if len(g.sources) >= maxSources {
			g.forget(now)
		}
		if len(g.sources) >= maxSources {
			return nil
		}
		src = &source{tokens: g.burst, at: now}
		g.sources[name] = src
	}
	g.fill(src, now)
	return src
}

func (g *gate) fill(src *source, now time.Time) {
	if d := now.Sub(src.at); d > 0 {
		src.tokens = min(src.tokens+float64(d)/float64(g.refill), g.burst)
	}
	src.at = now
}

// forget drops the sources of which nothing needs to be known.
func (g *gate) forget(now time.Time) {
	for name, src := range g.sources {
		if g.fill(src, now); src.open == 0 && src.tokens >= g.burst {
			delete(g.sources, name)
		}
	}
}

// sourceOf names what is rationed: an IPv4 address, an IPv6 subscriber's /64,
// or the user of a local process.
func sourceOf(addr net.Addr, peer *Peer) string {
	if peer != nil {
		return fmt.Sprintf("uid:%d", peer.UID)
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		return p.String()
	}
	return ip.String()
}

// seats counts sessions. Some are kept for the rack terminal, so that no number
// of remote sessions can keep the person at the rack out. It is guarded by the
// server's lock.
type seats struct {
	all, remote, per int // how many there may be
	local, others    int // how many there are
	taken            map[string]int
}

func newSeats(l Limits) seats {
	return seats{all: l.Sessions, remote: l.Sessions - l.Reserved, per: l.PerOperator, taken: make(map[string]int)}
}

// take says why there is no seat, "" = one was taken.
func (s *seats) take(name string, local bool) string {
	switch {
	case s.taken[name] >= s.per:
		return fmt.Sprintf("%s has %d sessions open: close one", name, s.taken[name])
	case s.local+s.others >= s.all, !local && s.others >= s.remote:
		return fmt.Sprintf("%d sessions are open: try again later", s.local+s.others)
	}
	s.taken[name]++
	if local {
		s.local++
	} else {
		s.others++
	}
	return ""
}

func (s *seats) give(name string, local bool) {
	if s.taken[name]--; s.taken[name] == 0 {
		delete(s.taken, name)
	}
	if local {
		s.local--
	} else {
		s.others--
	}
}
