package fat

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func needTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("%v: install dosfstools and mtools", err)
		}
	}
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
}

// walk reads everything.
func walk(f *FS, visit func(path, content string)) error {
	total := 0
	var each func(path string) func(Entry) error
	each = func(path string) func(Entry) error {
		return func(e Entry) error {
			if total++; total > 20_000 || len(path) > 4000 {
				return errors.New("too much")
			}
			p := path + "/" + e.Name
			if e.Dir {
				if visit != nil {
					visit(p, "dir")
				}
				return f.Dir(e, each(p))
			}
			var b bytes.Buffer
			n, err := io.Copy(&b, io.LimitReader(f.Content(e), 16<<20))
			if err == nil && n != e.Size && n < 16<<20 {
				err = fmt.Errorf("%d bytes of %d without an error", n, e.Size)
			}
			if visit != nil {
				visit(p, b.String())
			}
			return err
		}
	}
	return f.Root(each(""))
}

// TestAgainstMkfs reads what dosfstools and mtools wrote.
func TestAgainstMkfs(t *testing.T) {
	needTool(t, "mkfs.vfat", "mcopy")
	top := filepath.Join(t.TempDir(), "top")
	want := map[string]string{}
	put := func(name, content string) {
		p := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		for d := filepath.Dir(name); d != "."; d = filepath.Dir(d) {
			want["/"+d] = "dir"
		}
		want["/"+name] = content
	}
	put("config.txt", "arm_64bit=1\n")
	put("KERNEL8.IMG", strings.Repeat("kernel", 50_000))
	put("bcm2712d0-rpi-5-b.dtb", strings.Repeat("d", 512))
	put("empty", "")
	put("start4.elf", strings.Repeat("e", 4096))
	put("Mixed Case with a long, long name - and a bit more of it.txt", "x")
	put("grün-日本-\U0001F353.txt", "berry")
	for i := range 150 {
		put(fmt.Sprintf("overlays/some-overlay-number-%d.dtbo", i), fmt.Sprint(i))
	}
	put("a/b/c/d/deep", "deep")
	for _, kind := range []struct{ bits, size, cluster string }{
		{"12", "4M", "8"}, {"16", "32M", "2"}, {"32", "40M", "1"}, {"32", "300M", "8"},
	} {
		t.Run(kind.bits+" "+kind.size, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "img")
			command(t, "truncate", "-s", kind.size, img)
			command(t, "mkfs.vfat", "-F", kind.bits, "-s", kind.cluster, "-n", "bootfs", img)
			names, err := filepath.Glob(filepath.Join(top, "*"))
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), "mcopy", append([]string{"-s", "-m", "-i", img}, append(names, "::")...)...)
			c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			f, err := os.Open(img)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			fsys, err := Open(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			if err := walk(fsys, func(p, content string) { got[p] = content }); err != nil {
				t.Fatal(err)
			}
			want := want
			if got["/grün-日本-\U0001F353.txt"] == "" { // mtools writes UCS-2 only
				want = without(want, "/grün-日本-\U0001F353.txt")
				for p := range got {
					if strings.HasPrefix(p, "/grün") {
						delete(got, p)
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-folder +image)\n%.2000s", diff)
			}
			if fmt.Sprint(fsys.bits) != kind.bits || fsys.Size() > info.Size() {
				t.Errorf("FAT%d of %d bytes", fsys.bits, fsys.Size())
			}
		})
	}
}

func without(m map[string]string, key string) map[string]string {
	c := map[string]string{}
	for k, v := range m {
		if k != key {
			c[k] = v
		}
	}
	return c
}

