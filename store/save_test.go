package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

func TestSaveReplacesRows(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	c := everything()
	pi := c.Pis[0]
	pi.Server, pi.Segment.Port, pi.MAC, pi.Segment.Server = "", engine.PortID{}, engine.MAC{}, c.Pis[1].Segment.Server
	server := engine.Server{Name: "web1", Owner: "eve", Keys: []string{"one"}}
	job := c.Jobs[0]
	job.Steps = []engine.Step{{Name: "only", State: engine.StepWaiting}}
	volume := c.Volumes[0]
	volume.State = engine.VolumeRemoved
	boot := c.Boots[1]
	boot.Cause = ""
	save(t, s, engine.Changes{
		Pis: []engine.Pi{pi}, RemovePis: []engine.PiName{"a3-002", "nobody"}, Servers: []engine.Server{server},
		Jobs: []engine.Job{job}, Volumes: []engine.Volume{volume}, Boots: []engine.Boot{boot},
	})
	want := stateOf(everything())
	want.Pis = []engine.Pi{pi}
	want.Servers[0] = server
	want.Jobs[0] = job
	want.Volumes = want.Volumes[1:]
	if diff := cmp.Diff(want, loaded(t, s), equal); diff != "" {
		t.Error(diff)
	}
	boots := must(s.Boots(t.Context(), "a3-001", 1))
	if len(boots) != 1 || boots[0].Cause != "" || len(boots[0].Events) != 1 {
		t.Errorf("boot is %+v, want no cause and still its event", boots)
	}
}

// Each of these breaks one rule; none may leave a trace of what came with it.
func TestSaveRefusesAndStoresNothing(t *testing.T) {
	c := everything()
	closed := c.Audit[1]
	closed.Result = "done"
	changed := c.Audit[0]
	changed.Target, changed.Result, changed.Ended = "a3-002", "done", at(9)
	half := c.Audit[0]
	half.Result = "done"
	for name, bad := range map[string]struct {
		changes engine.Changes
		want    string
	}{
		"life":             {engine.Changes{Pis: []engine.Pi{{Name: "x", Life: "happy"}}}, "pi x"},
		"no life":          {engine.Changes{Pis: []engine.Pi{{Name: "x"}}}, "pi x"},
		"pi name":          {engine.Changes{Pis: []engine.Pi{{Life: engine.LifeNew}}}, "pi ?"},
		"pi's server":      {engine.Changes{Pis: []engine.Pi{{Name: "x", Life: engine.LifeLive, Server: "gone"}}}, "pi x: server gone"},
		"pi's switch":      {engine.Changes{Pis: []engine.Pi{{Name: "x", Life: engine.LifeNew, Segment: engine.Segment{Port: engine.PortID{Switch: "gone", Port: 1}}}}}, "pi x"},
		"volume state":     {engine.Changes{Volumes: []engine.Volume{{Name: "x", State: "lost"}}}, "volume x"},
		"job state":        {engine.Changes{Jobs: []engine.Job{{ID: 9, State: "odd", Created: at(1)}}}, "job 9"},
		"job number":       {engine.Changes{Jobs: []engine.Job{{State: engine.JobQueued, Created: at(1)}}}, "job 0"},
		"step state":       {engine.Changes{Jobs: []engine.Job{{ID: 9, State: engine.JobQueued, Created: at(1), Steps: []engine.Step{{State: "odd"}}}}}, "step 9/0"},
		"boot stage":       {engine.Changes{Boots: []engine.Boot{{ID: 9, Started: at(1), Reached: 99}}}, "boot 9"},
		"event stage":      {engine.Changes{Events: []engine.BootLine{{Boot: 1, Seq: 7, BootEvent: engine.BootEvent{Time: at(1), Stage: 99}}}}, "boot event 1/7"},
		"event of no boot": {engine.Changes{Events: []engine.BootLine{{Boot: 77, BootEvent: engine.BootEvent{Time: at(1)}}}}, "boot event 77/0"},
		"event again":      {engine.Changes{Events: c.Events[:1]}, "boot event 1/0"},
		"line again":       {engine.Changes{Log: c.Log[:1]}, "log line 1"},
		"line without time": {
			engine.Changes{Log: []engine.LogLine{{ID: 9}}}, "log line 9",
		},
		"audit closed twice": {engine.Changes{Audit: []engine.AuditRow{closed}}, "closed only once"},
		"audit changed":      {engine.Changes{Audit: []engine.AuditRow{changed}}, "only be closed"},
		"audit open again":   {engine.Changes{Audit: c.Audit[:1]}, "only be closed"},
		"audit half closed":  {engine.Changes{Audit: []engine.AuditRow{half}}, "audit row 1"},
		"port of no switch":  {engine.Changes{Ports: []engine.PortRow{{Port: engine.PortID{Switch: "gone", Port: 1}, At: at(1)}}}, "port gone/1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{})
			save(t, s, everything())
			// What comes with the bad row is written before and after it.
			with := bad.changes
			with.Switches = append(with.Switches, engine.Switch{Name: "sw9", Ports: 1})
			with.Images = append(with.Images, engine.Image{Name: "extra"})
			with.Log = append(with.Log, engine.LogLine{ID: 1000, Time: at(9)})
			err := s.Save(t.Context(), with)
			if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.HasPrefix(err.Error(), "store: save: ") {
				t.Errorf("error is %v, want %q in it", err, bad.want)
			}
			checkEverything(t, s)
			save(t, s, engine.Changes{Log: []engine.LogLine{{ID: 3, Time: at(3)}}}) // and it goes on
		})
	}
}

