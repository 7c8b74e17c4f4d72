package ptable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const imageSize = 64 << 20

// sparse is an image whose first bytes are head, and zeros behind.
func sparse(head []byte) *bytes.Reader {
	return bytes.NewReader(append(slices.Clone(head), make([]byte, max(0, 8192-len(head)))...))
}

type mbrEntry struct {
	status, kind byte
	start, count uint32
}

func mbr(entries ...mbrEntry) []byte {
	b := make([]byte, 512)
	for i, e := range entries {
		at := b[446+16*i:]
		at[0], at[4] = e.status, e.kind
		binary.LittleEndian.PutUint32(at[8:], e.start)
		binary.LittleEndian.PutUint32(at[12:], e.count)
	}
	b[510], b[511] = 0x55, 0xAA
	return b
}

// gpt makes a table with 4 entries of 128 bytes in the third sector.
func gpt(ranges ...[2]uint64) []byte {
	b := append(mbr(mbrEntry{kind: protective, start: 1, count: 1<<32 - 1}), make([]byte, 1024)...)
	table := b[1024:1536]
	for i, r := range ranges {
		e := table[128*i:]
		e[0] = 1
		binary.LittleEndian.PutUint64(e[32:], r[0])
		binary.LittleEndian.PutUint64(e[40:], r[1])
	}
	h := b[512:1024]
	copy(h, "EFI PART\x00\x00\x01\x00\x5C\x00\x00\x00")
	binary.LittleEndian.PutUint64(h[72:], 2)
	binary.LittleEndian.PutUint32(h[80:], 4)
	binary.LittleEndian.PutUint32(h[84:], 128)
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(table))
	return sign(b)
}

func sign(b []byte) []byte {
	clear(b[528:532])
	binary.LittleEndian.PutUint32(b[528:], crc32.ChecksumIEEE(b[512:512+92]))
	return b
}

func change(b []byte, at int, to ...byte) []byte {
	copy(b[at:], to)
	return b
}

var tables = []struct {
	name string
	head []byte
	want []Partition
	err  error
}{
	{"raspberry pi os", mbr(mbrEntry{0, 0xC, 8192, 16384}, mbrEntry{0, 0x83, 24576, 1000}),
		[]Partition{{1, 8192 * 512, 16384 * 512}, {2, 24576 * 512, 1000 * 512}}, nil},
	{"second entry only", mbr(mbrEntry{}, mbrEntry{0x80, 0x83, 1, 1}), []Partition{{2, 512, 512}}, nil},
	{"up to the last sector", mbr(mbrEntry{0, 0x83, 1, imageSize/512 - 1}), []Partition{{1, 512, imageSize - 512}}, nil},
	{"gpt", gpt([2]uint64{100, 199}, [2]uint64{200, 200}),
		[]Partition{{1, 51200, 51200}, {2, 102400, 512}}, nil},

	{"no signature", make([]byte, 512), nil, ErrNoTable},
	{"short", []byte{1}, nil, ErrNoTable},
	{"empty", mbr(), nil, ErrNoTable},
	{"boot sector", mbr(mbrEntry{0x13, 1, 1, 1}), nil, ErrNoTable},
	{"one sector too many", mbr(mbrEntry{0, 0x83, 1, imageSize / 512}), nil, ErrOutside},
	{"far outside", mbr(mbrEntry{0, 0x83, 1<<32 - 1, 1<<32 - 1}), nil, ErrOutside},
	{"starts at the table", mbr(mbrEntry{0, 0x83, 0, 9}), nil, ErrCorrupt},
	{"overlap", mbr(mbrEntry{0, 0xC, 10, 10}, mbrEntry{0, 0x83, 19, 10}), nil, ErrCorrupt},
	{"gpt outside", gpt([2]uint64{100, imageSize / 512}), nil, ErrOutside},
	{"gpt overflows", gpt([2]uint64{1, 1<<63 - 1}), nil, ErrOutside},
	{"gpt backwards", gpt([2]uint64{200, 100}), nil, ErrOutside},
	{"gpt without entries", gpt(), nil, ErrNoTable},
	{"gpt without a header", change(gpt([2]uint64{100, 199}), 512, 'X'), nil, ErrCorrupt},
	{"gpt header's checksum", change(gpt([2]uint64{100, 199}), 512+60, 1), nil, ErrCorrupt},
	{"gpt entries' checksum", change(gpt([2]uint64{100, 199}), 1024+70, 1), nil, ErrCorrupt},
	{"gpt header's size", change(gpt([2]uint64{100, 199}), 512+12, 0xFF, 0xFF, 0xFF), nil, ErrCorrupt},
	{"gpt with a billion entries", sign(change(gpt(), 512+80, 0, 0, 0, 0x40)), nil, ErrCorrupt},
	{"gpt entries outside", sign(change(gpt(), 512+72, 0, 0, 0, 0, 0, 0, 0, 0x7F)), nil, ErrOutside},
	{"gpt entries of nothing", sign(change(gpt(), 512+84, 0)), nil, ErrCorrupt},
}

func TestRead(t *testing.T) {
	for _, tt := range tables {
		size := int64(imageSize)
		if len(tt.head) < 512 {
			size = int64(len(tt.head))
		}
		got, err := Read(sparse(tt.head), size)
		if !errors.Is(err, tt.err) || err == nil && !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

// TestSfdisk reads what sfdisk of util-linux wrote.
func TestSfdisk(t *testing.T) {
	if _, err := exec.LookPath("sfdisk"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("install fdisk: ", err)
	}
	for _, label := range []string{"dos", "gpt"} {
		img := filepath.Join(t.TempDir(), "img")
		if err := os.WriteFile(img, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(img, imageSize); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "sfdisk", "-q", img)
		c.Stdin = strings.NewReader("label: " + label + "\nstart=8192, size=16384\nstart=24576\n")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := os.Open(img)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := Read(f, imageSize)
		if err != nil || len(got) != 2 || got[0] != (Partition{1, 8192 * 512, 16384 * 512}) ||
			got[1].Number != 2 || got[1].Offset != 24576*512 || got[1].Size < 50<<20 {
			t.Errorf("%s: %v, %v", label, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, tt := range tables {
		f.Add(tt.head, int64(imageSize))
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		parts, err := Read(sparse(head), size)
		for _, p := range parts {
			if err == nil && (p.Offset < 512 || p.Size < 512 || p.Offset+p.Size > size || p.Offset+p.Size < 0) {
				t.Fatalf("%+v of %d", p, size)
			}
		}
	})
}
