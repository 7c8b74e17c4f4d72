package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

func TestGate(t *testing.T) {
	now := time.Now()
	g := newGate(Limits{Pending: 4, PerSource: 2, Burst: 4, Refill: time.Second})
	enter := func(name, want string, tell bool) *attempt {
		t.Helper()
		a, why, told := g.enter(name, now, func() { t.Error("dropped") })
		if !strings.Contains(why, want) || (why == "") != (want == "") || told != tell || (a == nil) != (why != "") {
			t.Errorf("%s: %q, %v; want %q, %v", name, why, told, want, tell)
		}
		return a
	}
	one, two := enter("a", "", false), enter("a", "", false)
	enter("a", "2 logins from there are not over", true)
	enter("a", "2 logins from there are not over", false) // told once
	g.leave(enter("b", "", false), true)
	g.leave(enter("c", "", false), false)
	g.leave(one, false)
	g.leave(two, false)
	for range 2 { // of four tokens two are left
		g.leave(enter("a", "", false), false)
	}
	enter("a", "too many failed logins", true)
	now = now.Add(time.Second)
	g.leave(enter("a", "", false), true) // gives it back
	for range 100 {
		g.leave(enter("a", "", false), true)
	}
	if len(g.waiting) != 0 {
		t.Errorf("%d wait", len(g.waiting))
	}
}

// TestGateGivesWay fills the gate from a few addresses: who comes next is let
// in, and one of the address that has most gives way.
func TestGateGivesWay(t *testing.T) {
	now := time.Now()
	g := newGate(Limits{Pending: 6, PerSource: 4, Burst: 20, Refill: time.Second})
	dropped := map[string]int{}
	enter := func(name string) *attempt {
		t.Helper()
		a, why, _ := g.enter(name, now, func() { dropped[name]++ })
		if why != "" {
			t.Fatalf("%s: %s", name, why)
		}
		return a
	}
	var crowd []*attempt
	for range 4 {
		crowd = append(crowd, enter("crowd"))
	}
	enter("x")
	enter("y")
	for i := range 3 {
		alice := enter("alice")
		if dropped["crowd"] != 1 || len(dropped) != 1 || len(g.waiting) != 6 {
			t.Fatalf("turn %d: dropped %v, %d wait", i, dropped, len(g.waiting))
		}
		if g.leave(alice, true) {
			t.Error("alice had to give way")
		}
		clear(dropped)
		crowd = append(crowd, enter("crowd")) // in the room that alice left
	}
	gone := 0
	for _, a := range crowd {
		if g.leave(a, false) {
			gone++
		}
	}
	if gone != 3 || g.sources["crowd"].open != 0 || len(g.waiting) != 2 {
		t.Errorf("%d gave way, %d of the crowd open, %d wait", gone, g.sources["crowd"].open, len(g.waiting))
	}
}

// TestGateForgets fills the gate with more addresses than it remembers.
func TestGateForgets(t *testing.T) {
	now := time.Now()
	g := newGate(Limits{}.withDefaults())
	refused := 0
	for i := range 3 * maxSources {
		if a, why, _ := g.enter(fmt.Sprint(i), now, func() {}); why == "" {
			g.leave(a, false)
		} else {
			refused++
		}
		now = now.Add(time.Millisecond)
	}
	if len(g.sources) > maxSources || refused > 2*maxSources {
		t.Errorf("%d remembered, %d refused", len(g.sources), refused)
	}
	for i := range maxSources { // an hour later all of them are new
		a, why, _ := g.enter(fmt.Sprint("new", i), now.Add(time.Hour), func() {})
		if why != "" {
			t.Fatal(why)
		}
		g.leave(a, true)
	}
}

// TestCrowdedDoor has as many connections that say nothing as there may be;
// who has a key comes in at once.
func TestCrowdedDoor(t *testing.T) {
	w := serve(t, 1, Limits{Pending: 4, PerSource: 8, Handshake: time.Hour}, nil)
	for range 4 {
		nc, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil { // it has its place
			t.Fatal(err)
		}
	}
	w.dial(w.operator("alice", engine.RoleOperator)).Close()
}

func TestSourceOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:5000":            "192.0.2.7",
		"[::ffff:192.0.2.7]:5000":   "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:22": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:22":         "fe80::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := sourceOf(tcp, nil); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := sourceOf(nil, &Peer{UID: 7}); got != "uid:7" {
		t.Error(got)
	}
}

