package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const gb = 1e9

func (m *memory) lines() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

func (b *bench) looked(s SpaceSeen) {
	b.t.Helper()
	b.see(Observation{Space: &s})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hosted(2)
		l.Servers[0].Disk = 20 * gb
		b := rig(t)
		b.start(l, nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		if b.did(fmt.Sprintf("clone base %s %d", root, int64(20*gb))) != 1 || b.pi("t-000").RootVolume.Use.Size != 20*gb {
			t.Errorf("its first root: %v", b.calls)
		}
		b.mustDo(Command{Verb: VerbResize, Size: 32 * gb}, "t-000")
		b.idle()
		p := b.pi("t-000")
		if b.did(fmt.Sprintf("grow %s %d", root, int64(32*gb))) != 1 || p.RootVolume.Use.Size != 32*gb || p.Stage != StageUp {
			t.Errorf("%+v", p)
		}
		if b.did("power sw1/1 false") != 0 {
			t.Error("growing took its power")
		}
		if row := b.auditOf(VerbResize); row.Reason != "to 32000000000 bytes" || !strings.HasPrefix(row.Result, "ok") {
			t.Errorf("audit %+v", row)
		}
		changed := p.RootVolume.Changed
		b.stop()
		b.start(l, nil) // the volume's size is stored, and counts more than the server's
		b.awaitAll(StageUp)
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		if p := b.pi("t-000"); p.RootVolume.Use.Size != 32*gb || b.did(fmt.Sprintf("clone base %s %d", p.Root, int64(32*gb))) != 1 {
			t.Errorf("the next root: %+v", p.RootVolume)
		}
		if was := b.pi("t-000").FormerVolume; !was.Changed.After(changed) {
			t.Errorf("it became the former root at %s", was.Changed)
		}
		b.stop()
	})
}

func TestResizeRefusals(t *testing.T) {
	quota := SpaceSeen{Driver: "lvm", Quota: true, Pool: PoolReading{Size: 100 * gb, Used: gb}}
	for _, tc := range []struct {
		name string
		size int64
		seen *SpaceSeen
		says string
	}{
		{"too small", 20 * gb, &quota, "cannot shrink"},
		{"smaller than it is by now", 33 * gb, &SpaceSeen{Driver: "lvm", Quota: true, Volumes: map[string]VolumeUse{"t-000-1": {Size: 40 * gb}}}, "40000000000 bytes already"},
		{"the same", 32 * gb, nil, "has that size"},
		{"nothing", 0, nil, "a root of 0 bytes"},
		{"negative", -5, nil, "a root of -5 bytes"},
		{"absurd", 1 << 60, nil, "a root of"},
		{"more than the pool", 101 * gb, &quota, "the whole pool"},
		{"no sizes", 64 * gb, &SpaceSeen{Driver: "folder"}, `driver "folder" have no size`},
		{"nothing is known of the disk", 64 * gb, &SpaceSeen{Err: "lvs: no such file"}, ""},
		{"fits", 64 * gb, &quota, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				l := hosted(1)
				l.Servers[0].Disk = 32 * gb
				b.start(l, nil)
				b.awaitAll(StageUp)
				if tc.seen != nil {
					b.looked(*tc.seen)
				}
				_, err := b.do(Command{Verb: VerbResize, Size: tc.size}, "t-000")
				if refused := errors.Is(err, ErrNotNow); refused != (tc.says != "") || refused && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%v, want %q", err, tc.says)
				}
				b.idle()
				b.stop()
			})
		})
	}
}

func TestResizeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mu.Lock()
		b.fails["grow"] = errors.New("no extents left")
		b.mu.Unlock()
		b.mustDo(Command{Verb: VerbResize, Size: 64 * gb}, "t-000")
		b.idle()
		if p := b.pi("t-000"); p.RootVolume.Use.Size != 0 || p.Stage != StageUp {
			t.Errorf("%+v", p.RootVolume)
		}
		if row := b.auditOf(VerbResize); !strings.Contains(row.Result, "no extents left") {
			t.Errorf("audit %+v", row)
		}
		b.stop()
	})
}

