package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// boards are those of a bench whose Pis are examined: DHCP knows the boot
// table's only, and the examination system reports.
type boards struct {
	unplugged map[PortID]bool
	// said changes what a board reports; nil of it is a board that hangs.
	said  map[PiName]func(*ReportSeen)
	mute  map[PiName]bool // it never reports
	boots map[PortID]int  // tells a start from the one before
}

func newBoards() *boards {
	return &boards{unplugged: map[PortID]bool{}, said: map[PiName]func(*ReportSeen){}, mute: map[PiName]bool{}, boots: map[PortID]int{}}
}

func (x *boards) missing(id PortID) bool { return x != nil && x.unplugged[id] }

const benchBurn = 20 * time.Second

// goodReport is what a board says that nothing is wrong with.
func goodReport(i int) ReportSeen {
	return ReportSeen{
		Client: segment(i).Addr.Addr(), Board: "Raspberry Pi 4 Model B Rev 1.5", Model: Model4B, Serial: 0xb0a4d000 + uint32(i),
		MAC: MAC{1, 2, 3, 4, 5, byte(i)}, Memory: 3791, Sold: 4096, Cores: 4, Heat: 61_234, HasHeat: true, HasThrottled: true,
		Burned: benchBurn, Computed: 800, Checked: 1900,
	}
}

// boot is what a board does that is examined, or that nobody knows. It returns
// false for one that boots its root.
func (x *boards) boot(b *bench, id PortID) bool {
	if x == nil {
		return false
	}
	ctx := b.t.Context()
	b.mu.Lock()
	x.boots[id]++
	this := x.boots[id]
	b.mu.Unlock()
	i := id.Port - 1
	name, seg := PiName(fmt.Sprintf("t-%03d", i)), segment(i)
	on := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return ctx.Err() == nil && b.on[id] && !x.unplugged[id] && x.boots[id] == this
	}
	mac := MAC{1, 2, 3, 4, 5, byte(i)}
	for on() {
		_ = sleep(ctx, 500*time.Millisecond)
		if e, _ := b.engine().BootTable().Segment(seg.Name); e.MAC == mac {
			break
		}
		b.tell(Observation{DHCP: &DHCPSeen{Segment: seg.Name, Kind: "unknown", MAC: mac, Model: Model4B, Serial: 0xb0a4d000 + uint32(i), ROM: true}})
		_ = sleep(ctx, 5*time.Second)
	}
	if e, _ := b.engine().BootTable().Segment(seg.Name); !e.Exam || !on() {
		return !e.Allowed || !on() // it is refused its files, or boots its root
	}
	client := seg.Addr.Addr()
	for _, o := range []Observation{
		{DHCP: &DHCPSeen{Segment: seg.Name, Kind: "discover", MAC: mac, Model: Model4B, ROM: true}},
		{TFTP: &TFTPSeen{Client: client, Kind: "served", Name: "start4.elf", Bytes: 10}},
		{TFTP: &TFTPSeen{Client: client, Kind: "served", Name: "kernel8.img", Bytes: 10, Kernel: true}},
	} {
		if !on() {
			return true
		}
		b.tell(o)
		_ = sleep(ctx, 500*time.Millisecond)
	}
	b.mu.Lock()
	change, changed := x.said[name]
	mute := x.mute[name]
	b.mu.Unlock()
	if mute {
		return true
	}
	begin := goodReport(i)
	begin.Burned, begin.Computed, begin.Checked = 0, 0, 0
	for at := time.Duration(0); on(); at += 5 * time.Second {
		s := begin
		if at >= benchBurn {
			s = goodReport(i)
			s.Done = true
			if changed && change == nil {
				return true
			}
			if changed {
				change(&s)
			}
		}
		b.tell(Observation{Report: &s})
		_ = sleep(ctx, 5*time.Second)
	}
	return true
}

// tell hands over evidence of now.
func (b *bench) tell(o Observation) {
	o.Time = time.Now()
	b.engine().Observe(o)
}

func (b *bench) Examine(_ context.Context, pi Pi, image string) error {
	b.note("examine %s with %s", pi.Name, image)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fails["examine"]
}

// newPlaces is a rack whose boards nobody has typed in.
func newPlaces(n int) Layout {
	l := layout(n)
	for i := range l.Pis {
		l.Pis[i].MAC, l.Pis[i].Model, l.Pis[i].Image = MAC{}, ModelUnknown, ""
	}
	l.Rules.Examine = true
	return l
}

