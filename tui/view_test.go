package tui

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// goldenRack is full: 4 switches, 192 Pis, one of every kind of trouble.
func goldenRack() *engine.Snapshot {
	s := makeRack(11, 4, 192)
	edit("a3-014", func(p *engine.PiView) {
		p.Stage, p.Life, p.Server, p.Owner = engine.StageUp, engine.LifeLive, "web-7", "t-009"
		p.Power, p.Former = engine.PowerOn, "pi-014-0"
		p.Diagnosis = engine.Diagnosis{}
		p.FormerVolume = engine.VolumeView{Created: epoch.Add(-12 * 24 * time.Hour), Changed: epoch.Add(-3 * time.Hour), Use: engine.VolumeUse{Size: 10e9, Used: 19e8}, UseAt: epoch}
		p.FormerUntil = epoch.Add(3*24*time.Hour - 10*time.Minute)
		p.Rescue = true
		p.RescueKeys = []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s"}}
	})(s)
	edit("a3-019", func(p *engine.PiView) {
		p.Stage, p.Power, p.Life, p.Server, p.Owner = engine.StageUp, engine.PowerOn, engine.LifeLive, "shop-web", "t-109"
		p.Job = &engine.JobView{ID: 8813, Verb: "move", Pi: "a3-019", To: "a3-021", Actor: "alice", State: engine.JobRunning,
			Step: "power-off", StepNo: 2, Steps: 9, Percent: -1, Since: epoch.Add(-2 * time.Second)}
		s.Jobs = append(s.Jobs, *p.Job)
	})(s)
	edit("a3-021", func(p *engine.PiView) { p.Job = &s.Jobs[0] })(s)
	edit("a3-023", func(p *engine.PiView) {
		p.Stage, p.LastStage, p.Power, p.Life = engine.StageStalled, engine.StageFirmware, engine.PowerOn, engine.LifeReady
		p.Since, p.Server, p.Owner, p.Milliwatts, p.HasWatts = epoch.Add(-41*time.Second), "", "", 2100, true
		p.Diagnosis = engine.Diagnosis{At: engine.StageFirmware, Fault: "file-missing",
			Cause: "start4.elf was asked for 5 times and is not in its boot folder",
			Hint:  "reimage it, or copy start4.elf to /boot/firmware of its root"}
	})(s)
	edit("a3-020", func(p *engine.PiView) {
		p.Stage, p.Power, p.Life = engine.StageOff, engine.PowerOff, engine.LifeDeploying
		p.Since = epoch.Add(-12 * time.Second)
		p.Diagnosis = engine.Diagnosis{}
		p.Job = &engine.JobView{ID: 8811, Verb: "reimage", Pi: "a3-020", Actor: "api", State: engine.JobRunning,
			Step: "clone", StepNo: 2, Steps: 6, Percent: 71, Since: epoch.Add(-12 * time.Second)}
		s.Jobs = append(s.Jobs, *p.Job)
	})(s)
	s.Jobs = append(s.Jobs,
		engine.JobView{ID: 8812, Verb: "cycle", Pi: "a3-031", Actor: "alice", State: engine.JobQueued, Step: "off", StepNo: 1, Steps: 4, Percent: -1, Since: epoch.Add(-3 * time.Second)},
		engine.JobView{ID: 8807, Verb: "cycle", Pi: "a3-077", Actor: "alice", State: engine.JobFailed, Step: "off", StepNo: 1, Steps: 4, Percent: -1,
			Since: epoch.Add(-4 * time.Minute), Ended: epoch.Add(-3 * time.Minute), Error: "hw: set power sw2/29: timeout after 3 tries"},
		engine.JobView{ID: 8806, Verb: "reimage", Pi: "a3-002", Actor: "bob", State: engine.JobDone, Step: "up", StepNo: 6, Steps: 6, Percent: -1,
			Since: epoch.Add(-9 * time.Minute), Ended: epoch.Add(-8 * time.Minute)})
	s.Switches[2].Err, s.Switches[2].Answered = "timeout after 3 tries", epoch.Add(-95*time.Second)
	count(s)
	return s
}

