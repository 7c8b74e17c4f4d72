package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

func TestLogins(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	known := w.operator("alice", engine.RoleOperator)
	stranger := newKey(t)
	password := w.config()
	password.Auth = []ssh.AuthMethod{ssh.Password("picloud"), ssh.KeyboardInteractive(
		func(_, _ string, q []string, _ []bool) ([]string, error) { return make([]string, len(q)), nil })}
	for name, tt := range map[string]struct {
		config *ssh.ClientConfig
		ok     bool
		logged string
	}{
		"known key":       {w.config(known), true, ""},
		"one of two keys": {w.config(stranger, known), true, ""},
		"stranger":        {w.config(stranger), false, ssh.FingerprintSHA256(stranger.PublicKey())},
		"nothing":         {w.config(), false, "no login"},
		"password":        {password, false, "no login"},
		"borrowed key":    {w.config(borrowed{known, newKey(t)}), false, ssh.FingerprintSHA256(known.PublicKey())},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ssh.Dial("tcp", w.addr, tt.config)
			if c != nil {
				defer c.Close()
			}
			if (err == nil) != tt.ok {
				t.Fatalf("%v", err)
			}
			if !eventually(func() bool { return strings.Contains(w.log.String(), tt.logged) }) {
				t.Errorf("not logged: %s", w.log)
			}
		})
	}
	if text := w.log.String(); !strings.Contains(text, "login refused") || !strings.Contains(text, "from=127.0.0.1:") {
		t.Errorf("log: %s", text)
	}
}

// borrowed offers a key that it cannot sign with.
type borrowed struct{ offered, has ssh.Signer }

func (b borrowed) PublicKey() ssh.PublicKey { return b.offered.PublicKey() }
func (b borrowed) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return b.has.Sign(r, data)
}

// TestKinds asks for each kind of session.
func TestKinds(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	c := w.dial(w.operator("alice", engine.RoleOperator))
	for _, tt := range []struct {
		name, command, want string
		pty, shell          bool
		exit                int
	}{
		{name: "command", command: `pi show 'a b'`, want: `["pi" "show" "a b"] width 0 tty false` + "\n", exit: 7},
		{name: "neither", shell: true, want: `["watch"] width 0 tty false` + "\n", exit: 7},
		{name: "empty command", command: "  ", want: `["watch"] width 0 tty false` + "\n", exit: 7},
		{name: "command on a terminal", command: "pi list", pty: true, want: `["pi" "list"] width 120 tty true` + "\r\n", exit: 7},
		{name: "no command line", command: `pi 'list`, want: "", exit: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			se, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			defer se.Close()
			var out strings.Builder
			se.Stdout = &out
			if tt.pty {
				err = se.RequestPty("vt220", 40, 120, ssh.TerminalModes{})
			}
			if tt.shell {
				err = errors.Join(err, se.Shell())
			} else {
				err = errors.Join(err, se.Start(tt.command))
			}
			if err != nil {
				t.Fatal(err)
			}
			if code := exitOf(t, se.Wait()); code != tt.exit || out.String() != tt.want {
				t.Errorf("exit %d, %q", code, out.String())
			}
		})
	}
	s := w.console(c)
	if n := len(w.srv.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	s.press("q")
	if code := s.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
	s.wants("\x1b[?1049l")
	if text := w.log.String(); !strings.Contains(text, "what=console") || !strings.Contains(text, "session ends") || !strings.Contains(text, "actor=alice") {
		t.Errorf("log: %s", text)
	}
}