func examBench(t *testing.T, l Layout) *bench {
	t.Helper()
	b := rig(t)
	b.boards = newBoards()
	b.start(l, nil)
	return b
}

// audited lists the verbs that were written down for a Pi, with what they came to.
func (b *bench) audited(pi PiName) string {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	var list []string
	for id := int64(1); id <= int64(len(b.mem.audit)); id++ {
		if row := b.mem.audit[id]; row.Target == string(pi) {
			list = append(list, fmt.Sprintf("%s %s: %s", row.Actor, row.Verb, row.Result))
		}
	}
	return strings.Join(list, "\n")
}

// A board that is plugged in where none was known is there, examined and ready,
// and nobody has typed or confirmed anything.
func TestBoardThatIsPluggedInBecomesReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(2)
		b := rig(t)
		b.boards = newBoards()
		for _, p := range l.Pis {
			b.boards.unplugged[p.Segment.Port] = true
		}
		b.start(l, nil)
		b.await("power at the empty places", func() bool { return b.did("power sw1/1 true") == 1 && b.did("power sw1/2 true") == 1 })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, p := range b.e.Snapshot().Pis {
			if p.Stage != StageOff || p.Life != LifeNew || p.Job != nil || b.did("power") != 2 {
				t.Errorf("empty place: %s %s, job %+v; %v", p.Stage, p.Life, p.Job, b.calls)
			}
		}
		b.mu.Lock()
		delete(b.boards.unplugged, l.Pis[0].Segment.Port)
		b.mu.Unlock()
		go b.boot(b.t.Context(), l.Pis[0].Segment.Port)
		b.await("its examination", func() bool {
			p := b.pi("t-000")
			return p.Exam && p.Stage == StageKernel && p.Job.Step == stepReport && p.Memory == 4096
		})
		if p := b.pi("t-000"); p.Life != LifeNew || p.Export != "" {
			t.Errorf("under examination it is %s and has %q", p.Life, p.Export)
		}
		b.await("ready", func() bool { return b.pi("t-000").Life == LifeReady && b.pi("t-000").Job == nil })
		p := b.pi("t-000")
		if p.Exam || p.Memory != 4096 || p.Model != Model4B || p.Serial != 0xb0a4d000 || p.MAC != (MAC{1, 2, 3, 4, 5, 0}) || p.Wanted || p.Stage != StageOff {
			t.Errorf("ready as %+v", p)
		}
		if got := b.audited("t-000"); !strings.Contains(got, "adopt: ok: 01:02:03:04:05:00") || !strings.Contains(got, "examine: ok in ") || !strings.HasSuffix(got, ": ready") {
			t.Errorf("audit:\n%s", got)
		}
		if events := fmt.Sprint(p.Boot.Events); !strings.Contains(events, "examined: Raspberry Pi 4 Model B Rev 1.5, serial b0a4d000, 4096 MB, at most 61.2 °C, 1900 MB and 800 results checked in 20s") {
			t.Errorf("timeline: %s", events)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if p := b.pi("t-000"); b.did("examine t-000") != 1 || p.Stage != StageOff || p.Life != LifeReady {
			t.Errorf("afterwards: %s %s, %v", p.Stage, p.Life, b.calls)
		}
		if p := b.pi("t-001"); p.Life != LifeNew || p.Stage != StageOff {
			t.Errorf("the empty place: %s %s", p.Life, p.Stage)
		}
		b.stop()
	})
}

// A board that was heard while a job had its place, and has given up since, is
// taken when the job is over; so is one that was heard before the rule.
func TestBoardHeardMeanwhileIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(1)
		l.Rules.Examine = false
		b := rig(t)
		b.boards = newBoards()
		b.start(l, nil)
		b.awaitAll(StageOff)
		b.mustAct(VerbOn, "t-000")
		b.await("heard", func() bool { return b.pi("t-000").Seen != nil && b.pi("t-000").Job != nil })
		b.mu.Lock()
		b.boards.boots[segment(0).Port]++ // it gives up
		b.mu.Unlock()
		l.Rules.Examine = true
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if p := b.pi("t-000"); p.MAC != (MAC{}) || p.Job.Verb != string(VerbOn) {
			t.Errorf("taken from a job: %s %+v", p.MAC, p.Job)
		}
		b.await("ready", func() bool { return b.pi("t-000").Life == LifeReady && b.pi("t-000").Job == nil })
		b.stop()
	})
}

