package tui

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

func target(s *engine.Snapshot, names ...engine.PiName) []engine.Target {
	var out []engine.Target
	for _, n := range names {
		for i := range s.Pis {
			if s.Pis[i].Name == n {
				out = append(out, engine.Target{Pi: n, Gen: s.Pis[i].Gen})
			}
		}
	}
	return out
}

// TestGuardedVerbs drives every verb key over a free and a rented Pi from the
// key to the command.
func TestGuardedVerbs(t *testing.T) {
	s := testRack()
	const free, rented = engine.PiName("a3-002"), engine.PiName("a3-003")
	count3, count5 := 3*time.Second, 5*time.Second
	tests := []struct {
		name   string
		pi     engine.PiName
		keys   []string
		wait   time.Duration
		verb   engine.VerbName // "" = nothing is done
		passed engine.GuardKind
		typed  string
	}{
		{"cycle counts down", free, []string{"c"}, count3, engine.VerbCycle, engine.GuardCountdown, ""},
		{"cycle not before zero", free, []string{"c"}, count3 - 100*time.Millisecond, "", 0, ""},
		{"cycle again does not hurry", free, []string{"c", "c", "c"}, count3 - 100*time.Millisecond, "", 0, ""},
		{"cycle again does not stop", free, []string{"c", "c", "c"}, count3, engine.VerbCycle, engine.GuardCountdown, ""},
		{"any key stops", free, []string{"c", "x"}, 20 * time.Second, "", 0, ""},
		{"enter stops", free, []string{"c", "enter"}, 20 * time.Second, "", 0, ""},
		{"ctrl-c stops", free, []string{"c", "ctrl+c"}, 20 * time.Second, "", 0, ""},
		{"off", free, []string{"O"}, count3, engine.VerbOff, engine.GuardCountdown, ""},
		{"reimage", free, []string{"i"}, count5, engine.VerbReimage, engine.GuardCountdown, ""},
		{"undo", free, []string{"u"}, count5, engine.VerbUndo, engine.GuardCountdown, ""},
		{"rented cycle waits for y", rented, []string{"c"}, time.Minute, "", 0, ""},
		{"rented cycle y", rented, []string{"c", "y"}, 0, engine.VerbCycle, engine.GuardYes, ""},
		{"rented cycle same key", rented, []string{"c", "c", "y"}, 0, "", 0, ""},
		{"rented cycle enter", rented, []string{"c", "enter", "y"}, 0, "", 0, ""},
		{"rented cycle Y", rented, []string{"c", "Y"}, 0, "", 0, ""},
		{"rented reimage y", rented, []string{"i", "y", "enter"}, 0, "", 0, ""},
		{"rented reimage name", rented, strings.Split("i a 3 - 0 0 3 enter", " "), 0, engine.VerbReimage, engine.GuardName, "a3-003"},
		{"rented reimage no enter", rented, strings.Split("i a 3 - 0 0 3", " "), time.Minute, "", 0, ""},
		{"rented reimage prefix", rented, strings.Split("i a 3 - 0 0 enter", " "), 0, "", 0, ""},
		{"rented reimage longer", rented, strings.Split("i a 3 - 0 0 3 1 enter", " "), 0, "", 0, ""},
		{"rented reimage mended", rented, strings.Split("i a 3 - 0 0 1 backspace 3 enter", " "), 0, engine.VerbReimage, engine.GuardName, "a3-003"},
		{"rented reimage esc", rented, strings.Split("i a 3 - 0 0 3 esc enter", " "), 0, "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			drive(t, s, Options{}, func(c *console) {
				c.sel(tt.pi)
				c.press(tt.keys...)
				c.wait(tt.wait)
				if tt.verb == "" {
					c.none()
					if c.quit {
						t.Error("the console left")
					}
					return
				}
				got := c.one()
				want := engine.Command{Verb: tt.verb, Actor: alice, Targets: target(s, tt.pi), Passed: tt.passed, Typed: tt.typed}
				if d := cmp.Diff(want, got, cmp.Comparer(func(a, b engine.Actor) bool { return a == b })); d != "" {
					t.Errorf("command (-want +got):\n%s", d)
				}
				c.wants(string(tt.verb) + " " + string(tt.pi) + ": job 8900")
			})
		})
	}
}

