package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"picloud/netboot/rootfs/image/ext4"
	"picloud/netboot/rootfs/image/ptable"
)

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
			t.Skipf("%v: install e2fsprogs, dosfstools, mtools, tar, xz-utils and zstd", err)
		}
	}
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// elf is the header of an arm64 program.
func elf() []byte {
	b := make([]byte, 64)
	copy(b, "\x7FELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[18:], 183)
	return b
}

const bookworm = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
`

const fstab = "proc /proc proc defaults 0 0\nPARTUUID=1-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults,noatime 0 1\n"

// plant makes a small root with one of everything. Without root it leaves out
// what only root can make.
func plant(t testing.TB) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "root")
	write := func(name string, b []byte, mode fs.FileMode) {
		t.Helper()
		p := filepath.Join(top, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, b, 0o600))
		must(t, os.Chmod(p, mode))
	}
	write("usr/bin/dash", elf(), 0o755)
	write("usr/bin/passwd", bytes.Repeat([]byte("p"), 70_000), 0o755|fs.ModeSetuid)
	write("usr/bin/ping", []byte("ping"), 0o755)
	write("usr/lib/os-release", []byte(bookworm), 0o644)
	write("etc/fstab", []byte(fstab), 0o644)
	write("etc/hostname", []byte("raspberrypi\n"), 0o644)
	write("var/lib/empty", nil, 0o600)
	must(t, os.MkdirAll(filepath.Join(top, "boot/firmware"), 0o755))
	must(t, os.MkdirAll(filepath.Join(top, "tmp"), 0o755))
	must(t, os.Chmod(filepath.Join(top, "tmp"), 0o777|fs.ModeSticky))
	must(t, os.Symlink("usr/bin", filepath.Join(top, "bin")))
	must(t, os.Symlink("dash", filepath.Join(top, "usr/bin/sh")))
	must(t, os.Symlink("../usr/lib/os-release", filepath.Join(top, "etc/os-release")))
	must(t, os.Symlink("/nowhere/"+strings.Repeat("x", 90), filepath.Join(top, "usr/absolute")))
	must(t, os.Link(filepath.Join(top, "etc/hostname"), filepath.Join(top, "etc/again")))
	must(t, unix.Mkfifo(filepath.Join(top, "var/pipe"), 0o620))
	sparse, err := os.Create(filepath.Join(top, "var/sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("middle"), 1<<20)
	must(t, err)
	must(t, sparse.Truncate(3<<20))
	must(t, sparse.Close())
	must(t, unix.Setxattr(filepath.Join(top, "etc/fstab"), "user.note", []byte("v"), 0))
	if os.Getuid() == 0 {
		must(t, os.MkdirAll(filepath.Join(top, "dev"), 0o755))
		must(t, unix.Mknod(filepath.Join(top, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Chmod(filepath.Join(top, "dev/null"), 0o666))
		must(t, unix.Mknod(filepath.Join(top, "dev/disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 300))))
		must(t, os.Lchown(filepath.Join(top, "usr/bin/sh"), 7, 8))
		must(t, os.Chown(filepath.Join(top, "var/lib/empty"), 1000, 70_000))
		must(t, unix.Setxattr(filepath.Join(top, "usr/bin/ping"), "security.capability",
			[]byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	}
	old := time.Date(2011, 12, 13, 14, 15, 16, 0, time.UTC)
	must(t, os.Chtimes(filepath.Join(top, "etc/hostname"), old.Add(time.Hour), old))
	must(t, os.Chtimes(filepath.Join(top, "usr"), old, old))
	return top
}

// seen is what the tests compare of a file.
type seen struct {
	Mode     fs.FileMode
	UID, GID uint32
	Dev      uint64
	Mtime    int64
	Content  string
	Xattrs   string
	Links    string
}

func host(t testing.TB, top string) map[string]seen {
	t.Helper()
	got := map[string]seen{}
	must(t, filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		s := seen{Mode: info.Mode(), UID: st.Uid, GID: st.Gid, Mtime: info.ModTime().Unix()}
		if info.Mode()&fs.ModeDevice != 0 {
			s.Dev = st.Rdev
		}
		b := make([]byte, 4096)
		n, _ := unix.Llistxattr(p, b)
		s.Xattrs = string(b[:max(n, 0)])
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			s.Content, s.Links = fmt.Sprintf("%d %x", len(b), sum[:4]), fmt.Sprint(st.Nlink)
		case fs.ModeSymlink:
			s.Content, err = os.Readlink(p)
		}
		rel, _ := filepath.Rel(top, p)
		got[rel] = s
		return err
	}))
	return got
}

// same compares a folder with an image of it.
func same(t *testing.T, want, got map[string]seen, but ...string) {
	t.Helper()
	for _, m := range []map[string]seen{want, got} {
		for _, p := range append(but, ".", "etc", stampName, "boot", "boot/firmware", "lost+found") {
			s := m[p] // their times differ
			s.Mtime = 0
			if delete(m, p); s.Mode.IsDir() && p != "." && p != "lost+found" {
				m[p] = s
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-folder +image)\n%.3000s", diff)
	}
}

// tarball packs a folder by GNU tar.
func tarball(t testing.TB, top string) []byte {
	t.Helper()
	needTool(t, "tar")
	name := filepath.Join(t.TempDir(), "x.tar")
	command(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", top, "-cf", name, ".")
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}

func file(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "source")
	must(t, os.WriteFile(name, b, 0o644))
	return name
}

// bootFiles makes a folder with boot files.
func bootFiles(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.txt": "auto_initramfs=1\n", "kernel8.img": strings.Repeat("k", 100_000),
		"bcm2712d0-rpi-5-b.dtb": "dtb", "overlays/disable-wifi.dtbo": "overlay", "cmdline.txt": "root=PARTUUID=1-02",
	} {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(text), 0o644))
	}
	return dir
}

// diskImage makes what Raspberry Pi OS comes as: a FAT and an ext4 partition.
func diskImage(t testing.TB, top, boot string, gpt bool) []byte {
	t.Helper()
	needTool(t, "mke2fs", "mkfs.vfat", "mcopy", "sfdisk")
	dir := t.TempDir()
	img, fatImg, ext := filepath.Join(dir, "img"), filepath.Join(dir, "fat"), filepath.Join(dir, "ext")
	command(t, "truncate", "-s", "1500K", fatImg)
	command(t, "mkfs.vfat", "-n", "bootfs", fatImg)
	names, err := filepath.Glob(filepath.Join(boot, "*"))
	must(t, err)
	command(t, "mcopy", append([]string{"-s", "-m", "-i", fatImg}, append(names, "::")...)...)
	command(t, "mke2fs", "-q", "-t", "ext4", "-O", "64bit,metadata_csum", "-d", top, ext, "4M")
	must(t, os.WriteFile(img, nil, 0o644))
	must(t, os.Truncate(img, 8<<20))
	label := "dos"
	if gpt {
		label = "gpt"
	}
	c := exec.CommandContext(t.Context(), "sfdisk", "-q", img)
	c.Stdin = strings.NewReader("label: " + label + "\nstart=2048, size=3072\nstart=6144, size=8192\n")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(img)
	must(t, err)
	for at, part := range map[int]string{2048 * 512: fatImg, 6144 * 512: ext} {
		p, err := os.ReadFile(part)
		must(t, err)
		copy(b[at:], p)
	}
	return b
}

var packers = map[string]func(t testing.TB, b []byte) []byte{
	"plain": func(_ testing.TB, b []byte) []byte { return b },
	"gz": func(t testing.TB, b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := w.Write(b)
		must(t, err)
		must(t, w.Close())
		return out.Bytes()
	},
	"xz": func(t testing.TB, b []byte) []byte {
		var out bytes.Buffer
		w, err := xz.NewWriter(&out)
		must(t, err)
		_, err = w.Write(b)
		must(t, err)
		must(t, w.Close())
		return out.Bytes()
	},
	"zst": func(t testing.TB, b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		must(t, err)
		return w.EncodeAll(b, nil)
	},
}

// progress checks that it only grows, and ends at the total.
func progress(t *testing.T) (report func(int64, int64), check func()) {
	var last, total int64
	calls := 0
	return func(done, of int64) {
			calls++
			if done < last || done > of || total != 0 && of != total {
				t.Errorf("progress %d of %d after %d of %d", done, of, last, total)
			}
			last, total = done, of
		}, func() {
			t.Helper()
			if calls < 3 || calls > 1100 || last != total {
				t.Errorf("%d calls, the last %d of %d", calls, last, total)
			}
		}
}

func TestAddTarball(t *testing.T) {
	needRoot(t)
	top := plant(t)
	plain := tarball(t, top)
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := pack(t, plain)
			sum := sha256.Sum256(b)
			dir := filepath.Join(t.TempDir(), "images")
			report, check := progress(t)
			info, err := Add(t.Context(), Options{
				Name: "debian-12", Dir: dir, Source: file(t, b), SHA256: strings.ToUpper(hex.EncodeToString(sum[:])),
				Progress: report, Now: func() time.Time { return time.Unix(1e9, 0) },
			})
			must(t, err)
			check()
			want := Info{
				Name: "debian-12", Path: filepath.Join(dir, "debian-12"), Source: "source", SHA256: hex.EncodeToString(sum[:]),
				Added: time.Unix(1e9, 0).UTC(), Files: info.Files, Bytes: info.Bytes, Arch: "arm64",
				Release: Release{"debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)"},
			}
			if diff := cmp.Diff(want, info); diff != "" || info.Files < 20 || info.Bytes < 3<<20 {
				t.Errorf("%s", diff)
			}
			same(t, host(t, top), host(t, info.Path))
			wantDetails(t, info.Path)
			only(t, dir, "debian-12")
			again, err := Show(dir, "debian-12")
			if diff := cmp.Diff(info, again); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// wantDetails checks what the comparison of two trees cannot.
func wantDetails(t *testing.T, top string) {
	t.Helper()
	var a, b, sparse unix.Stat_t
	must(t, unix.Stat(filepath.Join(top, "etc/hostname"), &a))
	must(t, unix.Stat(filepath.Join(top, "etc/again"), &b))
	if a.Ino != b.Ino || a.Nlink != 2 {
		t.Error("not a hard link")
	}
	must(t, unix.Stat(filepath.Join(top, "var/sparse"), &sparse))
	if sparse.Blocks*512 > 1<<20 {
		t.Errorf("a sparse file takes %d bytes", sparse.Blocks*512)
	}
	v := make([]byte, 64)
	n, err := unix.Getxattr(filepath.Join(top, "usr/bin/ping"), "security.capability", v)
	if err != nil || n != 20 {
		t.Errorf("capability: %d, %v", n, err)
	}
}

func only(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("in the folder: %q, want %q", got, want)
	}
}

func TestAddBootTarball(t *testing.T) {
	needRoot(t)
	boot := bootFiles(t)
	root := file(t, packers["gz"](t, tarball(t, plant(t))))
	b := packers["xz"](t, tarball(t, boot))
	sum := sha256.Sum256(b)
	dir := t.TempDir()
	info, err := Add(t.Context(), Options{
		Name: "x", Dir: dir, Source: root, Boot: file(t, b), BootSHA256: hex.EncodeToString(sum[:]),
	})
	must(t, err)
	if info.Boot != "boot/firmware" {
		t.Errorf("%+v", info)
	}
	if b, err := os.ReadFile(filepath.Join(info.Path, "boot/firmware/overlays/disable-wifi.dtbo")); string(b) != "overlay" {
		t.Error(err)
	}
	_, err = Add(t.Context(), Options{Name: "y", Dir: dir, Source: root, Boot: root, BootSHA256: hex.EncodeToString(sum[:])})
	if !errors.Is(err, ErrDigest) {
		t.Errorf("%v", err)
	}
	only(t, dir, "x")
}

func TestAddDisk(t *testing.T) {
	needRoot(t)
	top, boot := plant(t), bootFiles(t)
	for _, gpt := range []bool{false, true} {
		img := diskImage(t, top, boot, gpt)
		for name, pack := range packers {
			if gpt && name != "plain" {
				continue
			}
			t.Run(fmt.Sprint("gpt ", gpt, " ", name), func(t *testing.T) {
				dir := t.TempDir()
				report, check := progress(t)
				info, err := Add(t.Context(), Options{Name: "pios", Dir: dir, Source: file(t, pack(t, img)), Progress: report})
				must(t, err)
				check()
				if info.Boot != "boot/firmware" || info.Arch != "arm64" || info.Lost != nil {
					t.Errorf("%+v", info)
				}
				got := host(t, info.Path)
				for p := range got {
					if strings.HasPrefix(p, "boot/firmware/") {
						delete(got, p)
					}
				}
				same(t, host(t, top), got)
				wantDetails(t, info.Path)
				b, err := os.ReadFile(filepath.Join(info.Path, "boot/firmware/kernel8.img"))
				if err != nil || len(b) != 100_000 {
					t.Errorf("kernel of %d bytes, %v", len(b), err)
				}
				only(t, dir, "pios")
			})
		}
	}
}

// TestSpool: where an image is a file system of its own, it need not have room
// for the unpacked disk, too.
func TestSpool(t *testing.T) {
	needRoot(t)
	top := plant(t)
	random := make([]byte, 2<<20)
	_, _ = rand.Read(random)
	must(t, os.WriteFile(filepath.Join(top, "var/random"), random, 0o644))
	src := file(t, packers["gz"](t, diskImage(t, top, bootFiles(t), false)))
	dir, spool := t.TempDir(), t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3500k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("unpacked beside its files: %v", err)
	}
	only(t, dir)
	seen := 0
	_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src, Spool: spool, Progress: func(int64, int64) {
		seen++
		only(t, spool)
	}})
	must(t, err)
	only(t, dir, "x")
	if seen < 3 {
		t.Errorf("looked %d times", seen)
	}
}

// TestBullseye: the boot partition goes where fstab mounts it.
func TestBullseye(t *testing.T) {
	needRoot(t)
	top := plant(t)
	must(t, os.RemoveAll(filepath.Join(top, "boot/firmware")))
	must(t, os.WriteFile(filepath.Join(top, "etc/fstab"), []byte(strings.ReplaceAll(fstab, "/boot/firmware", "/boot")), 0o644))
	must(t, os.WriteFile(filepath.Join(top, "boot/config.txt"), []byte("hidden by the mount"), 0o644))
	info, err := Add(t.Context(), Options{Name: "x", Dir: t.TempDir(), Source: file(t, diskImage(t, top, bootFiles(t), false))})
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(info.Path, "boot/config.txt")); string(b) != "auto_initramfs=1\n" || info.Boot != "boot" {
		t.Errorf("%q, %v, boot %q", b, err, info.Boot)
	}
}

// entry is one entry of a handmade tarball.
type entry struct {
	name, link, text string
	kind             byte
	uid, major       int
	pax              map[string]string
}

// handmade makes a tarball with a good root, and then the entries.
func handmade(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range append([]entry{
		{name: "./", kind: tar.TypeDir}, {name: "./etc/", kind: tar.TypeDir},
		{name: "./etc/passwd", text: "root:x:0:0::/root:/bin/sh\n"}, {name: "bin/sh", text: string(elf())},
	}, entries...) {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{
			Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: 0o755, Size: int64(len(e.text)), Uid: e.uid,
			Devmajor: int64(e.major), ModTime: time.Unix(1e9, 0), PAXRecords: e.pax, Format: tar.FormatPAX,
		}
		if e.kind == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: e.kind, PAXRecords: e.pax}
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(e.text))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func many(n int, kind byte) []entry {
	list := make([]entry, n)
	for i := range list {
		list[i] = entry{name: fmt.Sprint("many/", i), kind: kind, major: 1}
	}
	return list
}

// TestRefusesTarballs: nothing of a bad tarball stays, and nothing of it is
// written anywhere else.
func TestRefusesTarballs(t *testing.T) {
	small := Limits{Bytes: 1 << 20, Entries: 100, Devices: 10, Memory: 16 << 20}
	for name, tt := range map[string]struct {
		entries []entry
		want    error
	}{
		"good":                         {nil, nil},
		"dots inside a name":           {[]entry{{name: "etc/..data"}}, nil},
		"link anywhere":                {[]entry{{name: "l", link: "../../../etc/passwd", kind: tar.TypeSymlink}}, nil},
		"dotdot":                       {[]entry{{name: "../outside"}}, ErrUnsafe},
		"dotdot inside":                {[]entry{{name: "etc/../../outside"}}, ErrUnsafe},
		"absolute":                     {[]entry{{name: "/tmp/outside"}}, ErrUnsafe},
		"newline":                      {[]entry{{name: "etc/a\nb"}}, ErrUnsafe},
		"escape":                       {[]entry{{name: "etc/\x1b[2J"}}, ErrUnsafe},
		"long label":                   {[]entry{{name: "etc/" + strings.Repeat("a", 256)}}, ErrUnsafe},
		"long path":                    {[]entry{{name: strings.Repeat("abcdefg/", 500) + "x"}}, ErrUnsafe},
		"deep path":                    {[]entry{{name: strings.Repeat("a/", 300) + "b"}}, ErrUnsafe},
		"top is a link":                {[]entry{{name: "./", link: "/tmp", kind: tar.TypeSymlink}}, ErrUnsafe},
		"through an absolute link":     {[]entry{{name: "l", link: "/tmp", kind: tar.TypeSymlink}, {name: "l/outside"}}, ErrUnsafe},
		"through a link up":            {[]entry{{name: "l", link: "..", kind: tar.TypeSymlink}, {name: "l/outside"}}, ErrUnsafe},
		"through a link inside":        {[]entry{{name: "l", link: "etc", kind: tar.TypeSymlink}, {name: "l/passwd2"}}, ErrUnsafe},
		"directory over a link":        {[]entry{{name: "l", link: "/tmp", kind: tar.TypeSymlink}, {name: "l", kind: tar.TypeDir}}, ErrUnsafe},
		"file over a link":             {[]entry{{name: "l", link: "/tmp/outside", kind: tar.TypeSymlink}, {name: "l"}}, ErrUnsafe},
		"file over a device":           {[]entry{{name: "d", kind: tar.TypeFifo}, {name: "d", text: "x"}}, ErrUnsafe},
		"through a file":               {[]entry{{name: "etc/passwd/x"}}, ErrUnsafe},
		"twice":                        {[]entry{{name: "etc/passwd"}}, ErrUnsafe},
		"hard link out":                {[]entry{{name: "h", link: "../../etc/passwd", kind: tar.TypeLink}}, ErrUnsafe},
		"hard link to absolute":        {[]entry{{name: "h", link: "/etc/passwd", kind: tar.TypeLink}}, ErrUnsafe},
		"hard link to nothing":         {[]entry{{name: "h", link: "etc/none", kind: tar.TypeLink}}, ErrUnsafe},
		"hard link to a directory":     {[]entry{{name: "h", link: "etc", kind: tar.TypeLink}}, ErrUnsafe},
		"hard link through a link":     {[]entry{{name: "l", link: "/etc", kind: tar.TypeSymlink}, {name: "h", link: "l/passwd", kind: tar.TypeLink}}, ErrUnsafe},
		"hard link through an out":     {[]entry{{name: "l", link: "..", kind: tar.TypeSymlink}, {name: "h", link: "l/x", kind: tar.TypeLink}}, ErrUnsafe},
		"link to an empty target":      {[]entry{{name: "l", link: "a\nb", kind: tar.TypeSymlink}}, ErrUnsafe},
		"user -1":                      {[]entry{{name: "u", uid: 1<<32 - 1}}, ErrUnsafe},
		"device number":                {[]entry{{name: "d", kind: tar.TypeBlock, major: 1 << 20}}, ErrUnsafe},
		"unknown type":                 {[]entry{{name: "d", kind: 'Z'}}, ErrFormat},
		"attribute without a name":     {[]entry{{name: "d", pax: map[string]string{"SCHILY.xattr.": "x"}}}, ErrUnsafe},
		"too many files":               {many(200, tar.TypeReg), ErrLimit},
		"too many directories":         {many(200, tar.TypeDir), ErrLimit},
		"too many devices":             {many(20, tar.TypeChar), ErrLimit},
		"too many bytes":               {[]entry{{name: "a", text: strings.Repeat("x", 1<<20)}}, ErrLimit},
		"os-release is a pipe":         {[]entry{{name: "etc/os-release", kind: tar.TypeFifo}}, nil},
		"os-release is a link out":     {[]entry{{name: "etc/os-release", link: "/etc/os-release", kind: tar.TypeSymlink}}, nil},
		"our stamp is a link out":      {[]entry{{name: stampName, link: "/tmp/outside", kind: tar.TypeSymlink}}, nil},
		"our stamp is a full folder":   {[]entry{{name: stampName + "/x/y"}}, nil},
		"sh is a link to the host's":   {[]entry{{name: "usr/bin/sh", link: "/bin/sh", kind: tar.TypeSymlink}}, nil},
		"a file behind a read-only":    {[]entry{{name: "ro/", kind: tar.TypeDir}, {name: "ro/x"}}, nil},
		"global header":                {[]entry{{kind: tar.TypeXGlobalHeader, pax: map[string]string{"comment": "x"}}}, nil},
		"access list":                  {[]entry{{name: "acl", pax: map[string]string{"SCHILY.acl.access": "user::rw-"}}}, nil},
		"attribute of the file system": {[]entry{{name: "x", pax: map[string]string{"SCHILY.xattr.bogus.name": "x"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "images")
			_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: file(t, packers["gz"](t, handmade(t, tt.entries...))), Limits: small})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("%v", err)
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Op != "add" || e.Hint == "" || strings.ContainsAny(err.Error(), "\n\x1b")) {
				t.Errorf("%v", err)
			}
			if tt.want == nil {
				only(t, dir, "x")
			} else {
				only(t, dir)
			}
			if _, err := os.Lstat("/tmp/outside"); err == nil {
				t.Fatal("written outside")
			}
			only(t, filepath.Dir(dir), "images")
		})
	}
}

func TestRefusesFiles(t *testing.T) {
	good := handmade(t)
	text := bytes.Repeat([]byte("text\n"), 1000)
	bomb := packers["gz"](t, make([]byte, 5<<20))
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":                 {nil, ErrFormat},
		"text":                  {text, ErrFormat},
		"packed text":           {packers["xz"](t, text), ErrFormat},
		"zip":                   {[]byte("PK\x03\x04 and so on"), ErrFormat},
		"cut tar":               {good[:len(good)/2], ErrTruncated},
		"tar without end":       {good[:len(good)-1024], ErrTruncated},
		"cut gz":                {cut(packers["gz"](t, good)), ErrTruncated},
		"cut xz":                {cut(packers["xz"](t, good)), ErrTruncated},
		"cut zst":               {cut(packers["zst"](t, good)), ErrTruncated},
		"gz head only":          {[]byte("\x1F\x8B"), ErrTruncated},
		"xz head only":          {[]byte("\xFD7zXZ\x00"), ErrTruncated},
		"gz of garbage":         {append([]byte("\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03"), text...), ErrFormat},
		"zst of garbage":        {append([]byte("\x28\xB5\x2F\xFD"), text...), ErrFormat},
		"bomb":                  {bomb, ErrLimit},
		"xz bomb":               {packers["xz"](t, make([]byte, 5<<20)), ErrLimit},
		"zst bomb":              {packers["zst"](t, make([]byte, 5<<20)), ErrLimit},
		"xz wants 4 GiB":        {xzWithDictionary(40), ErrLimit},
		"zst wants 1 GiB":       {[]byte("\x28\xB5\x2F\xFD\x00\xA0\x01\x00\x00"), ErrLimit},
		"tar without root":      {rootless(t), ErrNotRoot},
		"disk without root":     {diskOf(t, make([]byte, 1<<20)), ErrNotRoot},
		"table outside":         {diskOf(t, nil), ErrFormat},
		"boot sector of nobody": {append(make([]byte, 510), 0x55, 0xAA), ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "images")
			_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: file(t, tt.b), Limits: Limits{Bytes: 4 << 20, Memory: 16 << 20}})
			if name == "table outside" {
				if err == nil || !strings.Contains(err.Error(), "beyond the end") {
					t.Error(err)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("%v", err)
			}
			only(t, dir)
		})
	}
}

func cut(b []byte) []byte { return b[:len(b)-20] }

func rootless(t testing.TB) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "readme", Mode: 0o644, Typeflag: tar.TypeReg}))
	must(t, w.Close())
	return b.Bytes()
}

// xzWithDictionary is the start of a file whose one block has this property.
func xzWithDictionary(code byte) []byte {
	b := []byte("\xFD7zXZ\x00\x00\x01\x69\x22\xDE\x36" + "\x02\x00\x21\x01")
	b = append(b, code, 0, 0, 0, 0, 0, 0, 0)
	return append(b, make([]byte, 64)...)
}

// diskOf makes a disk with one partition.
func diskOf(t testing.TB, part []byte) []byte {
	b := make([]byte, 512)
	b[450], b[510], b[511] = 0x83, 0x55, 0xAA
	binary.LittleEndian.PutUint32(b[454:], 1)
	binary.LittleEndian.PutUint32(b[458:], uint32(max(len(part)/512, 7)))
	return append(b, part...)
}

func TestAddErrors(t *testing.T) {
	src := file(t, handmade(t))
	dir := t.TempDir()
	for _, name := range []string{"", "A", "a/b", "..", ".x", "-x", "x-", strings.Repeat("x", 64), "a b", "a\n"} {
		if _, err := Add(t.Context(), Options{Name: name, Dir: dir, Source: src}); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src + "none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: dir}); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: pipe}); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	for sum, hint := range map[string]string{
		strings.Repeat("0", 64): "download the file again", "abc": "64 hexadecimal digits", strings.Repeat("z", 64): "64 hexadecimal digits",
	} {
		if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src, SHA256: sum}); !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), hint) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := Add(ctx, Options{Name: "x", Dir: dir, Source: src}); !errors.Is(err, why) {
		t.Error(err)
	}
	only(t, dir)
	_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src})
	must(t, err)
	if _, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	only(t, dir, "x")
}

// TestCancelAnywhere: wherever it ends, nothing stays.
func TestCancelAnywhere(t *testing.T) {
	entries := []entry{{name: "data", text: strings.Repeat("0123456789abcdef", 1<<16)}}
	src := file(t, packers["gz"](t, handmade(t, append(entries, many(50, tar.TypeReg)...)...)))
	dir := t.TempDir()
	for stop := 1; ; stop += 25 {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := Add(ctx, Options{Name: "x", Dir: dir, Source: src, Progress: func(done, total int64) {
			if calls++; calls == stop && done < total {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		only(t, dir)
	}
}

func TestListShowRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	if list, err := List(dir); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	must(t, Sweep(dir))
	src := file(t, handmade(t))
	for _, name := range []string{"b", "a"} {
		_, err := Add(t.Context(), Options{Name: name, Dir: dir, Source: src})
		must(t, err)
	}
	// One that somebody made by hand, and things that are no images.
	must(t, os.MkdirAll(filepath.Join(dir, "hand/usr/lib"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "hand/usr/lib/os-release"), []byte("ID=alpine\nVERSION_ID='3.22'\nPRETTY_NAME=\"a \\\"b\\\" \x1b[2J\u202e\"\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "No"), 0o755))
	must(t, os.Symlink("a", filepath.Join(dir, "c")))
	list, err := List(dir)
	must(t, err)
	var names []string
	for _, i := range list {
		names = append(names, i.Name+" "+i.Arch+" "+i.Release.ID+" "+i.Release.Version+" "+i.Release.Pretty)
	}
	if got := strings.Join(names, "|"); got != `a arm64   |b arm64   |hand  alpine 3.22 a "b" [2J` {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"none", "file", "c"} {
		if err := Remove(dir, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"..", ".", "No", ""} {
		if err := Remove(dir, name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Show(dir, name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Remove(dir, "a", "pi-1", "pi-2"); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "by 2: pi-1, pi-2") {
		t.Error(err)
	}
	must(t, Remove(dir, "a"))
	if _, err := Show(dir, "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	must(t, Remove(dir, "hand"))
	only(t, dir, "No", "b", "c", "file")
}

// TestSweep: what a crash left goes; what somebody is at stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".new-1/root/etc", ".gone-2/root", ".other"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	busy, err := newStage(dir, freshPrefix)
	must(t, err)
	must(t, Sweep(dir))
	only(t, dir, filepath.Base(busy.path), ".other")
	must(t, busy.remove())
	must(t, busy.remove())
	must(t, os.Mkdir(filepath.Join(dir, ".new-3"), 0o755))
	_, err = Add(t.Context(), Options{Name: "x", Dir: dir, Source: file(t, handmade(t))})
	must(t, err)
	only(t, dir, ".other", "x")
}

// TestKilled kills a process in the middle of an Add, and sweeps after it.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("IMAGE_TEST_KILLED"); dir != "" {
		_, _ = Add(t.Context(), Options{Name: "x", Dir: dir, Source: os.Getenv("IMAGE_TEST_SOURCE"), Progress: func(done, total int64) {
			if done > total/2 {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			}
		}})
		return
	}
	dir := t.TempDir()
	src := file(t, handmade(t, many(500, tar.TypeReg)...))
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestKilled$")
	c.Env = append(os.Environ(), "IMAGE_TEST_KILLED="+dir, "IMAGE_TEST_SOURCE="+src)
	if err := c.Run(); err == nil {
		t.Fatal("it was not killed")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*/root/etc/passwd"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left %v, %v", left, err)
	}
	if list, err := List(dir); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	_, err = Add(t.Context(), Options{Name: "x", Dir: dir, Source: src})
	must(t, err)
	only(t, dir, "x")
}

// TestUnprivileged: an ordinary user gets an image, and is told what it lacks.
func TestUnprivileged(t *testing.T) {
	const nobody = 65534
	if dir := os.Getenv("IMAGE_TEST_NOBODY"); dir != "" {
		info, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: filepath.Join(filepath.Dir(dir), "source")})
		must(t, err)
		for _, l := range info.Lost {
			fmt.Println("LOST", l.What, l.Count, l.Example)
		}
		return
	}
	needRoot(t)
	base, err := os.MkdirTemp("", "picloud-image")
	must(t, err)
	defer os.RemoveAll(base)
	must(t, os.Chmod(base, 0o755))
	exe, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(base, "test"), exe, 0o755))
	must(t, os.Chmod(filepath.Join(base, "test"), 0o755))
	must(t, os.WriteFile(filepath.Join(base, "source"), tarball(t, plant(t)), 0o644))
	must(t, os.Chmod(filepath.Join(base, "source"), 0o644))
	dir := filepath.Join(base, "images")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(dir, nobody, nobody))
	c := exec.CommandContext(t.Context(), filepath.Join(base, "test"), "-test.run", "^TestUnprivileged$")
	c.Dir, c.Env = base, append(os.Environ(), "IMAGE_TEST_NOBODY="+dir, "TMPDIR="+base)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"LOST capability 1 usr/bin/ping\n", "LOST device 2 dev/", "LOST owner "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "x/usr/bin/passwd")); err != nil || info.Mode() != 0o755|fs.ModeSetuid {
		t.Errorf("%v, %v", info, err)
	}
}

// TestSourceChanges: a file that is written to while it is read is not what was
// hashed.
func TestSourceChanges(t *testing.T) {
	src := file(t, handmade(t, many(50, tar.TypeReg)...))
	dir := t.TempDir()
	once := false
	_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: src, Progress: func(done, total int64) {
		if done > total/2 && !once {
			once = true
			must(t, os.Chtimes(src, time.Unix(1, 0), time.Unix(1, 0)))
		}
	}})
	if !errors.Is(err, ErrDigest) {
		t.Errorf("%v", err)
	}
	only(t, dir)
}

func TestArchitecture(t *testing.T) {
	arm := func(flags uint32) []byte {
		b := elf()
		b[4] = 1
		binary.LittleEndian.PutUint16(b[18:], 40)
		binary.LittleEndian.PutUint32(b[36:], flags)
		return b
	}
	amd64 := elf()
	amd64[18] = 62
	for want, b := range map[string][]byte{
		"arm64": elf(), "armhf": arm(0x5000400), "armel": arm(0x5000200), "amd64": amd64, "": []byte("#!/bin/sh"),
	} {
		if got := elfArch(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestScanXZ(t *testing.T) {
	random := make([]byte, 300_000)
	x := uint32(1)
	for i := range random {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	plain := append(bytes.Repeat([]byte("text"), 50_000), random...)
	one := packers["xz"](t, plain)
	got, err := scanXZ(t.Context(), bytes.NewReader(one), int64(len(one)))
	if err != nil || got.unpacked != int64(len(plain)) || got.dictionary != 8<<20 {
		t.Errorf("%+v, %v", got, err)
	}
	two := append(append(bytes.Clone(one), 0, 0, 0, 0), one...)
	if got, err := scanXZ(t.Context(), bytes.NewReader(two), int64(len(two))); err != nil || got.unpacked != 2*int64(len(plain)) {
		t.Errorf("%+v, %v", got, err)
	}
	needTool(t, "xz")
	for _, args := range [][]string{{"-9e"}, {"-T2", "--block-size=65536"}, {"--check=sha256", "-0"}, {"--check=none"}} {
		name := file(t, plain)
		command(t, "xz", append(args, name)...)
		b, err := os.ReadFile(name + ".xz")
		must(t, err)
		if got, err := scanXZ(t.Context(), bytes.NewReader(b), int64(len(b))); err != nil || got.unpacked != int64(len(plain)) {
			t.Errorf("%v: %+v, %v", args, got, err)
		}
	}
	name := file(t, plain)
	command(t, "xz", "--x86", "--lzma2", name)
	b, err := os.ReadFile(name + ".xz")
	must(t, err)
	if _, err := scanXZ(t.Context(), bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) {
		t.Errorf("another filter: %v", err)
	}
}

func FuzzScanXZ(f *testing.F) {
	f.Add(packers["xz"](f, []byte("some text")))
	f.Add(xzWithDictionary(40))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := scanXZ(t.Context(), bytes.NewReader(b), int64(len(b)))
		if err == nil && (got.unpacked < 0 || got.unpacked > int64(len(b))<<21) {
			t.Fatalf("%+v", got)
		}
	})
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"./etc/passwd", "/abs", "a/../b", "a//b/.", "a\x00b", "..", ".", "", "a/b\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := cleanPath(s)
		if err != nil {
			return
		}
		if !filepath.IsLocal(p) || filepath.Clean(p) != p || strings.ContainsAny(p, "\x00\n") {
			t.Fatalf("%q becomes %q", s, p)
		}
		if again, err := cleanPath(p); err != nil || again != p {
			t.Fatalf("%q becomes %q", p, again)
		}
	})
}

// FuzzTar unpacks hostile tarballs into a folder; whatever they hold, what is
// beside the folder stays as it is.
func FuzzTar(f *testing.F) {
	f.Add(handmade(f, entry{name: "l", link: "..", kind: tar.TypeSymlink}, entry{name: "l/outside", text: "x"}))
	f.Add(handmade(f, entry{name: "h", link: "etc/passwd", kind: tar.TypeLink}, entry{name: "p", kind: tar.TypeFifo}))
	f.Fuzz(func(t *testing.T, b []byte) {
		base, err := os.MkdirTemp("", "fuzztar")
		must(t, err)
		defer os.RemoveAll(base)
		must(t, os.Mkdir(filepath.Join(base, "top"), 0o755))
		tr, err := newTree(t.Context(), filepath.Join(base, "top"), Limits{Bytes: 1 << 20, Entries: 50, Devices: 1, Memory: 1 << 20})
		must(t, err)
		defer tr.close()
		if extractTar(tr, bytes.NewReader(b), "") == nil {
			_ = tr.finish()
		}
		only(t, base, "top")
	})
}

func BenchmarkAdd(b *testing.B) {
	top := plant(b)
	for i := range 2000 {
		must(b, os.WriteFile(filepath.Join(top, fmt.Sprint("var/file-", i)), bytes.Repeat([]byte{byte(i)}, 2000), 0o644))
	}
	plain := tarball(b, top)
	for name, pack := range packers {
		b.Run(name, func(b *testing.B) {
			src, dir := file(b, pack(b, plain)), b.TempDir()
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				_, err := Add(b.Context(), Options{Name: "x", Dir: dir, Source: src})
				must(b, err)
				must(b, Remove(dir, "x"))
			}
		})
	}
}

// TestRefusesDisks: a whole disk image, and what can be wrong with one.
func TestRefusesDisks(t *testing.T) {
	needRoot(t)
	top := plant(t)
	good := diskImage(t, top, bootFiles(t), false)
	const root = 6144 * 512 // where the ext4 partition begins
	changed := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	evil := func(name string) []byte {
		must(t, os.WriteFile(filepath.Join(top, name), nil, 0o644))
		defer os.Remove(filepath.Join(top, name))
		return diskImage(t, top, bootFiles(t), false)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want error
		lim  Limits
	}{
		"cut off":                {good[:len(good)/2], ptable.ErrOutside, Limits{}},
		"partition moved out":    {changed(446+16+8, 0xFF, 0xFF, 0xFF, 0x7F), ptable.ErrOutside, Limits{}},
		"partition over another": {changed(446+16+8, 0, 9, 0, 0), ptable.ErrCorrupt, Limits{}},
		"damaged superblock":     {changed(root+1024+0x78, 'x'), ext4.ErrCorrupt, Limits{}},
		"no root":                {changed(root+1024+0x38, 0, 0), ErrNotRoot, Limits{}},
		"name with a newline":    {evil("a\nb"), ErrUnsafe, Limits{}},
		"name with an escape":    {evil("a\x1b[2J"), ErrUnsafe, Limits{}},
		"too many files":         {good, ErrLimit, Limits{Entries: 10}},
		"too many bytes":         {good, ErrLimit, Limits{Bytes: 1 << 20}},
		"too many devices":       {good, ErrLimit, Limits{Devices: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "images")
			_, err := Add(t.Context(), Options{Name: "x", Dir: dir, Source: file(t, tt.b), Limits: tt.lim})
			var e *Error
			if !errors.Is(err, tt.want) || !errors.As(err, &e) || e.Hint == "" || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%v", err)
			}
			only(t, dir)
		})
	}
}
