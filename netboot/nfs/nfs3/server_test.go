package nfs3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"picloud/netboot/nfs"
	"picloud/netboot/nfs/nfstest"
)

// start serves on all loopback addresses until the test ends.
func start(tb testing.TB, cfg Config) (*Server, uint16) {
	tb.Helper()
	l, err := nfs.Listen(context.Background(), netip.MustParseAddrPort("0.0.0.0:0"), "lo")
	if err != nil {
		tb.Fatal(err)
	}
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return s, uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestConformance(t *testing.T) {
	nfstest.Run(t, func(t *testing.T) nfstest.Server {
		s, port := start(t, Config{})
		return nfstest.Server{Exporter: s, MountPort: port, NFSPort: port}
	})
}

var testPi = netip.MustParseAddr("127.64.0.2")

// eventLog collects events.
type eventLog struct {
	mu     sync.Mutex
	events []Event
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLog) last() Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return Event{}
	}
	return l.events[len(l.events)-1]
}

// fixture is a server with one export and a session of its client, without a network.
func fixture(tb testing.TB, cfg Config) (*Server, *session, nfs.Export) {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("pi\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	e := nfs.Export{ID: "pi", Dir: dir, Path: "/srv/pi", Client: testPi, ReadOnly: true}
	s := New(cfg)
	if err := s.Add(context.Background(), e); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.closeAll)
	return s, &session{server: s, client: testPi}, e
}

// rpcCall builds a call by root with AUTH_SYS.
func rpcCall(prog, vers, proc uint32, args ...any) []byte {
	var cred []byte
	cred = appendUint32(cred, 1)
	cred = appendOpaque(cred, "pi")
	cred = appendUint32(appendUint32(appendUint32(cred, 0), 0), 0)
	b := appendUint32(nil, 0x1234)
	for _, v := range []uint32{msgCall, rpcVersion, prog, vers, proc, authSys} {
		b = appendUint32(b, v)
	}
	b = appendOpaque(b, cred)
	b = appendUint32(appendUint32(b, authNone), 0)
	for _, a := range args {
		switch a := a.(type) {
		case int:
			b = appendUint32(b, uint32(a))
		case uint64:
			b = appendUint64(b, a)
		case string:
			b = appendOpaque(b, a)
		case []byte:
			b = appendOpaque(b, a)
		default:
			panic(fmt.Sprintf("%T", a))
		}
	}
	return b
}

