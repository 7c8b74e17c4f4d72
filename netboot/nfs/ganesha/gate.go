package ganesha

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// gate is what Pis connect to. nfs-ganesha takes a name with slashes in it for a
// path, and so gives every Pi the whole of this host: LOOKUP of "/etc/shadow"
// finds it. The gate therefore reads each call before the server does, and hangs
// up on a Pi that sends what no NFS client sends. To the server, each Pi has an
// address of its own in 127.200.0.0/16.
type gate struct {
	log *slog.Logger
	// server waits until the server runs and returns its port for what is asked
	// for at a port of ours.
	server func(ctx context.Context, service service) (uint16, error)
	// exported reports whether a client may mount a path.
	exported func(path string, client netip.Addr) bool

	mu    sync.Mutex
	slots map[netip.Addr]uint16 // by the Pi's address
	open  map[netip.Addr]int    // connections
	total int
	// complained is when a client's refusals were last written to the log, by its
	// alias: a Pi is not to fill it.
	complained map[netip.Addr]time.Time
}

// service is one of the two ports.
type service int

const (
	serviceNFS service = iota
	serviceMount
)

// Bounds, far beyond what Pis need.
const (
	maxPerClient = 32 // connections of one Pi
	maxTotal     = 16384
	firstPort    = 512 // of those that only root may use
	reserved     = 1024
)

func newGate(log *slog.Logger, server func(context.Context, service) (uint16, error), exported func(string, netip.Addr) bool) *gate {
	return &gate{log: log, server: server, exported: exported, slots: map[netip.Addr]uint16{}, open: map[netip.Addr]int{}, complained: map[netip.Addr]time.Time{}}
}

// alias is the address that the server knows a client by.
func (g *gate) alias(client netip.Addr) (netip.Addr, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, ok := g.slots[client]
	if !ok {
		if len(g.slots) >= 0xffff {
			return netip.Addr{}, errors.New("too many clients")
		}
		n = uint16(len(g.slots) + 1)
		g.slots[client] = n
	}
	return netip.AddrFrom4([4]byte{127, 200, byte(n >> 8), byte(n)}), nil
}

// known returns a client's alias, or that of nobody, which has no exports.
func (g *gate) known(client netip.Addr) netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.slots[client]
	return netip.AddrFrom4([4]byte{127, 200, byte(n >> 8), byte(n)})
}

// serve takes connections until ctx ends, and returns when all are closed.
func (g *gate) serve(ctx context.Context, l net.Listener, what service) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) {
			g.log.Warn("connection not taken", "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return err
		}
		client, alias, done, err := g.admit(c)
		if err != nil {
			g.complain("connection refused", c, alias, err)
			_ = c.Close()
			continue
		}
		all.Go(func() {
			defer done()
			if err := g.relay(ctx, c, client, alias, what); err != nil && ctx.Err() == nil {
				g.complain("connection closed", c, alias, err)
			}
		})
	}
}

// complain writes to the log what a client was refused, once in a while.
func (g *gate) complain(what string, c net.Conn, alias netip.Addr, err error) {
	const every = 10 * time.Second
	g.mu.Lock()
	level, now := slog.LevelDebug, time.Now()
	if last, ok := g.complained[alias]; !ok || now.Sub(last) >= every {
		level, g.complained[alias] = slog.LevelWarn, now
	}
	g.mu.Unlock()
	g.log.Log(context.Background(), level, what, "client", c.RemoteAddr().String(), "err", err)
}

// admit decides about a new connection.
func (g *gate) admit(c net.Conn) (client, alias netip.Addr, done func(), err error) {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return client, alias, nil, err
	}
	client = at.Addr().Unmap()
	alias = g.known(client)
	if at.Port() >= reserved {
		return client, alias, nil, fmt.Errorf("port %d: on its Pi only root speaks for root", at.Port())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[client] >= maxPerClient || g.total >= maxTotal {
		return client, alias, nil, errors.New("too many connections")
	}
	g.open[client]++
	g.total++
	return client, alias, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.open[client]--; g.open[client] == 0 {
			delete(g.open, client)
		}
		g.total--
	}, nil
}

// relay passes calls and answers on until either side hangs up. An error tells
// what was wrong with a call, or that the server cannot be reached.
func (g *gate) relay(ctx context.Context, c net.Conn, client, alias netip.Addr, what service) error {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	port, err := g.server(ctx, what)
	if err != nil {
		return err
	}
	up, err := dialReserved(ctx, alias, port)
	if err != nil {
		return fmt.Errorf("to the server: %w", err)
	}
	defer up.Close()
	stopUp := context.AfterFunc(ctx, func() { _ = up.Close() })
	defer stopUp()
	var answers sync.WaitGroup
	defer answers.Wait()
	defer cancel()
	answers.Go(func() {
		defer cancel()
		_, _ = io.Copy(c, up) // either side may hang up
	})
	return relayCalls(up, c, func(path string) bool { return g.exported(path, client) })
}

// dialReserved connects from a port that only root may use, so that no other
// user of this host can speak for a Pi.
func dialReserved(ctx context.Context, from netip.Addr, port uint16) (net.Conn, error) {
	const count = reserved - firstPort
	begin := rand.IntN(count)
	for i := range count {
		local := netip.AddrPortFrom(from, uint16(firstPort+(begin+i)%count))
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local)}
		c, err := d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return c, err
		}
	}
	return nil, syscall.EADDRINUSE
}
