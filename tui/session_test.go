package tui

import (
	"testing"
	"time"

	"picloud/engine"
)

// TestRoleChangesWhileOpen lowers an operator in the middle of a count-down
// and raises them again.
func TestRoleChangesWhileOpen(t *testing.T) {
	as := func(r engine.Role) engine.Actor { a := alice; a.Role = r; return a }
	drive(t, testRack(), Options{}, func(c *console) {
		actors := engine.NewMailbox[engine.Actor]() // of this bubble
		c.m.opts.Actors = actors.C()
		c.run(c.m.waitActor())
		c.sel("a3-002")
		c.press("c")
		actors.Put(as(engine.RoleViewer))
		c.wait(10 * time.Second)
		c.none()
		c.wants("nothing was done to a3-002")
		c.press("c")
		c.wants("your role (viewer) may not")
		actors.Put(as(engine.RoleAdmin))
		c.wait(time.Second)
		c.press("c")
		c.wait(3 * time.Second)
		if got := c.one().Actor.Role; got != engine.RoleAdmin {
			t.Errorf("acted as %v", got)
		}
	})
}

// TestLeaves has nobody press a key for half an hour, and before that somebody.
func TestLeaves(t *testing.T) {
	drive(t, testRack(), Options{Leave: 30 * time.Minute}, func(c *console) {
		c.wait(29*time.Minute + 2*time.Second)
		c.wants("closes within a minute")
		c.press("j")
		c.wait(29 * time.Minute)
		if c.quit {
			t.Fatal("left too early")
		}
		c.wait(61 * time.Second)
		if !c.quit {
			t.Error("still there")
		}
	})
	drive(t, testRack(), Options{}, func(c *console) {
		c.wait(40 * time.Minute)
		if c.quit {
			t.Error("left without being told to")
		}
	})
}

// TestSizes makes the terminal larger and smaller.
func TestSizes(t *testing.T) {
	drive(t, testRack(), Options{Width: 60, Height: 20}, func(c *console) {
		sizes := engine.NewMailbox[Size]() // of this bubble
		c.m.opts.Sizes = sizes.C()
		c.run(c.m.waitSize())
		for _, size := range []Size{{100, 30}, {39, 9}, {80, 24}} {
			sizes.Put(size)
			c.settle()
			if c.m.lay.w != size.Width || c.m.lay.h != size.Height {
				t.Errorf("drawn for %dx%d, want %v", c.m.lay.w, c.m.lay.h, size)
			}
		}
	})
}
