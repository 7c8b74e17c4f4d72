package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"picloud/netboot/dhcp/wire"
)

// ReplyMode is how a Pi that has no address yet is answered.
type ReplyMode uint8

// The modes. A Pi that renews its address is answered there in both.
const (
	// ReplyBroadcast sends to 255.255.255.255 on the Pi's segment, which all
	// families take.
	ReplyBroadcast ReplyMode = iota
	// ReplyUnicast sends to the address reserved for the Pi. It needs a
	// neighbour entry for it; or loopback, which has no broadcast.
	ReplyUnicast
)

// Nudge is what makes the 3B ROM look at its mail: see the package comment.
type Nudge struct {
	// Off sends none.
	Off bool
	// After is when, from the DISCOVER on, ascending; nil is
	// [DefaultNudges].
	After []time.Duration
	// Port is the UDP port at the Pi, 0 is 9.
	Port uint16
}

const (
	wolPort   = 9
	maxNudges = 8
)

// DefaultNudges are the times at which netboot-rpi3b nudges.
func DefaultNudges() []time.Duration {
	return []time.Duration{600 * time.Millisecond, 1200 * time.Millisecond}
}

// DefaultDelay is how long the OFFER to each family is held back: the 3B ROM
// starts again when answered within a second or two (firmware issues 862 and
// 934), and everybody else is answered at once.
func DefaultDelay() map[Family]time.Duration {
	return map[Family]time.Duration{Family3B: time.Second}
}

// Limits bound what the server keeps and how much it says. Zero fields are
// those of [DefaultLimits].
type Limits struct {
	// Rate is how many messages a second one Pi, or all unknown ones on a
	// segment together, may send for long, and Burst how many at once.
	Rate  float64
	Burst int
	// Sources is how many of those are kept count of.
	Sources int
	// Pending is for how many Pis an answer can be held back.
	Pending int
	// FloodReport is the least time between two events of one flood.
	FloodReport time.Duration
}

// DefaultLimits leaves a Pi ten times what any boot ROM or DHCP client sends.
func DefaultLimits() Limits {
	return Limits{Rate: 5, Burst: 20, Sources: 8192, Pending: 4096, FloodReport: 10 * time.Second}
}

// Config is what a server needs.
type Config struct {
	// Conn is the socket. Serve closes it.
	Conn PacketConn
	// Table says who gets what.
	Table Table
	// Events, unless nil, is told of everything. Calls do not overlap. It
	// must not block: the next answer waits for it.
	Events func(Event)
	// Delay is how long an OFFER to each family is held back after the
	// DISCOVER; nil is [DefaultDelay].
	Delay map[Family]time.Duration
	Reply ReplyMode
	// ClientPort is where clients listen, 0 is 68.
	ClientPort uint16
	Nudge      Nudge
	Limits     Limits
	// Log, unless nil, gets every event at debug level and failures as
	// warnings.
	Log *slog.Logger
}

// Errors of [New] and [Server.Serve].
var (
	ErrConfig = errors.New("configuration is not complete")
	ErrServed = errors.New("server has been started before")
)

// Server answers DHCP on one socket.
type Server struct {
	cfg    Config
	queue  *queue
	claims *claims
	limit  *limiter

	mu         sync.Mutex // over events, limit, claims
	nextReport time.Time
	started    bool
}

// New makes a server. Its errors wrap [ErrConfig].
func New(cfg Config) (*Server, error) {
	if cfg.Conn == nil || cfg.Table == nil {
		return nil, fmt.Errorf("dhcp: new server: %w: it needs a Conn and a Table", ErrConfig)
	}
	if len(cfg.Nudge.After) > maxNudges || !slices.IsSorted(cfg.Nudge.After) {
		return nil, fmt.Errorf("dhcp: new server: %w: at most %d nudges, in order of time", ErrConfig, maxNudges)
	}
	cfg.setDefaults()
	return &Server{
		cfg: cfg, queue: newQueue(cfg.Limits.Pending),
		claims: newClaims(cfg.Limits.Sources), limit: newLimiter(cfg.Limits),
	}, nil
}

