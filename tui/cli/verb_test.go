package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
)

// trials are, for each verb, a command line that would do it, and what has to
// come before for it to be possible.
var trials = map[engine.VerbName]struct {
	line   string
	rented string // the same with a rented Pi
	before func(b *bench)
}{
	engine.VerbCycle:   {line: "pi cycle a3-005", rented: "pi cycle a3-001"},
	engine.VerbOn:      {line: "pi on a3-004"},
	engine.VerbOff:     {line: "pi off a3-005", rented: "pi off a3-001"},
	engine.VerbReimage: {line: "pi reimage a3-005 --image trixie64", rented: "pi reimage a3-001"},
	engine.VerbUndo: {line: "pi undo a3-005", before: func(b *bench) {
		b.admin("pi reimage a3-005 --confirm a3-005 --wait")
	}},
	engine.VerbMove:   {line: "pi move a3-001 --to a3-005", rented: "pi move a3-001"},
	engine.VerbResize: {line: "pi resize a3-005 --size 20G", rented: "pi resize a3-001 --size 20GB"},
	engine.VerbRescue: {line: "pi rescue a3-005", rented: "pi rescue a3-001"},
	engine.VerbUnrescue: {line: "pi unrescue a3-005", before: func(b *bench) {
		b.admin("pi rescue a3-005 --confirm a3-005")
		time.Sleep(time.Minute)
		b.runActor(engine.RoleAdmin, "pi cancel a3-005")
		time.Sleep(time.Minute)
	}},
	engine.VerbCancel: {line: "pi cancel a3-005", before: func(b *bench) {
		b.admin("pi cycle a3-005 --confirm a3-005")
	}},
	engine.VerbBroken: {line: "pi broken a3-005 --reason fan~is~dead", rented: "pi broken a3-001"},
	engine.VerbReady:  {line: "pi ready a3-008"},
	// A rented one cannot be examined.
	engine.VerbExamine: {line: "pi examine a3-005"},
	engine.VerbAdopt: {line: "pi adopt a3-003", before: func(b *bench) {
		b.e.Observe(engine.Observation{Time: time.Now(), DHCP: &engine.DHCPSeen{
			Segment: "v003", Kind: "unknown", MAC: engine.MAC{0xdc, 0xa6, 0x32, 9, 9, 9}, Model: engine.Model4B, Serial: 0x1234, ROM: true,
		}})
		time.Sleep(5 * time.Second)
		synctest.Wait()
	}},
}

// runActor runs a line as somebody of a role.
func (b *bench) runActor(role engine.Role, line string) ran {
	s := session(split(line)...)
	s.Actor.Role = role
	return b.with(s)
}

func (b *bench) admin(line string) {
	b.t.Helper()
	if r := b.runActor(engine.RoleAdmin, line); r.code != 0 {
		b.t.Fatalf("%s: exit %d\n%s%s", line, r.code, r.out, r.err)
	}
}

// TestEveryVerbEveryRoleEveryGuard goes through the whole table: what a role
// may not do leaves no trace, what is not confirmed leaves none either, and
// what is confirmed is done.
func TestEveryVerbEveryRoleEveryGuard(t *testing.T) {
	for _, kind := range []engine.GuardKind{engine.GuardNone, engine.GuardCountdown, engine.GuardYes, engine.GuardName} {
		guards := map[engine.VerbName]engine.Guards{}
		for _, v := range engine.Verbs() {
			guards[v.Name] = engine.Guards{Free: engine.Guard{Kind: kind, Delay: time.Second}, Rented: engine.Guard{Kind: kind, Delay: time.Second}}
		}
		for _, v := range engine.Verbs() {
			trial, ok := trials[v.Name]
			if !ok {
				t.Fatalf("no trial for the verb %s", v.Name)
			}
			for _, line := range []string{trial.line, trial.rented} {
				if line == "" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s", kind, line), func(t *testing.T) {
					guardedRackTest(t, guards, func(b *bench) {
						if trial.before != nil {
							trial.before(b)
						}
						tryVerb(b, v, kind, line)
					})
				})
			}
		}
	}
}

