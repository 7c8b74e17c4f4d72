package daemon_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/daemon/acts"
)

// What is done beside the service, and what it is told by a signal, is in its
// audit, too.
func TestActsBesideTheVerbs(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	s := openDoors(t)
	s.heard()
	act := acts.Act{Actor: "root", Source: "shell, sudo by alice", Key: "uid:0", Verb: "image-remove", Target: "trixie", Reason: "too old"}
	inUse := errors.New("in use by 3 roots")
	if err := acts.Do(s.cfg.State, act, func() error { return inUse }); !errors.Is(err, inUse) {
		t.Fatal(err)
	}
	if err := s.d.Reload(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	s.awaitRow("root", func(r engine.AuditRow) bool {
		return r.Verb == act.Verb && r.Target == act.Target && r.Reason == act.Reason && r.Source == act.Source && r.Key == act.Key &&
			strings.HasPrefix(r.Result, "failed: in use") && !r.Ended.Before(r.Time)
	})
	s.awaitRow("-", func(r engine.AuditRow) bool {
		return r.Verb == "reload" && r.Source == "signal" && strings.HasPrefix(r.Result, "ok: 7 segments")
	})
}

func (s *doors) awaitRow(actor string, fits func(engine.AuditRow) bool) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if slices.ContainsFunc(s.acts(actor), fits) {
			return
		}
	}
	s.t.Errorf("not in the audit of %s: %+v", actor, s.acts(actor))
}
