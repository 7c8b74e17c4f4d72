package tftp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/bootfs"
	"picloud/netboot/bootfs/order"
)

// secret is in every file that a Pi must not get.
const secret = "SECRET of someone else\n"

// outside makes what a Pi's root must not lead to, and an empty root beside it.
func outside(t *testing.T) (dir, root string) {
	t.Helper()
	dir = t.TempDir()
	root = filepath.Join(dir, "roots/p01")
	for _, name := range []string{"secret", "kernel8.img", "roots/p02/boot/firmware/kernel8.img", "roots/p01/etc/shadow", "roots/kernel8.img"} {
		write(t, filepath.Join(dir, name), secret)
	}
	return dir, root
}

func write(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// errTFTP is an ERROR packet.
type errTFTP struct {
	code uint16
	text string
}

func (e errTFTP) Error() string { return fmt.Sprintf("error %d, %s", e.code, e.text) }

// patience is how long a packet may take: a server that opens a fifo would never
// send one.
const patience = 5 * time.Second

// fetch reads a file as a boot ROM does. between is called after each block, if
// it is not nil.
func fetch(t *testing.T, port, name string, between func()) ([]byte, error) {
	t.Helper()
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 64, 0, 2)})
	must(t, err)
	defer u.Close()
	n, err := strconv.Atoi(port)
	must(t, err)
	to := net.Addr(&net.UDPAddr{IP: net.IPv4(127, 64, 0, 1), Port: n})
	const size = 1468
	p := []byte("\x00\x01" + name + "\x00octet\x00tsize\x000\x00blksize\x00" + strconv.Itoa(size) + "\x00")
	var all []byte
	buf := make([]byte, 2000)
	for {
		if _, err := u.WriteTo(p, to); err != nil {
			t.Fatal(err)
		}
		must(t, u.SetReadDeadline(time.Now().Add(patience)))
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			t.Fatalf("%.80q: no answer: %v", name, err)
		}
		to = from
		switch binary.BigEndian.Uint16(buf) {
		case 6:
			p = []byte{0, 4, 0, 0}
		case 3:
			all = append(all, buf[4:n]...)
			p = []byte{0, 4, buf[2], buf[3]}
			if n < 4+size {
				_, err := u.WriteTo(p, to)
				return all, err
			}
			if between != nil {
				between()
			}
		default:
			return all, errTFTP{binary.BigEndian.Uint16(buf[2:]), strings.Trim(string(buf[4:n]), "\x00")}
		}
	}
}

// wantNothing checks that a file does not come: the answer is "file not found",
// at once, and no octet of what is outside.
func wantNothing(t *testing.T, port, what, name string) {
	t.Helper()
	got, err := fetch(t, port, name, nil)
	var refused errTFTP
	if len(got) > 0 || !errors.As(err, &refused) || refused != (errTFTP{1, "file not found"}) && refused.code != 4 {
		t.Errorf("%s: %.80q: %d octets %.40q, %v", what, name, len(got), got, err)
	}
}