func tryVerb(b *bench, v engine.Verb, kind engine.GuardKind, line string) {
	b.t.Helper()
	rows := b.inv.auditRows()
	name := strings.Fields(line)[2]
	confirm := " --confirm " + name
	for role := engine.RoleViewer; role < v.Role; role++ {
		for _, flags := range []string{"", " --yes", confirm, " --yes" + confirm, " --wait", " --json --yes" + confirm} {
			if r := b.runActor(role, line+flags); r.code == 0 || !strings.Contains(r.err, "may not") {
				b.t.Errorf("%s%s as %s: exit %d: %s", line, flags, role, r.code, r.err)
			}
		}
		if r := b.runActor(role, line+" --dry-run"); r.code != 1 || !strings.Contains(r.err, "may not") {
			b.t.Errorf("%s --dry-run as %s: exit %d: %s", line, role, r.code, r.err)
		}
	}
	if r := b.runActor(v.Role, line+" --dry-run"); r.code != 0 || !strings.Contains(r.out, "WOULD") {
		b.t.Errorf("%s --dry-run: exit %d\n%s%s", line, r.code, r.out, r.err)
	}
	passes := map[string]bool{"": kind == engine.GuardNone, " --yes": kind < engine.GuardName, confirm: true}
	for _, flags := range []string{"", " --yes", confirm} {
		if passes[flags] {
			continue
		}
		if r := b.runActor(v.Role, line+flags); r.code != exitUsage || !strings.Contains(r.err, "not confirmed") {
			b.t.Errorf("%s%s: exit %d: %s", line, flags, r.code, r.err)
		}
	}
	if n := b.inv.auditRows(); n != rows {
		b.t.Fatalf("%s: %d acts were written down that nobody may do or confirmed", line, n-rows)
	}
	for _, flags := range []string{"", " --yes", confirm} {
		if !passes[flags] {
			continue
		}
		if r := b.runActor(v.Role, line+flags); r.code != 0 {
			b.t.Errorf("%s%s: exit %d: %s", line, flags, r.code, r.err)
		}
		break
	}
	if n := b.inv.auditRows(); n == rows {
		b.t.Errorf("%s was done without being written down", line)
	}
}

func TestEveryWordOfAVerbsArgsIsAFlag(t *testing.T) {
	for _, v := range engine.Verbs() {
		names, _ := wordsOf(v.Args)
		for _, name := range names {
			if name != "REASON" && !slices.ContainsFunc(arguments, func(a argument) bool { return a.word == name }) {
				t.Errorf("%s: %s is no flag", v.Name, name)
			}
		}
	}
}

func TestSomeRefusedSomeDone(t *testing.T) {
	rackTest(t, func(b *bench) {
		r := b.run("pi cycle a3-005 a3-008 a3-006 --yes --wait")
		if r.code != 1 || !strings.Contains(r.err, "a3-008  refused") || strings.Count(r.out, "done after") != 2 {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	})
}

func TestNobodyIsDone(t *testing.T) {
	rackTest(t, func(b *bench) {
		if r := b.run("pi cycle @booting"); r.code != 0 || !strings.Contains(r.out, "nothing to do, @booting is nobody just now") {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	})
}

func TestReasonIsInTheAudit(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.must("pi broken a3-005 --yes --reason fan~is~dead --wait")
		if p := b.pi("a3-005"); p.Life != engine.LifeBroken || p.Note != "fan is dead" {
			t.Errorf("%s, %q", p.Life, p.Note)
		}
		if out := b.must("audit --limit 1"); !strings.Contains(out, "fan is dead") || !strings.Contains(out, "SHA256:alice") {
			t.Errorf("the audit:\n%s", out)
		}
	})
}

// TestAsking answers a person's question in every way.
func TestAsking(t *testing.T) {
	for _, tc := range []struct {
		line, typed string
		code        int
		says        string
	}{
		{"pi cycle a3-005", "y\n", 0, "do it? y/N"},
		{"pi cycle a3-005", "yes\r", 0, ""},
		{"pi cycle a3-005", "n\n", 2, "nothing was done"},
		{"pi cycle a3-005", "\n", 2, "nothing was done"},
		{"pi cycle a3-005", "", 2, "stopped, nothing was done"},
		{"pi cycle a3-005", "\x03", 2, "stopped, nothing was done"},
		{"pi cycle a3-005", "y\x1b", 2, "stopped"},
		{"pi cycle a3-005", "yy\x7f\n", 2, "stopped"},
		{"pi cycle a3-005", strings.Repeat("y", 1000), 2, "stopped"},
		{"pi cycle a3-001", "y\n", 0, "rented: web-1"},
		{"pi reimage a3-001", "y\n", 2, `"y" is not "a3-001"`},
		{"pi reimage a3-001", "a3-001\n", 0, "type a3-001 to do it"},
		{"pi reimage a3-001 a3-002", "reimage 2\n", 0, "type reimage 2 to do it"},
		{"pi reimage a3-001 a3-002", "a3-001\n", 2, "nothing was done"},
		{"pi reimage a3-001 --yes", "a3-001\n", 0, "type a3-001 to do it"},
		{"pi reimage a3-007", "\x1b[A\n", 2, "stopped"},
		{"pi cycle a3-005 --yes", "", 0, ""},
		{"pi cycle a3-005 a3-008", "y\n", 1, "a3-008  refused"},
		{"pi move a3-001 --to a3-005", "a3-001\n", 0, "move to a3-005: "},
	} {
		t.Run(tc.line+" "+tc.typed[:min(9, len(tc.typed))], func(t *testing.T) {
			rackTest(t, func(b *bench) {
				rows := b.inv.auditRows()
				s := session(split(tc.line)...)
				s.TTY, s.Stdin = true, strings.NewReader(tc.typed)
				r := b.with(s)
				if r.code != tc.code || !strings.Contains(r.err, tc.says) {
					t.Errorf("exit %d, want %d with %q\n%s%s", r.code, tc.code, tc.says, r.out, r.err)
				}
				if strings.ContainsAny(r.err, "\x1b\x07\u202e") {
					t.Errorf("a control character is printed: %q", r.err)
				}
				if n := strings.Count(r.err, "a3-008  refused"); n > 1 {
					t.Errorf("told %d times:\n%s", n, r.err)
				}
				if done := b.inv.auditRows() > rows; done != (tc.code != exitUsage) {
					t.Errorf("it was written down: %t", done)
				}
			})
		})
	}
}

