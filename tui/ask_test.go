package tui

import (
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// argRack is testRack with sizes; a3-003 is rented, a3-005 too, a3-006 broken.
func argRack() *engine.Snapshot {
	s := testRack()
	s.Space, s.SpaceAt = engine.SpaceSeen{Driver: "lvm", Quota: true, Pool: engine.PoolReading{Size: 1e12, Used: 61e10}}, epoch
	for i := range s.Pis {
		s.Pis[i].Model = engine.Model4B
		s.Pis[i].RootVolume = engine.VolumeView{Created: epoch.Add(-3 * time.Hour), Use: engine.VolumeUse{Size: 10e9, Used: 2_100e6}, UseAt: epoch}
	}
	rent(s, "a3-005", "web-8", "t-010")
	edit("a3-006", func(p *engine.PiView) { p.Life = engine.LifeBroken })(s)
	edit("a3-007", func(p *engine.PiView) { p.Model = engine.Model5 })(s)
	edit("a3-008", func(p *engine.PiView) { p.RootVolume.Use.Size = 20e9 })(s)
	count(s)
	return s
}

// TestAskedVerbs drives the keys that ask for an argument up to the command.
func TestAskedVerbs(t *testing.T) {
	tests := []struct {
		name  string
		pi    engine.PiName
		keys  string // "_" is the space bar
		wait  time.Duration
		verb  engine.VerbName
		to    engine.PiName
		size  int64
		shows string
	}{
		{name: "move", pi: "a3-003", keys: "m a3-007 enter a3-003 enter", verb: "move", to: "a3-007", shows: "move a3-003: job 8900"},
		{name: "move by port", pi: "a3-003", keys: "m PORT7 enter a3-003 enter", verb: "move", to: "a3-007"},
		{name: "move to a spare", pi: "a3-003", keys: "m enter a3-003 enter", verb: "move"},
		{name: "move needs its own name", pi: "a3-003", keys: "m a3-007 enter a3-007 enter", shows: "nothing was done"},
		{name: "move not by y", pi: "a3-003", keys: "m a3-007 enter y enter", shows: "nothing was done"},
		{name: "move to a rented one", pi: "a3-003", keys: "m a3-005 enter", shows: "a3-005 cannot take it: it has a server, web-8"},
		{name: "move to itself", pi: "a3-003", keys: "m a3-003 enter", shows: "it is there already"},
		{name: "move to a broken one", pi: "a3-003", keys: "m a3-006 enter", shows: "marked broken"},
		{name: "move to nobody", pi: "a3-003", keys: "m a3-099 enter", shows: `there is no Pi or port "a3-099"`},
		{name: "move to a filter", pi: "a3-003", keys: "m a3-00 enter", shows: `there is no Pi or port "a3-00"`},
		{name: "move to many", pi: "a3-003", keys: "m @free enter", shows: "say to which one it goes"},
		{name: "move mended", pi: "a3-003", keys: "m a3-00 enter 7 enter a3-003 enter", verb: "move", to: "a3-007"},
		{name: "move of nothing", pi: "a3-002", keys: "m", shows: "there is no server to move"},
		{name: "move left", pi: "a3-003", keys: "m a3-007 esc enter a3-003 enter", shows: ""},
		{name: "move completed", pi: "a3-003", keys: "m a3-01 tab 2 enter a3-003 enter", verb: "move", to: "a3-012"},
		{name: "size", pi: "a3-002", keys: "z 20G enter", wait: 3 * time.Second, verb: "resize", size: 20e9, shows: "resize a3-002: job 8900"},
		{name: "size with a space", pi: "a3-002", keys: "z 20 _ GB enter", wait: 3 * time.Second, verb: "resize", size: 20e9},
		{name: "more", pi: "a3-002", keys: "z +5G enter", wait: 3 * time.Second, verb: "resize", size: 15e9},
		{name: "size of a rented one", pi: "a3-003", keys: "z +5G enter y", verb: "resize", size: 15e9},
		{name: "size stopped", pi: "a3-002", keys: "z 20G enter enter", wait: 9 * time.Second, shows: "nothing was done"},
		{name: "its key stops too", pi: "a3-002", keys: "z 20G enter z", wait: 9 * time.Second, shows: "nothing was done"},
		{name: "size shrinks", pi: "a3-002", keys: "z 9G enter", wait: 9 * time.Second, shows: "it has 10 GB, and a root does not shrink"},
		{name: "size same", pi: "a3-002", keys: "z 10G enter", wait: 9 * time.Second, shows: "it has just that"},
		{name: "no unit", pi: "a3-002", keys: "z 20 enter", wait: 9 * time.Second, shows: "20 of what? Say 20G"},
		{name: "unit mended", pi: "a3-002", keys: "z 20 enter G enter", wait: 3 * time.Second, verb: "resize", size: 20e9},
		{name: "no size", pi: "a3-002", keys: "z enter", wait: 9 * time.Second, shows: "say a size"},
		{name: "rescue", pi: "a3-002", keys: "R", wait: 3 * time.Second, verb: "rescue", shows: "rescue a3-002: job 8900"},
		{name: "rescue of a rented one", pi: "a3-003", keys: "R y", verb: "rescue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := argRack()
			drive(t, s, Options{}, func(c *console) {
				c.sel(tt.pi)
				for _, k := range strings.Fields(tt.keys) {
					switch {
					case k == "_":
						c.press("space")
					case k == "PORT7":
						c.typeText(c.m.pi("a3-007").Port.String())
					case named[k].Code != 0 || len(k) == 1:
						c.press(k)
					default:
						c.typeText(k)
					}
				}
				c.wait(tt.wait)
				if tt.verb == "" {
					c.none()
				} else if got := c.one(); got.Verb != tt.verb || got.To != tt.to || got.Size != tt.size || len(got.Targets) != 1 || got.Targets[0].Pi != tt.pi {
					t.Errorf("got %+v", got)
				}
				c.wants(tt.shows)
			})
		})
	}
}