// TestSeats has one operator, then all remote ones, take what there is; the
// rack terminal still finds a seat.
func TestSeats(t *testing.T) {
	w := serve(t, 1, Limits{Sessions: 6, Reserved: 2, PerOperator: 3}, func(ctx context.Context, _ Session) int { <-ctx.Done(); return 0 })
	w.people.uids[uint32(os.Getuid())] = engine.Actor{Name: "hands", Role: engine.RoleOperator}
	start := func(c *ssh.Client) error {
		se, err := c.NewSession()
		if err != nil {
			return err
		}
		return se.Start("stay")
	}
	alice := w.dial(w.operator("alice", engine.RoleOperator))
	for range 3 {
		if err := start(alice); err != nil {
			t.Fatal(err)
		}
	}
	var refused *ssh.OpenChannelError
	if err := start(alice); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage || !strings.Contains(err.Error(), "alice has 3 sessions open") {
		t.Errorf("a fourth session: %v", err)
	}
	bob := w.dial(w.operator("bob", engine.RoleViewer))
	if err := start(bob); err != nil {
		t.Error(err)
	}
	if err := start(bob); !errors.As(err, &refused) || !strings.Contains(err.Error(), "4 sessions are open") {
		t.Errorf("a fifth remote session: %v", err)
	}
	hands := dialSocket(t, w.socket)
	if err := start(hands); err != nil {
		t.Errorf("the rack terminal: %v", err)
	}
	alice.Close()
	if !eventually(func() bool { return start(bob) == nil }) {
		t.Error("a seat was not given back")
	}
}

// TestManyConnections has one operator open connections without sessions.
func TestManyConnections(t *testing.T) {
	w := serve(t, 1, Limits{PerOperator: 2}, nil)
	key := w.operator("alice", engine.RoleOperator)
	for range 4 {
		// Once it answers it is counted, which is a moment after the login.
		if _, _, err := w.dial(key).SendRequest("keepalive@openssh.com", true, nil); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ssh.Dial("tcp", w.addr, w.config(key))
	if err == nil {
		if err = c.Wait(); err == nil {
			t.Error("a fifth connection")
		}
	}
	if !eventually(func() bool { return strings.Contains(w.log.String(), "too many connections") }) {
		t.Errorf("log: %s", w.log)
	}
}

// TestSlowLogins has somebody open connections and say nothing, and fail
// logins; who has a key comes in once there is room.
func TestSlowLogins(t *testing.T) {
	w := serve(t, 1, Limits{Pending: 4, PerSource: 3, Burst: 6, Refill: 50 * time.Millisecond, Handshake: 300 * time.Millisecond}, nil)
	key := w.operator("alice", engine.RoleOperator)
	for range 20 {
		nc, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	if !eventually(func() bool { return strings.Contains(w.log.String(), "connections refused") }) {
		t.Errorf("log: %s", w.log)
	}
	if n := strings.Count(w.log.String(), "connections refused"); n > 3 {
		t.Errorf("logged %d times", n)
	}
	if !eventually(func() bool {
		c, err := ssh.Dial("tcp", w.addr, w.config(key))
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		t.Error("alice never came in")
	}
}

// TestStalledClient writes to a client that reads nothing. Only that client is
// dropped.
func TestStalledClient(t *testing.T) {
	failed := make(chan error, 1)
	w := serve(t, 10, Limits{Stall: 300 * time.Millisecond}, func(ctx context.Context, s Session) int {
		_, err := s.Stdout.Write(bytes.Repeat([]byte("all work and no play\n"), 1<<20))
		failed <- err
		return 0
	})
	stalled := w.dial(w.operator("alice", engine.RoleOperator))
	se, err := stalled.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := se.StdoutPipe(); err != nil { // and never reads it
		t.Fatal(err)
	}
	other := w.console(w.dial(w.operator("bob", engine.RoleOperator)))
	if err := se.Start("flood"); err != nil {
		t.Fatal(err)
	}
	other.press("j?")
	other.wants("esc")
	select {
	case err := <-failed:
		if err == nil {
			t.Error("20 MB were written to nobody")
		}
	case <-time.After(5 * time.Second):
		t.Error("the write did not end")
	}
	if err := stalled.Wait(); err == nil {
		t.Error("it was not dropped")
	}
	other.press("q")
	other.press("q")
	other.exit()
}

// TestSilentClient asks a client that answers nothing whether it is there.
func TestSilentClient(t *testing.T) {
	w := serve(t, 1, Limits{Keepalive: 50 * time.Millisecond}, func(ctx context.Context, _ Session) int { <-ctx.Done(); return 0 })
	key := w.operator("alice", engine.RoleOperator)
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sc, _, _, err := ssh.NewClientConn(nc, w.addr, w.config(key)) // nobody answers its requests
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sc.Wait() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("it was not dropped")
	}
	there := w.dial(key) // answers
	se, err := there.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := se.Start("stay"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // more than three keepalives of a real client
	if _, err := there.NewSession(); err != nil {
		t.Errorf("a client that answers was dropped: %v", err)
	}
}

func TestInputRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInput(t.Context(), bytes.NewReader(make([]byte, 100_000)), 1000)
		began := time.Now()
		n, err := io.Copy(io.Discard, in)
		if err != nil || n != 100_000 {
			t.Fatal(n, err)
		}
		if d := time.Since(began); d < 95*time.Second || d > 97*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
