package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

// conn is one connection with its login.
type conn struct {
	s      *Server
	nc     net.Conn
	peer   *Peer // of a Unix socket, nil = TCP
	source string
	log    *slog.Logger
	base   context.Context // of Serve: acts outlive the session that decided them

	actor engine.Actor                // at the login
	ask   func() (engine.Actor, bool) // who that is now
	end   context.CancelCauseFunc     // ends the connection
	count sync.WaitGroup              // sessions

	mu       sync.Mutex
	role     engine.Role
	sessions map[*session]struct{}
	last     time.Time // a session ended
}

// serveConn is the life of a connection. Whatever goes wrong in it, the rack
// runs on.
func (s *Server) serveConn(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	c := &conn{s: s, nc: nc, base: ctx, sessions: make(map[*session]struct{}), last: time.Now()}
	defer c.recovered("connection")
	if err := c.identify(); err != nil {
		s.log.Warn("door: no peer", "err", err)
		return
	}
	a, why, tell := c.gate().enter(c.source, time.Now(), func() { _ = nc.Close() })
	if why != "" {
		if tell {
			c.log.Warn("connections refused", "why", why)
		}
		return
	}
	sc, chans, reqs, err := c.login(ctx)
	if c.gate().leave(a, err == nil) && err == nil { // it lost its place while it came in
		_ = sc.Close()
		drain(chans, reqs)
		return
	}
	if err != nil {
		return
	}
	if !s.register(c) {
		c.log.Warn("connection refused", "actor", c.actor.Name, "why", "too many connections")
		_ = sc.Close()
		drain(chans, reqs)
		return
	}
	defer s.unregister(c)
	c.serve(ctx, sc, chans, reqs)
}

// identify finds out where the connection comes from.
func (c *conn) identify() error {
	from := c.nc.RemoteAddr().String()
	if uc, ok := c.nc.(*net.UnixConn); ok {
		peer, err := peerOf(uc)
		if err != nil {
			return err
		}
		c.peer = &peer
		from = fmt.Sprintf("uid %d pid %d", peer.UID, peer.PID)
	}
	c.source = sourceOf(c.nc.RemoteAddr(), c.peer)
	c.log = c.s.log.With("from", from)
	return nil
}

func (c *conn) gate() *gate {
	if c.peer != nil {
		return c.s.localGate
	}
	return c.s.gate
}

// recovered keeps a mistake in one session from ending the service.
func (c *conn) recovered(what string) {
	if r := recover(); r != nil {
		c.s.log.Error("door: panic", "in", what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// keyField is where a login's key is kept: of all keys a client offers, the
// permissions belong to the one it proved to have.
type keyField struct{}

// login shakes hands and finds out who it is.
func (c *conn) login(ctx context.Context) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	_ = c.nc.SetDeadline(time.Now().Add(c.s.cfg.Limits.Handshake))
	var user string
	var offered []string
	config := &ssh.ServerConfig{ServerVersion: "SSH-2.0-picloud", MaxAuthTries: maxKeys}
	config.AddHostKey(c.s.cfg.HostKey)
	if c.peer != nil {
		config.NoClientAuth = true
		config.NoClientAuthCallback = c.tryPeer
	} else {
		config.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			user = printable(meta.User(), 64)
			offered = append(offered, ssh.FingerprintSHA256(key))
			return c.tryKey(key)
		}
	}
	sc, chans, reqs, err := ssh.NewServerConn(c.nc, config)
	if err == nil {
		err = c.loggedIn(sc)
		if err != nil {
			_ = sc.Close()
			drain(chans, reqs)
		}
	}
	switch {
	case err != nil && len(offered) == 0 && c.peer == nil: // a port scan
		c.log.Info("no login", "err", printable(err.Error(), 300))
		return nil, nil, nil, err
	case err != nil:
		c.log.Warn("login refused", "user", user, "keys", offered, "err", printable(err.Error(), 300))
		return nil, nil, nil, err
	}
	_ = c.nc.SetDeadline(time.Time{})
	return sc, chans, reqs, nil
}

// maxKeys is how many keys a client may try.
const maxKeys = 6

func (c *conn) tryKey(key ssh.PublicKey) (*ssh.Permissions, error) {
	if c.s.cfg.Operator == nil {
		return nil, errors.New("no operator comes in this way")
	}
	if _, ok := c.s.cfg.Operator(key); !ok {
		return nil, errors.New("no operator's key")
	}
	return &ssh.Permissions{ExtraData: map[any]any{keyField{}: key}}, nil
}

func (c *conn) tryPeer(ssh.ConnMetadata) (*ssh.Permissions, error) {
	if c.s.cfg.Local != nil {
		if _, ok := c.s.cfg.Local(*c.peer); ok {
			return &ssh.Permissions{}, nil
		}
	}
	return nil, &ssh.BannerError{
		Err:     errors.New("no operator's uid"),
		Message: fmt.Sprintf("uid %d is no operator's\n", c.peer.UID),
	}
}

// loggedIn makes the actor of what the login proved.
func (c *conn) loggedIn(sc *ssh.ServerConn) error {
	about := engine.Actor{Source: "tty"}
	var who func() (engine.Actor, bool)
	if c.peer != nil {
		about.Key = fmt.Sprintf("uid:%d", c.peer.UID)
		who = func() (engine.Actor, bool) { return c.s.cfg.Local(*c.peer) }
	} else {
		key, ok := sc.Permissions.ExtraData[keyField{}].(ssh.PublicKey)
		if !ok {
			return errors.New("no key was proved")
		}
		about.Source, about.Key = "ssh", ssh.FingerprintSHA256(key)
		about.From, _ = netip.ParseAddrPort(c.nc.RemoteAddr().String())
		who = func() (engine.Actor, bool) { return c.s.cfg.Operator(key) }
	}
	c.ask = func() (engine.Actor, bool) {
		a, ok := who()
		about := about
		about.Name, about.Role = a.Name, a.Role
		return about, ok && a.Name != ""
	}
	var ok bool
	if c.actor, ok = c.ask(); !ok {
		return errors.New("no operator any more")
	}
	c.role = c.actor.Role
	c.log = c.log.With("actor", c.actor.Name, "key", c.actor.Key)
	return nil
}

// register counts the connection in, unless its operator has too many: each
// session may have one of its own, and as many again may be on their way.
func (s *Server) register(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for other := range s.conns {
		if other.actor.Name == c.actor.Name {
			n++
		}
	}
	if n >= 2*s.cfg.Limits.PerOperator {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// serve answers a connection until it or ctx ends, and returns when everything
// of it has ended.
func (c *conn) serve(ctx context.Context, sc *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.end = cancel
	c.mu.Unlock()
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) }) // forwarding, and what else is asked of a server
	wg.Go(func() { c.keepalive(ctx, sc) })
	wg.Go(func() {
		_ = sc.Wait()
		cancel(errGone)
	})
	c.channels(ctx, chans)
	hard := time.AfterFunc(graceTime, func() { _ = c.nc.Close() })
	c.count.Wait()
	hard.Stop()
	_ = sc.Close()
	_ = c.nc.Close()
	drain(chans, reqs)
	wg.Wait()
}

