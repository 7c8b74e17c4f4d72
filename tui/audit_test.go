package tui

import (
	"fmt"
	"testing"
	"time"

	"picloud/engine"
)

func acts(from, n int64) []engine.AuditRow {
	var out []engine.AuditRow
	for id := from; id > from-n; id-- {
		out = append(out, engine.AuditRow{
			ID: id, Time: epoch.Add(-time.Hour), Actor: "bob", Source: "ssh", Key: fmt.Sprintf("SHA256:key-%d", id), Verb: "cycle",
			Target: "a3-002", Reason: fmt.Sprintf("reason %d", id), Result: "ok", Ended: epoch,
		})
	}
	return out
}

// TestAuditPages scrolls to the very first act, while others are done: nothing
// is left out, and no row moves under the reader's eyes.
func TestAuditPages(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.audit = acts(950, 950)
		c.press("5")
		c.wants("200 acts", "reason 950", "key SHA256:key-950")
		seen := map[int64]bool{}
		for range 949 {
			seen[c.m.audit.selected().ID] = true
			c.press("down")
		}
		seen[c.m.audit.selected().ID] = true
		for id := int64(1); id <= 950; id++ {
			if !seen[id] {
				t.Fatalf("act %d was left out", id)
			}
		}
		c.wants("950 acts, all", "reason 1", "key SHA256:key-1,")
		before := c.screen()
		c.f.audit = append(acts(1000, 50), c.f.audit...)
		c.wait(2 * auditLater)
		if after := c.screen(); after != before {
			t.Errorf("the rows moved:\n%s\n%s", before, after)
		}
		c.press("g")
		c.wait(auditLater)
		c.wants("reason 1000", "1000 acts, all")
		c.press("down", "down")
		c.wants("reason 998")
		c.f.audit = append(acts(1001, 1), c.f.audit...)
		c.wait(auditLater)
		c.wants("reason 998", "1001 acts, all") // the cursor stays with its row
		c.press("g")
		c.f.audit = append(acts(2000, 999), c.f.audit...) // more than a page: the two do not meet
		c.wait(auditLater)
		c.wants("reason 2000", "200 acts")
	})
}

// TestAuditFollows sees an act begin and end.
func TestAuditFollows(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.audit = acts(300, 300)
		c.press("5")
		c.f.audit = append(acts(301, 1), c.f.audit...)
		c.f.audit[0].Result, c.f.audit[0].Ended = "", time.Time{}
		logged := func(text string) {
			c.change(func(s *engine.Snapshot) {
				s.Log = append([]engine.LogLine{{ID: s.Log[0].ID + 1, Time: epoch, Actor: "bob", Text: text}}, s.Log...)
			})
		}
		c.wait(auditSoon)
		logged("cycle")
		c.wait(auditSoon)
		c.wants("not over", "reason 301")
		c.f.audit[0].Result, c.f.audit[0].Ended = "failed: the switch is silent", epoch
		logged("cycle failed")
		c.wait(auditSoon)
		c.wants("failed: the switch is silent")
		c.wantsNot("not over")
		c.f.fail = fmt.Errorf("database is locked")
		c.wait(auditLater)
		c.wants("the audit cannot be read", "reason 301")
		c.f.fail = nil
		c.wait(auditLater)
		c.wantsNot("cannot be read")
	})
}

// TestAuditActsOnNothing presses the verbs' keys on the audit, and opens the Pi
// of an act.
func TestAuditActsOnNothing(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.audit = acts(3, 3)
		c.press("5")
		for _, v := range engine.Verbs() {
			if v.Key != "" {
				c.press(v.Key, "y", "enter")
				c.press("esc", ":")
				c.typeText("audit")
				c.press("enter")
			}
		}
		c.wait(10 * time.Second)
		c.none()
		c.press("enter")
		c.wants("a3-002  sw")
		c.press("esc")
		c.wants("audit, newest first")
		c.f.audit[0].Target = "alice"
		c.wait(auditLater)
		c.press("g", "enter")
		c.wants("audit, newest first") // an operator has no page
	})
}

// TestAuditOfALateAnswer drops a page that belongs to a list from before.
func TestAuditOfALateAnswer(t *testing.T) {
	l := auditList{rows: acts(1000, 200)}
	l.got(auditMsg{before: 601, rows: acts(600, 200)})
	if len(l.rows) != 200 {
		t.Errorf("%d rows, want the 200 that join", len(l.rows))
	}
	l.got(auditMsg{before: 801, rows: acts(800, 200)})
	if len(l.rows) != 400 || l.rows[399].ID != 601 {
		t.Errorf("%d rows", len(l.rows))
	}
}

// TestAuditIsBounded keeps no more rows than it may, and says where the others
// are.
func TestAuditIsBounded(t *testing.T) {
	drive(t, testRack(), Options{}, func(c *console) {
		c.f.audit = acts(2*maxAudit, 2*maxAudit)
		c.press("5")
		for range maxAudit / 100 {
			c.press("G")
		}
		if n := len(c.m.audit.rows); n != maxAudit {
			t.Errorf("%d rows", n)
		}
		c.wants("picloud audit has those before")
	})
}
