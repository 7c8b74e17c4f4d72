package tftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	pin "github.com/pin/tftp/v3"
)

// readAhead is how much of a file is read at once, in octets.
const readAhead = 32 << 10

// transfer is one accepted request.
type transfer struct {
	server *Server
	req    Request
	since  time.Time // when the request arrived
	ctx    context.Context
	kill   context.CancelCauseFunc
	conn   atomic.Pointer[conn] // nil until the file is open
	file   File                 // nil until it is open
	over   bool                 // whether it has been answered without a file; guarded by server.mu
}

// answers tells whether this transfer is the answer to r, because r is its own
// request again. If not, the client must have started anew. The server's lock is
// held.
func (t *transfer) answers(r Request) bool {
	if r != t.req || t.over || t.ctx.Err() != nil {
		return false
	}
	c := t.conn.Load()
	return c == nil || c.answers()
}

// stop breaks the transfer off, unless the client has just ended it.
func (t *transfer) stop(cause error) {
	if c := t.conn.Load(); c != nil {
		c.settle()
		c.fail(cause, false)
	}
	t.kill(cause)
}

// run waits for the transfer's turn, and then serves it. It ends with exactly one
// event.
func (t *transfer) run() {
	if err := t.server.takeSlot(t.ctx); err != nil {
		t.end(err, nil)
		return
	}
	defer t.server.leaveSlot()
	ctx, cancel := context.WithTimeoutCause(t.ctx, t.server.cfg.MaxTime, ErrTimeLimit)
	defer cancel()

	udp, err := dial(t.req)
	if err != nil {
		t.end(err, nil)
		return
	}
	defer udp.Close()
	f, err := t.server.cfg.Tree.Open(ctx, t.req)
	if err == nil {
		defer f.Close()
	}
	switch {
	case ctx.Err() != nil:
		t.end(context.Cause(ctx), nil)
	case err != nil:
		kind, wire := outcome(err)
		t.server.markOver(t)
		_, _ = udp.Write(appendError(nil, wire))
		t.emit(kind, 0, err)
	default:
		err = t.send(ctx, udp, f)
		t.end(err, t.conn.Load())
	}
}

// send transmits an open file.
func (t *transfer) send(ctx context.Context, udp *net.UDPConn, f File) error {
	t.file = f
	size := sizeOf(f)
	c, err := newConn(ctx, udp, t.req, t.blkSize(), t.server.cfg.Retries, size)
	if err != nil {
		return err
	}
	t.conn.Store(c)
	t.emit(Started, 0, nil)
	stop := context.AfterFunc(ctx, c.wake)
	defer stop()
	err = t.lockStep(c, &exactly{r: bufio.NewReaderSize(f, readAhead), left: size})
	if err != nil && c.reason() == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if w, tell := farewell(err); tell {
		_, _ = udp.Write(appendError(nil, w))
	}
	return err
}

// blkSize is the block size granted, in octets.
func (t *transfer) blkSize() int {
	if t.req.BlkSize == 0 {
		return plainBlkSize
	}
	return min(t.req.BlkSize, t.server.cfg.MaxBlkSize)
}

// lockStep has the library send r over c, and returns when all is acknowledged or
// the transfer has broken off.
func (t *transfer) lockStep(c *conn, r io.Reader) error {
	var result error
	var lib *pin.Server
	lib = pin.NewServer(func(_ string, to io.ReaderFrom) error {
		_, result = to.ReadFrom(r)
		// In single-port mode this does not wait, but lets Serve return.
		lib.Shutdown()
		close(c.done)
		c.wake()
		return nil
	}, nil)
	cfg := t.server.cfg
	lib.SetBlockSizeNegotiation(false) // The virtual connection has no MTU.
	lib.SetBlockSize(t.blkSize())
	lib.SetTimeout(cfg.Timeout)
	lib.SetRetries(math.MaxInt) // conn counts them.
	lib.SetBackoff(cfg.backoff)
	lib.EnableSinglePort()
	if err := lib.Serve(c); err != nil {
		return err
	}
	if reason := c.reason(); reason != nil && result != nil {
		return reason
	}
	return result
}

// farewell tells what the client is told of a transfer that broke off, if
// anything. Nothing is sent to a client that does not answer, nor for a replaced
// transfer: its port belongs to the new one.
func farewell(err error) (wireError, bool) {
	switch {
	case err == nil, errors.Is(err, ErrReplaced), errors.Is(err, ErrNoAnswer), errors.Is(err, ErrClient):
		return wireError{}, false
	case errors.Is(err, ErrTimeLimit):
		return wireTooLong, true
	case errors.Is(err, ErrStopped):
		return wireStopping, true
	}
	return wireFailed, true
}

// end reports what became of the transfer. c is nil if it never started.
func (t *transfer) end(err error, c *conn) {
	var acked int64
	early := false
	if c != nil {
		c.mu.Lock()
		acked, early = c.acked, c.early && errors.Is(err, ErrClient)
		c.mu.Unlock()
	}
	switch {
	case err == nil:
		t.emit(Served, acked, nil)
	case early:
		t.emit(EarlyTerminate, acked, err)
	case errors.Is(err, ErrReplaced):
		t.emit(Replaced, acked, err)
	case errors.Is(err, ErrBusy):
		t.emit(Refused, acked, err)
	default:
		t.emit(Failed, acked, err)
	}
}

func (t *transfer) emit(k Kind, bytes int64, err error) {
	t.server.emit(t.req, k, t.since, t.file, bytes, err)
}

// dial opens the socket of one transfer: from the address that was asked, with a
// new port, to the client alone.
func dial(r Request) (*net.UDPConn, error) {
	var local *net.UDPAddr
	if r.Server.IsValid() && !r.Server.IsUnspecified() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.Server, 0))
	}
	c, err := net.DialUDP("udp4", local, net.UDPAddrFromAddrPort(r.Client))
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	return c, nil
}

// exactly reads as many octets as were promised: what a growing file has more is
// left out, and a file that ends early is an error, so that no part of a file is
// ever taken for the whole.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		// Not io.ErrUnexpectedEOF, which the library takes for a regular end.
		return n, ErrTruncated
	}
	return n, err
}
