package ganesha

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/nfs"
	"picloud/netboot/nfs/internal/record"
	"picloud/netboot/nfs/nfstest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needed skips the test where the server cannot run. In CI, as root, it must.
func need(t testing.TB) {
	t.Helper()
	if err := Available(); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

var nextPort atomic.Uint32

// freePort returns a port that nothing listens on. It is below those that the
// kernel gives to clients.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 1000 {
		port := uint16(20100 + (uint32(os.Getpid())*16+nextPort.Add(1))%10000)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			check(t, l.Close())
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// testLog shows a server's log with the test's output.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// serve starts a server and returns what ends it.
func serve(t testing.TB, cfg Config) (*Server, func()) {
	t.Helper()
	need(t)
	if cfg.NFSPort == 0 {
		cfg.NFSPort, cfg.MountPort = freePort(t), freePort(t)
	}
	cfg.Logger = testLog(t)
	s, err := New(cfg)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop := func() {
		cancel()
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(time.Minute):
			t.Error("it does not end")
		}
		done <- nil // for a second call
	}
	ready, cancelReady := context.WithTimeout(t.Context(), time.Minute)
	defer cancelReady()
	if err := s.Ready(ready); err != nil {
		stop()
		t.Fatal(err)
	}
	return s, stop
}

// disks are file systems of their own, in files.
type disks struct{ mounts []string }

// newDisks unmounts what is made of it after the server has ended, if it is
// called before serve.
func newDisks(t *testing.T) *disks {
	d := &disks{}
	t.Cleanup(func() {
		for _, at := range d.mounts {
			err := unix.Unmount(at, 0)
			// A process that a test of another package has just begun may look at
			// every mount for a moment.
			for end := time.Now().Add(5 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); err = unix.Unmount(at, 0) {
				time.Sleep(50 * time.Millisecond)
			}
			if err != nil {
				t.Errorf("unmount: %v: something still has it open", err)
			}
		}
	})
	return d
}