// TestAskShowsWhatItWouldDo reads the lines over the argument and the guard.
func TestAskShowsWhatItWouldDo(t *testing.T) {
	s := argRack()
	edit("a3-009", func(p *engine.PiView) { p.Stage = engine.StageStalled })(s)
	drive(t, s, Options{}, func(c *console) {
		c.sel("a3-003")
		c.press("m")
		c.wants(" move a3-003 to:", "Enter takes a spare; or one of a3-001, a3-002, a3-004, a3-008 and 5 more")
		c.typeText("a3-00")
		c.wants("can: a3-001, a3-002, a3-004, a3-008, a3-007 (5), a3-009 (stalled)", "cannot: a3-005 (it has a server, web-8), a3-006 (it is marked broken)")
		c.typeText("6")
		c.wants("cannot: a3-006 (it is marked broken)")
		c.press("backspace")
		c.typeText("x")
		c.wants("no Pi has that name, port or text")
		c.press("backspace")
		c.typeText("7")
		c.wants("can: a3-007 (5)")
		c.press("enter")
		p := c.m.pi("a3-007")
		c.wants("move: 10 s to answer", "a3-003 at ", "server web-7 of t-009",
			"moves server web-7 from a3-003 to a3-007 at "+p.Port.String()+" (5, up)", "type a3-003 and Enter", "> a3-003")
		c.sel("a3-003")
		c.press("esc", "z")
		c.wants(" resize a3-003 to:", "a3-003: 2.1 of 10 GB used; say 20G, or +5G for so much more")
		c.typeText("+5")
		c.wants("say 20G")
		c.typeText("G")
		c.wants("it would have 15 GB")
		c.press("enter")
		c.wants("its root grows from 10 GB to 15 GB (2.1 GB used)", " y does it")
		c.none()
	})
}

// TestTargetOfMoveChanges: the Pi that a server goes to becomes unfit while the
// guard runs.
func TestTargetOfMoveChanges(t *testing.T) {
	changes := map[string]func(s *engine.Snapshot){
		"it has a server, web-9": func(s *engine.Snapshot) { rent(s, "a3-007", "web-9", "") },
		"marked broken":          edit("a3-007", func(p *engine.PiView) { p.Life = engine.LifeBroken }),
		"a3-007 is gone":         edit("a3-007", func(p *engine.PiView) { p.Name = "b1-001" }),
	}
	for why, change := range changes {
		drive(t, argRack(), Options{}, func(c *console) {
			c.sel("a3-003")
			c.press("m")
			c.typeText("a3-007")
			c.press("enter")
			if c.m.pending == nil {
				t.Fatal("not armed")
			}
			c.change(change)
			c.wants(why, "nothing was done")
			c.typeText("a3-003")
			c.press("enter")
			c.wait(time.Minute)
			c.none()
		})
	}
}