// A small system has no root of the Pi's own over NFS until it mounts it, and a
// broken root never.
func TestRescueAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.noNFS = "t-000"
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		if _, err := b.do(Command{Verb: VerbUnrescue}, "t-000"); !errors.Is(err, ErrNotNow) {
			t.Errorf("unrescue without a rescue: %v", err)
		}
		b.mustDo(Command{Verb: VerbRescue}, "t-000")
		b.awaitAll(StageUp)
		b.idle()
		check := func(when string) {
			t.Helper()
			e, _ := b.e.BootTable().Segment("s0")
			p := b.pi("t-000")
			if !p.Rescue || len(p.RescueKeys) != 1 || p.RescueKeys[0].Fingerprint != "SHA256:rescue" || !e.Rescue || p.Root != root {
				t.Errorf("%s: %+v, boot table %+v", when, p, e)
			}
		}
		check("in rescue")
		if b.did("rescue t-000 base web") != 1 {
			t.Errorf("calls %v", b.calls)
		}
		if _, err := b.do(Command{Verb: VerbRescue}, "t-000"); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), ":unrescue") {
			t.Errorf("a second rescue: %v", err)
		}
		b.stop()
		b.start(hosted(2), nil)
		b.awaitAll(StageUp)
		check("after a restart")
		b.mustDo(Command{Verb: VerbUnrescue}, "t-000")
		b.idle()
		if p := b.pi("t-000"); p.Rescue || p.RescueKeys != nil || p.Root != root {
			t.Errorf("after unrescue: %+v", p)
		}
		b.closed()
		b.stop()
	})
}

func TestAnotherRootLeavesRescue(t *testing.T) {
	for _, verb := range []VerbName{VerbReimage, VerbUndo, VerbMove} {
		synctest.Test(t, func(t *testing.T) {
			b := rig(t)
			b.start(hosted(2), nil)
			b.awaitAll(StageUp)
			b.mustDo(Command{Verb: VerbReimage}, "t-000")
			b.idle()
			b.mustDo(Command{Verb: VerbRescue}, "t-000")
			b.idle()
			b.mustDo(Command{Verb: verb}, "t-000")
			b.idle()
			for _, p := range b.e.Snapshot().Pis {
				if p.Rescue || p.Stage != StageUp {
					t.Errorf("after %s %s is %+v", verb, p.Name, p)
				}
			}
			b.stop()
		})
	}
}

func TestRescueThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.stallAt("t-000", StageKernel)
		b.mustDo(Command{Verb: VerbRescue}, "t-000")
		limits := DefaultLimits()
		b.await("kernel", func() bool { return b.pi("t-000").Stage == StageKernel })
		time.Sleep(limits[StageKernel] + limits[StageRoot]/2)
		synctest.Wait()
		if s := b.pi("t-000").Stage; s != StageKernel {
			t.Errorf("it has not been given the time to start SSH: %s", s)
		}
		b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled })
		if d := b.pi("t-000").Diagnosis; d.Fault != "rescue-hang" || !strings.Contains(d.Hint, "unrescue") {
			t.Errorf("%+v", d)
		}
		b.idle()
		b.stop()
	})
}

func TestFormerRootsExpire(t *testing.T) {
	const day = 24 * time.Hour
	slow := func(c *Config) { c.Keep, c.Limits = 14*day, Limits{StageOff: time.Hour} }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, slow)
		b.awaitAll(StageUp)
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		former := b.pi("t-000").Former
		until := b.pi("t-000").FormerUntil
		if d := time.Until(until); d < 13*day || d > 14*day {
			t.Errorf("it is kept until %s", until)
		}
		// A resize of the present root makes the former no younger.
		b.mustDo(Command{Verb: VerbResize, Size: 64 * gb}, "t-000")
		b.idle()
		b.stop()
		time.Sleep(time.Until(until) - time.Hour)
		b.start(layout(2), slow)
		b.awaitAll(StageUp)
		if p := b.pi("t-000"); p.Former != former || !p.FormerUntil.Equal(until) {
			t.Fatalf("an hour before: %+v", p)
		}
		gen := b.pi("t-000").Gen
		time.Sleep(time.Hour + 2*expireEvery)
		b.idle()
		if p := b.pi("t-000"); p.Former != "" || !p.FormerUntil.IsZero() || p.Gen == gen {
			t.Errorf("%+v", p)
		}
		if b.mem.volume(former) != VolumeRemoved || b.did("remove "+former) != 1 {
			t.Errorf("the former root is %s", b.mem.volume(former))
		}
		if row := b.auditOf(verbExpire); row.Actor != "-" || row.Reason != "former roots are kept for 14 days" || row.Result != "ok: "+former {
			t.Errorf("audit %+v", row)
		}
		b.closed()
		b.stop()
	})
}