func (c *Config) setDefaults() {
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	c.Delay = maps.Clone(c.Delay)
	if c.Delay == nil {
		c.Delay = DefaultDelay()
	}
	c.Nudge.After = slices.Clone(c.Nudge.After)
	if c.Nudge.After == nil {
		c.Nudge.After = DefaultNudges()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.ClientPort, wire.ClientPort)
	orDefault(&c.Nudge.Port, wolPort)
	d := DefaultLimits()
	orDefault(&c.Limits.Rate, d.Rate)
	orDefault(&c.Limits.Burst, d.Burst)
	orDefault(&c.Limits.Sources, d.Sources)
	orDefault(&c.Limits.Pending, d.Pending)
	orDefault(&c.Limits.FloodReport, d.FloodReport)
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// maxReadErrors in a row end Serve: a socket that can no longer be read is not
// a server, and it is better to say so.
const maxReadErrors = 50

// Serve answers until ctx ends, and then returns nil; or until the socket
// fails, with its error. It closes the socket in either case, and no goroutine
// is left. A server serves once.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return fmt.Errorf("dhcp: serve: %w", ErrServed)
	}
	s.started = true
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.queue.run(ctx) })
	wg.Go(func() {
		<-ctx.Done()
		_ = s.cfg.Conn.Close() // ends the read; there is nothing to flush
	})
	err := s.read(ctx)
	cancel()
	wg.Wait()
	return err
}

func (s *Server) read(ctx context.Context) error {
	buf := make([]byte, maxMessage+1) // one more tells what is too long
	for failed := 0; ; {
		_ = s.cfg.Conn.SetReadDeadline(s.reportDue())
		n, in, err := s.cfg.Conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			s.handle(buf[:n], in, time.Now())
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.reportFloods(time.Now())
		case failed >= maxReadErrors:
			return fmt.Errorf("dhcp: serve: read: %w", err)
		default: // an interface went down, or the like
			failed++
			s.cfg.Log.Warn("dhcp: read", "err", err)
			if !sleep(ctx, time.Duration(failed)*10*time.Millisecond) {
				return nil
			}
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

// reportDue is when the next event about floods is due, zero if there is none.
func (s *Server) reportDue() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.limit.flooding) == 0 {
		return time.Time{}
	}
	return s.nextReport
}

func (s *Server) reportFloods(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.limit.flooding) == 0 || now.Before(s.nextReport) {
		return
	}
	s.nextReport = now.Add(s.cfg.Limits.FloodReport)
	for _, e := range s.limit.report() {
		s.emit(e, now)
	}
}

// handle answers one message.
func (s *Server) handle(packet []byte, in Ingress, now time.Time) {
	d := Decide(packet, in, s.cfg.Table)
	if !s.admit(&d, now) {
		return
	}
	if d.To == ToNobody {
		return
	}
	var delay time.Duration
	if d.ReplyKind == KindOffer {
		delay = s.cfg.Delay[d.Event.Identity.Family]
	}
	steps := s.nudges(&d, now)
	if delay > 0 {
		at := now.Add(delay)
		i, _ := slices.BinarySearchFunc(steps, at, func(n step, t time.Time) int { return n.at.Compare(t) })
		steps = slices.Insert(steps, i, step{at, func() { s.replyLate(&d) }})
	}
	// This answer replaces one that is still held back for the same Pi.
	p := pi{d.Event.Reservation.Segment, d.Event.MAC}
	if !s.queue.set(p, steps) && delay > 0 {
		s.fail(&d, ReasonBusy, nil)
		return
	}
	if delay <= 0 {
		s.reply(&d)
	}
}

// admit tells of the message, and says whether it may be answered: not in a
// flood, and not with an address that is somebody else's.
func (s *Server) admit(d *Decision, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.limit.allow(&d.Event, now) {
		if s.nextReport.Before(now) {
			// The first event of a flood comes soon, later ones slowly.
			s.nextReport = now.Add(min(time.Second, s.cfg.Limits.FloodReport))
		}
		return false
	}
	s.emit(d.Event, now)
	if d.ReplyKind != KindOffer && d.ReplyKind != KindAck {
		return true
	}
	former, ok := s.claims.take(&d.Event, s.cfg.Table)
	if !ok {
		e := d.Event
		e.Kind, e.Reason = KindFailed, ReasonTaken
		e.Err = fmt.Errorf("dhcp: answer %v on segment %q with %v: %w: segment %q has it, for %v",
			e.MAC, e.Reservation.Segment, e.Reservation.Addr.Addr(), ErrReservation, former.pi.segment, former.pi.mac)
		s.emit(e, now)
	}
	return ok
}