func TestGolden(t *testing.T) {
	sizes := [][2]int{{80, 24}, {120, 34}, {40, 10}, {39, 9}}
	scenes := []struct {
		name string
		keys string
		pi   engine.PiName
		size int // how many of the sizes
	}{
		{"rack", "", "a3-023", 4},
		{"faceplate", "tab tab right right down", "a3-023", 1},
		{"countdown", "c", "a3-023", 3},
		{"confirm-yes", "c", "a3-014", 3},
		{"confirm-name", "i a 3 -", "a3-014", 3},
		{"confirm-many", "* i", "a3-023", 3},
		{"filter", "/ ! u p", "a3-023", 3},
		{"faults", "!", "a3-023", 1},
		{"command", ": c y c tab s w 9 / 1 enter", "a3-023", 1},
		{"sort", "s", "a3-023", 1},
		{"wide", "w", "a3-023", 2},
		{"marks", "space v down down v down down space", "a3-023", 1},
		{"frozen", "f", "a3-023", 1},
		{"detail", "enter", "a3-023", 3},
		{"detail-rescue", "enter", "a3-014", 3},
		{"move", "m", "a3-022", 3},
		{"move-cannot", "m a 3 - 0 0", "a3-022", 3},
		{"move-confirm", "m a 3 - 0 2 4 enter", "a3-022", 3},
		{"resize", "z + 5 G", "a3-022", 3},
		{"resize-confirm", "z 2 0 G enter", "a3-022", 3},
		{"detail-older", "enter ] [", "a3-023", 1},
		{"pis", "2", "a3-023", 2},
		{"jobs", "3", "a3-023", 2},
		{"jobs-failed", "3 down down", "a3-023", 1},
		{"log", "4", "a3-023", 2},
		{"audit", "5 down", "a3-023", 3},
		{"help", "?", "a3-023", 3},
		{"help-end", "? G", "a3-023", 1},
	}
	for _, sc := range scenes {
		for _, size := range sizes[:sc.size] {
			name := fmt.Sprintf("%s-%dx%d", sc.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				drive(t, goldenRack(), Options{Width: size[0], Height: size[1]}, func(c *console) {
					c.f.boots["a3-023"] = []engine.Boot{
						{ID: 3, Pi: "a3-023", Started: epoch.Add(-time.Hour), Up: epoch.Add(-time.Hour + 38*time.Second), Reached: engine.StageUp,
							Events: []engine.BootEvent{{Time: epoch.Add(-time.Hour), Stage: engine.StagePower, Evidence: "the switch delivers 1.1 W"}}},
						{ID: 2, Pi: "a3-023", Started: epoch.Add(-2 * time.Hour), Reached: engine.StageDHCP, Cause: "no DISCOVER for 30 s: the port's spanning tree is learning"}}
					c.sel(sc.pi)
					c.press(strings.Fields(sc.keys)...)
					golden(t, name, c.screen())
				})
			})
		}
	}
}

