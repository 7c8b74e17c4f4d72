package nfs3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ErrRPC means that the server refused a call before looking at its arguments
// (RFC 5531, section 9): wrong program, wrong version, not authorised.
var ErrRPC = errors.New("rpc call refused")

// maxRecord is the largest answer taken, in octets: a READ of maxRead and its
// headers.
const maxRecord = maxRead + 4096

// Cred is whom the calls come from: AUTH_SYS (RFC 5531, appendix A).
type Cred struct {
	Machine  string // at most 255 octets
	UID, GID uint32
}

// Conn calls programs over one TCP connection, one call at a time. It is not
// safe for concurrent use.
type Conn struct {
	// Timeout bounds each call; 0 means none.
	Timeout time.Duration

	c    net.Conn
	cred []byte
	xid  uint32
	buf  []byte
}

// New makes a Conn of an open connection, which stays the caller's to close.
// xid is the number of the first call; the connection counts up from it.
func New(c net.Conn, cred Cred, xid uint32) *Conn {
	var e encoder
	e.uint32(xid) // stamp, arbitrary
	e.opaque([]byte(cred.Machine))
	e.uint32(cred.UID)
	e.uint32(cred.GID)
	e.uint32(0) // no further groups
	return &Conn{c: c, cred: e.b, xid: xid}
}

// Message fields (RFC 5531, section 9).
const (
	msgCall    = 0
	msgReply   = 1
	rpcVersion = 2
	accepted   = 0
	success    = 0
	authNone   = 0
	authSys    = 1
	lastRecord = 1 << 31
)

// call sends one call and returns the results. They are valid until the next
// call.
func (c *Conn) call(prog, vers, proc uint32, args func(*encoder)) (*decoder, error) {
	e := encoder{b: append(c.buf[:0], 0, 0, 0, 0)}
	for _, v := range []uint32{c.xid, msgCall, rpcVersion, prog, vers, proc, authSys} {
		e.uint32(v)
	}
	e.opaque(c.cred)
	e.uint32(authNone)
	e.uint32(0)
	if args != nil {
		args(&e)
	}
	c.buf = e.b
	binary.BigEndian.PutUint32(e.b, lastRecord|uint32(len(e.b)-4))
	if c.Timeout > 0 {
		if err := c.c.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
			return nil, err
		}
	}
	if _, err := c.c.Write(e.b); err != nil {
		return nil, err
	}
	xid := c.xid
	c.xid++
	for {
		if err := c.readRecord(); err != nil {
			return nil, err
		}
		d := &decoder{b: c.buf}
		if got := d.uint32(); d.err == nil && got != xid {
			continue // an answer to a call that timed out
		}
		return d, replyStatus(d)
	}
}

// replyStatus reads the head of a reply up to the results.
func replyStatus(d *decoder) error {
	kind, status := d.uint32(), d.uint32()
	if d.err != nil || kind != msgReply {
		return errShort
	}
	if status != accepted {
		return fmt.Errorf("%w: denied, reason %d", ErrRPC, d.uint32())
	}
	d.uint32() // verifier
	d.opaque(400)
	if code := d.uint32(); d.err == nil && code != success {
		return fmt.Errorf("%w: accept state %d", ErrRPC, code)
	}
	return d.err
}

// readRecord reads one record of one or more fragments into c.buf (RFC 5531,
// section 11).
func (c *Conn) readRecord() error {
	c.buf = c.buf[:0]
	var head [4]byte
	for {
		if _, err := io.ReadFull(c.c, head[:]); err != nil {
			return err
		}
		h := binary.BigEndian.Uint32(head[:])
		n := int(h &^ lastRecord)
		if n == 0 && h&lastRecord == 0 || len(c.buf)+n > maxRecord {
			return errShort
		}
		old := len(c.buf)
		c.buf = append(c.buf, make([]byte, n)...)
		if _, err := io.ReadFull(c.c, c.buf[old:]); err != nil {
			return err
		}
		if h&lastRecord != 0 {
			return nil
		}
	}
}
