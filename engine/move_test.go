package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hosted is a rack of n Pis with the server web on the first.
func hosted(n int) Layout {
	l := layout(n)
	l.Servers = []Server{{Name: "web", Owner: "ada", Keys: []string{"ssh-ed25519 AAAA"}}}
	l.Pis[0].Server, l.Pis[0].Life = "web", LifeLive
	return l
}

func (b *bench) do(c Command, pi PiName) (Result, error) {
	b.t.Helper()
	synctest.Wait()
	time.Sleep(300 * time.Millisecond) // for the snapshot's generation
	synctest.Wait()
	c.Actor, c.Targets, c.Passed, c.Typed = alice, []Target{{pi, b.pi(pi).Gen}}, GuardName, string(pi)
	res, err := b.e.Do(b.t.Context(), c)
	return res, errors.Join(err, res.Err())
}

func (b *bench) mustDo(c Command, pi PiName) {
	b.t.Helper()
	if _, err := b.do(c, pi); err != nil {
		b.t.Fatalf("%s %s: %v", c.Verb, pi, err)
	}
}

// now is a Pi as it is at this moment, which a snapshot tells only later. The
// empty observation puts the read before whatever the loop does next; so the loop
// must not be in the middle of something, as the withdrawal of a place that is gone.
func (b *bench) now(pi PiName) Target {
	for b.e.Observe(Observation{}); ; time.Sleep(time.Millisecond) {
		synctest.Wait()
		b.e.queue.mu.Lock()
		taken := len(b.e.queue.waiting) == 0
		b.e.queue.mu.Unlock()
		if taken {
			break
		}
	}
	t := Target{pi, b.e.state.pis[pi].gen}
	b.e.Observe(Observation{})
	synctest.Wait()
	return t
}

// idle waits until every job is over and the snapshot shows it.
func (b *bench) idle() {
	b.t.Helper()
	time.Sleep(300 * time.Millisecond)
	b.await("no job", func() bool {
		for _, p := range b.e.Snapshot().Pis {
			if p.Job != nil {
				return false
			}
		}
		return true
	})
	time.Sleep(2 * time.Second) // for exports and removals
	synctest.Wait()
}

// kill ends the process without its last words: nothing more reaches the store.
func (b *bench) kill() {
	b.t.Helper()
	b.failStore(errors.New("killed"))
	b.cancel()
	<-b.done
	synctest.Wait()
	b.failStore(nil)
	b.report()
}

// closed wants every act to have an end in the audit.
func (b *bench) closed() {
	b.t.Helper()
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	for _, row := range b.mem.audit {
		if row.Ended.IsZero() {
			b.t.Errorf("audit row left open: %+v", row)
		}
	}
}

func (b *bench) exported(pi PiName) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exports[pi]
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(4), nil)
		b.awaitAll(StageUp)
		root, free := b.pi("t-000").Root, b.pi("t-002").Root
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		former := root
		root = b.pi("t-000").Root
		b.mustDo(Command{Verb: VerbMove, To: "t-002"}, "t-000")
		b.await("both are locked", func() bool {
			from, to := b.pi("t-000").Job, b.pi("t-002").Job
			return from != nil && to != nil && from.ID == to.ID && from.To == "t-002" && from.Pi == "t-000"
		})
		for _, pi := range []PiName{"t-000", "t-002"} {
			if _, err := b.do(Command{Verb: VerbCycle}, pi); !errors.Is(err, ErrNotNow) && !errors.Is(err, ErrStale) {
				t.Errorf("cycle of %s while its job runs: %v", pi, err)
			}
		}
		b.awaitAll(StageUp)
		b.idle()
		if n := b.did("personalise " + root); n != 1 { // by the reimage
			t.Errorf("the customer's root was made personal %d times", n)
		}
		from, to := b.pi("t-000"), b.pi("t-002")
		if to.Server != "web" || to.Root != root || to.Former != former || to.Life != LifeLive || to.Image != "base" || b.exported("t-002") != root {
			t.Errorf("the new Pi is %+v and has %s", to, b.exported("t-002"))
		}
		if from.Server != "" || from.Root == "" || from.Root == root || from.Former != "" || from.Life != LifeReady || from.Image != "base" {
			t.Errorf("the old Pi is %+v", from)
		}
		if b.mem.volume(free) != VolumeRemoved {
			t.Errorf("the new Pi's own root is %s", b.mem.volume(free))
		}
		if who := b.roots[root]; who.Hostname != "web" || who.Keys == nil {
			t.Errorf("the root's personal part is %+v", who)
		}
		if who := b.roots[from.Root]; who.Hostname != "t-000" || who.Keys != nil {
			t.Errorf("the old Pi's new root is of %+v", who)
		}
		b.mustDo(Command{Verb: VerbUndo}, "t-002")
		b.idle()
		if got := b.pi("t-002"); got.Root != former || got.Former != root {
			t.Errorf("undo after the move: %+v", got)
		}
		row := b.auditOf(VerbMove)
		if row.Target != "t-000" || row.Reason != "to t-002" || !strings.HasPrefix(row.Result, "ok") {
			t.Errorf("audit %+v", row)
		}
		b.closed()
		b.stop()
	})
}

