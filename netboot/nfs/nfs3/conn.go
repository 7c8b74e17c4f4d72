package nfs3

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// registry counts the connections and knows which was idle longest.
type registry struct {
	maxAll, maxClient int

	mu       sync.Mutex
	all      int
	byClient map[netip.Addr][]*connection
	closed   bool
}

type connection struct {
	net.Conn
	client netip.Addr
	active atomic.Int64 // when the last call came, in Unix nanoseconds
}

func (r *registry) init(maxAll, maxClient int) {
	r.maxAll, r.maxClient = maxAll, maxClient
	r.byClient = map[netip.Addr][]*connection{}
}

// add reports whether the connection may stay. It returns the client's
// connection that must go instead, if any: a Pi that lost its power leaves
// connections behind, and they must not keep it from mounting again.
func (r *registry) add(c *connection) (evict *connection, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false
	}
	mine := r.byClient[c.client]
	if len(mine) >= r.maxClient {
		evict = mine[0]
		for _, other := range mine[1:] {
			if other.active.Load() < evict.active.Load() {
				evict = other
			}
		}
		r.removeLocked(evict)
	}
	if r.all >= r.maxAll {
		return evict, false
	}
	r.all++
	r.byClient[c.client] = append(r.byClient[c.client], c)
	return evict, true
}

func (r *registry) remove(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(c)
}

func (r *registry) removeLocked(c *connection) {
	mine := r.byClient[c.client]
	for i, other := range mine {
		if other != c {
			continue
		}
		r.all--
		mine[i] = mine[len(mine)-1]
		mine[len(mine)-1] = nil
		if mine = mine[:len(mine)-1]; len(mine) == 0 {
			delete(r.byClient, c.client)
		} else {
			r.byClient[c.client] = mine
		}
		return
	}
}

func (r *registry) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, conns := range r.byClient {
		for _, c := range conns {
			c.Close()
		}
	}
}

// Serve answers clients on l until ctx ends, then closes l and every
// connection, removes all exports, and returns nil. It can be called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer func() {
		l.Close()
		s.conns.closeAll()
		wg.Wait()
		s.closeAll()
	}()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wait time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("nfs3: accept: %w", err)
		case err != nil: // out of file descriptors, or a client that went away
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			s.log.Warn("nfs connection not accepted", "err", err, "wait", wait)
			if !sleep(ctx, wait) {
				return nil
			}
			continue
		}
		wait = 0
		if c := s.admit(nc); c != nil {
			wg.Go(func() { s.serveConn(c) })
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// admit registers a connection, or closes it and returns nil.
func (s *Server) admit(nc net.Conn) *connection {
	remote, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		nc.Close()
		return nil
	}
	c := &connection{Conn: nc, client: remote.Addr().Unmap()}
	c.active.Store(time.Now().UnixNano())
	evict, admitted := s.conns.add(c)
	if evict != nil {
		evict.Close()
		s.emit(Event{Kind: EventDropped, Client: c.client,
			Reason: fmt.Sprintf("more than %d connections: the one idle longest was closed", s.cfg.MaxConnsPerClient)})
	}
	if !admitted {
		nc.Close()
		s.emit(Event{Kind: EventDropped, Client: c.client,
			Reason: fmt.Sprintf("server has its %d connections", s.cfg.MaxConns)})
		return nil
	}
	return c
}

// serveConn answers one connection's calls in turn until it ends.
func (s *Server) serveConn(c *connection) {
	defer c.Close()
	defer s.conns.remove(c)
	err := s.converse(c)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		var netErr net.Error
		if errors.As(err, &netErr) { // reset by the Pi's reboot
			return
		}
		s.emit(Event{Kind: EventDropped, Client: c.client, Reason: err.Error()})
	}
}

const fragmentHead = 4

func (s *Server) converse(c *connection) error {
	in := bufio.NewReaderSize(c, 4<<10)
	sess := &session{server: s, client: c.client}
	var rec, reply []byte
	for {
		if err := c.SetReadDeadline(time.Now().Add(s.cfg.IdleTimeout)); err != nil {
			return err
		}
		if _, err := in.Peek(1); err != nil {
			return err
		}
		now := time.Now()
		c.active.Store(now.UnixNano())
		if err := c.SetReadDeadline(now.Add(s.cfg.IOTimeout)); err != nil {
			return err
		}
		var err error
		if rec, err = readRecord(in, rec); err != nil {
			return err
		}
		var callErr error
		reply, callErr = sess.handle(rec, append(reply[:0], make([]byte, fragmentHead)...))
		if err := s.send(c, reply); err != nil {
			return err
		}
		if callErr != nil {
			return callErr
		}
	}
}

// send writes a reply as one fragment; a reply without content is none.
func (s *Server) send(c *connection, reply []byte) error {
	n := len(reply) - fragmentHead
	if n <= 0 {
		return nil
	}
	binary.BigEndian.PutUint32(reply, 1<<31|uint32(n))
	if err := c.SetWriteDeadline(time.Now().Add(s.cfg.IOTimeout)); err != nil {
		return err
	}
	_, err := c.Write(reply)
	return err
}