// orderRack is goldenRack with customers' orders: one that is carried out, one
// that waits, one that failed, and a server that is given back.
func orderRack() *engine.Snapshot {
	s := goldenRack()
	day := epoch.Add(-20 * 24 * time.Hour)
	edit("a3-014", func(p *engine.PiView) {
		p.Owner, p.Rescue, p.RescueKeys = "acme", false, nil
		p.Public = netip.MustParsePrefix("2001:db8::7/64")
		p.Rent = engine.Rent{State: engine.ServerLive, DiskGB: 20, Price: 850, Task: 8101, SSHPort: 5107, Created: day, Live: day.Add(48 * time.Second)}
	})(s)
	edit("a3-019", func(p *engine.PiView) { p.Job.Server, p.Job.Owner = p.Server, p.Owner })(s)
	s.Jobs[0].Server, s.Jobs[0].Owner = "shop-web", "t-109"
	edit("a3-022", func(p *engine.PiView) {
		p.Life, p.Server, p.Owner, p.Root, p.Stage = engine.LifeAllocated, "web2", "acme", "", engine.StageOff
		p.Rent = engine.Rent{State: engine.ServerProvisioning, DiskGB: 10, Price: 750, Task: 8814, Created: epoch.Add(-6 * time.Second)}
		p.Job = &engine.JobView{ID: 8814, Verb: "provision", Pi: p.Name, Actor: "acme", Server: "web2", Owner: "acme", State: engine.JobRunning,
			Step: "clone", StepNo: 2, Steps: 9, Percent: 40, Since: epoch.Add(-6 * time.Second)}
		s.Jobs = append([]engine.JobView{*p.Job}, s.Jobs...)
	})(s)
	edit("a3-024", func(p *engine.PiView) {
		p.Life, p.Server, p.Owner = engine.LifeReleasing, "old", "t-001"
		p.Rent = engine.Rent{State: engine.ServerReleasing, DiskGB: 10, Price: 750, Task: 7001, Created: day, Live: day.Add(time.Minute)}
	})(s)
	s.Jobs = append(s.Jobs[:3:3], append([]engine.JobView{
		{ID: 8815, Verb: "provision", Pi: "a3-026", Actor: "carol", Server: "db", Owner: "umbrella-corporation", State: engine.JobQueued,
			Step: "clone", StepNo: 1, Steps: 9, Percent: -1, Since: epoch.Add(-3 * time.Second), Waits: "16 Pis are starting, as many as may at once"},
		{ID: 8805, Verb: "provision", Pi: "a3-033", Actor: "acme", Server: "web3", Owner: "acme", State: engine.JobFailed, Step: "boot", StepNo: 25, Steps: 25,
			Percent: -1, Since: epoch.Add(-6 * time.Minute), Ended: epoch.Add(-2 * time.Minute),
			Error: "boot: it stalled at dhcp: it asked 1 times, was offered its address 1 times, and asked for no file"},
	}, s.Jobs[3:]...)...)
	count(s)
	return s
}

func TestGoldenOrders(t *testing.T) {
	for _, sc := range []struct {
		name string
		keys string
		pi   engine.PiName
	}{
		{"orders", "3", "a3-022"},
		{"orders-waits", "3 down down down", "a3-022"},
		{"orders-failed", "3 down down down down", "a3-022"},
		{"ordered", "enter", "a3-014"},
		{"ordering", "2", "a3-022"},
		{"releasing", "2", "a3-024"},
	} {
		for _, size := range [][2]int{{80, 24}, {120, 34}, {40, 10}} {
			name := fmt.Sprintf("%s-%dx%d", sc.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				drive(t, orderRack(), Options{Width: size[0], Height: size[1]}, func(c *console) {
					c.sel(sc.pi)
					c.press(strings.Fields(sc.keys)...)
					golden(t, name, c.screen())
				})
			})
		}
	}
}

// checkFrame tells how a frame breaks the bounds of its terminal.
func checkFrame(content string, w, h int) string {
	lines := strings.Split(content, "\n")
	if len(lines) > h {
		return fmt.Sprintf("%d lines", len(lines))
	}
	for i, l := range lines {
		if n := ansi.StringWidth(l); n > w {
			return fmt.Sprintf("line %d is %d wide: %q", i, n, ansi.Strip(l))
		}
		if rest := ansi.Strip(l); strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			return fmt.Sprintf("line %d has control characters: %q", i, rest)
		}
	}
	return ""
}

