//go:build netns

package daemon_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"picloud/engine/config"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/ganesha"
)

// unprivileged is the user "nobody", in place of the service's own.
const unprivileged = 65534

// unitCapabilities are those that the systemd unit gives the service.
func unitCapabilities(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("unit/picloud.service")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasSuffix(key, "Capabilities") || key == "CapabilityBoundingSet" {
			found[key] = strings.Fields(value)
		}
	}
	bounding, ambient := found["CapabilityBoundingSet"], found["AmbientCapabilities"]
	if len(bounding) == 0 || strings.Join(bounding, " ") != strings.Join(ambient, " ") {
		t.Fatalf("the unit's capabilities: bounding %q, ambient %q", bounding, ambient)
	}
	return bounding
}

// asUnit is the command line that runs a program with the user and capabilities
// that the unit has, and no more.
func asUnit(t *testing.T) []string {
	t.Helper()
	list := "-all"
	for _, c := range unitCapabilities(t) {
		list += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	return []string{
		"setpriv", fmt.Sprintf("--reuid=%d", unprivileged), fmt.Sprintf("--regid=%d", unprivileged), "--clear-groups",
		"--inh-caps=" + list, "--ambient-caps=" + list, "--bounding-set=" + list, "--no-new-privs",
	}
}

// TestServeRestarts restarts the service ten times, by turns in order and by
// kill -9, while a Pi writes to its root with every record synced. The Pi sees
// no error but only waits, as a kernel does; whatever was answered is in the
// file; and nothing was switched. The service has the user and the capabilities
// that its systemd unit gives it.
func TestServeRestarts(t *testing.T) {
	top, rack, path := smallRack(t)
	cfg := onGanesha(t, path, func(cfg *config.Config) { mountBtrfs(t, cfg.State) })
	if err := os.Chown(cfg.State, unprivileged, unprivileged); err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t)
	startPortmapper(t, top.ServerNamespace)
	start := func() *served {
		s := &served{lines: make(chan logLine, 10000)}
		args := append([]string{"netns", "exec", top.ServerNamespace, "unshare", "--mount", "--propagation", "private",
			"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$@"`, "sh"}, asUnit(t)...)
		s.start(t, exec.CommandContext(t.Context(), "ip", append(args, program, "serve", "--config", path)...))
		return s
	}
	s := start()
	t.Cleanup(func() {
		for t.Failed() {
			select {
			case l, ok := <-s.lines:
				if !ok {
					return
				}
				t.Log("service:", l)
			default:
				return
			}
		}
	})
	up := map[string]bool{}
	s.await(t, "both Pis up", 150*time.Second, func(l logLine) bool {
		if strings.HasPrefix(l.Msg, "deploy ok") {
			up[l.Pi] = true
		}
		if strings.Contains(l.Msg, "stalled") || l.Level == "ERROR" || l.Level == "RAW" {
			t.Errorf("%s: %s", l.Pi, l.Msg)
		}
		return len(up) == len(rack.Inventory().Pis)
	})
	segment := top.Segments[0]
	e := exportOf(t, cfg.State, segment.Pi)
	w := newWriter(t, segment.NS, segment.Pi, segment.Server.Addr(), uint16(cfg.NFS.Port), e.Path)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	w.awaitMore(t, done)

	for round := range 10 {
		began := time.Now()
		if round%2 == 0 {
			s.signal(t, syscall.SIGTERM)
			if err := s.wait(); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		} else {
			s.signal(t, syscall.SIGKILL)
			if err := s.wait(); err == nil {
				t.Error("survived SIGKILL")
			}
		}
		s = start()
		w.awaitMore(t, done)
		t.Logf("restart %d: the Pi writes again after %v", round+1, time.Since(began).Round(10*time.Millisecond))
		for _, p := range rack.Inventory().Pis {
			sw, err := rack.Switch(p.Switch)
			if err != nil {
				t.Fatal(err)
			}
			if !sw.Delivering(p.Port) {
				t.Errorf("%s has lost its power at restart %d", p.Name, round+1)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the Pi's writes: %v", err)
	}
	for _, p := range rack.Inventory().Pis {
		sim, err := rack.Pi(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		if c := sim.Counters(); c.Boots != 1 || c.Resets != 0 || c.Mounts != 1 {
			t.Errorf("%s: %d boots, %d resets, %d mounts, want 1, 0, 1", p.Name, c.Boots, c.Resets, c.Mounts)
		}
	}
	s.signal(t, syscall.SIGTERM)
	if err := s.wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	// The export is a mount in the service's own namespace, of the volume of that name.
	w.check(t, filepath.Join(cfg.State, "volumes", filepath.Base(e.Dir), writerFile))
}

func buildProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "picloud-program-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "picloud")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "picloud").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// startPortmapper starts the host's part, which runs as root: the service's own
// would need it.
func startPortmapper(t *testing.T, ns string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", ns, "unshare", "--mount", "--propagation", "private",
		"sh", "-c", "mount -t tmpfs tmpfs /run && mkdir /run/rpcbind && exec rpcbind -f")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// exportOf is the export to an address, as it is on record.
func exportOf(t *testing.T, state string, client netip.Addr) nfs.Export {
	t.Helper()
	records, err := filepath.Glob(filepath.Join(state, "nfs", "ganesha", "exports", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range records {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var e nfs.Export
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if e.Client == client {
			return e
		}
	}
	t.Fatalf("no export to %s in %q", client, records)
	return nfs.Export{}
}

// Programs, procedures and statuses of RFC 1813.
const (
	progNFS, progMount                          = 100003, 100005
	procMount, procWrite, procCreate            = 1, 7, 8
	statusJukebox                               = 10008
	fileSync                                    = 2
	recordLength                                = 64
	writerFile                                  = "written"
	writeEvery, callPatience, restartedPatience = 5 * time.Millisecond, 5 * time.Second, 60 * time.Second
)

// writer writes records to a file over NFS, each synced before the next. Like a
// kernel with a hard mount it dials again and asks again for as long as it
// takes; a status other than "later" is an error that a program on the Pi sees.
type writer struct {
	ns       netns.NsHandle
	from, to netip.Addr
	port     uint16
	conn     net.Conn
	xid      uint32
	file     []byte // the handle, from before the first restart to the end
	written  atomic.Int64
}

func newWriter(t *testing.T, ns netns.NsHandle, from, to netip.Addr, port uint16, dir string) *writer {
	t.Helper()
	w := &writer{ns: ns, from: from, to: to, port: ganesha.DefaultMountPort, xid: 1}
	ctx, cancel := context.WithTimeout(t.Context(), restartedPatience)
	defer cancel()
	root, err := w.call(ctx, progMount, procMount, opaqueXDR([]byte(dir)))
	if err != nil {
		t.Fatalf("mount: %v", err)
	}
	_ = w.conn.Close()
	w.conn, w.port = nil, port
	handle := root[4 : 4+binary.BigEndian.Uint32(root)]
	// UNCHECKED, mode 0600, no owner, group, size or times.
	args := append(append(opaqueXDR(handle), opaqueXDR([]byte(writerFile))...), wordsXDR(0, 1, 0o600, 0, 0, 0, 0, 0)...)
	made, err := w.call(ctx, progNFS, procCreate, args)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if binary.BigEndian.Uint32(made) != 1 {
		t.Fatal("create: no handle")
	}
	w.file = bytes.Clone(made[8 : 8+binary.BigEndian.Uint32(made[4:])])
	return w
}

func record(n int64) []byte { return fmt.Appendf(nil, "%-*d\n", recordLength-1, n) }

func (w *writer) run(ctx context.Context) error {
	defer func() {
		if w.conn != nil {
			_ = w.conn.Close()
		}
	}()
	for n := int64(0); ; n++ {
		args := append(opaqueXDR(w.file), wordsXDR(0, uint32(n*recordLength), recordLength, fileSync)...)
		reply, err := w.call(ctx, progNFS, procWrite, append(args, opaqueXDR(record(n))...))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		// wcc_data: both attributes may be there; then the count and how it was synced.
		at := reply
		for _, size := range [...]int{24, 84} {
			there := binary.BigEndian.Uint32(at) != 0
			at = at[4:]
			if there {
				at = at[size:]
			}
		}
		if count, how := binary.BigEndian.Uint32(at), binary.BigEndian.Uint32(at[4:]); count != recordLength || how != fileSync {
			return fmt.Errorf("record %d: %d bytes written, synced %d", n, count, how)
		}
		w.written.Store(n + 1)
		select {
		case <-time.After(writeEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitMore waits until the writer has gone on for a while.
func (w *writer) awaitMore(t *testing.T, done chan error) {
	t.Helper()
	want := w.written.Load() + 20
	for end := time.Now().Add(restartedPatience); w.written.Load() < want; time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("the Pi's writes: %v", err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the Pi writes no more after record %d", w.written.Load())
		}
	}
}

// check wants every record that was answered in the file.
func (w *writer) check(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := w.written.Load()
	for i := range n {
		if at := i * recordLength; int64(len(text)) < at+recordLength || !bytes.Equal(text[at:at+recordLength], record(i)) {
			t.Fatalf("record %d of %d is not in the file of %d bytes", i, n, len(text))
		}
	}
	t.Logf("%d records are all there", n)
}

// errStatus is what a program on the Pi would see.
var errStatus = errors.New("NFS status")

// call makes one call until it is answered, and returns what follows the status.
func (w *writer) call(ctx context.Context, prog, proc uint32, args []byte) ([]byte, error) {
	w.xid++
	cred := wordsXDR(0, 2, 0x70690000, 0, 0, 0) // AUTH_SYS of root on "pi"
	p := wordsXDR(w.xid, 0, 2, prog, 3, proc, 1, uint32(len(cred)))
	p = append(append(append(p, cred...), wordsXDR(0, 0)...), args...)
	p = append(wordsXDR(1<<31|uint32(len(p))), p...)
	for {
		reply, err := w.exchange(ctx, p)
		if err == nil {
			status := binary.BigEndian.Uint32(reply)
			if status == 0 {
				return reply[4:], nil
			}
			if status != statusJukebox {
				return nil, fmt.Errorf("%w %d", errStatus, status)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), cmp.Or(err, errStatus))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// exchange sends a call and returns the results of the answer to it. After an
// error it is sent again, on a new connection.
func (w *writer) exchange(ctx context.Context, p []byte) (_ []byte, err error) {
	if w.conn == nil {
		if w.conn, err = w.dial(ctx); err != nil {
			w.conn = nil
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			_ = w.conn.Close()
			w.conn = nil
		}
	}()
	if err := w.conn.SetDeadline(time.Now().Add(callPatience)); err != nil {
		return nil, err
	}
	if _, err := w.conn.Write(p); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(w.conn, head[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(head[:])&0xffff)
	if _, err := io.ReadFull(w.conn, reply); err != nil {
		return nil, err
	}
	// xid, REPLY, accepted, an empty verifier, success: RFC 5531, section 9.
	if want := append(bytes.Clone(p[4:8]), wordsXDR(1, 0, 0, 0, 0)...); len(reply) < len(want)+4 || !bytes.Equal(reply[:len(want)], want) {
		return nil, fmt.Errorf("answer %x", reply)
	}
	return reply[24:], nil
}

// dial connects from a reserved port of the Pi's address, in its namespace.
func (w *writer) dial(ctx context.Context) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends in the namespace
		if err := netns.Set(w.ns); err != nil {
			got <- result{nil, err}
			return
		}
		var r result
		for port := 600 + int(w.xid%400); port < 1024; port++ {
			d := net.Dialer{
				Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.from, uint16(port))),
				Control: func(_, _ string, c syscall.RawConn) (err error) {
					return errors.Join(c.Control(func(fd uintptr) {
						err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
					}), err)
				},
			}
			r.conn, r.err = d.DialContext(ctx, "tcp4", netip.AddrPortFrom(w.to, w.port).String())
			if !errors.Is(r.err, unix.EADDRINUSE) && !errors.Is(r.err, unix.EADDRNOTAVAIL) {
				break
			}
		}
		got <- r
	}()
	r := <-got
	return r.conn, r.err
}

func wordsXDR(all ...uint32) []byte {
	var p []byte
	for _, v := range all {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	return p
}

func opaqueXDR(v []byte) []byte {
	p := append(wordsXDR(uint32(len(v))), v...)
	return append(p, make([]byte, -len(v)&3)...)
}
