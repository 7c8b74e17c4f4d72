package nfs3

import "encoding/binary"

// decoder reads XDR (RFC 4506) from a call that is in memory. After the first
// value that does not fit, bad is set and every further value is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// opaque reads variable-length opaque data of at most limit bytes. The slice
// is part of the call.
func (d *decoder) opaque(limit uint32) []byte {
	n := d.uint32()
	if n > limit {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.take((uint64(n) + 3) &^ 3)
	if v == nil {
		return nil
	}
	return v[:n]
}

func appendUint32(w []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(w, v) }
func appendUint64(w []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(w, v) }

func appendBool(w []byte, v bool) []byte {
	if v {
		return appendUint32(w, 1)
	}
	return appendUint32(w, 0)
}

func appendOpaque[T string | []byte](w []byte, v T) []byte {
	w = appendUint32(w, uint32(len(v)))
	w = append(w, v...)
	return appendPadding(w, len(v))
}

func appendPadding(w []byte, n int) []byte {
	return append(w, make([]byte, -n&3)...)
}

// opaqueLen is the encoded length of n bytes of variable-length opaque data.
func opaqueLen(n int) int { return 4 + (n+3)&^3 }