// TestManyWithArguments: several Pis move to spares, and grow to a whole size.
func TestManyWithArguments(t *testing.T) {
	mark := func(c *console, names ...engine.PiName) {
		for _, n := range names {
			c.sel(n)
			c.press("space")
		}
	}
	drive(t, argRack(), Options{}, func(c *console) {
		mark(c, "a3-003", "a3-005")
		c.press("m")
		c.wants("2 Pis, 2 of them rented", "moves each server to a spare of its own", "type move 2 and Enter")
		c.typeText("move 2")
		c.press("enter")
		if got := c.one(); len(got.Targets) != 2 || got.To != "" {
			t.Errorf("got %+v", got)
		}
		mark(c, "a3-002", "a3-008")
		c.press("z")
		c.typeText("+5G")
		c.press("enter")
		c.wants("have sizes of their own", "resize 2 Pis to: +5G")
		c.press("ctrl+u")
		c.typeText("20G")
		c.press("enter")
		c.wants("left out: a3-008: it has just that", "resize in 3 s")
		c.wait(3 * time.Second)
		if got := c.one(); len(got.Targets) != 1 || got.Targets[0].Pi != "a3-002" || got.Size != 20e9 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestVolumesWithoutSize says before anything is typed that it is of no use.
func TestVolumesWithoutSize(t *testing.T) {
	s := argRack()
	s.Space = engine.SpaceSeen{Driver: "folder", Copies: true}
	drive(t, s, Options{}, func(c *console) {
		c.press("z")
		c.wants(`resize: volumes of the driver "folder" have no size`)
		if c.m.mode != modeKeys {
			t.Error("it asks nevertheless")
		}
		c.press(":")
		c.typeText("resize a3-002 20G")
		c.press("enter")
		c.wants(`volumes of the driver "folder" have no size`)
		c.wait(5 * time.Second)
		c.none()
	})
}

// TestArgumentsOnTheLine types whole lines with arguments.
func TestArgumentsOnTheLine(t *testing.T) {
	tests := []struct {
		line, typed string
		wait        time.Duration
		verb        engine.VerbName
		to          engine.PiName
		size        int64
		shows       string
	}{
		{line: "move a3-003 a3-007", typed: "a3-003", verb: "move", to: "a3-007"},
		{line: "move a3-003", typed: "a3-003", verb: "move", shows: "a spare that is picked then"},
		{line: "move", typed: "a3-003", verb: "move"},
		{line: "move a3-003 a3-005", shows: "a3-005 cannot take it"},
		{line: "resize a3-003 20G", typed: "y", verb: "resize", size: 20e9},
		{line: "resize +1.5G", typed: "y", verb: "resize", size: 115e8},
		{line: "resize a3-002", shows: " resize a3-002 to:"},
		{line: "rescue a3-002", wait: 3 * time.Second, verb: "rescue"},
		{line: "unrescue a3-002", shows: "it is not in rescue"},
		{line: "unrescue a3-009", wait: 3 * time.Second, verb: "unrescue"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			s := argRack()
			edit("a3-009", func(p *engine.PiView) { p.Rescue = true })(s)
			drive(t, s, Options{}, func(c *console) {
				c.sel("a3-003")
				c.press(":")
				c.typeText(tt.line)
				c.press("enter")
				c.wants(tt.shows)
				c.typeText(tt.typed)
				if tt.typed != "" && tt.typed != "y" {
					c.press("enter")
				}
				c.wait(tt.wait)
				if tt.verb == "" {
					c.none()
				} else if got := c.one(); got.Verb != tt.verb || got.To != tt.to || got.Size != tt.size {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// TestOwnJobFails tells whoever began a job that it failed, and nobody else.
func TestOwnJobFails(t *testing.T) {
	job := func(id int64, pi engine.PiName, state engine.JobState, err string) engine.JobView {
		return engine.JobView{ID: id, Verb: "resize", Pi: pi, State: state, Error: err, Ended: epoch}
	}
	drive(t, argRack(), Options{}, func(c *console) {
		c.sel("a3-002")
		c.press("z")
		c.typeText("20G")
		c.press("enter")
		c.wait(3 * time.Second)
		c.wants("resize a3-002: job 8900")
		c.change(func(s *engine.Snapshot) {
			s.Jobs = []engine.JobView{job(8899, "a3-004", engine.JobFailed, "not mine"), job(8900, "a3-002", engine.JobRunning, "")}
		})
		c.wants("resize a3-002: job 8900")
		c.change(func(s *engine.Snapshot) {
			s.Jobs = []engine.JobView{job(8899, "a3-004", engine.JobFailed, "not mine"), job(8900, "a3-002", engine.JobFailed, "grow: the pool is full")}
		})
		c.wants("resize a3-002 failed: grow: the pool is full")
		c.wait(time.Minute)
		c.wants("resize a3-002 failed")
		c.press("j")
		c.change(func(*engine.Snapshot) {})
		c.wantsNot("failed:")
	})
}
