package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Errors that end the library's loops. They must not be net.Errors, since the
// library tries again after those.
var (
	errEnded  = errors.New("transfer has ended")
	errKilled = errors.New("transfer was ended by the server")
)

// ackLength is the length of an ACK, and of the head of a DATA packet, in octets.
const ackLength = 4

// maxDrain is how many packets are taken at once while others wait for the lock.
const maxDrain = 64

// conn is the virtual connection on which the library serves one transfer. It
// first reads as the request, then as the client's acknowledgements.
//
// It stands between the library and the socket, because the library
//   - panics on a datagram of more than 516 octets in single-port mode,
//   - holds only one datagram back, so that one stray packet costs an
//     acknowledgement and with it a timeout,
//   - sends ERROR packets with code 1 and the text of Go errors, even in answer
//     to the client's own ERROR, which would hit the next request from the same
//     port,
//   - does not notice that a transfer shall end,
//   - panics, in single-port mode, if a packet reaches its reader while its
//     sender gives up. So it is never let give up by itself: it has retries
//     without end, is given one packet at a time (handed), and is ended either by
//     an error of WriteTo (killed) or by one ERROR packet (told), never by both.
type conn struct {
	ctx     context.Context // its end ends the transfer
	udp     *net.UDPConn    // connected to the client
	raw     syscall.RawConn // of udp
	client  *net.UDPAddr
	request []byte        // what the library reads first
	retries int           // how often a packet may be repeated
	done    chan struct{} // closed when the library has finished

	mu      sync.Mutex
	buf     [128]byte // for what the client sends; only the start matters
	first   []byte    // OACK or DATA 1, until it is acknowledged
	sent    bool      // whether anything was sent
	block   uint16    // number of the packet sent last; 0 is the OACK
	payload int       // octets of data in that packet
	waiting bool      // whether that packet is not acknowledged
	tries   int       // how often that packet has been sent
	ack     bool      // whether it is acknowledged, and ReadFrom has not returned that
	handed  bool      // whether ReadFrom has returned what the sender may not have seen
	told    bool      // whether that is the ERROR that ends the sender
	killed  bool      // whether WriteTo has ended the sender
	acked   int64     // octets of data acknowledged
	acks    int       // blocks of data acknowledged
	failure error     // why the transfer was ended from outside of the library
	early   bool      // whether failure is an early terminate
}

func newConn(ctx context.Context, udp *net.UDPConn, r Request, blkSize, retries int, size int64) (*conn, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &conn{
		ctx:     ctx,
		udp:     udp,
		raw:     raw,
		client:  net.UDPAddrFromAddrPort(r.Client),
		request: libraryRequest(r, blkSize, size),
		retries: retries,
		done:    make(chan struct{}),
		handed:  true, // the request
	}, nil
}

// ReadFrom gives the library the request, and then the acknowledgements that it
// waits for.
func (c *conn) ReadFrom(p []byte) (int, net.Addr, error) {
	if c.request != nil {
		n := copy(p, c.request)
		c.request = nil
		return n, c.client, nil
	}
	for c.ctx.Err() == nil && c.reason() == nil {
		err := c.raw.Read(func(fd uintptr) bool { return c.receive(fd, true) })
		if isTimeout(err) {
			// It was woken to look around. First be ready for being woken again.
			_ = c.udp.SetReadDeadline(time.Time{})
		} else if err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrNoAnswer, err), false)
		}
		if ack, ok := c.takeAck(); ok {
			return copy(p, ack[:]), c.client, nil
		}
		select {
		case <-c.done:
			return 0, nil, errEnded
		default:
		}
	}
	return c.stopLibrary(p)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// stopLibrary ends the library's sender, if nothing else does, by an ERROR as if
// from the client: it listens to nothing else. A last acknowledgement goes first.
func (c *conn) stopLibrary(p []byte) (int, net.Addr, error) {
	if ack, ok := c.takeAck(); ok {
		return copy(p, ack[:]), c.client, nil
	}
	if c.tell() {
		return copy(p, []byte{0, opERROR, 0, 0, 0}), c.client, nil
	}
	<-c.done
	return 0, nil, errEnded
}

// tell reports whether the sender must be told, since it waits for the client and
// will not call WriteTo before its timeout.
func (c *conn) tell() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handed || c.killed {
		return false
	}
	c.handed, c.told = true, true
	return true
}

// takeAck returns the ACK that the library has not seen yet.
func (c *conn) takeAck() (p [ackLength]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ack || c.handed || c.killed {
		return p, false
	}
	c.ack, c.handed = false, true
	p[1] = opACK
	binary.BigEndian.PutUint16(p[2:], c.block)
	return p, true
}

// receive takes packets from the socket and notes what they mean: with one, until
// one is for the library or ends the transfer, or else all. It returns false, which
// makes RawConn.Read wait, when there are no more.
//
// Taking a packet and noting it is one step under the lock, so that settle leaves
// nothing half done.
func (c *conn) receive(fd uintptr, one bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range maxDrain {
		if c.failure != nil || one && c.ack {
			return true
		}
		n, err := unix.Read(int(fd), c.buf[:])
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err != nil {
			c.socketError(err)
			continue
		}
		c.accept(c.buf[:n])
	}
	return true
}

