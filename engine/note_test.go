package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An act that is done beside the verbs is in the audit before it and after it,
// and told to viewers; what the store does not take must not be done.
func TestNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		row := AuditRow{Actor: "root", Source: "shell", Key: "uid:0", Verb: "reload", Target: "rack.toml", Reason: "a\x1bb"}
		id, err := b.e.Note(t.Context(), row)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.mem.auditRow(id); got.Verb != "reload" || !got.Ended.IsZero() || got.Reason != "a?b" || got.Time.IsZero() {
			t.Errorf("before: %+v", got)
		}
		time.Sleep(time.Second)
		row.ID, row.Result = id, "ok"
		if _, err := b.e.Note(t.Context(), row); err != nil {
			t.Error(err)
		}
		if got := b.mem.auditRow(id); got.Result != "ok" || got.Ended.Sub(got.Time) != time.Second {
			t.Errorf("after: %+v", got)
		}
		if _, err := b.e.Note(t.Context(), row); !errors.Is(err, ErrNoAct) {
			t.Errorf("closed twice: %v", err)
		}
		began := time.Now().Add(-time.Hour)
		id, err = b.e.Note(t.Context(), AuditRow{Verb: "restore", Time: began, Result: "ok"})
		if got := b.mem.auditRow(id); err != nil || !got.Time.Equal(began) || got.Ended.IsZero() {
			t.Errorf("of the past: %+v, %v", got, err)
		}
		time.Sleep(time.Second)
		if s := b.e.Snapshot(); len(s.Log) == 0 || !strings.HasPrefix(s.Log[0].Text, "restore") {
			t.Errorf("log %+v", s.Log)
		}

		b.failStore(errors.New("disk full"))
		if _, err := b.e.Note(t.Context(), AuditRow{Verb: "reload"}); !errors.Is(err, errStore) {
			t.Errorf("with a store that takes nothing: %v", err)
		}
		b.failStore(nil)
		b.stop()
		for _, r := range b.mem.audit {
			if r.Ended.IsZero() {
				t.Errorf("left open: %+v", r)
			}
		}
	})
}

// The row of an act that nobody can tell the end of any more is closed.
func TestNoteOfAServiceThatDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.mem.audit[3] = AuditRow{ID: 3, Time: time.Now(), Verb: "reload"}
		b.start(layout(1), nil)
		b.awaitAll(StageUp)
		b.stop()
		if got := b.mem.audit[3]; got.Ended.IsZero() || !strings.HasPrefix(got.Result, "not told") {
			t.Errorf("%+v", got)
		}
	})
}

func (m *memory) auditRow(id int64) AuditRow {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.audit[id]
}
