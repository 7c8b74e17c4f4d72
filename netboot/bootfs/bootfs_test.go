package bootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/netboot/bootfs/order"
)

// hostile makes a root as its user might leave it, and an image. Beside them is a
// file that must never be read.
func hostile(t testing.TB) (root, image string) {
	t.Helper()
	dir := t.TempDir()
	root, image = filepath.Join(dir, "root"), filepath.Join(dir, "image")
	boot := filepath.Join(root, "boot/firmware")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "secret"), "secret")
	write(filepath.Join(root, "etc/shadow"), "secret")
	write(filepath.Join(boot, "kernel8.img"), "kernel of the root")
	write(filepath.Join(boot, "config.txt"), "os_prefix=/evil/")
	write(filepath.Join(boot, "cmdline.txt"), "init=/evil")
	write(filepath.Join(boot, "overlays/overlay_map.dtb"), "map of the root")
	write(filepath.Join(boot, "vmlinuz"), "linked kernel")
	for _, n := range []string{"pieeprom.upd", "pieeprom.sig", "PIEEPROM.UPD", "recovery.bin", "recovery.elf",
		"recover4.elf", "vl805.bin", "vl805.sig", "boot.sig", "autoboot.txt", "tryboot.txt", "overlays/pieeprom.sig"} {
		write(filepath.Join(boot, n), "never served by this name")
	}
	write(filepath.Join(root, "boot/old.dtb"), "file of an old root")
	write(filepath.Join(image, "kernel8.img"), "kernel of the image")
	write(filepath.Join(image, "start4.elf"), "firmware of the image")
	write(filepath.Join(image, "bootcode.bin"), "bootcode of the image")
	write(filepath.Join(image, "pieeprom.upd"), "secret")

	for name, target := range map[string]string{
		"absolute.img":      filepath.Join(dir, "secret"),
		"absolute-own.img":  filepath.Join(boot, "kernel8.img"),
		"out.img":           "../../../secret",
		"in-root.img":       "../../etc/shadow",
		"circle.img":        "circle.img",
		"dangling.img":      "nothing",
		"good.img":          "vmlinuz",
		"overlays/good.img": "../vmlinuz",
		"overlays/again":    "good.img",
		"evil":              "../..",
		"abs":               "/etc",
		"proc":              "/proc/self/fd",
		"inner":             "overlays",
		"kernel_2712.img":   "/etc/passwd",
	} {
		must(os.Symlink(target, filepath.Join(boot, name)))
	}
	must(unix.Mkfifo(filepath.Join(boot, "fifo.img"), 0o644))
	l, err := net.Listen("unix", filepath.Join(boot, "socket.img"))
	must(err)
	t.Cleanup(func() { l.Close() })
	if os.Geteuid() == 0 { // As a Pi with an NFS root without root_squash can.
		must(unix.Mknod(filepath.Join(boot, "device.img"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))))
	}
	must(os.WriteFile(filepath.Join(boot, "huge.img"), nil, 0o644))
	must(os.Truncate(filepath.Join(boot, "huge.img"), 1<<40))
	must(os.Truncate(filepath.Join(boot, "vmlinuz"), int64(len("linked kernel"))))
	return root, image
}

func testSpec(root, image string) Spec {
	return Spec{
		Family: order.Pi4B,
		Serial: "b66c4c16",
		MAC:    net.HardwareAddr{0xdc, 0xa6, 0x32, 0x01, 0x36, 0xc2},
		Root:   root,
		Image:  image,
		Cmdline: Cmdline{
			Server:     netip.MustParseAddr("10.64.0.1"),
			Client:     netip.MustParsePrefix("10.64.0.2/30"),
			Hostname:   "p01",
			ExportPath: "/srv/pi/p01",
		},
	}
}

