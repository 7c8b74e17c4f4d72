package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Second

// memTree is a Tree of files in memory, by name.
type memTree struct {
	files map[string][]byte
	errs  map[string]error
	gate  chan struct{} // if not nil, Open waits until it is closed

	mu   sync.Mutex
	open int // files open
	reqs []Request
}

func (m *memTree) Open(ctx context.Context, r Request) (File, error) {
	m.mu.Lock()
	m.reqs = append(m.reqs, r)
	m.mu.Unlock()
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := m.errs[r.Name]; err != nil {
		return nil, fmt.Errorf("/srv/secret/%s: %w", r.Name, err)
	}
	b, ok := m.files[r.Name]
	if !ok {
		return nil, fmt.Errorf("/srv/secret/%s: %w", r.Name, ErrNotFound)
	}
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	return &memFile{Reader: bytes.NewReader(b), size: int64(len(b)), tree: m}, nil
}

func (m *memTree) requests() []Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Request(nil), m.reqs...)
}

type memFile struct {
	io.Reader
	size int64
	tree *memTree
}

func (f *memFile) Size() int64 { return f.size }

func (f *memFile) Close() error {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	f.tree.open--
	return nil
}

// rig is a server under test on every address of the loopback device.
type rig struct {
	t      testing.TB
	tree   *memTree
	port   uint16
	events chan Event
	stop   func()
}

// newRig starts a server. Unless change says otherwise, the retransmission
// timeout is one that no test on a slow machine meets by accident.
func newRig(t testing.TB, files map[string][]byte, change func(*Config)) *rig {
	t.Helper()
	return newTreeRig(t, &memTree{files: files}, change)
}

