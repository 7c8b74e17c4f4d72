package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bounds of what one Pi can take of the server.
const (
	maxHeader  = 2048
	maxConns   = 4
	readLimit  = 5 * time.Second
	writeLimit = 5 * time.Second
	// A Pi reports every few seconds: more than that is refused.
	refill = 500 * time.Millisecond
	burst  = 10
)

// ErrRefused is wrapped by the reasons for which [Config.Take] lets a report not
// count.
var ErrRefused = errors.New("it does not count")

// Place is a Pi that is to report: at which address of the server, and by which
// address of its own.
type Place struct {
	Listen netip.AddrPort
	Client netip.Addr
}

// Config is what a [Server] is made from.
type Config struct {
	// Take gets each report with its token, and says by an error that wraps
	// [ErrRefused] if it does not count. It is called by many goroutines at once.
	Take func(client netip.Addr, token string, r Report) error
	// Refused is told of each request that is no report that counts, but for those
	// that are too many. May be nil.
	Refused func(client netip.Addr, why error)
	Log     *slog.Logger // nil discards
}

// Server takes reports. It listens nowhere until [Server.Follow] says where.
type Server struct {
	cfg  Config
	http *http.Server
	wg   sync.WaitGroup

	mu     sync.Mutex
	gates  map[Place]*gate
	failed map[Place]string // why there is no gate, as it was logged
	closed bool
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Refused == nil {
		cfg.Refused = func(netip.Addr, error) {}
	}
	s := &Server{cfg: cfg, gates: map[Place]*gate{}, failed: map[Place]string{}}
	s.http = &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: readLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: readLimit,
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(context.Background(), gateKey{}, l)
		},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// gateKey is the key of the gate that a request came in by.
type gateKey struct{}

// Follow makes the server listen for those Pis and for no others. Where it cannot
// listen it says so in the log, and tries again when it is called next.
func (s *Server) Follow(places []Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	want := make(map[Place]bool, len(places))
	for _, p := range places {
		want[p] = true
	}
	for p, g := range s.gates {
		if !want[p] {
			delete(s.gates, p)
			_ = g.Close() // whoever is in a request ends it by its time limit
		}
	}
	for p := range s.failed {
		if !want[p] {
			delete(s.failed, p)
		}
	}
	for p := range want {
		if s.gates[p] == nil {
			s.open(p)
		}
	}
}

// open listens for one Pi; s.mu is held.
func (s *Server) open(p Place) {
	var lc net.ListenConfig
	// Listening on a literal address does not block; there is nothing to cancel.
	l, err := lc.Listen(context.Background(), "tcp4", p.Listen.String())
	if err != nil {
		if why := err.Error(); s.failed[p] != why {
			s.failed[p] = why
			s.cfg.Log.Error("no report can be taken", "pi", p.Client, "err", err, "try", "end what has the port, or set another: port = below [exam]")
		}
		return
	}
	delete(s.failed, p)
	g := &gate{Listener: l, place: p, room: make(chan struct{}, maxConns)}
	s.gates[p] = g
	s.wg.Go(func() { _ = s.http.Serve(g) }) // ends when the gate or the server is closed
}

// Serve works until ctx ends, and returns nil then.
func (s *Server) Serve(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true
	gates := s.gates
	s.gates = nil
	s.mu.Unlock()
	for _, g := range gates {
		_ = g.Close()
	}
	err := s.http.Close()
	s.wg.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("report: close: %w", err)
	}
	return nil
}

// ServeHTTP is http.Handler's.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g, _ := r.Context().Value(gateKey{}).(*gate)
	if g == nil {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	status, err := s.take(g, w, r)
	w.Header().Set("Connection", "close")
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !errors.Is(err, errTooMany) { // of that, there may be any number
		s.cfg.Refused(g.place.Client, err)
	}
	http.Error(w, err.Error(), status)
}

// Reasons for which a request is refused before its report is looked at.
var (
	errTooMany = errors.New("too many reports at once")
	errPath    = errors.New("only POST " + pathPrefix + "TOKEN is taken here")
)

func (s *Server) take(g *gate, w http.ResponseWriter, r *http.Request) (status int, err error) {
	if !g.spend(time.Now()) {
		return http.StatusTooManyRequests, errTooMany
	}
	token, ok := strings.CutPrefix(r.URL.Path, pathPrefix)
	if r.Method != http.MethodPost || !ok || !tokenForm.MatchString(token) {
		return http.StatusNotFound, errPath
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBytes))
	if err != nil {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	report, err := Parse(body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if err := s.cfg.Take(g.place.Client, token, report); err != nil {
		return http.StatusForbidden, err
	}
	return 0, nil
}

// gate is where one Pi is let in.
type gate struct {
	net.Listener
	place Place
	room  chan struct{} // a slot for each connection

	mu    sync.Mutex
	spent float64 // requests of the burst
	since time.Time
}

// Accept waits for a connection of the Pi. Others are broken off, and so are
// those for which there is no room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || from.Addr().Unmap() != g.place.Client {
			c.Close()
			continue
		}
		select {
		case g.room <- struct{}{}:
			return &conn{Conn: c, leave: sync.OnceFunc(func() { <-g.room })}, nil
		default:
			c.Close()
		}
	}
}

// spend takes one request of those that the Pi may make, if there is one left.
func (g *gate) spend(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() {
		g.spent = max(0, g.spent-float64(now.Sub(g.since))/float64(refill))
	}
	g.since = now
	if g.spent+1 > burst {
		return false
	}
	g.spent++
	return true
}

// conn gives its slot back when it is closed.
type conn struct {
	net.Conn
	leave func()
}

func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}