// TestEverySize draws random racks in every state at every size from 1x1 to
// 200x60: no line is too wide and there are not too many.
func TestEverySize(t *testing.T) {
	states := []string{"m", "m a", "m enter", "z", "z 2 0 G enter", "", "tab", "tab tab", "c", "i a", "* c", "/ s w 1", ": c y", "s", "w", "space v down", "enter", "2", "3", "4", "5", "5 down down enter", "?", "f", "!"}
	for n, keys := range states {
		t.Run(fmt.Sprint(n, " ", keys), func(t *testing.T) {
			t.Parallel()
			s := makeRack(uint64(n), n%7, 40*(n%7))
			if n%2 == 1 {
				hostile(s)
			}
			drive(t, s, Options{ASCII: n%3 == 0}, func(c *console) {
				c.press(strings.Fields(keys)...)
				for w := 1; w <= 200; w += everySizeStep {
					for h := 1 + (w+n)%len(states); h <= 60; h += len(states) {
						c.resize(w, h)
						if bad := checkFrame(c.m.View().Content, w, h); bad != "" {
							t.Fatalf("%dx%d: %s\n%s", w, h, bad, c.screen())
						}
					}
				}
				for _, size := range [][2]int{{1, 1}, {39, 9}, {40, 9}, {39, 10}, {40, 10}, {79, 24}, {80, 23}, {80, 24}, {119, 34}, {120, 33}, {120, 34}, {200, 60}, {0, 0}, {4000, 3000}} {
					c.resize(size[0], size[1])
					if bad := checkFrame(c.m.View().Content, size[0], max(size[1], 1)); bad != "" {
						t.Fatalf("%v: %s", size, bad)
					}
				}
			})
		})
	}
}

// nasty is what a customer may have called their server.
const nasty = "\x1b[2J\x1b]0;owned\a\u202edrawkcab\u009b31m\x00\x7f\r\nnew\tline 漢字 é e\u0301\u0301\u0301 \xff\xfe 👩‍👩‍👧 "

func hostile(s *engine.Snapshot) {
	s.Rack = nasty
	s.Warnings = []string{nasty, nasty}
	for i := range s.Pis {
		p := &s.Pis[i]
		p.Owner, p.Server, p.Image, p.Root, p.Note = nasty, nasty+nasty, nasty, nasty, nasty
		p.Diagnosis.Cause, p.Diagnosis.Hint, p.Link = nasty, nasty, nasty
		p.NFS.Refused, p.Model, p.Life = nasty, nasty, nasty
		p.Seen = &engine.DHCPSeen{Model: nasty}
		p.Export, p.ExportErr, p.Former, p.Rescue = nasty, nasty, nasty, true
		p.RescueKeys = []engine.HostKey{{Type: nasty, Fingerprint: strings.Repeat(nasty, 50)}}
		p.RootVolume = engine.VolumeView{Created: epoch.Add(1 << 60), HostKeys: p.RescueKeys, Use: engine.VolumeUse{Size: -1 << 63, Used: 1<<63 - 1}, UseAt: epoch.Add(-1 << 60)}
		p.FormerVolume, p.FormerUntil = p.RootVolume, epoch.Add(1<<62)
		for j := range p.Boot.Events {
			p.Boot.Events[j].Evidence = strings.Repeat(nasty, 200)
		}
		p.Job = &engine.JobView{ID: 1, Verb: nasty, Step: nasty, Pi: p.Name, To: nasty, Actor: nasty, State: nasty, Error: nasty,
			Server: nasty + nasty, Owner: nasty, Waits: nasty, Steps: -1 << 63, StepNo: 1<<63 - 1, Percent: 1<<63 - 1}
		p.Rent = engine.Rent{State: nasty, DiskGB: 1<<63 - 1, Price: -1 << 63, Task: -1, Created: epoch.Add(1 << 62), Live: epoch.Add(-1 << 62)}
		s.Jobs = append(s.Jobs, *p.Job)
	}
	for i := range s.Switches {
		s.Switches[i].Err = nasty
	}
	s.Space = engine.SpaceSeen{Err: nasty, Driver: nasty, Copies: true, Quota: true, Pool: engine.PoolReading{Size: 1, Used: 1<<63 - 1, Metadata: math.NaN(), NearlyFull: true}}
	s.Images = []engine.Image{{Name: nasty, Label: nasty}}
	for i := range s.Log {
		s.Log[i].Text, s.Log[i].Actor = strings.Repeat(nasty, 100), nasty
	}
}

