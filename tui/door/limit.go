package door

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds how many addresses are remembered.
const maxSources = 4096

// gate rations connections without a login. Each takes a token of its source
// and gives it back when the login succeeds, so that only those that fail are
// slowed. When there is no room, one that waits gives way to the one that comes,
// as of OpenSSH's MaxStartups: who only holds connections open keeps nobody out.
type gate struct {
	pending, perSource int
	burst              float64
	refill             time.Duration

	mu      sync.Mutex
	waiting map[*attempt]struct{}
	sources map[string]*source
}

// attempt is one connection without a login.
type attempt struct {
	source  *source
	dropped bool
	drop    func() // ends the connection
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
		waiting: make(map[*attempt]struct{}), sources: make(map[string]*source),
	}
}

// enter lets a source try a login, who then has to leave, or says why it may
// not. tell is true the first time a source is refused. drop may be called at
// any time before leave returns, and does not block.
func (g *gate) enter(name string, now time.Time, drop func()) (a *attempt, why string, tell bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	src := g.source(name, now)
	if src == nil {
		return nil, "too many addresses at once", false
	}
	switch {
	case src.tokens < 1:
		why = "too many failed logins"
	case src.open >= g.perSource:
		why = fmt.Sprintf("%d logins from there are not over", src.open)
	}
	if why != "" {
		tell, src.told = !src.told, true
		return nil, why, tell
	}
	if len(g.waiting) >= g.pending {
		g.evict()
	}
	src.tokens--
	src.open++
	src.told = false
	a = &attempt{source: src, drop: drop}
	g.waiting[a] = struct{}{}
	return a, "", false
}

// evict drops one connection of those whose source has most: at random among
// them, so that nobody can tell whose turn it is.
func (g *gate) evict() {
	var of []*attempt
	for a := range g.waiting {
		switch {
		case len(of) == 0 || a.source.open > of[0].source.open:
			of = append(of[:0], a)
		case a.source.open == of[0].source.open:
			of = append(of, a)
		}
	}
	a := of[rand.IntN(len(of))]
	a.dropped = true
	g.remove(a)
	a.drop()
}

func (g *gate) remove(a *attempt) {
	delete(g.waiting, a)
	a.source.open--
}

// leave ends what enter allowed. It says whether it had to give way.
func (g *gate) leave(a *attempt, loggedIn bool) (dropped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.dropped {
		return true
	}
	g.remove(a)
	if loggedIn {
		a.source.tokens = min(a.source.tokens+1, g.burst)
	}
	return false
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