// drain lets the library's goroutines of a closed connection end.
func drain(chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	for range chans {
	}
	wg.Wait()
}

func (c *conn) channels(ctx context.Context, chans <-chan ssh.NewChannel) {
	for {
		select {
		case <-ctx.Done():
			return
		case nch, ok := <-chans:
			if !ok {
				return
			}
			c.channel(ctx, nch)
		}
	}
}

func (c *conn) channel(ctx context.Context, nch ssh.NewChannel) {
	if nch.ChannelType() != "session" {
		_ = nch.Reject(ssh.UnknownChannelType, "only sessions are served")
		return
	}
	if why := c.take(); why != "" {
		c.log.Warn("session refused", "why", why)
		_ = nch.Reject(ssh.ResourceShortage, why)
		return
	}
	c.count.Go(func() {
		defer c.give()
		defer c.recovered("session")
		c.session(ctx, nch)
	})
}

func (c *conn) take() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.count.take(c.actor.Name, c.peer != nil)
}

// sessions is how many sessions are open.
func (s *Server) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count.local + s.count.others
}

func (c *conn) give() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.count.give(c.actor.Name, c.peer != nil)
}

// keepalive asks the client now and then whether it is there; any answer is
// one. A connection that nothing is done with ends, too.
func (c *conn) keepalive(ctx context.Context, sc *ssh.ServerConn) {
	every := c.s.cfg.Limits.Keepalive
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		late := time.AfterFunc(3*every, func() { c.drop(errSilent) })
		_, _, err := sc.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return
		}
		if c.unused() {
			c.drop(errUnused)
		}
	}
}

func (c *conn) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions) == 0 && time.Since(c.last) > unusedTime
}

// drop ends a connection without goodbyes.
func (c *conn) drop(why error) {
	c.cancel(why)
	_ = c.nc.Close()
}

func (c *conn) cancel(why error) {
	c.mu.Lock()
	end := c.end
	c.mu.Unlock()
	if end != nil {
		end(why)
	}
}

// present asks who the connection's actor is now, and acts on what changed.
func (c *conn) present() (engine.Actor, error) {
	c.mu.Lock()
	a, ok := c.ask() // under the lock: the answers must not overtake each other
	if ok = ok && a.Name == c.actor.Name; ok && a.Role != c.role {
		c.log.Info("role changed", "was", c.role.String(), "is", a.Role.String())
		c.role = a.Role
		for se := range c.sessions {
			se.actors.Put(a)
		}
	}
	c.mu.Unlock()
	if !ok {
		c.cancel(errRevoked)
		return engine.Actor{}, fmt.Errorf("%w: %w", engine.ErrNotAllowed, errRevoked)
	}
	return a, nil
}

func (c *conn) infos() []Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Info
	for se := range c.sessions {
		info := se.info
		info.Actor.Role = c.role
		out = append(out, info)
	}
	return out
}

// printable bounds and cleans what a client wrote, for the log and for people.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}
