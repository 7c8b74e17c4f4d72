package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// wire is a terminal that keeps what is written to it.
type wire struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// take returns what was written since it was last called.
func (w *wire) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.b.String()
	w.b.Reset()
	return s
}

// onWire runs the real program on a fake terminal in fake time.
func onWire(t *testing.T, s *engine.Snapshot, opts Options, env []string, test func(f *fakeRack, w *wire, keys io.WriteCloser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f, w := newFake(s), &wire{}
		opts.Viewer, opts.Actor = f, alice
		opts.Now = func() time.Time { return epoch.Add(time.Since(start)) }
		if opts.Width == 0 {
			opts.Width, opts.Height = 120, 40
		}
		keys, in := io.Pipe() // made here: one from outside would hold up the fake time
		defer in.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Run(ctx, opts, keys, w, env) }()
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		test(f, w, in)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		synctest.Wait()
	})
}

var plainEnv = []string{"TERM=xterm-256color", "LANG=C.UTF-8"}

// TestBytesOnTheWire counts what a change of one Pi costs a viewer.
func TestBytesOnTheWire(t *testing.T) {
	changes := map[string]func(p *engine.PiView){
		"stage":     func(p *engine.PiView) { p.Stage, p.Since = engine.StageKernel, epoch },
		"watts":     func(p *engine.PiView) { p.Milliwatts += 300 },
		"image":     func(p *engine.PiView) { p.Image = "trixie64-next" },
		"not shown": func(p *engine.PiView) { p.Gen++ },
	}
	for name, f := range changes {
		t.Run(name, func(t *testing.T) {
			s := makeRack(11, 4, 192)
			edit("a3-008", func(p *engine.PiView) { p.Stage, p.Since, p.Milliwatts = engine.StageFirmware, epoch, 2000 })(s)
			count(s)
			onWire(t, s, Options{}, plainEnv, func(rack *fakeRack, w *wire, _ io.WriteCloser) {
				w.take()
				rack.change(edit("a3-008", f))
				time.Sleep(300 * time.Millisecond)
				synctest.Wait()
				got := w.take()
				t.Logf("%d bytes: %q", len(got), got)
				if len(got) >= 60 {
					t.Errorf("%d bytes for one Pi, want less than 60", len(got))
				}
				if name == "not shown" && got != "" {
					t.Errorf("%q for nothing", got)
				}
			})
		})
	}
}

// TestIdleIsSilent has a rack in which nothing happens.
func TestIdleIsSilent(t *testing.T) {
	s := testRack()
	onWire(t, s, Options{}, plainEnv, func(_ *fakeRack, w *wire, _ io.WriteCloser) {
		w.take()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if got := w.take(); got != "" {
			t.Errorf("%q on the wire", got)
		}
	})
}

var colour = regexp.MustCompile(`\x1b\[[0-9;:]*\b(3[0-79]|4[0-79]|9[0-7]|10[0-7]|38|48)\b[0-9;:]*m`)

func TestNoColor(t *testing.T) {
	for _, env := range []struct {
		set      string
		coloured bool
	}{{"NO_COLOR=yes", false}, {"NO_COLOR=0", false}, {"NO_COLOR=", true}, {"X=", true}} {
		onWire(t, goldenRack(), Options{}, append(plainEnv, env.set), func(_ *fakeRack, w *wire, _ io.WriteCloser) {
			got := w.take()
			if colour.MatchString(got) != env.coloured {
				t.Errorf("%s: coloured %v", env.set, !env.coloured)
			}
			if !strings.Contains(got, "7m") || !strings.Contains(got, "1m") {
				t.Errorf("%s: no reverse or no bold", env.set)
			}
		})
	}
}

func TestLocale(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		utf8 bool
	}{
		{nil, false},
		{[]string{"LANG=C"}, false},
		{[]string{"LANG=en_GB.UTF-8"}, true},
		{[]string{"LANG=en_GB.utf8"}, true},
		{[]string{"LANG=C.UTF-8", "LC_ALL=C"}, false},
		{[]string{"LANG=C", "LC_CTYPE=C.UTF-8"}, true},
		{[]string{"LANG=C.UTF-8", "LANG=C"}, false},
	} {
		if got := utf8Locale(tt.env); got != tt.utf8 {
			t.Errorf("%v: %v", tt.env, got)
		}
		onWire(t, testRack(), Options{}, append([]string{"TERM=linux"}, tt.env...), func(_ *fakeRack, w *wire, _ io.WriteCloser) {
			if got := strings.Contains(w.take(), "─"); got != tt.utf8 {
				t.Errorf("%v: box drawing %v", tt.env, got)
			}
		})
	}
}

func TestRefusedTerminals(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		env []string
		out io.Writer
	}{{[]string{"TERM=dumb"}, &wire{}}, {nil, &wire{}}, {plainEnv, null}} {
		err := Run(t.Context(), Options{Viewer: newFake(testRack())}, nil, tt.out, tt.env)
		if !errors.Is(err, ErrTerminal) || !strings.Contains(err.Error(), "--headless") {
			t.Errorf("%v: %v", tt.env, err)
		}
	}
}

// TestRunActsAndLeaves types into the real program: c, a wait, q.
func TestRunActsAndLeaves(t *testing.T) {
	onWire(t, testRack(), Options{}, plainEnv, func(f *fakeRack, w *wire, out io.WriteCloser) {
		send := func(s string, d time.Duration) {
			if _, err := out.Write([]byte(s)); err != nil {
				t.Error(err)
			}
			time.Sleep(d)
			synctest.Wait()
		}
		send("j", time.Second)
		send("c", 2900*time.Millisecond)
		if n := len(f.commands()); n != 0 {
			t.Errorf("%d commands before zero", n)
		}
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if cmds := f.commands(); len(cmds) != 1 || cmds[0].Targets[0].Pi != "a3-002" {
			t.Errorf("commands %+v", cmds)
		}
		time.Sleep(time.Second)
		w.take()
		send("q", time.Second)
		if got := w.take(); !strings.Contains(got, "\x1b[?1049l") {
			t.Errorf("the screen was not given back: %q", got)
		}
		if len(f.boxes) != 0 {
			t.Error("the console is still subscribed")
		}
	})
}

// TestCloseWaits closes the screen while a command is on its way.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowRack{fakeRack: newFake(testRack())}
		m := New(t.Context(), Options{Viewer: slow, Actor: alice, Width: 80, Height: 24})
		m.selectPi("a3-003")
		m.Update(keyMsg("c"))
		m.Update(keyMsg("y")) // nobody runs what it returns
		m.Close()
		if !slow.done {
			t.Error("Close did not wait for the command")
		}
	})
}

type slowRack struct {
	*fakeRack
	done bool
}

func (s *slowRack) Do(ctx context.Context, cmd engine.Command) (engine.Result, error) {
	time.Sleep(2 * time.Second)
	s.done = ctx.Err() == nil
	return s.fakeRack.Do(ctx, cmd)
}

var _ tea.Model = (*Model)(nil)