// What a board is unfit for is said in a sentence, and it is not tried again.
func TestUnfitBoardsAreBroken(t *testing.T) {
	for want, change := range map[string]func(*ReportSeen){
		"too hot: 87.0 °C after 20s of work":          func(s *ReportSeen) { s.Heat = 87_000 },
		"memory error: 2 of the blocks in 1900 MB":    func(s *ReportSeen) { s.Miswritten = 2 },
		"memory: it finds 1900 MB of its 4096 MB":     func(s *ReportSeen) { s.Memory = 1900 },
		"processor or memory error: 1 of 800 results": func(s *ReportSeen) { s.Miscomputed = 1 },
		"under-voltage": func(s *ReportSeen) { s.Throttled = 0x50000 },
		"wrong board: it has the address 09:00:00:00:00:00":                                  func(s *ReportSeen) { s.MAC = MAC{9} },
		"wrong board: its serial number is 00000007, and b0a4d000":                           func(s *ReportSeen) { s.Serial = 7 },
		"it could not be examined whole: no sha256sum":                                       func(s *ReportSeen) { s.Shortcomings = "no sha256sum" },
		"it could not be examined whole: nothing was computed":                               func(s *ReportSeen) { s.Computed = 0 },
		"memory error: 1 of the blocks in 1900 MB read back otherwise than written; too hot": func(s *ReportSeen) { s.Miswritten, s.Heat = 1, 80_000 },
		"no report: it stalled at kernel: its burn-in began, and it was not heard of again":  nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := rig(t)
			b.boards = newBoards()
			b.boards.said["t-000"] = change
			b.start(newPlaces(1), nil)
			b.await("the verdict", func() bool { return b.pi("t-000").Life != LifeNew && b.pi("t-000").Job == nil })
			p := b.pi("t-000")
			if p.Life != LifeBroken || !strings.HasPrefix(p.Note, want) || p.Exam || p.Wanted || b.did("power sw1/1 false") != 2 {
				t.Errorf("%s: %q, exam %t, wanted %t; want broken: %s\n%v", p.Life, p.Note, p.Exam, p.Wanted, want, b.calls)
			}
			if got := b.audited("t-000"); !strings.Contains(got, ": broken: "+want[:10]) {
				t.Errorf("audit:\n%s", got)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if b.did("examine") != 1 {
				t.Errorf("examined again: %v", b.calls)
			}
			b.stop()
		})
	}
}

// A Pi that a switch says draws what no such board does.
func TestDrawIsJudged(t *testing.T) {
	for _, tc := range []struct {
		peak int
		want string
	}{
		{0, ""}, {5600, ""}, {10_500, ""},
		{10_600, "power: it drew 10.6 W, and no more than 10.5 W is to be expected of a 4B"},
		{300, "power: it drew 0.3 W at most"},
	} {
		s := goodReport(0)
		p := &piState{Pi: Pi{MAC: s.MAC, Model: Model4B}, facts: facts{peak: tc.peak}}
		if got := judge(p, &s); !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%d mW: %q, want %q", tc.peak, got, tc.want)
		}
	}
}

// What never reports is judged by the stage at which it stopped.
func TestNoReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.boards = newBoards()
		b.boards.mute["t-000"] = true
		b.start(newPlaces(1), nil)
		b.await("the verdict", func() bool { return b.pi("t-000").Life != LifeNew && b.pi("t-000").Job == nil })
		if p := b.pi("t-000"); p.Life != LifeBroken || !strings.HasPrefix(p.Note, "no report: it stalled at kernel: the examination system was served (kernel8.img), but it did not report") {
			t.Errorf("%s: %q", p.Life, p.Note)
		}
		b.stop()
	})
}

// A report counts only of the Pi that is examined, and of the boot it is in.
func TestForeignReportsCountForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(2)
		l.Pis[1] = layout(2).Pis[1]
		b := examBench(t, l)
		b.boards.mute["t-000"] = true
		b.await("the burn-in of t-000", func() bool { return b.pi("t-000").Exam && b.pi("t-000").Stage == StageKernel })
		b.await("t-001 up", func() bool { return b.pi("t-001").Stage == StageUp })
		bad := goodReport(1)
		bad.Done, bad.Heat, bad.Model = true, 99_000, Model5
		b.see(Observation{Report: &bad})
		if p := b.pi("t-001"); p.Life != LifeReady || p.Model != Model4B || p.Memory != 0 {
			t.Errorf("a Pi that is not examined: %s %s %d", p.Life, p.Model, p.Memory)
		}
		b.see(Observation{Report: &ReportSeen{Client: segment(0).Addr.Addr(), Refused: "line 3 \x1b[2J"}})
		old := goodReport(0)
		old.Done = true
		b.e.Observe(Observation{Time: b.pi("t-000").Boot.Started.Add(-time.Second), Report: &old})
		time.Sleep(time.Second)
		synctest.Wait()
		p := b.pi("t-000")
		if p.Life != LifeNew || p.Job == nil || p.Job.Step != stepReport {
			t.Errorf("an old report was taken: %s %+v", p.Life, p.Job)
		}
		if events := fmt.Sprint(p.Boot.Events); !strings.Contains(events, "a report that does not count: line 3 ?[2J") {
			t.Errorf("timeline: %s", events)
		}
		b.stop()
	})
}