// do sends one call and returns what follows the RPC head, which must say success.
func do(tb testing.TB, s *session, rec []byte) decoder {
	tb.Helper()
	reply, err := s.handle(rec, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if want := appendAccepted(nil, 0x1234, acceptSuccess); !bytes.HasPrefix(reply, want) {
		tb.Fatalf("reply %x", reply)
	}
	return decoder{b: reply[24:]}
}

func mountHandle(tb testing.TB, s *session, path string) []byte {
	tb.Helper()
	d := do(tb, s, rpcCall(programMount, 3, mountMnt, path))
	if st := status(d.uint32()); st != ok {
		tb.Fatalf("mount: %d", st)
	}
	return d.opaque(maxHandle)
}

func lookupHandle(tb testing.TB, s *session, dir []byte, name string) []byte {
	tb.Helper()
	d := do(tb, s, rpcCall(programNFS, 3, 3, dir, name))
	if st := status(d.uint32()); st != ok {
		tb.Fatalf("lookup %s: %d", name, st)
	}
	return d.opaque(maxHandle)
}

// TestReplyBytes compares whole replies with RFC 5531 and RFC 1813.
func TestReplyBytes(t *testing.T) {
	_, s, e := fixture(t, Config{})
	root := mountHandle(t, s, e.Path)
	badCred := rpcCall(programNFS, 3, 1)
	binary.BigEndian.PutUint32(badCred[24:], 6) // RPCSEC_GSS
	oldRPC := rpcCall(programNFS, 3, 1)
	binary.BigEndian.PutUint32(oldRPC[8:], 3)
	for _, test := range []struct {
		name string
		call []byte
		want string
	}{
		{"null", rpcCall(programNFS, 3, 0), "00001234 00000001 00000000 00000000 00000000 00000000"},
		{"unknown program", rpcCall(100227, 3, 0), "00001234 00000001 00000000 00000000 00000000 00000001"},
		{"nfs version 4", rpcCall(programNFS, 4, 1), "00001234 00000001 00000000 00000000 00000000 00000002 00000003 00000003"},
		{"unknown procedure", rpcCall(programNFS, 3, 22), "00001234 00000001 00000000 00000000 00000000 00000003"},
		{"unknown mount procedure", rpcCall(programMount, 3, 6), "00001234 00000001 00000000 00000000 00000000 00000003"},
		{"no arguments", rpcCall(programNFS, 3, 1), "00001234 00000001 00000000 00000000 00000000 00000004"},
		{"half arguments", rpcCall(programNFS, 3, 6, root), "00001234 00000001 00000000 00000000 00000000 00000004"},
		{"rpc version 3", oldRPC, "00001234 00000001 00000001 00000000 00000002 00000002"},
		{"unknown credential", badCred, "00001234 00000001 00000001 00000001 00000001"},
		{"mount refused", rpcCall(programMount, 3, mountMnt, "/srv/other"), "00001234 00000001 00000000 00000000 00000000 00000000 0000000d"},
		{"dump", rpcCall(programMount, 3, mountDump), "00001234 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"export", rpcCall(programMount, 3, mountExport), "00001234 00000001 00000000 00000000 00000000 00000000 00000001 00000007 2f737276 2f706900" +
			"00000001 0000000a 3132372e 36342e30 2e320000 00000000 00000000"},
		{"short handle", rpcCall(programNFS, 3, 1, []byte{1}), "00001234 00000001 00000000 00000000 00000000 00000000 00002711"},
		{"stale handle", rpcCall(programNFS, 3, 3, make([]byte, handleLen), "x"), "00001234 00000001 00000000 00000000 00000000 00000000 00000046 00000000"},
		{"write", rpcCall(programNFS, 3, 7, root, uint64(0), 1, 0, "x"), "00001234 00000001 00000000 00000000 00000000 00000000 0000001e 00000000 00000000"},
		{"rename", rpcCall(programNFS, 3, 14, root, "a", root, "b"), "00001234 00000001 00000000 00000000 00000000 00000000 0000001e 00000000 00000000 00000000 00000000"},
		{"read directory", rpcCall(programNFS, 3, 6, root, uint64(0), 100), "00001234 00000001 00000000 00000000 00000000 00000000 00000015 00000000"},
		{"readdir too small", rpcCall(programNFS, 3, 16, root, uint64(0), uint64(0), 16), "00001234 00000001 00000000 00000000 00000000 00000000 00002715 00000000"},
		{"readdir bad cookie", rpcCall(programNFS, 3, 16, root, uint64(2), uint64(99), 4096), "00001234 00000001 00000000 00000000 00000000 00000000 00002713 00000000"},
		{"lookup of a path", rpcCall(programNFS, 3, 3, root, "etc/hostname"), "00001234 00000001 00000000 00000000 00000000 00000000 00000016 00000000"},
		{"lookup of a long name", rpcCall(programNFS, 3, 3, root, strings.Repeat("a", 256)), "00001234 00000001 00000000 00000000 00000000 00000000 0000003f 00000000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(test.want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.handle(test.call, nil)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v\n got %x\nwant %x", err, got, want)
			}
		})
	}
}

