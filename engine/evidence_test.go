package engine

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a bench that was not started, for layouts of the test's own.
func rig(t *testing.T) *bench {
	return &bench{
		t: t, mem: newMemory(), on: map[PortID]bool{}, up: map[PortID]bool{}, stopAt: map[PiName]Stage{},
		roots: map[string]Person{}, exports: map[PiName]string{}, fails: map[string]error{},
	}
}

func (b *bench) see(o Observation) {
	b.t.Helper()
	o.Time = time.Now()
	b.e.Observe(o)
	time.Sleep(time.Second)
	synctest.Wait()
}

func (b *bench) stallAt(pi PiName, s Stage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopAt[pi] = s
}

func (b *bench) mustAct(verb VerbName, pi PiName) {
	b.t.Helper()
	if err := b.act(verb, pi, GuardName, string(pi)); err != nil {
		b.t.Fatalf("%s %s: %v", verb, pi, err)
	}
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

// The kernel's list of connections may come before the switch's first answer.
func TestIdleRunningPiIsUpAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.stop()
		e, err := New(t.Context(), Config{Layout: layout(1), Inventory: b.mem, Power: b, Roots: b})
		if err != nil {
			t.Fatal(err)
		}
		b.e, b.done = e, make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		b.cancel = cancel
		go func() { b.done <- e.Run(ctx) }()
		nfs := NFSSeen{Client: segment(0).Addr.Addr(), Connected: true, Since: time.Unix(900, 0), BytesIn: 100}
		b.see(Observation{NFS: &nfs})
		b.see(Observation{Switch: b.reading()})
		b.see(Observation{NFS: &nfs})
		if s := b.pi("t-000").Stage; s != StageRoot {
			t.Errorf("stage %s, want nfs: it ran all the time", s)
		}
		b.stop()
	})
}

// An idle Linux client closes its connection after five minutes.
func TestIdleConnectionIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mu.Lock()
		clear(b.up)
		b.mu.Unlock()
		client := segment(0).Addr.Addr()
		b.see(Observation{NFS: &NFSSeen{Client: client}})
		for range 60 {
			b.see(Observation{SSH: &SSHSeen{Client: client, Banner: "SSH-2.0-test"}})
			time.Sleep(4 * time.Second)
		}
		if p := b.pi("t-000"); p.Stage != StageUp {
			t.Errorf("it answers SSH and is %s: %s", p.Stage, p.Diagnosis.Cause)
		}
		b.stop()
	})
}

// Whoever has a Pi can send what they like, and must not keep staff from it.
func TestFloodOfBoardsDoesNotMakeDecisionsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{8}}})
		gen, lines := b.pi("t-000").Gen, len(b.mem.log)
		for i := range 20 {
			b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{9, byte(i)}}})
		}
		if b.pi("t-000").Gen != gen || len(b.mem.log) != lines || b.pi("t-000").Seen.MAC != (MAC{8}) {
			t.Errorf("20 boards in 20 s: generation %d → %d, %d new log lines", gen, b.pi("t-000").Gen, len(b.mem.log)-lines)
		}
		time.Sleep(time.Minute)
		b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "unknown", MAC: MAC{7}}})
		if b.pi("t-000").Seen.MAC != (MAC{7}) {
			t.Error("the next board, much later, is not shown")
		}
		b.stop()
	})
}

// After a restart the switch may stay silent; a job must not wait for ever.
func TestBootStepEndsThoughTheSwitchIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.stallAt("t-000", StageDHCP)
		b.mustAct(VerbCycle, "t-000")
		b.await("boot", func() bool { j := b.pi("t-000").Job; return j != nil && j.Step == stepBoot })
		time.Sleep(5 * time.Second) // nothing more is heard of it
		b.stop()
		e, err := New(t.Context(), Config{Layout: layout(1), Inventory: b.mem, Power: b, Roots: b})
		if err != nil {
			t.Fatal(err)
		}
		b.e, b.done = e, make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		b.cancel = cancel
		go func() { b.done <- e.Run(ctx) }()
		b.await("ended", func() bool { return b.pi("t-000").Job == nil })
		if j := b.e.Snapshot().Jobs[0]; j.State != JobFailed || !strings.Contains(j.Error, "switch") {
			t.Errorf("job %+v", j)
		}
		b.stop()
	})
}