// TestEveryKeyDisarms tries all of ASCII and the named keys against each guard.
func TestEveryKeyDisarms(t *testing.T) {
	var keys []string
	for b := byte(1); b < 127; b++ {
		switch {
		case b < 27 && b != '\t' && b != '\r':
			keys = append(keys, "ctrl+"+string(rune('a'+b-1)))
		case b > ' ':
			keys = append(keys, string(rune(b)))
		}
	}
	for k := range named {
		keys = append(keys, k)
	}
	guards := []struct {
		pi   engine.PiName
		key  string
		acts []string // keys that do not disarm
	}{
		{"a3-002", "c", []string{"c"}}, {"a3-002", "i", []string{"i"}},
		{"a3-002", "O", []string{"O"}}, {"a3-002", "u", []string{"u"}},
		{"a3-003", "c", []string{"y"}}, {"a3-003", "O", []string{"y"}},
	}
	for _, g := range guards {
		t.Run(string(g.pi)+g.key, func(t *testing.T) {
			drive(t, testRack(), Options{}, func(c *console) {
				for _, k := range keys {
					c.sel(g.pi)
					c.press(g.key)
					if c.m.pending == nil {
						t.Fatalf("%s did not arm", g.key)
					}
					c.press(k)
					if slices.Contains(g.acts, k) {
						c.wait(10 * time.Second)
						c.one()
						continue
					}
					if c.m.pending != nil {
						t.Errorf("%q did not disarm %s", k, g.key)
					}
					if c.quit || c.m.mode != modeKeys || c.m.help != nil || c.m.detail != nil || c.m.sel != g.pi {
						t.Fatalf("%q did more than disarm", k)
					}
					c.wants("nothing was done to " + string(g.pi))
				}
				c.wait(time.Minute)
				c.none()
			})
		})
	}
}

func TestTypedGuardKeys(t *testing.T) {
	for _, k := range []string{"esc", "enter", "tab", "up", "down", "ctrl+c", "ctrl+d", "f1", "pgdown"} {
		drive(t, testRack(), Options{}, func(c *console) {
			c.sel("a3-003")
			c.press("i", "a", k)
			if c.m.pending != nil {
				t.Errorf("%q did not disarm", k)
			}
			c.none()
		})
	}
}

func TestVerbsWithoutGuard(t *testing.T) {
	s := testRack()
	edit("a3-002", func(p *engine.PiView) { p.Stage, p.Power = engine.StageOff, engine.PowerOff })(s)
	edit("a3-004", func(p *engine.PiView) {
		p.Job = &engine.JobView{ID: 7, Verb: "cycle", State: engine.JobRunning, StepNo: 1, Steps: 3, Step: "hold", Percent: -1}
	})(s)
	drive(t, s, Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("o")
		if got := c.one(); got.Verb != engine.VerbOn || got.Passed != engine.GuardNone {
			t.Errorf("got %+v", got)
		}
		c.sel("a3-004")
		c.press("x")
		if got := c.one(); got.Verb != engine.VerbCancel {
			t.Errorf("got %+v", got)
		}
		c.press("c")
		c.none()
		c.wants("job 7 (cycle) is not over")
	})
}

