package nfstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// Program numbers and versions, RFC 1813, sections 3 and 5.
const (
	progNFS, progMount = 100003, 100005
	version            = 3
)

// Procedures of RFC 1813, section 3.3.
const (
	procGetAttr = iota + 1
	procSetAttr
	procLookup
	procAccess
	procReadLink
	procRead
	procWrite
	procCreate
	procMkdir
	procSymlink
	procMknod
	procRemove
	procRmdir
	procRename
	procLink
	procReadDir
	procReadDirPlus
	procFSStat
	procFSInfo
	procPathConf
	procCommit
)

// Statuses of RFC 1813, section 2.6, that tell a client that it gets nothing.
const (
	statusPerm, statusAcces, statusStale, statusBadHandle = 1, 13, 70, 10001
)

// errDenied is a call that was refused below NFS: by RPC (RFC 5531, section 9),
// or by hanging up.
var errDenied = errors.New("refused by RPC")

// raw sends calls as they are written, however odd. It is for one goroutine.
type raw struct {
	pi   Pi
	port uint16
	prog uint32
	conn net.Conn
	xid  uint32
}

// dialRaw speaks to a program on a port, as root of the Pi.
func dialRaw(t *testing.T, pi Pi, port uint16, prog uint32) *raw {
	r := &raw{pi: pi, port: port, prog: prog, xid: 1}
	t.Cleanup(r.hangUp)
	return r
}

func (r *raw) hangUp() {
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// patience is how long an answer may take.
const patience = 20 * time.Second

// call makes one call and returns its results. The error wraps errDenied if the
// server wants none of it.
func (r *raw) call(t *testing.T, proc uint32, args []byte) ([]byte, error) {
	t.Helper()
	if r.conn == nil {
		conn, err := r.pi.Dial(t.Context(), r.port)
		if err != nil {
			t.Fatal(err)
		}
		r.conn = conn
	}
	r.xid++
	// AUTH_SYS of root on "pi", without further groups (RFC 5531, appendix A).
	cred := words(0, 2, 0x70690000, 0, 0, 0)
	p := words(r.xid, 0, 2, r.prog, version, proc, 1, uint32(len(cred)))
	p = slices.Concat(p, cred, words(0, 0), args)
	reply, err := r.exchange(slices.Concat(words(1<<31|uint32(len(p))), p))
	if err != nil {
		r.hangUp()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("procedure %d: no answer for %v", proc, patience)
		}
		return nil, fmt.Errorf("%w: %w", errDenied, err)
	}
	return accepted(reply)
}

func (r *raw) exchange(p []byte) ([]byte, error) {
	if err := r.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := r.conn.Write(p); err != nil {
		return nil, err
	}
	var all []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(r.conn, head[:]); err != nil {
			return nil, err
		}
		h := binary.BigEndian.Uint32(head[:])
		part := make([]byte, h&(1<<20-1))
		if _, err := io.ReadFull(r.conn, part); err != nil {
			return nil, err
		}
		if all = append(all, part...); h&(1<<31) != 0 {
			return all, nil
		}
	}
}

// accepted takes the head off a reply.
func accepted(p []byte) ([]byte, error) {
	const denied = 1
	if len(p) < 12 || binary.BigEndian.Uint32(p[8:]) == denied {
		return nil, errDenied
	}
	if len(p) < 24 {
		return nil, io.ErrUnexpectedEOF
	}
	verifier := int(binary.BigEndian.Uint32(p[16:])+3) &^ 3
	if p = p[20:]; len(p) < verifier+4 {
		return nil, io.ErrUnexpectedEOF
	}
	p = p[verifier:]
	if status := binary.BigEndian.Uint32(p); status != 0 {
		return nil, fmt.Errorf("%w: accept status %d", errDenied, status)
	}
	return p[4:], nil
}

// status makes an NFS call and returns its status and what follows.
func (r *raw) status(t *testing.T, proc uint32, args []byte) (uint32, []byte, error) {
	t.Helper()
	p, err := r.call(t, proc, args)
	if err != nil {
		return 0, nil, err
	}
	if len(p) < 4 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return binary.BigEndian.Uint32(p), p[4:], nil
}

func words(all ...uint32) []byte {
	var b []byte
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// opaque is variable-length data (RFC 4506, section 4.10).
func opaque[T string | []byte](v T) []byte {
	b := append(words(uint32(len(v))), v...)
	return append(b, make([]byte, -len(v)&3)...)
}

// opened takes variable-length data off a reply.
func opened(p []byte) (v, rest []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint32(p))
	whole := (n + 3) &^ 3
	if p = p[4:]; whole > len(p) {
		return nil, nil, false
	}
	return p[:n], p[whole:], true
}
