package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// servedMistakes lists what must never be stored of servers: one that costs
// without being live or the other way round, or that has no Pi.
func (m *memory) servedMistakes() []string {
	var list []string
	on := map[string]bool{}
	for _, p := range m.pis {
		on[p.Server] = true
	}
	costs := map[int64]bool{}
	for _, row := range m.sold.ledger {
		costs[row.Task] = row.Kind != LedgerStop
	}
	for _, s := range m.sold.servers {
		if s.Account == "" {
			continue
		}
		if live := s.State == ServerLive; live != costs[s.Task] {
			list = append(list, fmt.Sprintf("%s is %s, and costs: %t", s.Name, s.State, costs[s.Task]))
		}
		if s.State.Ended() == on[s.Name] {
			list = append(list, fmt.Sprintf("%s is %s, and on a Pi: %t", s.Name, s.State, on[s.Name]))
		}
	}
	return list
}

var (
	admin = Actor{Name: "ada", Role: RoleAdmin, Source: "tty"}
	acme  = Actor{Name: "acme", Role: RoleOperator, Account: "acme", Source: "api", Key: "k1"}
	other = Actor{Name: "other", Role: RoleOperator, Account: "other", Source: "api", Key: "k2"}
)

// market is a rack of free Pis without roots, with two accounts and a plan.
func market(t *testing.T, n int, change func(*Rules)) *bench {
	t.Helper()
	b := rig(t)
	b.start(marketLayout(n, change), func(c *Config) { c.Starting = 8 })
	for _, name := range []string{"acme", "other"} {
		b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{Verb: AccountAdd, Actor: admin, Account: Account{Name: name}}))
	}
	time.Sleep(3 * time.Second) // the switch has told
	return b
}

func marketLayout(n int, change func(*Rules)) Layout {
	l := layout(n)
	for i := range l.Pis {
		l.Pis[i].Image, l.Pis[i].Power = "", false
	}
	l.Rules = Rules{
		Plans: []Plan{{Spec{Model: 4}, 750}}, Disk: 50, Tries: 3, Pool: netip.MustParsePrefix("2001:db8::/64"), Bits: 64,
		Gateway: netip.MustParseAddr("fe80::1"), Ports: 5100, Quarantine: 2 * time.Hour, Keep: 3 * time.Hour, Image: "base",
	}
	if change != nil {
		change(&l.Rules)
	}
	return l
}

// stored looks at what is stored.
func (b *bench) stored(look func(m *memory)) {
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	look(b.mem)
}

// sold is what is stored of a server.
func (b *bench) sold(name string) (s Server) {
	b.stored(func(m *memory) { s = m.sold.servers[name] })
	return s
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) serve(cmd ServerCommand) ServerResult {
	b.t.Helper()
	res, err := b.e.Serve(b.t.Context(), cmd)
	b.must(err)
	return res
}

