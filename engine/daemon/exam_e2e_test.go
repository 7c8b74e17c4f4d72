//go:build e2e

package daemon_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/hw/sim/virtualpi"
)

// e2eNew is one Pi that stands in for a Pi 4.
var e2eNew = e2eKind{board: "4B", pis: 1, emulator: "qemu-system-x86_64", from: "qemu-system-x86", speed: 5, patience: 1}

// TestRealExamination plugs a board in that nobody has typed in, where a real
// kernel runs behind it: the service takes it, boots the examination system that
// was built of a real Debian, and takes what that reports.
func TestRealExamination(t *testing.T) { testRealExamination(t, &e2eNew) }

// examines makes the rack one with a place where no board is known.
func (s *site) examines() {
	s.t.Helper()
	s.cfg.Servers = nil
	seg := &s.cfg.Segments[0]
	seg.MAC, seg.Serial, seg.Model, seg.Image, seg.Power = [6]byte{}, 0, "", "", true
	s.cfg.Orders.Examine, s.cfg.Orders.ExamImage = true, "debian"
	s.cfg.Exam.Burn = 10 * time.Second
	s.config = writeConfig(s.t, s.dir, s.cfg)
}

func testRealExamination(t *testing.T, kind *e2eKind) {
	s := newSite(t, kind)
	s.examines()
	name := s.pis[0]
	s.addImage()
	s.serve()
	s.lap("the service runs")

	console := func(text string) bool { return strings.Contains(s.serial[name].end(), text) }
	s.until(name, "under examination, and its burn-in has begun", func(p board) bool {
		if p.Stage == "up" || p.Root != nil {
			t.Fatalf("it boots something else: %+v", p)
		}
		return p.Exam && console("for 10 seconds")
	})
	s.lap("it works")
	if out, err := s.ssh(name, nil, "true"); err == nil {
		t.Errorf("it let somebody in: %q", out)
	}
	const listening = "ss -H -l -n -t sport = :10069"
	if out := s.inServer("sh", "-c", listening); !strings.Contains(out, s.cfg.Segments[0].Address.Addr().String()+":10069") || strings.Count(out, "10069") != 1 {
		t.Errorf("reports are taken at %q", out)
	}
	p := s.until(name, "examined", func(p board) bool { return p.Life != "new" && p.Job == nil })
	s.lap("it is " + p.Life)
	// A 3B's ROM does not tell its serial number, nor does QEMU's device tree.
	mute := kind.model == virtualpi.Pi3B
	if p.Life != "ready" || p.Memory != 1024 || p.Model != kind.board || p.MAC == "" || (p.Serial == "") != mute || p.Exam || p.Stage != "off" {
		t.Errorf("%+v", p)
	}
	events, called := p.timeline(), "a board that does not say what it is"
	if mute {
		called = "Raspberry Pi 3 Model B"
	}
	for _, want := range []string{"examined from now on: " + called + ", 1024 MB", "MB and ", " results checked in "} {
		if !strings.Contains(events, want) {
			t.Errorf("the timeline does not tell %q:\n%s", want, events)
		}
	}
	if !console("nobody can log in") || !console(", phase=end burned=") {
		t.Error("the console does not tell what is done")
	}
	if out := s.inServer("sh", "-c", listening); strings.TrimSpace(out) != "" {
		t.Errorf("reports are still taken: %q", out)
	}
	audit := s.run(s.program, "audit")
	for _, want := range []string{"adopt", "examine", ": ready"} {
		if !strings.Contains(audit, want) {
			t.Errorf("no %q in the audit:\n%s", want, audit)
		}
	}
	t.Logf("%s", s.run(s.program, "pi", "show", name))
	t.Logf("the console:\n%s", s.serial[name].end())

	s.lap("examined again, with the service killed in the middle of it")
	s.run(s.program, "pi", "examine", name, "--yes")
	s.until(name, "at work again", func(p board) bool { return p.Exam && strings.Contains(p.timeline(), "examined from now on") })
	old := s.served
	s.must(old.cmd.Process.Kill())
	_ = old.cmd.Wait()
	s.serve()
	p = s.until(name, "examined again", func(p board) bool { return p.Job == nil })
	if p.Life != "ready" {
		t.Errorf("after a restart of the service in the middle: %+v", p)
	}
	s.lap("done")
}

// board is what a script reads of a Pi.
type board struct {
	Stage  string          `json:"stage"`
	Life   string          `json:"life"`
	Note   string          `json:"note"`
	Model  string          `json:"model"`
	Serial string          `json:"serial"`
	MAC    string          `json:"mac"`
	Memory int             `json:"memory_mb"`
	Exam   bool            `json:"exam"`
	Job    json.RawMessage `json:"job"`
	Root   json.RawMessage `json:"root"`
	Boot   struct {
		Events []struct {
			Evidence string `json:"evidence"`
		} `json:"events"`
	} `json:"boot"`
}

func (b *board) timeline() string {
	var lines []string
	for _, e := range b.Boot.Events {
		lines = append(lines, e.Evidence)
	}
	return strings.Join(lines, "\n")
}

// until asks for the Pi again and again.
func (s *site) until(name, what string, is func(board) bool) board {
	s.t.Helper()
	end := time.Now().Add(s.kind.patience * e2eBoot)
	for {
		var list struct{ Pis []board }
		out := s.run(s.program, "pi", "show", name, "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Pis) != 1 {
			s.t.Fatalf("pi show %s --json: %v\n%s", name, err, out)
		}
		p := list.Pis[0]
		for _, raw := range []*json.RawMessage{&p.Job, &p.Root} {
			if slices.Equal(*raw, json.RawMessage("null")) {
				*raw = nil
			}
		}
		if is(p) {
			return p
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s is not %s: %+v", name, what, p)
		}
		time.Sleep(500 * time.Millisecond)
	}
}