func (b *bench) auditOf(verb VerbName) AuditRow {
	b.t.Helper()
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	for _, row := range b.mem.audit {
		if row.Verb == string(verb) {
			return row
		}
	}
	b.t.Errorf("no %s in the audit", verb)
	return AuditRow{}
}

// The configuration still says where the server was first.
func TestMovedServerStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(3), nil)
		b.awaitAll(StageUp)
		b.mustDo(Command{Verb: VerbMove}, "t-000") // to the first spare
		b.awaitAll(StageUp)
		b.idle()
		check := func(when string) {
			t.Helper()
			if on := b.pi("t-001"); on.Server != "web" || b.pi("t-000").Server != "" || b.pi("t-000").Life != LifeReady {
				t.Errorf("%s: t-000 %+v, t-001 %+v", when, b.pi("t-000"), on)
			}
		}
		check("after the move")
		root := b.pi("t-001").Root
		b.stop()
		b.start(hosted(3), nil)
		b.awaitAll(StageUp)
		b.idle()
		check("after a restart")
		elsewhere := hosted(3)
		elsewhere.Pis[0].Server, elsewhere.Pis[0].Life, elsewhere.Pis[2].Server = "", "", "web"
		// Another customer's, where the server is by now.
		elsewhere.Servers = append(elsewhere.Servers, Server{Name: "db"})
		elsewhere.Pis[1].Server = "db"
		if err := b.e.Relayout(t.Context(), elsewhere); err != nil {
			t.Fatal(err)
		}
		b.idle()
		check("after a reload")
		if b.pi("t-002").Server != "" {
			t.Error("the configuration put it on another Pi too")
		}
		// Its place is taken out, and put back.
		gone := hosted(3)
		gone.Pis, gone.Pis[0].Server = gone.Pis[:1], ""
		for _, l := range []Layout{gone, hosted(3)} {
			if err := b.e.Relayout(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			b.idle()
		}
		b.awaitAll(StageUp)
		check("after its place was put back")
		if got := b.pi("t-001").Root; got != root {
			t.Errorf("its root is %s, was %s", got, root)
		}
		b.stop()
	})
}

// A place that is taken out of the configuration leaves its server's root to
// the place that the configuration names.
func TestServerFollowsTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(3), nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		l := hosted(3)
		l.Pis = l.Pis[1:]
		l.Pis[1].Server = "web"
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.idle()
		b.awaitAll(StageUp)
		if got := b.pi("t-002"); got.Server != "web" || got.Root != root || b.exported("t-002") != root {
			t.Errorf("%+v", got)
		}
		b.closed()
		b.stop()
	})
}