// end waits for a task to end.
func (b *bench) end(id int64) TaskView {
	b.t.Helper()
	for range 3000 {
		v, err := b.e.Task(b.t.Context(), "", id)
		b.must(err)
		if v.State.Ended() {
			return v
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("task %d does not end", id)
	return TaskView{}
}

func TestOrderToRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 3, nil)
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", DiskGB: 20, Keys: []string{keyOne}})
		v, ok := b.e.Server("acme", "web1")
		if !ok || v.State != ServerProvisioning || v.Address != netip.MustParsePrefix("2001:db8::1/64") || v.SSHPort != 5101 || v.Price != 850 {
			t.Fatalf("just ordered: %+v, %t", v, ok)
		}
		if _, ok := b.e.Server("other", "web1"); ok {
			t.Error("another account sees it")
		}
		if _, err := b.e.Task(t.Context(), "other", res.Job); !errors.Is(err, ErrNoSuchTask) {
			t.Errorf("another account's task: %v", err)
		}
		if _, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"}); !errors.Is(err, ErrProvisioning) {
			t.Errorf("a release before it is provisioned: %v", err)
		}
		if end := b.end(res.Job); end.State != JobDone || end.Status != "Done" {
			t.Fatalf("%+v", end)
		}
		v, _ = b.e.Server("acme", "web1")
		if v.State != ServerLive || v.Stage != StageUp || v.Live.IsZero() {
			t.Errorf("live: %+v", v)
		}
		b.mu.Lock()
		who := b.roots[b.exports[v.Pi]]
		b.mu.Unlock()
		if who.Hostname != "web1" || !slices.Equal(who.Keys, []string{keyOne}) || who.Address != v.Address {
			t.Errorf("its root is of %+v", who)
		}
		if b.did("clone base "+string(v.Pi)+"-") != 1 {
			t.Error("not one clone")
		}
		time.Sleep(time.Hour)
		rel := b.serve(ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"})
		if _, ok := b.e.Server("acme", "web1"); ok {
			t.Error("it is still there")
		}
		if _, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerCycle, Actor: acme, Server: "web1"}); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("after its release: %v", err)
		}
		b.end(rel.Job)
		time.Sleep(time.Second)
		if p, _ := b.e.Snapshot().Pi(v.Pi); p.Life != LifeReady || p.Server != "" || p.Root != "" || p.Power != PowerOff {
			t.Errorf("given back: %+v", p)
		}
		rows, _ := b.e.Ledger(t.Context(), "acme", time.Now().Add(time.Hour))
		if len(rows) != 2 || rows[0].Price != 850 || rows[1].Kind != LedgerStop || rows[1].Time.Sub(rows[0].Time) < time.Hour || rows[1].Time.Sub(rows[0].Time) > time.Hour+2*time.Second {
			t.Errorf("ledger %+v", rows)
		}
		// The number is nobody's for two hours, the root is kept for three.
		later := b.serve(ServerCommand{Verb: ServerOrder, Actor: other, Server: "web2"})
		if v, _ := b.e.Server("other", "web2"); v.Number != 2 {
			t.Errorf("number %d", v.Number)
		}
		if _, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: other, Server: "web1"}); !errors.Is(err, ErrServerTaken) {
			t.Errorf("a name in quarantine: %v", err)
		}
		b.end(later.Job)
		time.Sleep(125 * time.Minute)
		if got := b.sold("web1"); got.Number != 0 || b.did("remove") != 0 {
			t.Errorf("two hours later: %+v, %d removed", got, b.did("remove"))
		}
		time.Sleep(time.Hour)
		if b.did("remove") != 1 {
			t.Errorf("%d roots are removed", b.did("remove"))
		}
		var kinds []string
		notices, _ := b.e.Notices(t.Context(), "acme", 0, 100)
		for _, n := range notices {
			kinds = append(kinds, string(n.Kind))
		}
		if got := strings.Join(kinds, " "); got != "server.ordered server.booting server.live server.releasing server.released" {
			t.Errorf("notices %s", got)
		}
		b.stop()
	})
}

func TestOrdersRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 3, func(r *Rules) { r.Spares = 1 })
		b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{Verb: AccountAdd, Actor: admin, Account: Account{Name: "small", Limit: 1}}))
		small := Actor{Name: "small", Role: RoleOperator, Account: "small"}
		reader := acme
		reader.Role = RoleViewer
		b.serve(ServerCommand{Verb: ServerOrder, Actor: small, Server: "one"})
		for name, c := range map[string]struct {
			cmd  ServerCommand
			want error
		}{
			"read-only":      {ServerCommand{Verb: ServerOrder, Actor: reader}, ErrNotAllowed},
			"no account":     {ServerCommand{Verb: ServerOrder, Actor: Actor{Role: RoleOperator, Account: "nobody"}}, ErrNoSuchAccount},
			"limit":          {ServerCommand{Verb: ServerOrder, Actor: small, Server: "two"}, ErrTooMany},
			"taken":          {ServerCommand{Verb: ServerOrder, Actor: acme, Server: "one"}, ErrServerTaken},
			"a Pi's name":    {ServerCommand{Verb: ServerOrder, Actor: acme, Server: "t-001"}, ErrServerTaken},
			"capitals":       {ServerCommand{Verb: ServerOrder, Actor: acme, Server: "Web"}, ErrBadOrder},
			"dots":           {ServerCommand{Verb: ServerOrder, Actor: acme, Server: "../x"}, ErrBadOrder},
			"hyphen":         {ServerCommand{Verb: ServerOrder, Actor: acme, Server: "-x"}, ErrBadOrder},
			"disk 15":        {ServerCommand{Verb: ServerOrder, Actor: acme, DiskGB: 15}, ErrBadOrder},
			"disk -10":       {ServerCommand{Verb: ServerOrder, Actor: acme, DiskGB: -10}, ErrBadOrder},
			"disk 10^12":     {ServerCommand{Verb: ServerOrder, Actor: acme, DiskGB: 1e12}, ErrBadOrder},
			"image":          {ServerCommand{Verb: ServerOrder, Actor: acme, Image: "none"}, ErrBadOrder},
			"key":            {ServerCommand{Verb: ServerOrder, Actor: acme, Keys: []string{`command="x" ` + keyOne}}, ErrBadOrder},
			"no such board":  {ServerCommand{Verb: ServerOrder, Actor: acme, Wish: Spec{Model: 3}}, ErrBadOrder},
			"no such memory": {ServerCommand{Verb: ServerOrder, Actor: acme, Wish: Spec{Memory: 5}}, ErrBadOrder},
			"customer moves": {ServerCommand{Verb: ServerMove, Actor: small, Server: "one"}, ErrNotAllowed},
			"other's":        {ServerCommand{Verb: ServerCycle, Actor: acme, Server: "one"}, ErrNoSuchServer},
			"staff untyped":  {ServerCommand{Verb: ServerRelease, Actor: admin, Server: "one"}, ErrGuard},
			"unknown verb":   {ServerCommand{Verb: "sell", Actor: acme}, ErrNoSuchVerb},
		} {
			before := 0
			b.stored(func(m *memory) { before = len(m.saves) })
			if _, err := b.e.Serve(t.Context(), c.cmd); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			b.stored(func(m *memory) {
				for _, s := range m.saves[before:] {
					if len(s.Ledger)+len(s.Onces) > 0 {
						t.Errorf("%s: something was stored: %+v", name, s)
					}
					for _, sold := range s.Servers {
						if sold.Name != "one" {
							t.Errorf("%s: a server was stored: %+v", name, sold)
						}
					}
				}
			})
		}
		b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "two"})
		if _, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme}); !errors.Is(err, ErrNoneFree) {
			t.Errorf("the spare: %v", err)
		}
		if _, err := b.e.Do(t.Context(), Command{Verb: VerbOff, Actor: acme, Targets: []Target{{Pi: "t-002"}}}); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("a customer does a Pi's verb: %v", err)
		}
		time.Sleep(time.Minute)
		b.stop()
	})
}

func TestOrderSentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 3, nil)
		cmd := ServerCommand{Verb: ServerOrder, Actor: acme, Once: Once{Key: "abc", Digest: "1"}}
		first := b.serve(cmd)
		again := b.serve(cmd)
		if again.Server != first.Server || again.Job != first.Job || !again.Repeated {
			t.Errorf("%+v, then %+v", first, again)
		}
		differs := cmd
		differs.Once.Digest = "2"
		if _, err := b.e.Serve(t.Context(), differs); !errors.Is(err, ErrOnceDiffers) {
			t.Errorf("another order under the same key: %v", err)
		}
		theirs := cmd
		theirs.Actor = other
		if res := b.serve(theirs); res.Server == first.Server {
			t.Error("two accounts share a key")
		}
		b.stop()
		b.start(marketLayout(3, nil), nil)
		if res := b.serve(cmd); res.Server != first.Server || res.Job != first.Job {
			t.Errorf("after a restart: %+v", res)
		}
		b.end(first.Job)
		b.stop()
		time.Sleep(onceFor)
		b.start(marketLayout(3, nil), nil)
		time.Sleep(2 * ordersEvery)
		b.stored(func(m *memory) {
			if n := len(m.sold.onces); n != 0 {
				t.Errorf("%d keys are known for ever", n)
			}
		})
		b.stop()
	})
}

