package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// heard is the board of one place, asking at another.
func (b *bench) heard(segment string, mac MAC) {
	b.t.Helper()
	b.see(Observation{DHCP: &DHCPSeen{Segment: segment, Kind: "unknown", MAC: mac, Model: Model4B, Serial: 0xabc, ROM: true}})
}

// A board that is known at another place is shown as that one's, taken only when
// it is gone from there, and then missed there, also after a restart with the
// configuration of before.
func TestMovedBoardIsAskedAboutAndAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3, nil)
		b.awaitAll(StageUp)
		board := b.pi("t-001").MAC
		b.heard("s0", MAC{9})
		if p := b.pi("t-000"); p.SeenIs != "" {
			t.Errorf("a board that nobody knows is %s's", p.SeenIs)
		}
		time.Sleep(time.Minute)
		b.heard("s0", board)
		if p := b.pi("t-000"); p.SeenIs != "t-001" || !strings.Contains(b.e.Snapshot().Log[0].Text, "the one of t-001: moved here?") {
			t.Errorf("its board is heard, and seen is %q: %s", p.SeenIs, b.e.Snapshot().Log[0].Text)
		}
		err := b.act(VerbAdopt, "t-000", GuardName, "t-000")
		if !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), "sw1/2 still powers one") {
			t.Errorf("adopted while t-001 runs: %v", err)
		}
		b.mustAct(VerbOff, "t-001")
		b.await("off", func() bool { return b.pi("t-001").Stage == StageOff && b.pi("t-001").Job == nil })

		b.failStore(errors.New("disk full"))
		if err := b.act(VerbAdopt, "t-000", GuardName, "t-000"); err == nil {
			t.Error("adopted without a store")
		}
		b.failStore(nil)
		if b.pi("t-001").MAC != board || b.pi("t-000").MAC == board {
			t.Error("what could not be written down was done")
		}
		time.Sleep(time.Second)
		b.mustAct(VerbAdopt, "t-000")
		check := func() {
			t.Helper()
			home, p := b.pi("t-001"), b.pi("t-000")
			if p.MAC != board || p.SeenIs != "" || p.Serial != 0xabc {
				t.Errorf("adopted: %s serial %x, seen is %q", p.MAC, p.Serial, p.SeenIs)
			}
			if home.MAC != (MAC{}) || home.Serial != 0 || home.Life != LifeNew {
				t.Errorf("where it was: %s serial %x, %s", home.MAC, home.Serial, home.Life)
			}
			if e, _ := b.e.BootTable().Segment("s1"); e.MAC != (MAC{}) {
				t.Errorf("%s would still be answered at t-001", e.MAC)
			}
		}
		check()
		b.stop()
		b.start(layout(3), nil)
		b.await("seen", func() bool { return b.pi("t-001").Stage == StageOff })
		p := b.pi("t-000")
		if p.MAC != board || b.pi("t-001").MAC != (MAC{}) {
			t.Errorf("after a restart: %s and %s", p.MAC, b.pi("t-001").MAC)
		}
		b.stop()
	})
}

// Two boards that were exchanged are both powered where they are now.
func TestExchangedBoardsAreAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		one, two := b.pi("t-000").MAC, b.pi("t-001").MAC
		b.heard("s0", two)
		b.heard("s1", one)
		b.mustAct(VerbAdopt, "t-000")
		if s := b.pi("t-001").SeenIs; s != "" {
			t.Errorf("the board that t-000 gave up is still %s's", s)
		}
		b.mustAct(VerbAdopt, "t-001")
		if b.pi("t-000").MAC != two || b.pi("t-001").MAC != one {
			t.Errorf("%s and %s", b.pi("t-000").MAC, b.pi("t-001").MAC)
		}
		b.awaitAll(StageUp)
		b.stop()
	})
}

// Whoever sends another's address gets nothing of it while that one is there, and
// not for what was heard there long ago.
func TestForgedBoardIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		b.heard("s1", MAC{9})
		time.Sleep(swappedFor)
		b.heard("s0", b.pi("t-001").MAC)
		if err := b.act(VerbAdopt, "t-000", GuardName, "t-000"); !errors.Is(err, ErrNotNow) {
			t.Errorf("adopted: %v", err)
		}
		b.stop()
	})
}
