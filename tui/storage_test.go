package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// TestStorageFacts reads the page of a Pi for what it tells of its roots.
func TestStorageFacts(t *testing.T) {
	key := engine.HostKey{Type: "ssh-ed25519", Fingerprint: "SHA256:abc"}
	gb := func(n float64) int64 { return int64(n * 1e9) }
	hour := func(n int) time.Time { return epoch.Add(-time.Duration(n) * time.Hour) }
	tests := []struct {
		name string
		edit func(p *engine.PiView)
		want []string
		not  string
	}{
		{"fresh", func(p *engine.PiView) {
			p.RootVolume = engine.VolumeView{Created: hour(3), Use: engine.VolumeUse{Size: gb(10), Used: gb(2.1)}, UseAt: epoch.Add(-9 * time.Second), HostKeys: []engine.HostKey{key}}
		}, []string{" root    pi-002-1 from trixie64, made 3h ago; 2.1 of 10 GB used, 21%\n", " ssh key ssh-ed25519 SHA256:abc"}, "told"},
		{"old", func(p *engine.PiView) {
			p.RootVolume = engine.VolumeView{Created: hour(30), Use: engine.VolumeUse{Size: gb(10), Used: gb(2.1)}, UseAt: epoch.Add(-12 * time.Second)}
		}, []string{"made 1d ago; 2.1 of 10 GB used, 21% (told 12s ago)"}, "ssh key"},
		{"not looked at", func(p *engine.PiView) {
			p.RootVolume = engine.VolumeView{Use: engine.VolumeUse{Size: gb(10)}}
		}, []string{"pi-002-1 from trixie64; 10 GB, use not known yet"}, "made"},
		{"no limit", func(p *engine.PiView) {
			p.RootVolume = engine.VolumeView{Use: engine.VolumeUse{Used: gb(2.1)}, UseAt: epoch}
		}, []string{"; 2.1 GB used, no limit\n"}, "used, no limit,"},
		{"no root", func(p *engine.PiView) { p.Root, p.Export = "", "" }, []string{"none: it gets no boot files"}, "export"},
		{"exported", func(p *engine.PiView) { p.Export = "10.0.0.1:/srv/x" }, []string{" export  10.0.0.1:/srv/x\n"}, ""},
		{"not exported", func(p *engine.PiView) { p.ExportErr, p.Export = "exportfs: /srv/x is no directory", "" },
			[]string{" export  none: exportfs: /srv/x is no directory", "a3-002 its root is not exported: exportfs"}, ""},
		{"nothing exported", func(p *engine.PiView) { p.Export = "" }, []string{"nothing is exported to it"}, ""},
		{"undo", func(p *engine.PiView) {
			p.FormerVolume = engine.VolumeView{Created: hour(50), Changed: hour(3), Use: engine.VolumeUse{Size: gb(10), Used: gb(1)}, UseAt: epoch}
			p.FormerUntil = epoch.Add(71*time.Hour + 30*time.Second)
		}, []string{" undo    pi-002-1-former, made 2d ago, replaced 3h ago; 1 of 10 GB used, 10%;", "kept until Thu 13:03"}, ""},
		{"undo for long", func(p *engine.PiView) { p.FormerUntil = epoch.Add(8 * 24 * time.Hour) }, []string{"kept until 2026-12-01 14:02"}, ""},
		{"undo without end", func(p *engine.PiView) { p.FormerUntil = time.Time{} }, []string{"kept until the next reimage"}, ""},
		{"undo over", func(p *engine.PiView) { p.FormerUntil = hour(1) }, []string{"its time is over"}, "until"},
		{"no undo", func(p *engine.PiView) { p.Former = "" }, nil, " undo  "},
		{"rescue", func(p *engine.PiView) { p.Rescue, p.RescueKeys = true, []engine.HostKey{key} },
			[]string{" rescue  on: it boots a small system in memory; :unrescue ends it", " its key ssh-ed25519 SHA256:abc", "a3-002 in rescue:"}, ""},
		{"examination", func(p *engine.PiView) { p.Exam, p.Rescue, p.Memory = true, true, 4096 },
			[]string{" exam    under way: it runs a small system in memory that reports", ", 4096 MB\n", "a3-002 under examination: it runs a small system in memory that reports"}, " rescue  on"},
		{"no rescue", func(p *engine.PiView) {}, []string{" disk    lvm, 1.2 of 2 TB used, 61%, metadata 12%\n"}, "rescue:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testRack()
			edit("a3-002", func(p *engine.PiView) { p.RootVolume = engine.VolumeView{}; tt.edit(p) })(s)
			drive(t, s, Options{Height: 40, Width: 100}, func(c *console) {
				c.sel("a3-002")
				c.press("enter")
				c.wants(tt.want...)
				if tt.not != "" {
					c.wantsNot(tt.not)
				}
			})
		})
	}
}

