package bootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/netboot/bootfs/order"
)

// Whatever name is asked for, and whatever link it goes through, what is served is
// a file of the boot folders, and a refusal is fs.ErrNotExist.
func FuzzOpen(f *testing.F) {
	for _, family := range order.Families() {
		for _, r := range order.Sequence(family) {
			f.Add(r.Path("b66c4c16/"), "vmlinuz")
		}
	}
	for _, s := range []string{
		"../secret", "/etc/passwd", "b66c4c16/../../secret", "evil/secret", "fifo.img", "socket.img",
		"huge.img", "out.img", "kernel8.img\x00", `..\..\secret`, "", ".", "inner/../../../secret",
		"dc-a6-32-01-36-c2/kernel8.img", "PIEEPROM.UPD", strings.Repeat("a/", 100),
	} {
		f.Add(s, s)
		f.Add("fuzzed", s)
		f.Add("fuzzed/secret", s)
	}
	root, image := hostile(f)
	folder := newFolder(f, testSpec(root, image))
	link := filepath.Join(root, "boot/firmware/fuzzed")
	f.Fuzz(func(t *testing.T, name, target string) {
		_ = os.Remove(link)
		_ = os.Symlink(target, link) // fails for some targets; then there is none
		file, err := folder.Open(name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		defer file.Close()
		b, err := io.ReadAll(io.LimitReader(file, 1<<16))
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if strings.Contains(string(b), "secret") || strings.Contains(string(b), "evil") {
			t.Fatalf("%q by way of %q is %q", name, target, b)
		}
		if file.Source() == Generated {
			return
		}
		if got := file.c.(*os.File); !inside(t, got, root, image) {
			t.Fatalf("%q by way of %q is outside of the boot folders", name, target)
		}
	})
}

// inside tells whether an open file is one of the files beneath the boot folders,
// which hold no links to folders outside that a walk would follow.
func inside(t *testing.T, f *os.File, root, image string) bool {
	want, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, dir := range []string{filepath.Join(root, "boot"), image} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if info, err := d.Info(); err == nil && os.SameFile(info, want) {
				found = true
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// Whatever its parts are, an accepted command line is one line of the words that
// were meant, and an accepted config.txt has no line that was not.
func FuzzGenerated(f *testing.F) {
	f.Add("p01", "/srv/pi/p01", "eth0", "quiet", "kernel8.img", "dtoverlay=disable-wifi")
	f.Add("p01 init=/x", "/srv,\n", "eth0:", "init=/x", "a\nb", "a\r\nb")
	f.Fuzz(func(t *testing.T, host, export, device, extra, kernel, line string) {
		s := testSpec("", "")
		s.Cmdline.Hostname, s.Cmdline.ExportPath, s.Cmdline.Device = host, export, device
		s.Cmdline.Extra = []string{extra}
		s.Config.Kernel, s.Config.Extra = kernel, []string{line}
		folder, err := New(s)
		if err != nil {
			return
		}
		cmdline, _ := folder.Generated("cmdline.txt")
		words := strings.Split(strings.TrimSuffix(cmdline, "\n"), " ")
		if len(words) != 8 || strings.ContainsAny(cmdline[:len(cmdline)-1], "\n\r\x00") {
			t.Fatalf("command line %q", cmdline)
		}
		for i, key := range []string{"console=", "console=", "root=/dev/nfs", "nfsroot=10.64.0.1:/", "rw", "ip=10.64.0.2:", "rootwait"} {
			if !strings.HasPrefix(words[i], key) {
				t.Fatalf("word %d of %q is not %s", i, cmdline, key)
			}
		}
		if strings.Count(words[5], ":") != 6 || strings.Count(words[3], ",") != 3 {
			t.Fatalf("command line %q", cmdline)
		}
		config, _ := folder.Generated("config.txt")
		lines := 9
		if kernel != "" {
			lines += 2
		}
		if n := strings.Count(config, "\n"); n != lines || strings.ContainsAny(config, "\r\x00") {
			t.Fatalf("%d lines, want %d: %q", n, lines, config)
		}
	})
}
