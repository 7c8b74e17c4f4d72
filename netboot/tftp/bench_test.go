package tftp

import (
	"fmt"
	"testing"
)

// BenchmarkTransfer is one file of 8 MiB over loopback, client included.
func BenchmarkTransfer(b *testing.B) {
	file := content(8 << 20)
	for _, blk := range []int{512, 1024, 1468} {
		b.Run(fmt.Sprintf("blksize=%d", blk), func(b *testing.B) {
			r := newRig(b, map[string][]byte{"f": file}, nil)
			c := r.pi()
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				c.ask("f", "octet", "blksize", fmt.Sprint(blk))
				c.oack()
				c.ack(0)
				if n := len(c.rest(blk)); n != len(file) {
					b.Fatalf("%d octets", n)
				}
			}
		})
	}
}

// BenchmarkNotFound is the answer to a request for a file that does not exist, of
// which each boot has about a dozen.
func BenchmarkNotFound(b *testing.B) {
	r := newRig(b, nil, nil)
	c := r.pi()
	b.ReportAllocs()
	for b.Loop() {
		c.ask("recovery.elf", "octet", "tsize", "0")
		c.recv()
	}
}
