package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What an examination finds is shown until the next one, failures first, and
// a failure is logged once.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		examined := func(f ...HealthFinding) *Snapshot {
			b.e.Observe(Observation{Time: time.Now(), Health: &HealthSeen{f}})
			time.Sleep(time.Second)
			synctest.Wait()
			return b.e.Snapshot()
		}
		old := HealthFinding{Check: "backup", Text: "3 days old", Remedy: "picloud backup FILE"}
		blocked := HealthFinding{Check: "vlan", Subject: "sw1/4", Failure: true, Text: "VLAN\x1b 7"}
		want := []string{"sw1/4: VLAN? 7", "3 days old (picloud backup FILE)"}
		for range 2 {
			if w := examined(old, blocked).Warnings; !slices.Equal(w, want) {
				t.Errorf("%q, want %q", w, want)
			}
		}
		said := 0
		for _, l := range b.e.Snapshot().Log {
			if strings.Contains(l.Text, want[0]) {
				said++
			}
		}
		if said != 1 {
			t.Errorf("logged %d times", said)
		}
		var many []HealthFinding
		for i := range 3 * shownFindings {
			many = append(many, HealthFinding{Subject: fmt.Sprint(i), Text: "broken", Failure: true})
		}
		if w := examined(many...).Warnings; len(w) != shownFindings+1 || !strings.Contains(w[shownFindings], "40 more") {
			t.Errorf("%q", w)
		}
		if w := examined().Warnings; len(w) != 0 {
			t.Errorf("warnings stay: %q", w)
		}
	})
}
