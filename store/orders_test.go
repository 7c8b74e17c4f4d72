package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

// place is a Pi with a server on it, "" = none.
func place(name, server string) engine.Pi {
	p := engine.Pi{Name: engine.PiName(name), Life: engine.LifeReady, Server: server}
	if server != "" {
		p.Life = engine.LifeLive
	}
	return p
}

// numbered is a customer's server with what goes with its number.
func numbered(name string, n int) engine.Server {
	s := engine.Server{Name: name, Account: "acme", State: engine.ServerLive, Number: n}
	if n != 0 {
		s.SSHPort = 5000 + n
		s.Address = netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n)), 64)
	}
	return s
}

// who tells which server each Pi has.
func who(t *testing.T, s *Store) map[engine.PiName]string {
	t.Helper()
	on := map[engine.PiName]string{}
	for _, p := range loaded(t, s).Pis {
		on[p.Name] = p.Server
	}
	return on
}

// Servers go from Pi to Pi within one Save, in whatever order the rows come.
func TestServersChangeHands(t *testing.T) {
	for name, step := range map[string]struct {
		changes engine.Changes
		want    map[engine.PiName]string
	}{
		"a move, the loser first":      {engine.Changes{Pis: []engine.Pi{place("a", ""), place("c", "one")}}, map[engine.PiName]string{"a": "", "b": "two", "c": "one"}},
		"a move, the winner first":     {engine.Changes{Pis: []engine.Pi{place("c", "one"), place("a", "")}}, map[engine.PiName]string{"a": "", "b": "two", "c": "one"}},
		"an exchange":                  {engine.Changes{Pis: []engine.Pi{place("a", "two"), place("b", "one")}}, map[engine.PiName]string{"a": "two", "b": "one", "c": ""}},
		"a ring":                       {engine.Changes{Pis: []engine.Pi{place("a", "two"), place("b", ""), place("c", "one")}}, map[engine.PiName]string{"a": "two", "b": "", "c": "one"}},
		"there and back":               {engine.Changes{Pis: []engine.Pi{place("c", "one"), place("a", ""), place("a", "one"), place("c", "")}}, map[engine.PiName]string{"a": "one", "b": "two", "c": ""}},
		"from a place that is removed": {engine.Changes{Pis: []engine.Pi{place("c", "one")}, RemovePis: []engine.PiName{"a"}}, map[engine.PiName]string{"b": "two", "c": "one"}},
		"from one saved and removed": {
			engine.Changes{Pis: []engine.Pi{place("a", "one"), place("c", "one")}, RemovePis: []engine.PiName{"a"}},
			map[engine.PiName]string{"b": "two", "c": "one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{})
			save(t, s, engine.Changes{
				Pis:     []engine.Pi{place("a", "one"), place("b", "two"), place("c", "")},
				Servers: []engine.Server{{Name: "one"}, {Name: "two"}},
			})
			save(t, s, step.changes)
			if diff := cmp.Diff(step.want, who(t, s)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Numbers do as servers do.
func TestNumbersChangeHands(t *testing.T) {
	for name, servers := range map[string][]engine.Server{
		"freed and given":    {numbered("x", 0), numbered("z", 1)},
		"given and freed":    {numbered("z", 1), numbered("x", 0)},
		"exchanged":          {numbered("x", 2), numbered("y", 1)},
		"a ring":             {numbered("z", 1), numbered("x", 2), numbered("y", 3)},
		"away and back":      {numbered("z", 1), numbered("x", 5), numbered("x", 1), numbered("z", 6)},
		"only the address":   {func() engine.Server { s := numbered("x", 1); s.Address = numbered("", 9).Address; return s }()},
		"only the port":      {func() engine.Server { s := numbered("x", 1); s.SSHPort = 5009; return s }()},
		"addresses, crossed": {func() engine.Server { s := numbered("x", 1); s.Address = numbered("", 2).Address; return s }(), func() engine.Server { s := numbered("y", 2); s.Address = numbered("", 1).Address; return s }()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{})
			all := map[string]engine.Server{"x": numbered("x", 1), "y": numbered("y", 2)}
			save(t, s, engine.Changes{
				Accounts: []engine.Account{{Name: "acme"}}, Servers: []engine.Server{all["x"], all["y"]},
			})
			save(t, s, engine.Changes{Servers: servers})
			for _, v := range servers {
				all[v.Name] = v
			}
			var want []engine.Server
			for _, v := range all {
				want = append(want, v)
			}
			slices.SortFunc(want, func(a, b engine.Server) int { return strings.Compare(a.Name, b.Name) })
			if diff := cmp.Diff(want, loaded(t, s).Servers, equal); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What ended keeps its number in quarantine; freed, it is another's.
func TestQuarantine(t *testing.T) {
	s := openNew(t, Options{})
	old := numbered("old", 7)
	old.State, old.Ended, old.Keys = engine.ServerReleased, at(5), []string{"ssh-ed25519 AAAA"}
	save(t, s, engine.Changes{Accounts: []engine.Account{{Name: "acme"}}, Servers: []engine.Server{old}})
	if err := s.Save(t.Context(), engine.Changes{Servers: []engine.Server{numbered("new", 7)}}); err == nil {
		t.Fatal("a number in quarantine was given")
	}
	if n := rows(t, s, "server_keys"); n != 1 {
		t.Errorf("%d keys", n)
	}
	old.Number, old.SSHPort = 0, 0 // the address stays as history
	save(t, s, engine.Changes{Servers: []engine.Server{old}})
	save(t, s, engine.Changes{Servers: []engine.Server{numbered("new", 7)}})
	if got := loaded(t, s).Servers; len(got) != 1 || got[0].Name != "new" {
		t.Errorf("a start reads %+v, want only the one that is there", got)
	}
	if n := rows(t, s, "servers"); n != 2 {
		t.Errorf("%d rows: the history is lost", n)
	}
	if n := rows(t, s, "server_keys"); n != 0 {
		t.Errorf("%d keys of one that is gone", n)
	}
}

// What must not be twice is refused whole, and by the database: a second order
// for a Pi leaves nothing of its money, its notice or its idempotency key.
func TestOrdersRefused(t *testing.T) {
	c := everything()
	changed := func(change func(*engine.LedgerRow)) engine.Changes {
		row := engine.LedgerRow{ID: 10, Time: second(99), Kind: engine.LedgerStart, Account: "acme", Server: "web9", Task: 9}
		change(&row)
		return engine.Changes{Ledger: []engine.LedgerRow{row}}
	}
	server := func(change func(*engine.Server)) engine.Changes {
		v := numbered("web9", 9)
		change(&v)
		return engine.Changes{Servers: []engine.Server{v}}
	}
	for name, bad := range map[string]struct {
		changes engine.Changes
		want    string
	}{
		"a server on two Pis":         {engine.Changes{Pis: []engine.Pi{place("x", "web1")}}, "pi x: UNIQUE constraint failed: pis.server"},
		"two Pis at once":             {engine.Changes{Pis: []engine.Pi{place("x", "web2"), place("y", "web2")}}, "pi y"},
		"a number twice":              {server(func(v *engine.Server) { v.Number = 7 }), "server web9: UNIQUE constraint failed: servers.number"},
		"an address twice":            {server(func(v *engine.Server) { v.Address = netip.MustParsePrefix("2001:db8:2::7/64") }), "server web9: UNIQUE constraint failed: servers.address"},
		"a port twice":                {server(func(v *engine.Server) { v.SSHPort = 5007 }), "server web9: UNIQUE constraint failed: servers.ssh_port"},
		"a port that is none":         {server(func(v *engine.Server) { v.SSHPort = 70000 }), "server web9"},
		"a server's account":          {server(func(v *engine.Server) { v.Account = "nobody" }), "server web9: account nobody is not stored"},
		"a server's state":            {server(func(v *engine.Server) { v.State = "happy" }), "server web9"},
		"a negative price":            {server(func(v *engine.Server) { v.Price = -1 }), "server web9"},
		"a key of nobody":             {engine.Changes{APIKeys: []engine.APIKey{{ID: "k", Hash: "x"}}}, "api key k"},
		"a key of two":                {engine.Changes{APIKeys: []engine.APIKey{{ID: "k", Hash: "x", Account: "acme", Operator: "alice"}}}, "api key k"},
		"a key without its hash":      {engine.Changes{APIKeys: []engine.APIKey{{ID: "k", Account: "acme"}}}, "api key k"},
		"a key's account":             {engine.Changes{APIKeys: []engine.APIKey{{ID: "k", Hash: "x", Account: "nobody"}}}, "api key k"},
		"a webhook's account":         {engine.Changes{Webhooks: []engine.Webhook{{ID: "w", Account: "nobody"}}}, "webhook w"},
		"an account without a name":   {engine.Changes{Accounts: []engine.Account{{}}}, "account ?"},
		"once without a time":         {engine.Changes{Onces: []engine.OnceRow{{Account: "acme", Once: engine.Once{Key: "k"}}}}, "idempotency key acme/k"},
		"a row of the ledger again":   {engine.Changes{Ledger: c.Ledger[2:]}, "ledger row 3"},
		"a number before the newest":  {changed(func(l *engine.LedgerRow) { l.ID = 2 }), "ledger row 2: a row of the ledger comes after all that are there"},
		"a time before the newest":    {changed(func(l *engine.LedgerRow) { l.Time = second(59) }), "comes after all that are there"},
		"a part of a second":          {changed(func(l *engine.LedgerRow) { l.Time = at(99) }), "ledger row 10"},
		"a start again":               {changed(func(l *engine.LedgerRow) { l.Server, l.Task = "web3", 3 }), "ledger row 10"},
		"a change that did not begin": {changed(func(l *engine.LedgerRow) { l.Kind = engine.LedgerChange }), "has not begun to pay"},
		"a stop that did not begin":   {changed(func(l *engine.LedgerRow) { l.Kind = engine.LedgerStop }), "has not begun to pay"},
		"a change after the end":      {changed(func(l *engine.LedgerRow) { l.Kind, l.Server, l.Task = engine.LedgerChange, "web3", 3 }), "costs nothing any more"},
		"a stop after the end":        {changed(func(l *engine.LedgerRow) { l.Kind, l.Server, l.Task = engine.LedgerStop, "web3", 3 }), "costs nothing any more"},
		"a stop with a price":         {changed(func(l *engine.LedgerRow) { l.Kind, l.Price = engine.LedgerStop, 5 }), "ledger row 10"},
		"a kind of row":               {changed(func(l *engine.LedgerRow) { l.Kind = "gift" }), "ledger row 10"},
		"a price below zero":          {changed(func(l *engine.LedgerRow) { l.Price = -1 }), "ledger row 10"},
		"a debtor that is none":       {changed(func(l *engine.LedgerRow) { l.Account = "nobody" }), "ledger row 10"},
		"another's change": {
			engine.Changes{Ledger: append(changed(func(*engine.LedgerRow) {}).Ledger, engine.LedgerRow{
				ID: 11, Time: second(99), Kind: engine.LedgerChange, Account: "gone", Server: "web9", Task: 9,
			})}, "ledger row 11: the account has not begun",
		},
		"a notice before the newest": {engine.Changes{Notices: c.Notices[:1]}, "notice 1: a notice comes after all that are there"},
		"a notice of no kind":        {engine.Changes{Notices: []engine.Notice{{ID: 9, Time: at(1)}}}, "notice 9"},
		"a delivery again":           {engine.Changes{Deliveries: c.Deliveries[:1]}, "delivery 1/w1"},
		"a delivery of nothing":      {engine.Changes{Deliveries: []engine.Delivery{{Notice: 9, Webhook: "w1"}}}, "delivery 9/w1"},
		"a delivery to nobody":       {engine.Changes{Deliveries: []engine.Delivery{{Notice: 2, Webhook: "w9"}}}, "delivery 2/w9"},
		"a delivery done and due":    {engine.Changes{Deliveries: []engine.Delivery{{Notice: 2, Webhook: "w1", Next: at(1), Done: at(1)}}}, "delivery 2/w1"},
		"a Pi's memory below zero":   {engine.Changes{Pis: []engine.Pi{{Name: "x", Life: engine.LifeNew, Memory: -1}}}, "pi x"},
		"a limit below zero":         {engine.Changes{Accounts: []engine.Account{{Name: "x", Limit: -1}}}, "account x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{})
			save(t, s, everything())
			with := bad.changes
			with.Onces = append(with.Onces, engine.OnceRow{Account: "acme", Once: engine.Once{Key: "order-2"}, Time: at(9)})
			with.Notices = append(with.Notices, engine.Notice{ID: 1000, Time: at(9), Kind: engine.NoticeUp})
			err := s.Save(t.Context(), with)
			if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.HasPrefix(err.Error(), "store: save: ") {
				t.Errorf("error is %v, want %q in it", err, bad.want)
			}
			checkEverything(t, s)
			save(t, s, engine.Changes{Notices: []engine.Notice{{ID: 3, Time: at(9), Kind: engine.NoticeUp}}}) // and it goes on
		})
	}
}

// Nothing that has a connection to the database can change what was written.
func TestLedgerIsOnlyAppendedTo(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	for _, text := range []string{
		"DELETE FROM ledger", "DELETE FROM ledger WHERE id = 3", "UPDATE ledger SET price = 0", "UPDATE ledger SET time = time + 1000000",
		"INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE id = 1",
		"REPLACE INTO ledger SELECT * FROM ledger", "DELETE FROM accounts", "UPDATE accounts SET name = 'other'",
		"UPDATE notices SET text = ''", "UPDATE notices SET id = id + 10", "DELETE FROM notices WHERE id = 1",
		"INSERT OR REPLACE INTO notices SELECT * FROM notices WHERE id = 1",
	} {
		if err := s.writer.say(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	checkEverything(t, s)
}

func TestOncesAreForgotten(t *testing.T) {
	s := openNew(t, Options{})
	row := func(key string, seconds int) engine.OnceRow {
		return engine.OnceRow{Account: "acme", Once: engine.Once{Key: key}, Time: at(seconds)}
	}
	save(t, s, engine.Changes{Onces: []engine.OnceRow{row("a", 1), row("b", 2), row("c", 3)}})
	save(t, s, engine.Changes{ForgetOnces: at(2)})
	if diff := cmp.Diff([]engine.OnceRow{row("b", 2), row("c", 3)}, loaded(t, s).Onces); diff != "" {
		t.Error(diff)
	}
	save(t, s, engine.Changes{Onces: []engine.OnceRow{row("b", 9)}, ForgetOnces: at(4)})
	if diff := cmp.Diff([]engine.OnceRow{row("b", 9)}, loaded(t, s).Onces); diff != "" {
		t.Error(diff)
	}
}

func TestRemovedWebhookTakesItsDeliveries(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	save(t, s, engine.Changes{RemoveWebhooks: []string{"w1", "none"}})
	left := must(query(t.Context(), s.read, deliveryRow, deliveries.sel("")))
	if diff := cmp.Diff(everything().Deliveries[1:], left, equal); diff != "" {
		t.Error(diff)
	}
	if n := len(must(s.Notices(t.Context(), "", 0, 9))); n != 2 {
		t.Errorf("%d notices", n)
	}
}

func TestNoticesOfAnAccount(t *testing.T) {
	s := openNew(t, Options{})
	var c engine.Changes
	for id := int64(1); id <= 20; id++ {
		c.Notices = append(c.Notices, engine.Notice{ID: id * 3, Time: at(int(id)), Account: []string{"a", "b"}[id%2], Kind: engine.NoticeUp})
	}
	save(t, s, c)
	for _, tc := range []struct {
		account string
		after   int64
		limit   int
		want    string
	}{
		{"a", 0, 3, "[6 12 18]"}, {"a", 18, 3, "[24 30 36]"}, {"b", 51, 9, "[57]"}, {"b", 57, 9, "[]"},
		{"", 54, 9, "[57 60]"}, {"", 0, 2, "[3 6]"}, {"c", 0, 9, "[]"}, {"a", 0, 0, "[]"}, {"a", 0, -1, "[]"},
	} {
		var ids []int64
		for _, n := range must(s.Notices(t.Context(), tc.account, tc.after, tc.limit)) {
			ids = append(ids, n.ID)
		}
		if got := fmt.Sprint(ids); got != tc.want {
			t.Errorf("%q after %d, %d of them: %s, want %s", tc.account, tc.after, tc.limit, got, tc.want)
		}
	}
}

// Notices are pruned by number, but none that is on its way, and the numbers go
// on.
func TestNoticesArePruned(t *testing.T) {
	s := openNew(t, Options{KeepNotices: 5})
	save(t, s, engine.Changes{Accounts: []engine.Account{{Name: "a"}}, Webhooks: []engine.Webhook{{ID: "w", Account: "a"}}})
	for id := int64(1); id <= 30; id++ {
		d := engine.Delivery{Notice: id, Webhook: "w", Done: at(1)}
		if id == 3 || id == 9 {
			d.Done, d.Next = d.Next, at(1)
		}
		save(t, s, engine.Changes{
			Notices:    []engine.Notice{{ID: id, Time: at(int(id)), Account: "a", Kind: engine.NoticeUp}},
			Deliveries: []engine.Delivery{d},
		})
	}
	ids := func() string {
		var list []int64
		for _, n := range must(s.Notices(t.Context(), "a", 0, 99)) {
			list = append(list, n.ID)
		}
		return fmt.Sprint(list)
	}
	if got := ids(); got != "[3 9 26 27 28 29 30]" {
		t.Errorf("left are %s", got)
	}
	if n := rows(t, s, "deliveries"); n != 7 {
		t.Errorf("%d deliveries", n)
	}
	if err := s.SaveDelivery(t.Context(), engine.Delivery{Notice: 3, Webhook: "w", Attempts: 9, Error: "given up"}); err != nil {
		t.Fatal(err)
	}
	save(t, s, engine.Changes{Notices: []engine.Notice{{ID: 31, Time: at(31), Account: "a", Kind: engine.NoticeUp}}})
	if got := ids(); got != "[9 27 28 29 30 31]" {
		t.Errorf("left are %s", got)
	}
	if last := loaded(t, s).LastID.Notice; last != 31 {
		t.Errorf("the last number is %d", last)
	}
}

func TestLedgerOfAnAccount(t *testing.T) {
	s := openNew(t, Options{})
	c := engine.Changes{Accounts: []engine.Account{{Name: "a"}, {Name: "b"}}}
	for id := int64(1); id <= 12; id++ {
		c.Ledger = append(c.Ledger, engine.LedgerRow{
			ID: id, Time: second(int(id / 2)), Kind: engine.LedgerStart, Account: []string{"a", "b"}[id%2], Server: "s", Task: id,
		})
	}
	save(t, s, c)
	for _, tc := range []struct {
		account string
		before  int
		want    string
	}{
		{"", 100, "[1 2 3 4 5 6 7 8 9 10 11 12]"}, {"a", 100, "[2 4 6 8 10 12]"}, {"b", 3, "[1 3 5]"}, {"a", 3, "[2 4]"},
		{"a", 0, "[]"}, {"c", 100, "[]"}, {"", 1, "[1]"},
	} {
		var ids []int64
		for _, l := range must(s.Ledger(t.Context(), tc.account, second(tc.before))) {
			ids = append(ids, l.ID)
		}
		if got := fmt.Sprint(ids); got != tc.want {
			t.Errorf("%q before %d: %s, want %s", tc.account, tc.before, got, tc.want)
		}
	}
	if billed := loaded(t, s).Billed; !billed.Equal(second(6)) {
		t.Errorf("billed until %s", billed)
	}
}

func TestJobByNumber(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	for _, want := range everything().Jobs {
		if diff := cmp.Diff(want, must(s.Job(t.Context(), want.ID)), equal); diff != "" {
			t.Error(diff)
		}
	}
	for _, id := range []int64{0, 4, -1} {
		if _, err := s.Job(t.Context(), id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("job %d: %v, want ErrNotFound", id, err)
		}
	}
}

func TestDeliveriesOfAWebhook(t *testing.T) {
	s := openNew(t, Options{})
	outbox(t, s, 9) // odd ones are a's
	list := func(account, webhook string, before int64, limit int) string {
		var ids []int64
		for _, d := range must(s.Deliveries(t.Context(), account, webhook, before, limit)) {
			if d.Webhook.ID != webhook || d.Notice.ID != d.Delivery.Notice {
				t.Errorf("%+v", d)
			}
			ids = append(ids, d.Notice.ID)
		}
		return fmt.Sprint(ids)
	}
	for _, tc := range []struct {
		account, webhook string
		before           int64
		limit            int
		want             string
	}{
		{"a", "a1", 0, 2, "[9 7]"}, {"a", "a1", 7, 9, "[5 3 1]"}, {"b", "b1", 0, 9, "[8 6 4 2]"},
		{"b", "a1", 0, 9, "[]"}, {"a", "none", 0, 9, "[]"}, {"a", "a2", 0, -1, "[]"},
	} {
		if got := list(tc.account, tc.webhook, tc.before, tc.limit); got != tc.want {
			t.Errorf("%s %s before %d: %s, want %s", tc.account, tc.webhook, tc.before, got, tc.want)
		}
	}
}

// The deliverer writes beside the loop: nothing is lost of either, whatever the
// order.
func TestDeliveriesBesideSaves(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	outbox(t, s, 200)
	var wg sync.WaitGroup
	for _, webhook := range []string{"a1", "a2", "b1"} {
		wg.Go(func() {
			for {
				first := must(s.FirstDeliveries(t.Context(), webhook))
				if len(first) == 0 {
					return
				}
				d := first[0].Delivery
				d.Attempts, d.Next, d.Status, d.Done = d.Attempts+1, d.Done, 204, at(1)
				if err := s.SaveDelivery(t.Context(), d); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := int64(1); n <= 50; n++ {
		save(t, s, engine.Changes{Audit: []engine.AuditRow{{ID: n, Time: at(0)}}, Log: []engine.LogLine{{ID: n, Time: at(0)}}})
	}
	wg.Wait()
	for _, d := range must(query(t.Context(), s.read, deliveryRow, deliveries.sel(""))) {
		if d.Attempts != 1 || d.Done.IsZero() {
			t.Errorf("%+v", d)
		}
	}
	if st := loaded(t, s); st.LastID.Audit != 50 || st.LastID.Log != 50 {
		t.Errorf("last numbers %+v", st.LastID)
	}
}

func TestSaveDeliveryErrors(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	d := everything().Deliveries[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.SaveDelivery(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	d.Done = at(1) // and still due
	if err := s.SaveDelivery(t.Context(), d); err == nil || !strings.HasPrefix(err.Error(), "store: save delivery 1 to w1: ") {
		t.Errorf("done and due: %v", err)
	}
	checkEverything(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveDelivery(t.Context(), d); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for what, read := range map[string]func() error{
		"notices":    func() error { _, err := s.Notices(t.Context(), "", 0, 1); return err },
		"ledger":     func() error { _, err := s.Ledger(t.Context(), "", at(0)); return err },
		"job":        func() error { _, err := s.Job(t.Context(), 1); return err },
		"deliveries": func() error { _, err := s.Deliveries(t.Context(), "", "", 0, 1); return err },
		"first":      func() error { _, err := s.FirstDeliveries(t.Context(), ""); return err },
	} {
		if err := read(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}
