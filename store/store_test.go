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
				Rescue: true, Memory: 4096, Exam: true,
			},
			{Name: "a3-002", Life: engine.LifeNew},
		},
		Servers: []engine.Server{
			{
				Name: "web1", Owner: "ada", Keys: []string{"ssh-ed25519 AAAA ada@home", "ssh-rsa BBBB ada@work"},
				Address: netip.MustParsePrefix("2001:db8:1::17/64"), Gateway: netip.MustParseAddr("2001:db8:1::1"), Disk: 20e9,
			},
			{Name: "web2", Owner: "bob"},
			{
				Name: "web3", Owner: "acme", Keys: []string{"ssh-ed25519 CCCC ops@acme"},
				Address: netip.MustParsePrefix("2001:db8:2::7/64"), Gateway: netip.MustParseAddr("fe80::1"), Disk: 30e9,
				Account: "acme", State: engine.ServerReleased, Wish: engine.Spec{Model: 4, Memory: 4096, CPU: 1500, NIC: 1000},
				Image: "bookworm", DiskGB: 30, Number: 7, SSHPort: 5007, Price: 925, Task: 3,
				Placed: at(10), Created: at(9), Live: at(50), Ended: at(70), Note: "gone to another rack",
			},
		},
		Images: []engine.Image{
			{Name: "bookworm", Label: "Raspberry Pi OS 12", Added: at(-9)},
			{Name: "bullseye", Label: "Raspberry Pi OS 11"},
		},
		Volumes: []engine.Volume{
			{Name: "a3-001-1", Pi: "a3-001", Image: "bullseye", State: engine.VolumeFormer, Created: at(-8), Changed: at(-2), Server: "web3"},
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
			{ID: 3, Verb: "move", To: "a3-002", Size: 64e9, Server: "web3", State: engine.JobQueued, Created: at(3)},
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
		Accounts: []engine.Account{
			{Name: "acme", Contact: "ops@acme.example", Limit: 20, Created: at(-9)}, {Name: "gone", Closed: at(-1)},
		},
		APIKeys: []engine.APIKey{
			{ID: "k7q2m5x3", Account: "acme", ReadOnly: true, Hash: "0a1b", Created: at(-8), Revoked: at(-4), Used: at(-5)},
			{ID: "s2s2s2s2", Operator: "alice", Hash: "2c3d"},
		},
		Webhooks: []engine.Webhook{
			{ID: "w1", Account: "acme", URL: "https://acme.example/hook", Secret: "whsec_MTIz", Created: at(-8)},
			{ID: "w2", Account: "acme", URL: "https://acme.example/other"},
		},
		Onces: []engine.OnceRow{
			{Account: "acme", Once: engine.Once{Key: "order-1", Digest: "4e5f"}, Verb: engine.ServerOrder, Server: "web3", Job: 3, Time: at(9)},
			{Account: "staff:alice", Once: engine.Once{Key: "order-1"}, Time: at(8)},
		},
		Ledger: []engine.LedgerRow{
			{
				ID: 1, Time: second(50), Kind: engine.LedgerStart, Account: "acme", Server: "web3", Task: 3,
				Spec: engine.Spec{Model: 4, Memory: 4096, CPU: 1500, NIC: 1000}, DiskGB: 10, Price: 750, Reason: "live",
			},
			{ID: 2, Time: second(60), Kind: engine.LedgerChange, Account: "acme", Server: "web3", Task: 3, DiskGB: 30, Price: 925},
			{ID: 3, Time: second(60), Kind: engine.LedgerStop, Account: "acme", Server: "web3", Task: 3},
		},
		Notices: []engine.Notice{
			{ID: 1, Time: at(9), Account: "acme", Server: "web3", Kind: engine.NoticeOrdered, Text: "it is ordered", Task: 3},
			{ID: 2, Time: at(50), Account: "gone", Server: "old", Kind: engine.NoticeLive},
		},
		Deliveries: []engine.Delivery{
			{Notice: 1, Webhook: "w1", Attempts: 2, Next: at(99), Status: 503, Error: "busy"},
			{Notice: 1, Webhook: "w2", Attempts: 1, Status: 204, Done: at(10)},
		},
	}
}

// second is at in whole seconds, as the ledger has them.
func second(s int) time.Time { return at(s).Truncate(time.Second) }

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
	if schema < 5 {
		c.Pis[0].Memory, c.Pis[0].Exam = 0, false
		c.Servers = c.Servers[:2]
		c.Volumes[0].Server, c.Jobs[2].Server = "", ""
		c.Accounts, c.APIKeys, c.Webhooks, c.Onces = nil, nil, nil, nil
		c.Ledger, c.Notices, c.Deliveries = nil, nil, nil
	}
	return c
}

// stateOf is what Load returns after everything was saved.
func stateOf(c engine.Changes) engine.State {
	st := engine.State{
		Pis: c.Pis, Servers: c.Servers, Images: c.Images, Volumes: c.Volumes, Operators: c.Operators,
		Jobs:     []engine.Job{c.Jobs[0], c.Jobs[2]},
		Open:     c.Audit[:1],
		Accounts: c.Accounts, APIKeys: c.APIKeys, Webhooks: c.Webhooks, Onces: c.Onces,
		LastID: engine.LastIDs{Job: 3, Boot: 2, Audit: 2, Log: 2, Ledger: int64(len(c.Ledger)), Notice: int64(len(c.Notices))},
	}
	if n := len(c.Ledger); n > 0 {
		st.Billed = c.Ledger[n-1].Time
	}
	return st
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
		{"a job", must(s.Job(ctx, 1)), c.Jobs[0]},
		{"notices", must(s.Notices(ctx, "", 0, 10)), c.Notices},
		{"ledger", must(s.Ledger(ctx, "", at(1000))), c.Ledger},
		{"deliveries", must(query(ctx, s.read, deliveryRow, deliveries.sel("ORDER BY notice, webhook"))), c.Deliveries},
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
