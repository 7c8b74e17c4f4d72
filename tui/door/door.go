package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

// Config is what a Server is made from.
type Config struct {
	HostKey ssh.Signer // see HostKey
	Viewer  engine.Viewer

	// Operator says whose public key it is, by name and role; the door fills in
	// the rest of the actor. It is called often and by many goroutines, and
	// answers from memory. nil: nobody comes in over TCP.
	Operator func(key ssh.PublicKey) (engine.Actor, bool)
	// Local says the same of a process on this computer. nil: nobody comes in
	// over a Unix socket.
	Local func(p Peer) (engine.Actor, bool)
	// Run carries out a command and returns its exit status. It returns soon
	// after ctx ends.
	Run func(ctx context.Context, s Session) int

	Limits Limits
	Log    *slog.Logger // nil discards
}

// Limits bound what clients can take. Zero values are the defaults.
type Limits struct {
	Sessions    int           // at once, in all: 64
	Reserved    int           // of them, for Unix sockets: 8
	PerOperator int           // sessions at once of one operator: 8
	Pending     int           // connections without a login yet, of which one gives way to the next: 32
	PerSource   int           // of them, from one address: 8
	Burst       int           // logins that may fail in a row from one address: 20
	Refill      time.Duration // after which an address may fail once more: 2 s
	Handshake   time.Duration // for a login: 15 s
	Stall       time.Duration // that a client may take nothing of what is written to it: 10 s
	Keepalive   time.Duration // between two questions whether a client is there: 30 s; the third without an answer ends it
	Input       int           // bytes of keys a second: 4096
	Idle        time.Duration // without a key, after which a console is read-only: 10 min
	Leave       time.Duration // without a key, after which it closes: 60 min; negative = never
}

func (l Limits) withDefaults() Limits {
	number := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	duration := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	number(&l.Sessions, 64)
	number(&l.Reserved, 8)
	number(&l.PerOperator, 8)
	number(&l.Pending, 32)
	number(&l.PerSource, 8)
	number(&l.Burst, 20)
	number(&l.Input, 4096)
	duration(&l.Refill, 2*time.Second)
	duration(&l.Handshake, 15*time.Second)
	duration(&l.Stall, 10*time.Second)
	duration(&l.Keepalive, 30*time.Second)
	duration(&l.Idle, 10*time.Minute)
	duration(&l.Leave, 60*time.Minute)
	l.Reserved = min(l.Reserved, l.Sessions/2)
	return l
}

const (
	recheckTime = 30 * time.Second // between two looks whether operators changed
	graceTime   = 2 * time.Second  // for goodbyes
	unusedTime  = 2 * time.Minute  // that a connection may be without a session
)

// Reasons why a session ended, as causes of its context.
var (
	errStopping = errors.New("the service is stopping")
	errRevoked  = errors.New("you are no operator here any more")
	errGone     = errors.New("the client is gone")
	errEOF      = errors.New("the client's input ended")
	errStalled  = errors.New("the client took nothing of what was written to it")
	errSilent   = errors.New("the client did not answer")
	errUnused   = errors.New("the connection was not used")
	errSignal   = errors.New("interrupted")
)

// Server is the door. Make it with New; Serve it once.
type Server struct {
	cfg             Config
	log             *slog.Logger
	gate, localGate *gate

	mu    sync.Mutex
	conns map[*conn]struct{}
	count seats
}

// New makes a server of a configuration, or says what it lacks.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.HostKey == nil:
		return nil, errors.New("door: new: no host key")
	case cfg.Viewer == nil:
		return nil, errors.New("door: new: no engine to show")
	case cfg.Run == nil:
		return nil, errors.New("door: new: nothing carries out commands")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg: cfg, log: cfg.Log, gate: newGate(cfg.Limits), localGate: newGate(cfg.Limits),
		conns: make(map[*conn]struct{}), count: newSeats(cfg.Limits),
	}, nil
}

// Serve takes connections until ctx ends, then says goodbye to those that are
// there, and returns nil when everything it started has ended. A *net.UnixListener
// is a local door, any other asks for a key. Serve closes the listeners.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	})
	defer stop()
	var wg sync.WaitGroup
	for _, l := range listeners {
		s.log.Info("the door is open", "network", l.Addr().Network(), "address", l.Addr().String(),
			"host_key", ssh.FingerprintSHA256(s.cfg.HostKey.PublicKey()))
		wg.Go(func() {
			if err := s.accept(ctx, &wg, l); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() { s.recheckNowAndThen(ctx) })
	<-ctx.Done()
	wg.Wait()
	if err := context.Cause(ctx); errors.Is(err, errAccept) {
		return err
	}
	return nil
}

var errAccept = errors.New("no more connections")

// accept takes a listener's connections. Running out of file descriptors is no
// reason to stop.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup, l net.Listener) error {
	wait := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			wg.Go(func() { s.serveConn(ctx, nc) })
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("door: accept: %w: %w", errAccept, err)
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		s.log.Warn("door: accept", "err", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (s *Server) recheckNowAndThen(ctx context.Context) {
	t := time.NewTicker(recheckTime)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.Recheck()
		case <-ctx.Done():
			return
		}
	}
}

// Recheck asks again who everybody is. Who is no operator any more is
// disconnected, and whose role changed has the new one from now on.
func (s *Server) Recheck() {
	for _, c := range s.connections() {
		_, _ = c.present()
	}
}

// Info is one session that is open.
type Info struct {
	Actor   engine.Actor
	Command []string // empty for a console
	Since   time.Time
}

// Sessions returns the sessions that are open, in no order.
func (s *Server) Sessions() []Info {
	var out []Info
	for _, c := range s.connections() {
		out = append(out, c.infos()...)
	}
	return out
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}
