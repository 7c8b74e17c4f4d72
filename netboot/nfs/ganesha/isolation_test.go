package ganesha

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"picloud/hw/sim/nfs3"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/nfstest"
)

const (
	// inside is set in the environment of a test that is in a network and a mount
	// namespace of its own.
	inside = "PICLOUD_GANESHA_INSIDE"
	// serveHere is set in that of one that is to serve the state folder that it
	// names, until it is killed.
	serveHere = "PICLOUD_GANESHA_SERVE"
)

// inOwnNamespaces runs the test in a process with namespaces of its own, where
// there is no address but loopback and all ports are free, and reports whether
// it is that process.
func inOwnNamespaces(t *testing.T) bool {
	t.Helper()
	need(t)
	if os.Getenv(inside) != "" {
		lo, err := netlink.LinkByName("lo")
		check(t, errors.Join(err, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("run", "/run", "tmpfs", 0, "mode=755")))
		check(t, netlink.LinkSetUp(lo))
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inside+"=1")
	runtime.LockOSThread() // Pdeathsig
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// TestOnlyLoopback: nfs-ganesha looks up Bind_addr = 0.0.0.0 as a name, and finds
// nothing where there is no address but loopback.
func TestOnlyLoopback(t *testing.T) {
	if !inOwnNamespaces(t) {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	t.TempDir() // made first, and so deleted last
	d := newDisks(t)
	s, stop := serve(t, Config{State: t.TempDir(), NFSPort: DefaultNFSPort, MountPort: DefaultMountPort})
	t.Cleanup(stop)
	e := nfs.Export{ID: "a", Dir: d.makeDir(t, "a"), Path: "/srv/a", Client: netip.MustParseAddr("127.64.0.2")}
	check(t, errors.Join(os.WriteFile(filepath.Join(e.Dir, "file"), []byte("content"), 0o644), s.Add(t.Context(), e)))
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 64, 0, 2), Port: 700}}
	c := connect(t, func(ctx context.Context, port uint16) (net.Conn, error) {
		dialer.LocalAddr.(*net.TCPAddr).Port++
		return dialer.DialContext(ctx, "tcp4", fmt.Sprintf("127.64.0.1:%d", port))
	}, DefaultMountPort)
	if _, err := c.Mount(e.Path); err != nil {
		t.Error(err)
	}
}

// connect opens a client's connection.
func connect(t *testing.T, dial func(context.Context, uint16) (net.Conn, error), port uint16) *nfs3.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(20 * time.Second); ; {
		if conn, err = dial(t.Context(), port); err == nil {
			break
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Cleanup(func() { conn.Close() })
	c := nfs3.New(conn, nfs3.Cred{Machine: "pi"}, 1)
	c.Timeout = 30 * time.Second
	return c
}

// TestIsolation is of two Pis on cables of their own.
func TestIsolation(t *testing.T) {
	if !inOwnNamespaces(t) {
		return
	}
	pis := nfstest.Cables(t)
	nfstest.Run(t, func(t *testing.T) nfstest.Server {
		t.TempDir()
		d := newDisks(t)
		s, stop := serve(t, Config{State: t.TempDir(), NFSPort: DefaultNFSPort, MountPort: DefaultMountPort})
		t.Cleanup(stop)
		return nfstest.Server{Exporter: s, MountPort: DefaultMountPort, NFSPort: DefaultNFSPort, Writable: true, MakeDir: d.makeDir, Pis: pis}
	}, nfstest.Isolation...)
}

// TestRestartKeepsHandles: a Pi that runs goes on with the handles that it has
// when picloud is started again, after an end that was asked for and after one
// that was not.
func TestRestartKeepsHandles(t *testing.T) {
	if state := os.Getenv(serveHere); state != "" {
		serveUntilKilled(t, state)
		return
	}
	if !inOwnNamespaces(t) {
		return
	}
	pi := nfstest.Cables(t)[0]
	t.TempDir()
	d := newDisks(t)
	state, dir := t.TempDir(), d.makeDir(t, "a")
	check(t, errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755), os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("a\n"), 0o644)))
	e := nfs.Export{ID: "a", Dir: dir, Path: "/srv/a", Client: pi.Addr}
	s, stop := serve(t, Config{State: state, NFSPort: DefaultNFSPort, MountPort: DefaultMountPort})
	check(t, s.Add(t.Context(), e))
	root, err := connect(t, pi.Dial, DefaultMountPort).Mount(e.Path)
	check(t, err)
	good := func(when string) {
		t.Helper()
		begin := time.Now()
		c := connect(t, pi.Dial, DefaultNFSPort)
		b, err := c.ReadFile(root, "/etc/hostname", 100)
		if err := errors.Join(err, c.GetAttr(root)); err != nil || string(b) != "a\n" {
			t.Errorf("%s: %q, %v", when, b, err)
		}
		t.Logf("%s: answered after %v", when, time.Since(begin).Round(time.Millisecond))
	}
	good("before")
	kill(t, s)
	good("nfs-ganesha killed")
	stop()
	process := startProcess(t, state)
	good("picloud ended and started again")
	killed := func() {
		t.Helper()
		check(t, process.Kill())
		_, err := process.Wait()
		check(t, err)
	}
	killed()
	process = startProcess(t, state)
	good("picloud killed and started again")
	killed()
	waitForNoServer(t)
}

func serveUntilKilled(t *testing.T, state string) {
	s, err := New(Config{State: state, NFSPort: DefaultNFSPort, MountPort: DefaultMountPort, Logger: testLog(t)})
	check(t, err)
	check(t, s.Serve(t.Context()))
}

// startProcess starts one that serves the state folder.
func startProcess(t *testing.T, state string) *os.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), serveHere+"="+state)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd.Process
}

// waitForNoServer waits until no nfs-ganesha is left in this network namespace:
// one that outlives its parent would keep a root from being unmounted.
func waitForNoServer(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile("/proc/net/tcp")
		check(t, err)
		listening := 0
		lines := bufio.NewScanner(strings.NewReader(string(b)))
		for lines.Scan() {
			const listen = "0A"
			if w := strings.Fields(lines.Text()); len(w) > 3 && w[3] == listen && !strings.HasSuffix(w[1], ":006F") {
				listening++
			}
		}
		if listening == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("something still listens:\n%s", b)
		}
	}
}
