package image

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// xzSizes is what a walk over an .xz file finds: how much it unpacks to, and
// the biggest dictionary, which unpacking allocates on the file's word.
type xzSizes struct {
	unpacked, dictionary int64
}

// scanXZ walks over all blocks of an .xz file (xz file format 1.0.4) by the
// lengths of their LZMA2 chunks. It reads a page of each 64 KiB, and checks no
// checksum; unpacking does. Errors: [ErrFormat], [ErrTruncated],
// ctx's, or r's.
func scanXZ(ctx context.Context, r io.ReaderAt, size int64) (xzSizes, error) {
	w := &xzWalk{ctx: ctx, r: r, size: size}
	for w.err == nil && w.at < size {
		if b := w.peek(4); len(b) == 4 && w.at > 0 && binary.LittleEndian.Uint32(b) == 0 {
			w.at += 4 // padding between streams
			continue
		}
		w.stream()
	}
	return w.found, w.err
}

type xzWalk struct {
	r     io.ReaderAt
	at    int64
	size  int64
	ctx   context.Context
	buf   [4096]byte // of the file from offset from on
	have  int
	from  int64
	found xzSizes
	err   error
}

func (w *xzWalk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *xzWalk) bad(what string) {
	w.fail(fmt.Errorf("%w: xz: %s at byte %d", ErrFormat, what, w.at))
}

// peek returns the next n bytes, or nil after an error.
func (w *xzWalk) peek(n int) []byte {
	if w.err != nil {
		return nil
	}
	if w.at > w.size-int64(n) {
		w.fail(fmt.Errorf("%w after %d bytes", ErrTruncated, w.size))
		return nil
	}
	if w.at < w.from || w.at+int64(n) > w.from+int64(w.have) {
		if w.ctx.Err() != nil {
			w.fail(&stoppedError{context.Cause(w.ctx)})
			return nil
		}
		w.from, w.have = w.at, int(min(int64(len(w.buf)), w.size-w.at))
		if _, err := w.r.ReadAt(w.buf[:w.have], w.at); err != nil {
			w.fail(err)
			return nil
		}
	}
	return w.buf[w.at-w.from:][:n]
}

func (w *xzWalk) take(n int) []byte {
	b := w.peek(n)
	if b != nil {
		w.at += int64(n)
	}
	return b
}

// stream walks over a header, blocks, an index and a footer.
func (w *xzWalk) stream() {
	h := w.take(12)
	if h == nil {
		return
	}
	if string(h[:6]) != "\xFD7zXZ\x00" || h[6] != 0 || h[7] > 15 {
		w.bad("no stream header")
		return
	}
	check := 0
	if h[7] > 0 {
		check = 4 << ((h[7] - 1) / 3)
	}
	for w.err == nil {
		b := w.peek(1)
		if b == nil {
			return
		}
		if b[0] == 0 {
			break
		}
		w.block(int(b[0])*4+4, int64(check))
	}
	w.index()
	if f := w.take(12); f != nil && string(f[10:]) != "YZ" {
		w.bad("no stream footer")
	}
}

// block walks over a header of n bytes, the chunks, padding and a check.
func (w *xzWalk) block(n int, check int64) {
	start := w.at
	h := w.take(n)
	if h == nil {
		return
	}
	v := vli{b: h[2 : n-4]}
	flags := h[1]
	if flags&0x03 != 0 {
		w.bad("a filter that is not LZMA2")
		return
	}
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			v.next()
		}
	}
	id, length := v.next(), v.next()
	if v.bad || id != 0x21 || length != 1 || len(v.b) < 1 || v.b[0] > 40 {
		w.bad("a filter that is not LZMA2")
		return
	}
	w.found.dictionary = max(w.found.dictionary, dictionarySize(v.b[0]))
	w.chunks()
	w.at += (4-(w.at-start)%4)%4 + check
}

// dictionarySize decodes the one byte of LZMA2's properties (xz file format,
// section 5.3.1).
func dictionarySize(b byte) int64 {
	if b == 40 {
		return 1<<32 - 1
	}
	return int64(2|b&1) << (b/2 + 11)
}

// chunks walks over LZMA2 chunks to the zero byte behind them.
func (w *xzWalk) chunks() {
	for w.err == nil {
		c := w.take(1)
		if c == nil || c[0] == 0 {
			return
		}
		switch kind := c[0]; {
		case kind <= 2: // stored
			if s := w.take(2); s != nil {
				n := int64(binary.BigEndian.Uint16(s)) + 1
				w.found.unpacked += n
				w.at += n
			}
		case kind >= 0x80:
			if s := w.take(4); s != nil {
				w.found.unpacked += int64(kind&0x1F)<<16 + int64(binary.BigEndian.Uint16(s)) + 1
				w.at += int64(binary.BigEndian.Uint16(s[2:])) + 1
				if kind >= 0xC0 {
					w.at++ // new properties
				}
			}
		default:
			w.bad("no LZMA2 chunk")
		}
	}
}

// index walks over the list of blocks and its checksum.
func (w *xzWalk) index() {
	start := w.at
	w.take(1)
	for n := w.vli(); n > 0 && w.err == nil; n-- {
		w.vli()
		w.vli()
	}
	w.at += (4-(w.at-start)%4)%4 + 4
}

// vli reads a number of up to nine groups of seven bits.
func (w *xzWalk) vli() uint64 {
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		b := w.take(1)
		if b == nil {
			return 0
		}
		n |= uint64(b[0]&0x7F) << shift
		if b[0]&0x80 == 0 {
			return n
		}
	}
	w.bad("a number that is too long")
	return 0
}

// vli reads such numbers from bytes.
type vli struct {
	b   []byte
	bad bool
}

func (v *vli) next() uint64 {
	n, used := binary.Uvarint(v.b)
	if used <= 0 || bits.Len64(n) > 63 {
		v.bad, v.b = true, nil
		return 0
	}
	v.b = v.b[used:]
	return n
}
