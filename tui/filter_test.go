package tui

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

func TestFilter(t *testing.T) {
	s := testRack()
	edit("a3-001", func(p *engine.PiView) {
		p.Stage, p.LastStage = engine.StageStalled, engine.StageFirmware
		p.Diagnosis.Fault = "file-missing"
	})(s)
	edit("a3-002", func(p *engine.PiView) { p.Stage = engine.StageFirmware; p.MAC[5] = 0xfe })(s)
	edit("a3-004", func(p *engine.PiView) { p.Job = &engine.JobView{ID: 1} })(s)
	edit("a3-006", func(p *engine.PiView) { p.Rescue = true })(s)
	for i := range s.Pis {
		s.Pis[i].RootVolume.Use.Used = 0
	}
	edit("a3-007", func(p *engine.PiView) { p.RootVolume.Use = engine.VolumeUse{Size: 10e9, Used: 91e8} })(s)
	sw2 := func() (n string) {
		for _, p := range s.Pis {
			if p.Port.Switch == "sw2" {
				n += " " + string(p.Name[3:])
			}
		}
		return strings.TrimSpace(n)
	}()
	const all = "001 002 003 004 005 006 007 008 009 010 011 012"
	tests := []struct{ text, want string }{
		{"", all},
		{"   ", all},
		{"!", all},
		{"up", "003 004 005 006 007 008 009 010 011 012"},
		{"!up", "001 002"},
		{"stage:tftp", "001 002"},
		{"stage:t", "001 002"},
		{"tftp", "002"},
		{"stalled", "001"},
		{"sw2", sw2},
		{"SW2", sw2},
		{"owner:t-009", "003"},
		{"t-009", "003"},
		{"web", "003"},
		{"@rented", "003"},
		{"@ren", "003"},
		{"!@free", "003"},
		{"@marked", "005"},
		{"!@marked a3-00", "001 002 003 004 006 007 008 009"},
		{"@faults", "001"},
		{"@busy", "004"},
		{"@stalled", "001"},
		{"@nonsense", ""},
		{"!@nonsense", all},
		{"fault:file", "001"},
		{"a3-012", "012"},
		{"A3-012", "012"},
		{"00:00:fe", "002"},
		{"mac:fe", "002"},
		{"a3-00 !a3-001 !@rented up", "004 005 006 007 008 009"},
		{s.Pis[6].Port.String(), "007"},
		{"nobody-has-this", ""},
		{"port:sw2", sw2},
		{"port:sw2/", sw2},
		{"port:sw", all},
		{"port:SW2", sw2},
		{"port:" + s.Pis[6].Port.String(), "007"},
		{"port:" + s.Pis[6].Port.String() + "-", "007"},
		{"port:sw1/3", ""}, // a3-004 is at sw1/34
		{"port:sw1/34", "004"},
		{"port:sw1/34-35", "004 005"},
		{"port:sw1/1-12,35", "001 002 005"},
		{"port:34", "004"},
		{"port:2,34", "001 004"},
		{"!port:sw1/34 !port:sw2", "001 002 003 005 006"},
		{"port:sw9/1", ""},
		{"@rescue", "006"},
		{"@full", "007"},
	}
	for _, tt := range tests {
		f := parseFilter(tt.text, s.Switches)
		var got []string
		for i := range s.Pis {
			if f.match(&s.Pis[i], s.Pis[i].Name == "a3-005") {
				got = append(got, string(s.Pis[i].Name[3:]))
			}
		}
		if d := cmp.Diff(tt.want, strings.Join(got, " ")); d != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, d)
		}
		if (strings.Contains(tt.text, "nonsense") || strings.Contains(tt.text, "sw9")) != (f.wrong != "") {
			t.Errorf("%q: wrong %q", tt.text, f.wrong)
		}
	}
}

// FuzzFilter: no filter fails, and one word turned round lets through exactly
// what it did not before.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"!up", "sw2/1-12,15", "stage:tftp", "@marked", "owner:t-114 !@faults", "@", "sw1/", "sw1/9-1", "port:sw1/3-8", "port:3", "port:/,-", "sw1/1-99999999999", "::", "!!", "mac:dc:a6:32"} {
		f.Add(s)
	}
	s := makeRack(5, 2, 30)
	f.Fuzz(func(t *testing.T, text string) {
		parseFilter(text, s.Switches).match(&s.Pis[0], false)
		words := strings.Fields(strings.ReplaceAll(text, "!", ""))
		if len(words) == 0 {
			return
		}
		word := words[0]
		a, b := parseFilter(word, s.Switches), parseFilter("!"+word, s.Switches)
		for i := range s.Pis {
			if a.match(&s.Pis[i], i%2 == 0) == b.match(&s.Pis[i], i%2 == 0) {
				t.Fatalf("%q and its opposite agree on %s", word, s.Pis[i].Name)
			}
		}
	})
}
