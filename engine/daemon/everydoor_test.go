package daemon_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"picloud/engine"
)

// localUsers are users of every Debian, to be somebody else at the socket.
var localUsers = map[engine.Role]struct {
	name string
	uid  int
}{
	engine.RoleViewer: {"nobody", 65534}, engine.RoleOperator: {"daemon", 1}, engine.RoleAdmin: {"bin", 2},
}

// stranger is a user whom the configuration does not name.
const stranger = 3 // sys

// openToOthers lets other users come to a temporary folder.
func openToOthers(t *testing.T, dir string) {
	t.Helper()
	for ; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // that is what it is for
			t.Fatal(err)
		}
	}
}

// entrances are the ways to a door, each with whoever comes in that way in a role.
var entrances = []struct {
	name string
	dial func(s *doors, role engine.Role) (*ssh.Client, error)
}{
	{"ssh", func(s *doors, role engine.Role) (*ssh.Client, error) { return s.dialKey(s.keys[role]) }},
	{"socket", func(s *doors, role engine.Role) (*ssh.Client, error) { return s.dialAs(localUsers[role].uid) }},
}

// dialAs connects to the socket as a user: the kernel tells the service who the
// connecting thread was. The thread ends with its user.
func (s *doors) dialAs(uid int) (*ssh.Client, error) {
	type result struct {
		nc  net.Conn
		err error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			got <- result{nil, e}
			return
		}
		nc, err := dialThread(s.socket)
		got <- result{nc, err}
	}()
	r := <-got
	if r.err != nil {
		return nil, r.err
	}
	return s.client(ssh.NewClientConn(r.nc, "socket", &ssh.ClientConfig{
		User: "anybody", HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second, //nolint:gosec // it is this test's own
	}))
}

// dialThread connects in this very thread, as net.Dial need not.
func dialThread(socket string) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), socket)
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func (s *doors) client(c ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request, err error) (*ssh.Client, error) {
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, chans, reqs)
	s.t.Cleanup(func() { _ = client.Close() })
	return client, nil
}

// screen is a console whose lines can be read.
type screen struct {
	t    *testing.T
	se   *ssh.Session
	keys io.Writer
	mu   sync.Mutex
	buf  bytes.Buffer
	wide int
}

const screenHeight = 24

func openScreen(t *testing.T, c *ssh.Client) *screen {
	t.Helper()
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = se.Close() })
	x := &screen{t: t, se: se, wide: 100}
	se.Stdout = x
	if x.keys, err = se.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(se.RequestPty("xterm-256color", screenHeight, x.wide, ssh.TerminalModes{}), se.Shell()); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *screen) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.Write(b)
}

// moves are sequences that put what follows on another place.
var moves = regexp.MustCompile("\x1b\\[[0-9;]*[ABCDGHJKdf]")

// press types keys and waits until the screen, drawn anew at another width, has
// a line that fits.
func (x *screen) press(keys string, line *regexp.Regexp) string {
	x.t.Helper()
	if _, err := io.WriteString(x.keys, keys); err != nil {
		x.t.Fatal(err)
	}
	text := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		x.mu.Lock()
		x.buf.Reset()
		x.mu.Unlock()
		x.wide ^= 1
		if err := x.se.WindowChange(screenHeight, x.wide); err != nil {
			x.t.Fatal(err)
		}
		for range 15 {
			time.Sleep(20 * time.Millisecond)
			x.mu.Lock()
			text = x.buf.String()
			x.mu.Unlock()
			text = ansi.Strip(moves.ReplaceAllString(strings.ReplaceAll(text, "\r", "\n"), "\n"))
			if found := line.FindString(text); found != "" {
				return found
			}
		}
	}
	x.t.Fatalf("after %q no line is as %s:\n%s", keys, line, text)
	return ""
}

// answered is a line that is about a verb: its guard, its argument, its result
// or why not.
func answered(v engine.VerbName) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`(?m)^ %s(: | in \d+ s| \S+ to:).*`, v))
}