// TestHostile lets no escape sequence through that the console did not make.
func TestHostile(t *testing.T) {
	s := makeRack(2, 2, 20)
	hostile(s)
	drive(t, s, Options{Width: 160, Height: 50, Actor: engine.Actor{Name: nasty, Role: engine.RoleOperator}}, func(c *console) {
		for _, keys := range []string{"", "enter", "G", "esc 3", "4", "5", "down", "? G", "esc 1 c", "n R", "n z", "esc m", "esc : m o v e space tab", "esc w"} {
			c.press(strings.Fields(keys)...)
			v := c.m.View()
			for _, seq := range []string{"\x1b[2J", "\x1b]", "\a", "\u202e", "\u009b", "\x00", "\u200d"} {
				if strings.Contains(v.Content, seq) || strings.Contains(v.WindowTitle, seq) {
					t.Errorf("after %q the screen has %q", keys, seq)
				}
			}
			if bad := checkFrame(v.Content, 160, 50); bad != "" {
				t.Errorf("after %q: %s", keys, bad)
			}
		}
	})
}

// consoleFont are the characters beyond ASCII that the console fonts of Debian
// have (facts/console.md, finding 8).
const consoleFont = "─│┌┐└┘├┤┬┴┼═║█░▒■●•✗←→↑↓▲▼▶◀…·×"

func TestOnlyConsoleFontCharacters(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		drive(t, goldenRack(), Options{ASCII: ascii, Width: 120, Height: 34}, func(c *console) {
			for _, keys := range []string{"", "?", "esc enter", "esc 3", "4", "5", "1 i", "x i x :", "esc /"} {
				c.press(strings.Fields(keys)...)
				for _, r := range c.screen() {
					if r > '~' && (ascii || !strings.ContainsRune(consoleFont, r)) {
						t.Fatalf("ascii %v, after %q: %q", ascii, keys, r)
					}
				}
			}
		})
	}
}

// TestKeysAreTold checks that no key means two things and that the help names
// them all.
func TestKeysAreTold(t *testing.T) {
	verbs := map[string]bool{}
	for _, v := range engine.Verbs() {
		verbs[v.Key] = v.Key != ""
	}
	for at := place(1); at <= inHelp; at <<= 1 {
		seen := map[string]bool{}
		for _, b := range bindings() {
			for _, k := range b.keys {
				if b.where&at == 0 {
					continue
				}
				if seen[k] || verbs[k] {
					t.Errorf("place %b: %q has two meanings", at, k)
				}
				seen[k] = true
			}
			if b.help == "" || b.label == "" || b.do == nil {
				t.Errorf("%v is not told", b.keys)
			}
		}
		for _, k := range []string{"esc", "q", "ctrl+c", "?"} {
			if !seen[k] {
				t.Errorf("place %b has no %s", at, k)
			}
		}
	}
}

