package attach

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"picloud/engine"
	"picloud/tui/door"
)

// still is a rack in which nothing happens.
type still struct{ engine.Viewer }

func (still) Snapshot() *engine.Snapshot {
	return &engine.Snapshot{Gen: 1, Rack: "A3", Pis: []engine.PiView{{Name: "a3-001", Port: engine.PortID{Switch: "sw1", Port: 1}}},
		Switches: []engine.SwitchView{{Name: "sw1", Ports: 1, Pis: []int{0}}}}
}

func (still) Subscribe() (<-chan *engine.Snapshot, func()) { return nil, func() {} }

// service runs a door that knows this user.
func service(t *testing.T, run func(ctx context.Context, s door.Session) int) (socket string, srv *door.Server, stop func()) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	srv, err = door.New(door.Config{
		HostKey: signer, Viewer: still{}, Run: run,
		Local: func(p door.Peer) (engine.Actor, bool) {
			return engine.Actor{Name: "hands", Role: engine.RoleOperator}, int(p.UID) == os.Getuid()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "s")
	l, err := door.ListenUnix(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return socket, srv, stop
}

// pty makes a terminal; what is shown on it is kept.
type pty struct {
	t        *testing.T
	keys     *os.File // the person's end
	terminal *os.File
	mu       sync.Mutex
	shown    bytes.Buffer
}

func newPty(t *testing.T, width, height int) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, keys: master, terminal: slave}
	p.resize(width, height)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.shown.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { slave.Close(); <-done; master.Close() })
	return p
}