func TestAuditIsClosedOnce(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	row := everything().Audit[0]
	row.Result, row.Ended = "done", at(60)
	save(t, s, engine.Changes{Audit: []engine.AuditRow{row}})
	if open := loaded(t, s).Open; len(open) != 0 {
		t.Errorf("still open: %+v", open)
	}
	if diff := cmp.Diff(row, must(s.Audit(t.Context(), 2, 1))[0]); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{
		"DELETE FROM audit", "UPDATE audit SET actor = 'eve'", "UPDATE audit SET ended = NULL, result = ''",
	} {
		if err := s.writer.say(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// cancelled is over after its cause was asked for n times.
type cancelled struct {
	context.Context
	left int
}

func (c *cancelled) Done() <-chan struct{} {
	never := make(chan struct{})
	return never
}

func (c *cancelled) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancelledSaveStoresNothing(t *testing.T) {
	s := openNew(t, Options{})
	stored := false
	n := 0
	for ; !stored; n++ {
		err := s.Save(&cancelled{t.Context(), n}, everything())
		stored = err == nil
		if !stored && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if !stored && rows(t, s, "switches")+rows(t, s, "ports")+rows(t, s, "log") > 0 {
			t.Fatalf("cancelled after %d rows, and something is stored", n)
		}
	}
	if n < 20 {
		t.Errorf("the context was looked at %d times only", n)
	}
	checkEverything(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the service stops")
	cancel(cause)
	if err := s.Save(ctx, engine.Changes{}); !errors.Is(err, cause) {
		t.Errorf("error is %v, want the cause", err)
	}
}

func TestDiskFull(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	if err := s.writer.say("PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	long := engine.Changes{Audit: []engine.AuditRow{{ID: 3, Time: at(3), Target: strings.Repeat("x", 1<<20)}}}
	if err := s.Save(t.Context(), long); !errors.Is(err, ErrFull) {
		t.Errorf("error is %v, want ErrFull", err)
	}
	checkEverything(t, s)
	if err := s.writer.say("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	save(t, s, long)
}

func TestAnotherProgramHoldsTheLock(t *testing.T) {
	s := openNew(t, Options{})
	if err := s.writer.say("PRAGMA busy_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	shell := rawOpen(t, s.path)
	if _, err := shell.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), everything()); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), hintBusy) {
		t.Errorf("error is %v, want ErrInUse", err)
	}
	if _, err := shell.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	save(t, s, everything())
	checkEverything(t, s)
}

func TestSyncFollowsWhatIsSaved(t *testing.T) {
	s := openNew(t, Options{})
	c := everything()
	full, normal := 2, 1
	for _, step := range []struct {
		changes engine.Changes
		want    int
	}{
		{c, full},
		{engine.Changes{Boots: c.Boots, Ports: c.Ports, Log: []engine.LogLine{{ID: 9, Time: at(1)}}}, normal},
		{engine.Changes{Jobs: c.Jobs[:1]}, full},
		{engine.Changes{Events: []engine.BootLine{{Boot: 1, Seq: 9, BootEvent: engine.BootEvent{Time: at(1)}}}}, normal},
		{engine.Changes{RemovePis: []engine.PiName{"a3-002"}}, full},
		{engine.Changes{Audit: []engine.AuditRow{{ID: 9, Time: at(1)}}, Boots: c.Boots}, full},
		{engine.Changes{
			Notices:    []engine.Notice{{ID: 3, Time: at(1), Account: "acme", Kind: engine.NoticeUp}},
			Deliveries: []engine.Delivery{{Notice: 3, Webhook: "w1", Next: at(1)}}, ForgetOnces: at(1),
		}, normal},
		{engine.Changes{Accounts: c.Accounts[:1]}, full},
		{engine.Changes{Log: []engine.LogLine{{ID: 10, Time: at(1)}}}, normal},
		{engine.Changes{APIKeys: c.APIKeys[:1]}, full},
		{engine.Changes{Log: []engine.LogLine{{ID: 11, Time: at(1)}}}, normal},
		{engine.Changes{Webhooks: c.Webhooks[:1]}, full},
		{engine.Changes{Log: []engine.LogLine{{ID: 12, Time: at(1)}}}, normal},
		{engine.Changes{RemoveWebhooks: []string{"w2"}}, full},
		{engine.Changes{Log: []engine.LogLine{{ID: 13, Time: at(1)}}}, normal},
		{engine.Changes{Onces: c.Onces[:1]}, full},
		{engine.Changes{Log: []engine.LogLine{{ID: 14, Time: at(1)}}}, normal},
		{engine.Changes{Ledger: []engine.LedgerRow{{ID: 4, Time: second(99), Kind: engine.LedgerStart, Account: "acme", Server: "x"}}}, full},
	} {
		save(t, s, step.changes)
		var got int
		if err := s.writer.conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != step.want {
			t.Errorf("synchronous is %d (%v), want %d", got, err, step.want)
		}
	}
}

func TestPruning(t *testing.T) {
	s := openNew(t, Options{KeepBoots: 3, KeepLog: 10})
	event := func(boot int64, seq int) engine.BootLine {
		return engine.BootLine{Boot: boot, Seq: seq, BootEvent: engine.BootEvent{Time: at(seq)}}
	}
	save(t, s, engine.Changes{
		Boots: []engine.Boot{{ID: 1, Pi: "other", Started: at(0)}}, Events: []engine.BootLine{event(1, 0)},
	})
	var c engine.Changes
	for id := int64(2); id <= 40; id++ {
		c.Boots = append(c.Boots, engine.Boot{ID: id, Pi: "a", Started: at(int(id))})
		c.Events = append(c.Events, event(id, 0), event(id, 1))
		c.Log = append(c.Log, engine.LogLine{ID: id, Time: at(int(id))})
		if id%5 == 0 { // several at once, and a rest of one
			save(t, s, c)
			c = engine.Changes{}
		}
	}
	save(t, s, engine.Changes{Boots: []engine.Boot{{ID: 40, Pi: "a", Started: at(40), Reached: engine.StageUp}}})
	var ids []int64
	for _, b := range must(s.Boots(t.Context(), "a", 100)) {
		ids = append(ids, b.ID)
		if len(b.Events) != 2 {
			t.Errorf("boot %d has %d events", b.ID, len(b.Events))
		}
	}
	if diff := cmp.Diff([]int64{40, 39, 38}, ids); diff != "" {
		t.Error(diff)
	}
	if n := rows(t, s, "boot_events"); n != 7 {
		t.Errorf("%d events are left, want 7", n)
	}
	if other := must(s.Boots(t.Context(), "other", 9)); len(other) != 1 || len(other[0].Events) != 1 {
		t.Errorf("the other Pi's boots are %+v", other)
	}
	lines := must(s.Log(t.Context(), 0, 100))
	if len(lines) != 10 || lines[0].ID != 40 || lines[9].ID != 31 {
		t.Errorf("%d lines, %d to %d", len(lines), lines[0].ID, lines[len(lines)-1].ID)
	}
	if last := loaded(t, s).LastID; last.Boot != 40 || last.Log != 40 {
		t.Errorf("last numbers are %+v", last)
	}
}

func TestHostileText(t *testing.T) {
	s := openNew(t, Options{})
	texts := []string{
		"nul\x00inside", "\xff\xfe not UTF-8", "'; DROP TABLE audit; --", "\x1b[2J", strings.Repeat("long ", 100_000), "\u202e",
	}
	var c engine.Changes
	c.Boots = []engine.Boot{{ID: 1, Pi: "a", Started: at(0)}}
	for i, text := range texts {
		c.Events = append(c.Events, engine.BootLine{Boot: 1, Seq: i, BootEvent: engine.BootEvent{Time: at(i), Evidence: text}})
	}
	save(t, s, c)
	for i, e := range must(s.Boots(t.Context(), "a", 1))[0].Events {
		if e.Evidence != texts[i] {
			t.Errorf("%.40q came back as %.40q", texts[i], e.Evidence)
		}
	}
}

func TestSlowSaveIsLogged(t *testing.T) {
	var log strings.Builder
	clock := start
	s := openNew(t, Options{
		Log: slog.New(slog.NewTextHandler(&log, nil)),
		Now: func() time.Time { clock = clock.Add(time.Second); return clock },
	})
	save(t, s, everything())
	if !strings.Contains(log.String(), "slow to save") || !strings.Contains(log.String(), "took=1s") {
		t.Errorf("log is %q", log.String())
	}
}

func TestPaging(t *testing.T) {
	s := openNew(t, Options{})
	var c engine.Changes
	for id := int64(1); id <= 25; id++ {
		c.Log = append(c.Log, engine.LogLine{ID: id * 3, Time: at(int(id)), Text: fmt.Sprint(id)})
		c.Jobs = append(c.Jobs, engine.Job{ID: id * 3, State: engine.JobDone, Created: at(int(id)), Steps: make([]engine.Step, id%4)})
		for i := range c.Jobs[id-1].Steps {
			c.Jobs[id-1].Steps[i] = engine.Step{Name: fmt.Sprint(i), State: engine.StepDone}
		}
	}
	save(t, s, c)
	ctx := t.Context()
	var got []engine.LogLine
	for before := int64(0); ; before = got[len(got)-1].ID {
		page := must(s.Log(ctx, before, 7))
		got = append(got, page...)
		// What is written between two pages does not move them.
		save(t, s, engine.Changes{Log: []engine.LogLine{{ID: 1000 + int64(len(got)), Time: at(1)}}})
		if len(page) < 7 {
			break
		}
	}
	if len(got) != 25 || got[0].ID != 75 || got[24].ID != 3 {
		t.Errorf("%d lines: %+v", len(got), got)
	}
	page := must(s.Jobs(ctx, 31, 4))
	if diff := cmp.Diff([]engine.Job{c.Jobs[9], c.Jobs[8], c.Jobs[7], c.Jobs[6]}, page, equal); diff != "" {
		t.Error(diff)
	}
	for _, limit := range []int{0, -1} {
		if page := must(s.Log(ctx, 0, limit)); len(page) != 0 {
			t.Errorf("limit %d gives %d lines", limit, len(page))
		}
	}
	if page := must(s.Log(ctx, -5, 10)); len(page) != 0 {
		t.Errorf("%d lines older than -5", len(page))
	}
	if all := must(s.Log(ctx, 0, 1<<62)); len(all) != 29 {
		t.Errorf("%d lines in all", len(all))
	}
}

func TestBootsOfNobody(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	if _, err := s.Boots(t.Context(), "nobody", 9); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("error is %v, want ErrNotFound", err)
	}
	if boots, err := s.Boots(t.Context(), "a3-002", 9); len(boots) != 0 || err != nil {
		t.Errorf("a Pi that never booted: %v, %v", boots, err)
	}
}

// Removed volumes stay as history; their keys prove nothing any more.
func TestRemovedVolumeKeepsNoHostKeys(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	if n := rows(t, s, "host_keys"); n != 3 {
		t.Fatalf("%d host keys", n)
	}
	removed := everything().Volumes[1]
	removed.State = engine.VolumeRemoved
	save(t, s, engine.Changes{Volumes: []engine.Volume{removed}})
	if n := rows(t, s, "host_keys"); n != 0 {
		t.Errorf("%d host keys are left", n)
	}
}