// A board that is known elsewhere, or comes where another is known, is asked
// about and never taken; so is any board without the rule.
func TestOnlyFirstBoardsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(3)
		l.Pis[1] = layout(2).Pis[1]
		l.Pis[2].Serial, l.Pis[2].Life = 0x77, LifeNew
		b := rig(t)
		b.start(l, nil)
		b.await("t-001 up", func() bool { return b.pi("t-001").Stage == StageUp })
		b.heard("s0", b.pi("t-001").MAC) // moved here, or forged
		b.heard("s1", MAC{9})            // another board than is known
		b.heard("s2", MAC{8})            // another serial number than is known
		b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{7}}})
		time.Sleep(time.Minute)
		synctest.Wait()
		b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{7}}}) // no boot ROM's
		for _, p := range b.e.Snapshot().Pis {
			if p.Name != "t-001" && p.MAC != (MAC{}) || p.Job != nil || p.Exam {
				t.Errorf("%s took %s: %+v", p.Name, p.MAC, p.Job)
			}
		}
		if b.did("examine") != 0 {
			t.Errorf("examined: %v", b.calls)
		}
		b.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(1)
		l.Rules.Examine = false
		b := rig(t)
		b.start(l, nil)
		b.heard("s0", MAC{9})
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := b.pi("t-000"); p.MAC != (MAC{}) || p.Life != LifeNew || len(b.calls) != 0 {
			t.Errorf("without the rule: %s %s, %v", p.MAC, p.Life, b.calls)
		}
		b.stop()
	})
}

// A Pi that was given back is ready after its examination, or broken.
func TestGivenBackIsExamined(t *testing.T) {
	for _, examine := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := layout(2)
			l.Rules.Examine = examine
			for i := range l.Pis {
				l.Pis[i].Image, l.Pis[i].Power = "", false
			}
			b := examBench(t, l)
			b.boards.said["t-001"] = func(s *ReportSeen) { s.Miswritten = 1 }
			b.awaitAll(StageOff)
			b.inLoop(func(r *rack) {
				for _, p := range r.order {
					p.Life = LifeReleasing
					r.examineOrReady(p)
				}
			})
			time.Sleep(time.Second)
			b.await("over", func() bool {
				return b.pi("t-000").Life != LifeReleasing && b.pi("t-000").Job == nil && b.pi("t-001").Life != LifeReleasing && b.pi("t-001").Job == nil
			})
			want := LifeReady
			if examine {
				want = LifeBroken
			}
			if one, two := b.pi("t-000"), b.pi("t-001"); one.Life != LifeReady || two.Life != want {
				t.Errorf("examine %t: %s and %s (%s)", examine, one.Life, two.Life, two.Note)
			}
			b.stop()
		})
	}
}

// What a customer had is examined before the next gets it, and the next gets the
// one that is fit.
func TestReleaseEndsWithExamination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.boards = newBoards()
		b.start(marketLayout(2, func(r *Rules) { r.Examine = true }), nil)
		b.awaitAll(StageOff) // the switch has told
		b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{Verb: AccountAdd, Actor: admin, Account: Account{Name: "acme"}}))
		order := ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", Keys: []string{keyOne}}
		first := b.serve(order)
		if v := b.end(first.Job); v.State != JobDone {
			t.Fatalf("ordered: %+v", v)
		}
		view, _ := b.e.Server("acme", "web1")
		b.mu.Lock()
		b.boards.said[view.Pi] = func(s *ReportSeen) { s.Miswritten = 1 }
		b.mu.Unlock()
		b.serve(ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"})
		b.await("the verdict", func() bool { p := b.pi(view.Pi); return p.Life == LifeBroken && p.Job == nil })
		if p := b.pi(view.Pi); p.Server != "" || p.Export != "" || !strings.Contains(p.Note, "memory error") || b.did("examine "+string(view.Pi)+" with base") != 1 {
			t.Errorf("%+v, %v", p, b.calls)
		}
		second := b.serve(order)
		b.end(second.Job)
		again, _ := b.e.Server("acme", "web1")
		b.serve(ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"})
		b.await("ready", func() bool { p := b.pi(again.Pi); return p.Life == LifeReady && p.Job == nil })
		if again.Pi == view.Pi || b.pi(again.Pi).Memory != 4096 {
			t.Errorf("the second order was on %s, the first on %s", again.Pi, view.Pi)
		}
		b.stop()
	})
}

