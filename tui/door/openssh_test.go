// Package door_test is outside of the door: the service that the tests run
// imports it.
package door_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/engine/daemon/demo"
	"picloud/tui/door"
)

// outside is a door as its users see it.
type outside struct {
	srv  *door.Server
	addr string
	host ssh.PublicKey
	log  *text

	mu   sync.Mutex
	keys map[string]engine.Actor // by fingerprint
}

type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

func (w *outside) operator(k ssh.PublicKey) (engine.Actor, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.keys[ssh.FingerprintSHA256(k)]
	return a, ok
}

func (w *outside) set(k ssh.Signer, a engine.Actor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[ssh.FingerprintSHA256(k.PublicKey())] = a
}

func serve(t testing.TB, v engine.Viewer, limits door.Limits, run func(ctx context.Context, s door.Session) int) *outside {
	t.Helper()
	host, _, err := door.HostKey(filepath.Join(t.TempDir(), "host"))
	if err != nil {
		t.Fatal(err)
	}
	w := &outside{host: host.PublicKey(), log: &text{}, keys: map[string]engine.Actor{}}
	w.srv, err = door.New(door.Config{HostKey: host, Viewer: v, Operator: w.operator, Run: run, Limits: limits, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return w
}

// eventually waits up to 20 seconds for what other processes do.
func eventually(ok func() bool) bool {
	for range 1000 {
		if ok() {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// keyFile makes a key for OpenSSH.
func keyFile(t testing.TB, dir, name string) (path string, signer ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err = ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	for file, text := range map[string][]byte{path: pem.EncodeToMemory(block), path + ".pub": ssh.MarshalAuthorizedKey(signer.PublicKey())} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, signer
}

// openSSH is the command line of OpenSSH's client.
func (w *outside) openSSH(t testing.TB, dir, key string, args ...string) []string {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err, ": apt install openssh-client")
		}
		t.Skip("needs OpenSSH's client: apt install openssh-client")
	}
	host, port, _ := net.SplitHostPort(w.addr)
	known := filepath.Join(dir, "known_hosts")
	line := fmt.Sprintf("[%s]:%s %s", host, port, marshalKey(w.host))
	if _, err := os.Stat(known); err != nil { // once: clients may be reading it
		if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return append([]string{ssh, "-F", "/dev/null", "-p", port, "-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=yes",
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-i", key}, append(args, "me@"+host)...)
}

func marshalKey(k ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(k)) }

func run(t testing.TB, command []string) (out, errs string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// nothing is an engine that is not looked at.
type nothing struct{ engine.Viewer }

// TestOpenSSH talks to the door with the client that people have.
func TestOpenSSH(t *testing.T) {
	dir := t.TempDir()
	w := serve(t, nothing{}, door.Limits{}, func(_ context.Context, s door.Session) int {
		fmt.Fprintf(s.Stdout, "%s %s %q %v\n", s.Actor.Name, s.Actor.Role, s.Args, s.TTY)
		return 4
	})
	alicePath, alice := keyFile(t, dir, "alice")
	adminPath, admin := keyFile(t, dir, "admin")
	malloryPath, mallory := keyFile(t, dir, "mallory")
	w.set(alice, engine.Actor{Name: "alice", Role: engine.RoleOperator})
	w.set(admin, engine.Actor{Name: "root", Role: engine.RoleAdmin})
	if err := os.Remove(adminPath); err != nil { // only its public half is left
		t.Fatal(err)
	}

	command := func(key string, args ...string) []string { return append(w.openSSH(t, dir, key), args...) }
	if out, errs, exit := run(t, command(alicePath, "pi", "list", "--json")); exit != 4 || out != `alice operator ["pi" "list" "--json"] false`+"\n" {
		t.Errorf("command: exit %d, %q %q", exit, out, errs)
	}
	if out, errs, exit := run(t, command(alicePath)); exit != 4 || out != `alice operator ["watch"] false`+"\n" {
		t.Errorf("no command: exit %d, %q %q", exit, out, errs)
	}
	if out, errs, exit := run(t, w.openSSH(t, dir, alicePath, "-tt", "-o", "RemoteCommand=pi list")); exit != 4 || out != `alice operator ["pi" "list"] true`+"\r\n" {
		t.Errorf("command on a terminal: exit %d, %q %q", exit, out, errs)
	}
	if _, errs, exit := run(t, command(malloryPath, "pi", "list")); exit != 255 || !strings.Contains(errs, "Permission denied (publickey)") {
		t.Errorf("stranger: exit %d, %q", exit, errs)
	}
	if !eventually(func() bool {
		text := w.log.String()
		return strings.Contains(text, "login refused") && strings.Contains(text, ssh.FingerprintSHA256(mallory.PublicKey()))
	}) {
		t.Errorf("not logged: %s", w.log)
	}
	// The admin's key is offered and would do, but alice's is the one that is
	// proved (CVE-2023-43809).
	if out, errs, exit := run(t, w.openSSH(t, dir, adminPath, "-i", alicePath, "-o", "RemoteCommand=whoami")); exit != 4 || !strings.HasPrefix(out, "alice operator") {
		t.Errorf("borrowed key: exit %d, %q %q", exit, out, errs)
	}
	if _, errs, exit := run(t, w.openSSH(t, dir, adminPath, "-o", "RemoteCommand=whoami")); exit != 255 {
		t.Errorf("only a borrowed key: exit %d, %q", exit, errs)
	}
	if _, errs, exit := run(t, w.openSSH(t, dir, alicePath, "-s", "-o", "RemoteCommand=sftp")); exit == 0 || exit == 4 {
		t.Errorf("sftp: exit %d, %q", exit, errs)
	}
	if _, errs, exit := run(t, w.openSSH(t, dir, alicePath, "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:22")); exit != 255 {
		t.Errorf("forwarding: exit %d, %q", exit, errs)
	}
}

// tmux is a terminal multiplexer of this test alone.
type tmux struct {
	t      testing.TB
	socket string
}

func newTmux(t testing.TB) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs tmux")
	}
	m := &tmux{t, filepath.Join(t.TempDir(), "tmux")}
	t.Cleanup(func() { m.try("kill-server") })
	return m
}

func (m *tmux) try(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-S", m.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	return string(out), err
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return out
}

func (m *tmux) open(name string, command []string) {
	m.t.Helper()
	// What the client says at its end stays to be read.
	command = append([]string{"sh", "-c", `"$@"; echo "exit $?"; sleep 60`, "sh"}, command...)
	m.do(append([]string{"new-session", "-d", "-s", name, "-x", "120", "-y", "40", "env", "TERM=xterm-256color", "LANG=C.UTF-8"}, command...)...)
}

// client is the process in a session: the child of its shell.
func (m *tmux) client(name string) (pid int) {
	m.t.Helper()
	shell := strings.TrimSpace(m.do("list-panes", "-t", name, "-F", "#{pane_pid}"))
	children, err := os.ReadFile(filepath.Join("/proc", shell, "task", shell, "children"))
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(children), &pid); err != nil {
		m.t.Fatal(err)
	}
	return pid
}

// wants waits for a line of the screen that has all words.
func (m *tmux) wants(name string, words ...string) {
	m.t.Helper()
	screen := ""
	for range 500 {
		screen = m.do("capture-pane", "-p", "-t", name)
		for line := range strings.Lines(screen) {
			n := 0
			for _, w := range words {
				if strings.Contains(line, w) {
					n++
				}
			}
			if n == len(words) {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	m.t.Fatalf("%s: no line with %q:\n%s", name, words, screen)
}

// atRest tells whether every Pi is up and free to be acted on: the job that
// deploys one ends after its SSH has answered.
func atRest(s *engine.Snapshot) bool {
	return !slices.ContainsFunc(s.Pis, func(p engine.PiView) bool { return p.Stage != engine.StageUp || p.Job != nil })
}

// states says of every Pi where it stands, and why.
func states(s *engine.Snapshot) string {
	var b strings.Builder
	for _, p := range s.Pis {
		fmt.Fprintf(&b, "%s: %s, job %+v, %s\n", p.Name, p.Stage, p.Job, p.Diagnosis.Cause)
		if p.Boot != nil {
			for _, e := range p.Boot.Events {
				fmt.Fprintf(&b, "\t+%s %s %s\n", e.Time.Sub(p.Boot.Started).Round(time.Millisecond), e.Stage, e.Evidence)
			}
		}
	}
	return b.String()
}

// TestOpenSSHConsoles has an operator and a viewer at two consoles of OpenSSH
// on a simulated rack, and an act from a shell; a third client is suspended.
func TestOpenSSHConsoles(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a simulated rack")
	}
	m := newTmux(t)
	ctx, cancel := context.WithCancel(t.Context())
	d, err := demo.Open(ctx, demo.Options{Seed: 1, Pis: 6, Speed: 50})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- d.Run(ctx) }()
	defer func() { cancel(); <-over }()

	w := serve(t, d.Engine(), door.Limits{Keepalive: time.Second}, func(ctx context.Context, s door.Session) int {
		pi, _ := s.Viewer.Snapshot().Pi(engine.PiName(s.Args[2]))
		res, err := s.Viewer.Do(ctx, engine.Command{Verb: engine.VerbName(s.Args[1]), Passed: engine.GuardCountdown,
			Targets: []engine.Target{{Pi: pi.Name, Gen: pi.Gen}}})
		fmt.Fprintf(s.Stdout, "%+v %v %v\n", res, res.Err(), err)
		if err != nil || res.Err() != nil {
			return 1
		}
		return 0
	})
	dir := t.TempDir()
	alicePath, alice := keyFile(t, dir, "alice")
	bobPath, bob := keyFile(t, dir, "bob")
	carolPath, carol := keyFile(t, dir, "carol")
	w.set(alice, engine.Actor{Name: "alice", Role: engine.RoleOperator})
	w.set(bob, engine.Actor{Name: "bob", Role: engine.RoleViewer})
	w.set(carol, engine.Actor{Name: "carol", Role: engine.RoleOperator})
	var free []engine.PiName
	for _, p := range d.Engine().Snapshot().Pis {
		if p.Server == "" {
			free = append(free, p.Name)
		}
	}
	first, second := free[0], free[1]
	if !eventually(func() bool { return atRest(d.Engine().Snapshot()) }) {
		t.Fatalf("the rack does not come to rest:\n%s", states(d.Engine().Snapshot()))
	}

	m.open("alice", w.openSSH(t, dir, alicePath))
	m.open("bob", w.openSSH(t, dir, bobPath))
	m.open("carol", w.openSSH(t, dir, carolPath))
	m.wants("alice", "alice RW")
	m.wants("bob", "bob RO")
	m.wants("carol", "carol RW")

	pid := m.client("carol")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)

	m.do("send-keys", "-t", "bob", "c")
	m.wants("bob", "your role (viewer) may not")
	m.do("send-keys", "-t", "alice", "/"+string(first), "Enter", "c")
	m.wants("alice", "alice", "cycle", string(first))
	m.wants("bob", "alice", "cycle", string(first))
	if out, errs, exit := run(t, append(w.openSSH(t, dir, bobPath), "pi", "cycle", string(second))); exit != 1 || !strings.Contains(out, engine.ErrNotAllowed.Error()) {
		t.Errorf("a viewer's act: exit %d, %q %q", exit, out, errs)
	}
	if out, errs, exit := run(t, append(w.openSSH(t, dir, alicePath), "pi", "cycle", string(second))); exit != 0 {
		t.Errorf("act from a shell: exit %d, %q %q", exit, out, errs)
	}
	m.wants("alice", "alice", "cycle", string(second))
	m.wants("bob", "alice", "cycle", string(second))

	// Resizing the window reaches the console.
	m.do("resize-window", "-t", "bob", "-x", "39", "-y", "9")
	m.wants("bob", "needs 40x10")
	m.do("resize-window", "-t", "bob", "-x", "100", "-y", "30")
	m.wants("bob", "sw1/")

	// The suspended client is dropped, and only it.
	if !eventually(func() bool { return strings.Contains(w.log.String(), "actor=carol") && len(w.srv.Sessions()) == 2 }) {
		t.Errorf("sessions %+v", w.srv.Sessions())
	}
	// Somebody who is no operator any more.
	w.set(bob, engine.Actor{}) // its key is nobody's
	w.srv.Recheck()
	if !eventually(func() bool { return len(w.srv.Sessions()) == 1 }) {
		t.Errorf("sessions %+v", w.srv.Sessions())
	}
	audit, err := d.Engine().Audit(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, row := range audit {
		if row.Actor == "alice" && row.Verb == "cycle" && row.Key == ssh.FingerprintSHA256(alice.PublicKey()) && strings.HasPrefix(row.Source, "ssh 127.0.0.1:") {
			n++
		}
		if row.Actor == "bob" {
			t.Errorf("bob did %+v", row)
		}
	}
	if n != 2 {
		t.Errorf("%d of alice's acts are in the audit: %+v", n, audit)
	}
}
