package nfs3

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"picloud/netboot/nfs"
)

// EventKind is what happened.
type EventKind string

// The kinds of [Event].
const (
	EventMounted   EventKind = "mounted"   // a client has mounted its export
	EventUnmounted EventKind = "unmounted" // a client says that it has unmounted
	EventRefused   EventKind = "refused"   // a mount was refused: Reason says why
	EventDropped   EventKind = "dropped"   // a connection was ended by the server: Reason says why
)

// Event is something that a client did or wanted.
type Event struct {
	Time   time.Time
	Kind   EventKind
	Client netip.Addr
	ID     string // the export, if there is one
	Path   string // as the client gave it, at most nfs.MaxPath bytes; not to be trusted
	Reason string
}

// Defaults of [Config].
const (
	DefaultMaxConns          = 4096
	DefaultMaxConnsPerClient = 16
	DefaultMaxFiles          = 1 << 18
	// DefaultIdleTimeout is longer than the five minutes after which a Linux
	// client closes an idle connection by itself.
	DefaultIdleTimeout = 6 * time.Minute
	DefaultIOTimeout   = 30 * time.Second
)

// Config is a server's settings. The zero value is good: zero fields take
// their defaults.
type Config struct {
	MaxConns          int           // connections in all; a further one is closed at once
	MaxConnsPerClient int           // per address; a further one ends the one that was idle longest
	MaxFiles          int           // files that one export's clients may hold handles of
	IdleTimeout       time.Duration // a connection without calls is ended after this
	IOTimeout         time.Duration // for the rest of a call, and for a reply to be taken
	// Key, if it is not empty, makes file handles survive a restart: a server
	// with the same key honours those of the one before it. It is a secret.
	Key []byte
	// OnEvent is told what happens. It is called from many goroutines and
	// must not block.
	OnEvent func(Event)
	Logger  *slog.Logger // nil discards
}

// Server serves exports read-only. It implements [nfs.Exporter].
type Server struct {
	cfg Config
	log *slog.Logger

	mu      sync.RWMutex
	closed  bool
	byID    map[string]*tree
	byToken map[token]*tree
	byMount map[mountKey]*tree

	conns registry
}

type mountKey struct {
	client netip.Addr
	path   string
}

var _ nfs.Exporter = (*Server)(nil)

// New returns a server without exports that does not serve yet.
func New(cfg Config) *Server {
	cfg.MaxConns = cmp.Or(cfg.MaxConns, DefaultMaxConns)
	cfg.MaxConnsPerClient = cmp.Or(cfg.MaxConnsPerClient, DefaultMaxConnsPerClient)
	cfg.MaxFiles = cmp.Or(cfg.MaxFiles, DefaultMaxFiles)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, DefaultIdleTimeout)
	cfg.IOTimeout = cmp.Or(cfg.IOTimeout, DefaultIOTimeout)
	s := &Server{
		cfg: cfg, log: cfg.Logger,
		byID: map[string]*tree{}, byToken: map[token]*tree{}, byMount: map[mountKey]*tree{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.conns.init(cfg.MaxConns, cfg.MaxConnsPerClient)
	return s
}

// Add implements [nfs.Exporter]. An export that is not ReadOnly gives
// [nfs.ErrNotSupported].
func (s *Server) Add(_ context.Context, e nfs.Export) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("nfs3: add export %.40q: %w", e.ID, err)
	}
	if !e.ReadOnly {
		return fmt.Errorf("nfs3: add export %q: %w: it serves read-only (set ReadOnly, or use the kernel's server)", e.ID, nfs.ErrNotSupported)
	}
	s.mu.RLock()
	old := s.byID[e.ID]
	s.mu.RUnlock()
	if old != nil && old.Export == e && old.inPlace() {
		return nil
	}
	t, err := openTree(e, s.cfg.MaxFiles, s.cfg.Key)
	if err != nil {
		return fmt.Errorf("nfs3: add export %q: %w", e.ID, err)
	}
	old, err = s.publish(t)
	if err != nil {
		t.close()
		return fmt.Errorf("nfs3: add export %q: %w", e.ID, err)
	}
	if old != nil {
		old.close()
	}
	return nil
}

// publish puts t in the tables and returns what was there under its ID.
func (s *Server) publish(t *tree) (old *tree, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nfs.ErrClosed
	}
	key := mountKey{t.Client, t.Path}
	if other := s.byMount[key]; other != nil && other.ID != t.ID {
		return nil, fmt.Errorf("%w: path %s to %s is of export %q", nfs.ErrConflict, t.Path, t.Client, other.ID)
	}
	for id, other := range s.byID {
		if id != t.ID && other.Dir == t.Dir {
			return nil, fmt.Errorf("%w: folder %s is of export %q, to %s", nfs.ErrConflict, t.Dir, id, other.Client)
		}
	}
	old = s.withdraw(t.ID)
	s.byID[t.ID], s.byToken[t.token], s.byMount[key] = t, t, t
	return old, nil
}

// withdraw takes an export out of the tables. s.mu is held.
func (s *Server) withdraw(id string) *tree {
	t := s.byID[id]
	if t != nil {
		delete(s.byID, id)
		delete(s.byToken, t.token)
		delete(s.byMount, mountKey{t.Client, t.Path})
	}
	return t
}

// Remove implements [nfs.Exporter]. It waits for the calls that are being
// answered from the export.
func (s *Server) Remove(_ context.Context, id string) error {
	s.mu.Lock()
	t := s.withdraw(id)
	s.mu.Unlock()
	if t != nil {
		t.close()
	}
	return nil
}

// List implements [nfs.Exporter].
func (s *Server) List(context.Context) ([]nfs.Export, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]nfs.Export, 0, len(s.byID))
	for _, t := range s.byID {
		list = append(list, t.Export)
	}
	slices.SortFunc(list, func(a, b nfs.Export) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// closeAll removes all exports, for good.
func (s *Server) closeAll() {
	s.mu.Lock()
	s.closed = true
	var all []*tree
	for id := range s.byID {
		all = append(all, s.withdraw(id))
	}
	s.mu.Unlock()
	for _, t := range all {
		t.close()
	}
}

// treeOf returns the export of a file handle, if it is this client's.
func (s *Server) treeOf(tok token, client netip.Addr) *tree {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.byToken[tok]; t != nil && t.Client == client {
		return t
	}
	return nil
}

func (s *Server) exportOf(client netip.Addr, path string) *tree {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byMount[mountKey{client, path}]
}

func (s *Server) exportsOf(client netip.Addr) []nfs.Export {
	all, _ := s.List(context.Background())
	return slices.DeleteFunc(all, func(e nfs.Export) bool { return e.Client != client })
}

// whyRefused explains a refused mount to the operator, never to the client.
func (s *Server) whyRefused(client netip.Addr, path string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	why := "nothing is exported to this address"
	for _, t := range s.byID {
		switch {
		case t.Path == path:
			return fmt.Sprintf("the path is exported to %s only", t.Client)
		case t.Client == client:
			why = fmt.Sprintf("this address has %s, not this path: check nfsroot= in its cmdline.txt", t.Path)
		}
	}
	return why
}

func (s *Server) emit(e Event) {
	e.Time = time.Now()
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(e)
	}
	s.log.Debug("nfs event", "kind", string(e.Kind), "client", e.Client, "id", e.ID, "path", e.Path, "reason", e.Reason)
}