// waits is the line of a guard that runs.
var waits = regexp.MustCompile(` in \d+ s|\d+ s to answer`)

// choose puts the cursor on a Pi, and nothing else into the table.
func (x *screen) choose(pi string) {
	x.t.Helper()
	x.press("", regexp.MustCompile(`(?m)^ c cycle  o on`))
	x.press(":filter "+pi+"\r", regexp.MustCompile(`filter: `+pi))
}

// verbArguments are what verbs need besides a Pi, for the shell and the console.
var verbArguments = map[engine.VerbName]struct{ flags, words string }{
	engine.VerbResize: {flags: " --size 9G", words: " 9G"},
}

// TestEveryVerbEveryRoleEveryDoor tries the whole table of verbs in every role
// by every door: as a command, by its key and on the console's ":" line, over
// SSH and by the socket. It is the role alone that decides, everywhere; what a
// viewer tries leaves nothing behind; and what others do is written down with
// who did it and from where.
func TestEveryVerbEveryRoleEveryDoor(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	s := openDoors(t)
	s.heard()
	t.Run("doors", func(t *testing.T) {
		for _, e := range entrances {
			for role := engine.RoleViewer; role <= engine.RoleAdmin; role++ {
				t.Run(e.name+" "+role.String(), func(t *testing.T) {
					t.Parallel()
					if e.name == "socket" && os.Getuid() != 0 {
						t.Skip("only root can be somebody else; CI runs it as root, too")
					}
					c, err := e.dial(s, role)
					if err != nil {
						t.Fatal(err)
					}
					s.tryCommands(t, c, role)
					s.tryScreen(t, openScreen(t, c), role)
				})
			}
		}
	})
	if rows := s.acts(engine.RoleViewer.String()); len(rows) > 0 {
		t.Errorf("a viewer's acts are written down: %+v", rows)
	}
	s.wantsUntouched()
	s.actByEveryDoor()
}

// allowed tells whether an answer is none that the role is to blame for.
func allowed(answer string) bool { return answer != "" && !strings.Contains(answer, "may not") }

// tryCommands tries verbs and what else changes something, as commands.
func (s *doors) tryCommands(t *testing.T, c *ssh.Client, role engine.Role) {
	t.Helper()
	last := s.pis[doorPis-1]
	for _, v := range engine.Verbs() {
		line := fmt.Sprintf("pi %s %s%s --confirm %s", v.Name, last, verbArguments[v.Name].flags, last)
		if role >= v.Role {
			line += " --dry-run" // it is to stay untouched
		}
		exit, out := s.exec(c, line)
		if allowed(out) != (role >= v.Role) || exit == 2 || exit == 0 && role < v.Role {
			t.Errorf("%q: exit %d, %s", line, exit, out)
		}
	}
	for line, need := range map[string]engine.Role{
		"job cancel 1 --yes":            engine.RoleOperator,
		"operator add eve --role admin": engine.RoleAdmin, "operator set viewer --role admin": engine.RoleAdmin, "operator remove viewer": engine.RoleAdmin,
	} {
		if role >= need {
			continue // see actByEveryDoor and TestARoleTakenIsGone
		}
		if exit, out := s.exec(c, line); exit == 0 {
			t.Errorf("%q: %s", line, out)
		}
	}
	if exit, out := s.exec(c, "pi list --json"); exit != 0 || !strings.Contains(out, last) {
		t.Errorf("it cannot even look: exit %d, %s", exit, out)
	}
}

// tryScreen tries verbs by their keys and on the ":" line, and stops them
// before they act. That the screen answers shows that the keys were heard.
func (s *doors) tryScreen(t *testing.T, x *screen, role engine.Role) {
	t.Helper()
	last := s.pis[doorPis-1]
	x.choose(last)
	for _, v := range engine.Verbs() {
		if role >= v.Role && s.actsAtOnce(v) {
			continue
		}
		for _, keys := range []string{v.Key, fmt.Sprintf(":%s %s%s\r", v.Name, last, verbArguments[v.Name].words)} {
			if keys == "" {
				continue
			}
			answer := x.press(keys, answered(v.Name))
			if allowed(answer) != (role >= v.Role) {
				t.Errorf("%q: %s", keys, answer)
			}
			if waits.MatchString(answer) {
				x.press("\x1b", regexp.MustCompile(`stopped; nothing was done`))
			}
		}
	}
}

