package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoMayKnow asks for what is the customers' in each role, and as a customer:
// what is their own they are told elsewhere.
func TestWhoMayKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 2, nil)
		b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{
			Verb: WebhookAdd, Actor: admin, Webhook: Webhook{ID: "hook0001", Account: "acme", URL: "https://acme.example/", Secret: NewWebhookSecret()},
		}))
		b.end(b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"}).Job)
		reads := map[string]struct {
			needs Role
			read  func(Actor) error
		}{
			"accounts": {RoleOperator, func(a Actor) error {
				list, err := b.e.Customers(a)
				if err == nil && len(list.List()) != 2 {
					err = errors.New("not the accounts")
				}
				return err
			}},
			"server": {RoleOperator, func(a Actor) error {
				s, err := b.e.Rented(a, "web1")
				if err == nil && s.Account != "acme" {
					err = errors.New("not the server")
				}
				return err
			}},
			"deliveries": {RoleOperator, func(a Actor) error {
				list, err := b.e.Sent(t.Context(), a, "hook0001", 0, 10)
				if err == nil && (len(list) != 3 || list[0].Notice.Kind != NoticeLive) {
					err = errors.New("not what was sent")
				}
				return err
			}},
			"ledger": {RoleAdmin, func(a Actor) error {
				list, err := b.e.Charges(t.Context(), a, "acme", time.Now().Add(time.Hour))
				if err == nil && len(list) != 1 {
					err = errors.New("not the ledger")
				}
				return err
			}},
		}
		for what, r := range reads {
			for role := RoleViewer; role <= RoleAdmin; role++ {
				if err := r.read(Actor{Name: "eve", Role: role}); (err == nil) != (role >= r.needs) || err != nil && !errors.Is(err, ErrNotAllowed) {
					t.Errorf("%s: %s: %v", role, what, err)
				}
				if err := r.read(Actor{Name: "acme", Role: role, Account: "acme"}); !errors.Is(err, ErrNotAllowed) {
					t.Errorf("a customer as %s: %s: %v", role, what, err)
				}
			}
		}
		if _, err := b.e.Rented(admin, "web2"); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("a server that is not there: %v", err)
		}
		if _, err := b.e.Sent(t.Context(), admin, "hook0002", 0, 10); !errors.Is(err, ErrNoSuchWebhook) {
			t.Errorf("a webhook that is not there: %v", err)
		}
		b.stop()
	})
}

// TestEveryVerbAsksForTheRole tries all there is to do with servers and accounts
// as those who may not: nothing is stored of it.
func TestEveryVerbAsksForTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 2, nil)
		b.end(b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1"}).Job)
		time.Sleep(time.Second)
		acts := func() (n int) {
			b.stored(func(m *memory) { n = len(m.audit) })
			return n
		}
		before := acts()
		reader, viewer, operator := acme, admin, admin
		reader.Role, viewer.Role, operator.Role = RoleViewer, RoleViewer, RoleOperator
		for verb := range serverVerbs() {
			for _, who := range []Actor{reader, viewer} {
				cmd := ServerCommand{Verb: verb, Actor: who, Account: "acme", Server: "web1", Typed: "web1", DiskGB: 20}
				if _, err := b.e.Serve(t.Context(), cmd); !errors.Is(err, ErrNotAllowed) {
					t.Errorf("%s of account %q: %s: %v", who.Role, who.Account, verb, err)
				}
			}
		}
		for verb, row := range accountVerbs() {
			who := []Actor{reader, viewer, operator}
			if !row.own {
				who = append(who, acme)
			}
			for _, a := range who {
				cmd := AccountCommand{
					Verb: verb, Actor: a, Account: Account{Name: "acme"}, Key: APIKey{ID: "key00001", Account: "acme", Hash: strings.Repeat("0", 64)},
					Webhook: Webhook{ID: "hook0001", Account: "acme", URL: "https://acme.example/", Secret: "x"},
				}
				if err := b.e.ChangeAccounts(t.Context(), cmd); !errors.Is(err, ErrNotAllowed) {
					t.Errorf("%s of account %q: %s: %v", a.Role, a.Account, verb, err)
				}
			}
		}
		if n := acts(); n != before {
			t.Errorf("%d acts were written down", n-before)
		}
		b.stop()
	})
}