func newTreeRig(t testing.TB, tree *memTree, change func(*Config)) *rig {
	t.Helper()
	pc, err := Listen(t.Context(), "0.0.0.0:0", "lo")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, tree: tree, events: make(chan Event, 10000)}
	r.port = addrPort(pc.LocalAddr()).Port()
	cfg := Config{Conn: pc, Tree: r.tree, Events: func(e Event) {
		select {
		case r.events <- e:
		default:
		}
	}}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve returned %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
		if len(s.live) != 0 || s.total != 0 || len(s.slots) != 0 {
			t.Errorf("transfers left behind: %d, slots %d", s.total, len(s.slots))
		}
		r.tree.mu.Lock()
		defer r.tree.mu.Unlock()
		if r.tree.open != 0 {
			t.Errorf("%d files left open", r.tree.open)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// final returns the next event that is not Started.
func (r *rig) final() Event {
	r.t.Helper()
	for {
		if e := r.next(); e.Kind != Started {
			return e
		}
	}
}

func (r *rig) next() Event {
	r.t.Helper()
	select {
	case e := <-r.events:
		return e
	case <-time.After(patience):
		r.t.Fatal("no event")
		return Event{}
	}
}

// want checks the kind of the next final event, and returns it.
func (r *rig) want(k Kind) Event {
	r.t.Helper()
	e := r.final()
	if e.Kind != k {
		r.t.Fatalf("event %q for %q (%v), want %q", e.Kind, e.Name, e.Err, k)
	}
	return e
}

// client is one UDP port of a board.
type client struct {
	t      testing.TB
	udp    *net.UDPConn
	server netip.AddrPort // where requests go
	tid    netip.AddrPort // where the last packet came from
	buf    []byte
}

// client opens port (0: any) at addr; requests go to server.
func (r *rig) client(addr string, port int, server string) *client {
	r.t.Helper()
	return r.clientOf(r.t, addr, port, server)
}

// clientOf is client for a test within the one that has the rig.
func (r *rig) clientOf(t testing.TB, addr string, port int, server string) *client {
	t.Helper()
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return &client{t: t, udp: u, server: netip.AddrPortFrom(netip.MustParseAddr(server), r.port), buf: make([]byte, 1<<16)}
}

// pi is a client at the Pi's end of segment 0.
func (r *rig) pi() *client { return r.client("127.64.0.2", 0, "127.64.0.1") }

// rrq makes a request from its strings.
func rrq(op byte, fields ...string) []byte {
	p := []byte{0, op}
	for _, f := range fields {
		p = append(append(p, f...), 0)
	}
	return p
}

func ack(n uint16) []byte { return []byte{0, opACK, byte(n >> 8), byte(n)} }

func (c *client) ask(fields ...string) { c.t.Helper(); c.send(c.server, rrq(opRRQ, fields...)) }

func (c *client) send(to netip.AddrPort, p []byte) {
	c.t.Helper()
	if _, err := c.udp.WriteToUDPAddrPort(p, to); err != nil {
		c.t.Fatal(err)
	}
}

// recv returns the next packet, whoever sent it.
func (c *client) recv() []byte {
	c.t.Helper()
	p, err := c.tryRecv(patience)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *client) tryRecv(d time.Duration) ([]byte, error) {
	_ = c.udp.SetReadDeadline(time.Now().Add(d))
	n, from, err := c.udp.ReadFromUDPAddrPort(c.buf)
	if err != nil {
		return nil, err
	}
	c.tid = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return c.buf[:n], nil
}

// wantPacket checks the next packet byte for byte.
func (c *client) wantPacket(want []byte) {
	c.t.Helper()
	if got := c.recv(); !bytes.Equal(got, want) {
		c.t.Fatalf("got  % x\nwant % x", got[:min(len(got), 80)], want[:min(len(want), 80)])
	}
}

// silence checks that nothing comes for a while.
func (c *client) silence(d time.Duration) {
	c.t.Helper()
	if p, err := c.tryRecv(d); err == nil {
		c.t.Fatalf("unwanted packet % x", p[:min(len(p), 40)])
	}
}

// ackTo acknowledges to whoever sent last.
func (c *client) ack(n uint16) { c.t.Helper(); c.send(c.tid, ack(n)) }

func data(n uint16, b []byte) []byte {
	return append([]byte{0, opDATA, byte(n >> 8), byte(n)}, b...)
}

// rest takes DATA from block 1 on, acknowledges each, and returns the file.
func (c *client) rest(blkSize int) []byte {
	c.t.Helper()
	b, err := c.download(blkSize)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

var errUnexpected = errors.New("unexpected packet")

func (c *client) download(blkSize int) ([]byte, error) {
	var b []byte
	repeats := 0
	for block := uint16(1); ; block++ {
		p, err := c.tryRecv(patience)
		if err != nil {
			return b, err
		}
		// On a busy machine the server may repeat a block whose acknowledgement
		// is on its way: now and then, not each time.
		if repeats < 3 && opcode(p) == opDATA && binary.BigEndian.Uint16(p[2:]) == block-1 && len(b) > 0 {
			repeats++
			block--
			continue
		}
		if opcode(p) != opDATA || binary.BigEndian.Uint16(p[2:]) != block {
			return b, fmt.Errorf("%w: % x, want block %d", errUnexpected, p[:min(len(p), 40)], block)
		}
		b = append(b, p[4:]...)
		if _, err := c.udp.WriteToUDPAddrPort(ack(block), c.tid); err != nil {
			return b, err
		}
		if len(p) < 4+blkSize {
			return b, nil
		}
	}
}

// oack reads an OACK and returns its options.
func (c *client) oack() map[string]string {
	c.t.Helper()
	p := c.recv()
	if opcode(p) != opOACK {
		c.t.Fatalf("got % x, want an OACK", p[:min(len(p), 40)])
	}
	opts := make(map[string]string)
	f := bytes.Split(p[2:], []byte{0})
	for i := 0; i+1 < len(f); i += 2 {
		opts[string(f[i])] = string(f[i+1])
	}
	return opts
}

// content is n octets that differ from place to place.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func (c *client) udpAddr() netip.Addr { return addrPort(c.udp.LocalAddr()).Addr() }