// A Pi that does not boot is broken, and the order goes on at the next.
func TestOrderTriesElsewhere(t *testing.T) {
	for tries, bad := range []int{0, 1, 2, 3} {
		t.Run(fmt.Sprintf("%d bad", bad), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := market(t, 4, nil)
				for i := range bad {
					b.stopAt[PiName(fmt.Sprintf("t-%03d", i))] = StageDHCP
				}
				res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"})
				end := b.end(res.Job)
				time.Sleep(5 * time.Second)
				want := JobDone
				if tries >= 3 {
					want = JobFailed
				}
				v, ok := b.e.Server("acme", "web1")
				if end.State != want || ok != (want == JobDone) || ok && v.State != ServerLive {
					t.Fatalf("%+v; %+v %t", end, v, ok)
				}
				for i := range 4 {
					p, _ := b.e.Snapshot().Pi(PiName(fmt.Sprintf("t-%03d", i)))
					if broken := p.Life == LifeBroken; broken != (i < bad) {
						t.Errorf("%s is %s: %s", p.Name, p.Life, p.Note)
					}
					if p.Life == LifeBroken && (!strings.Contains(p.Note, "dhcp") || p.Power != PowerOff || p.Root != "" || p.Server != "" || p.Export != "") {
						t.Errorf("broken: %+v", p)
					}
				}
				if want == JobFailed {
					b.stored(func(m *memory) {
						if s := m.sold.servers["web1"]; s.State != ServerFailed || len(m.sold.ledger) != 0 {
							t.Errorf("%+v, %+v", s, m.sold.ledger)
						}
					})
					if b.did("remove") != 1 {
						t.Error("its volume is left")
					}
				}
				b.stop()
			})
		})
	}
}

// A hundred orders at the same instant: each Pi goes to one, the rest is told
// that none is free; and a store that fails takes nothing halfway.
func TestOrderStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 48, nil)
		answers := make(chan error, 60)
		for i := range 60 {
			go func() {
				_, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: fmt.Sprintf("s%d", i)})
				answers <- err
			}()
		}
		full := 0
		for range 60 {
			if err := <-answers; errors.Is(err, ErrNoneFree) {
				full++
			} else if err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * time.Minute)
		live := 0
		for _, s := range b.e.Servers("acme") {
			if s.State == ServerLive {
				live++
			}
		}
		if full != 12 || live != 48 {
			t.Errorf("%d refused, %d live", full, live)
		}
		b.stop()
	})
}

func TestOrderNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 2, nil)
		b.mem.failAfter(0)
		_, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", Once: Once{Key: "a"}})
		if !errors.Is(err, ErrNotWritten) {
			t.Errorf("%v", err)
		}
		b.mem.failAfter(-1)
		time.Sleep(time.Second)
		if _, ok := b.e.Server("", "web1"); ok {
			t.Error("it is on the desk")
		}
		b.stored(func(m *memory) {
			if len(m.sold.servers) != 0 || len(m.sold.onces) != 0 {
				t.Errorf("something of it is left: %+v", m.sold.servers)
			}
		})
		for _, p := range b.e.Snapshot().Pis {
			if p.Server != "" || p.Job != nil || p.Life != LifeReady {
				t.Errorf("something of it is left: %+v", p)
			}
		}
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", Once: Once{Key: "a"}})
		if end := b.end(res.Job); end.State != JobDone {
			t.Errorf("it does not go on: %+v", end)
		}
		b.stop()
	})
}