func TestSpareIsPicked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(l *Layout)
		stall  PiName
		want   PiName
	}{
		{"by name", func(*Layout) {}, "", "t-001"},
		{"of its model", func(l *Layout) { l.Pis[1].Model = Model5 }, "", "t-002"},
		{"not stalled", func(*Layout) {}, "t-001", "t-002"},
		{"one that is up", func(l *Layout) { l.Pis[1].Power, l.Pis[1].Image = false, "" }, "", "t-002"},
		{"not rented", func(l *Layout) { l.Pis[1].Server = "db" }, "", "t-002"},
		{"not broken", func(l *Layout) { l.Pis[1].Life = LifeBroken }, "", "t-002"},
		{"not new", func(l *Layout) { l.Pis[1].MAC = MAC{} }, "", "t-002"},
		{"not of a silent switch", func(l *Layout) { l.Pis[1].Segment.Port.Switch = "sw9" }, "", "t-002"},
		{"another model before none", func(l *Layout) { l.Pis[1].Life, l.Pis[2].Model = LifeBroken, Model3B }, "", "t-002"},
		{"none", func(l *Layout) { l.Pis = l.Pis[:1] }, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				l := hosted(3)
				tc.change(&l)
				b.stallAt(tc.stall, StageDHCP)
				b.start(l, nil)
				time.Sleep(3 * time.Minute)
				b.idle()
				res, err := b.do(Command{Verb: VerbMove}, "t-000")
				if tc.want == "" {
					if !errors.Is(err, ErrNotNow) {
						t.Errorf("%v %v", res, err)
					}
				} else if err != nil {
					t.Error(err)
				}
				b.stop()
				if j := b.moveJob(); err == nil && j.To != tc.want {
					t.Errorf("to %s", j.To)
				}
			})
		})
	}
}

func TestMoveRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(l *Layout)
		before func(b *bench)
		from   PiName
		to     PiName
		says   string
	}{
		{"nobody's", nil, nil, "t-001", "t-002", "nobody has it"},
		{"unknown", nil, nil, "t-000", "t-009", "no Pi t-009"},
		{"itself", nil, nil, "t-000", "t-000", "here already"},
		{"rented", func(l *Layout) { l.Pis[1].Server = "db" }, nil, "t-000", "t-001", "it has a server, db"},
		{"broken", func(l *Layout) { l.Pis[1].Life = LifeBroken }, nil, "t-000", "t-001", "broken"},
		{"no board", func(l *Layout) { l.Pis[1].MAC = MAC{} }, nil, "t-000", "t-001", "new"},
		{"no board, though ready", func(l *Layout) { l.Pis[1].MAC, l.Pis[1].Life = MAC{}, LifeReady }, nil, "t-000", "t-001", "no board"},
		{"a silent target", func(l *Layout) { l.Pis[1].Segment.Port.Switch = "sw9" }, nil, "t-000", "t-001", "switch sw9"},
		{"a silent source", func(l *Layout) { l.Pis[0].Segment.Port.Switch = "sw9" }, nil, "t-000", "t-001", ""},
		{"busy", nil, func(b *bench) { b.mustDo(Command{Verb: VerbCycle}, "t-001") }, "t-000", "t-001", "cycle"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				l := hosted(3)
				if tc.change != nil {
					tc.change(&l)
				}
				b.start(l, func(c *Config) { c.Hold = time.Minute })
				time.Sleep(3 * time.Minute)
				if tc.before == nil {
					b.idle()
				} else {
					tc.before(b)
				}
				if _, err := b.do(Command{Verb: VerbMove, To: tc.to}, tc.from); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%v, want %q", err, tc.says)
				}
				b.stop()
			})
		})
	}
}

// Two servers of one command go to two spares.
func TestTwoMovesTakeTwoSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		l := hosted(4)
		l.Servers = append(l.Servers, Server{Name: "db"})
		l.Pis[1].Server, l.Pis[1].Life = "db", LifeLive
		b.start(l, nil)
		b.awaitAll(StageUp)
		targets := []Target{{"t-000", b.pi("t-000").Gen}, {"t-001", b.pi("t-001").Gen}}
		res, err := b.e.Do(t.Context(), Command{Verb: VerbMove, Actor: alice, Passed: GuardName, Typed: "move 2", Targets: targets})
		if err != nil || res.Err() != nil {
			t.Fatal(err, res.Err())
		}
		b.awaitAll(StageUp)
		b.idle()
		if b.pi("t-002").Server != "web" || b.pi("t-003").Server != "db" {
			t.Error(b.dump())
		}
		b.stop()
	})
}