// TestMany marks Pis: the strongest guard of the set applies, and those that
// cannot are left out by name.
func TestMany(t *testing.T) {
	s := testRack()
	edit("a3-001", func(p *engine.PiView) { p.Life = engine.LifeBroken })(s)
	tests := []struct {
		name  string
		marks []engine.PiName
		keys  string
		want  []engine.PiName
		typed string
	}{
		{"free", []engine.PiName{"a3-002", "a3-004"}, "i", []engine.PiName{"a3-002", "a3-004"}, ""},
		{"with rented", []engine.PiName{"a3-002", "a3-003"}, "i reimage space 2 enter", []engine.PiName{"a3-002", "a3-003"}, "reimage 2"},
		{"wrong number", []engine.PiName{"a3-002", "a3-003"}, "i reimage space 3 enter", nil, ""},
		{"prefix of the number", []engine.PiName{"a3-002", "a3-003"}, "i reimage space 2 0 enter", nil, ""},
		{"one name for many", []engine.PiName{"a3-002", "a3-003"}, "i a3-003 enter", nil, ""},
		{"yes for many", []engine.PiName{"a3-002", "a3-003"}, "c y", []engine.PiName{"a3-002", "a3-003"}, ""},
		{"left out", []engine.PiName{"a3-001", "a3-002"}, "c", []engine.PiName{"a3-002"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			drive(t, s, Options{}, func(c *console) {
				for _, n := range tt.marks {
					c.sel(n)
					c.press("space")
				}
				for i, k := range strings.Fields(tt.keys) {
					if i > 0 && named[k].Code == 0 && len(k) > 1 {
						c.typeText(k)
					} else {
						c.press(k)
					}
				}
				if tt.name == "left out" {
					c.wants("left out: a3-001: it is marked broken")
				}
				c.wait(6 * time.Second)
				if tt.want == nil {
					c.none()
					return
				}
				got := c.one()
				if d := cmp.Diff(target(s, tt.want...), got.Targets); d != "" || got.Typed != tt.typed {
					t.Errorf("typed %q, targets (-want +got):\n%s", got.Typed, d)
				}
			})
		})
	}
}

// TestChangeDropsGuard publishes a Pi with another generation while its guard
// runs.
func TestChangeDropsGuard(t *testing.T) {
	for _, keys := range [][]string{{"a3-002", "c"}, {"a3-003", "c"}, {"a3-003", "i", "a"}} {
		drive(t, testRack(), Options{}, func(c *console) {
			name := engine.PiName(keys[0])
			c.sel(name)
			c.press(keys[1:]...)
			c.change(edit("a3-005", func(p *engine.PiView) { p.Gen++ }))
			if c.m.pending == nil {
				t.Fatal("another Pi's change dropped the guard")
			}
			c.change(edit(name, func(p *engine.PiView) { p.Gen++; p.Stage = engine.StageOff }))
			c.wants(string(name) + " changed meanwhile (now off); nothing was done")
			c.wait(time.Minute)
			c.none()
		})
	}
}

func TestRefusalIsShown(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("c")
		// The engine knows better by the time the command arrives.
		c.f.mu.Lock()
		s := *c.f.snap
		s.Pis = slices.Clone(s.Pis)
		edit("a3-002", func(p *engine.PiView) { p.Gen++ })(&s)
		c.f.snap = &s
		c.f.mu.Unlock()
		c.wait(4 * time.Second)
		c.wants("cycle a3-002: refused: a3-002: it changed since you looked")
		c.wait(time.Minute)
		c.wants("refused")
		c.press("j")
		c.wantsNot("refused")
		c.f.fail = errors.New("the engine has stopped")
		c.f.cmds = nil
		c.press("k", "k", "g", "c")
		c.wait(4 * time.Second)
		c.wants("the engine has stopped")
	})
}

// TestFrozen acts on a display that no longer shows what is.
func TestFrozen(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("f")
		c.change(edit("a3-002", func(p *engine.PiView) { p.Stage = engine.StageDHCP; p.Gen++ }))
		c.wait(3 * time.Second)
		c.wants("FROZEN 3s", "> a3-002")
		c.wantsNot("dhcp  ")
		c.press("c")
		c.wants("it changed since the display was frozen")
		c.wait(5 * time.Second)
		c.none()
		c.press("f", "c")
		c.wait(4 * time.Second)
		c.one()
		c.wantsNot("FROZEN")
	})
}

func TestReadOnly(t *testing.T) {
	viewer := engine.Actor{Name: "bob", Role: engine.RoleViewer}
	for _, opts := range []Options{{ReadOnly: true}, {Actor: viewer}} {
		drive(t, testRack(), opts, func(c *console) {
			for _, k := range []string{"c", "o", "O", "i", "u", "m", "z", "R", "x"} {
				c.press(k, "y")
			}
			c.press("r", ":")
			c.typeText("cycle a3-002")
			c.press("enter")
			c.wait(20 * time.Second)
			c.none()
			c.wants(" RO")
		})
	}
}

