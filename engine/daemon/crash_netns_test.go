//go:build netns

package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
)

// TestKilledInMidMove kills the serving process at moments spread over a move of
// a customer's server, and starts it again: each time the server ends on the
// other Pi, alone there, with the root that it had.
func TestKilledInMidMove(t *testing.T) {
	const server = "shop"
	path, state := crashRack(t, func(c *config.Config) {
		c.Servers = []config.Server{{Name: server, Owner: "customer", Pi: engine.PiName(c.Segments[0].Name)}}
	})
	c := startChild(t, path)
	defer func() { c.kill() }()
	c.await("both up", settledUp)
	at := func(pis []childPi) int { // where the server is, -1 = nowhere, or on both
		found := -1
		for i, p := range pis {
			if p.Server == server {
				if found >= 0 {
					return -1
				}
				found = i
			}
		}
		return found
	}
	if at(c.last) != 0 {
		t.Fatalf("the server is not where it was put: %+v", c.last)
	}
	root := c.last[0].Root
	marker := filepath.Join(state, "volumes", root, "root", "marker")
	if err := os.WriteFile(marker, []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for round, cut := range []struct {
		asked bool          // from when the move was asked for, else from when its job is seen
		delay time.Duration // in milliseconds
	}{
		{true, 1}, {true, 4}, {true, 8}, {true, 15}, {true, 30}, {true, 60}, {true, 110},
		{false, 0}, {false, 50}, {false, 200}, {false, 600}, {false, 1800},
	} {
		from := at(c.last)
		c.do("move " + c.last[from].Name)
		if !cut.asked {
			c.await("the job", func(pis []childPi) bool { return pis[0].Job != 0 || pis[1].Job != 0 || at(pis) == 1-from })
		}
		time.Sleep(cut.delay * time.Millisecond)
		c.kill()
		for _, p := range c.last {
			seen[p.Step] = true
		}

		c = startChild(t, path)
		what := fmt.Sprintf("round %d: the server is up", round)
		c.await(what, func(pis []childPi) bool {
			here := at(pis)
			return len(pis) == crashPis && pis[0].Job == 0 && pis[1].Job == 0 && here >= 0 && pis[here].Stage == "up" &&
				(here != from || cut.asked) // else it had begun, and goes on
		})
		here := at(c.last)
		if got := c.last[here].Root; got != root || c.last[1-here].Root == root {
			t.Errorf("%s: its root is %q and that of the other Pi %q, want %q and another", what, got, c.last[1-here].Root, root)
		}
		if got, err := os.ReadFile(marker); err != nil || string(got) != root {
			t.Errorf("%s: the root lost a file: %q, %v", what, got, err)
		}
		// The other Pi is where it goes next.
		c.await(fmt.Sprintf("round %d: both up", round), settledUp)
	}
	t.Logf("steps that were seen before a kill: %v", seen)
}

// TestKilledInMidResize kills the serving process while a root on btrfs grows.
func TestKilledInMidResize(t *testing.T) {
	path, state := crashRack(t, func(c *config.Config) {
		c.Volumes.Driver, c.Volumes.DiskGB = "btrfs", 1
		mountBtrfs(t, c.State)
		c.Images = []config.Image{{Name: config.BuiltinImage}}
		for i := range c.Segments {
			c.Segments[i].Image = config.BuiltinImage
		}
	})
	c := startChild(t, path)
	defer func() { c.kill() }()
	c.await("both up", settledUp)
	name, root := c.last[0].Name, c.last[0].Root
	marker := filepath.Join(state, "volumes", root, "root", "marker")
	if err := os.WriteFile(marker, []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	for round, delay := range []time.Duration{0, 3, 15} {
		former := int64(10+round) * 1e8
		size := former + 1e8
		c.do(fmt.Sprintf("resize %s %d", name, size))
		time.Sleep(delay * time.Millisecond)
		c.kill()

		c = startChild(t, path)
		c.await(fmt.Sprintf("round %d: up, and its size is told", round), func(pis []childPi) bool {
			return settledUp(pis) && pis[0].Size > 0
		})
		if got := c.last[0]; got.Root != root || got.Size != size && got.Size != former {
			t.Errorf("round %d: root %q of %d bytes, want %q of %d or %d", round, got.Root, got.Size, root, former, size)
		}
		if got, err := os.ReadFile(marker); err != nil || string(got) != root {
			t.Errorf("round %d: the root lost a file: %q, %v", round, got, err)
		}
		// One that was not begun is done now.
		c.bears = "its root has that size"
		c.do(fmt.Sprintf("resize %s %d", name, size))
		c.await(fmt.Sprintf("round %d: resized", round), func(pis []childPi) bool { return settledUp(pis) && pis[0].Size == size })
	}
}
