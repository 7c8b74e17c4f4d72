package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// childPath tells the test binary that it is the child, and of which database.
const childPath = "PICLOUD_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := saveWithoutEnd(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it is killed; coming here is a failure
	}
	os.Exit(m.Run())
}

// turn is the n-th Save of the child: rows in many tables, so that half of it
// would be seen. Jobs and audit rows of the turn before are ended by it.
func turn(n int64) engine.Changes {
	c := engine.Changes{
		Pis:   []engine.Pi{{Name: "a", Life: engine.LifeLive, Note: fmt.Sprint(n)}},
		Jobs:  []engine.Job{{ID: n, Audit: n, State: engine.JobRunning, Created: at(0)}},
		Boots: []engine.Boot{{ID: n, Pi: engine.PiName(fmt.Sprint("p", n%7)), Started: at(0)}},
		Audit: []engine.AuditRow{{ID: n, Job: n, Time: at(0)}},
		Log:   []engine.LogLine{{ID: n, Time: at(0), Text: strings.Repeat("x", int(n%3000))}},

		Accounts:   []engine.Account{{Name: "acme", Limit: int(n)}},
		Webhooks:   []engine.Webhook{{ID: "w", Account: "acme", URL: fmt.Sprint(n)}},
		Onces:      []engine.OnceRow{{Account: "acme", Once: engine.Once{Key: fmt.Sprint(n)}, Job: n, Time: at(int(n))}},
		Notices:    []engine.Notice{{ID: n, Time: at(0), Account: "acme", Kind: engine.NoticeLive, Task: n}},
		Deliveries: []engine.Delivery{{Notice: n, Webhook: "w", Next: at(0)}},
	}
	// The number, and the only Pi, go from the last server to the next.
	c.Servers = []engine.Server{{Name: fmt.Sprint("s", n), Account: "acme", State: engine.ServerLive, Number: 1, SSHPort: 5001, Task: n}}
	c.Pis[0].Server = c.Servers[0].Name
	if n > 1 {
		c.Servers = append(c.Servers, engine.Server{Name: fmt.Sprint("s", n-1), Account: "acme", State: engine.ServerReleased, Task: n - 1})
		c.Ledger = append(c.Ledger, row(engine.LedgerStop, 2*n-2, n-1))
	}
	c.Ledger = append(c.Ledger, row(engine.LedgerStart, 2*n-1, n))
	for i := range stepsPerTurn {
		c.Jobs[0].Steps = append(c.Jobs[0].Steps, engine.Step{Name: fmt.Sprint(i), State: engine.StepDone})
		c.Events = append(c.Events, engine.BootLine{Boot: n, Seq: i, BootEvent: engine.BootEvent{Time: at(i)}})
	}
	if n > 1 {
		done := turnEnded(n - 1)
		c.Jobs = append(c.Jobs, done.Jobs...)
		c.Audit = append(c.Audit, done.Audit...)
	}
	return c
}

// row of the ledger of a turn's server.
func row(kind engine.LedgerKind, id, turn int64) engine.LedgerRow {
	l := engine.LedgerRow{ID: id, Time: second(int(id)), Kind: kind, Account: "acme", Server: fmt.Sprint("s", turn), Task: turn}
	if kind == engine.LedgerStart {
		l.Price = engine.Pence(turn)
	}
	return l
}

const stepsPerTurn = 8

func turnEnded(n int64) engine.Changes {
	c := engine.Changes{
		Jobs:  []engine.Job{{ID: n, Audit: n, State: engine.JobDone, Created: at(0), Ended: at(1)}},
		Audit: []engine.AuditRow{{ID: n, Job: n, Time: at(0), Result: "done", Ended: at(1)}},
	}
	for i := range stepsPerTurn {
		c.Jobs[0].Steps = append(c.Jobs[0].Steps, engine.Step{Name: fmt.Sprint(i), State: engine.StepDone})
	}
	return c
}

// saveWithoutEnd saves turn after turn, from where the store ends, and says the
// number of each one that is stored.
func saveWithoutEnd(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return err
	}
	st, err := s.Load(ctx)
	if err != nil {
		return err
	}
	for n := st.LastID.Job + 1; ; n++ {
		if err := s.Save(ctx, turn(n)); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// child runs saveWithoutEnd in a process of its own.
type child struct {
	cmd    *exec.Cmd
	acks   *bufio.Scanner
	stderr strings.Builder
	last   int64
}

func startChild(t *testing.T, path string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childPath+"="+path)
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.acks = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() })
	return c
}