func TestIdleTurnsReadOnly(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.wait(9 * time.Minute)
		c.press("j", "k")
		c.wait(9*time.Minute + 50*time.Second)
		c.wants("alice RW")
		c.wait(11 * time.Second)
		c.wants("alice RO", "r act again")
		c.press("c")
		c.wants("read-only after 10m without a key")
		c.wait(10 * time.Second)
		c.none()
		c.press("r", "c")
		c.wait(4 * time.Second)
		c.one()
	})
}

// TestStrayInput has keys that were meant for another window, and pastes.
func TestStrayInput(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.update(tea.FocusMsg{})
		c.press("c")
		c.wait(200 * time.Millisecond)
		c.press("c")
		if c.m.pending != nil {
			t.Fatal("a key right after the focus came back armed")
		}
		c.wait(200 * time.Millisecond)
		c.press("c")
		if c.m.pending == nil {
			t.Fatal("c did not arm later")
		}
		c.update(tea.PasteMsg{Content: "y"})
		if c.m.pending != nil {
			t.Fatal("a paste did not stop the count-down")
		}
		c.update(tea.PasteMsg{Content: "ciO:off a3-002\n"})
		c.wait(20 * time.Second)
		c.none()

		c.sel("a3-003")
		c.press("i")
		c.update(tea.PasteMsg{Content: "a3-003\n"})
		c.press("enter")
		c.none()

		c.press("c")
		c.update(tea.FocusMsg{})
		c.press("y") // too soon to be an answer
		c.none()
		c.press("n") // but any key may stop
		if c.m.pending != nil {
			t.Error("a key right after the focus came back did not stop")
		}

		c.wait(time.Second)
		c.press("/")
		c.update(tea.PasteMsg{Content: "\x1b[31msw1\nrm"})
		if got := c.m.filterText; got != "?[31msw1" {
			t.Errorf("pasted filter %q", got)
		}
	})
}

// TestLateKey presses a key just after a count-down has acted.
func TestLateKey(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("c")
		c.wait(3100 * time.Millisecond)
		c.press("q", "i")
		if c.quit || c.m.pending != nil {
			t.Error("a key that came too late to stop did something else")
		}
		c.one()
	})
}

// TestSelectionIsSticky has the selected Pi leave the filter by itself: the
// next key must still mean the Pi that was there.
func TestSelectionIsSticky(t *testing.T) {
	s := testRack()
	edit("a3-002", func(p *engine.PiView) { p.Stage = engine.StageDHCP })(s)
	edit("a3-004", func(p *engine.PiView) { p.Stage = engine.StageDHCP })(s)
	drive(t, s, Options{}, func(c *console) {
		c.press("/")
		c.typeText("!up")
		c.press("enter")
		if c.m.sel != "a3-002" {
			t.Fatalf("selected %s", c.m.sel)
		}
		c.change(edit("a3-002", func(p *engine.PiView) { p.Stage = engine.StageUp }))
		c.wants("> a3-002", "  a3-004")
		c.press("c")
		c.wait(4 * time.Second)
		if got := c.one(); got.Targets[0].Pi != "a3-002" {
			t.Errorf("acted on %s", got.Targets[0].Pi)
		}
		c.press("j")
		if c.m.sel != "a3-004" || len(c.m.rows) != 1 {
			t.Errorf("selected %s of %d rows", c.m.sel, len(c.m.rows))
		}
	})
}

