package api_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"picloud/engine"
	"picloud/engine/daemon/api"
	"picloud/store"
)

// apiConfig is shorter to say.
type apiConfig = api.Config

// smallDesk is the rack's desk but for what a test says of it.
type smallDesk struct {
	engine.Desk
	serve   func(engine.ServerCommand) (engine.ServerResult, error)
	notices func(after int64, limit int) []engine.Notice
}

// Serve is engine.Desk's.
func (d *smallDesk) Serve(ctx context.Context, cmd engine.ServerCommand) (engine.ServerResult, error) {
	if d.serve == nil {
		return d.Desk.Serve(ctx, cmd)
	}
	return d.serve(cmd)
}

// Notices is engine.Desk's.
func (d *smallDesk) Notices(ctx context.Context, account string, after int64, limit int) ([]engine.Notice, error) {
	if d.notices == nil {
		return d.Desk.Notices(ctx, account, after, limit)
	}
	return d.notices(after, limit), nil
}

// emptyDesk is an engine that has no Pis, with an account's key.
func emptyDesk(t testing.TB) (*engine.Engine, credentials) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e, err := engine.New(t.Context(), engine.Config{Inventory: db, Power: noPower{}, Roots: noRoots{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	secret, hash := engine.NewSecret()
	key := engine.APIKey{ID: engine.NewID(), Account: "fuzz", Hash: hash}
	for _, cmd := range []engine.AccountCommand{
		{Verb: engine.AccountAdd, Account: engine.Account{Name: "fuzz"}}, {Verb: engine.APIKeyAdd, Key: key},
	} {
		cmd.Actor = engine.SystemActor()
		if err := e.ChangeAccounts(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	return e, credentials{key.ID, secret}
}

// An engine without Pis has nothing to switch, and no root to make.
type (
	noPower struct{ engine.Power }
	noRoots struct{ engine.Roots }
)

// service is an API of a test's own.
type service struct {
	api *api.API
	log *logBuffer
	url string
	end func() error
	// over is how clients reach it, nil = as by default.
	over http.RoundTripper
}

// start serves a desk: the rack's, but for what it has of its own. Each may be
// nil.
func start(t testing.TB, desk *smallDesk, change func(*api.Config), hasten func(*api.API)) *service {
	t.Helper()
	if desk == nil {
		desk = &smallDesk{}
	}
	if desk.Desk == nil {
		desk.Desk = rack().Engine()
	}
	s := &service{log: &logBuffer{}}
	cfg := api.Config{
		Desk: desk, Deliveries: noDeliveries, Base: "/beta", Secret: bytes.Repeat([]byte{7}, api.SecretLen),
		Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.api, err = api.New(cfg); err != nil {
		t.Fatal(err)
	}
	if hasten != nil {
		hasten(s.api)
	}
	l, err := api.Listen(t.Context(), api.ListenConfig{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	s.url = l.URL()
	s.end = serve(t, s.api, l)
	return s
}

func serve(t testing.TB, a *api.API, l *api.Listener) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, l) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return end
}

func noDeliveries(context.Context, string, string, int64, int) ([]engine.Sending, error) {
	return nil, nil
}

// client is one of this service.
func (s *service) client(t testing.TB, key credentials) *client {
	t.Helper()
	c := newClient(t, key)
	c.base = s.url
	if s.over != nil {
		c.http.Transport = contract.over(t, s.over)
	}
	return c
}

// dial opens a bare connection.
func (s *service) dial(t testing.TB) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", s.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// logBuffer keeps a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer's.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