// nudges plans the packets that follow a 3B ROM's DISCOVER.
func (s *Server) nudges(d *Decision, now time.Time) []step {
	n := &s.cfg.Nudge
	if n.Off || d.ReplyKind != KindOffer || d.Event.Identity.Family != Family3B {
		return nil
	}
	steps := make([]step, 0, len(n.After)+1)
	for _, after := range n.After {
		steps = append(steps, step{now.Add(after), func() { s.nudge(d) }})
	}
	return steps
}

// nudge sends a Wake-on-LAN packet: six bytes ff and the MAC address 16 times.
// Whether it arrives is the work-around's luck, so that a failure is only
// logged.
func (s *Server) nudge(d *Decision) {
	b := make([]byte, 0, 6+16*len(d.Event.MAC))
	for range 6 {
		b = append(b, 0xff)
	}
	for range 16 {
		b = append(b, d.Event.MAC[:]...)
	}
	out := s.egress(d)
	out.Dst = netip.AddrPortFrom(d.Event.Reservation.Addr.Addr(), s.cfg.Nudge.Port)
	if err := s.cfg.Conn.WriteTo(b, out); err != nil {
		s.cfg.Log.Debug("dhcp: nudge", "pi", d.Event.Reservation.Pi, "err", err)
	}
}

// replyLate sends an answer that was held back, unless it would be another one
// by now.
func (s *Server) replyLate(d *Decision) {
	res, verdict := s.cfg.Table.Lookup(d.Event.Ingress, d.Event.MAC)
	if verdict != Known || !res.same(&d.Event.Reservation) {
		s.fail(d, ReasonChanged, nil)
		return
	}
	s.reply(d)
}

func (s *Server) reply(d *Decision) {
	err := s.cfg.Conn.WriteTo(d.Reply, s.egress(d))
	if errors.Is(err, net.ErrClosed) {
		return // Serve is ending
	}
	if err != nil {
		s.fail(d, ReasonSend, err)
		return
	}
	e := d.Event
	e.Kind, e.Reason = d.ReplyKind, d.ReplyReason
	s.tell(e)
}

func (s *Server) fail(d *Decision, reason Reason, err error) {
	e := d.Event
	e.Kind, e.Reason, e.Err = KindFailed, reason, err
	s.tell(e)
}

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// egress sends the answer out where the message came in, with our address on
// that segment as its source.
func (s *Server) egress(d *Decision) Egress {
	dst := d.Event.Reservation.Addr.Addr()
	if d.To == ToClient && s.cfg.Reply == ReplyBroadcast {
		dst = everybody
	}
	return Egress{
		IfIndex: d.Event.Ingress.IfIndex,
		Src:     d.Event.Reservation.Server,
		Dst:     netip.AddrPortFrom(dst, s.cfg.ClientPort),
	}
}

func (s *Server) tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(e, time.Now())
}

// emit hands out an event; s.mu is held.
func (s *Server) emit(e Event, now time.Time) {
	e.Time = now
	level := slog.LevelDebug
	if e.Kind == KindFailed {
		level = slog.LevelWarn
	}
	if s.cfg.Log.Enabled(context.Background(), level) {
		s.cfg.Log.LogAttrs(context.Background(), level, "dhcp: "+e.Kind.String(),
			slog.String("segment", e.Reservation.Segment), slog.String("pi", e.Reservation.Pi),
			slog.String("mac", e.MAC.String()), slog.String("family", e.Identity.Family.String()),
			slog.String("reason", string(e.Reason)), slog.Int("count", e.Count), slog.Any("err", e.Err))
	}
	s.cfg.Events(e)
}

func hostUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