// inLoop runs f as the loop's own work.
func (b *bench) inLoop(f func(*rack)) {
	b.t.Helper()
	synctest.Wait() // the loop waits for its next event
	f(b.e.state)
	b.e.Observe(Observation{})
	synctest.Wait()
}

// Staff examine a Pi that nobody has: its root stays and boots again after.
func TestExamineVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.boards = newBoards()
		l := hosted(3)
		l.Rules.Exam = "other"
		b.start(l, nil)
		b.awaitAll(StageUp)
		if err := b.act(VerbExamine, "t-000", GuardName, "t-000"); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), "it has a server, web") {
			t.Errorf("a customer's Pi: %v", err)
		}
		root := b.pi("t-001").Root
		b.mustAct(VerbExamine, "t-001")
		b.await("no export", func() bool { return b.pi("t-001").Exam && b.exported("t-001") == "" })
		b.await("up again", func() bool { p := b.pi("t-001"); return p.Stage == StageUp && p.Job == nil })
		p := b.pi("t-001")
		if p.Life != LifeReady || p.Root != root || b.exported("t-001") != root || b.did("examine t-001 with other") != 1 || p.Memory != 4096 {
			t.Errorf("%s, root %q exported as %q, %v", p.Life, p.Root, b.exported("t-001"), b.calls)
		}
		// A broken one, that it finds nothing wrong with, is ready and stays off.
		b.mustAct(VerbBroken, "t-001")
		b.await("broken", func() bool { p := b.pi("t-001"); return p.Stage == StageOff && p.Job == nil })
		b.mustAct(VerbExamine, "t-001")
		b.await("ready", func() bool { p := b.pi("t-001"); return p.Life == LifeReady && p.Job == nil })
		if p := b.pi("t-001"); p.Note != "" || p.Stage != StageOff {
			t.Errorf("%s, note %q", p.Stage, p.Note)
		}
		// One that is cancelled boots its root again.
		b.mustAct(VerbExamine, "t-002")
		b.await("the report's step", func() bool { p := b.pi("t-002"); return p.Job != nil && p.Job.Step == stepReport })
		b.mustAct(VerbCancel, "t-002")
		b.await("up again", func() bool { p := b.pi("t-002"); return p.Stage == StageUp && p.Job == nil })
		if p := b.pi("t-002"); p.Exam || p.Life != LifeReady {
			t.Errorf("after a cancel: exam %t, %s", p.Exam, p.Life)
		}
		b.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Rules.Exam = "gone"
		b := rig(t)
		b.start(l, nil)
		b.awaitAll(StageUp)
		if err := b.act(VerbExamine, "t-000", GuardName, "t-000"); !errors.Is(err, ErrNotNow) {
			t.Errorf("with an image that is not there: %v", err)
		}
		b.stop()
	})
}

// A board that staff adopt is examined before it gets a root.
func TestAdoptedBoardIsExamined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Pis[0].MAC, l.Pis[0].Image = MAC{7}, ""
		l.Rules.Examine = true
		b := examBench(t, l)
		b.await("heard", func() bool { p := b.pi("t-000"); return p.Seen != nil && p.Job == nil && p.Stage == StageStalled })
		b.mustAct(VerbAdopt, "t-000")
		if p := b.pi("t-000"); p.Life != LifeNew || p.Job == nil || p.Job.Verb != string(VerbExamine) {
			t.Errorf("adopted: %s %+v", p.Life, p.Job)
		}
		b.await("ready", func() bool { p := b.pi("t-000"); return p.Life == LifeReady && p.Job == nil })
		if p := b.pi("t-000"); p.MAC != (MAC{1, 2, 3, 4, 5, 0}) || p.Memory != 4096 {
			t.Errorf("%s, %d MB", p.Life, p.Memory)
		}
		b.stop()
	})
}