// ack waits for the next number and tells whether there was one.
func (c *child) ack(t *testing.T) bool {
	t.Helper()
	if !c.acks.Scan() {
		return false
	}
	n, err := strconv.ParseInt(c.acks.Text(), 10, 64)
	if err == nil {
		c.last = n
	}
	return err == nil
}

// kill ends the child with SIGKILL and takes the acknowledgements under way.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for c.ack(t) {
	}
	var status *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &status) && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if c.stderr.Len() > 0 {
		t.Fatal(c.stderr.String())
	}
}

// TestKilledWhileSaving kills a process that saves, over and over at random
// moments: what it had acknowledged is there whole, and nothing is there half.
func TestKilledWhileSaving(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "picloud.db")
	before := int64(0)
	for range 8 {
		c := startChild(t, path)
		for range 1 + rand.IntN(60) {
			if !c.ack(t) {
				t.Fatal("the child ended by itself")
			}
		}
		// Not a wait for something: it moves the kill to any point of a Save.
		time.Sleep(rand.N(2 * time.Millisecond))
		c.kill(t)
		s := openAt(t, path, Options{})
		checkTurns(t, s, c.last)
		last := loaded(t, s).LastID.Job
		if last <= before {
			t.Errorf("no turn was saved after %d", before)
		}
		before = last
		s.Close()
	}
}

// checkTurns wants the turns up to last or the one after it, each whole.
func checkTurns(t *testing.T, s *Store, last int64) {
	t.Helper()
	st := loaded(t, s)
	n := st.LastID.Job
	if n != last && n != last+1 {
		t.Errorf("turn %d was acknowledged, the last one stored is %d", last, n)
	}
	if st.LastID != (engine.LastIDs{Job: n, Boot: n, Audit: n, Log: n, Ledger: 2*n - 1, Notice: n}) || st.Pis[0].Note != fmt.Sprint(n) {
		t.Errorf("the last turn is half there: %+v, pi %q", st.LastID, st.Pis[0].Note)
	}
	if len(st.Jobs) != 1 || st.Jobs[0].ID != n || len(st.Open) != 1 || st.Open[0].ID != n {
		t.Errorf("after turn %d, open are jobs %+v and audit rows %+v", n, st.Jobs, st.Open)
	}
	for table, want := range map[string]int64{
		"jobs": n, "audit": n, "log": n, "steps": n * stepsPerTurn,
		"ledger": 2*n - 1, "notices": n, "deliveries": n, "onces": n, "servers": n,
	} {
		if got := rows(t, s, table); int64(got) != want {
			t.Errorf("%s has %d rows after %d turns, want %d", table, got, n, want)
		}
	}
	checkMoney(t, s, st, n)
	if boots, events := rows(t, s, "boots"), rows(t, s, "boot_events"); events != boots*stepsPerTurn {
		t.Errorf("%d boots have %d events", boots, events)
	}
}

// checkMoney wants each turn's server to have begun to cost, all but the last to
// have ended, and the last to be on the Pi with the number.
func checkMoney(t *testing.T, s *Store, st engine.State, n int64) {
	t.Helper()
	for i, l := range must(s.Ledger(t.Context(), "acme", at(1<<30))) {
		want := row(engine.LedgerStart, int64(i)+1, int64(i)/2+1)
		if i%2 == 1 {
			want = row(engine.LedgerStop, int64(i)+1, int64(i)/2+1)
		}
		if l != want {
			t.Errorf("row %d of the ledger is %+v, want %+v", i, l, want)
		}
	}
	live := 0
	for _, v := range st.Servers {
		if v.Number == 1 && v.Name == fmt.Sprint("s", n) && st.Pis[0].Server == v.Name {
			live++
		} else {
			live = -1 // those that ended are history
		}
	}
	if live != 1 || st.Accounts[0].Limit != int(n) || st.Webhooks[0].URL != fmt.Sprint(n) || !st.Billed.Equal(second(int(2*n-1))) {
		t.Errorf("after turn %d: pi %+v, billed %s, accounts %+v", n, st.Pis[0], st.Billed, st.Accounts)
	}
}

// The lock belongs to the process: another is kept out while it lives and let
// in when it was killed.
func TestLockOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	c := startChild(t, path)
	if !c.ack(t) {
		t.Fatal("the child ended by itself")
	}
	text := refused(t, path, ErrInUse)
	if pid := fmt.Sprint("process ", c.cmd.Process.Pid); !strings.Contains(text, pid) {
		t.Errorf("%q does not name %s", text, pid)
	}
	c.kill(t)
	openAt(t, path, Options{})
}