// A broken Pi gives its server away and stays broken.
func TestMoveFromBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		b.mustDo(Command{Verb: VerbBroken, Reason: "no fan"}, "t-000")
		b.idle()
		b.mustDo(Command{Verb: VerbMove}, "t-000")
		b.idle()
		if to := b.pi("t-001"); to.Server != "web" || to.Root != root || to.Stage != StageUp {
			t.Errorf("%+v", to)
		}
		if from := b.pi("t-000"); from.Life != LifeBroken || from.Root != "" || from.Wanted || from.Stage != StageOff || b.exported("t-000") != "" {
			t.Errorf("%+v", from)
		}
		b.mustDo(Command{Verb: VerbReady}, "t-000")
		b.idle()
		if from := b.pi("t-000"); from.Life != LifeReady || from.Root == "" || from.Stage != StageUp {
			t.Errorf("when it is ready again: %+v", from)
		}
		b.stop()
	})
}

// A move that ends before the hand-over leaves the server as it was, running
// and with its export.
func TestMoveEndsEarly(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(b *bench)
	}{
		{"cancelled", func(b *bench) {
			res, err := b.e.Do(b.t.Context(), Command{Verb: VerbCancel, Actor: alice, Targets: []Target{b.now("t-000")}})
			if err := errors.Join(err, res.Err()); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"the target is taken out", func(b *bench) {
			if err := b.e.Relayout(b.t.Context(), hosted(1)); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"cancelled, then killed", func(b *bench) {
			if res, err := b.e.Do(b.t.Context(), Command{Verb: VerbCancel, Actor: alice, Targets: []Target{b.now("t-000")}}); errors.Join(err, res.Err()) != nil {
				b.t.Fatal(err, res)
			}
			b.kill()
			b.start(hosted(2), nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				b.start(hosted(2), nil)
				b.awaitAll(StageUp)
				root := b.pi("t-000").Root
				b.mustDo(Command{Verb: VerbMove}, "t-000")
				time.Sleep(20 * time.Millisecond)
				synctest.Wait()
				tc.end(b)
				b.awaitAll(StageUp)
				b.idle()
				if p := b.pi("t-000"); p.Server != "web" || p.Root != root || p.Stage != StageUp || b.exported("t-000") != root {
					t.Errorf("%+v\n%s", p, b.dump())
				}
				if j := b.moveJob(); j.State != JobCancelled {
					t.Errorf("job %+v", j)
				}
				b.closed()
				b.stop()
			})
		})
	}
}

func (b *bench) moveJob() Job {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	for _, j := range b.mem.jobs {
		if j.Verb == string(VerbMove) {
			return j
		}
	}
	return Job{}
}

// A switch that refuses fails the move before anything is taken away.
func TestMoveWithAPortThatCannotBeSwitched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		b.mu.Lock()
		b.refuse = errors.New("not writable")
		b.mu.Unlock()
		b.mustDo(Command{Verb: VerbMove}, "t-000")
		b.idle()
		b.mu.Lock()
		b.refuse = nil
		b.mu.Unlock()
		if p := b.pi("t-000"); p.Server != "web" || p.Root != root || b.did("withdraw") != 0 || b.exported("t-000") != root {
			t.Errorf("%+v", p)
		}
		b.stop()
	})
}

// crashes runs an act, kills the process at every one of the times that cut
// makes, and wants the same end each time. arm, which may be nil, is called before
// the act. Both are told how often; cut returns false when there are no more. The
// steps that were cut are returned.
func crashes(t *testing.T, prepare func(b *bench), cmd Command, end func(b *bench) bool, arm func(b *bench, n int), cut func(b *bench, n int) bool) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for n, more := 0, true; more && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) {
			b := rig(t)
			b.start(hosted(2), nil)
			b.awaitAll(StageUp)
			if prepare != nil {
				prepare(b)
				b.idle()
			}
			if arm != nil {
				arm(b, n)
			}
			b.mustDo(cmd, "t-000")
			more = cut(b, n)
			seen[b.step(cmd.Verb)] = true
			b.kill()
			b.start(hosted(2), nil)
			b.await(fmt.Sprintf("the end after crash %d", n), func() bool {
				for _, p := range b.e.Snapshot().Pis {
					if p.Job != nil || p.Stage != StageUp {
						return false
					}
				}
				return end(b)
			})
			b.idle()
			for _, p := range b.e.Snapshot().Pis {
				if b.exported(p.Name) != p.Root || p.Export == "" {
					t.Errorf("crash %d: %s has %q and %q exported", n, p.Name, p.Root, b.exported(p.Name))
				}
			}
			b.closed()
			b.stop()
			for name, v := range b.mem.volumes {
				if v.State == VolumeMaking || v.State == VolumeDiscarded {
					t.Errorf("crash %d: %s is left: %s", n, name, v.State)
				}
			}
		})
	}
	return seen
}