// actsAtOnce tells whether nothing stands between a verb's key and its act.
func (s *doors) actsAtOnce(v engine.Verb) bool {
	p, _ := s.d.Engine().Snapshot().Pi(engine.PiName(s.pis[doorPis-1]))
	return v.Refuse(p) == "" && s.d.Engine().Guards(v.Name).For(p).Kind == engine.GuardNone
}

// wantsUntouched wants the Pi that everything was tried on as it was.
func (s *doors) wantsUntouched() {
	s.t.Helper()
	p, _ := s.d.Engine().Snapshot().Pi(engine.PiName(s.pis[doorPis-1]))
	if p.Power != engine.PowerOff || p.Wanted || p.Job != nil || p.Life != engine.LifeReady {
		s.t.Errorf("%s is touched: %+v", p.Name, p)
	}
	for _, o := range s.d.Engine().Operators().List() {
		if o.Name != o.Role.String() {
			s.t.Errorf("operator %s is %s", o.Name, o.Role)
		}
	}
}

// actByEveryDoor has an operator act on a Pi by each door, and wants to read who
// did it.
func (s *doors) actByEveryDoor() {
	s.t.Helper()
	began := regexp.MustCompile(`(?m)^ cycle in `)
	free := s.pis
	type origin struct{ source, key string } // how they begin
	want := map[string]origin{}              // by Pi
	for _, e := range entrances {
		if e.name == "socket" && os.Getuid() != 0 {
			continue
		}
		c, err := e.dial(s, engine.RoleOperator)
		if err != nil {
			s.t.Fatal(err)
		}
		who := map[string]origin{"ssh": {"ssh 127.0.0.1:", "SHA256:"}, "socket": {"tty", "uid:1"}}[e.name]
		if exit, out := s.exec(c, "pi cycle "+free[0]+" --yes"); exit != 0 {
			s.t.Errorf("%s: exit %d, %s", e.name, exit, out)
		}
		x := openScreen(s.t, c)
		x.choose(free[1])
		x.press("c", began)
		s.awaitAct(free[1])
		x = openScreen(s.t, c) // keys are dropped just after an act
		x.choose(free[2])
		x.press(":on "+free[2]+"\r", regexp.MustCompile(`(?m)^ on `))
		s.awaitAct(free[2])
		for _, pi := range free[:3] {
			want[pi] = who
		}
		free = free[3:]
	}
	for _, r := range s.acts(engine.RoleOperator.String()) {
		from, ok := want[r.Target]
		if !ok || r.Verb != "cycle" && r.Verb != "on" || !strings.HasPrefix(r.Source, from.source) || !strings.HasPrefix(r.Key, from.key) {
			s.t.Errorf("%+v", r)
		}
		delete(want, r.Target)
	}
	if len(want) > 0 {
		s.t.Errorf("not written down: %v", want)
	}
}

// awaitAct waits until an act on a Pi is written down.
func (s *doors) awaitAct(pi string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, r := range s.acts(engine.RoleOperator.String()) {
			if r.Target == pi {
				return
			}
		}
	}
	s.t.Errorf("nothing was done to %s", pi)
}

// TestStrangersAtEveryDoor lets nobody in whom nobody named.
func TestStrangersAtEveryDoor(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	s := openDoors(t)
	if c, err := s.dialKey(newSigner(t)); err == nil {
		_ = c.Close()
		t.Error("a stranger's key opens the door")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else; CI runs it as root, too")
	}
	if c, err := s.dialAs(stranger); err == nil {
		_ = c.Close()
		t.Error("the socket takes a user that the configuration does not name")
	}
}
