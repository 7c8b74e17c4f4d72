package dhcp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"picloud/netboot/dhcp/wire"
)

// pipe is a PacketConn in memory, which a synctest bubble can wait for.
type pipe struct {
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
	sent     []sent
	fail     error
}

type datagram struct {
	b  []byte
	in Ingress
}

type sent struct {
	at  time.Duration
	out Egress
	b   []byte
}

func newPipe() *pipe { return &pipe{in: make(chan datagram), closed: make(chan struct{})} }

func (p *pipe) ReadFrom(b []byte) (int, Ingress, error) {
	p.mu.Lock()
	deadline := p.deadline
	p.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case d := <-p.in:
		return copy(b, d.b), d.in, nil
	case <-expired:
		return 0, Ingress{}, os.ErrDeadlineExceeded
	case <-p.closed:
		return 0, Ingress{}, net.ErrClosed
	}
}

func (p *pipe) WriteTo(b []byte, out Egress) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.sent = append(p.sent, sent{time.Since(bubbleStart), out, bytes.Clone(b)})
	return nil
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// bubbleStart is when every synctest bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a server on a pipe.
type bench struct {
	t      *testing.T
	pipe   *pipe
	table  *mapTable
	server *Server
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	events []Event
}

func start(t *testing.T, change func(*Config), rows ...row) *bench {
	t.Helper()
	b := &bench{t: t, pipe: newPipe(), table: &mapTable{rows: rows}, done: make(chan error, 1)}
	cfg := Config{Conn: b.pipe, Table: b.table, Events: func(e Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if b.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() { b.done <- b.server.Serve(ctx) }()
	return b
}

// stop ends the server and waits for all of its goroutines.
func (b *bench) stop() {
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Errorf("Serve: %v", err)
	}
}

func (b *bench) send(packet []byte, in Ingress) {
	b.pipe.in <- datagram{packet, in}
	synctest.Wait()
}

// kinds returns the events so far in short, and forgets them.
func (b *bench) kinds() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.events {
		s := e.Kind.String()
		if e.Reason != "" {
			s += ": " + string(e.Reason)
		}
		out = append(out, s)
	}
	b.events = nil
	return strings.Join(out, "; ")
}

func (b *bench) expect(want string) {
	b.t.Helper()
	if got := b.kinds(); got != want {
		b.t.Errorf("events %q\nwant   %q", got, want)
	}
}

var (
	discover3B = wire.Discover(wire.ROMTransactionID, mac3B, wire.ParameterList3B, wire.GUID3B)
	discover4  = wire.Discover(0x6b0c43cf, mac4, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4, 0xa03111, mac4, 0x5b154510))
)

// The 3B's OFFER is held back for a second, with a nudge before and after it;
// all leave by the segment's interface with the segment's own address.
func TestDelayAndNudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil, docRow(mac3B))
		b.send(discover3B, docIngress)
		b.expect("discover")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.stop()
		b.expect("offer")

		server := netip.MustParseAddr("192.168.1.1")
		nudge := Egress{7, server, netip.MustParseAddrPort("192.168.1.139:9")}
		offer := Egress{7, server, netip.MustParseAddrPort("255.255.255.255:68")}
		want := []sent{{600 * time.Millisecond, nudge, nil}, {time.Second, offer, nil}, {1200 * time.Millisecond, nudge, nil}}
		if len(b.pipe.sent) != len(want) {
			t.Fatalf("sent %v", b.pipe.sent)
		}
		for i, s := range b.pipe.sent {
			if s.at != want[i].at || s.out != want[i].out {
				t.Errorf("sent %v %+v, want %v %+v", s.at, s.out, want[i].at, want[i].out)
			}
		}
		wol := append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat(mac3B[:], 16)...)
		if !bytes.Equal(b.pipe.sent[0].b, wol) {
			t.Errorf("nudge %x", b.pipe.sent[0].b)
		}
		if b.server.queue.len() != 0 {
			t.Error("something is left in the queue")
		}
	})
}

func TestOthersAreAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(c *Config) { c.Reply, c.ClientPort = ReplyUnicast, 6868 }, docRow(mac4))
		b.send(discover4, docIngress)
		b.stop()
		b.expect("discover; offer")
		if s := b.pipe.sent; len(s) != 1 || s[0].at != 0 || s[0].out.Dst.String() != "192.168.1.139:6868" {
			t.Errorf("sent %+v", s)
		}
	})
}

func TestRenewalIsAnsweredAtItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil, docRow(mac4))
		b.send(client(wire.TypeRequest, mac4, ourAddr, ""), docIngress)
		b.stop()
		b.expect("request; ack")
		if s := b.pipe.sent; len(s) != 1 || s[0].out.Dst.String() != "192.168.1.139:68" {
			t.Errorf("sent %+v", s)
		}
	})
}

// A second DISCOVER of the same Pi replaces the answer that is held back: one
// OFFER, a second after the later one.
func TestNewerDiscoverReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(c *Config) { c.Nudge.Off = true }, docRow(mac3B))
		b.send(discover3B, docIngress)
		time.Sleep(700 * time.Millisecond)
		b.send(discover3B, docIngress)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.stop()
		b.expect("discover; discover; offer")
		if s := b.pipe.sent; len(s) != 1 || s[0].at != 1700*time.Millisecond {
			t.Errorf("sent %+v", s)
		}
	})
}

func TestReservationTakenAwayMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(c *Config) { c.Nudge.Off = true }, docRow(mac3B))
		b.send(discover3B, docIngress)
		b.table.set(docRow(mac4))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.stop()
		b.expect("discover; failed: " + string(ReasonChanged))
		if len(b.pipe.sent) != 0 {
			t.Errorf("sent %+v", b.pipe.sent)
		}
	})
}

// What is held back when the server ends is not sent.
func TestStopDropsWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil, docRow(mac3B))
		b.send(discover3B, docIngress)
		b.stop()
		time.Sleep(5 * time.Second)
		b.expect("discover")
		if len(b.pipe.sent) != 0 {
			t.Errorf("sent %+v", b.pipe.sent)
		}
	})
}

func TestOneAddressIsNotGivenToTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twin := docRow(mac5)
		twin.ifIndex, twin.res.Segment = 8, "seg2"
		b := start(t, nil, docRow(mac4), twin)
		discover5 := wire.Discover(1, mac5, wire.ParameterListEEPROM, eepromGUID(wire.FourCC5, 0xd04170, mac5, 1))
		b.send(discover4, docIngress)
		b.send(discover5, Ingress{IfIndex: 8})
		b.expect("discover; offer; discover; failed: " + string(ReasonTaken))

		// Once the table no longer has it for the first, the second may.
		b.table.set(twin)
		b.send(discover5, Ingress{IfIndex: 8})
		b.stop()
		b.expect("discover; offer")
	})
}

func TestFloodIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(c *Config) { c.Limits = Limits{Rate: 1, Burst: 2} }, docRow(mac4))
		for i := range 1000 { // made-up MAC addresses on the Pi's segment
			b.send(wire.Discover(1, MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, "\x01", wire.GUID3B), docIngress)
		}
		b.expect("unknown pi; unknown pi")
		b.send(discover4, docIngress) // the Pi itself is still heard
		b.expect("discover; offer")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.mu.Lock()
		flood := slices.Clone(b.events)
		b.mu.Unlock()
		b.expect("ignored: " + string(ReasonFlood))
		if len(flood) != 1 || flood[0].Count != 998 || flood[0].Reservation.Segment != "seg1" {
			t.Errorf("flood %+v", flood)
		}
		if n := len(b.server.limit.buckets); n > 2 {
			t.Errorf("%d sources are kept count of", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.stop()
		b.expect("")
	})
}

func TestSendFailureIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil, docRow(mac4))
		b.pipe.mu.Lock()
		b.pipe.fail = errors.New("interface is down")
		b.pipe.mu.Unlock()
		b.send(discover4, docIngress)
		b.stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		if e := b.events[len(b.events)-1]; e.Kind != KindFailed || e.Reason != ReasonSend || !errors.Is(e.Err, b.pipe.fail) {
			t.Errorf("event %+v", e)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(c *Config) { c.Limits.Pending, c.Nudge.Off = 1, true },
			docRow(mac3B), row{8, netip.Addr{}, mac3B, Reservation{
				Segment: "seg2", Server: netip.MustParseAddr("10.0.0.1"), Addr: netip.MustParsePrefix("10.0.0.2/30")}})
		b.send(discover3B, docIngress)
		b.send(discover3B, Ingress{IfIndex: 8})
		b.expect("discover; discover; failed: " + string(ReasonBusy))
		time.Sleep(time.Second)
		synctest.Wait()
		b.stop()
		b.expect("offer")
	})
}

// brokenConn fails every read.
type brokenConn struct{ *pipe }

func (brokenConn) ReadFrom([]byte) (int, Ingress, error) { return 0, Ingress{}, errBroken }

var errBroken = errors.New("broken")

func TestBrokenSocketEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Conn: brokenConn{newPipe()}, Table: everyMAC{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Serve(t.Context()); !errors.Is(err, ErrServed) {
			t.Errorf("second Serve: %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{Conn: newPipe()},
		{Conn: newPipe(), Table: everyMAC{}, Nudge: Nudge{After: []time.Duration{2, 1}}},
		{Conn: newPipe(), Table: everyMAC{}, Nudge: Nudge{After: make([]time.Duration, 9)}},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(Limits{Rate: 1, Burst: 1, Sources: 100})
	now := bubbleStart
	for i := range 10000 {
		l.allow(&Event{Ingress: Ingress{IfIndex: i}}, now)
	}
	if len(l.buckets) > 101 || len(l.flooding) > 101 {
		t.Errorf("%d sources, %d flooding", len(l.buckets), len(l.flooding))
	}
	for range l.report() {
	}
	now = now.Add(time.Hour)
	if !l.allow(&Event{Ingress: Ingress{IfIndex: 20000}}, now) || len(l.buckets) > 2 {
		t.Errorf("old sources are not forgotten: %d", len(l.buckets))
	}
}

func TestClaimsAreSwept(t *testing.T) {
	c := newClaims(10)
	table := &mapTable{}
	for i := range 100 {
		r := docRow(mac4)
		r.res.Addr = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(2 + i)}), 24)
		table.set(r)
		if _, ok := c.take(&Event{Ingress: docIngress, MAC: mac4, Reservation: r.res}, table); !ok {
			t.Fatal("claim refused")
		}
	}
	if len(c.by) > 10 {
		t.Errorf("%d claims are kept", len(c.by))
	}
}

// countingTable reserves one address for each MAC address, and counts.
type countingTable struct{ lookups int }

func (c *countingTable) Lookup(_ Ingress, mac MAC) (Reservation, Verdict) {
	c.lookups++
	r := docRow(mac).res
	r.Addr = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, mac[4], mac[5]}), 16)
	return r, Known
}

// A rack larger than the limits must not make each message cost a sweep.
func TestSweepsAreRare(t *testing.T) {
	const pis = 10000
	c, l, table := newClaims(10), newLimiter(Limits{Rate: 1, Burst: 1, Sources: 10}), &countingTable{}
	for i := range pis {
		mac := MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}
		res, _ := table.Lookup(docIngress, mac)
		e := &Event{Ingress: docIngress, MAC: mac, Reservation: res}
		if _, ok := c.take(e, table); !ok {
			t.Fatal("claim refused")
		}
		l.allow(e, bubbleStart.Add(time.Duration(i)*time.Microsecond))
	}
	if len(c.by) != pis || table.lookups > 4*pis {
		t.Errorf("%d claims, %d lookups", len(c.by), table.lookups)
	}
	if l.swept != bubbleStart.Add(10*time.Microsecond) {
		t.Errorf("swept again at %v", l.swept)
	}
}