func TestFormerRootIsKept(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"for ever":     func(*Config) {},
		"while a job":  func(c *Config) { c.Keep, c.Hold = 5*time.Minute, time.Hour },
		"store failed": func(c *Config) { c.Keep = 5 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 1, change)
				b.awaitAll(StageUp)
				b.mustDo(Command{Verb: VerbReimage}, "t-000")
				b.idle()
				former := b.pi("t-000").Former
				switch name {
				case "while a job":
					b.mustDo(Command{Verb: VerbCycle}, "t-000")
				case "store failed":
					b.failStore(errors.New("disk full"))
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if name != "store failed" && b.pi("t-000").Former != former || b.did("remove "+former) != 0 {
					t.Errorf("it is gone: %v", b.calls)
				}
				b.failStore(nil)
				time.Sleep(2 * expireEvery)
				if want := name == "store failed"; (b.did("remove "+former) == 1) != want {
					t.Errorf("removed: %t, want %t", !want, want)
				}
				b.stop()
			})
		})
	}
}

func TestSpaceIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		root := b.pi("t-000").Root
		pool := PoolReading{Size: 100 * gb, Used: 40 * gb, Metadata: 0.55}
		b.looked(SpaceSeen{Driver: "lvm", Quota: true, Pool: pool, Volumes: map[string]VolumeUse{root: {Size: 32 * gb, Used: 3 * gb}, "not ours": {}}})
		at := b.e.Snapshot().SpaceAt
		b.looked(SpaceSeen{Driver: "lvm", Quota: true, Pool: pool, Volumes: map[string]VolumeUse{b.pi("t-001").Root: {Used: 2 * gb}}})
		s := b.e.Snapshot()
		if s.Space.Pool != pool || s.Space.Volumes != nil || !s.SpaceAt.After(at) {
			t.Errorf("%+v at %s", s.Space, s.SpaceAt)
		}
		if v := b.pi("t-000").RootVolume; v.Use != (VolumeUse{Size: 32 * gb, Used: 3 * gb}) || !v.UseAt.Equal(at) || v.Created.IsZero() {
			t.Errorf("the use that was looked at before is %+v", v)
		}
		if v := b.pi("t-001").RootVolume; v.Use.Used != 2*gb || !v.UseAt.Equal(s.SpaceAt) {
			t.Errorf("%+v", v)
		}
		b.looked(SpaceSeen{Err: "lvs: not\x1b found"})
		now := b.e.Snapshot()
		if w := now.Warnings; len(w) != 1 || w[0] != "the use of the disk cannot be told: lvs: not? found" || now.Space.Pool != pool || !now.SpaceAt.Equal(s.SpaceAt) {
			t.Errorf("warnings %q, %+v", w, now.Space)
		}
		b.looked(SpaceSeen{Driver: "lvm", Pool: pool})
		if w := b.e.Snapshot().Warnings; len(w) != 0 {
			t.Errorf("warnings stay: %q", w)
		}
		b.stop()
		if use := b.e.state.space.use; len(use) != 2 {
			t.Errorf("what is no volume of ours is kept: %v", use)
		}
	})
}

