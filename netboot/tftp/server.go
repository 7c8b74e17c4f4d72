package tftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// Config is what a Server needs. Only Conn and Tree must be set.
type Config struct {
	// Conn receives requests: see Listen. The server closes it.
	Conn net.PacketConn
	// Tree opens files.
	Tree Tree
	// Events is called with each event, by many goroutines at once. It must not
	// block. Nil means that nobody wants to know.
	Events func(Event)
	// MaxTransfers is how many transfers may run at once; the default is 1024. As
	// many more wait for their turn, for MaxWait at most. What goes beyond that is
	// dropped without an answer, so that the client asks again.
	MaxTransfers int
	// MaxPerClient is how many transfers one address may have; the default is 4. A
	// Pi has one at a time, so when there are more it has been restarted: the
	// oldest gives way to the newest.
	MaxPerClient int
	// MaxWait is how long a request waits for its turn. The default is 5 s.
	MaxWait time.Duration
	// MaxTime limits a transfer as a whole. The default is 5 min: a 3B takes about
	// one for a kernel of 25 MB, with 50,000 blocks of 512 octets.
	MaxTime time.Duration
	// Timeout is how long the client has for one acknowledgement before the packet
	// is sent again. The default is 1 s; each further try waits a quarter longer.
	Timeout time.Duration
	// Retries is how often a packet is repeated before the transfer fails. The
	// default is 5.
	Retries int
	// MaxBlkSize is the largest block granted, in octets. The default is 1468, the
	// most that the boot ROMs ask for and that fits an Ethernet frame.
	MaxBlkSize int
	// Log gets what an operator may want to see. Nil discards.
	Log *slog.Logger
}

// Defaults of Config.
const (
	defaultMaxTransfers = 1024
	defaultMaxPerClient = 4
	defaultMaxWait      = 5 * time.Second
	defaultMaxTime      = 5 * time.Minute
	defaultTimeout      = time.Second
	defaultRetries      = 5
	defaultMaxBlkSize   = 1468
)

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	c.MaxTransfers = orElse(c.MaxTransfers, defaultMaxTransfers)
	c.MaxPerClient = orElse(c.MaxPerClient, defaultMaxPerClient)
	c.MaxWait = orElse(c.MaxWait, defaultMaxWait)
	c.MaxTime = orElse(c.MaxTime, defaultMaxTime)
	c.Timeout = orElse(c.Timeout, defaultTimeout)
	c.Retries = orElse(c.Retries, defaultRetries)
	c.MaxBlkSize = orElse(c.MaxBlkSize, defaultMaxBlkSize)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// backoff is the pause, beyond the timeout, before the given repetition (0 is the
// first).
func (c Config) backoff(n int) time.Duration {
	return min(time.Duration(n)*c.Timeout/4, c.Timeout)
}

// ErrConfig is wrapped by the errors of New.
var ErrConfig = errors.New("invalid configuration")

// Server answers read requests. Make one with New, run it with Serve.
type Server struct {
	cfg   Config
	slots chan struct{} // one for each running transfer
	wg    sync.WaitGroup

	mu    sync.Mutex
	total int                        // transfers that run, wait or end
	live  map[netip.Addr][]*transfer // the same by client, oldest first
}

// New checks a configuration and makes a Server of it. Every error is an
// ErrConfig.
func New(c Config) (*Server, error) {
	c = c.withDefaults()
	switch {
	case c.Conn == nil:
		return nil, fmt.Errorf("tftp: new server: %w: no socket", ErrConfig)
	case c.Tree == nil:
		return nil, fmt.Errorf("tftp: new server: %w: no tree", ErrConfig)
	case c.MaxTransfers < 0, c.MaxPerClient < 0, c.Retries < 0:
		return nil, fmt.Errorf("tftp: new server: %w: a limit is negative", ErrConfig)
	case c.MaxWait < 0, c.MaxTime < 0, c.Timeout < 0:
		return nil, fmt.Errorf("tftp: new server: %w: a time is negative", ErrConfig)
	case c.MaxBlkSize < minBlkSize, c.MaxBlkSize > maxBlkSize:
		return nil, fmt.Errorf("tftp: new server: %w: largest block is %d octets, must be %d to %d",
			ErrConfig, c.MaxBlkSize, minBlkSize, maxBlkSize)
	}
	return &Server{
		cfg:   c,
		slots: make(chan struct{}, c.MaxTransfers),
		live:  make(map[netip.Addr][]*transfer),
	}, nil
}