func TestDumbTerminal(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	c := w.dial(w.operator("alice", engine.RoleOperator))
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var errs logText
	se.Stderr = &errs
	if err := errors.Join(se.RequestPty("dumb", 24, 80, nil), se.Shell()); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, se.Wait()); code != 1 || !strings.Contains(errs.String(), "watch prints") {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

// TestResize makes the terminal too small and large again.
func TestResize(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	s := w.console(w.dial(w.operator("alice", engine.RoleOperator)))
	if err := s.se.WindowChange(9, 39); err != nil {
		t.Fatal(err)
	}
	s.wants("needs 40x10")
	before := len(s.out.String())
	if err := s.se.WindowChange(30, 100); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return strings.Contains(s.out.String()[before:], "a3-0001") }) {
		t.Errorf("not drawn again: %q", s.out.String()[before:])
	}
}

// TestRefusedRequests asks for what the door does not do.
func TestRefusedRequests(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	c := w.dial(w.operator("alice", engine.RoleAdmin))
	for _, kind := range []string{"direct-tcpip", "x11", "auth-agent@openssh.com", "direct-streamlocal@openssh.com"} {
		if _, _, err := c.OpenChannel(kind, nil); err == nil {
			t.Errorf("channel %s was opened", kind)
		}
	}
	for _, kind := range []string{"tcpip-forward", "streamlocal-forward@openssh.com"} {
		if ok, _, err := c.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("request %s: %v, %v", kind, ok, err)
		}
	}
	ch, reqs, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	env := func(name, value string) []byte { return ssh.Marshal(struct{ N, V string }{name, value}) }
	for _, tt := range []struct {
		kind    string
		payload []byte
		ok      bool
	}{
		{"auth-agent-req@openssh.com", nil, false},
		{"x11-req", nil, false},
		{"subsystem", ssh.Marshal(struct{ S string }{"sftp"}), false},
		{"env", env("LD_PRELOAD", "x"), false},
		{"env", env("LANG", strings.Repeat("x", 1000)), false},
		{"env", env("LANG", "a\x1b[2J"), false},
		{"env", env("LANG", "C.UTF-8"), true},
		{"env", []byte{1}, false},
		{"pty-req", []byte{0, 0, 0, 9}, false},
		{"pty-req", nil, false},
		{"window-change", ssh.Marshal(struct{ A, B, C, D uint32 }{80, 24, 0, 0}), false}, // no terminal
		{"signal", ssh.Marshal(struct{ S string }{"WINCH"}), false},
		{"exec", []byte{255, 255, 255, 255}, false},
		{"break", nil, false},
	} {
		if ok, err := ch.SendRequest(tt.kind, true, tt.payload); ok != tt.ok || err != nil {
			t.Errorf("%s %.20q: %v, %v", tt.kind, tt.payload, ok, err)
		}
	}
}

// TestRoleWhileOpen lowers, raises and removes an operator whose console and
// command are open.
func TestRoleWhileOpen(t *testing.T) {
	act := make(chan struct{})
	answers := make(chan error)
	w := serve(t, 10, Limits{}, func(ctx context.Context, s Session) int {
		for {
			select {
			case <-act:
				// As a command that forged its actor would.
				_, err := s.Viewer.Do(ctx, engine.Command{Verb: engine.VerbOn, Targets: []engine.Target{{Pi: "a3-0001", Gen: 1}},
					Actor: engine.Actor{Name: "root", Role: engine.RoleAdmin}})
				answers <- err
			case <-ctx.Done():
				return 3
			}
		}
	})
	key := w.operator("alice", engine.RoleOperator)
	s := w.console(w.dial(key))
	se, err := w.dial(key).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := se.Start("stay"); err != nil {
		t.Fatal(err)
	}
	try := func() error { act <- struct{}{}; return <-answers }
	if err := try(); err != nil {
		t.Fatal(err)
	}
	if done, _, _ := w.rack.commands(); len(done) != 1 || done[0].Actor.Name != "alice" || done[0].Actor.Role != engine.RoleOperator ||
		done[0].Actor.Key != ssh.FingerprintSHA256(key.PublicKey()) || !done[0].Actor.From.IsValid() {
		t.Fatalf("done %+v", done)
	}

	w.people.set(key, "alice", engine.RoleViewer)
	if err := try(); !errors.Is(err, engine.ErrNotAllowed) {
		t.Errorf("a viewer acted: %v", err)
	}
	w.srv.Recheck()
	s.wants("your role is viewer now")
	s.press("o")
	s.wants("your role (viewer) may not")

	w.people.set(key, "alice", engine.RoleOperator)
	w.srv.Recheck()
	s.wants("your role is operator now")
	s.press("c")
	s.wants("3s")

	w.people.set(key, "mallory", engine.RoleAdmin) // the key is another's now
	if err := try(); !errors.Is(err, engine.ErrNotAllowed) {
		t.Errorf("acted with another's key: %v", err)
	}
	if code := exitOf(t, se.Wait()); code != 3 {
		t.Errorf("exit %d", code)
	}
	w.srv.Recheck()
	if code := s.exit(); code != 1 || !strings.Contains(s.errs.String(), "no operator here any more") {
		t.Errorf("exit %d, %q", code, s.errs)
	}
	if done, _, _ := w.rack.commands(); len(done) != 1 {
		t.Errorf("done %+v", done)
	}
}

