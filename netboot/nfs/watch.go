package nfs

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// DefaultWatchEvery is how often [Watch] looks if nothing else is said.
const DefaultWatchEvery = time.Second

// maxWatchErrors is how often in a row the kernel may fail to answer before
// Watch gives up. One dump that a change interrupts is normal.
const maxWatchErrors = 5

// Peer is what the kernel knows of one Pi that has NFS connections open.
type Peer struct {
	Addr        netip.Addr    // the Pi
	Local       netip.Addr    // the server's address that the Pi uses
	Conns       int           // established connections, at least 1
	Since       time.Time     // when the oldest of them was first seen; late by up to WatchConfig.Every
	Received    uint64        // payload bytes from the Pi, over the open connections
	Sent        uint64        // payload bytes that the Pi acknowledged, over the open connections
	RTT         time.Duration // the longest smoothed round-trip time of the connections
	Retransmits uint64        // segments sent again, over the open connections
	Idle        time.Duration // since the Pi last sent data on any of them
}

// WatchConfig says what [Watch] looks at.
type WatchConfig struct {
	Port   uint16        // the NFS server's TCP port
	Every  time.Duration // 0 means DefaultWatchEvery
	Logger *slog.Logger  // nil discards

	// query is Connections, but for tests.
	query func(port uint16) ([]Conn, error)
}

// Watch calls report at once and then every cfg.Every with all Pis that have
// an established connection to the NFS port, sorted by address. A Pi that is
// absent has no connection. It works with every kind of NFS server on this
// host. report runs on Watch's goroutine and must not block; it may keep the
// slice.
//
// Watch returns nil when ctx ends, and an error if the kernel gives no answer
// at the start, or five times in a row later.
func Watch(ctx context.Context, cfg WatchConfig, report func([]Peer)) error {
	w := watcher{cfg: cfg, seen: map[uint64]time.Time{}}
	if w.cfg.Every <= 0 {
		w.cfg.Every = DefaultWatchEvery
	}
	if w.cfg.query == nil {
		w.cfg.query = Connections
	}
	if w.cfg.Logger == nil {
		w.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	peers, err := w.look()
	if err != nil {
		return fmt.Errorf("nfs: watch: %w", err)
	}
	report(peers)

	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	failed := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		peers, err := w.look()
		if err != nil {
			failed++
			w.cfg.Logger.Warn("nfs connections not read", "port", cfg.Port, "failed", failed, "err", err)
			if failed >= maxWatchErrors {
				return fmt.Errorf("nfs: watch: %d failures in a row: %w", failed, err)
			}
			continue
		}
		failed = 0
		report(peers)
	}
}

type watcher struct {
	cfg  WatchConfig
	seen map[uint64]time.Time // by Conn.Cookie: when it was first seen
}

func (w *watcher) look() ([]Peer, error) {
	conns, err := w.cfg.query(w.cfg.Port)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	seen := make(map[uint64]time.Time, len(conns))
	byAddr := make(map[netip.Addr]*Peer, len(conns))
	for _, c := range conns {
		since, ok := w.seen[c.Cookie]
		if !ok {
			since = now
		}
		seen[c.Cookie] = since
		addr := c.Remote.Addr()
		p := byAddr[addr]
		if p == nil {
			p = &Peer{Addr: addr, Local: c.Local.Addr(), Since: since, Idle: c.Idle}
			byAddr[addr] = p
		}
		p.add(c, since)
	}
	w.seen = seen
	peers := make([]Peer, 0, len(byAddr))
	for _, p := range byAddr {
		peers = append(peers, *p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
	return peers, nil
}

func (p *Peer) add(c Conn, since time.Time) {
	p.Conns++
	if since.Before(p.Since) {
		p.Since = since
	}
	p.Received += c.Received
	p.Sent += c.Sent
	p.Retransmits += uint64(c.Retransmits)
	p.RTT = max(p.RTT, c.RTT)
	p.Idle = min(p.Idle, c.Idle)
}