// sample returns a small FAT12 file system that mkfs.vfat and mcopy made.
func sample(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/fat12.img.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openBytes(b []byte) (*FS, error) { return Open(bytes.NewReader(b), int64(len(b))) }

func TestSample(t *testing.T) {
	f, err := openBytes(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := walk(f, func(p, content string) { names = append(names, fmt.Sprint(p, " ", len(content))) }); err != nil {
		t.Fatal(err)
	}
	want := []string{"/config.txt 12", "/overlays 3", "/overlays/a-long-name.dtbo 3000", "/overlays/sub 3", "/overlays/sub/UPPER.TXT 2"}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestHostile(t *testing.T) {
	put16 := func(b []byte, at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
	// record finds the record of a short name.
	record := func(b []byte, name string) []byte { return b[bytes.Index(b, []byte(name)):] }
	fill := func(b []byte, with byte) {
		table := b[512:1024]
		for i := range table {
			table[i] = with
		}
	}
	for name, tt := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"no signature":          {func(b []byte) { b[510] = 0 }, ErrNotFAT},
		"no jump":               {func(b []byte) { b[0] = 0 }, ErrNotFAT},
		"sectors of 513 bytes":  {func(b []byte) { put16(b, 11, 513) }, ErrNotFAT},
		"clusters of 0 sectors": {func(b []byte) { b[13] = 0 }, ErrNotFAT},
		"no tables":             {func(b []byte) { b[16] = 0 }, ErrNotFAT},
		"longer than its file":  {func(b []byte) { put16(b, 19, 60000) }, ErrCorrupt},
		"table over everything": {func(b []byte) { put16(b, 22, 60000) }, ErrCorrupt},
		"root over everything":  {func(b []byte) { put16(b, 17, 65535) }, ErrCorrupt},
		"no room for data":      {func(b []byte) { put16(b, 14, 127) }, ErrCorrupt},
		"table of no sectors":   {func(b []byte) { put16(b, 22, 0) }, ErrCorrupt},
		"a chain that loops":    {func(b []byte) { loop(b) }, ErrCorrupt},
		"a chain of zeros":      {func(b []byte) { fill(b, 0) }, ErrCorrupt},
		"a chain cut short":     {func(b []byte) { fill(b, 0xFF) }, ErrCorrupt},
		"a directory in itself": {func(b []byte) { copy(record(b, "SUB     ")[26:28], record(b, "OVERLAYS")[26:28]) }, ErrCorrupt},
		"a file outside":        {func(b []byte) { put16(record(b, "CONFIG  TXT"), 26, 0xEEE) }, ErrCorrupt},
		"a size of 4 GiB":       {func(b []byte) { copy(record(b, "CONFIG  TXT")[28:], []byte{255, 255, 255, 255}) }, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			b := sample(t)
			tt.change(b)
			f, err := openBytes(b)
			if err == nil {
				err = walk(f, nil)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := openBytes(nil); !errors.Is(err, ErrNotFAT) {
		t.Error(err)
	}
	f, _ := openBytes(sample(t))
	if err := f.Dir(Entry{Name: "x"}, nil); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// loop makes every cluster lead to the next, and the last to the first.
func loop(b []byte) {
	f, _ := openBytes(b)
	set := func(c, to uint32) {
		at := 512 + c + c/2
		v := binary.LittleEndian.Uint16(b[at:])
		if c%2 == 1 {
			v = v&0xF | uint16(to)<<4
		} else {
			v = v&0xF000 | uint16(to)
		}
		binary.LittleEndian.PutUint16(b[at:], v)
	}
	for c := uint32(2); c < f.clusters+2; c++ {
		set(c, 2+(c-1)%f.clusters)
	}
	at := bytes.Index(b, []byte("CONFIG  TXT"))
	copy(b[at+28:], []byte{0, 0, 0, 64})
}

func TestLongNames(t *testing.T) {
	short := []byte("LONGNA~1TXT\x00")
	part := func(order byte, text string, sum byte) []byte {
		b := make([]byte, 32)
		b[0], b[11], b[13] = order, attrLongName, sum
		for i, at := range [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			u := uint16(0xFFFF)
			if i < len(text) {
				u = uint16(text[i])
			} else if i == len(text) {
				u = 0
			}
			binary.LittleEndian.PutUint16(b[at:], u)
		}
		return b
	}
	sum := checksum(short)
	for name, tt := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"one part":          {[][]byte{part(0x41, "longname", sum)}, "longname"},
		"two parts":         {[][]byte{part(0x42, ".txt", sum), part(1, "a-long-name-1", sum)}, "a-long-name-1.txt"},
		"wrong checksum":    {[][]byte{part(0x41, "longname", sum+1)}, ""},
		"a part is missing": {[][]byte{part(0x43, "x", sum), part(1, "a-long-name-1", sum)}, ""},
		"not the last":      {[][]byte{part(1, "longname", sum)}, ""},
		"order 0":           {[][]byte{part(0x40, "longname", sum)}, ""},
		"order 63":          {[][]byte{part(0x7F, "longname", sum)}, ""},
		"empty":             {[][]byte{part(0x41, "", sum)}, ""},
	} {
		var l longName
		for _, p := range tt.parts {
			l.add(p)
		}
		if got, ok := l.take(short); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func TestYieldStops(t *testing.T) {
	stop := errors.New("stop")
	f, err := openBytes(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Root(func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// FuzzRead changes bytes of a small image: each three octets of patch are an
// offset and a value.
func FuzzRead(f *testing.F) {
	image := sample(f)
	f.Add([]byte{})
	f.Add([]byte{0, 13, 8})
	f.Add([]byte{2, 3, 0, 2, 4, 0})
	f.Fuzz(func(_ *testing.T, patch []byte) {
		img := slices.Clone(image)
		for ; len(patch) >= 3; patch = patch[3:] {
			img[(int(patch[0])<<8|int(patch[1]))%len(img)] = patch[2]
		}
		fsys, err := openBytes(img)
		if err != nil {
			return
		}
		_ = walk(fsys, nil)
	})
}