// step is the one at which the act under test is in the store, "" = it is over.
func (b *bench) step(verb VerbName) string {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	for _, j := range b.mem.jobs {
		if j.Verb == string(verb) && !j.State.Ended() {
			return j.Steps[j.Step].Name
		}
	}
	return ""
}

func TestKilledAtEveryStep(t *testing.T) {
	reimage := func(b *bench) { b.mustDo(Command{Verb: VerbReimage}, "t-000") }
	rescue := func(b *bench) { b.mustDo(Command{Verb: VerbRescue}, "t-000") }
	first := func(b *bench) string { return "t-000-" + firstJob(b) }
	for _, tc := range []struct {
		name    string
		cmd     Command
		prepare func(b *bench)
		end     func(b *bench) bool
	}{
		{"reimage", Command{Verb: VerbReimage}, nil, func(b *bench) bool {
			return b.pi("t-000").Former == first(b) && b.pi("t-000").Server == "web"
		}},
		{"undo", Command{Verb: VerbUndo}, reimage, func(b *bench) bool {
			return b.pi("t-000").Root == first(b) && b.pi("t-000").Former != ""
		}},
		{"move", Command{Verb: VerbMove}, reimage, func(b *bench) bool {
			return b.pi("t-001").Server == "web" && b.pi("t-001").Former == first(b) && b.pi("t-000").Server == ""
		}},
		{"resize", Command{Verb: VerbResize, Size: 4 << 30}, nil, func(b *bench) bool {
			return b.pi("t-000").RootVolume.Use.Size == 4<<30
		}},
		{"rescue", Command{Verb: VerbRescue}, nil, func(b *bench) bool {
			e, _ := b.e.BootTable().Segment("s0")
			return b.pi("t-000").Rescue && e.Rescue && len(b.pi("t-000").RescueKeys) == 1
		}},
		{"unrescue", Command{Verb: VerbUnrescue}, rescue, func(b *bench) bool {
			return !b.pi("t-000").Rescue && b.pi("t-000").RescueKeys == nil
		}},
	} {
		t.Run(tc.name+"/within steps", func(t *testing.T) {
			crashes(t, tc.prepare, tc.cmd, tc.end, nil, func(b *bench, n int) bool {
				time.Sleep(time.Duration(n) * 173 * time.Millisecond)
				synctest.Wait()
				return b.step(tc.cmd.Verb) != ""
			})
		})
		// The store takes n more transactions, and what ran then may still end.
		t.Run(tc.name+"/between transactions", func(t *testing.T) {
			arm := func(b *bench, n int) { b.mem.failAfterJob(tc.cmd.Verb, n) }
			seen := crashes(t, tc.prepare, tc.cmd, tc.end, arm, func(b *bench, _ int) bool {
				time.Sleep(15 * time.Second)
				b.mem.failAfter(-1)
				return b.step(tc.cmd.Verb) != ""
			})
			for _, step := range plans[tc.cmd.Verb] {
				if !seen[step] {
					t.Errorf("%s was never cut", step)
				}
			}
		})
	}
}

// firstJob is the number of the job that gave t-000 its first root.
func firstJob(b *bench) string {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	low := int64(1 << 60)
	for _, j := range b.mem.jobs {
		if j.Pi == "t-000" {
			low = min(low, j.ID)
		}
	}
	return fmt.Sprint(low)
}

// What a new layout takes away after the hand-over is only the old Pi.
func TestOldPlaceIsTakenOutAfterTheHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		b.mustDo(Command{Verb: VerbMove}, "t-000")
		time.Sleep(time.Second) // within the hold of the new one
		l := hosted(2)
		l.Pis = l.Pis[1:]
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.idle()
		b.awaitAll(StageUp)
		if p := b.pi("t-001"); p.Server != "web" || p.Root != root || b.exported("t-001") != root || b.exported("t-000") != "" {
			t.Errorf("%+v", p)
		}
		b.closed()
		b.stop()
		if j := b.moveJob(); j.State != JobDone {
			t.Errorf("job %+v", j)
		}
	})
}

