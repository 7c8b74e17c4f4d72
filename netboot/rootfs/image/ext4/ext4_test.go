package ext4

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// needRoot skips a test of what only root can make. CI has root.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("CI must run as root: device nodes and owners cannot be made otherwise")
	}
	t.Skip("needs root, to make device nodes and owners")
}

func needTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("%v: install e2fsprogs", err)
		}
	}
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
}

// what a test compares of a file.
type seen struct {
	Mode     fs.FileMode
	UID, GID uint32
	Dev      string
	Mtime    time.Time
	Content  string
	Xattrs   map[string]string
	Same     string // the first path of the same inode
}

func readAll(f *FS, file *File) (string, error) {
	h := sha256.New()
	at := int64(0)
	pad := func(to int64) {
		for at < to {
			n := min(to-at, 1<<16)
			h.Write(make([]byte, n))
			at += n
		}
	}
	err := f.Content(file, func(s Segment) error {
		pad(s.Offset)
		n, err := io.Copy(h, s.Data)
		if at += n; err == nil && n != s.Length {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	pad(file.Size)
	return fmt.Sprintf("%d %x", at, h.Sum(nil)[:8]), err
}

// walk reads everything; visit may be nil.
func walk(f *FS, visit func(path string, s seen)) error {
	first := map[Inode]string{}
	total := 0
	var dir func(n Inode, path string, depth int) error
	dir = func(n Inode, path string, depth int) error {
		file, err := f.File(n)
		if err != nil {
			return err
		}
		if total++; total > 20000 || depth > 50 {
			return errors.New("too much")
		}
		s := seen{Mode: file.Mode, UID: file.UID, GID: file.GID, Mtime: file.Mtime}
		if file.Mode&fs.ModeDevice != 0 {
			s.Dev = fmt.Sprint(file.Major, ":", file.Minor)
		}
		xs, err := f.Xattrs(file)
		if err != nil {
			return err
		}
		for _, x := range xs {
			if s.Xattrs == nil {
				s.Xattrs = map[string]string{}
			}
			s.Xattrs[x.Name] = string(x.Value)
		}
		if s.Same = first[n]; s.Same == "" {
			first[n] = path
		}
		switch file.Mode.Type() {
		case 0:
			if file.Size > 1<<26 {
				return errors.New("too big")
			}
			s.Content, err = readAll(f, file)
		case fs.ModeSymlink:
			s.Content, err = f.Link(file)
		}
		if err != nil {
			return err
		}
		if visit != nil {
			visit(path, s)
		}
		if !file.Mode.IsDir() {
			return nil
		}
		return f.Dir(file, func(e Entry) error { return dir(e.Inode, filepath.Join(path, e.Name), depth+1) })
	}
	return dir(Root, ".", 0)
}

// host reads the same of a folder.
func host(t testing.TB, top string) map[string]seen {
	t.Helper()
	got := map[string]seen{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		s := seen{Mode: info.Mode(), UID: st.Uid, GID: st.Gid, Mtime: info.ModTime()}
		if info.Mode()&fs.ModeDevice != 0 {
			s.Dev = fmt.Sprint(unix.Major(st.Rdev), ":", unix.Minor(st.Rdev))
		}
		names := make([]byte, 4096)
		n, _ := unix.Llistxattr(p, names)
		for name := range strings.SplitSeq(strings.Trim(string(names[:max(n, 0)]), "\x00"), "\x00") {
			if name == "" {
				continue
			}
			v := make([]byte, 1<<16)
			n, err := unix.Lgetxattr(p, name, v)
			if err != nil {
				return err
			}
			if s.Xattrs == nil {
				s.Xattrs = map[string]string{}
			}
			s.Xattrs[name] = string(v[:n])
		}
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s.Content = fmt.Sprintf("%d %x", len(b), func() []byte { x := sha256.Sum256(b); return x[:8] }())
		case fs.ModeSymlink:
			s.Content, err = os.Readlink(p)
		}
		rel, _ := filepath.Rel(top, p)
		got[rel] = s
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// plant makes a tree with one of everything that a root has.
func plant(t testing.TB, top string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, b []byte, mode fs.FileMode) {
		t.Helper()
		p := filepath.Join(top, name)
		must(os.MkdirAll(filepath.Dir(p), 0o755))
		must(os.WriteFile(p, b, 0o600))
		must(os.Chmod(p, mode))
	}
	write("etc/fstab", []byte("proc /proc proc defaults 0 0\n"), 0o644)
	write("empty", nil, 0o600)
	write("inline", bytes.Repeat([]byte("inline"), 20), 0o640)
	write("usr/bin/passwd", bytes.Repeat([]byte("su"), 30_000), 0o755|fs.ModeSetuid)
	write("usr/bin/wall", []byte("sg"), 0o755|fs.ModeSetgid)
	write("usr/bin/ping", []byte("capable"), 0o755)
	must(os.Link(filepath.Join(top, "etc/fstab"), filepath.Join(top, "etc/again")))
	must(os.Symlink("etc/fstab", filepath.Join(top, "short")))
	must(os.Symlink(strings.Repeat("long/", 60), filepath.Join(top, "long")))
	must(os.Mkdir(filepath.Join(top, "tmp"), 0o755))
	must(os.Chmod(filepath.Join(top, "tmp"), 0o777|fs.ModeSticky))
	must(unix.Mknod(filepath.Join(top, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(unix.Mknod(filepath.Join(top, "disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70_000))))
	must(unix.Mkfifo(filepath.Join(top, "pipe"), 0o600))
	must(os.Lchown(filepath.Join(top, "usr/bin/wall"), 100_000, 4_000_000_000))
	must(os.Chmod(filepath.Join(top, "usr/bin/wall"), 0o755|fs.ModeSetgid))
	big, err := os.Create(filepath.Join(top, "sparse"))
	must(err)
	for i := range 40 { // enough pieces for an extent tree of two levels
		_, err = big.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 4096), int64(i)*64<<10)
		must(err)
	}
	_, err = big.WriteAt([]byte{1}, 5<<20) // mke2fs loses a hole at the end of an inline_data image
	must(err)
	must(big.Close())
	for i := range 700 {
		write(fmt.Sprintf("big/a-name-that-is-long-enough-to-fill-blocks-%d", i), nil, 0o644)
	}
	must(unix.Setxattr(filepath.Join(top, "usr/bin/ping"), "security.capability", // cap_net_raw=ep
		[]byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	must(unix.Setxattr(filepath.Join(top, "etc"), "user.note", bytes.Repeat([]byte("n"), 700), 0))
	must(unix.Setxattr(filepath.Join(top, "empty"), "user.small", []byte("v"), 0))
	must(unix.Setxattr(filepath.Join(top, "inline"), "system.posix_acl_access", acl(0o6, 1000, 0o4), 0))
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(os.Chtimes(filepath.Join(top, "empty"), old, old))
}

// acl grants owner and one user.
func acl(owner uint16, uid uint32, perm uint16) []byte {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, owner, ^uint32(0)}, {2, perm, uid}, {4, 4, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// TestAgainstMke2fs reads what mke2fs wrote, in each of its layouts, and
// compares it with the tree that mke2fs was given.
func TestAgainstMke2fs(t *testing.T) {
	needRoot(t)
	needTool(t, "mke2fs", "e2fsck", "debugfs")
	top := t.TempDir()
	plant(t, top)
	want := host(t, top)
	for name, args := range map[string][]string{
		"default":     {"-t", "ext4"},
		"inline":      {"-t", "ext4", "-O", "inline_data,metadata_csum,64bit", "-I", "256"},
		"no checksum": {"-t", "ext4", "-O", "^metadata_csum,^64bit"},
		"csum seed":   {"-t", "ext4", "-O", "metadata_csum,metadata_csum_seed"},
		"1k blocks":   {"-t", "ext4", "-b", "1024", "-O", "inline_data"},
		"64k blocks":  {"-t", "ext4", "-b", "65536", "-F"},
		"meta_bg":     {"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"},
		"ea_inode":    {"-t", "ext4", "-O", "ea_inode", "-I", "512"},
		"ext3":        {"-t", "ext3"},
		"ext2 1k":     {"-t", "ext2", "-b", "1024"},
		"no filetype": {"-t", "ext2", "-O", "^filetype", "-I", "256"},
		"casefold":    {"-t", "ext4", "-O", "casefold"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := filepath.Join(t.TempDir(), "img")
			command(t, "mke2fs", append(args, "-q", "-N", "2048", "-d", top, img, "32M")...)
			if name != "64k blocks" {
				// mke2fs leaves big directories linear; e2fsck hashes them.
				_ = exec.CommandContext(t.Context(), "e2fsck", "-fyD", img).Run() // 1: it did
			}
			compare(t, img, want)
		})
	}
}

func compare(t *testing.T, img string, want map[string]seen) {
	t.Helper()
	f, size := open(t, img)
	fsys, err := Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]seen{}
	if err := walk(fsys, func(p string, s seen) { got[p] = s }); err != nil {
		t.Fatal(err)
	}
	delete(got, "lost+found")
	links := map[string]bool{"etc/again": true, "etc/fstab": true}
	for p, s := range got {
		if s.Same != "" && (!links[p] || !links[s.Same]) {
			t.Errorf("%s is the same as %s", p, s.Same)
		}
		links[s.Same] = true
		s.Same = ""
		got[p] = s
	}
	if !links["etc/again"] {
		t.Error("no hard link")
	}
	delete(got, ".") // mke2fs makes its own
	want = maps.Clone(want)
	delete(want, ".")
	opts := cmp.Options{cmp.Comparer(func(a, b time.Time) bool { return a.Unix() == b.Unix() })}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("(-folder +image)\n%.3000s", diff)
	}
}

func open(t testing.TB, img string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

// sample returns a small file system from testdata; mke2fs made it, without
// checksums, so that a changed byte reaches the parsers.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".img.gz"))
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

func TestSamples(t *testing.T) {
	for _, name := range []string{"ext2", "ext4", "inline"} {
		f, err := openBytes(sample(t, name))
		if err != nil {
			t.Fatal(name, err)
		}
		n := 0
		if err := walk(f, func(string, seen) { n++ }); err != nil || n != 74 {
			t.Errorf("%s: %d files, %v", name, n, err)
		}
		file, err := f.Lookup("dir", "again")
		if err != nil || file.Size != 29 || file.Links != 2 {
			t.Errorf("%s: %+v, %v", name, file, err)
		}
		if _, err := f.Lookup("dir", "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Lookup("fstab", "x"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: a file as a directory: %v", name, err)
		}
		if f.Used() <= 0 || f.Used() > f.Size() || f.Size() != 256<<10 {
			t.Errorf("%s: used %d of %d", name, f.Used(), f.Size())
		}
	}
}

func TestRefuses(t *testing.T) {
	put32 := func(o int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[superOffset+o:], v); return b }
	}
	for name, tt := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"empty":               {func([]byte) []byte { return nil }, ErrNotExt4},
		"not one":             {func(b []byte) []byte { return make([]byte, len(b)) }, ErrNotExt4},
		"truncated":           {func(b []byte) []byte { return b[:200<<10] }, ErrCorrupt},
		"dirty journal":       {put32(0x60, 0x46), ErrDirty},
		"unknown feature":     {put32(0x60, 0x80000042), ErrUnsupported},
		"compression":         {put32(0x60, 0x43), ErrUnsupported},
		"block size":          {put32(0x18, 40), ErrCorrupt},
		"no blocks per group": {put32(0x20, 0), ErrCorrupt},
		"no inodes per group": {put32(0x28, 0), ErrCorrupt},
		"too many inodes":     {put32(0x0, 1<<31), ErrCorrupt},
		"first data block":    {put32(0x14, 7), ErrCorrupt},
		"inode size":          {put32(0x58, 100), ErrCorrupt},
		"more than its file":  {put32(0x4, 1<<31), ErrCorrupt},
		"no checksum":         {put32(0x64, 0x400), ErrCorrupt},
	} {
		if f, err := openBytes(tt.change(sample(t, "ext4"))); !errors.Is(err, tt.want) || f != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// inodeAt finds an inode's bytes in an image.
func inodeAt(t *testing.T, img []byte, path ...string) []byte {
	t.Helper()
	f, err := openBytes(img)
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Lookup(path...)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(img, file.raw)
	if at < 0 {
		t.Fatal("no inode")
	}
	return img[at : at+len(file.raw)]
}

// TestHostileInodes changes an inode so that a careless reader would run for
// ever, out of memory or out of the file.
func TestHostileInodes(t *testing.T) {
	for name, tt := range map[string]struct {
		image  string
		path   []string
		change func(inode, img []byte)
	}{
		"extent outside":              {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { binary.LittleEndian.PutUint32(i[0x28+12+8:], 1<<30) }},
		"extent over the end":         {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { binary.LittleEndian.PutUint16(i[0x28+12+4:], 32767) }},
		"extent of nothing":           {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { binary.LittleEndian.PutUint16(i[0x28+12+4:], 0) }},
		"extent tree is none":         {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { i[0x28] = 0 }},
		"extent tree with many":       {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { i[0x28+2], i[0x28+4] = 200, 200 }},
		"extent tree too deep":        {"ext4", []string{"dir", "sub", "data"}, func(i, _ []byte) { i[0x28+6] = 200 }},
		"extent tree loops":           {"ext4", []string{"dir", "sub", "data"}, loopExtents},
		"directory with a huge size":  {"ext4", []string{"dir"}, func(i, _ []byte) { binary.LittleEndian.PutUint32(i[4:], 1<<31) }},
		"directory of half a block":   {"ext4", []string{"dir"}, func(i, _ []byte) { binary.LittleEndian.PutUint32(i[4:], 1000) }},
		"directory with a hole":       {"ext2", []string{"dir"}, func(i, _ []byte) { binary.LittleEndian.PutUint32(i[0x28:], 0) }},
		"directory holds itself":      {"ext4", []string{"dir"}, func(i, img []byte) { copy(i, inodeOf(img, rootInode)) }},
		"map points outside":          {"ext2", []string{"sparse"}, func(i, _ []byte) { binary.LittleEndian.PutUint32(i[0x28+48:], 1<<31) }},
		"link is empty":               {"ext4", []string{"short"}, func(i, _ []byte) { i[4] = 0 }},
		"link is too long":            {"ext4", []string{"long"}, func(i, _ []byte) { i[5] = 0xFF }},
		"type is unknown":             {"ext4", []string{"fstab"}, func(i, _ []byte) { i[1] = 0xF0 }},
		"size is negative":            {"ext4", []string{"fstab"}, func(i, _ []byte) { i[0x6F] = 0x80 }},
		"encrypted":                   {"ext4", []string{"fstab"}, func(i, _ []byte) { i[0x21] |= 8 }},
		"extra size":                  {"ext4", []string{"fstab"}, func(i, _ []byte) { i[0x81] = 1 }},
		"inline data is not enough":   {"inline", []string{"cap"}, func(i, _ []byte) { i[5] = 1 }},
		"inline data without feature": {"ext4", []string{"fstab"}, func(i, _ []byte) { i[0x23] = 0x10 }},
		"attributes are outside":      {"ext4", []string{"fstab"}, func(i, _ []byte) { i[0x6B] = 0xFF }},
		"attribute's value outside": {"ext4", []string{"fstab"}, func(i, _ []byte) {
			i[128+int(i[0x80])+4+2], i[128+int(i[0x80])+4+3] = 0xFF, 0xFF
		}},
	} {
		t.Run(name, func(t *testing.T) {
			img := sample(t, tt.image)
			tt.change(inodeAt(t, img, tt.path...), img)
			f, err := openBytes(img)
			if err != nil {
				t.Fatal(err)
			}
			err = walk(f, nil)
			if err == nil {
				t.Error("read all the same")
			}
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && err.Error() != "too much" {
				t.Errorf("%v", err)
			}
		})
	}
}

// inodeOf returns an inode of the first group.
func inodeOf(img []byte, n int) []byte {
	f, _ := openBytes(img)
	file, _ := f.File(Inode(n))
	return file.raw
}

// loopExtents makes an index node whose children are index nodes and so on,
// each a block that holds as many pointers as fit, all to one block.
func loopExtents(inode, img []byte) {
	const at = 250
	node := func(b []byte, depth uint16) {
		binary.LittleEndian.PutUint16(b, 0xF30A)
		n := uint16(min((len(b)-12)/12, 80))
		binary.LittleEndian.PutUint16(b[2:], n)
		binary.LittleEndian.PutUint16(b[4:], n)
		binary.LittleEndian.PutUint16(b[6:], depth)
		for i := range int(n) {
			e := b[12+12*i:]
			binary.LittleEndian.PutUint32(e[4:], uint32(at+5-int(depth)))
			binary.LittleEndian.PutUint16(e[8:], 0)
		}
	}
	node(inode[0x28:0x28+60], 5)
	for d := range 5 {
		b := img[(at+4-d)*1024 : (at+5-d)*1024]
		clear(b)
		node(b, uint16(d))
	}
	b := img[(at+4)*1024 : (at+5)*1024] // leaves without extents
	clear(b[2:4])
	clear(b[6:8])
}

func TestDetectsDamage(t *testing.T) {
	needTool(t, "mke2fs")
	img := filepath.Join(t.TempDir(), "img")
	top := t.TempDir()
	for i := range 400 {
		if err := os.WriteFile(filepath.Join(top, fmt.Sprintf("a-file-with-a-name-%d", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-O", "metadata_csum", "-d", top, img, "4M")
	whole, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]func() int{
		"superblock": func() int { return superOffset + 0x78 },
		"descriptor": func() int { return 2048 + 0x12 },
		"inode":      func() int { return bytes.Index(whole, inodeOf(whole, rootInode)) + 2 },
		"directory":  func() int { return bytes.Index(whole, []byte("a-file-with-a-name-300")) + 3 },
	} {
		b := slices.Clone(whole)
		b[at()] ^= 1
		f, err := openBytes(b)
		if err == nil {
			err = walk(f, nil)
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead changes bytes of small images: each four octets of patch are an
// offset of three octets, and a value.
func FuzzRead(f *testing.F) {
	images := [][]byte{sample(f, "ext2"), sample(f, "ext4"), sample(f, "inline")}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{0x00, 0x04, 0x18, 7})
	f.Add(uint8(1), []byte{0, 8, 8, 1, 0, 0x20, 0x28, 0})
	f.Add(uint8(2), []byte{0, 0x10, 0x80, 0x40})
	f.Fuzz(func(_ *testing.T, which uint8, patch []byte) {
		img := slices.Clone(images[int(which)%len(images)])
		for ; len(patch) >= 4; patch = patch[4:] {
			at := int(patch[0])<<16 | int(patch[1])<<8 | int(patch[2])
			img[at%len(img)] = patch[3]
		}
		fsys, err := openBytes(img)
		if err != nil {
			return
		}
		_ = walk(fsys, nil)
	})
}

func BenchmarkWalk(b *testing.B) {
	img := sample(b, "ext4")
	for b.Loop() {
		f, err := openBytes(img)
		if err != nil {
			b.Fatal(err)
		}
		if err := walk(f, nil); err != nil {
			b.Fatal(err)
		}
	}
}
