package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"picloud/engine"
)

func testScope() scope {
	s := testRack()
	// Ports are given by hand so that ranges are readable.
	for i := range s.Switches {
		for j := range s.Switches[i].Pis {
			s.Switches[i].Pis[j] = -1
		}
	}
	for i := range s.Pis {
		s.Pis[i].Port = engine.PortID{Switch: fmt.Sprintf("sw%d", 1+i/8), Port: 1 + i%8}
	}
	edit("a3-004", func(p *engine.PiView) { p.Stage = engine.StageStalled })(s)
	return scope{snap: s, marked: []engine.PiName{"a3-005", "a3-006"}, shown: []engine.PiName{"a3-007"}, here: []engine.PiName{"a3-001"}}
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		line    string
		verb    engine.VerbName
		targets string
		image   string
		reason  string
		to      engine.PiName
		size    size
		err     string
	}{
		{line: "cycle a3-002", verb: "cycle", targets: "002"},
		{line: "  cycle   a3-002  a3-003 ", verb: "cycle", targets: "002 003"},
		{line: "cycle", verb: "cycle", targets: "001"},
		{line: "cycle a3-002 a3-002 sw1/2", verb: "cycle", targets: "002"},
		{line: "off sw1/1-3", verb: "off", targets: "001 002 003"},
		{line: "off sw1/1,3-4", verb: "off", targets: "001 003 004"},
		{line: "off sw2", verb: "off", targets: "009 010 011 012"},
		{line: "on @marked", verb: "on", targets: "005 006"},
		{line: "on @shown", verb: "on", targets: "007"},
		{line: "cycle @stalled", verb: "cycle", targets: "004"},
		{line: "cycle @faults", verb: "cycle", targets: "004"},
		{line: "reimage @rented trixie64", verb: "reimage", targets: "003", image: "trixie64"},
		{line: "reimage trixie64", verb: "reimage", targets: "001", image: "trixie64"},
		{line: "reimage a3-002", verb: "reimage", targets: "002"},
		{line: "broken a3-002 fan is dead", verb: "broken", targets: "002", reason: "fan is dead"},
		{line: "mark broken a3-002 x", verb: "broken", targets: "002", reason: "x"},
		{line: "broken", verb: "broken", targets: "001"},
		{line: "move a3-003 a3-007", verb: "move", targets: "003", to: "a3-007"},
		{line: "move a3-003 sw1/7", verb: "move", targets: "003", to: "a3-007"},
		{line: "move a3-003", verb: "move", targets: "003"},
		{line: "move", verb: "move", targets: "001"},
		{line: "move @marked", verb: "move", targets: "005 006"},
		{line: "resize a3-003 20G", verb: "resize", targets: "003", size: size{bytes: 20e9}},
		{line: "resize a3-002 a3-003 20 GB", verb: "resize", targets: "002 003", size: size{bytes: 20e9}},
		{line: "resize +5G", verb: "resize", targets: "001", size: size{5e9, true}},
		{line: "resize sw2/1-2 1.5T", verb: "resize", targets: "009 010", size: size{bytes: 15e11}},
		{line: "resize a3-003", verb: "resize", targets: "003"},
		{line: "rescue a3-002", verb: "rescue", targets: "002"},
		{line: "unrescue", verb: "unrescue", targets: "001"},
		{line: "move a3-003 a3-004 a3-005", err: "one Pi to go to"},
		{line: "move a3-003 a3-099", err: "no Pi or port"},
		{line: "move a3-003 sw2", err: "say to which one"},
		{line: "move shop", err: "no Pi, port or set"},
		{line: "resize a3-003 20", err: "20 of what"},
		{line: "resize 20", err: "20 of what"},
		{line: "resize a3-003 huge", err: "is no size"},
		{line: "resize huge", err: "no Pi, port or set"},
		{line: "rescue a3-002 now", err: "no Pi, port or set"},
		{line: "", err: "say what to do"},
		{line: "mark", err: "say what to do"},
		{line: "explode a3-002", err: "no verb"},
		{line: "cyc a3-002", err: "no verb"},
		{line: "cycle a3-0", err: "no Pi, port or set"},
		{line: "cycle A3-002", err: "no Pi, port or set"},
		{line: "cycle a3-002 a3-099", err: "no Pi, port or set"},
		{line: "cycle sw1/9-48", err: "no Pi at"},
		{line: "cycle sw1/3-1", err: "no Pi, port or set"},
		{line: "cycle sw9/1", err: "no Pi, port or set"},
		{line: "cycle @off", err: "@off is nobody"},
		{line: "cycle @nobody", err: "there is no @nobody"},
		{line: "broken fan is dead", err: "no Pi, port or set"},
		{line: "reimage a3-002 bullseye", err: "no Pi or image"},
		{line: "reimage a3-002 trixie64 now", err: "one image"},
		{line: "reimage bullseye", err: "no Pi, port or set"},
	}
	for _, tt := range tests {
		inv, err := parseCommand(tt.line, testScope())
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %q", tt.line, err, tt.err)
			}
			continue
		}
		var got []string
		for _, n := range inv.targets {
			got = append(got, string(n[3:]))
		}
		if err != nil || inv.verb.Name != tt.verb || strings.Join(got, " ") != tt.targets || inv.args != (args{tt.image, tt.reason, tt.to, tt.size}) {
			t.Errorf("%q: %v %v %+v %v", tt.line, inv.verb.Name, got, inv.args, err)
		}
	}
}