// An examination that cannot be carried out is tried a few times; then people
// have to look.
func TestExaminationIsNotTriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.boards = newBoards()
		b.fails["examine"] = errors.New("the image lacks bash")
		b.start(newPlaces(1), nil)
		b.await("given up", func() bool { return b.pi("t-000").Life == LifeBroken })
		time.Sleep(time.Hour)
		synctest.Wait()
		if p := b.pi("t-000"); b.did("examine") != examTries || !strings.Contains(p.Note, "could not be examined, 3 times: prepare: the image lacks bash") {
			t.Errorf("%q, %v", p.Note, b.calls)
		}
		b.mu.Lock()
		delete(b.fails, "examine")
		b.mu.Unlock()
		b.mustAct(VerbExamine, "t-000")
		b.await("ready", func() bool { return b.pi("t-000").Life == LifeReady })
		b.stop()
	})
}

// Without the image to examine with, boards wait; what is missing is shown, and
// when it is there they are examined.
func TestExaminationWaitsForItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPlaces(2)
		l.Pis[1] = layout(2).Pis[1]
		l.Pis[1].Image, l.Pis[1].Power = "", false
		l.Rules.Exam = "gone"
		b := examBench(t, l)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.inLoop(func(r *rack) {
			r.pis["t-001"].Life = LifeReleasing
			r.examineOrReady(r.pis["t-001"])
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if one, two := b.pi("t-000"), b.pi("t-001"); one.Life != LifeNew || two.Life != LifeReleasing || b.did("examine") != 0 {
			t.Errorf("%s and %s, %v", one.Life, two.Life, b.calls)
		}
		if w := fmt.Sprint(b.e.Snapshot().Warnings); !strings.Contains(w, `no image "gone" to examine with`) {
			t.Errorf("warnings %s", w)
		}
		// Staff may do without.
		b.mustAct(VerbReady, "t-001")
		b.await("ready", func() bool { return b.pi("t-001").Life == LifeReady && b.pi("t-001").Job == nil })
		l.Images = append(l.Images, Image{Name: "gone"})
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.await("examined", func() bool { return b.pi("t-000").Life == LifeReady })
		if w := b.e.Snapshot().Warnings; len(w) != 0 {
			t.Errorf("warnings %q", w)
		}
		b.stop()
	})
}

// Whoever cancels an examination does not want it to begin again.
func TestCancelledExaminationIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := examBench(t, newPlaces(1))
		b.await("the report's step", func() bool { p := b.pi("t-000"); return p.Job != nil && p.Job.Step == stepReport })
		b.mustAct(VerbCancel, "t-000")
		time.Sleep(time.Hour)
		synctest.Wait()
		if p := b.pi("t-000"); p.Life != LifeNew || p.Exam || p.Job != nil || b.did("examine") != 1 {
			t.Errorf("%s, exam %t, %v", p.Life, p.Exam, b.calls)
		}
		b.stop()
	})
}

// Whenever the process dies in an examination, the next one brings it to its end.
func TestCrashInExamination(t *testing.T) {
	for at := range 14 {
		synctest.Test(t, func(t *testing.T) {
			l := layout(1)
			l.Pis[0].Image, l.Pis[0].Power, l.Rules.Examine = "", false, true
			b := examBench(t, l)
			b.awaitAll(StageOff)
			b.mem.failAfter(at)
			b.inLoop(func(r *rack) {
				r.pis["t-000"].Life = LifeReleasing
				r.examineOrReady(r.pis["t-000"])
			})
			time.Sleep(4 * time.Second)
			if at > 10 {
				time.Sleep(benchBurn)
			}
			b.cancel()
			<-b.done
			synctest.Wait()
			b.mem.failAfter(-1)
			b.mem.mu.Lock()
			stored := b.mem.pis["t-000"].Life
			b.mem.mu.Unlock()
			b.start(l, nil)
			b.await("over", func() bool { p := b.pi("t-000"); return p.Life == LifeReady && p.Job == nil && p.Stage == StageOff })
			if p := b.pi("t-000"); p.Exam || stored != LifeReady && p.Memory != 4096 {
				t.Errorf("after %d saves: exam %t, %d MB", at, p.Exam, p.Memory)
			}
			b.mem.mu.Lock()
			for _, row := range b.mem.audit {
				if row.Ended.IsZero() {
					t.Errorf("after %d saves: audit row left open: %+v", at, row)
				}
			}
			b.mem.mu.Unlock()
			b.stop()
		})
	}
}