// TestTwoSeeEachOther has alice act and bob watch.
func TestTwoSeeEachOther(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	alice := w.console(w.dial(w.operator("alice", engine.RoleOperator)))
	bob := w.console(w.dial(w.operator("bob", engine.RoleViewer)))
	bob.press("c")
	bob.wants("your role (viewer) may not")
	alice.press("c")
	alice.wants("job 1") // behind "cycle a3-0001: ", if not drawn over the "sent" that may be there before
	bob.wants("alice")
	done, asked, _ := w.rack.commands()
	if len(done) != 1 || len(asked) != 1 || done[0].Actor.Name != "alice" {
		t.Errorf("done %+v, asked %+v", done, asked)
	}
}

// TestViewerMethods fails when the engine's interface grows: a new method that
// acts, or that tells what is not everybody's, has to go through the door's viewer.
func TestViewerMethods(t *testing.T) {
	known := []string{
		"Audit", "Billed", "Boots", "ChangeAccounts", "ChangeOperators", "Charges", "Customers", "Do", "Guards", "Log", "Operators",
		"Rented", "Rules", "Sent", "Serve", "Snapshot", "Subscribe",
	}
	typ := reflect.TypeFor[engine.Viewer]()
	var got []string
	for i := range typ.NumMethod() {
		got = append(got, typ.Method(i).Name)
	}
	if strings.Join(got, " ") != strings.Join(known, " ") {
		t.Errorf("engine.Viewer has %v: those that act must ask for the present actor in viewer.go", got)
	}
}

// TestStop ends the service under a console, a command and a client that does
// not read.
func TestStop(t *testing.T) {
	w := serve(t, 10, Limits{}, func(ctx context.Context, _ Session) int { <-ctx.Done(); return 5 })
	c := w.dial(w.operator("alice", engine.RoleOperator))
	s := w.console(c)
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var errs logText
	se.Stderr = &errs
	if err := se.Start("stay"); err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", w.addr) // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := bufio.NewReader(raw).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.stop()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if code := s.exit(); code != 1 || !strings.Contains(s.errs.String(), "the service is stopping") || !strings.Contains(s.out.String(), "\x1b[?1049l") {
		t.Errorf("console: exit %d, %q", code, s.errs)
	}
	if code := exitOf(t, se.Wait()); code != 5 || !strings.Contains(errs.String(), "the service is stopping") {
		t.Errorf("command: exit %d, %q", code, errs.String())
	}
}

