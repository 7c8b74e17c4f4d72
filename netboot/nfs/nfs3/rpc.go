package nfs3

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of a call. A read-only server needs no long ones: the longest useful
// call is a WRITE of wtmax bytes, which is refused.
const (
	maxRecord    = 16 << 10
	maxFragments = 64
	maxAuth      = 400 // RFC 5531, section 8.2
	maxGroups    = 16  // RFC 5531, appendix A
)

const (
	programNFS   = 100003
	programMount = 100005
	version3     = 3
)

// Values of RFC 5531, section 9.
const (
	msgCall, msgReply      = 0, 1
	msgAccepted, msgDenied = 0, 1
	rpcVersion             = 2

	acceptSuccess      = 0
	acceptProgUnavail  = 1
	acceptProgMismatch = 2
	acceptProcUnavail  = 3
	acceptGarbageArgs  = 4
	acceptSystemErr    = 5

	rejectRPCMismatch = 0
	rejectAuthError   = 1
	authBadCred       = 1

	authNone = 0
	authSys  = 1
)

var (
	errRecordTooLong = fmt.Errorf("record longer than %d bytes", maxRecord)
	errFragments     = errors.New("record in too many fragments")
	errNotACall      = errors.New("not an RPC call")
)

// readRecord reads one record of RFC 5531, section 11, into buf and returns
// it; buf is grown to at most maxRecord.
func readRecord(r *bufio.Reader, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for range maxFragments {
		var mark [4]byte
		if _, err := io.ReadFull(r, mark[:]); err != nil {
			return nil, err
		}
		v := binary.BigEndian.Uint32(mark[:])
		last, n := v&(1<<31) != 0, int(v&^(1<<31))
		if n > maxRecord-len(buf) {
			return nil, errRecordTooLong
		}
		start := len(buf)
		buf = append(buf, make([]byte, n)...)
		if _, err := io.ReadFull(r, buf[start:]); err != nil {
			return nil, err
		}
		if last {
			return buf, nil
		}
	}
	return nil, errFragments
}

// identity is who calls, by the word of the client's kernel.
type identity struct {
	uid, gid uint32
	groups   []uint32
}

// nobody is what AUTH_NONE stands for, as with the kernel's server.
const nobody = 65534

// call is the header of one RPC call (RFC 5531, section 9) and its arguments.
type call struct {
	xid, rpcvers     uint32
	prog, vers, proc uint32
	flavor           uint32
	who              identity
	badCred          bool
	args             decoder
}

// parseCall reads a call. An error means that no reply is possible.
func parseCall(rec []byte) (call, error) {
	d := decoder{b: rec}
	c := call{xid: d.uint32()}
	if d.uint32() != msgCall || d.bad {
		return call{}, errNotACall
	}
	c.rpcvers = d.uint32()
	c.prog, c.vers, c.proc = d.uint32(), d.uint32(), d.uint32()
	c.flavor = d.uint32()
	body := d.opaque(maxAuth)
	d.uint32() // the verifier's flavor
	d.opaque(maxAuth)
	if d.bad {
		return call{}, errNotACall
	}
	c.who, c.badCred = parseCredential(c.flavor, body)
	c.args = d
	return c, nil
}

// parseCredential reads AUTH_NONE or AUTH_SYS (RFC 5531, appendix A).
func parseCredential(flavor uint32, body []byte) (who identity, bad bool) {
	switch flavor {
	case authNone:
		return identity{uid: nobody, gid: nobody}, false
	case authSys:
		d := decoder{b: body}
		d.uint32()    // stamp
		d.opaque(255) // machine name
		who.uid, who.gid = d.uint32(), d.uint32()
		n := d.uint32()
		if n > maxGroups {
			return identity{}, true
		}
		for range n {
			who.groups = append(who.groups, d.uint32())
		}
		return who, d.bad
	}
	return identity{}, true
}

// appendAccepted appends the head of a reply that the server accepted, with
// an empty AUTH_NONE verifier.
func appendAccepted(w []byte, xid, stat uint32) []byte {
	for _, v := range [...]uint32{xid, msgReply, msgAccepted, authNone, 0, stat} {
		w = appendUint32(w, v)
	}
	return w
}

func appendDenied(w []byte, xid uint32, why ...uint32) []byte {
	w = appendUint32(appendUint32(appendUint32(w, xid), msgReply), msgDenied)
	for _, v := range why {
		w = appendUint32(w, v)
	}
	return w
}