// A move that could not be written down locks neither Pi.
func TestMoveThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken *failing
		b := rig(t)
		b.start(hosted(2), func(c *Config) {
			broken = &failing{memory: c.Inventory.(*memory)}
			c.Inventory = broken
		})
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		broken.set(func(c *Changes) bool { return len(c.Audit) > 0 })
		if _, err := b.do(Command{Verb: VerbMove}, "t-000"); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("accepted: %v", err)
		}
		broken.set(nil)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		from, to := b.pi("t-000"), b.pi("t-001")
		if from.Job != nil || to.Job != nil || from.Server != "web" || from.Root != root || from.Stage != StageUp || b.did("power sw1/1 false") != 0 {
			t.Errorf("%+v", from)
		}
		b.mustDo(Command{Verb: VerbMove}, "t-000")
		b.idle()
		if p := b.pi("t-001"); p.Server != "web" {
			t.Errorf("the second try: %+v", p)
		}
		b.stop()
	})
}

// Every verb leaves one row that was closed, with who, what and how it went.
func TestEveryVerbIsAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.boards = newBoards()
		b.start(hosted(3), nil)
		b.awaitAll(StageUp)
		done := map[VerbName]bool{}
		for _, c := range []struct {
			Command
			pi PiName
		}{
			{Command{Verb: VerbCycle}, "t-000"},
			{Command{Verb: VerbReimage, Image: "other"}, "t-000"},
			{Command{Verb: VerbUndo}, "t-000"},
			{Command{Verb: VerbResize, Size: 64 * gb}, "t-000"},
			{Command{Verb: VerbRescue}, "t-000"},
			{Command{Verb: VerbUnrescue}, "t-000"},
			{Command{Verb: VerbMove, To: "t-002"}, "t-000"},
			{Command{Verb: VerbOff}, "t-002"},
			{Command{Verb: VerbOn}, "t-002"},
			{Command{Verb: VerbBroken}, "t-001"},
			{Command{Verb: VerbReady}, "t-001"},
			{Command{Verb: VerbExamine}, "t-001"},
		} {
			b.mustDo(c.Command, c.pi)
			b.idle()
			done[c.Verb] = true
			row := b.auditOf(c.Verb)
			if row.Actor != "alice" || row.Target != string(c.pi) || row.Source != "tty" || !strings.HasPrefix(row.Result, "ok in ") || row.Job == 0 {
				t.Errorf("%s: %+v", c.Verb, row)
			}
		}
		for _, v := range Verbs() {
			if !done[v.Name] && v.Name != VerbCancel && v.Name != VerbAdopt { // acts of other tests
				t.Errorf("%s is not tried", v.Name)
			}
		}
		b.closed()
		b.stop()
	})
}

// A place that the configuration gives away while a server moves to it is the
// mover's: no step of the move may work on another customer's Pi.
func TestReloadWhileAServerComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(3), nil)
		b.awaitAll(StageUp)
		b.idle()
		root := b.pi("t-000").Root
		b.mustDo(Command{Verb: VerbMove, To: "t-001"}, "t-000")
		l := hosted(3)
		l.Servers = append(l.Servers, Server{Name: "db", Owner: "bob"})
		l.Pis[1].Server, l.Pis[1].Life = "db", LifeLive
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.awaitAll(StageUp)
		b.idle()
		if on := b.pi("t-001"); on.Server != "web" || on.Root != root || b.pi("t-000").Server != "" {
			t.Errorf("t-000 %+v, t-001 %+v", b.pi("t-000"), on)
		}
		b.closed()
		b.stop()
	})
}

// The root of a server that was taken out of the configuration stays its
// owner's: no other server gets the Pi with it.
func TestPlaceOfADeletedServerIsNotGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		b.idle()
		root := b.pi("t-000").Root
		l := hosted(2)
		l.Servers = []Server{{Name: "db", Owner: "bob"}}
		l.Pis[0].Server = "db"
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.idle()
		if got := b.pi("t-000"); got.Server != "web" || got.Owner != "ada" || got.Root != root {
			t.Errorf("%+v", got)
		}
		b.stop()
	})
}