// Serve answers requests until ctx ends, and then returns nil after all transfers
// have been broken off. It returns an error only if the socket fails for good.
// It closes the socket, and can be called once.
func (s *Server) Serve(ctx context.Context) error {
	transfers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.wg.Wait()
	defer cancel(ErrStopped)
	defer s.cfg.Conn.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = s.cfg.Conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()

	read := receiver(s.cfg.Conn)
	buf := make([]byte, 2*maxRequest) // More than is allowed, to notice it.
	for {
		n, from, err := read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("tftp: receive: %w", err)
			}
			// Such as ENETDOWN or ENOBUFS: it passes, but do not spin.
			s.cfg.Log.Warn("tftp receive", "err", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		s.datagram(transfers, buf[:n], from)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// receiver returns a function that reads one datagram, with the addresses of a
// Request. Only a UDP socket can tell the address that a datagram was sent to.
func receiver(c net.PacketConn) func([]byte) (int, Request, error) {
	udp, ok := c.(*net.UDPConn)
	if !ok {
		return plainReceiver(c)
	}
	p := ipv4.NewPacketConn(udp)
	if err := p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return plainReceiver(c)
	}
	return func(b []byte) (int, Request, error) {
		n, cm, from, err := p.ReadFrom(b)
		if err != nil {
			return 0, Request{}, err
		}
		r := Request{Client: addrPort(from)}
		if cm != nil {
			r.Interface = cm.IfIndex
			r.Server, _ = netip.AddrFromSlice(cm.Dst)
			r.Server = r.Server.Unmap()
		}
		return n, r, nil
	}
}

func plainReceiver(c net.PacketConn) func([]byte) (int, Request, error) {
	local := addrPort(c.LocalAddr()).Addr()
	return func(b []byte) (int, Request, error) {
		n, from, err := c.ReadFrom(b)
		return n, Request{Client: addrPort(from), Server: local}, err
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// datagram deals with one datagram. All that is not a request is ignored: an
// ERROR must never be answered, and there is nothing to acknowledge here.
func (s *Server) datagram(ctx context.Context, p []byte, from Request) {
	if !answerable(from) {
		return
	}
	op := opcode(p)
	if op != opRRQ && op != opWRQ {
		return
	}
	r, err := parseRequest(p)
	r.Client, r.Server, r.Interface = from.Client, from.Server, from.Interface
	switch {
	case err != nil:
		s.refuse(r, wireMalformed, err)
	case op == opWRQ:
		s.refuse(r, wireReadOnly, ErrWrite)
	default:
		s.start(ctx, r)
	}
}

// answerable tells whether an answer can be sent: requests to a broadcast or
// multicast address are silently ignored (RFC 1123, section 4.2.3.5).
func answerable(r Request) bool {
	c := r.Client
	if !c.IsValid() || c.Port() == 0 || !c.Addr().Is4() || c.Addr().IsUnspecified() || c.Addr().IsMulticast() {
		return false
	}
	return !r.Server.IsMulticast() && r.Server != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// refuse answers with an error without starting a transfer.
func (s *Server) refuse(r Request, w wireError, err error) {
	now := time.Now()
	if c, derr := dial(r); derr == nil {
		_, _ = c.Write(appendError(nil, w))
		_ = c.Close()
	}
	s.emit(r, Refused, now, nil, 0, err)
}

// start begins the transfer that r asks for, or lets a running one answer it.
func (s *Server) start(ctx context.Context, r Request) {
	t := &transfer{server: s, req: r, since: time.Now()}
	s.mu.Lock()
	if s.repeated(r) {
		s.mu.Unlock()
		return
	}
	if !s.makeRoom(r.Client.Addr()) {
		s.mu.Unlock()
		s.emit(r, Refused, t.since, nil, 0, ErrBusy)
		return
	}
	t.ctx, t.kill = context.WithCancelCause(ctx)
	s.total++
	s.live[r.Client.Addr()] = append(s.live[r.Client.Addr()], t)
	s.mu.Unlock()
	s.wg.Go(func() {
		defer s.remove(t)
		defer t.kill(nil)
		t.run()
	})
}

// repeated tells whether a transfer of the same client port answers r already. A
// transfer of that port that does not is ended: the client cannot want both.
func (s *Server) repeated(r Request) bool {
	for _, t := range s.live[r.Client.Addr()] {
		if t.req.Client != r.Client {
			continue
		}
		if t.answers(r) {
			return true
		}
		t.stop(ErrReplaced)
	}
	return false
}

// markOver notes that a transfer is about to be answered with an error. The same
// request after that is a new one: boot ROMs ask for some missing files again and
// again.
func (s *Server) markOver(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.over = true
}

// makeRoom tells whether one more transfer of a client is possible, and ends the
// oldest ones that the client has too many. Those still count until they have
// ended, so that a flood of requests cannot pile up.
func (s *Server) makeRoom(client netip.Addr) bool {
	list := s.live[client]
	if s.total >= 2*s.cfg.MaxTransfers || len(list) >= 2*s.cfg.MaxPerClient {
		return false
	}
	running := 0
	for _, t := range slices.Backward(list) {
		if t.ctx.Err() != nil {
			continue
		}
		if running++; running >= s.cfg.MaxPerClient {
			t.stop(ErrReplaced)
		}
	}
	return true
}

// remove forgets a transfer that has ended.
func (s *Server) remove(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := t.req.Client.Addr()
	s.total--
	s.live[client] = slices.DeleteFunc(s.live[client], func(x *transfer) bool { return x == t })
	if len(s.live[client]) == 0 {
		delete(s.live, client)
	}
}

// takeSlot waits for a transfer's turn. It returns ErrBusy or the cause of the
// end of ctx.
func (s *Server) takeSlot(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(s.cfg.MaxWait)
	defer t.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return ErrBusy
	}
}

func (s *Server) leaveSlot() { <-s.slots }

// sizeOf is how many octets a file has, 0 if none was opened.
func sizeOf(f File) int64 {
	if f == nil {
		return 0
	}
	return max(0, f.Size())
}

// emit reports an event. f is nil if no file was opened.
func (s *Server) emit(r Request, k Kind, since time.Time, f File, bytes int64, err error) {
	now := time.Now()
	e := Event{
		Time: now, Kind: k,
		Client: r.Client, Server: r.Server, Interface: r.Interface,
		Name: printable(r.Name),
		File: f, Size: sizeOf(f), Bytes: bytes, Took: now.Sub(since), Err: err,
	}
	s.cfg.Log.Debug("tftp", "kind", string(k), "client", r.Client, "server", r.Server,
		"name", e.Name, "size", e.Size, "bytes", bytes, "took", e.Took, "err", err)
	if s.cfg.Events != nil {
		s.cfg.Events(e)
	}
}