// TestGoneClient cuts the connection of a console and a command.
func TestGoneClient(t *testing.T) {
	ended := make(chan struct{}, 1)
	w := serve(t, 10, Limits{}, func(ctx context.Context, _ Session) int {
		<-ctx.Done()
		ended <- struct{}{}
		return 0
	})
	c := w.dial(w.operator("alice", engine.RoleOperator))
	w.console(c)
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := se.Start("watch"); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return len(w.srv.Sessions()) == 2 }) {
		t.Fatal("no two sessions")
	}
	c.Close()
	<-ended
	if !eventually(func() bool { return len(w.srv.Sessions()) == 0 && w.rack.viewers() == 0 }) {
		t.Errorf("%d sessions are left", len(w.srv.Sessions()))
	}
}

// TestPanic has a command fail badly; the door stays open.
func TestPanic(t *testing.T) {
	w := serve(t, 10, Limits{}, func(_ context.Context, s Session) int { panic("boom") })
	c := w.dial(w.operator("alice", engine.RoleOperator))
	for range 2 {
		se, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if code := exitOf(t, se.Run("pi list")); code != 1 {
			t.Errorf("exit %d", code)
		}
	}
	if !strings.Contains(w.log.String(), "boom") {
		t.Error("not logged")
	}
}

// TestLocal comes in over the socket, as the user of this process and as one
// that is no operator.
func TestLocal(t *testing.T) {
	w := serve(t, 10, Limits{}, func(_ context.Context, s Session) int {
		fmt.Fprintf(s.Stdout, "%s %s %s %s %v", s.Actor.Name, s.Actor.Role, s.Actor.Source, s.Actor.Key, s.Actor.From.IsValid())
		return 0
	})
	uid := uint32(os.Getuid())
	w.people.uids[uid] = engine.Actor{Name: "hands", Role: engine.RoleOperator}
	if got := who(t, w.socket); got != fmt.Sprintf("hands operator tty uid:%d false", uid) {
		t.Errorf("%q", got)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to be somebody else")
	}
	for _, tt := range []struct {
		uid  uint32
		want string
	}{{65534, "uid 65534 is no operator's"}, {1234, "carol viewer tty uid:1234 false"}} {
		w.people.mu.Lock()
		w.people.uids[1234] = engine.Actor{Name: "carol", Role: engine.RoleViewer}
		w.people.mu.Unlock()
		if got := whoAs(t, w.socket, tt.uid); !strings.Contains(got, tt.want) {
			t.Errorf("uid %d: %q, want %q", tt.uid, got, tt.want)
		}
	}
	if !strings.Contains(w.log.String(), "uid 65534 pid") {
		t.Errorf("log: %s", w.log)
	}
}

// dialSocket comes in as the user of this process.
func dialSocket(t testing.TB, socket string) *ssh.Client {
	t.Helper()
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	sc, chans, reqs, err := ssh.NewClientConn(nc, "socket", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	t.Cleanup(func() { c.Close() })
	return c
}

// who asks over the socket who it is.
func who(t testing.TB, socket string) string {
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	banner := ""
	sc, chans, reqs, err := ssh.NewClientConn(nc, "socket", &ssh.ClientConfig{
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback:  func(m string) error { banner = m; return nil },
	})
	if err != nil {
		return banner + err.Error()
	}
	c := ssh.NewClient(sc, chans, reqs)
	defer c.Close()
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := se.Output("whoami")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// whoAs does so as another user.
func whoAs(t testing.TB, socket string, uid uint32) string {
	t.Helper()
	for dir := socket; dir != "/"; dir = dir[:max(strings.LastIndexByte(dir, '/'), 1)] {
		if err := os.Chmod(dir, 0o777); err != nil || dir == os.TempDir() || strings.Count(dir, "/") < 2 {
			break
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := socket + ".test"
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "-test.run=^TestAskWho$")
	cmd.Dir = "/"
	cmd.Env = []string{"DOOR_SOCKET=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%v", err)
	}
	return string(out)
}

// TestAskWho is run by TestLocal as another user.
func TestAskWho(t *testing.T) {
	socket := os.Getenv("DOOR_SOCKET")
	if socket == "" {
		t.Skip("part of TestLocal")
	}
	fmt.Println(who(t, socket))
}
