package tui

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"picloud/engine"
)

var alice = engine.Actor{Name: "alice", Role: engine.RoleOperator, Source: "tty"}

// console drives a model as Bubble Tea would, in the fake time of a synctest
// bubble.
type console struct {
	t    *testing.T
	m    *Model
	f    *fakeRack
	msgs chan tea.Msg
	quit bool
}

// drive runs a test with a console on a rack.
func drive(t *testing.T, s *engine.Snapshot, opts Options, test func(c *console)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := newFake(s)
		opts.Viewer = f
		if opts.Actor.Name == "" {
			opts.Actor = alice
		}
		opts.Now = func() time.Time { return epoch.Add(time.Since(start)) }
		if opts.Width == 0 {
			opts.Width, opts.Height = 80, 24
		}
		c := &console{t: t, m: New(t.Context(), opts), f: f, msgs: make(chan tea.Msg, 10000)}
		c.run(c.m.Init())
		c.settle()
		test(c)
		c.m.Close()
		synctest.Wait()
	})
}

func (c *console) run(cmd tea.Cmd) {
	if cmd != nil {
		go func() { c.msgs <- cmd() }()
	}
}

func (c *console) update(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, cmd := range msg {
			c.run(cmd)
		}
	case tea.QuitMsg:
		c.quit = true
	default:
		_, cmd := c.m.Update(msg)
		c.run(cmd)
	}
}

// settle takes all messages that are there.
func (c *console) settle() {
	for {
		synctest.Wait()
		select {
		case msg := <-c.msgs:
			c.update(msg)
		default:
			return
		}
	}
}

func (c *console) wait(d time.Duration) {
	for ; d > 0; d -= 100 * time.Millisecond {
		time.Sleep(min(d, 100*time.Millisecond))
		c.settle()
	}
}

var named = map[string]tea.Key{
	"esc": {Code: tea.KeyEscape}, "enter": {Code: tea.KeyEnter}, "tab": {Code: tea.KeyTab},
	"shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "space": {Code: ' ', Text: " "},
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
	"backspace": {Code: tea.KeyBackspace}, "delete": {Code: tea.KeyDelete}, "f1": {Code: tea.KeyF1},
}

func keyMsg(k string) tea.KeyPressMsg {
	if key, ok := named[k]; ok {
		return tea.KeyPressMsg(key)
	}
	if r, ok := strings.CutPrefix(k, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(r[0]), Mod: tea.ModCtrl}
	}
	r := []rune(k)[0]
	return tea.KeyPressMsg{Code: r, Text: k}
}

func (c *console) press(keys ...string) {
	for _, k := range keys {
		c.update(keyMsg(k))
		c.settle()
	}
}

func (c *console) typeText(s string) {
	for _, r := range s {
		if r == ' ' {
			c.press("space")
		} else {
			c.press(string(r))
		}
	}
}

func (c *console) resize(w, h int) { c.update(tea.WindowSizeMsg{Width: w, Height: h}) }

func (c *console) change(edit func(s *engine.Snapshot)) {
	c.f.change(edit)
	c.settle()
}

// screen is what a person sees, without styles and trailing spaces.
func (c *console) screen() string {
	lines := strings.Split(ansi.Strip(c.m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (c *console) wants(texts ...string) {
	c.t.Helper()
	s := c.screen()
	for _, text := range texts {
		if !strings.Contains(s, text) {
			c.t.Errorf("the screen has no %q:\n%s", text, s)
		}
	}
}

func (c *console) wantsNot(text string) {
	c.t.Helper()
	if s := c.screen(); strings.Contains(s, text) {
		c.t.Errorf("the screen has %q:\n%s", text, s)
	}
}

func (c *console) sel(name engine.PiName) {
	c.t.Helper()
	if c.m.pi(name) == nil {
		c.t.Fatalf("no Pi %s", name)
	}
	c.m.selectPi(name)
	c.m.refresh()
}

// one expects exactly one command and takes it.
func (c *console) one() engine.Command {
	c.t.Helper()
	cmds := c.f.commands()
	if len(cmds) != 1 {
		c.t.Fatalf("commands %+v, want one", cmds)
	}
	c.f.cmds = nil
	return cmds[0]
}

func (c *console) none() {
	c.t.Helper()
	if cmds := c.f.commands(); len(cmds) != 0 {
		c.t.Fatalf("commands %+v, want none", cmds)
	}
}

// testRack is a small rack whose Pis are all up; a3-003 is rented.
func testRack() *engine.Snapshot {
	s := makeRack(3, 2, 12)
	for i := range s.Pis {
		p := &s.Pis[i]
		p.Stage, p.Power, p.Life, p.Server, p.Owner = engine.StageUp, engine.PowerOn, engine.LifeReady, "", ""
		p.Boot, p.Note, p.Diagnosis, p.Since = nil, "", engine.Diagnosis{}, epoch.Add(-5*time.Hour)
		p.Former = p.Root + "-former"
	}
	rent(s, "a3-003", "web-7", "t-009")
	count(s)
	return s
}

func rent(s *engine.Snapshot, name engine.PiName, server, owner string) {
	for i := range s.Pis {
		if s.Pis[i].Name == name {
			s.Pis[i].Life, s.Pis[i].Server, s.Pis[i].Owner = engine.LifeLive, server, owner
		}
	}
}

func edit(name engine.PiName, f func(p *engine.PiView)) func(s *engine.Snapshot) {
	return func(s *engine.Snapshot) {
		for i := range s.Pis {
			if s.Pis[i].Name == name {
				f(&s.Pis[i])
			}
		}
	}
}