// TestReadReplyBytes checks READ and the attributes field by field.
func TestReadReplyBytes(t *testing.T) {
	_, s, e := fixture(t, Config{})
	name := filepath.Join(e.Dir, "etc/hostname")
	mtime := time.Unix(1_700_000_000, 123_456_789)
	if err := os.Chtimes(name, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o4755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	fh := lookupHandle(t, s, lookupHandle(t, s, mountHandle(t, s, e.Path), "etc"), "hostname")
	got := do(t, s, rpcCall(programNFS, 3, 6, fh, uint64(1), 1000)).b
	id := e.FSID()
	want := fmt.Sprintf("00000000 00000001 00000001 000009ed 00000001 %08x %08x 0000000000000003 %016x 0000000000000000 %x %016x"+
		"6553f100 075bcd15 6553f100 075bcd15 %08x %08x 00000002 00000001 00000002 690a0000",
		st.Uid, st.Gid, st.Blocks*512, id[:8], st.Ino, uint32(st.Ctim.Sec), uint32(st.Ctim.Nsec))
	wantBytes, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, wantBytes) {
		t.Errorf("\n got %x\nwant %x", got, wantBytes)
	}
}

func TestReadBounds(t *testing.T) {
	_, s, e := fixture(t, Config{})
	big := bytes.Repeat([]byte{'x'}, maxRead+1000)
	if err := os.WriteFile(filepath.Join(e.Dir, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	fh := lookupHandle(t, s, mountHandle(t, s, e.Path), "big")
	for _, test := range []struct {
		offset uint64
		count  uint32
		want   int
		eof    uint32
	}{
		{0, 0, 0, 0},
		{0, 10, 10, 0},
		{0, 1 << 31, maxRead, 0},
		{maxRead, 1<<32 - 1, 1000, 1},
		{maxRead + 1000, 10, 0, 1},
		{1 << 62, 10, 0, 1},
		{1<<64 - 1, 10, 0, 1},
	} {
		d := do(t, s, rpcCall(programNFS, 3, 6, fh, test.offset, int(test.count)))
		st, _ := d.uint32(), d.take(postOpAttrLen)
		count, eof := d.uint32(), d.uint32()
		data := d.opaque(maxRead)
		if st != 0 || int(count) != test.want || eof != test.eof || len(data) != test.want || d.bad || len(d.b) != 0 {
			t.Errorf("read(%d, %d): status %d, %d bytes, eof %d", test.offset, test.count, st, count, eof)
		}
	}
}

// TestHostileTree: what lies in a root must not make the server wait, open a
// device or leave the root.
func TestHostileTree(t *testing.T) {
	_, s, e := fixture(t, Config{})
	root := mountHandle(t, s, e.Path)
	if err := syscall.Mkfifo(filepath.Join(e.Dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	pipe := lookupHandle(t, s, root, "pipe")
	d := do(t, s, rpcCall(programNFS, 3, 6, pipe, uint64(0), 10))
	if st := status(d.uint32()); st != errInval {
		t.Errorf("read of a pipe: %d", st)
	}

	// A directory that was looked up is replaced by a link that leads out.
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "hostname"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	etc := lookupHandle(t, s, root, "etc")
	host := lookupHandle(t, s, etc, "hostname")
	if err := os.Rename(filepath.Join(e.Dir, "etc"), filepath.Join(e.Dir, "etc.old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(e.Dir, "etc")); err != nil {
		t.Fatal(err)
	}
	d = do(t, s, rpcCall(programNFS, 3, 6, host, uint64(0), 100))
	if st := status(d.uint32()); st != errStale && st != errAccess {
		t.Errorf("read through a link: %d %x", st, d.b)
	}
	d = do(t, s, rpcCall(programNFS, 3, 3, etc, "hostname"))
	if st := status(d.uint32()); st != errStale {
		t.Errorf("lookup through a link: %d", st)
	}
	// A handle follows its directory's new name once that has been seen.
	lookupHandle(t, s, root, "etc.old")
	if d = do(t, s, rpcCall(programNFS, 3, 6, host, uint64(0), 100)); d.uint32() != 0 {
		t.Error("handle lost by the rename of its directory")
	}
}

// TestUnlinkedIsStale: another file of the same name is another file.
func TestUnlinkedIsStale(t *testing.T) {
	_, s, e := fixture(t, Config{})
	etc := lookupHandle(t, s, mountHandle(t, s, e.Path), "etc")
	host := lookupHandle(t, s, etc, "hostname")
	next := filepath.Join(e.Dir, "next")
	if err := os.WriteFile(next, []byte("other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(e.Dir, "etc/hostname")); err != nil {
		t.Fatal(err)
	}
	d := do(t, s, rpcCall(programNFS, 3, 1, host))
	if st := status(d.uint32()); st != errStale {
		t.Errorf("replaced file: %d", st)
	}
}

func TestPermissions(t *testing.T) {
	f := file{st: syscall.Stat_t{Mode: syscall.S_IFREG | 0o640, Uid: 1000, Gid: 50}}
	for _, test := range []struct {
		who  identity
		perm uint32
		want bool
	}{
		{identity{uid: 0}, permExec, true},
		{identity{uid: 1000}, permRead, true},
		{identity{uid: 1000}, permExec, false},
		{identity{uid: 7, gid: 50}, permRead, true},
		{identity{uid: 7, groups: []uint32{1, 50}}, permRead, true},
		{identity{uid: nobody, gid: nobody}, permRead, false},
	} {
		if got := f.may(test.who, test.perm); got != test.want {
			t.Errorf("%+v %d: %v", test.who, test.perm, got)
		}
	}
}

func TestFileLimit(t *testing.T) {
	_, s, e := fixture(t, Config{MaxFiles: 1})
	root := mountHandle(t, s, e.Path)
	etc := lookupHandle(t, s, root, "etc")
	d := do(t, s, rpcCall(programNFS, 3, 3, etc, "hostname"))
	if st := status(d.uint32()); st != errServerFault {
		t.Errorf("beyond the limit: %d", st)
	}
	d = do(t, s, rpcCall(programNFS, 3, 17, etc, uint64(0), uint64(0), 4096, 4096))
	if st := status(d.uint32()); st != ok {
		t.Errorf("listing beyond the limit: %d", st)
	}
}

func TestEvents(t *testing.T) {
	var log eventLog
	s, own, e := fixture(t, Config{OnEvent: log.add})
	stranger := &session{server: s, client: netip.MustParseAddr("127.64.0.6")}
	for _, test := range []struct {
		s    *session
		proc uint32
		path string
		want Event
	}{
		{own, mountMnt, e.Path, Event{Kind: EventMounted, Client: testPi, ID: "pi", Path: e.Path}},
		{own, mountUmnt, e.Path, Event{Kind: EventUnmounted, Client: testPi, ID: "pi", Path: e.Path}},
		{own, mountMnt, "/srv/po", Event{Kind: EventRefused, Client: testPi, Path: "/srv/po",
			Reason: "this address has /srv/pi, not this path: check nfsroot= in its cmdline.txt"}},
		{stranger, mountMnt, e.Path, Event{Kind: EventRefused, Client: stranger.client, Path: e.Path,
			Reason: "the path is exported to 127.64.0.2 only"}},
		{stranger, mountMnt, "/x", Event{Kind: EventRefused, Client: stranger.client, Path: "/x",
			Reason: "nothing is exported to this address"}},
	} {
		do(t, test.s, rpcCall(programMount, 3, test.proc, test.path))
		got := log.last()
		got.Time = time.Time{}
		if got != test.want {
			t.Errorf("got %+v\nwant %+v", got, test.want)
		}
	}
	refused := rpcCall(programMount, 3, mountMnt, "/x")
	for range maxRefusals {
		if _, err := stranger.handle(refused, nil); err != nil {
			return
		}
	}
	t.Error("refused mounts go on for ever")
}

func TestPanicIsContained(t *testing.T) {
	_, s, e := fixture(t, Config{OnEvent: func(e Event) {
		if e.Kind == EventMounted {
			panic("observer")
		}
	}})
	reply, err := s.handle(rpcCall(programMount, 3, mountMnt, e.Path), nil)
	if err == nil || !bytes.Equal(reply, appendAccepted(nil, 0x1234, acceptSystemErr)) {
		t.Errorf("%v %x", err, reply)
	}
}

// TestTimeouts: silence and a call that never ends are both cut off.
func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name string
		send []byte
		want time.Duration
	}{
		{"silent", nil, time.Minute},
		{"half a call", []byte{0x80, 0, 0, 40, 1, 2}, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{IdleTimeout: time.Minute, IOTimeout: time.Second})
				near, far := net.Pipe()
				begin := time.Now()
				done := make(chan struct{})
				go func() { s.serveConn(&connection{Conn: far, client: testPi}); close(done) }()
				if test.send != nil {
					if _, err := near.Write(test.send); err != nil {
						t.Fatal(err)
					}
				}
				<-done
				if took := time.Since(begin); took != test.want {
					t.Errorf("took %v", took)
				}
				near.Close()
			})
		})
	}
}

