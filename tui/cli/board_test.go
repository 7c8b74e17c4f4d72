package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
)

// A board heard at another place than its own is said to be that one's, with what
// to do, for people and for scripts.
func TestMovedBoardIsSaid(t *testing.T) {
	rackTest(t, func(b *bench) {
		home := b.pi("a3-005")
		b.e.Observe(engine.Observation{Time: time.Now(), DHCP: &engine.DHCPSeen{Segment: "v004", Kind: "unknown", MAC: home.MAC, ROM: true}})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for line, want := range map[string]string{
			"pi show a3-004":        "the board of a3-005, " + home.MAC.String(),
			"pi show a3-004 --json": `"pi": "a3-005"`,
			"pi list":               "the board of a3-005 was heard here: moved?",
		} {
			if out := b.run(line).out; !strings.Contains(out, want) {
				t.Errorf("%s says nothing of %q:\n%s", line, want, out)
			}
		}
	})
}