// settle takes in all that the client has sent so far. Requests and transfers
// come in by different sockets, so that a request may be seen before the last
// acknowledgement, or the ERROR, that the client sent ahead of it.
func (c *conn) settle() {
	_ = c.raw.Control(func(fd uintptr) { c.receive(fd, false) })
	c.wake()
}

// socketError notes an error of the socket. ECONNREFUSED is an ICMP message that
// says that the client's port is closed. All else is taken to pass, such as
// EHOSTUNREACH: a 3B does not answer ARP during a transfer.
func (c *conn) socketError(err error) {
	if errors.Is(err, syscall.ECONNREFUSED) && c.failure == nil {
		c.failure = fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
}

// accept notes what a packet of the client means. Only the acknowledgement of the
// packet sent last counts. Ignoring all others is what keeps a doubled ACK from
// doubling every later block (RFC 1123, section 4.2.3.1).
func (c *conn) accept(p []byte) {
	switch opcode(p) {
	case opACK:
		if len(p) >= ackLength {
			c.acknowledged(binary.BigEndian.Uint16(p[2:]))
		}
	case opERROR:
		c.clientError(p)
	}
}

func (c *conn) acknowledged(block uint16) {
	if !c.waiting || block != c.block {
		return
	}
	c.waiting, c.ack = false, true
	if c.payload >= 0 {
		c.acks++
		c.acked += int64(c.payload)
	}
	c.first = nil
}

// clientError notes that the client has ended the transfer. Code 0 before the
// second block is acknowledged is the "Early terminate" of boot ROMs; 8 is a
// client that does not like the options (RFC 2347) and asks again.
func (c *conn) clientError(p []byte) {
	var code uint16
	var text []byte
	if len(p) >= ackLength {
		code, text = binary.BigEndian.Uint16(p[2:]), p[ackLength:]
	}
	if n := len(text); n > 0 && text[n-1] == 0 {
		text = text[:n-1]
	}
	c.early = code == 0 && c.acks < 2 || code == 8 && c.acks == 0
	c.failure = fmt.Errorf("%w: code %d, %q", ErrClient, code, printable(string(text)))
}

// fail ends the transfer; the first reason counts. Nothing is sent after it.
func (c *conn) fail(err error, early bool) {
	c.mu.Lock()
	if c.failure == nil {
		c.failure, c.early = err, early
	}
	c.mu.Unlock()
	c.wake()
}

func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// WriteTo sends a packet of the library to the client. A send that fails counts
// as lost: the library repeats it after its timeout.
func (c *conn) WriteTo(p []byte, _ net.Addr) (int, error) {
	if opcode(p) == opERROR {
		return len(p), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	repeated := c.note(p)
	if repeated && (c.handed || c.ack) {
		// The sender's timeout and the client's packet have crossed.
		return len(p), nil
	}
	if c.failure == nil && c.tries > c.retries {
		c.failure = fmt.Errorf("%w: block %d was sent %d times", ErrNoAnswer, c.block, c.tries)
	}
	if c.ctx.Err() != nil || c.failure != nil {
		c.killed = true
		return 0, errKilled
	}
	c.tries++
	c.waiting = true
	if _, err := c.udp.Write(p); err != nil {
		c.socketError(err)
	}
	return len(p), nil
}

// note remembers what is sent, and tells whether it has been sent before. If not,
// then the sender has seen what was handed to it.
func (c *conn) note(p []byte) (repeated bool) {
	block, payload := uint16(0), -1 // the OACK
	if opcode(p) == opDATA {
		block, payload = binary.BigEndian.Uint16(p[2:]), len(p)-ackLength
	}
	if c.sent && block == c.block && payload == c.payload {
		return true
	}
	if !c.sent {
		c.first = append([]byte(nil), p...)
	}
	c.sent, c.handed, c.tries = true, false, 0
	c.block, c.payload = block, payload
	return false
}

// answers tells whether this transfer is the answer to a repeated request: it is
// if the client has acknowledged nothing. Then the first packet may be lost, and
// is sent again. If however the client has acknowledged, or ended the transfer,
// it asks anew.
func (c *conn) answers() bool {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil || c.ctx.Err() != nil {
		return false
	}
	if c.first != nil {
		_, _ = c.udp.Write(c.first)
	}
	return c.first != nil || !c.sent
}

// wake makes a blocked ReadFrom look around.
func (c *conn) wake() { _ = c.udp.SetReadDeadline(time.Unix(1, 0)) }

// LocalAddr is the address that the client sees.
func (c *conn) LocalAddr() net.Addr { return c.udp.LocalAddr() }

// Close does nothing: the socket belongs to the transfer.
func (c *conn) Close() error { return nil }

// The library sets deadlines only to wake its own loop, which wake does.

func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