func TestComplete(t *testing.T) {
	tests := []struct{ line, want, more string }{
		{"cy", "cycle ", ""},
		{"re", "re", "reimage resize rescue ready"},
		{"cycle a3-00", "cycle a3-00", "a3-001"},
		{"cycle a3-01", "cycle a3-01", "a3-010 a3-011 a3-012"},
		{"cycle @mar", "cycle @marked ", ""},
		{"cycle sw1", "cycle sw1/", ""},
		{"reimage a3-001 tr", "reimage a3-001 trixie64 ", ""},
		{"cycle a3-001 tr", "cycle a3-001 tr", ""},
		{"move a3-00", "move a3-00", "a3-001 a3-002 a3-003"},
		{"move a3-001 a3-00", "move a3-001 a3-00", "a3-002 a3-004 a3-005 a3-006 a3-007 a3-008 a3-009"},
		{"move a3-001 @", "move a3-001 @", ""},
		{"move a3-001 a3-002 a3-00", "move a3-001 a3-002 a3-00", "a3-002"},
		{"resize a3-001 +", "resize a3-001 +", "+1G +5G +10G"},
		{"resize a3-001 5", "resize a3-001 50G ", ""},
		{"resc", "rescue ", ""},
		{"unr", "unrescue ", ""},
		{"zzz", "zzz", ""},
	}
	for _, tt := range tests {
		got, more := complete(tt.line, testScope())
		if got != tt.want || !strings.HasPrefix(strings.Join(more, " "), tt.more) {
			t.Errorf("%q: %q %v", tt.line, got, more)
		}
	}
}

// TestCommandLineOnScreen types lines: guards stand before them as before keys.
func TestCommandLineOnScreen(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.press(":")
		c.typeText("cycle a3-009")
		c.wants(":cycle a3-009")
		c.press("enter")
		c.wants("cycle in 3 s", "a3-009 at")
		c.none()
		c.press("enter") // pressed twice: not a confirmation
		c.wait(5 * 1e9)
		c.none()
		c.press(":")
		c.typeText("broken a3-003 fan is dead")
		c.press("enter")
		c.typeText("a3-003")
		c.press("enter")
		if got := c.one(); got.Reason != "fan is dead" || got.Typed != "a3-003" || got.Passed != engine.GuardName {
			t.Errorf("got %+v", got)
		}
		c.press(":")
		c.typeText("cycle a3-999")
		c.press("enter")
		c.wants(`there is no Pi, port or set "a3-999"`, ":cycle a3-999")
		c.press("backspace", "esc")
		c.wantsNot("a3-999")
	})
}

// FuzzCommandLine: what is accepted names only Pis that are there, each once.
func FuzzCommandLine(f *testing.F) {
	for _, s := range []string{"cycle a3-002", "reimage sw1/1-12 trixie64", "broken a3-001 fan", "off @marked", "q", "filter !up", "move a3-003 a3-007", "resize a3-001 +5 GB", "resize 1T", "cycle sw1/1-4096,1-4096", "on @", "mark mark"} {
		f.Add(s)
	}
	sc := testScope()
	f.Fuzz(func(t *testing.T, line string) {
		complete(line, sc)
		inv, err := parseCommand(line, sc)
		if err != nil || inv.word != "" {
			return
		}
		if len(inv.targets) == 0 {
			t.Fatal("accepted without a target")
		}
		for i, n := range inv.targets {
			if slices.Contains(inv.targets[:i], n) || !slices.ContainsFunc(sc.snap.Pis, func(p engine.PiView) bool { return p.Name == n }) {
				t.Fatalf("target %q", n)
			}
		}
		if inv.to != "" && (sc.pi(inv.to) == nil || inv.verb.Name != engine.VerbMove) {
			t.Fatalf("%s to %q", inv.verb.Name, inv.to)
		}
		if inv.size.bytes < 0 || inv.size.bytes > maxSize {
			t.Fatalf("size %d", inv.size.bytes)
		}
		if inv.image != "" && !sc.hasImage(inv.image) {
			t.Fatalf("image %q", inv.image)
		}
	})
}
