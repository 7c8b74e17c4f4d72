package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
)

// rack is the demo that the tests of this package order servers of, started by
// the first that needs it: the engine, the store, the protocols and the API are
// the product's, the Pis are simulated.
var rack = sync.OnceValue(func() *demo.Demo {
	ctx, cancel := context.WithCancel(context.Background())
	d, err := demo.Open(ctx, demo.Options{
		Seed: 5, Pis: 36, Speed: 100, API: netip.MustParseAddrPort("127.0.0.1:0"),
		Log: slog.New(slog.NewJSONHandler(rackLog, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		cancel()
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopRack = func() error {
		cancel()
		return <-ended
	}
	if err := awaitUp(ctx, d.Engine()); err != nil {
		panic(errors.Join(err, stopRack()))
	}
	return d
})

// stopRack ends the rack, nil if no test needed it.
var stopRack func() error

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := afterwards(code == 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// afterwards looks at what only shows when all tests have run.
func afterwards(passed bool) (err error) {
	if stopRack == nil {
		return nil
	}
	if leaks := leaked(context.Background()); len(leaks) > 0 {
		err = fmt.Errorf("secrets are where they should not be: %s", strings.Join(leaks, "; "))
	}
	if passed && whole() {
		err = errors.Join(err, contract.uncovered())
	}
	return errors.Join(err, stopRack())
}

// awaitUp waits until all Pis are, and so free ones can be ordered.
func awaitUp(ctx context.Context, e *engine.Engine) error {
	snapshots, cancel := e.Subscribe()
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	for {
		select {
		case s := <-snapshots:
			if s.Counts.Up == s.Counts.Total {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("the rack of the tests: %+v: %w", e.Snapshot().Counts, ctx.Err())
		}
	}
}

// whole tells whether all tests of the package ran.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list", "test.bench"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// rackLog is the log of the rack's service.
var rackLog = &logBuffer{}

// secrets are those that tests were given: of keys, tokens and webhooks.
var secrets sync.Map

// leaked finds secrets in what people and other programs may read: the log, the
// audit, and of keys also the database.
func leaked(ctx context.Context) (found []string) {
	audit, err := rack().Engine().Audit(ctx, 0, 1<<20)
	if err != nil {
		return []string{err.Error()}
	}
	lines, err := rack().Engine().Log(ctx, 0, 1<<20)
	if err != nil {
		return []string{err.Error()}
	}
	where := map[string]string{"the log": rackLog.String(), "the audit": fmt.Sprint(audit), "the rack's log": fmt.Sprint(lines)}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(daemon.Database(rack().Config()) + suffix)
		if err != nil {
			return []string{err.Error()}
		}
		where["the database"] += string(b)
	}
	secrets.Range(func(secret, what any) bool {
		for place, text := range where {
			if strings.Contains(text, secret.(string)) && (place != "the database" || what != "webhook") {
				found = append(found, fmt.Sprintf("that of a %s in %s", what, place))
			}
		}
		return true
	})
	return found
}

var accounts atomic.Int64

// newAccount makes an account of a test, with a key that may act and one that
// may only read.
func newAccount(t testing.TB, limit int) (account string, full, reader credentials) {
	t.Helper()
	account = fmt.Sprintf("test-%d", accounts.Add(1))
	change(t, engine.AccountCommand{Verb: engine.AccountAdd, Account: engine.Account{Name: account, Limit: limit}})
	return account, newKey(t, engine.APIKey{Account: account}), newKey(t, engine.APIKey{Account: account, ReadOnly: true})
}

// newStaff makes a key of one of the staff.
func newStaff(t testing.TB, role engine.Role) credentials {
	t.Helper()
	name := fmt.Sprintf("staff%d", accounts.Add(1))
	admin := engine.SystemActor()
	err := rack().Engine().ChangeOperators(t.Context(), engine.OperatorCommand{
		Verb: engine.OperatorAdd, Actor: admin, Operator: engine.Operator{Name: name, Role: role},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, engine.APIKey{Operator: name})
}

func newKey(t testing.TB, k engine.APIKey) credentials {
	t.Helper()
	secret, hash := engine.NewSecret()
	k.ID, k.Hash = engine.NewID(), hash
	secrets.Store(secret, "key")
	change(t, engine.AccountCommand{Verb: engine.APIKeyAdd, Key: k})
	return credentials{k.ID, secret}
}

func change(t testing.TB, cmd engine.AccountCommand) {
	t.Helper()
	cmd.Actor = engine.SystemActor()
	if err := rack().Engine().ChangeAccounts(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
}

// publicKey makes the line of a key that nobody has the private half of.
func publicKey(comment string) string {
	point := sha256.Sum256([]byte(comment))
	blob := "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + string(point[:])
	return strings.TrimSpace("ssh-ed25519 " + base64.StdEncoding.EncodeToString([]byte(blob)) + " " + comment)
}

// eventually waits until ok, for as long as a busy machine may need.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
