package command

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/daemon/demo"
	"picloud/tui/cli"
	"picloud/tui/door"
)

// programEnv makes the test binary the program itself, so that shells can run
// it.
const programEnv = "PICLOUD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) == "" {
		os.Exit(m.Run())
	}
	p := Program{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Version: "test"}
	os.Exit(p.Run(context.Background(), os.Args[1:]))
}

// shells are how each shell is started without anybody's own settings, and how
// it is told the script.
var shells = map[string]struct {
	start []string
	load  string
}{
	"bash": {[]string{"bash", "--norc", "--noprofile"}, ". /usr/share/bash-completion/bash_completion; . <(picloud completion bash)"},
	"zsh":  {[]string{"zsh", "-f"}, "autoload -U compinit; compinit -u -D; . <(picloud completion zsh)"},
	"fish": {[]string{"fish", "--no-config"}, "picloud completion fish | source"},
}

// TestCompletionInShells types in the shells themselves: commands of the
// service's and of this program's, names that the service tells, and names of
// files.
func TestCompletionInShells(t *testing.T) {
	if testing.Short() {
		t.Skip("runs shells in tmux")
	}
	dir := t.TempDir()
	socket := openDoor(t, dir)
	if err := os.Symlink(testBinary(t), filepath.Join(dir, "picloud")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rack-of-the-test.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			need(t, name, "tmux")
			m := &terminal{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
			m.open(dir, shell.start, "PATH="+dir+":"+os.Getenv("PATH"), socketVariable+"="+socket, programEnv+"=yes", "LANG=C.UTF-8")
			m.enter(shell.load)
			for _, c := range []struct{ typed, want string }{
				{"picloud pi cyc", "picloud pi cycle"},
				{"picloud pi cycle a3-00", "a3-001"},
				{"picloud pi cycle a3-00", "a3-006"},
				{"picloud pi cycle @stal", "picloud pi cycle @stalled"},
				{"picloud pi reimage a3-001 --image bui", "--image builtin"},
				{"picloud doc", "picloud doctor"},
				{"picloud image ad", "picloud image add"},
				{"picloud switch disc", "picloud switch discover"},
				{"picloud config check rack-of", "picloud config check rack-of-the-test.toml"},
				{"picloud serve --config rack-of", "picloud serve --config rack-of-the-test.toml"},
				{"picloud doctor --only net", "--only network"},
				{"picloud operator add eve --role adm", "--role admin"},
				{"picloud help pi cyc", "picloud help pi cycle"},
			} {
				m.complete(c.typed, c.want)
			}
		})
	}
}

// need skips where somebody tries the tests, and fails in CI, which has all.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil && os.Getenv("CI") != "" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
	}
}

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// openDoor serves a simulated rack at a socket.
func openDoor(t *testing.T, dir string) (socket string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d, err := demo.Open(ctx, demo.Options{Seed: 1, Pis: 6, Speed: 50})
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := door.HostKey(filepath.Join(dir, "host"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := door.New(door.Config{
		HostKey: key, Viewer: d.Engine(), Limits: door.Limits{PerOperator: 64},
		Local: func(door.Peer) (engine.Actor, bool) {
			return engine.Actor{Name: "hands", Role: engine.RoleViewer}, true
		},
		Run: func(ctx context.Context, s door.Session) int {
			return cli.Run(ctx, s.Viewer, cli.Session{Actor: s.Actor, Args: s.Args, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "sock")
	l, err := door.ListenUnix(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 2)
	go func() { over <- d.Run(ctx) }()
	go func() { over <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-over; err != nil {
				t.Error(err)
			}
		}
	})
	return socket
}

// terminal is one shell in a tmux of its own.
type terminal struct {
	t      *testing.T
	socket string
}

func (m *terminal) do(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", m.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (m *terminal) open(dir string, command []string, env ...string) {
	m.t.Helper()
	// A home without anybody's files.
	env = append(env, "HOME="+m.t.TempDir(), "PS1=$ ", "PROMPT=$ ")
	m.do(append(append([]string{"new-session", "-d", "-x", "150", "-y", "40", "-c", dir, "env"}, env...), command...)...)
	m.t.Cleanup(func() { _ = exec.Command("tmux", "-S", m.socket, "kill-server").Run() })
}

// enter has the shell carry out a line, and waits until it has.
func (m *terminal) enter(line string) {
	m.t.Helper()
	m.do("send-keys", "-l", line+"; echo rea''dy")
	m.do("send-keys", "Enter")
	m.wants("\nready")
}

// complete types the beginning of a line and the tab key, wants the screen to
// show how it goes on, and drops the line.
func (m *terminal) complete(typed, want string) {
	m.t.Helper()
	m.do("send-keys", "-l", typed)
	m.wants(typed)
	m.do("send-keys", "Tab")
	if !m.eventually(func() bool { return strings.Contains(m.screen(), want) }, time.Second) {
		m.do("send-keys", "Tab") // bash lists at the second
	}
	m.wants(want)
	m.do("send-keys", "C-u")
	m.do("send-keys", "C-l")
	m.wantsNot(want)
}

func (m *terminal) screen() string { return "\n" + m.do("capture-pane", "-p") }

func (m *terminal) wants(text string) {
	m.t.Helper()
	if !m.eventually(func() bool { return strings.Contains(m.screen(), text) }, 20*time.Second) {
		m.t.Fatalf("never on the screen: %q\n%s", text, m.screen())
	}
}

func (m *terminal) wantsNot(text string) {
	m.t.Helper()
	if !m.eventually(func() bool { return !strings.Contains(m.screen(), text) }, 20*time.Second) {
		m.t.Fatalf("still on the screen: %q\n%s", text, m.screen())
	}
}

func (m *terminal) eventually(ok func() bool, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}