func TestBadRecordsDropConnection(t *testing.T) {
	for name, send := range map[string][]byte{
		"too long":           {0xff, 0xff, 0xff, 0xff},
		"too long in pieces": append(append([]byte{0, 0, 0x3f, 0xff}, make([]byte, 0x3fff)...), 0x80, 0, 0, 2),
		"endless fragments":  make([]byte, 4*maxFragments),
		"a reply":            append([]byte{0x80, 0, 0, 8}, 0, 0, 0, 1, 0, 0, 0, 1),
		"empty":              {0x80, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log eventLog
			s := New(Config{OnEvent: log.add})
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() { s.serveConn(&connection{Conn: far, client: testPi}); close(done) }()
			near.Write(send)
			<-done
			if e := log.last(); e.Kind != EventDropped || e.Reason == "" {
				t.Errorf("event %+v", e)
			}
			near.Close()
		})
	}
}

func dialFrom(tb testing.TB, src, dst string, port uint16) net.Conn {
	tb.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(src)}}
	c, err := d.Dial("tcp4", net.JoinHostPort(dst, fmt.Sprint(port)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// roundTrip sends a call in two fragments and reads the reply.
func roundTrip(c net.Conn, call []byte) ([]byte, error) {
	msg := appendUint32(nil, 8)
	msg = append(msg, call[:8]...)
	msg = appendUint32(msg, 1<<31|uint32(len(call)-8))
	if _, err := c.Write(append(msg, call[8:]...)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(head[:])&^(1<<31))
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// TestConnectionLimits: a Pi's new connection replaces its idlest one; the
// limit in all closes the newcomer.
func TestConnectionLimits(t *testing.T) {
	_, port := start(t, Config{MaxConns: 3, MaxConnsPerClient: 2})
	null := rpcCall(programNFS, 3, 0)
	use := func(c net.Conn) error { _, err := roundTrip(c, null); return err }
	first, second := dialFrom(t, "127.64.0.2", "127.64.0.1", port), dialFrom(t, "127.64.0.2", "127.64.0.1", port)
	for _, c := range []net.Conn{second, first} {
		if err := use(c); err != nil {
			t.Fatal(err)
		}
	}
	third := dialFrom(t, "127.64.0.2", "127.64.0.1", port)
	if err := use(third); err != nil {
		t.Fatal(err)
	}
	if err := use(second); err == nil {
		t.Error("the idlest connection is still there")
	}
	if err := use(first); err != nil {
		t.Errorf("a busy connection was closed: %v", err)
	}
	other := dialFrom(t, "127.64.0.6", "127.64.0.5", port)
	if err := use(other); err != nil {
		t.Errorf("another client: %v", err)
	}
	if err := use(dialFrom(t, "127.64.0.10", "127.64.0.9", port)); err == nil {
		t.Error("one connection too many was served")
	}
}

// TestStop: ctx ends everything, connections too, and nothing is left running.
func TestStop(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := nfs.Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:0"), "lo")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	c := dialFrom(t, "127.64.0.2", "127.64.0.1", uint16(l.Addr().(*net.TCPAddr).Port))
	if _, err := roundTrip(c, rpcCall(programNFS, 3, 0)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("connection outlived the server")
	}
	e := nfs.Export{ID: "x", Dir: t.TempDir(), Path: "/x", Client: testPi, ReadOnly: true}
	if err := s.Add(context.Background(), e); err == nil {
		t.Error("Add after the end")
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestManyPis: 500 Pis mount and read at once.
func TestManyPis(t *testing.T) {
	s, port := start(t, Config{})
	base := t.TempDir()
	const pis = 500
	var wg sync.WaitGroup
	errs := make(chan error, pis)
	for i := range pis {
		server := netip.AddrFrom4([4]byte{127, 64, byte(i >> 6), byte(i<<2 | 1)})
		pi := server.Next()
		dir := filepath.Join(base, fmt.Sprint(i), "etc")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("pi-%d", i)
		if err := os.WriteFile(filepath.Join(dir, "hostname"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		e := nfs.Export{ID: want, Dir: filepath.Dir(dir), Path: "/srv/" + want, Client: pi, ReadOnly: true}
		if err := s.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		c := dialFrom(t, pi.String(), server.String(), port)
		wg.Go(func() { errs <- bootRead(c, e.Path, want) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bootRead mounts and reads /etc/hostname.
func bootRead(c net.Conn, path, want string) error {
	call := func(rec []byte, skip int) (decoder, error) {
		reply, err := roundTrip(c, rec)
		if err != nil {
			return decoder{}, err
		}
		d := decoder{b: reply}
		d.take(24)
		if st := d.uint32(); st != 0 || d.bad {
			return d, fmt.Errorf("%s: status %d", want, st)
		}
		d.take(uint64(skip))
		return d, nil
	}
	d, err := call(rpcCall(programMount, 3, mountMnt, path), 0)
	for _, name := range []string{"etc", "hostname"} {
		if err != nil {
			return err
		}
		d, err = call(rpcCall(programNFS, 3, 3, d.opaque(maxHandle), name), 0)
	}
	if err != nil {
		return err
	}
	if d, err = call(rpcCall(programNFS, 3, 6, d.opaque(maxHandle), uint64(0), 4096), postOpAttrLen+8); err != nil {
		return err
	}
	if got := d.opaque(4096); string(got) != want {
		return fmt.Errorf("read %q, want %q", got, want)
	}
	return nil
}

func FuzzHandle(f *testing.F) {
	_, s, e := fixture(f, Config{})
	root := mountHandle(f, s, e.Path)
	etc := lookupHandle(f, s, root, "etc")
	host := lookupHandle(f, s, etc, "hostname")
	for _, rec := range [][]byte{
		rpcCall(programMount, 3, mountMnt, e.Path), rpcCall(programMount, 3, mountUmnt, e.Path), rpcCall(programMount, 3, mountExport),
		rpcCall(programNFS, 3, 0), rpcCall(programNFS, 3, 1, host), rpcCall(programNFS, 3, 3, etc, "hostname"),
		rpcCall(programNFS, 3, 4, etc, 0x3f), rpcCall(programNFS, 3, 5, host), rpcCall(programNFS, 3, 6, host, uint64(0), 4096),
		rpcCall(programNFS, 3, 16, etc, uint64(0), uint64(0), 4096), rpcCall(programNFS, 3, 17, etc, uint64(0), uint64(0), 512, 4096),
		rpcCall(programNFS, 3, 18, root), rpcCall(programNFS, 3, 19, root), rpcCall(programNFS, 3, 20, root),
		rpcCall(programNFS, 3, 7, host, uint64(0), 1, 2, "x"), rpcCall(programNFS, 3, 14, etc, "a", etc, "b"),
	} {
		f.Add(rec)
	}
	f.Fuzz(func(t *testing.T, rec []byte) {
		// A token is random: give the fuzzer's handles the right one half of the time.
		sess := &session{server: s.server, client: testPi}
		for _, r := range [][]byte{rec, withToken(rec, root[:tokenLen])} {
			reply, err := sess.handle(r, nil)
			if errors.Is(err, errPanicked) {
				t.Fatal("panicked")
			}
			if len(reply) > maxRead+1024 || len(reply)%4 != 0 {
				t.Fatalf("reply of %d bytes", len(reply))
			}
		}
	})
}

// withToken puts the export's token where a call's first handle has its own.
func withToken(rec, tok []byte) []byte {
	c, err := parseCall(rec)
	if err != nil {
		return rec
	}
	if start := len(rec) - len(c.args.b) + 4; start+tokenLen <= len(rec) {
		rec = bytes.Clone(rec)
		copy(rec[start:], tok)
	}
	return rec
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{0, 0, 0, 1, 9, 0x80, 0, 0, 1, 8})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := readRecord(bufio.NewReader(bytes.NewReader(b)), nil)
		if err == nil && len(rec) > len(b) || cap(rec) > 2*maxRecord {
			t.Fatalf("%d bytes from %d, cap %d", len(rec), len(b), cap(rec))
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	_, s, e := fixture(b, Config{})
	etc := lookupHandle(b, s, mountHandle(b, s, e.Path), "etc")
	rec := rpcCall(programNFS, 3, 3, etc, "hostname")
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.handle(rec, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead64K(b *testing.B) {
	_, s, e := fixture(b, Config{})
	if err := os.WriteFile(filepath.Join(e.Dir, "big"), make([]byte, maxRead), 0o644); err != nil {
		b.Fatal(err)
	}
	rec := rpcCall(programNFS, 3, 6, lookupHandle(b, s, mountHandle(b, s, e.Path), "big"), uint64(0), maxRead)
	buf := make([]byte, 0, 2*maxRead)
	b.SetBytes(maxRead)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.handle(rec, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAddAfterReimage: the same export again, but its folder has been replaced.
func TestAddAfterReimage(t *testing.T) {
	s, sess, e := fixture(t, Config{})
	old := mountHandle(t, sess, e.Path)
	if err := os.Rename(e.Dir, e.Dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(e.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	d := do(t, sess, rpcCall(programNFS, 3, 1, old))
	if st := status(d.uint32()); st != errStale {
		t.Errorf("handle of the former folder: %d", st)
	}
	d = do(t, sess, rpcCall(programNFS, 3, 3, mountHandle(t, sess, e.Path), "etc"))
	if st := status(d.uint32()); st != errNoEnt {
		t.Errorf("the former folder is still served: %d", st)
	}
}

func TestHandlesSurviveARestart(t *testing.T) {
	key := []byte("a secret of this test")
	first, sess, e := fixture(t, Config{Key: key})
	root := mountHandle(t, sess, e.Path)
	host := lookupHandle(t, sess, lookupHandle(t, sess, root, "etc"), "hostname")
	first.closeAll()

	for _, tc := range []struct {
		name   string
		key    []byte
		client netip.Addr
		want   status
	}{
		{"same key", key, testPi, ok},
		{"another key", []byte("another"), testPi, errStale},
		{"no key", nil, testPi, errStale},
		{"another Pi", key, testPi.Next(), errStale},
	} {
		next := New(Config{Key: tc.key})
		defer next.closeAll()
		if err := next.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		for _, handle := range [][]byte{host, root} {
			d := do(t, &session{server: next, client: tc.client}, rpcCall(programNFS, 3, 1, handle))
			if st := status(d.uint32()); st != tc.want {
				t.Errorf("%s: status %d, want %d", tc.name, st, tc.want)
			}
		}
	}
}
