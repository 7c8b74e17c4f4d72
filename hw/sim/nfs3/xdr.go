package nfs3

import (
	"encoding/binary"
	"errors"
)

// errShort means that an answer ended too early or had a length that cannot be.
var errShort = errors.New("malformed answer")

// encoder appends XDR (RFC 4506).
type encoder struct{ b []byte }

func (e *encoder) uint32(v uint32) { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) uint64(v uint64) { e.b = binary.BigEndian.AppendUint64(e.b, v) }

// opaque appends variable-length bytes: length, bytes, padding to four.
func (e *encoder) opaque(v []byte) {
	e.uint32(uint32(len(v)))
	e.b = append(e.b, v...)
	for range -len(v) & 3 {
		e.b = append(e.b, 0)
	}
}

// decoder reads XDR. After the first mistake every further value is zero and err
// is set.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) next(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		d.err = errShort
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	if v := d.next(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// opaque reads variable-length bytes of at most limit. The result aliases the
// answer.
func (d *decoder) opaque(limit int) []byte {
	n := d.uint32()
	if d.err != nil || n > uint32(limit) {
		d.err = errShort
		return nil
	}
	v := d.next(int(n))
	d.next(int(-n & 3))
	return v
}
