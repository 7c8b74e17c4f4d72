package demo

import "testing"

// A port that a connection may have had is not one that every simulated Pi can
// listen at.
func TestFreePortsAreNoConnections(t *testing.T) {
	first, err := firstEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		c, err := FreePorts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint16]bool{}
		for _, p := range []uint16{c.DHCP, c.SSH, c.Report} {
			if p < leastPort || int(p) >= first || seen[p] {
				t.Errorf("%+v: want three ports from %d to %d", c, leastPort, first-1)
			}
			seen[p] = true
		}
	}
}

func TestNoFreePorts(t *testing.T) {
	if _, _, err := freeBelow(t.Context(), 1024); err == nil {
		t.Error("a port is found where connections get all of them")
	}
}