// The service is killed after each transaction of an order and of a release, and
// goes on where it was.
func TestOrderResumesAnywhere(t *testing.T) {
	for left := 1; ; left++ {
		over := false
		synctest.Test(t, func(t *testing.T) {
			b := market(t, 3, nil)
			if left%2 == 0 {
				b.stopAt["t-000"] = StageDHCP
			}
			b.mem.failAfter(left)
			_, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", Once: Once{Key: "k"}})
			if err == nil {
				time.Sleep(3 * time.Minute)
				_, _ = b.e.Serve(t.Context(), ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"}) // fails with the store
				time.Sleep(time.Minute)
			}
			b.mem.mu.Lock()
			over = b.mem.left > 0
			b.mem.mu.Unlock()
			b.kill()
			b.mem.failAfter(-1)
			b.start(marketLayout(3, nil), nil)
			time.Sleep(5 * time.Minute)
			_, err = b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", Once: Once{Key: "k"}})
			b.must(err)
			time.Sleep(5 * time.Minute)
			if v, ok := b.e.Server("acme", "web1"); ok && v.State != ServerLive {
				t.Errorf("%d: %+v", left, v)
			}
			_, err = b.e.Serve(t.Context(), ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"})
			if err != nil && !errors.Is(err, ErrNoSuchServer) {
				t.Errorf("%d: release: %v", left, err)
			}
			time.Sleep(5 * time.Minute)
			for _, p := range b.e.Snapshot().Pis {
				if p.Server != "" || p.Job != nil || p.Life != LifeReady && p.Life != LifeBroken || p.Power != PowerOff || p.Export != "" {
					t.Errorf("%d: left behind: %+v", left, p)
				}
			}
			if s := b.sold("web1"); !s.State.Ended() {
				t.Errorf("%d: %+v", left, s)
			}
			b.stop()
		})
		if over {
			if left < 20 {
				t.Errorf("only %d transactions", left)
			}
			return
		}
		if t.Failed() {
			return
		}
	}
}

// Whatever customers and staff do at random, nothing is given twice and all
// comes to an end.
func TestOrdersAtRandom(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			b := market(t, 8, nil)
			rng := rand.New(rand.NewPCG(seed, 1))
			verbs := []ServerVerb{
				ServerOrder, ServerOrder, ServerOrder, ServerRelease, ServerCycle, ServerReimage, ServerUndo, ServerOff, ServerOn, ServerKeys,
				ServerResize, ServerRescue, ServerUnrescue, ServerMove,
			}
			b.mu.Lock()
			b.stopAt["t-003"] = StageFirmware
			b.mu.Unlock()
			for range 120 {
				cmd := ServerCommand{
					Verb: verbs[rng.IntN(len(verbs))], Actor: []Actor{acme, other, admin}[rng.IntN(3)], Account: "acme",
					Server: fmt.Sprintf("s%d", rng.IntN(10)), DiskGB: 10 * (1 + rng.IntN(3)),
				}
				cmd.Typed = cmd.Server
				_, _ = b.e.Serve(t.Context(), cmd)
				time.Sleep(time.Duration(rng.IntN(20000)) * time.Millisecond)
				if rng.IntN(20) == 0 {
					b.kill()
					b.start(marketLayout(8, nil), nil)
				}
			}
			time.Sleep(10 * time.Minute)
			for _, p := range b.e.Snapshot().Pis {
				if p.Job != nil || p.Life == LifeReleasing || p.Life == LifeAllocated || p.Life == LifeDeploying {
					t.Errorf("seed %d: %s is %s, job %+v", seed, p.Name, p.Life, p.Job)
				}
			}
			b.stop()
		})
	}
}

// An address of the pool that the configuration gave to one of its own servers
// is nobody else's.
func TestOrderLeavesConfiguredAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		l := marketLayout(3, nil)
		l.Servers = []Server{{Name: "own", Owner: "staff", Address: netip.MustParsePrefix("2001:db8::1/64")}}
		l.Pis[0].Server = "own"
		b.start(l, nil)
		b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{Verb: AccountAdd, Actor: admin, Account: Account{Name: "acme"}}))
		time.Sleep(3 * time.Second)
		b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"})
		if v, _ := b.e.Server("acme", "web1"); v.Address != netip.MustParsePrefix("2001:db8::2/64") || v.Pi == "t-000" {
			t.Errorf("%+v", v)
		}
		time.Sleep(time.Minute)
		b.stop()
	})
}

// What a server has of the pool stays its alone when the pool is changed: nobody
// gets its address or its port by another number.
func TestOrderAfterThePoolChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 6, nil)
		for _, name := range []string{"web1", "web2", "web3"} {
			b.end(b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: name}).Job)
		}
		b.end(b.serve(ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"}).Job)
		b.must(b.e.Relayout(t.Context(), marketLayout(6, func(r *Rules) {
			r.Pool, r.Ports = netip.MustParsePrefix("2001:db8::2:0/112"), 5102
		})))
		// web3 has port 5103, which number 1 would have now; web1 has its old one no more.
		for _, name := range []string{"web1", "web4"} {
			b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: name})
		}
		b.must(b.e.Relayout(t.Context(), marketLayout(6, func(r *Rules) { r.Pool, r.Ports = netip.MustParsePrefix("2001:db8::/64"), 0 })))
		b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web5"})
		addresses, ports, numbers := map[netip.Prefix]string{}, map[int]string{}, map[int]string{}
		for _, v := range b.e.Servers("") {
			if addresses[v.Address] != "" || ports[v.SSHPort] != "" || numbers[v.Number] != "" {
				t.Errorf("%s has what another has: %+v", v.Name, v.Server)
			}
			addresses[v.Address], ports[v.SSHPort], numbers[v.Number] = v.Name, v.Name, v.Name
			t.Logf("%s: number %d, %s, port %d", v.Name, v.Number, v.Address, v.SSHPort)
		}
		b.must(b.e.Relayout(t.Context(), marketLayout(6, func(r *Rules) { r.Ports = lastPort - 1 })))
		if _, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web6"}); !errors.Is(err, ErrNoneFree) {
			t.Errorf("a port beyond the last: %v", err)
		}
		time.Sleep(time.Minute)
		b.stop()
	})
}