// A pool that is nearly full takes no new root, and everything else goes on.
func TestNearlyFullPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		full := SpaceSeen{Driver: "lvm", Quota: true, Pool: PoolReading{Size: 100 * gb, Used: 91 * gb, Metadata: 0.2, NearlyFull: true}}
		b.looked(full)
		const why = "the volume pool is 91 % full: no new roots are made"
		if w := b.e.Snapshot().Warnings; !slices.Equal(w, []string{why}) {
			t.Errorf("warnings %q", w)
		}
		if _, err := b.do(Command{Verb: VerbReimage}, "t-000"); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), why) {
			t.Errorf("reimage: %v", err)
		}
		b.mustDo(Command{Verb: VerbUndo}, "t-000")
		b.idle()
		b.mustDo(Command{Verb: VerbCycle}, "t-001")
		b.idle()
		if err := b.e.Relayout(t.Context(), layout(3)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := b.pi("t-002"); p.Root != "" || p.Job != nil {
			t.Errorf("a new place got %q", p.Root)
		}
		full.Pool.NearlyFull, full.Pool.Used = false, 70*gb
		b.looked(full)
		b.idle()
		if p := b.pi("t-002"); p.Root == "" || p.Stage != StageUp {
			t.Errorf("with room again: %+v", p)
		}
		b.stop()
	})
}

// An export that fails is tried again, more and more slowly, while all else
// goes on.
func TestExportIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		if p := b.pi("t-000"); p.Export != "export of "+p.Root || p.ExportErr != "" {
			t.Errorf("export %q, error %q", p.Export, p.ExportErr)
		}
		b.stop()
		b.mu.Lock()
		clear(b.exports)
		b.fails["publish"] = errors.New("no nfsd")
		b.mu.Unlock()
		b.start(layout(2), nil)
		time.Sleep(time.Second)
		if p := b.pi("t-000"); p.Export != "" || p.ExportErr != "no nfsd" {
			t.Errorf("export %q, error %q", p.Export, p.ExportErr)
		}
		before, lines := b.did("publish t-000"), b.mem.lines()
		time.Sleep(10 * time.Minute)
		if n := b.did("publish t-000") - before; n < 8 || n > 18 {
			t.Errorf("tried %d times in ten minutes", n)
		}
		if n := b.mem.lines() - lines; n > 0 {
			t.Errorf("%d log lines of the same cause", n)
		}
		b.mu.Lock()
		delete(b.fails, "publish")
		b.mu.Unlock()
		time.Sleep(2 * exportLongest)
		if p := b.pi("t-000"); p.Export == "" || p.ExportErr != "" || b.exported("t-000") != p.Root {
			t.Errorf("export %q, error %q", p.Export, p.ExportErr)
		}
		b.mustDo(Command{Verb: VerbBroken}, "t-000")
		b.idle()
		if p := b.pi("t-000"); p.Export != "" || b.exported("t-000") != "" {
			t.Errorf("broken, and has %q", p.Export)
		}
		b.stop()
	})
}

// A job cut short between its new root and the export leaves no other exported.
func TestExportFollowsACancelledJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mu.Lock()
		b.fails["publish"] = errors.New("busy")
		b.mu.Unlock()
		first := b.pi("t-000").Root
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		b.mu.Lock()
		delete(b.fails, "publish")
		b.mu.Unlock()
		time.Sleep(time.Minute)
		if p := b.pi("t-000"); p.Root == first || b.exported("t-000") != p.Root {
			t.Errorf("root %s, exported %s", p.Root, b.exported("t-000"))
		}
		b.stop()
	})
}

func TestHostKeysGoWithTheirRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		keys := func() string { return fmt.Sprint(b.pi("t-000").RootVolume.HostKeys) }
		first := keys()
		b.mustDo(Command{Verb: VerbReimage}, "t-000")
		b.idle()
		second := keys()
		b.mustDo(Command{Verb: VerbUndo}, "t-000")
		b.idle()
		if first == second || keys() != first || !strings.Contains(first, b.pi("t-000").Root) {
			t.Errorf("first %s, second %s, after undo %s", first, second, keys())
		}
		b.stop()
	})
}
