package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (b *bench) failStore(err error) {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	b.mem.fail = err
}

// A place may be taken out of the configuration while the service is down,
// with a job half done.
func TestPlaceGoneAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		if err := b.act(VerbReimage, "t-001", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // within the clone
		b.stop()
		half := ""
		for _, j := range b.mem.jobs {
			if !j.State.Ended() {
				half = j.Volume
			}
		}
		b.start(layout(1), nil)
		b.await("its unfinished root is removed", func() bool { return b.mem.volume(half) == VolumeRemoved && b.did("remove "+half) == 1 })
		for _, row := range b.mem.audit {
			if row.Ended.IsZero() {
				t.Errorf("audit row left open: %+v", row)
			}
		}
		b.stop()
	})
}

// A job whose Pi is in neither the store nor the layout is closed whole.
func TestJobOfUnknownPiIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.mem.jobs[7] = Job{ID: 7, Batch: 7, Audit: 3, Verb: "reimage", Pi: "gone", Volume: "gone-7", State: JobRunning, Steps: []Step{{Name: stepClone, State: StepRunning}}, Created: time.Now()}
		b.mem.audit[3] = AuditRow{ID: 3, Time: time.Now(), Verb: "reimage", Target: "gone"}
		b.mem.volumes["gone-7"] = Volume{Name: "gone-7", Pi: "gone", State: VolumeMaking}
		b.start(layout(1), nil)
		b.awaitAll(StageUp)
		if b.mem.audit[3].Ended.IsZero() || b.mem.jobs[7].State != JobCancelled || b.mem.volume("gone-7") != VolumeRemoved {
			t.Errorf("audit %+v job %s volume %s", b.mem.audit[3], b.mem.jobs[7].State, b.mem.volume("gone-7"))
		}
		b.stop()
	})
}

// What nothing uses any more goes, also when the process died before it could.
func TestDiscardedRootsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.mem.volumes["t-000-99"] = Volume{Name: "t-000-99", Pi: "t-000", State: VolumeDiscarded}
		b.start(layout(1), nil)
		b.awaitAll(StageUp)
		if b.mem.volume("t-000-99") != VolumeRemoved || b.did("remove t-000-99") != 1 {
			t.Errorf("left: %s", b.mem.volume("t-000-99"))
		}
		// A reimage that fails leaves nothing behind either.
		b.mu.Lock()
		b.refuse = errors.New("not writable")
		b.mu.Unlock()
		b.mustAct(VerbReimage, "t-000")
		b.await("failed", func() bool { return b.pi("t-000").Job == nil })
		time.Sleep(time.Second)
		synctest.Wait()
		for name, v := range b.mem.volumes {
			if v.State != VolumeCurrent && v.State != VolumeRemoved {
				t.Errorf("%s is %s", name, v.State)
			}
		}
		b.stop()
	})
}

// A cancel that was answered with "yes" holds after a crash too.
func TestCancelSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		first := b.pi("t-000").Root
		if err := b.act(VerbReimage, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		// The clone takes 200 ms: too soon for a snapshot to tell the generation.
		synctest.Wait()
		res, err := b.e.Do(t.Context(), Command{Verb: VerbCancel, Actor: alice, Targets: []Target{{"t-000", b.e.state.pis["t-000"].gen}}})
		if err := errors.Join(err, res.Err()); err != nil {
			t.Fatal(err)
		}
		b.stop()
		b.start(layout(1), nil)
		b.awaitAll(StageUp)
		if got := b.pi("t-000").Root; got != first {
			t.Errorf("the reimage went on after its cancel: root %s", got)
		}
		b.stop()
	})
}

func TestPlaceTakenOutAndPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, func(c *Config) { c.Hold = time.Minute })
		b.awaitAll(StageUp)
		before := b.pi("t-001")
		b.mustAct(VerbCycle, "t-001")
		b.await("hold", func() bool { j := b.pi("t-001").Job; return j != nil && j.Step == stepHold })
		if err := b.e.Relayout(t.Context(), layout(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := b.e.Snapshot().Pi("t-001"); ok || b.did("withdraw t-001") == 0 {
			t.Error("it is still there, or its export is")
		}
		if _, ok := b.mem.pis["t-001"]; ok {
			t.Error("its row is still stored, or again")
		}
		if n := len(b.e.Snapshot().Jobs); n == 0 || !b.e.Snapshot().Jobs[0].State.Ended() {
			t.Errorf("its job: %+v", b.e.Snapshot().Jobs)
		}
		if err := b.e.Relayout(t.Context(), layout(2)); err != nil {
			t.Fatal(err)
		}
		b.awaitAll(StageUp)
		if got := b.pi("t-001"); got.Root != before.Root || b.mem.pis["t-001"].Volume != before.Root {
			t.Errorf("root %q, want its own, %q", got.Root, before.Root)
		}
		b.stop()
	})
}

// A Pi that is put at another port is not judged, nor acted on, by what its
// former port said.
func TestPlaceMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, func(c *Config) { c.Hold = time.Minute })
		b.awaitAll(StageUp)
		b.mustAct(VerbCycle, "t-000")
		b.await("hold", func() bool { j := b.pi("t-000").Job; return j != nil && j.Step == stepHold })
		moved := layout(1)
		moved.Pis[0].Segment.Port.Port = 9
		moved.Pis[0].Segment.Addr = netip.MustParsePrefix("127.64.9.2/30")
		if err := b.e.Relayout(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		b.await("job over", func() bool { return b.pi("t-000").Job == nil || b.pi("t-000").Job.Verb != "cycle" })
		if e, ok := b.e.BootTable().Client(netip.MustParseAddr("127.64.9.2")); !ok || e.Pi != "t-000" {
			t.Error("the boot table has not its new address")
		}
		b.await("powered at its new port", func() bool { return b.did("power sw1/9 true") == 1 })
		time.Sleep(5 * time.Second)
		if b.did("power sw1/1 true") != 1 {
			t.Error("the former port was powered again")
		}
		if b.did("publish t-000") < 2 {
			t.Error("its root is not exported to its new address")
		}
		b.stop()
	})
}

// A new place: power it, hear its board, adopt it, and it boots by itself. A
// Pi 3 has given up asking by then, so that it must be started afresh.
func TestNewBoardIsAdoptedAndBoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Pis[0].MAC, l.Pis[0].Model, l.Pis[0].Power = MAC{}, "", false
		b := rig(t)
		b.stallAt("t-000", StagePower)
		b.start(l, nil)
		b.await("seen", func() bool { return b.pi("t-000").Stage == StageOff })
		if err := b.act(VerbReady, "t-000", GuardNone, ""); !errors.Is(err, ErrNotNow) {
			t.Errorf("ready without a board: %v", err)
		}
		b.mustAct(VerbOn, "t-000")
		b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{1, 2, 3, 4, 5, 0}, Model: Model3B, ROM: true}})
		b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled && b.pi("t-000").Job == nil })
		b.mu.Lock()
		delete(b.stopAt, "t-000")
		b.mu.Unlock()
		b.mustAct(VerbAdopt, "t-000")
		b.awaitAll(StageUp)
		if p := b.pi("t-000"); p.Life != LifeReady || p.Model != Model3B || p.Root == "" {
			t.Errorf("%+v", p)
		}
		for _, j := range b.mem.jobs {
			if j.State == JobFailed && j.Verb != string(VerbOn) {
				t.Errorf("job %+v", j)
			}
		}
		b.stop()
	})
}

// broken can be left from every state, also by a Pi that never had a root.
func TestBrokenAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(2)
		l.Pis[1].Life = LifeBroken
		b := rig(t)
		b.start(l, nil)
		b.await("one up", func() bool { return b.pi("t-000").Stage == StageUp && b.pi("t-000").Job == nil })
		b.mustAct(VerbBroken, "t-000")
		b.await("off", func() bool { return b.pi("t-000").Stage == StageOff && b.pi("t-000").Job == nil })
		if e, _ := b.e.BootTable().Segment("s0"); e.Allowed {
			t.Error("a broken Pi may boot")
		}
		b.mustAct(VerbReady, "t-000")
		b.await("ready", func() bool { return b.pi("t-000").Job == nil })
		b.mustAct(VerbOn, "t-000")
		b.mustAct(VerbReady, "t-001")
		b.awaitAll(StageUp) // the second gets its first root
		b.stop()
	})
}

func TestModelIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Pis[0].Model = ""
		b := rig(t)
		b.start(l, nil)
		b.awaitAll(StageUp)
		if e, _ := b.e.BootTable().Segment("s0"); e.Model != Model4B || b.mem.pis["t-000"].Model != Model4B {
			t.Errorf("model %q in the boot table, %q in the store", e.Model, b.mem.pis["t-000"].Model)
		}
		b.stop()
	})
}

// The answer "could not be stored" means that nothing happens, later too.
func TestRefusedForTheStoreIsNeverDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken *failing
		b := newBench(t, 1, func(c *Config) {
			broken = &failing{memory: c.Inventory.(*memory)}
			c.Inventory = broken
		})
		b.awaitAll(StageUp)
		for _, verb := range []VerbName{VerbCycle, VerbBroken, VerbReimage} {
			before := len(b.calls)
			broken.set(func(c *Changes) bool { return len(c.Audit) > 0 }) // only the act itself
			err := b.act(verb, "t-000", GuardName, "t-000")
			if err == nil {
				t.Fatalf("%s was accepted", verb)
			}
			broken.set(nil)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			for _, call := range b.calls[before:] {
				if !strings.HasPrefix(call, "remove") {
					t.Errorf("%s: %v, but then: %s", verb, err, call)
				}
			}
			if p := b.pi("t-000"); p.Life != LifeReady || !p.Wanted || p.Job != nil {
				t.Errorf("%s left %+v", verb, p)
			}
		}
		b.stop()
	})
}

// failing is an Inventory that refuses what on says.
type failing struct {
	*memory
	on func(*Changes) bool
}

func (f *failing) set(on func(*Changes) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func (f *failing) Save(ctx context.Context, c Changes) error {
	f.mu.Lock()
	fails := f.on != nil && f.on(&c)
	if fails {
		f.on = nil
	}
	f.mu.Unlock()
	if fails {
		return errors.New("disk full")
	}
	return f.memory.Save(ctx, c)
}

// A port that the switch does not tell of is not off: it is not known.
func TestPortNeverReadIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Switches[0].Ports, l.Pis[0].Segment.Port.Port = 60, 55
		b := rig(t)
		b.start(l, nil)
		time.Sleep(3 * time.Second)
		if p := b.pi("t-000"); p.Stage != StageUnknown || p.Power != PowerUnknown {
			t.Errorf("%s, power %s", p.Stage, p.Power)
		}
		b.stop()
	})
}

func TestImageOfFormerConfigurationIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		l := layout(1)
		l.Images = []Image{{Name: "other"}}
		if err := b.e.Relayout(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := b.act(VerbReimage, "t-000", GuardName, "t-000"); !errors.Is(err, ErrNotNow) {
			t.Errorf("reimage from an image that is gone: %v", err)
		}
		b.stop()
	})
}

// While the store fails memory must not grow with every change of a row.
func TestUnsavedRowsAreKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.failStore(errors.New("disk full"))
		for i := range 200 {
			r := b.reading()
			r.Ports[0].Detection = fmt.Sprint(i)
			b.e.Observe(Observation{Time: time.Now(), Switch: r})
			time.Sleep(300 * time.Millisecond)
		}
		b.stopWith(true)
		if n := len(b.e.state.changes.Ports); n > 1 {
			t.Errorf("%d rows of one port wait for the store", n)
		}
	})
}

// stopWith stops an engine whose last flush fails.
func (b *bench) stopWith(fails bool) {
	b.t.Helper()
	b.cancel()
	if err := <-b.done; (err != nil) != fails {
		b.t.Errorf("Run: %v", err)
	}
	synctest.Wait()
}

func TestAuditNamesTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mustAct(VerbCycle, "t-000")
		b.awaitAll(StageUp)
		b.stop()
		for _, row := range b.mem.audit {
			if j, ok := b.mem.jobs[row.Job]; !ok || j.Audit != row.ID {
				t.Errorf("audit row %+v, job %+v", row, j)
			}
		}
	})
}