// TestKeysMove goes through the keys that only change the screen.
func TestKeysMove(t *testing.T) {
	tests := []struct {
		keys string
		got  func(m *Model) any
		want any
	}{
		{"j j k", func(m *Model) any { return m.row }, 1},
		{"G", func(m *Model) any { return m.row }, 191},
		{"G g", func(m *Model) any { return m.row }, 0},
		{"pgdown", func(m *Model) any { return m.row }, 4},
		{"k k", func(m *Model) any { return m.row }, 0},
		{"tab", func(m *Model) any { return m.place() }, inLog},
		{"shift+tab", func(m *Model) any { return m.place() }, inFace},
		{"tab tab tab", func(m *Model) any { return m.place() }, inTable},
		{"2", func(m *Model) any { return m.view }, viewPis},
		{"3 q", func(m *Model) any { return m.view }, viewRack},
		{"4 esc", func(m *Model) any { return m.view }, viewRack},
		{"enter", func(m *Model) any { return m.place() }, inDetail},
		{"b", func(m *Model) any { return m.place() }, inDetail},
		{"enter esc", func(m *Model) any { return m.place() }, inTable},
		{"?", func(m *Model) any { return m.place() }, inHelp},
		{"? ?", func(m *Model) any { return m.place() }, inTable},
		{"space j space", func(m *Model) any { return len(m.marks) }, 2},
		{"space space", func(m *Model) any { return len(m.marks) }, 0},
		{"v j j v", func(m *Model) any { return len(m.marks) }, 3},
		{"v j j esc", func(m *Model) any { return len(m.marks) }, 0},
		{"*", func(m *Model) any { return len(m.marks) }, 192},
		{"* esc", func(m *Model) any { return len(m.marks) }, 0},
		{"/ s w 2 enter *", func(m *Model) any { return len(m.marks) }, 48},
		{"/ s w 2 enter * esc", func(m *Model) any { return len(m.marks) }, 48},
		{"/ s w 2 enter esc", func(m *Model) any { return len(m.rows) }, 192},
		{"/ s w 2 esc", func(m *Model) any { return len(m.rows) }, 192},
		{"!", func(m *Model) any { return m.faults }, true},
		{"! esc", func(m *Model) any { return m.faults }, false},
		{"w", func(m *Model) any { return m.wide }, true},
		{"M", func(m *Model) any { return m.View().MouseMode }, tea.MouseModeCellMotion},
		{"M M", func(m *Model) any { return m.View().MouseMode }, tea.MouseModeNone},
		{"f", func(m *Model) any { return m.frozenAt.IsZero() }, false},
		{"f f", func(m *Model) any { return m.frozenAt.IsZero() }, true},
		{"s p", func(m *Model) any { return orderings[m.order].name }, "port"},
		{"s p s p", func(m *Model) any { return m.reversed }, true},
		{"s esc", func(m *Model) any { return m.mode }, modeKeys},
		{"shift+tab l l", func(m *Model) any { return m.sel }, engine.PiName("a3-005")},
		{"shift+tab j", func(m *Model) any { return m.sel }, engine.PiName("a3-002")},
		{"shift+tab j j h", func(m *Model) any { return m.sel }, engine.PiName("a3-049")},
		{"shift+tab G", func(m *Model) any { return m.sel }, engine.PiName("a3-146")},
		{": j o b s enter", func(m *Model) any { return m.view }, viewJobs},
		{": f i l t e r space s w 1 enter", func(m *Model) any { return len(m.rows) }, 48},
		{": backspace", func(m *Model) any { return m.mode }, modeKeys},
		{": esc", func(m *Model) any { return m.mode }, modeKeys},
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			drive(t, makeRack(11, 4, 192), Options{}, func(c *console) {
				c.press(strings.Fields(tt.keys)...)
				if got := tt.got(c.m); got != tt.want {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				c.none()
				if c.quit {
					t.Error("the console left")
				}
			})
		})
	}
}

func TestLeaving(t *testing.T) {
	for keys, leaves := range map[string]bool{
		"q": true, "ctrl+c": true, ": q enter": true, ": q u i t enter": true, "3 q q": true, "? ctrl+c": true,
		"3 q": false, "? q": false, "enter q": false, "esc esc esc": false, "/ q": false, "/ ctrl+c": false, ": ctrl+c": false, "c q": false,
	} {
		drive(t, testRack(), Options{}, func(c *console) {
			c.press(strings.Fields(keys)...)
			if c.quit != leaves {
				t.Errorf("%q: left %v", keys, c.quit)
			}
		})
	}
}