func (p *pty) resize(width, height int) {
	if err := unix.IoctlSetWinsize(int(p.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

func (p *pty) wants(text string) {
	p.t.Helper()
	for range 500 {
		if strings.Contains(p.String(), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("no %q in %q", text, p)
}

func (p *pty) stdio(env ...string) Stdio {
	return Stdio{In: p.terminal, Out: p.terminal, Err: p.terminal, Env: append([]string{"TERM=xterm-256color"}, env...)}
}

type result struct {
	exit int
	err  error
}

func TestConsole(t *testing.T) {
	socket, srv, stop := service(t, func(context.Context, door.Session) int { return 0 })
	p := newPty(t, 80, 24)
	before, err := term.GetState(p.terminal.Fd())
	if err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context) chan result {
		done := make(chan result, 1)
		go func() {
			exit, err := Console(ctx, socket, p.stdio("LANG=C.UTF-8"))
			done <- result{exit, err}
		}()
		return done
	}
	sane := func() {
		t.Helper()
		if after, err := term.GetState(p.terminal.Fd()); err != nil || *after != *before {
			t.Errorf("the terminal is not as it was: %+v, %v", after, err)
		}
	}
	done := open(t.Context())
	p.wants("a3-001")
	p.wants("─") // LANG was sent
	if s := srv.Sessions(); len(s) != 1 || s[0].Actor.Name != "hands" || s[0].Actor.Source != "tty" || len(s[0].Command) != 0 {
		t.Errorf("sessions %+v", s)
	}
	p.resize(39, 9)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	p.wants("needs 40x10")
	_, _ = io.WriteString(p.keys, "q")
	if r := <-done; r != (result{0, nil}) {
		t.Errorf("%+v", r)
	}
	p.wants("\x1b[?1049l")
	sane()

	ctx, cancel := context.WithCancel(t.Context())
	p.resize(80, 24)
	done = open(ctx)
	p.wants("a3-001")
	cancel()
	if r := <-done; r.err != nil && !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	sane()

	done = open(t.Context())
	for len(srv.Sessions()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if r := <-done; r != (result{1, nil}) {
		t.Errorf("%+v", r)
	}
	p.wants("the service is stopping")
	sane()
	if _, err := Console(t.Context(), socket, p.stdio()); !errors.Is(err, ErrNoService) || !strings.Contains(err.Error(), "picloud serve --config") {
		t.Errorf("no service: %v", err)
	}
}

func TestExec(t *testing.T) {
	socket, _, _ := service(t, func(ctx context.Context, s door.Session) int {
		fmt.Fprintf(s.Stdout, "%q %d %v %s %v\n", s.Args, s.Width, s.TTY, s.Actor.Name, s.Env)
		fmt.Fprintln(s.Stderr, "a warning")
		switch s.Args[0] {
		case "ask":
			var answer string
			_, err := fmt.Fscanln(s.Stdin, &answer)
			fmt.Fprintf(s.Stdout, "<%s> %v\n", answer, err)
		case "stay":
			<-ctx.Done()
			return 130
		}
		return 2
	})
	var out, errs bytes.Buffer
	in := strings.NewReader("not to be read")
	args := []string{"pi", "show", "", "it's", `a "b" \`, "ä\nb"}
	exit, err := Exec(t.Context(), socket, args, Stdio{In: in, Out: &out, Err: &errs, Env: []string{"LANG=C", "SECRET=1"}})
	if want := fmt.Sprintf("%q 0 false hands [LANG=C]\n", args); exit != 2 || err != nil || out.String() != want || errs.String() != "a warning\n" || in.Len() == 0 {
		t.Errorf("exit %d, %v: %q %q", exit, err, out.String(), errs.String())
	}

	p := newPty(t, 132, 24)
	done := make(chan result, 1)
	go func() {
		exit, err := Exec(t.Context(), socket, []string{"ask"}, p.stdio())
		done <- result{exit, err}
	}()
	p.wants(`["ask"] 132 true hands [TERM=xterm-256color]` + "\r\n")
	_, _ = io.WriteString(p.keys, "nox\x7f\r") // edited by this terminal
	if r := <-done; r != (result{2, nil}) {
		t.Errorf("%+v", r)
	}
	p.wants("<no> <nil>\r\n")
	if n := strings.Count(p.String(), "no"); n != 2 {
		t.Errorf("echoed %d times: %q", n-1, p)
	}

	// A terminal shows the answer of a command whose input comes from elsewhere.
	p = newPty(t, 100, 24)
	s := p.stdio()
	s.In = strings.NewReader("yes\n")
	if exit, err := Exec(t.Context(), socket, []string{"ask"}, s); exit != 2 || err != nil {
		t.Error(exit, err)
	}
	p.wants(`["ask"] 100 false hands`)
	p.wants("<> EOF")

	ctx, cancel := context.WithCancel(t.Context())
	out.Reset()
	time.AfterFunc(100*time.Millisecond, cancel)
	if exit, err := Exec(ctx, socket, []string{"stay"}, Stdio{Out: &out, Err: io.Discard}); exit != 130 || err != nil {
		t.Errorf("interrupted: exit %d, %v", exit, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	silent, err := net.Listen("unix", filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			nc, err := silent.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
			nc.Close()
		}
	}()
	if _, err := Exec(t.Context(), filepath.Join(dir, "other"), []string{"x"}, Stdio{}); !errors.Is(err, ErrRefused) {
		t.Errorf("something else listens: %v", err)
	}
	if _, err := Exec(t.Context(), filepath.Join(dir, "none"), []string{"x"}, Stdio{}); !errors.Is(err, ErrNoService) {
		t.Errorf("nothing listens: %v", err)
	}
	if _, err := Console(t.Context(), filepath.Join(dir, "none"), Stdio{In: strings.NewReader(""), Out: io.Discard}); !errors.Is(err, ErrTerminal) {
		t.Errorf("no terminal: %v", err)
	}
	// A service that does not know this user says so.
	socket := filepath.Join(dir, "strict")
	l, err := door.ListenUnix(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := door.New(door.Config{HostKey: signer, Viewer: still{}, Run: func(context.Context, door.Session) int { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(t.Context(), l)
	_, err = Exec(t.Context(), socket, []string{"x"}, Stdio{})
	if want := fmt.Sprintf("uid %d is no operator's", os.Getuid()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestLost has a service that vanishes under a console: the terminal is usable
// afterwards.
func TestLost(t *testing.T) {
	socket, _, _ := service(t, func(context.Context, door.Session) int { return 0 })
	relay := filepath.Join(t.TempDir(), "relay")
	l, err := net.Listen("unix", relay)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cut := make(chan struct{})
	go func() {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		go io.Copy(a, b)
		go io.Copy(b, a)
		<-cut
		a.Close()
		b.Close()
	}()
	p := newPty(t, 80, 24)
	done := make(chan result, 1)
	go func() {
		exit, err := Console(t.Context(), relay, p.stdio())
		done <- result{exit, err}
	}()
	p.wants("a3-001")
	close(cut)
	if r := <-done; !errors.Is(r.err, ErrLost) {
		t.Errorf("%+v", r)
	}
	p.wants("\x1b[?1049l")
}