// TestWhatChangedMeanwhileIsRefused has somebody else act while a person reads
// the question.
func TestWhatChangedMeanwhileIsRefused(t *testing.T) {
	rackTest(t, func(b *bench) {
		in, typing := io.Pipe()
		s := session("pi", "cycle", "a3-005")
		s.TTY, s.Stdin = true, in
		got := make(chan ran)
		go func() { got <- b.with(s) }()
		synctest.Wait()
		b.must("pi off a3-005 --yes --wait")
		go func() { _, _ = typing.Write([]byte("y\n")) }()
		if r := <-got; r.code != 1 || !strings.Contains(r.err, "it changed since you looked") {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	})
}

func TestWaiting(t *testing.T) {
	rackTest(t, func(b *bench) {
		r := b.run("pi reimage a3-005 --yes --wait")
		if r.code != 0 || !strings.Contains(r.out, "1/") || !strings.Contains(r.out, "done after") {
			t.Errorf("reimage: exit %d\n%s%s", r.code, r.out, r.err)
		}
		if r = b.run("pi cycle a3-003 --yes --wait"); r.code != 1 || !strings.Contains(r.out, "failed after") {
			t.Errorf("a Pi that stalls: exit %d\n%s%s", r.code, r.out, r.err)
		}
		if r = b.run("pi cycle a3-003 --yes --wait --timeout 5s"); r.code != 1 || !strings.Contains(r.err, "the time is over") {
			t.Errorf("a time that is over: exit %d\n%s%s", r.code, r.out, r.err)
		}
		job := b.pi("a3-003").Job
		if job == nil {
			t.Fatal("the job did not go on")
		}
		got := make(chan ran)
		go func() { got <- b.run(fmt.Sprintf("job wait %d", job.ID)) }()
		time.Sleep(time.Second)
		if r := b.run(fmt.Sprintf("job cancel %d", job.ID)); r.code != 0 {
			t.Errorf("cancel: exit %d\n%s%s", r.code, r.out, r.err)
		}
		if r := <-got; r.code != 1 || !strings.Contains(r.out, "cancelled") {
			t.Errorf("a job that somebody cancels: exit %d\n%s%s", r.code, r.out, r.err)
		}
		if r := b.run(fmt.Sprintf("job wait %d --json", job.ID)); r.code != 1 || !strings.Contains(r.out, `"state": "cancelled"`) {
			t.Errorf("a job that is over: exit %d\n%s%s", r.code, r.out, r.err)
		}
		if r := b.run("job wait 1 2"); r.code != 0 {
			t.Errorf("jobs that are done: exit %d\n%s%s", r.code, r.out, r.err)
		}
	})
}

// TestAJobLongOverIsFoundInTheAudit waits for jobs that snapshots have
// forgotten.
func TestAJobLongOverIsFoundInTheAudit(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.must("pi cycle a3-005 --yes")
		b.must("pi cancel a3-005")
		cancelled := b.inv.audit[int64(b.inv.auditRows()-1)].Job
		time.Sleep(time.Minute)
		for range 60 {
			b.must("pi ready a3-008 --wait")
			b.must("pi broken a3-008 --yes --wait")
		}
		for id, want := range map[int64]struct {
			code int
			says string
		}{1: {0, "done"}, 3: {1, "failed"}, cancelled: {1, "cancelled"}} {
			if r := b.run(fmt.Sprintf("job wait %d", id)); r.code != want.code || !strings.Contains(r.out, want.says) {
				t.Errorf("job %d: exit %d\n%s%s", id, r.code, r.out, r.err)
			}
		}
	})
}

// TestAScriptSeesWhatItDid gives commands one after the other as fast as it
// can.
func TestAScriptSeesWhatItDid(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.must("pi cycle a3-005 --yes")
		b.must("pi cancel a3-005")
		time.Sleep(10 * time.Second)
		b.must("pi on a3-005 --wait")
		b.must("pi off a3-005 --yes --wait")
		b.must("pi on a3-005 --wait")
		b.must("pi off a3-005 --yes --wait")
		if p := b.pi("a3-005"); p.Power != engine.PowerOff {
			t.Errorf("it is %s", p.Power)
		}
	})
}

func TestACallerWhoLeavesEndsOnlyTheWaiting(t *testing.T) {
	rackTest(t, func(b *bench) {
		ctx, leave := context.WithCancel(b.t.Context())
		s := session(split("pi cycle a3-005 --yes --wait")...)
		got := make(chan int)
		go func() { got <- Run(ctx, b.e, s) }()
		time.Sleep(time.Second)
		leave()
		if code := <-got; code != 1 {
			t.Errorf("exit %d", code)
		}
		time.Sleep(time.Minute)
		if out := b.must("audit --limit 1"); !strings.Contains(out, "ok in") {
			t.Errorf("the job did not go on:\n%s", out)
		}
	})
}