func (d *disks) makeDir(t *testing.T, name string) string {
	top := t.TempDir()
	file, at := filepath.Join(top, name+".disk"), filepath.Join(top, name)
	check(t, errors.Join(os.Mkdir(at, 0o755), os.WriteFile(file, nil, 0o600), os.Truncate(file, 64<<20)))
	for _, args := range [][]string{{"mke2fs", "-q", "-F", "-t", "ext4", file}, {"mount", "-o", "loop", file, at}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	d.mounts = append(d.mounts, at)
	return at
}

func TestConformance(t *testing.T) {
	nfstest.Run(t, func(t *testing.T) nfstest.Server {
		need(t)
		t.TempDir() // made first, and so deleted last
		d := newDisks(t)
		s, stop := serve(t, Config{State: t.TempDir()})
		t.Cleanup(stop)
		return nfstest.Server{
			Exporter: s, MountPort: s.cfg.MountPort, NFSPort: s.cfg.NFSPort, Writable: true, MakeDir: d.makeDir,
		}
	})
}

// TestLetsGo: a removed export's file system can be unmounted, which a reimage
// needs.
func TestLetsGo(t *testing.T) {
	need(t)
	t.TempDir()
	d := newDisks(t)
	s, stop := serve(t, Config{State: t.TempDir()})
	defer stop()
	e := nfs.Export{ID: "a", Dir: d.makeDir(t, "a"), Path: "/srv/a", Client: netip.MustParseAddr("127.64.0.2")}
	check(t, errors.Join(s.Add(t.Context(), e), s.Remove(t.Context(), "a")))
	check(t, unix.Unmount(e.Dir, 0))
	d.mounts = nil
}

// TestPortmapper: what an initramfs asks before it mounts.
func TestPortmapper(t *testing.T) {
	s, stop := serve(t, Config{State: t.TempDir()})
	defer stop()
	out, err := exec.Command("rpcinfo", "-p", "127.0.0.1").CombinedOutput()
	check(t, err)
	want := map[string]string{"100003 3 tcp": fmt.Sprint(s.cfg.NFSPort), "100005 3 tcp": fmt.Sprint(s.cfg.MountPort)}
	for line := range strings.Lines(string(out)) {
		if w := strings.Fields(line); len(w) >= 4 && want[strings.Join(w[:3], " ")] == w[3] {
			delete(want, strings.Join(w[:3], " "))
		}
	}
	if len(want) != 0 {
		t.Errorf("the portmapper lacks %v:\n%s", want, out)
	}
}

func TestSharedIsRefused(t *testing.T) {
	s, stop := serve(t, Config{State: t.TempDir()})
	defer stop()
	e := nfs.Export{ID: "a", Dir: t.TempDir(), Path: "/srv/a", Client: netip.MustParseAddr("127.64.0.2")}
	if err := s.Add(t.Context(), e); !errors.Is(err, nfs.ErrNotSupported) {
		t.Errorf("err %v", err)
	}
	e.Dir = "/tmp/\"x"
	if err := s.Add(t.Context(), e); !errors.Is(err, nfs.ErrInvalidExport) {
		t.Errorf("quote: %v", err)
	}
}

// TestRestart: exports are found again by the next process, which begins with
// them, and by a server that was killed.
func TestRestart(t *testing.T) {
	cfg := Config{State: t.TempDir(), AllowShared: true}
	s, stop := serve(t, cfg)
	defer func() { stop() }()
	e := nfs.Export{ID: "a", Dir: t.TempDir(), Path: "/srv/a", Client: netip.MustParseAddr("127.64.0.2")}
	gone := nfs.Export{ID: "gone", Dir: filepath.Join(t.TempDir(), "gone"), Path: "/srv/gone", Client: e.Client}
	check(t, os.Mkdir(gone.Dir, 0o755))
	check(t, errors.Join(s.Add(t.Context(), e), s.Add(t.Context(), gone)))
	stop()
	if err := s.Add(t.Context(), e); !errors.Is(err, nfs.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	check(t, os.Remove(gone.Dir)) // must not keep the others from being served

	cfg.NFSPort, cfg.MountPort = s.cfg.NFSPort, s.cfg.MountPort
	s, stop = serve(t, cfg)
	want := func() {
		t.Helper()
		list, err := s.List(t.Context())
		if err != nil || len(list) != 1 || list[0] != e {
			t.Errorf("exports %v, %v", list, err)
		}
	}
	want()
	kill(t, s)
	check(t, s.Add(t.Context(), e)) // waits for the next one
	want()
	check(t, s.Remove(t.Context(), "gone"))
	check(t, s.Remove(t.Context(), "nobody"))
}

// TestGivesUp: whoever waits for a server that is starting can do something else.
func TestGivesUp(t *testing.T) {
	need(t)
	s, err := New(Config{State: t.TempDir(), NFSPort: freePort(t), MountPort: freePort(t), Logger: testLog(t)})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	config := filepath.Join(runPath(s.cfg.State), "ganesha.conf")
	for _, err := os.Stat(config); err != nil; _, err = os.Stat(config) {
		time.Sleep(time.Millisecond)
	}
	gone, giveUp := context.WithCancel(ctx)
	giveUp()
	if err := s.Ready(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	check(t, s.Ready(ctx))
	cancel()
	check(t, <-done)
}

// kill kills the server process, found by its process id file.
func kill(t *testing.T, s *Server) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.link.dir, "pid"))
	check(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	check(t, err)
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	for deadline := time.Now().Add(20 * time.Second); ; {
		s.mu.Lock()
		noticed := s.up != up
		s.mu.Unlock()
		if noticed {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the death of the server is not noticed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMessage(t *testing.T) {
	for line, want := range map[string]string{
		"23/11/2026 09:43:35 : epoch 6b040ac7 : vm : nfs-ganesha-24603[main] main :NFS STARTUP :WARN :No export : here": "nfs-ganesha-24603[main] main :NFS STARTUP :WARN :No export : here",
		"plain": "plain", "": "",
	} {
		if got := message(line); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestExportBlock(t *testing.T) {
	got := exportBlock(record.Record{Number: 7, Export: nfs.Export{
		ID: "a", Dir: "/state/volumes/a", Path: "/srv/a", Client: netip.MustParseAddr("10.0.0.2"), ReadOnly: true}}, netip.MustParseAddr("127.200.0.1"))
	for _, want := range []string{"Export_Id = 7;", `Path = "/state/volumes/a";`, `Pseudo = "/srv/a";`, "Access_Type = NONE;", "Clients = 127.200.0.1; Access_Type = RO;"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestParseExports(t *testing.T) {
	const out = "method return time=1\n   array [\n      struct {\n         uint16 0\n         string \"/\"\n      }\n      struct {\n         uint16 7\n         string \"/srv/a\"\n         uint16 70000\n"
	if got := parseExports(out); len(got) != 1 || !got[7] {
		t.Errorf("%v", got)
	}
}

func FuzzParseExports(f *testing.F) {
	f.Add("struct {\n uint16 7\n string \"/srv/a\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		if parseExports(s)[0] {
			t.Error("export 0")
		}
		message(s)
	})
}

// BenchmarkAddRemove is one more export beside a thousand.
func BenchmarkAddRemove(b *testing.B) {
	for _, others := range []int{0, 1000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			s, stop := serve(b, Config{State: b.TempDir(), AllowShared: true})
			defer stop()
			s.log = slog.New(slog.DiscardHandler)
			top := b.TempDir()
			export := func(i int) nfs.Export {
				dir := filepath.Join(top, fmt.Sprint(i))
				check(b, os.MkdirAll(dir, 0o755))
				return nfs.Export{ID: fmt.Sprint("pi-", i), Dir: dir, Path: fmt.Sprint("/srv/pi-", i), Client: netip.AddrFrom4([4]byte{127, 70, byte(i >> 6), byte(i<<2 | 2)})}
			}
			for i := range others {
				check(b, s.Add(b.Context(), export(i)))
			}
			e := export(others)
			for b.Loop() {
				check(b, errors.Join(s.Add(b.Context(), e), s.Remove(b.Context(), e.ID)))
			}
		})
	}
}