func newFolder(t testing.TB, s Spec) *Folder {
	t.Helper()
	f, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(f *Folder, name string) (string, Source, error) {
	file, err := f.Open(name)
	if err != nil {
		return "", "", err
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err == nil && int64(len(b)) != file.Size() {
		err = errors.New("wrong size")
	}
	return string(b), file.Source(), err
}

// content is a file that is made elsewhere.
type content struct {
	*strings.Reader
	closed *int
}

func (c content) Size() int64  { return c.Reader.Size() }
func (c content) Close() error { *c.closed++; return nil }

// What is made elsewhere comes before the root's and the image's own, anew each
// time, with the Pi's prefix and without.
func TestFiles(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"initramfs-rescue": "the root's", "start4.elf": "start"} {
		if err := os.MkdirAll(filepath.Join(root, "boot"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "boot", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opened, closed := 0, 0
	away := errors.New("the base is away")
	s := testSpec(root, "")
	s.Files = map[string]func() (Content, error){
		"initramfs-rescue": func() (Content, error) {
			opened++
			return content{strings.NewReader(fmt.Sprint("made ", opened)), &closed}, nil
		},
		"initramfs8": func() (Content, error) { return nil, away },
	}
	f := newFolder(t, s)
	for i, name := range []string{"b66c4c16/initramfs-rescue", "initramfs-rescue"} {
		if got, source, err := read(f, name); got != fmt.Sprint("made ", i+1) || source != Generated || err != nil {
			t.Errorf("%s: %q of %s, %v", name, got, source, err)
		}
	}
	if closed != 2 {
		t.Errorf("%d of 2 were closed", closed)
	}
	if got, source, err := read(f, "start4.elf"); got != "start" || source != FromRoot || err != nil {
		t.Errorf("start4.elf: %q of %s, %v", got, source, err)
	}
	if _, _, err := read(f, "initramfs8"); !errors.Is(err, away) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("initramfs8: %v", err)
	}
	for _, name := range []string{"config.txt", "cmdline.txt", "../x", ""} {
		s.Files = map[string]func() (Content, error){name: s.Files["initramfs8"]}
		if _, err := New(s); !errors.Is(err, ErrSpec) {
			t.Errorf("%q can be served in place of another: %v", name, err)
		}
	}
	s.Files = map[string]func() (Content, error){"x": nil}
	if _, err := New(s); !errors.Is(err, ErrSpec) {
		t.Errorf("a file that cannot be opened: %v", err)
	}
}

func TestOpenServes(t *testing.T) {
	root, image := hostile(t)
	f := newFolder(t, testSpec(root, image))
	tests := []struct {
		name, want string
		source     Source
	}{
		{"kernel8.img", "kernel of the root", FromRoot},
		{"b66c4c16/kernel8.img", "kernel of the root", FromRoot},
		{"B66C4C16/kernel8.img", "kernel of the root", FromRoot},
		{"dc-a6-32-01-36-c2/kernel8.img", "kernel of the root", FromRoot},
		{"b66c4c16/overlays/overlay_map.dtb", "map of the root", FromRoot},
		{"b66c4c16/inner/overlay_map.dtb", "map of the root", FromRoot},
		{"good.img", "linked kernel", FromRoot},
		{"overlays/good.img", "linked kernel", FromRoot},
		{"overlays/again", "linked kernel", FromRoot},
		{"old.dtb", "file of an old root", FromRoot},
		{"b66c4c16/start4.elf", "firmware of the image", FromImage},
		{"bootcode.bin", "bootcode of the image", FromImage},
	}
	for _, tt := range tests {
		got, source, err := read(f, tt.name)
		if err != nil || got != tt.want || source != tt.source {
			t.Errorf("%s: %q from %s, %v, want %q from %s", tt.name, got, source, err, tt.want, tt.source)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	root, image := hostile(t)
	f := newFolder(t, testSpec(root, image))
	tests := []struct {
		name string
		want error
	}{
		{"", ErrName},
		{".", ErrName},
		{"..", ErrName},
		{"/kernel8.img", ErrName},
		{"b66c4c16//kernel8.img", ErrName},
		{"b66c4c16/../kernel8.img", ErrName},
		{"b66c4c16/", ErrName},
		{"../secret", ErrName},
		{"overlays/../../../../secret", ErrName},
		{"./kernel8.img", ErrName},
		{`..\secret`, ErrName},
		{`overlays\..\secret`, ErrName},
		{"kernel8.img\x00.txt", ErrName},
		{"kernel8.img\n", ErrName},
		{"\x1b[2J", ErrName},
		{"kernel\xff.img", ErrName},
		{"k\u00e9rnel.img", ErrName},
		{strings.Repeat("a", 256), ErrName},
		{strings.Repeat("a", 64<<10), ErrName},
		{strings.Repeat("a/", 40) + "a", ErrName},
		{"bd989ae1/kernel8.img", ErrOtherPrefix},
		{"00000000/kernel8.img", ErrOtherPrefix},
		{"dc-a6-32-01-36-c3/kernel8.img", ErrOtherPrefix},
		{"pieeprom.upd", ErrNeverServed},
		{"b66c4c16/pieeprom.sig", ErrNeverServed},
		{"b66c4c16/PIEEPROM.UPD", ErrNeverServed},
		{"PieEprom.Bin", ErrNeverServed},
		{"overlays/pieeprom.sig", ErrNeverServed},
		{"recovery.bin", ErrNeverServed},
		{"recovery.elf", ErrNeverServed},
		{"recovery8.img", ErrNeverServed},
		{"recover4.elf", ErrNeverServed},
		{"vl805.bin", ErrNeverServed},
		{"vl805.sig", ErrNeverServed},
		{"boot.sig", ErrNeverServed},
		{"autoboot.txt", ErrNeverServed},
		{"tryboot.txt", ErrNeverServed},
		{"absolute.img", ErrLink},
		{"absolute-own.img", ErrLink},
		{"out.img", ErrLink},
		{"in-root.img", ErrLink},
		{"circle.img", ErrLink},
		{"kernel_2712.img", ErrLink},
		{"evil/etc/shadow", ErrLink},
		{"abs/shadow", ErrLink},
		{"proc/0", ErrLink},
		{"fifo.img", ErrNotRegular},
		{"socket.img", ErrNotRegular},
		{"overlays", ErrNotRegular},
		{"huge.img", ErrTooLarge},
		{"dangling.img", ErrNotFound},
		{"missing.img", ErrNotFound},
		{"kernel8.img/x", ErrNotFound},
		{"fifo.img/x", ErrNotFound},
		{"b66c4c16", ErrNotFound},
		{"b66c4c16/b66c4c16/kernel8.img", ErrNotFound},
		{"dangling.img/..", ErrName},
	}
	if os.Geteuid() == 0 {
		tests = append(tests, struct {
			name string
			want error
		}{"device.img", ErrNotRegular})
	}
	for _, tt := range tests {
		got, _, err := read(f, tt.name)
		if !errors.Is(err, tt.want) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.80q: %q, %v, want %v", tt.name, got, err, tt.want)
		}
		if err != nil && len(err.Error()) > 1500 {
			t.Errorf("%.80q: the error has %d octets", tt.name, len(err.Error()))
		}
	}
}

// A boot folder that is itself a link may lead anywhere in the root, not out of it.
func TestBootFolderIsALink(t *testing.T) {
	for _, tt := range []struct {
		target string
		want   error
	}{{"../usr/boot", nil}, {"/usr/boot", ErrLink}, {"../../outside", ErrLink}} {
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		for _, d := range []string{"root/boot", "root/usr/boot", "outside"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []string{"root/usr/boot", "outside"} {
			if err := os.WriteFile(filepath.Join(dir, d, "kernel8.img"), []byte(d), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(tt.target, filepath.Join(root, "boot/firmware")); err != nil {
			t.Fatal(err)
		}
		got, _, err := read(newFolder(t, testSpec(root, "")), "kernel8.img")
		if !errors.Is(err, tt.want) || tt.want == nil && got != "root/usr/boot" {
			t.Errorf("link to %s: %q, %v", tt.target, got, err)
		}
	}
}

// The kernel is the one that config.txt names, else one of the firmware's names.
func TestKernel(t *testing.T) {
	root := t.TempDir()
	files := []string{"kernel8.img", "kernel_2712.img", "vmlinuz-6.1", "start4.elf"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for named, want := range map[string]string{"": "kernel8.img", "vmlinuz-6.1": "vmlinuz-6.1"} {
		s := testSpec("", root)
		s.Config.Kernel = named
		f := newFolder(t, s)
		for _, name := range append(files, "config.txt") {
			file, err := f.Open(s.Serial + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if file.Kernel() != (name == want) {
				t.Errorf("config.txt names %q: %s is the kernel: %t", named, name, file.Kernel())
			}
			_ = file.Close()
		}
	}
}

// Debian's packages leave a kernel's device trees, by Linux's own names, and the
// firmware in folders of their own. What is in a boot folder comes first, and what
// the root has before what the image has, whatever it is called.
func TestFolders(t *testing.T) {
	const firmware, trees = "usr/lib/raspi-firmware", "usr/lib/linux-image-6.1.0-25-arm64/broadcom"
	dir := t.TempDir()
	root, image := filepath.Join(dir, "root"), filepath.Join(dir, "image")
	for path, links := range map[string]string{
		"root/boot/vmlinuz-6.1.0-25-arm64":           "",
		"root/boot/firmware/fixup.dat":               "",
		"root/" + firmware + "/fixup.dat":            "",
		"root/" + firmware + "/start.elf":            "",
		"root/" + firmware + "/pieeprom.upd":         "",
		"root/" + firmware + "/out.elf":              "../../../../secret",
		"root/" + trees + "/bcm2837-rpi-3-b.dtb":     "",
		"root/" + trees + "/bcm2710-rpi-cm3.dtb":     "",
		"root/" + trees + "/bcm2837-rpi-cm3-io3.dtb": "",
		"image/bcm2710-rpi-3-b.dtb":                  "",
		"image/bcm2710-rpi-3-b-plus.dtb":             "",
		"secret":                                     "",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(full, []byte(path), 0o644)
		if links != "" {
			err = errors.Join(os.Remove(full), os.Symlink(links, full))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := testSpec(root, image)
	s.Family, s.Folders = order.Pi3B, []string{firmware, trees, "usr/lib/gone"}
	f := newFolder(t, s)
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"b66c4c16/vmlinuz-6.1.0-25-arm64", "root/boot/vmlinuz-6.1.0-25-arm64", nil},
		{"b66c4c16/fixup.dat", "root/boot/firmware/fixup.dat", nil},
		{"b66c4c16/start.elf", "root/" + firmware + "/start.elf", nil},
		{"b66c4c16/bcm2710-rpi-3-b.dtb", "root/" + trees + "/bcm2837-rpi-3-b.dtb", nil},
		{"bcm2837-rpi-3-b.dtb", "root/" + trees + "/bcm2837-rpi-3-b.dtb", nil},
		{"bcm2710-rpi-cm3.dtb", "root/" + trees + "/bcm2710-rpi-cm3.dtb", nil},
		{"bcm2710-rpi-3-b-plus.dtb", "image/bcm2710-rpi-3-b-plus.dtb", nil},
		{"bcm2711-rpi-4-b.dtb", "", ErrNotFound},
		{"pieeprom.upd", "", ErrNeverServed},
		{"out.elf", "", ErrLink},
		{"broadcom/bcm2837-rpi-3-b.dtb", "", ErrNotFound},
	} {
		if got, _, err := read(f, tt.name); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// A root that is not there, as while it is made anew, has no files; that is no
// failure, and the image serves.
func TestNoRoot(t *testing.T) {
	_, image := hostile(t)
	for _, root := range []string{"", filepath.Join(t.TempDir(), "gone")} {
		f := newFolder(t, testSpec(root, image))
		if got, source, err := read(f, "kernel8.img"); got != "kernel of the image" || source != FromImage {
			t.Errorf("%q from %s, %v", got, source, err)
		}
		if _, _, err := read(f, "missing"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	f := newFolder(t, testSpec("", ""))
	if _, _, err := read(f, "kernel8.img"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if got, source, err := read(f, "b66c4c16/config.txt"); err != nil || source != Generated || got == "" {
		t.Errorf("%q from %s, %v", got, source, err)
	}
}

// What a root cannot be asked for is a failure, not a missing file.
func TestUnreadableRoot(t *testing.T) {
	root, image := hostile(t)
	f := newFolder(t, testSpec(filepath.Join(root, "etc/shadow"), image))
	if got, _, err := read(f, "kernel8.img"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", got, err)
	}
}

// The serial number of a 3B is first heard of in its prefix.
func TestUnknownSerial(t *testing.T) {
	root, image := hostile(t)
	s := testSpec(root, image)
	s.Serial = ""
	f := newFolder(t, s)
	if got, _, err := read(f, "00c0ffee/kernel8.img"); err != nil || got != "kernel of the root" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSplitPrefix(t *testing.T) {
	tests := []struct{ name, prefix, rest string }{
		{"b66c4c16/start.elf", "b66c4c16/", "start.elf"},
		{"dc-a6-32-01-36-c2/overlays/x.dtbo", "dc-a6-32-01-36-c2/", "overlays/x.dtbo"},
		{"overlays/x.dtbo", "", "overlays/x.dtbo"},
		{"bootcode.bin", "", "bootcode.bin"},
		{"b66c4c1/x", "", "b66c4c1/x"},
		{"b66c4c1g/x", "", "b66c4c1g/x"},
		{"dc:a6:32:01:36:c2/x", "", "dc:a6:32:01:36:c2/x"},
		{"dca6-32-01-36-c2--/x", "", "dca6-32-01-36-c2--/x"},
		{"b66c4c16/", "b66c4c16/", ""},
		{"/x", "", "/x"},
		{"", "", ""},
	}
	for _, tt := range tests {
		if p, r := SplitPrefix(tt.name); p != tt.prefix || r != tt.rest {
			t.Errorf("%q: %q and %q", tt.name, p, r)
		}
	}
}

// All that a family cannot boot without is served from an image that has it, with
// the prefix and without.
func TestSequencesAreServed(t *testing.T) {
	image := t.TempDir()
	for _, family := range order.Families() {
		for _, group := range order.Need(family) {
			for _, name := range group {
				if err := os.WriteFile(filepath.Join(image, name), []byte(name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, family := range order.Families() {
		s := testSpec("", image)
		s.Family = family
		f := newFolder(t, s)
		for _, prefix := range []string{"b66c4c16/", ""} {
			for _, r := range order.Sequence(family) {
				if _, _, err := read(f, r.Path(prefix)); err != nil && !r.Optional {
					t.Errorf("%s: %v", family, err)
				}
			}
		}
	}
}

func TestNewRefusesBadSpecs(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Spec)
	}{
		{"unknown family", func(s *Spec) { s.Family = "Zero" }},
		{"serial", func(s *Spec) { s.Serial = "10000000b66c4c16" }},
		{"MAC", func(s *Spec) { s.MAC = s.MAC[:4] }},
		{"32 bits on a Pi 5", func(s *Spec) { s.Family, s.Config.Bits32 = order.Pi5, true }},
		{"kernel upwards", func(s *Spec) { s.Config.Kernel = "../x" }},
		{"kernel with a line break", func(s *Spec) { s.Config.Kernel = "x\nos_prefix=y" }},
		{"extra line break", func(s *Spec) { s.Config.Extra = []string{"a=1\nb=2"} }},
		{"extra line too long", func(s *Spec) { s.Config.Extra = []string{strings.Repeat("a", 98)} }},
		{"no server", func(s *Spec) { s.Cmdline.Server = netip.Addr{} }},
		{"IPv6 server", func(s *Spec) { s.Cmdline.Server = netip.MustParseAddr("fd00::1") }},
		{"no client", func(s *Spec) { s.Cmdline.Client = netip.Prefix{} }},
		{"IPv6 client", func(s *Spec) { s.Cmdline.Client = netip.MustParsePrefix("fd00::2/64") }},
		{"IPv6 gateway", func(s *Spec) { s.Cmdline.Gateway = netip.MustParseAddr("fd00::1") }},
		{"folder upwards", func(s *Spec) { s.Folders = []string{"usr/lib", "../other"} }},
		{"absolute folder", func(s *Spec) { s.Folders = []string{"/usr/lib"} }},
		{"empty folder", func(s *Spec) { s.Folders = []string{""} }},
		{"no host name", func(s *Spec) { s.Cmdline.Hostname = "" }},
		{"host name with a space", func(s *Spec) { s.Cmdline.Hostname = "p01 init=/bin/sh" }},
		{"host name with a colon", func(s *Spec) { s.Cmdline.Hostname = "p01:eth1" }},
		{"host name with a hyphen first", func(s *Spec) { s.Cmdline.Hostname = "-p01" }},
		{"host name too long", func(s *Spec) { s.Cmdline.Hostname = strings.Repeat("p", 64) }},
		{"no export", func(s *Spec) { s.Cmdline.ExportPath = "" }},
		{"relative export", func(s *Spec) { s.Cmdline.ExportPath = "srv" }},
		{"export with a comma", func(s *Spec) { s.Cmdline.ExportPath = "/srv,vers=2" }},
		{"export with a line break", func(s *Spec) { s.Cmdline.ExportPath = "/srv\n" }},
		{"export with a space", func(s *Spec) { s.Cmdline.ExportPath = "/srv init=/x" }},
		{"export with a client address", func(s *Spec) { s.Cmdline.ExportPath = "/srv/%s" }},
		{"export upwards", func(s *Spec) { s.Cmdline.ExportPath = "/srv/../etc" }},
		{"NFS version", func(s *Spec) { s.Cmdline.NFSVersion = "2" }},
		{"NFS 4 in an initramfs", func(s *Spec) { s.Cmdline.Initramfs = true }},
		{"NFS 4 with a MOUNT port", func(s *Spec) { s.Cmdline.MountPort = 20048 }},
		{"device", func(s *Spec) { s.Cmdline.Device = "eth0:off" }},
		{"console", func(s *Spec) { s.Cmdline.Console = []string{"tty1 init=/x"} }},
		{"extra init", func(s *Spec) { s.Cmdline.Extra = []string{"init=/bin/sh"} }},
		{"extra root", func(s *Spec) { s.Cmdline.Extra = []string{"root=/dev/mmcblk0p2"} }},
		{"extra with a space", func(s *Spec) { s.Cmdline.Extra = []string{"quiet init=/x"} }},
		{"extra that hides", func(s *Spec) { s.Cmdline.Extra = []string{"--"} }},
		{"empty extra", func(s *Spec) { s.Cmdline.Extra = []string{""} }},
		{"too long", func(s *Spec) { s.Cmdline.Extra = []string{strings.Repeat("a", 1000)} }},
	}
	for _, tt := range tests {
		s := testSpec("", "")
		tt.change(&s)
		if _, err := New(s); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestCmdline(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Cmdline)
		want   string
	}{
		{"in memory", func(c *Cmdline) { *c = Cmdline{Memory: true, Extra: []string{"panic=10"}} },
			"console=serial0,115200 console=tty1 rdinit=/init panic=10"},
		{"defaults", func(*Cmdline) {},
			"console=serial0,115200 console=tty1 root=/dev/nfs " +
				"nfsroot=10.64.0.1:/srv/pi/p01,vers=4.1,proto=tcp,hard rw " +
				"ip=10.64.0.2:10.64.0.1::255.255.255.252:p01:eth0:off rootwait"},
		{"version 3 on ports of its own, read-only", func(c *Cmdline) {
			c.NFSVersion, c.NFSPort, c.MountPort, c.ReadOnly = "3", 12049, 12048, true
		},
			"console=serial0,115200 console=tty1 root=/dev/nfs " +
				"nfsroot=10.64.0.1:/srv/pi/p01,vers=3,proto=tcp,hard,nolock,port=12049,mountport=12048,mountproto=tcp ro " +
				"ip=10.64.0.2:10.64.0.1::255.255.255.252:p01:eth0:off rootwait"},
		{"initramfs", func(c *Cmdline) { c.NFSVersion, c.Initramfs = "3", true },
			"console=serial0,115200 console=tty1 root=/dev/nfs " +
				"nfsroot=10.64.0.1:/srv/pi/p01,vers=3,tcp,hard,nolock,timeo=600,retrans=2 rw " +
				"ip=10.64.0.2:10.64.0.1::255.255.255.252:p01:eth0:off rootwait"},
		{"all else", func(c *Cmdline) {
			c.Gateway = netip.MustParseAddr("10.64.0.1")
			c.NFSVersion, c.Device = "4.2", "end0"
			c.Console = []string{"tty1"}
			c.Extra = []string{"quiet", "panic=10"}
		},
			"console=tty1 root=/dev/nfs nfsroot=10.64.0.1:/srv/pi/p01,vers=4.2,proto=tcp,hard rw " +
				"ip=10.64.0.2:10.64.0.1:10.64.0.1:255.255.255.252:p01:end0:off rootwait quiet panic=10"},
	}
	for _, tt := range tests {
		s := testSpec("", "")
		tt.change(&s.Cmdline)
		got, _, err := read(newFolder(t, s), "b66c4c16/cmdline.txt")
		if err != nil || got != tt.want+"\n" {
			t.Errorf("%s:\ngot  %swant %s\n%v", tt.name, got, tt.want, err)
		}
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Spec)
		want   string // without comments
	}{
		{"3B", func(s *Spec) { s.Family = order.Pi3B },
			"[all] arm_64bit=1 auto_initramfs=0 enable_uart=0 dtparam=sd_poll_once"},
		{"3B+ with 32 bits", func(s *Spec) { s.Family, s.Config.Bits32 = order.Pi3BPlus, true },
			"[all] arm_64bit=0 auto_initramfs=0 enable_uart=0 dtparam=sd_poll_once"},
		{"4B with an initramfs", func(s *Spec) { s.Cmdline.NFSVersion, s.Cmdline.Initramfs = "3", true },
			"[all] arm_64bit=1 auto_initramfs=1 enable_uart=0"},
		{"3B with a named initramfs", func(s *Spec) {
			s.Family, s.Cmdline.NFSVersion, s.Cmdline.Initramfs = order.Pi3B, "3", true
			s.Config = Config{Kernel: "vmlinuz-6.1.0-25-arm64", Extra: []string{"initramfs initrd.img-6.1.0-25-arm64 followkernel"}}
		},
			"[all] arm_64bit=1 kernel=vmlinuz-6.1.0-25-arm64 auto_initramfs=0 enable_uart=0 dtparam=sd_poll_once initramfs initrd.img-6.1.0-25-arm64 followkernel"},
		{"5 with all", func(s *Spec) {
			s.Family = order.Pi5
			s.Config = Config{Kernel: "kernel8.img", UART: true, Extra: []string{"dtoverlay=disable-wifi"}}
		},
			"[all] kernel=kernel8.img auto_initramfs=0 enable_uart=1 dtoverlay=disable-wifi"},
	}
	for _, tt := range tests {
		s := testSpec("", "")
		tt.change(&s)
		text, ok := newFolder(t, s).Generated("config.txt")
		if !ok {
			t.Fatal("no config.txt")
		}
		var lines []string
		for l := range strings.Lines(text) {
			if len(l) > maxConfigLine {
				t.Errorf("%s: line too long: %s", tt.name, l)
			}
			if !strings.HasPrefix(l, "#") {
				lines = append(lines, strings.TrimSpace(l))
			}
		}
		if got := strings.Join(lines, " "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// A file that its user changes while it is read has the content that it had, or
// has now, and never makes the read hang.
func TestFileChangesWhileRead(t *testing.T) {
	root, image := hostile(t)
	f := newFolder(t, testSpec(root, image))
	file, err := f.Open("kernel8.img")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	path := filepath.Join(root, "boot/firmware/kernel8.img")
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(file); err != nil || string(b) != "ker" || file.Size() != int64(len("kernel of the root")) {
		t.Errorf("%q, %v, size %d", b, err, file.Size())
	}
}

// Exchanging a file for a link between looking and opening is of no use.
func TestExchangeRace(t *testing.T) {
	root, image := hostile(t)
	f := newFolder(t, testSpec(root, image))
	boot := filepath.Join(root, "boot/firmware")
	if err := os.Symlink("../../../secret", filepath.Join(boot, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(boot, "a"), []byte("fine"), 0o644); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(boot, "a"), unix.AT_FDCWD, filepath.Join(boot, "b"), unix.RENAME_EXCHANGE)
		}
	}()
	for {
		got, _, err := read(f, "a")
		if err == nil && got != "fine" || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			t.Fatalf("%q, %v", got, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
