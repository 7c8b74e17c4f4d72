package door

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

// people are the operators of a test.
type people struct {
	mu   sync.Mutex
	keys map[string]engine.Actor // by fingerprint
	uids map[uint32]engine.Actor
}

func (p *people) byKey(k ssh.PublicKey) (engine.Actor, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.keys[ssh.FingerprintSHA256(k)]
	return a, ok
}

func (p *people) byUID(peer Peer) (engine.Actor, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.uids[peer.UID]
	return a, ok
}

func (p *people) set(k ssh.Signer, name string, role engine.Role) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[ssh.FingerprintSHA256(k.PublicKey())] = engine.Actor{Name: name, Role: role}
}

// logText keeps a log.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world is a door with people before it.
type world struct {
	t      testing.TB
	rack   *rack
	people *people
	srv    *Server
	log    *logText
	addr   string
	socket string
	host   ssh.PublicKey
	stop   func() // ends Serve and waits
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func serve(t testing.TB, pis int, limits Limits, run func(ctx context.Context, s Session) int) *world {
	t.Helper()
	r := newRack(pis)
	w := serveViewer(t, r, limits, run)
	w.rack = r
	t.Cleanup(func() {
		w.stop()
		if n := r.viewers(); n != 0 {
			t.Errorf("%d sessions are still subscribed", n)
		}
	})
	return w
}

func serveViewer(t testing.TB, v engine.Viewer, limits Limits, run func(ctx context.Context, s Session) int) *world {
	t.Helper()
	before := goroutines()
	w := &world{
		t: t, log: &logText{}, socket: filepath.Join(t.TempDir(), "s"),
		people: &people{keys: map[string]engine.Actor{}, uids: map[uint32]engine.Actor{}},
	}
	if run == nil {
		run = func(_ context.Context, s Session) int {
			fmt.Fprintf(s.Stdout, "%q width %d tty %v\n", s.Args, s.Width, s.TTY)
			return 7
		}
	}
	host := newKey(t)
	w.host = host.PublicKey()
	var err error
	w.srv, err = New(Config{
		HostKey: host, Viewer: v, Operator: w.people.byKey, Local: w.people.byUID, Run: run,
		Limits: limits, Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local, err := ListenUnix(w.socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	w.addr = tcp.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.srv.Serve(ctx, tcp, local) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("Serve did not end:\n%s", stacks())
		}
		if !eventually(func() bool { return goroutines() <= before }) {
			t.Errorf("goroutines outlived Serve:\n%s", stacks())
		}
	})
	t.Cleanup(w.stop)
	return w
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// goroutines counts those of a door's server, its sessions and its library.
func goroutines() int {
	n := 0
	for _, g := range strings.Split(stacks(), "\n\n") {
		if strings.Contains(g, "door.(*Server)") || strings.Contains(g, "door.(*conn)") || strings.Contains(g, "door.(*session)") ||
			strings.Contains(g, "bubbletea") || strings.Contains(g, "picloud/tui.") {
			n++
		}
	}
	return n
}

// eventually waits for what another process or connection does.
func eventually(ok func() bool) bool {
	for range 500 {
		if ok() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func (w *world) config(keys ...ssh.Signer) *ssh.ClientConfig {
	c := &ssh.ClientConfig{User: "somebody", HostKeyCallback: ssh.FixedHostKey(w.host), Timeout: 5 * time.Second}
	if len(keys) > 0 {
		c.Auth = []ssh.AuthMethod{ssh.PublicKeys(keys...)}
	}
	return c
}

func (w *world) dial(key ssh.Signer) *ssh.Client {
	w.t.Helper()
	c, err := ssh.Dial("tcp", w.addr, w.config(key))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) operator(name string, role engine.Role) ssh.Signer {
	k := newKey(w.t)
	w.people.set(k, name, role)
	return k
}

// screen is a console on a fake terminal: what was written, and keys.
type screen struct {
	t    testing.TB
	se   *ssh.Session
	keys io.WriteCloser
	out  *logText
	errs *logText
}

func open(t testing.TB, c *ssh.Client, width, height int) *screen {
	t.Helper()
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { se.Close() })
	s := &screen{t: t, se: se, out: &logText{}, errs: &logText{}}
	se.Stdout, se.Stderr = s.out, s.errs
	s.keys, err = se.StdinPipe()
	if err = errors.Join(err, se.RequestPty("xterm-256color", height, width, ssh.TerminalModes{})); err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) console(c *ssh.Client) *screen {
	w.t.Helper()
	s := open(w.t, c, 80, 24)
	if err := s.se.Shell(); err != nil {
		w.t.Fatal(err)
	}
	s.wants("a3-0001")
	return s
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		s.t.Errorf("press %q: %v", keys, err)
	}
}

func (s *screen) wants(text string) {
	s.t.Helper()
	if !eventually(func() bool { return strings.Contains(s.out.String(), text) }) {
		s.t.Fatalf("no %q in %q\nstderr %q", text, s.out, s.errs)
	}
}

// exit waits for the exit status.
func (s *screen) exit() int {
	s.t.Helper()
	return exitOf(s.t, s.se.Wait())
}

func exitOf(t testing.TB, err error) int {
	t.Helper()
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus()
	}
	if err != nil {
		t.Errorf("the session ended by %v", err)
		return -1
	}
	return 0
}
