package edit

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// reads are the ways to read a file.
var reads = map[string]func(*os.Root, string, int64) []byte{"Read": Read, "Follow": Follow}

// TestReadOpensNoDevice: opening some devices has effects on the host, such as
// a watchdog that resets it. inotify(7) tells whether one was opened.
func TestReadOpensNoDevice(t *testing.T) {
	root, top := open(t)
	p := filepath.Join(top, "device")
	// /dev/zero: were it opened, it could be read.
	if err := unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		t.Skip("only root may make a device node: ", err)
	}
	if err := os.Symlink("device", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	opened := watchOpen(t, top)
	for how, read := range reads {
		for _, name := range []string{"device", "link"} {
			if b := read(root, name, 16); b != nil {
				t.Errorf("%s of %s: %q", how, name, b)
			}
		}
	}
	if opened() {
		t.Error("a device was opened")
	}
	if f, err := os.Open(p); err == nil { // the watch sees what it is to see
		f.Close()
		if !opened() {
			t.Error("the watch does not see a device that is opened")
		}
	}
}

// watchOpen returns what tells whether something in a folder was opened since
// it was last asked.
func watchOpen(t *testing.T, dir string) func() bool {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue
		}
		if _, err := unix.InotifyAddWatch(fd, filepath.Join(dir, e.Name()), unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() bool {
		n, err := unix.Read(fd, make([]byte, 4096))
		return err == nil && n > 0
	}
}

// TestReadOpensNoPipe: nobody writes to the pipe, so whoever waits for a writer
// does not return.
func TestReadOpensNoPipe(t *testing.T) {
	root, top := open(t)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	t.Chdir(top) // a socket's path is at most 107 octets
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	opened := watchOpen(t, top)
	for how, read := range reads {
		for _, name := range []string{"pipe", "socket", "."} {
			if b := read(root, name, 16); b != nil {
				t.Errorf("%s of %s: %q", how, name, b)
			}
		}
	}
	if opened() {
		t.Error("a pipe or a socket was opened")
	}
}

// TestFollow: links within the root lead where they lead for the kernel, and
// none leads out.
func TestFollow(t *testing.T) {
	root, top := open(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(top, "usr/lib/a"), 0o755), os.Symlink("usr/lib", filepath.Join(top, "lib")),
		os.WriteFile(filepath.Join(top, "usr/file"), []byte("in"), 0o600), os.WriteFile(outside, []byte("out"), 0o600),
		os.Symlink("../../file", filepath.Join(top, "usr/lib/a/up")),
		os.Symlink(outside, filepath.Join(top, "absolute")),
		os.Symlink("../"+filepath.Base(filepath.Dir(outside))+"/outside", filepath.Join(top, "relative")),
		os.Symlink("loop", filepath.Join(top, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"usr/file": "in", "lib/a/up": "in", "usr/lib/a/up": "in",
		"absolute": "", "relative": "", "loop": "", "none": "", "lib": "",
	} {
		if got := string(Follow(root, name, 16)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if b := Follow(root, "usr/file", 1); b != nil {
		t.Errorf("more than the limit: %q", b)
	}
	if b := Read(root, "lib/a/up", 16); b != nil {
		t.Errorf("a link that was not to be followed: %q", b)
	}
}
