package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/hw/sim/pi"
	"picloud/netboot/report"
)

// TestPluggedIn plugs boards in that nobody has typed in, and touches nothing: one
// becomes ready and gets its root, one is broken with the reason. Then a customer
// has one and gives it back, and it is examined again.
func TestPluggedIn(t *testing.T) {
	d, err := Open(t.Context(), Options{Seed: 4, Pis: 5, New: 3, Speed: 30, Faults: map[string]int{pi.BadMemory: 1}})
	if err != nil {
		t.Fatal(err)
	}
	var sound, bad, late string
	for _, p := range d.rack.Inventory().Pis[2:] {
		unit, err := d.rack.Pi(p.Name)
		switch {
		case err != nil:
			t.Fatal(err)
		case unit.Fault() != "":
			bad = p.Name
		case sound == "":
			sound = p.Name
		default:
			late = p.Name
			if err := d.rack.Plug(late, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	e := d.Engine()

	await(t, e, "the first under examination", func(s *engine.Snapshot) bool {
		v, _ := s.Pi(engine.PiName(sound))
		return v.Exam && v.Stage == engine.StageKernel
	})
	forge(t, d, late, sound)
	await(t, e, "the rest up, one broken, one place empty", func(s *engine.Snapshot) bool {
		broken, _ := s.Pi(engine.PiName(bad))
		empty, _ := s.Pi(engine.PiName(late))
		return s.Counts.Up == 3 && broken.Life == engine.LifeBroken && broken.Job == nil && empty.Power == engine.PowerSearching && empty.Life == engine.LifeNew
	})
	if err := d.rack.Plug(late, true); err != nil {
		t.Fatal(err)
	}
	s := await(t, e, "the board that came later", settled(engine.PiName(late), func(v *engine.PiView) bool { return v.Stage == engine.StageUp }))
	for _, name := range []string{sound, late} {
		v, _ := s.Pi(engine.PiName(name))
		unit, err := d.rack.Pi(name)
		if err != nil {
			t.Fatal(err)
		}
		b := unit.Board()
		if v.MAC != engine.MAC(b.MAC) || v.Serial != b.Serial || string(v.Model) != string(b.Family) || v.Memory != b.MemoryMB() || v.Life != engine.LifeReady {
			t.Errorf("%s is %s %s %08x with %d MB, %s; it is %+v", name, v.MAC, v.Model, v.Serial, v.Memory, v.Life, b)
		}
	}
	if v, _ := s.Pi(engine.PiName(bad)); !strings.HasPrefix(v.Note, "memory error: 3 of the blocks") || v.Stage != engine.StageOff || v.Export != "" {
		t.Errorf("%s: %q, %s, exported %q", bad, v.Note, v.Stage, v.Export)
	}
	boots, err := e.Boots(t.Context(), engine.PiName(bad), 10)
	if err != nil || len(boots) == 0 || !regexp.MustCompile(`examined: Raspberry Pi .* MB, at most [0-9.]+ °C, [0-9.]+ W, `).MatchString(fmt.Sprint(boots)) {
		t.Errorf("boots of %s: %v, %v", bad, boots, err)
	}
	rows, err := e.Audit(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{sound, bad, late} {
		acts := map[string]string{}
		for _, r := range rows {
			if r.Target == name && r.Actor == engine.SystemActor().Name {
				acts[r.Verb] = r.Result
			}
		}
		verdict := ": ready"
		if name == bad {
			verdict = ": broken: memory error"
		}
		if !strings.HasPrefix(acts["adopt"], "ok: ") || !strings.Contains(acts["examine"], verdict) {
			t.Errorf("%s: %v", name, acts)
		}
	}
	examineGivenBack(t, d)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantNoGoroutines(t)
}

// forge sends reports that must count for nothing: of another address, and of the
// right one without its token.
func forge(t *testing.T, d *Demo, other, examined string) {
	t.Helper()
	v, _ := d.Engine().Snapshot().Pi(engine.PiName(examined))
	at := netip.AddrPortFrom(v.Segment.Server, uint16(d.config.Exam.Port))
	said := report.Report{Done: true, MAC: [6]byte(v.MAC), MemoryKB: 1 << 20, Heat: 99_000, HasHeat: true}.Text()
	foreign, _ := d.Engine().Snapshot().Pi(engine.PiName(other))
	for from, want := range map[netip.Addr]string{foreign.Addr: "", v.Addr: "HTTP/1.0 403"} {
		dial := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: 5 * time.Second}
		conn, err := dial.DialContext(t.Context(), "tcp4", at.String())
		if err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", report.Path("GUESSEDGUESSEDGUESSED"), len(said), said)
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.HasPrefix(string(got), want) || want == "" && len(got) != 0 {
			t.Errorf("%s: %.80q, want %q", from, got, want)
		}
	}
}

// examineGivenBack orders a server, releases it, and wants its Pi examined.
func examineGivenBack(t *testing.T, d *Demo) {
	t.Helper()
	e := d.Engine()
	admin := engine.Actor{Name: "test", Role: engine.RoleAdmin, Source: "test"}
	if err := e.ChangeAccounts(t.Context(), engine.AccountCommand{Verb: engine.AccountAdd, Actor: admin, Account: engine.Account{Name: "acme"}}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Serve(t.Context(), engine.ServerCommand{Verb: engine.ServerOrder, Actor: admin, Account: "acme", Server: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	var on engine.PiName
	await(t, e, "live", func(*engine.Snapshot) bool {
		v, ok := e.Server("acme", "web1")
		on = v.Pi
		return ok && v.State == engine.ServerLive && v.Job == nil
	})
	before, _ := e.Snapshot().Pi(on)
	if _, err := e.Serve(t.Context(), engine.ServerCommand{Verb: engine.ServerRelease, Actor: admin, Account: "acme", Server: "web1", Typed: "web1"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, "examined after its customer", func(s *engine.Snapshot) bool {
		v, _ := s.Pi(on)
		return v.Exam && v.Life == engine.LifeReleasing && v.Export == "" && v.Job.Verb == string(engine.VerbExamine)
	})
	s := await(t, e, "ready again", settled(on, func(v *engine.PiView) bool { return v.Life == engine.LifeReady }))
	if v, _ := s.Pi(on); v.Server != "" || v.Root == before.Root || v.Memory == 0 {
		t.Errorf("%+v", v)
	}
}