// TestNothingOutsideTheRootIsServed is the promise to every other tenant: the
// owner of a root is root there, and makes what they like in /boot/firmware, over
// NFS and so past this host's checks.
//
// A hard link to a file outside cannot be made: a root is a file system, or a
// subvolume, of its own, and NFS refuses a link from one export into another
// (the suite of netboot/nfs/nfstest tries that).
func TestNothingOutsideTheRootIsServed(t *testing.T) {
	dir, root := outside(t)
	boot := filepath.Join(root, "boot/firmware")
	write(t, filepath.Join(boot, "kernel8.img"), "own kernel")
	write(t, filepath.Join(boot, "overlays/x.dtbo"), "own overlay")
	for _, name := range []string{"pieeprom.upd", "pieeprom.sig", "recovery.bin", "overlays/RECOVERY.BIN", "vl805.bin", "autoboot.txt"} {
		write(t, filepath.Join(boot, name), secret)
	}
	for name, target := range map[string]string{
		"absolute":      filepath.Join(dir, "secret"),
		"relative":      "../../../../secret",
		"in-root":       "../../etc/shadow",
		"chain":         "chain1",
		"chain1":        "overlays/chain2",
		"loop":          "loop",
		"loop1":         "loop2",
		"loop2":         "loop1",
		"folder":        dir,
		"up":            "../../..",
		"self":          "/proc/self/root" + dir + "/secret",
		"fd":            "/proc/self/fd",
		"other":         "../../../p02/boot/firmware",
		"kernel_2712":   "/etc/passwd",
		"magic":         "/dev/stdin",
		"long":          strings.Repeat("../", 300) + dir[1:] + "/secret",
		"dot":           "./../../.././../secret",
		"trailing":      "../../../../secret/",
		"through-file":  "kernel8.img/../../../../../secret",
		"through-link":  "up/../secret",
		"own-absolute":  filepath.Join(boot, "kernel8.img"),
		"mounted-over/": "/",
	} {
		must(t, os.Symlink(target, filepath.Join(boot, strings.TrimSuffix(name, "/"))))
	}
	must(t, os.Symlink("../../../../../secret", filepath.Join(boot, "overlays/chain2")))
	must(t, unix.Mkfifo(filepath.Join(boot, "fifo"), 0o666))
	socket, err := net.Listen("unix", filepath.Join(boot, "socket"))
	must(t, err)
	defer socket.Close()
	must(t, os.WriteFile(filepath.Join(boot, "huge"), nil, 0o644), os.Truncate(filepath.Join(boot, "huge"), bootfs.MaxFileSize+1))
	must(t, os.WriteFile(filepath.Join(boot, "vast"), nil, 0o644), os.Truncate(filepath.Join(boot, "vast"), 1<<42))
	names := []struct{ what, name string }{
		{"link, absolute", "absolute"}, {"link, relative", "relative"}, {"link within the root, but out of the boot folder", "in-root"},
		{"links to links", "chain"}, {"links to links", "overlays/chain2"}, {"link to itself", "loop"}, {"links in a circle", "loop1"},
		{"link to a folder", "folder/secret"}, {"link to a folder above", "up/secret"}, {"link to a folder above", "up/../secret"},
		{"link by way of /proc", "self"}, {"link to /proc", "fd/0"}, {"link to /proc", "fd"}, {"another Pi's boot folder", "other/kernel8.img"},
		{"link with a firmware name", "kernel_2712"}, {"link to a device", "magic"}, {"link that is long", "long"}, {"link with dots", "dot"},
		{"link with a slash at its end", "trailing"}, {"link through a file", "through-file"}, {"link through a link", "through-link"},
		{"link into the boot folder, absolute", "own-absolute"}, {"link to /", "mounted-over/etc/passwd"},
		{"fifo", "fifo"}, {"socket", "socket"}, {"folder", "overlays"}, {"folder", "."}, {"file of more than MaxFileSize", "huge"}, {"sparse file of 4 TiB", "vast"},
		{"upwards", "../../etc/shadow"}, {"upwards", "overlays/../../../etc/shadow"}, {"upwards", ".."}, {"upwards, with prefix", "b66c4c16/../../../etc/shadow"},
		{"absolute name", filepath.Join(dir, "secret")}, {"absolute name", "/etc/passwd"}, {"absolute name", "/kernel8.img"}, {"two slashes", "//etc/passwd"},
		{"backslash", `..\..\etc\shadow`}, {"backslash", `overlays\..\..\..\etc\shadow`}, {"percent", "%2e%2e/%2e%2e/etc/shadow"},
		{"control character", "kernel8.img\n"}, {"not UTF-8", "\xff\xfe/kernel8.img"}, {"overlong dots", "\xc0\xae\xc0\xae/etc/shadow"},
		{"another Pi's prefix", "b66c4c17/kernel8.img"}, {"another Pi's prefix", "00-11-22-33-44-55/kernel8.img"}, {"another Pi by name", "p02/boot/firmware/kernel8.img"},
		{"EEPROM update", "pieeprom.upd"}, {"EEPROM update", "b66c4c16/pieeprom.sig"}, {"EEPROM update", "PIEEPROM.upd"},
		{"recovery", "recovery.bin"}, {"recovery", "overlays/RECOVERY.BIN"}, {"USB firmware", "vl805.bin"}, {"other configuration", "autoboot.txt"},
		{"long name", strings.Repeat("a", 400)}, {"deep name", strings.Repeat("a/", 100) + "a"},
	}
	if os.Geteuid() == 0 { // as a Pi makes them over NFS
		for name, dev := range map[string]uint64{"zero": unix.Mkdev(1, 5), "mem": unix.Mkdev(1, 1), "console": unix.Mkdev(5, 1)} {
			must(t, unix.Mknod(filepath.Join(boot, name), unix.S_IFCHR|0o666, int(dev)))
			names = append(names, struct{ what, name string }{"device", name})
		}
		must(t, unix.Mknod(filepath.Join(boot, "disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
		names = append(names, struct{ what, name string }{"disk", "disk"})
	}
	port := serveSpec(t, bootfs.Spec{Family: order.Pi4B, Root: root})
	for _, n := range names {
		wantNothing(t, port, n.what, n.name)
	}
	// A NUL ends the name: what comes after it is the mode.
	if got, err := fetch(t, port, "kernel8.img\x00/../../../etc/shadow", nil); len(got) > 0 {
		t.Errorf("NUL in the name: %q, %v", got, err)
	}
	for name, want := range map[string]string{"kernel8.img": "own kernel", "b66c4c16/overlays/x.dtbo": "own overlay"} {
		if got, err := fetch(t, port, name, nil); string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestBootFolderLeadsOutside: the boot folder is itself made into something else.
func TestBootFolderLeadsOutside(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir, root string)
	}{
		{"boot/firmware is a link to another Pi's", func(t *testing.T, _, root string) {
			must(t, os.Mkdir(filepath.Join(root, "boot"), 0o755), os.Symlink("../../p02/boot/firmware", filepath.Join(root, "boot/firmware")))
		}},
		{"boot/firmware is an absolute link", func(t *testing.T, dir, root string) {
			must(t, os.Mkdir(filepath.Join(root, "boot"), 0o755), os.Symlink(dir, filepath.Join(root, "boot/firmware")))
		}},
		{"boot is a link to another Pi's", func(t *testing.T, _, root string) {
			must(t, os.Symlink("../p02/boot", filepath.Join(root, "boot")))
		}},
		{"boot is an absolute link", func(t *testing.T, dir, root string) { must(t, os.Symlink(dir, filepath.Join(root, "boot"))) }},
		{"boot is a link to a link", func(t *testing.T, dir, root string) {
			must(t, os.Symlink("usr", filepath.Join(root, "boot")), os.Symlink("..", filepath.Join(root, "usr")))
		}},
		{"boot/firmware is a fifo", func(t *testing.T, _, root string) {
			must(t, os.Mkdir(filepath.Join(root, "boot"), 0o755), unix.Mkfifo(filepath.Join(root, "boot/firmware"), 0o666))
		}},
		{"boot is a fifo", func(t *testing.T, _, root string) { must(t, unix.Mkfifo(filepath.Join(root, "boot"), 0o666)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, root := outside(t)
			tt.make(t, dir, root)
			port := serveSpec(t, bootfs.Spec{Family: order.Pi4B, Root: root})
			for _, name := range []string{"kernel8.img", "b66c4c16/kernel8.img", "firmware/kernel8.img", "secret"} {
				got, err := fetch(t, port, name, nil)
				if err == nil || bytes.Contains(got, []byte("SECRET")) || len(got) > 0 {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
		})
	}
}

// TestOwnerChangesFileWhileServed: the owner works on a file that the server reads.
func TestOwnerChangesFileWhileServed(t *testing.T) {
	dir, root := outside(t)
	boot := filepath.Join(root, "boot/firmware")
	own := strings.Repeat("own content\n", 5000)
	file, link := filepath.Join(boot, "kernel8.img"), filepath.Join(boot, "link")
	port := serveSpec(t, bootfs.Spec{Family: order.Pi4B, Root: root})
	exchange := func() {
		must(t, unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE))
	}
	for _, tt := range []struct {
		name    string
		between func()
		fails   bool
	}{
		{"grows", func() { must(t, appendTo(file, secret)) }, false},
		{"shrinks", func() { must(t, os.Truncate(file, 100)) }, true},
		{"is removed", func() { must(t, ignore(os.Remove(file), fs.ErrNotExist)) }, false},
		{"is exchanged for a link to outside, again and again", exchange, false},
		{"is replaced by a fifo", func() { must(t, ignore(os.Remove(file), fs.ErrNotExist), unix.Mkfifo(file, 0o666)) }, false},
	} {
		must(t, os.RemoveAll(boot))
		write(t, file, own)
		write(t, filepath.Join(dir, "secret"), strings.Repeat(secret, 4000))
		must(t, os.Symlink("../../../../secret", link))
		got, err := fetch(t, port, "kernel8.img", tt.between)
		if !strings.HasPrefix(own, string(got)) || (err != nil) != tt.fails || err == nil && len(got) != len(own) {
			t.Errorf("file %s: %d octets of %d, ends %.40q, %v", tt.name, len(got), len(own), got[max(0, len(got)-40):], err)
		}
	}
	// And while it is opened.
	must(t, os.RemoveAll(boot))
	write(t, file, own)
	must(t, os.Symlink("../../../../secret", link))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	served := 0
	for range 200 {
		got, err := fetch(t, port, "kernel8.img", nil)
		if err == nil && string(got) == own {
			served++
		} else if err == nil || len(got) > 0 {
			t.Fatalf("%d octets %.40q, %v", len(got), got, err)
		}
	}
	t.Logf("served %d times of 200", served)
}

func appendTo(name, more string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more)
	return errors.Join(err, f.Close())
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}
