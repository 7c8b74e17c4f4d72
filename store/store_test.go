package store

import (
	"context"
	"database/sql"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"picloud/engine"
)

// start is the moment that the tests' times count from.
var start = time.Date(2026, 11, 23, 9, 30, 0, 123456000, time.UTC)

func at(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

// equal compares what was saved with what came back: netip's types by value,
// and no list like an empty one.
var equal = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
}

func openAt(t testing.TB, path string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openNew(t testing.TB, opts Options) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "picloud.db"), opts)
}

func save(t testing.TB, s *Store, c engine.Changes) {
	t.Helper()
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func loaded(t testing.TB, s *Store) engine.State {
	t.Helper()
	st, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// rows counts the rows of a table as the database has them.
func rows(t testing.TB, s *Store, table string) (n int) {
	t.Helper()
	if err := s.read.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// must takes what a read returned.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// everything has a row of every kind, with every field set, and one with few.
func everything() engine.Changes {
	return engine.Changes{
		Switches: []engine.Switch{{Name: "sw1", Ports: 48}, {Name: "sw2", Ports: 24}},
		Pis: []engine.Pi{
			{
				Name: "a3-001",
				Segment: engine.Segment{
					Name: "v101", Interface: "eth0.101", Server: netip.MustParseAddr("10.1.1.1"),
					Addr: netip.MustParsePrefix("10.1.1.2/30"), Port: engine.PortID{Switch: "sw1", Port: 23},
				},
				Model: engine.Model4B, Serial: 0xfedcba98, MAC: engine.MAC{0xdc, 0xa6, 0x32, 1, 2, 3},
				Life: engine.LifeLive, Note: "its fan rattles", Server: "web1", Power: true,
				Volume: "a3-001-2", Former: "a3-001-1", Image: "bookworm", FormerImage: "bullseye",
				Rescue: true,
			},
			{Name: "a3-002", Life: engine.LifeNew},
		},
		Servers: []engine.Server{
			{
				Name: "web1", Owner: "ada", Keys: []string{"ssh-ed25519 AAAA ada@home", "ssh-rsa BBBB ada@work"},
				Address: netip.MustParsePrefix("2001:db8:1::17/64"), Gateway: netip.MustParseAddr("2001:db8:1::1"), Disk: 20e9,
			},
			{Name: "web2", Owner: "bob"},
		},
		Images: []engine.Image{
			{Name: "bookworm", Label: "Raspberry Pi OS 12", Added: at(-9)},
			{Name: "bullseye", Label: "Raspberry Pi OS 11"},
		},
		Volumes: []engine.Volume{
			{Name: "a3-001-1", Pi: "a3-001", Image: "bullseye", State: engine.VolumeFormer, Created: at(-8), Changed: at(-2)},
			{
				Name: "a3-001-2", Pi: "a3-001", Image: "bookworm", State: engine.VolumeCurrent, Created: at(-3), Changed: at(-2),
				Size: 32e9,
				HostKeys: []engine.HostKey{
					{Type: "ssh-ed25519", Fingerprint: "SHA256:one"}, {Type: "ssh-rsa", Fingerprint: "SHA256:two"},
				},
				RescueKeys: []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:three"}},
			},
		},
		Jobs: []engine.Job{
			{
				ID: 1, Batch: 1, Audit: 1, Verb: "reimage", Pi: "a3-001", Actor: "ada", Image: "bookworm",
				Volume: "a3-001-2", State: engine.JobRunning, Step: 1, Created: at(1), Started: at(2),
				Steps: []engine.Step{
					{Name: "clone", State: engine.StepDone, Detail: "1.2 GB", Started: at(2), Ended: at(3)},
					{Name: "power", State: engine.StepRunning, Started: at(3)},
					{Name: "wait", State: engine.StepWaiting},
				},
			},
			{
				ID: 2, Batch: 2, Audit: 2, Verb: "cycle", Pi: "a3-002", Actor: "bob", State: engine.JobFailed,
				Error: "sw1/24: no answer", Created: at(1), Started: at(1), Ended: at(2),
				Steps: []engine.Step{{Name: "off", State: engine.StepFailed, Started: at(1), Ended: at(2)}},
			},
			{ID: 3, Verb: "move", To: "a3-002", Size: 64e9, State: engine.JobQueued, Created: at(3)},
		},
		Operators: []engine.Operator{
			{
				Name: "alice", Role: engine.RoleAdmin, Added: at(-7),
				Keys: []engine.OperatorKey{{Line: "ssh-ed25519 AAAA alice@laptop"}, {Line: "ssh-rsa BBBB alice@home"}},
			},
			{Name: "bob", Role: engine.RoleViewer},
		},
		Boots: []engine.Boot{
			{ID: 1, Pi: "a3-001", Started: at(0), Reached: engine.StageUp, Up: at(40)},
			{ID: 2, Pi: "a3-001", Started: at(50), Reached: engine.StageStalled, Cause: "no kernel7.img"},
		},
		Events: []engine.BootLine{
			{Boot: 1, Seq: 0, BootEvent: engine.BootEvent{Time: at(0), Stage: engine.StagePower, Evidence: "2.1 W"}},
			{Boot: 1, Seq: 1, BootEvent: engine.BootEvent{Time: at(9), Stage: engine.StageDHCP, Evidence: "DISCOVER 1"}},
			{Boot: 2, Seq: 0, BootEvent: engine.BootEvent{Time: at(50), Stage: engine.StagePower}},
		},
		Audit: []engine.AuditRow{
			{
				ID: 1, Time: at(1), Actor: "ada", Source: "ssh", Key: "SHA256:abc", Verb: "reimage",
				Target: "a3-001", Reason: "asked for", Job: 1,
			},
			{ID: 2, Time: at(1), Actor: "bob", Verb: "cycle", Target: "a3-002", Job: 2, Result: "failed", Ended: at(2)},
		},
		Log: []engine.LogLine{
			{ID: 1, Time: at(1), Actor: "ada", Pi: "a3-001", Job: 1, Text: "reimage: begun"},
			{ID: 2, Time: at(2), Text: "switch sw1 answers again"},
		},
		Ports: []engine.PortRow{{
			Port: engine.PortID{Switch: "sw1", Port: 23}, At: at(4),
			Reading: engine.PortReading{
				Port: 23, Enabled: true, Delivering: true, Detection: "deliveringPower", Denied: 1, Overload: 2,
				Short: 1<<32 - 1, Milliwatts: 2100, HasWatts: true, LinkKnown: true, LinkUp: true, STP: "forwarding",
			},
		}},
	}
}

// everythingAt is what is left of everything in a database that the release
// with that schema wrote.
func everythingAt(schema int) engine.Changes {
	c := everything()
	if schema < 2 {
		c.Pis[0].Rescue = false
		c.Servers[0].Address, c.Servers[0].Gateway, c.Servers[0].Disk = netip.Prefix{}, netip.Addr{}, 0
		v := &c.Volumes[1]
		v.Size, v.HostKeys, v.RescueKeys = 0, nil, nil
		j := &c.Jobs[2]
		j.Verb, j.To, j.Size = "", "", 0
	}
	if schema < 3 {
		c.Operators = nil
	}
	return c
}

// stateOf is what Load returns after everything was saved.
func stateOf(c engine.Changes) engine.State {
	return engine.State{
		Pis: c.Pis, Servers: c.Servers, Images: c.Images, Volumes: c.Volumes, Operators: c.Operators,
		Jobs:   []engine.Job{c.Jobs[0], c.Jobs[2]},
		Open:   c.Audit[:1],
		LastID: engine.LastIDs{Job: 3, Boot: 2, Audit: 2, Log: 2},
	}
}

// checkEverything reads all that everything has written, by every read.
func checkEverything(t *testing.T, s *Store) {
	t.Helper()
	check(t, s, everything())
}

func check(t *testing.T, s *Store, c engine.Changes) {
	t.Helper()
	ctx := t.Context()
	withEvents := []engine.Boot{c.Boots[1], c.Boots[0]}
	withEvents[0].Events = []engine.BootEvent{c.Events[2].BootEvent}
	withEvents[1].Events = []engine.BootEvent{c.Events[0].BootEvent, c.Events[1].BootEvent}
	for _, tc := range []struct {
		what      string
		got, want any
	}{
		{"state", loaded(t, s), stateOf(c)},
		{"boots", must(s.Boots(ctx, "a3-001", 10)), withEvents},
		{"jobs", must(s.Jobs(ctx, 0, 10)), []engine.Job{c.Jobs[2], c.Jobs[1], c.Jobs[0]}},
		{"audit", must(s.Audit(ctx, 0, 10)), []engine.AuditRow{c.Audit[1], c.Audit[0]}},
		{"log", must(s.Log(ctx, 0, 10)), []engine.LogLine{c.Log[1], c.Log[0]}},
		{"ports", must(s.Ports(ctx)), c.Ports},
		{"switches", must(query(ctx, s.read, switchRow, switches.sel("ORDER BY name"))), c.Switches},
	} {
		if diff := cmp.Diff(tc.want, tc.got, equal); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.what, diff)
		}
	}
}

func TestEverythingComesBackAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	s := openAt(t, path, Options{})
	save(t, s, everything())
	checkEverything(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkEverything(t, openAt(t, path, Options{}))
}

func TestEmpty(t *testing.T) {
	s := openNew(t, Options{})
	if diff := cmp.Diff(engine.State{}, loaded(t, s)); diff != "" {
		t.Error(diff)
	}
	save(t, s, engine.Changes{})
}

// rawOpen opens a database file without the package's checks.
func rawOpen(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := openOne(path, parameters{"mode": "rwc", "_foreign_keys": "on"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func rawExec(t testing.TB, path, text string) {
	t.Helper()
	db := rawOpen(t, path)
	if _, err := db.ExecContext(context.Background(), text); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
