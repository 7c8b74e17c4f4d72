package api

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	b := backoff{free: 3, longest: time.Minute}
	for wrong, want := range map[int]time.Duration{
		0: 0, 3: 0, 4: time.Second, 5: 2 * time.Second, 9: 32 * time.Second, 10: time.Minute, 1 << 40: time.Minute,
	} {
		if got := b.after(wrong); got != want {
			t.Errorf("after %d wrong ones: %s, want %s", wrong, got, want)
		}
	}
}

func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evil, evil2, other := netip.MustParseAddr("2001:db8:1:1::7"), netip.MustParseAddr("2001:db8:1:1:ffff::9"), netip.MustParseAddr("192.0.2.1")
		g := newGuesses()
		for range sourceBackoff.free {
			g.wrong(evil, "")
		}
		if w := g.wait(evil, ""); w != 0 {
			t.Errorf("free ones cost %s", w)
		}
		g.wrong(evil, "")
		if w := g.wait(evil2, "any"); w != time.Second {
			t.Errorf("another address of its network waits %s", w)
		}
		if w := g.wait(other, "any"); w != 0 {
			t.Errorf("another source waits %s", w)
		}
		time.Sleep(time.Second)
		if n := g.wrong(evil, ""); n != sourceBackoff.free+2 || g.wait(evil, "") != 2*time.Second {
			t.Errorf("wrong number %d waits %s", n, g.wait(evil, ""))
		}
		time.Sleep(forgotten + time.Second)
		if n := g.wrong(evil, ""); n != 1 {
			t.Errorf("after an hour it is number %d", n)
		}
	})
}

// Many sources that guess one key's secret wait, and so does its owner at a new
// address, but not where the secret was right before.
func TestGuessesOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses()
		home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		g.right(home, "k1")
		for i := range 1000 {
			g.wrong(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), "k1")
		}
		if w := g.wait(home, "k1"); w != 0 {
			t.Errorf("the owner waits %s", w)
		}
		if w := g.wait(away, "k1"); w != secretBackoff.longest {
			t.Errorf("a new address waits %s", w)
		}
		if w := g.wait(away, "k2"); w != 0 {
			t.Errorf("another key waits %s", w)
		}
	})
}

func TestGuessesAreBounded(t *testing.T) {
	g := newGuesses()
	for i := range 2 * maxGuessers {
		g.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "")
	}
	if n := g.sources.Len(); n != maxGuessers {
		t.Errorf("%d sources are kept in mind", n)
	}
}