// TestLogPages scrolls through more log than a snapshot holds while new lines
// come in.
func TestLogPages(t *testing.T) {
	s := testRack()
	drive(t, s, Options{}, func(c *console) {
		for i := int64(970); i > 0; i-- {
			c.f.log = append(c.f.log, engine.LogLine{ID: i, Time: epoch.Add(-time.Hour), Actor: "-", Text: fmt.Sprintf("line %d", i)})
		}
		c.press("4", "G")
		for range 6 {
			c.press("G")
		}
		c.wants(">11-23 13:02:30 -       line 1", "1000 lines, all")
		c.press("k")
		add := func(n int) {
			c.change(func(s *engine.Snapshot) {
				for range n {
					l := engine.LogLine{ID: s.Log[0].ID + 1, Time: epoch, Actor: "-", Text: fmt.Sprintf("new %d", s.Log[0].ID+1)}
					s.Log = append([]engine.LogLine{l}, s.Log[:29]...)
				}
			})
		}
		add(1)
		c.wants(">11-23 13:02:30 -       line 2", "1001 lines")
		add(50) // more than a snapshot holds: not under the reader's eyes
		c.wants(">11-23 13:02:30 -       line 2")
		c.press("g")
		c.wants("new 1051")
		c.f.fail = fmt.Errorf("database is locked")
		c.press("G")
		c.wants("older lines cannot be read")
	})
}

func TestDetailFollows(t *testing.T) {
	s := testRack()
	edit("a3-002", func(p *engine.PiView) { p.Boot = &engine.Boot{ID: 5, Started: epoch} })(s)
	drive(t, s, Options{}, func(c *console) {
		c.f.boots["a3-002"] = []engine.Boot{{ID: 5, Started: epoch}, {ID: 4, Started: epoch.Add(-time.Hour), Cause: "no answer"}}
		c.sel("a3-002")
		c.press("enter")
		c.wants("11-23 13:02:30, stalled in off: no answer")
		c.f.boots["a3-002"] = append([]engine.Boot{{ID: 6, Started: epoch}}, c.f.boots["a3-002"]...)
		c.change(edit("a3-002", func(p *engine.PiView) {
			p.Boot = &engine.Boot{ID: 6, Started: epoch, Events: []engine.BootEvent{{Time: epoch.Add(1500 * time.Millisecond), Stage: engine.StageDHCP, Evidence: "DISCOVER 1 from here"}}}
		}))
		c.wants("+1.5s dhcp    DISCOVER 1 from here", " 11-23 14:02:30, reached off")
		c.change(func(s *engine.Snapshot) {
			s.Pis = append(s.Pis[:1:1], s.Pis[2:]...)
			s.Switches[0].Pis = nil
		})
		c.wants("a3-002 is gone")
	})
}

func TestMouse(t *testing.T) {
	drive(t, goldenRack(), Options{}, func(c *console) {
		c.update(tea.MouseClickMsg{X: 10, Y: 15})
		if c.m.row != 0 {
			t.Error("a click selected although the mouse is off")
		}
		c.press("M")
		c.update(tea.MouseClickMsg{X: 10, Y: 15})
		if c.m.row != 2 {
			t.Errorf("row %d, want 2", c.m.row)
		}
		c.update(tea.MouseClickMsg{X: faceLeft + 3*2, Y: 5}) // sw2, even, third column
		if got := c.m.pi(c.m.sel).Port.String(); got != "sw2/6" {
			t.Errorf("selected %s", got)
		}
		c.update(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
		for y := -1; y < 30; y++ {
			for x := -1; x < 90; x++ {
				c.update(tea.MouseClickMsg{X: x, Y: y})
			}
		}
		c.none()
		c.press("c")
		c.update(tea.MouseClickMsg{X: 1, Y: 1})
		if c.m.pending != nil {
			t.Error("a click did not stop the count-down")
		}
	})
}

func BenchmarkView192(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			m := New(b.Context(), Options{Viewer: newFake(goldenRack()), Actor: alice, Width: size[0], Height: size[1], Now: func() time.Time { return epoch }})
			defer m.Close()
			b.ReportAllocs()
			for b.Loop() {
				m.View()
			}
		})
	}
}

// BenchmarkUpdate192 is a snapshot's way to the screen.
func BenchmarkUpdate192(b *testing.B) {
	f := newFake(goldenRack())
	m := New(b.Context(), Options{Viewer: f, Actor: alice, Width: 120, Height: 40, Now: func() time.Time { return epoch }})
	defer m.Close()
	s := *f.snap
	b.ReportAllocs()
	for b.Loop() {
		s.Gen++
		m.Update(snapshotMsg{&s})
		m.View()
	}
}
