package mounts

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// serve starts a server for one folder.
func serve(t *testing.T, beneath string) Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := &Server{Beneath: []string{beneath}}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return Client{socket}
}

func folders(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.MkdirAll(filepath.Join(dir, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRefused(t *testing.T) {
	dir := folders(t, "state/a", "state/b", "outside")
	state := filepath.Join(dir, "state")
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(state, "link")); err != nil {
		t.Fatal(err)
	}
	c := serve(t, state)
	a, b := filepath.Join(state, "a"), filepath.Join(state, "b")
	const bind, safe = unix.MS_BIND, unix.MS_NODEV | unix.MS_NOSUID
	for _, tt := range []struct {
		name                 string
		source, target, kind string
		flags                uintptr
		want                 error
	}{
		{"another target", a, filepath.Join(dir, "outside"), "", bind, ErrRefused},
		{"another source", "/etc", b, "", bind, ErrRefused},
		{"up and out", a, state + "/../outside", "", bind, ErrRefused},
		{"a relative path", a, "state/b", "", bind, ErrRefused},
		{"no path", a, "", "", bind, ErrRefused},
		{"a sister that starts with the same name", a, state + "x", "", bind, ErrRefused},
		{"by a link", a, filepath.Join(state, "link"), "", bind, unix.ELOOP},
		{"a source by a link", filepath.Join(state, "link"), b, "", bind, unix.ELOOP},
		{"what is not there", a, filepath.Join(state, "none"), "", bind, unix.ENOENT},
		{"another file system", "proc", b, "proc", safe, ErrRefused},
		{"an overlay", "overlay", b, "overlay", safe, ErrRefused},
		{"devices and programs", "/dev/null", b, "ext4", 0, ErrRefused},
		{"a remount with devices", "", b, "", bind | unix.MS_REMOUNT, ErrRefused},
		{"a remount of a file system", "", b, "", safe | unix.MS_REMOUNT, ErrRefused},
		{"a move", a, b, "", unix.MS_MOVE, ErrRefused},
		{"no device", a, b, "ext4", safe, ErrRefused},
		{"up out of the devices", "/dev/../etc/passwd", b, "ext4", safe, ErrRefused},
		{"no block device", "/dev/null", b, "ext4", safe, unix.ENOTBLK},
	} {
		if err := c.Mount(tt.source, tt.target, tt.kind, tt.flags); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for target, want := range map[string]error{
		"/proc": ErrRefused, filepath.Join(state, "..", "outside"): ErrRefused, state + "/": ErrRefused,
		state + "/..": ErrRefused, filepath.Join(state, "link", "x"): unix.ELOOP,
	} {
		if err := c.Unmount(target, 0); !errors.Is(err, want) {
			t.Errorf("unmount %s: %v, want %v", target, err, want)
		}
	}
	if err := c.Unmount(a, unix.MNT_FORCE); !errors.Is(err, ErrRefused) {
		t.Errorf("forced unmount: %v", err)
	}
}

// TestBind binds a folder, makes it harmless and read-only, and takes it away.
func TestBind(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := folders(t, "from", "to")
	if err := os.WriteFile(filepath.Join(dir, "from", "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := serve(t, dir)
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
	if err := c.Mount(from, to, "", unix.MS_BIND); err != nil {
		t.Fatal(err)
	}
	if err := c.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(to, &st); err != nil {
		t.Fatal(err)
	}
	if want := int64(unix.ST_RDONLY | unix.ST_NODEV | unix.ST_NOSUID); st.Flags&want != want {
		t.Errorf("flags %#x, want %#x among them", st.Flags, want)
	}
	open, err := os.Open(filepath.Join(to, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unmount(to, unix.UMOUNT_NOFOLLOW); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmount while a file is open: %v, want EBUSY", err)
	}
	if err := errors.Join(open.Close(), c.Unmount(to, unix.UMOUNT_NOFOLLOW)); err != nil {
		t.Error(err)
	}
	if err := c.Unmount(to, unix.UMOUNT_NOFOLLOW); !errors.Is(err, unix.EINVAL) {
		t.Errorf("unmount what is not mounted: %v, want EINVAL", err)
	}
}

// FuzzRequest wants whatever is asked refused by a server that mounts nowhere.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"target":"/","flags":4096}`))
	f.Add([]byte(`{"unmount":true,"target":"/proc","flags":2}`))
	f.Add([]byte(`{"source":"/dev/sda","target":"/t/a","type":"ext4","flags":6}`))
	f.Add([]byte("null"))
	s := &Server{Beneath: []string{"/nonexistent"}}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r request
		if json.Unmarshal(text, &r) == nil && s.do(r) == nil {
			t.Errorf("done: %q", text)
		}
	})
}