func TestPlacesOfVerbs(t *testing.T) {
	s := testRack()
	s.Jobs = []engine.JobView{{ID: 41, Verb: "cycle", Pi: "a3-007", State: engine.JobRunning, StepNo: 1, Steps: 4, Step: "hold", Percent: -1, Since: epoch}}
	edit("a3-007", func(p *engine.PiView) { p.Job = &s.Jobs[0] })(s)
	drive(t, s, Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("tab", "c") // the log
		c.wants("a log line is no selection")
		c.press("4", "c")
		c.wants("a log line is no selection")
		c.press("3", "x")
		if got := c.one(); got.Targets[0].Pi != "a3-007" {
			t.Errorf("cancelled %s", got.Targets[0].Pi)
		}
		c.press("1")
		c.sel("a3-005")
		c.press("space")
		c.sel("a3-002")
		c.press("enter", "c") // its page is about it alone, marks or not
		c.wait(4 * time.Second)
		if got := c.one(); len(got.Targets) != 1 || got.Targets[0].Pi != "a3-002" {
			t.Errorf("cycled %+v", got.Targets)
		}
	})
}

// TestJobCursorIsSticky has the selected job leave the list.
func TestJobCursorIsSticky(t *testing.T) {
	s := testRack()
	for i, name := range []engine.PiName{"a3-002", "a3-004", "a3-005"} {
		j := engine.JobView{ID: int64(41 + i), Verb: "cycle", Pi: name, State: engine.JobRunning, StepNo: 1, Steps: 4, Step: "hold", Percent: -1, Since: epoch}
		s.Jobs = append(s.Jobs, j)
		edit(name, func(p *engine.PiView) { p.Job = &j })(s)
	}
	drive(t, s, Options{}, func(c *console) {
		c.press("3", "j")
		c.wants(">    42")
		c.change(func(s *engine.Snapshot) { s.Jobs = []engine.JobView{s.Jobs[0], s.Jobs[2]} })
		c.press("x")
		c.none()
		c.wants("no job is selected")
		c.press("k", "x")
		if got := c.one(); got.Targets[0].Pi != "a3-002" {
			t.Errorf("cancelled %s", got.Targets[0].Pi)
		}
	})
}

// TestNothingActsUnseen presses keys where there is no room to show what they
// would do.
func TestNothingActsUnseen(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("c")
		c.resize(39, 9)
		c.wait(5 * time.Second)
		c.press("c", "i", "O", ":")
		c.wait(6 * time.Second)
		c.none()
		c.resize(40, 10)
		c.wants("too small")
		c.sel("a3-003")
		c.press("i")
		c.wants("a3-003 at", "loses its root", "type a3-003 and Enter")
		c.press("esc")
		for i := range c.m.shown.Pis {
			c.m.marks[c.m.shown.Pis[i].Name] = true
		}
		c.change(edit("a3-001", func(p *engine.PiView) { p.Life = engine.LifeBroken }))
		c.press("i")
		c.wants("11 Pis, 1 of them", "left out: a3-001", "loses its root", "type reimage 11 and Enter")
		c.resize(39, 9)
		c.press("q")
		if !c.quit {
			t.Error("q does not leave a small terminal")
		}
	})
}

func TestGuardsOfTheConfiguration(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.guards = map[engine.VerbName]engine.Guards{engine.VerbCycle: {
			Free: engine.Guard{Kind: engine.GuardName}, Rented: engine.Guard{Kind: engine.GuardNone}}}
		c.sel("a3-002")
		c.press("c")
		c.typeText("a3-002")
		c.press("enter")
		if got := c.one(); got.Passed != engine.GuardName {
			t.Errorf("passed %v", got.Passed)
		}
		c.sel("a3-003")
		c.press("c")
		c.one()
	})
}

// TestMonkey presses keys at random while the rack changes at random: whatever
// is sent must have passed its guard.
func TestMonkey(t *testing.T) {
	keys := strings.Fields("c c c i i O u m m z z R x o y y n j k h l g G tab enter esc space v * / : ! s w f 1 2 3 4 5 b m r ? q a 3 - 0 0 2 [ ] up down pgdown backspace ctrl+c")
	runs := max(30/everySizeStep, 4)
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := makeRack(uint64(seed), 2, 20)
			drive(t, s, Options{}, func(c *console) { monkey(t, c, rand.New(rand.NewPCG(uint64(seed), 2)), keys) })
		})
	}
}

type press struct {
	key string
	at  time.Time
}