// TestJobsTellWhoseTheyAre follows an order that fails through what people see.
func TestJobsTellWhoseTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 1, nil)
		if p, _ := b.e.Snapshot().Pi("t-000"); !p.Free || p.Rent != (Rent{}) {
			t.Errorf("nobody has it: %+v", p)
		}
		b.stopAt["t-000"] = StageDHCP
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: acme, Server: "web1", DiskGB: 20})
		time.Sleep(time.Second)
		if p, _ := b.e.Snapshot().Pi("t-000"); p.Free || p.Rent.Price != 850 || p.Rent.DiskGB != 20 || p.Rent.Task != res.Job || p.Job == nil || p.Job.Owner != "acme" {
			t.Errorf("ordered: %+v, job %+v", p, p.Job)
		}
		b.end(res.Job)
		time.Sleep(5 * time.Second)
		jobs := b.e.Snapshot().Jobs
		i := slices.IndexFunc(jobs, func(j JobView) bool { return j.ID == res.Job })
		if i < 0 || jobs[i].State != JobFailed || jobs[i].Server != "web1" || jobs[i].Owner != "acme" || jobs[i].Error == "" {
			t.Errorf("%+v", jobs)
		}
		b.stop()
	})
}

// TestNamesAreOfOne keeps customers and staff apart, also in what was written
// down of either.
func TestNamesAreOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 2, nil)
		ann := OperatorCommand{Verb: OperatorAdd, Actor: admin, Operator: Operator{Name: "ann", Role: RoleOperator}}
		account := AccountCommand{Verb: AccountAdd, Actor: admin, Account: Account{Name: "ann"}}
		b.must(b.e.ChangeOperators(t.Context(), ann))
		if err := b.e.ChangeAccounts(t.Context(), account); !errors.Is(err, ErrOperatorExists) {
			t.Errorf("an account of an operator's name: %v", err)
		}
		res := b.serve(ServerCommand{Verb: ServerOrder, Actor: Actor{Name: "ann", Role: RoleOperator}, Account: "acme", Server: "web1"})
		b.end(res.Job)
		rel := b.serve(ServerCommand{Verb: ServerRelease, Actor: acme, Server: "web1"})
		b.end(rel.Job)
		ann.Verb = OperatorRemove
		b.must(b.e.ChangeOperators(t.Context(), ann))
		b.must(b.e.ChangeAccounts(t.Context(), account))
		ann.Verb = OperatorAdd
		if err := b.e.ChangeOperators(t.Context(), ann); !errors.Is(err, ErrAccountExists) {
			t.Errorf("an operator of an account's name: %v", err)
		}
		b.e.desk.tasks.Clear() // as after a restart: the store is asked
		if _, err := b.e.Task(t.Context(), "ann", res.Job); !errors.Is(err, ErrNoSuchTask) {
			t.Errorf("a customer is told of what one of the staff of that name did: %v", err)
		}
		if v, err := b.e.Task(t.Context(), "acme", rel.Job); err != nil || v.Account != "acme" {
			t.Errorf("%+v, %v", v, err)
		}
		b.stop()
	})
}

// TestKeysGoWithTheirOperator: whoever gets a name later is somebody else.
func TestKeysGoWithTheirOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := market(t, 2, nil)
		ann := OperatorCommand{Verb: OperatorAdd, Actor: admin, Operator: Operator{Name: "ann", Role: RoleOperator}}
		keys := map[string]string{"of-ann-1": "ann", "of-bob-1": "bob"}
		b.must(b.e.ChangeOperators(t.Context(), ann))
		b.must(b.e.ChangeOperators(t.Context(), OperatorCommand{Verb: OperatorAdd, Actor: admin, Operator: Operator{Name: "bob"}}))
		for id, name := range keys {
			b.must(b.e.ChangeAccounts(t.Context(), AccountCommand{
				Verb: APIKeyAdd, Actor: admin, Key: APIKey{ID: id, Operator: name, Hash: strings.Repeat("0", 64)},
			}))
		}
		ann.Verb = OperatorRemove
		b.mem.failAfter(0)
		if err := b.e.ChangeOperators(t.Context(), ann); err == nil {
			t.Error("done, though it could not be written down")
		}
		b.mem.failAfter(-1)
		if k, _ := b.e.Accounts().Key("of-ann-1"); !k.Revoked.IsZero() {
			t.Error("the key is revoked, though nothing was done")
		}
		b.must(b.e.ChangeOperators(t.Context(), ann))
		ann.Verb = OperatorAdd
		b.must(b.e.ChangeOperators(t.Context(), ann))
		for id, name := range keys {
			k, ok := b.e.Accounts().Key(id)
			if !ok || k.Revoked.IsZero() != (name == "bob") || b.mem.sold.keys[id].Revoked.IsZero() != (name == "bob") {
				t.Errorf("%+v, %v; stored %+v", k, ok, b.mem.sold.keys[id])
			}
		}
		b.stop()
	})
}