func TestEvidenceOutOfOrder(t *testing.T) {
	client := segment(0).Addr.Addr()
	at := func(s int) time.Time { return time.Unix(1_000_000_000+int64(s), 0) }
	for _, tc := range []struct {
		name  string
		seen  []TFTPSeen
		stage Stage
		fault string
		says  string
	}{
		{"a missing file told after the next request", []TFTPSeen{
			{Kind: "requested", Name: "kernel8.img", Asked: at(2)},
			{Kind: "notfound", Name: "armstub8-gic.bin", Asked: at(1)},
		}, StageFirmware, "eeprom-hang", "kernel8.img"},
		{"a failed file that came whole at the second try", []TFTPSeen{
			{Kind: "requested", Name: "start4.elf", Asked: at(1)},
			{Kind: "failed", Name: "start4.elf", Asked: at(1), Reason: "no answer"},
			{Kind: "requested", Name: "start4.elf", Asked: at(2)},
			{Kind: "served", Name: "start4.elf", Asked: at(2)},
		}, StageFirmware, "firmware-hang", "start4.elf"},
		{"refused", []TFTPSeen{
			{Kind: "refused", Name: "start4.elf", Asked: at(1), Reason: "it may not boot"},
		}, StageDHCP, "boot-refused", "it may not boot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				b.stallAt("t-000", StageDHCP)
				b.start(layout(1), nil)
				b.await("asking", func() bool { return b.pi("t-000").Stage == StageDHCP })
				time.Sleep(time.Second)
				for _, s := range tc.seen {
					s.Client = client
					b.see(Observation{TFTP: &s})
				}
				b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled })
				if d := b.pi("t-000").Diagnosis; d.At != tc.stage || d.Fault != tc.fault || !strings.Contains(d.Cause, tc.says) {
					t.Errorf("%+v", d)
				}
				b.stop()
			})
		})
	}
}

func TestPowerLostWhileStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.stallAt("t-000", StageKernel)
		b.start(layout(1), nil)
		b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled })
		r := b.reading()
		r.Ports[0].Delivering, r.Ports[0].Detection = false, "searching"
		b.see(Observation{Switch: r})
		if p := b.pi("t-000"); p.Stage == StageStalled {
			t.Errorf("it lost its power and is still said to hang: %s", p.Diagnosis.Cause)
		}
		b.stop()
	})
}

// A boot loader that ignores its offers asks for ever: that is no progress.
func TestAskingForEverIsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.stallAt("t-000", StageDHCP)
		b.start(layout(1), nil)
		ask := func() {
			b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "discover", ROM: true, Model: Model4B}})
		}
		for range 90 {
			ask()
			b.see(Observation{DHCP: &DHCPSeen{Segment: "s0", Kind: "offer"}})
		}
		if p := b.pi("t-000"); p.Stage != StageStalled || p.Diagnosis.Fault != "offer-ignored" {
			t.Fatalf("after three minutes: %s %+v", p.Stage, p.Diagnosis)
		}
		ask()
		if s := b.pi("t-000").Stage; s != StageStalled {
			t.Errorf("one more DISCOVER made it %s", s)
		}
		b.see(Observation{TFTP: &TFTPSeen{Client: segment(0).Addr.Addr(), Kind: "requested", Name: "start4.elf"}})
		if s := b.pi("t-000").Stage; s != StageFirmware {
			t.Errorf("it asks for a file and is %s", s)
		}
		b.stop()
	})
}

// A power cut took server and switch: the job that waited for the boot powers
// the port again.
func TestBootStepPowersAgainWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("booting", func() bool { j := b.pi("t-000").Job; return j != nil && j.Step == stepBoot })
		b.stop()
		b.mu.Lock()
		clear(b.on)
		b.mu.Unlock()
		b.start(layout(1), nil)
		b.awaitAll(StageUp)
		b.stop()
	})
}

// A Pi that should be on and is not is a fault, until it is powered.
func TestOffThatShouldBeOnIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		if err := b.act(VerbOff, "t-001", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		clear(b.on)
		clear(b.up)
		b.mu.Unlock()
		b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled })
		time.Sleep(2 * time.Minute)
		if p := b.pi("t-000"); p.Stage != StageStalled || p.Diagnosis.Fault != "not-powered" {
			t.Errorf("switched off elsewhere: %s %+v", p.Stage, p.Diagnosis)
		}
		if p := b.pi("t-001"); p.Stage != StageOff {
			t.Errorf("switched off by a verb: %s", p.Stage)
		}
		if err := b.act(VerbOn, "t-000", GuardNone, ""); err != nil {
			t.Fatal(err)
		}
		b.await("up", func() bool { return b.pi("t-000").Stage == StageUp })
		b.stop()
	})
}