// TestStageMarks: the table tells what a Pi boots instead of its root.
func TestStageMarks(t *testing.T) {
	for want, p := range map[string]engine.PiView{
		"up": {Stage: engine.StageUp}, "up R": {Stage: engine.StageUp, Rescue: true}, "kernel E": {Stage: engine.StageKernel, Exam: true, Rescue: true},
	} {
		if got := string(stageCell(nil, nil, &p)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestDisk reads the first line.
func TestDisk(t *testing.T) {
	pool := func(used, size int64, meta float64, full bool) engine.SpaceSeen {
		return engine.SpaceSeen{Driver: "lvm", Pool: engine.PoolReading{Size: size, Used: used, Metadata: meta, NearlyFull: full}}
	}
	tests := []struct {
		name  string
		space engine.SpaceSeen
		age   time.Duration // < 0: never
		want  string        // "" = no word of it
	}{
		{"usual", pool(61, 100, 0.1, false), 0, "  disk 61%"},
		{"nearly full", pool(96, 100, 0.1, true), 0, "  disk 96%!"},
		{"metadata", pool(61, 100, 0.92, true), 0, "  disk meta 92%!"},
		{"old", pool(61, 100, 0, false), time.Hour, "  disk 61%?"},
		{"error", engine.SpaceSeen{Err: "lvs: exit status 5", Pool: engine.PoolReading{Size: 100, Used: 61}}, 0, "  disk 61%?"},
		{"never told", engine.SpaceSeen{Err: "lvs: exit status 5"}, -1, "  disk ?"},
		{"never looked", engine.SpaceSeen{}, -1, ""},
		{"no pool", engine.SpaceSeen{Driver: "folder"}, 0, ""},
		{"nonsense", pool(-5, -1, -3, false), 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testRack()
			s.Space, s.SpaceAt = tt.space, epoch.Add(-tt.age)
			if tt.age < 0 {
				s.SpaceAt = time.Time{}
			}
			drive(t, s, Options{}, func(c *console) {
				first, _, _ := strings.Cut(c.screen(), "\n")
				if tt.want == "" && strings.Contains(first, "disk") || !strings.Contains(first, tt.want) {
					t.Errorf("%q has no %q", first, tt.want)
				}
				for w := minWidth; w < 130; w++ { // an alarm is not what goes
					c.resize(w, 24)
					first, _, _ := strings.Cut(c.screen(), "\n")
					if full := tt.space.Pool.NearlyFull; full && w >= 60 && !strings.Contains(first, tt.want) || !strings.HasSuffix(first, "14:02") {
						t.Errorf("%d wide: %q", w, first)
					}
				}
			})
		})
	}
}

// TestUseColumn is there only when something is known.
func TestUseColumn(t *testing.T) {
	s := testRack()
	edit("a3-003", func(p *engine.PiView) { p.Rescue = true })(s)
	drive(t, s, Options{}, func(c *console) {
		c.wants("  AGE  USE  ROOT", "  up R        5h  74%  ")
		c.press("s", "u")
		if got := useOrder(c.m.pi(c.m.shown.Pis[c.m.rows[0]].Name)); got < useOrder(c.m.pi("a3-003")) {
			t.Error("the fullest is not first")
		}
		c.change(func(s *engine.Snapshot) {
			for i := range s.Pis {
				s.Pis[i].RootVolume = engine.VolumeView{}
			}
		})
		c.wantsNot("USE")
	})
}

// TestJobsNameBothPis shows where a move goes, in the list and on both rows.
func TestJobsNameBothPis(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		s := testRack()
		j := engine.JobView{ID: 41, Verb: "move", Pi: "a3-003", To: "a3-007", Actor: "alice", State: engine.JobRunning, StepNo: 2, Steps: 9, Step: "power-off", Percent: -1, Since: epoch}
		s.Jobs = []engine.JobView{j, {ID: 42, Verb: "move", Pi: "a3-a-long-name-17", To: "a3-another-long-name", State: engine.JobQueued}}
		edit("a3-003", func(p *engine.PiView) { p.Job = &j })(s)
		edit("a3-007", func(p *engine.PiView) { p.Job = &j })(s)
		drive(t, s, Options{ASCII: ascii}, func(c *console) {
			c.wants("move to a3-007 2/9 power-off", "move from a3-003 2/9 power-o")
			c.press("3")
			arrow := map[bool]string{false: "→", true: ">"}[ascii]
			c.wants("41  move      a3-003"+arrow+"a3-007", "job 41: move from a3-003 to a3-007")
			c.press("enter")
			c.wants("job     41 move to a3-007 2/9 power-off, by alice")
		})
	}
}

// TestLogWraps: in the log's own view nothing is lost, and the cursor stays on
// the screen.
func TestLogWraps(t *testing.T) {
	s := testRack()
	s.Log = nil
	for i := range 60 {
		s.Log = append(s.Log, engine.LogLine{ID: int64(100 - i), Time: epoch, Actor: "-", Pi: "a3-002", Job: int64(i % 2),
			Text: strings.Repeat(fmt.Sprintf("word%d ", i), 1+i*7%20)})
	}
	drive(t, s, Options{}, func(c *console) {
		c.press("4")
		for i := range 59 {
			if !strings.Contains(c.screen(), fmt.Sprintf("word%d ", i)) && !strings.Contains(c.screen(), fmt.Sprintf("word%d\n", i)) {
				t.Fatalf("line %d is not on the screen:\n%s", i, c.screen())
			}
			if n := strings.Count(c.screen(), "\n>"); n != 1 {
				t.Fatalf("%d cursors:\n%s", n, c.screen())
			}
			c.wantsNot("…")
			c.press("j")
		}
		c.press("g", "G")
		c.wants("word59")
		c.press("M")
		row := c.m.log.rows[3]
		c.m.handle(tea.MouseClickMsg{X: 10, Y: 5})
		c.m.refresh()
		if c.m.log.cur != row.line {
			t.Errorf("a click chose line %d, not %d", c.m.log.cur, row.line)
		}
	})
}

// TestLongResultsWrap shows all of a refusal.
func TestLongResultsWrap(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.fail = fmt.Errorf("resize: %w: volumes of the driver %q have no size: give the rack an LVM pool, see volumes.driver in the configuration", engine.ErrNotNow, "folder")
		c.sel("a3-002")
		c.press("R")
		c.wait(4 * time.Second)
		c.wants("rescue a3-002: refused: resize: not now", "see volumes.driver in the configuration")
	})
}