func monkey(t *testing.T, c *console, r *rand.Rand, keys []string) {
	var history []press
	for range 400 {
		switch n := r.IntN(20); {
		case n < 12:
			k := keys[r.IntN(len(keys))]
			if p := c.m.pending; p != nil && p.guard.Kind == engine.GuardName && r.IntN(2) == 0 {
				for _, ch := range p.want {
					history = append(history, press{string(ch), c.m.opts.Now()})
					c.typeText(string(ch))
				}
				k = "enter"
			}
			if c.m.mode == modeArg && r.IntN(2) == 0 {
				for _, ch := range []string{"20G", "+5G", "a3-004", "a3-011", "1", ""}[r.IntN(6)] {
					history = append(history, press{string(ch), c.m.opts.Now()})
					c.typeText(string(ch))
				}
				k = "enter"
			}
			history = append(history, press{k, c.m.opts.Now()})
			c.press(k)
		case n < 17:
			c.wait(time.Duration(r.IntN(40)) * 100 * time.Millisecond)
		case n < 18:
			c.resize(r.IntN(150), r.IntN(50))
		default:
			name := c.m.snap.Pis[r.IntN(len(c.m.snap.Pis))].Name
			c.change(edit(name, func(p *engine.PiView) { p.Gen++; p.Stage = engine.Stage(r.IntN(9)) }))
		}
		c.quit = false
		c.m.View()
		for _, cmd := range c.f.commands() {
			checkGuard(t, c, cmd, history)
			if (cmd.Verb == engine.VerbResize) != (cmd.Size > 0) || cmd.To != "" && cmd.Verb != engine.VerbMove {
				t.Errorf("%s to %q, %d bytes", cmd.Verb, cmd.To, cmd.Size)
			}
		}
		c.f.cmds = nil
	}
}

// checkGuard tells from the keys alone whether a command's guard was passed.
func checkGuard(t *testing.T, c *console, cmd engine.Command, history []press) {
	t.Helper()
	var need engine.Guard
	for _, tg := range cmd.Targets {
		need = stronger(need, c.f.Guards(cmd.Verb).For(c.m.pi(tg.Pi)))
	}
	if cmd.Passed != need.Kind {
		t.Errorf("%s passed %v, needs %v", cmd.Verb, cmd.Passed, need.Kind)
	}
	last := history[len(history)-1]
	switch cmd.Passed {
	case engine.GuardYes:
		if last.key != "y" {
			t.Errorf("%s after %q, not y", cmd.Verb, last.key)
		}
	case engine.GuardName:
		want := string(cmd.Targets[0].Pi)
		if len(cmd.Targets) > 1 {
			want = fmt.Sprintf("%s %d", cmd.Verb, len(cmd.Targets))
		}
		if last.key != "enter" || cmd.Typed != want {
			t.Errorf("%s after %q, typed %q, want %q", cmd.Verb, last.key, cmd.Typed, want)
		}
	case engine.GuardCountdown:
		// A run of one key that started at least the delay ago.
		i := len(history) - 1
		for i > 0 && history[i-1].key == last.key {
			i--
		}
		if waited := c.m.opts.Now().Sub(history[i].at); waited < need.Delay {
			t.Errorf("%s %v after %q, before its %v", cmd.Verb, waited, last.key, need.Delay)
		}
	}
}

// TestHiddenMarks wants no act on a marked Pi that the filter hides, and none
// on the Pi under the cursor in its stead.
func TestHiddenMarks(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("space")
		c.press("/")
		c.typeText("a3-004")
		c.press("enter", "c")
		c.wants("1 marked Pi is not shown")
		c.wait(6 * time.Second)
		c.none()
	})
}

// TestKeysAfterALateName drops what is still typed of a name after its time
// ran out: it was meant for the question.
func TestKeysAfterALateName(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.sel("a3-003")
		c.press("i")
		c.typeText("a3")
		c.wait(answerTime + 200*time.Millisecond)
		c.press("c", "O")
		if c.m.pending != nil {
			t.Error("a late key armed a verb")
		}
		c.wait(6 * time.Second)
		c.none()
	})
}