// When Pi after Pi does not boot, it is not the Pis: they are left alone, and
// orders are held until one is tried again.
func TestOrdersAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 12, nil)
		for i := range 12 {
			b.stallAt(PiName(fmt.Sprintf("t-%03d", i)), StageKernel)
		}
		for i := range 3 {
			res, err := b.e.Serve(t.Context(), ServerCommand{Verb: ServerOrder, Actor: acme, Server: fmt.Sprintf("s%d", i)})
			if i == 2 && !errors.Is(err, ErrNoneFree) {
				t.Errorf("it is taken: %v", err)
			}
			if i < 2 {
				b.must(err)
				b.end(res.Job)
			}
		}
		time.Sleep(time.Minute)
		broken := 0
		for _, p := range b.e.Snapshot().Pis {
			if p.Life == LifeBroken {
				broken++
			}
		}
		if broken != suspectAfter {
			t.Errorf("%d Pis are broken", broken)
		}
		if w := b.e.Snapshot().Warnings; len(w) != 1 || !strings.Contains(w[0], "orders are held") {
			t.Errorf("warnings %q", w)
		}
		b.mu.Lock()
		clear(b.stopAt)
		b.mu.Unlock()
		time.Sleep(suspectFor)
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "later"})
		if end := b.end(res.Job); end.State != JobDone {
			t.Errorf("%+v", end)
		}
		b.stop()
	})
}

// Where no other Pi is free, the one that did not boot is tried once more.
func TestOrderTriesTheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 1, nil)
		b.stallAt("t-000", StageDHCP)
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"})
		time.Sleep(100 * time.Second) // it stalled once
		b.mu.Lock()
		clear(b.stopAt)
		b.mu.Unlock()
		if end := b.end(res.Job); end.State != JobDone {
			t.Errorf("%+v", end)
		}
		time.Sleep(time.Second)
		if p, _ := b.e.Snapshot().Pi("t-000"); p.Life != LifeLive || p.Note != "" {
			t.Errorf("it is %s: %s", p.Life, p.Note)
		}
		b.stop()
	})
}

// A port that has been off for long is powered as soon as the root is there.
func TestOrderPowersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 1, nil)
		time.Sleep(10 * time.Second)
		begun := time.Now()
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"})
		for b.did("power sw1/1 true") == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %s", took)
		}
		b.end(res.Job)
		b.stop()
	})
}

// A command on a server that could not be written down is not remembered either:
// sent again, it is carried out.
func TestActNotWrittenIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 1, nil)
		b.end(b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"}).Job)
		time.Sleep(2 * time.Second)
		cycle := ServerCommand{Verb: ServerCycle, Actor: acme, Server: "web1", Once: Once{Key: "k", Digest: "1"}}
		b.mem.failAfter(0)
		if _, err := b.e.Serve(t.Context(), cycle); !errors.Is(err, ErrNotWritten) {
			t.Errorf("%v", err)
		}
		b.mem.failAfter(-1)
		time.Sleep(2 * time.Second)
		b.stored(func(m *memory) {
			if len(m.sold.onces) != 0 {
				t.Errorf("it is remembered: %+v", m.sold.onces)
			}
		})
		if res := b.serve(cycle); res.Repeated || b.end(res.Job).State != JobDone {
			t.Errorf("sent again: %+v", res)
		}
		b.stop()
	})
}
