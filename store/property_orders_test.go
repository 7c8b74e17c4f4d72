package store

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"picloud/engine"
)

// sold is the part of the model that orders are in.
type sold struct {
	accounts map[string]engine.Account
	keys     map[string]engine.APIKey
	hooks    map[string]engine.Webhook
	onces    map[[2]string]engine.OnceRow
	ledger   []engine.LedgerRow
	notices  []engine.Notice
	sendings map[sending]engine.Delivery
}

type sending struct {
	notice  int64
	webhook string
}

func newSold() sold {
	return sold{
		accounts: map[string]engine.Account{}, keys: map[string]engine.APIKey{}, hooks: map[string]engine.Webhook{},
		onces: map[[2]string]engine.OnceRow{}, sendings: map[sending]engine.Delivery{},
	}
}

func (m *sold) save(c engine.Changes) {
	putAll(m.accounts, c.Accounts, func(a engine.Account) string { return a.Name })
	putAll(m.keys, c.APIKeys, func(k engine.APIKey) string { return k.ID })
	putAll(m.hooks, c.Webhooks, func(h engine.Webhook) string { return h.ID })
	for _, id := range c.RemoveWebhooks {
		delete(m.hooks, id)
		maps.DeleteFunc(m.sendings, func(s sending, _ engine.Delivery) bool { return s.webhook == id })
	}
	putAll(m.onces, c.Onces, func(o engine.OnceRow) [2]string { return [2]string{o.Account, o.Key} })
	maps.DeleteFunc(m.onces, func(_ [2]string, o engine.OnceRow) bool {
		return !c.ForgetOnces.IsZero() && o.Time.Before(c.ForgetOnces)
	})
	m.ledger = append(m.ledger, c.Ledger...)
	m.notices = append(m.notices, c.Notices...)
	putAll(m.sendings, c.Deliveries, func(d engine.Delivery) sending { return sending{d.Notice, d.Webhook} })
}

func (m *sold) state(st *engine.State) {
	st.Accounts, st.APIKeys, st.Webhooks = byKey(m.accounts, anyOf), byKey(m.keys, anyOf), byKey(m.hooks, anyOf)
	for _, key := range slices.SortedFunc(maps.Keys(m.onces), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		st.Onces = append(st.Onces, m.onces[key])
	}
	if n := len(m.ledger); n > 0 {
		st.Billed = m.ledger[n-1].Time
	}
}

func (m *sold) compare(ctx context.Context, s *Store, check func(what string, want, got any)) {
	for account := range m.accounts {
		check("ledger of "+account, only(m.ledger, func(l engine.LedgerRow) bool { return l.Account == account }),
			must(s.Ledger(ctx, account, endOfTime)))
		check("notices of "+account, only(m.notices, func(n engine.Notice) bool { return n.Account == account }),
			must(s.Notices(ctx, account, 0, MaxPage)))
	}
	check("ledger", m.ledger, must(s.Ledger(ctx, "", endOfTime)))
	if n := len(m.ledger); n > 0 {
		until := m.ledger[n/2].Time
		check("ledger until a time", only(m.ledger, func(l engine.LedgerRow) bool { return l.Time.Before(until) }),
			must(s.Ledger(ctx, "", until)))
	}
	check("notices", m.notices, must(s.Notices(ctx, "", 0, MaxPage)))
	for id, hook := range m.hooks {
		var want []engine.Sending
		for _, n := range slices.Backward(m.notices) {
			if d, ok := m.sendings[sending{n.ID, id}]; ok {
				want = append(want, engine.Sending{Delivery: d, Notice: n, Webhook: hook})
			}
		}
		check("deliveries", want, must(s.Deliveries(ctx, hook.Account, id, 0, MaxPage)))
		waiting := only(want, func(s engine.Sending) bool { return !s.Delivery.Next.IsZero() })
		check("first delivery", waiting[max(0, len(waiting)-1):], must(s.FirstDeliveries(ctx, id)))
	}
}

// endOfTime is after all times that are drawn.
var endOfTime = time.UnixMicro(1 << 60)

func only[T any](list []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !keep(v) })
}

// onePiEach takes servers away from Pis that another has, or will have when c is
// saved. Which rows of a Pi come before its last does not matter.
func (g gen) onePiEach(m *model, c *engine.Changes) {
	on := map[string]engine.PiName{}
	changed := map[engine.PiName]bool{}
	for _, p := range c.Pis {
		changed[p.Name] = true
	}
	for name, p := range m.pis {
		if !changed[name] && !slices.Contains(c.RemovePis, name) && p.Server != "" {
			on[p.Server] = name
		}
	}
	for i := len(c.Pis) - 1; i >= 0; i-- {
		p := &c.Pis[i]
		if !changed[p.Name] || slices.Contains(c.RemovePis, p.Name) {
			continue // a later row, or none, is what stays
		}
		changed[p.Name] = false
		if _, taken := on[p.Server]; taken {
			p.Server = ""
		} else if p.Server != "" {
			on[p.Server] = p.Name
		}
	}
}

// orders draws what customers have.
func (g gen) orders(m *model, c *engine.Changes) {
	c.Accounts = some(g, g.account)
	names := slices.Collect(maps.Keys(m.accounts))
	for _, a := range c.Accounts {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	c.Servers = g.servers(m, names)
	c.Onces = some(g, g.once)
	if g.bool() {
		c.ForgetOnces = g.time()
	}
	c.Notices = some(g, func() engine.Notice {
		return engine.Notice{
			ID: g.newID(&m.last.Notice), Time: g.time(), Account: g.name(), Server: g.text(),
			Kind: engine.NoticeKind("x" + g.text()), Text: g.text(), Task: int64(g.number()),
		}
	})
	if len(names) > 0 {
		c.APIKeys = some(g, func() engine.APIKey { return g.apiKey(names) })
		c.Webhooks = some(g, func() engine.Webhook {
			return engine.Webhook{ID: g.name(), Account: pick(g, names...), URL: g.text(), Secret: g.text(), Created: g.maybeTime()}
		})
		c.Ledger = g.ledger(m, names)
	}
	c.RemoveWebhooks = some(g, g.name)
	c.Deliveries = g.deliveries(m, c)
}

func (g gen) account() engine.Account {
	return engine.Account{Name: g.name(), Contact: g.text(), Limit: g.count(), Created: g.maybeTime(), Closed: g.maybeTime()}
}

func (g gen) apiKey(accounts []string) engine.APIKey {
	k := engine.APIKey{
		ID: g.name(), ReadOnly: g.bool(), Hash: "x" + g.text(), Created: g.maybeTime(), Revoked: g.maybeTime(), Used: g.maybeTime(),
	}
	if g.bool() {
		k.Operator = g.name()
	} else {
		k.Account = pick(g, accounts...)
	}
	return k
}

func (g gen) once() engine.OnceRow {
	return engine.OnceRow{
		Account: g.name(), Once: engine.Once{Key: g.name(), Digest: g.text()}, Verb: engine.ServerVerb(g.text()),
		Server: g.text(), Job: int64(g.number()), Time: g.time(),
	}
}

// servers draws some, of which no two have a number, nor one that another has
// after the Save.
func (g gen) servers(m *model, accounts []string) []engine.Server {
	list := some(g, func() engine.Server { return g.server(accounts) })
	used, changed := map[int]bool{}, map[string]bool{}
	for _, s := range list {
		changed[s.Name] = true
	}
	for name, s := range m.servers {
		if !changed[name] {
			used[s.Number] = true
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		s := &list[i]
		if !changed[s.Name] {
			continue
		}
		changed[s.Name] = false
		if used[s.Number] {
			s.Number = 0
		}
		used[s.Number] = true
	}
	return list
}

// server has a number out of few, with its own address and port.
func (g gen) server(accounts []string) engine.Server {
	s := engine.Server{
		Name: g.name(), Owner: g.text(), Keys: some(g, g.text), Address: g.prefix(), Gateway: g.addr(), Disk: int64(g.number()),
		State: pick(g, "", engine.ServerProvisioning, engine.ServerInitialising, engine.ServerLive, engine.ServerReleasing,
			engine.ServerReleased, engine.ServerFailed),
		Wish: g.spec(), Image: g.text(), DiskGB: g.count(), Number: rapid.IntRange(0, 5).Draw(g.T, "place"),
		Price: engine.Pence(g.count()), Task: int64(g.count()), Placed: g.maybeTime(), Created: g.maybeTime(),
		Live: g.maybeTime(), Ended: g.maybeTime(), Note: g.text(),
	}
	if s.Number != 0 {
		s.SSHPort = 5000 + s.Number
		s.Address = netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", s.Number)), 64)
	}
	if len(accounts) > 0 && g.bool() {
		s.Account = pick(g, accounts...)
	}
	return s
}

func (g gen) spec() engine.Spec {
	return engine.Spec{Model: g.number(), Memory: g.number(), CPU: g.number(), NIC: g.number()}
}

// ledger draws what may come next: the starts of new servers, changes and ends of
// those that began.
func (g gen) ledger(m *model, accounts []string) []engine.LedgerRow {
	pays := map[int64]engine.LedgerRow{} // by task
	at := time.Unix(0, 0).UTC()
	for _, row := range m.ledger {
		at = row.Time
		if pays[row.Task] = row; row.Kind == engine.LedgerStop {
			delete(pays, row.Task)
		}
	}
	return some(g, func() engine.LedgerRow {
		at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(g.T, "seconds")) * time.Second)
		row := engine.LedgerRow{
			ID: g.newID(&m.last.Ledger), Time: at, Kind: engine.LedgerStart, Account: pick(g, accounts...), Server: "x" + g.text(),
			Spec: g.spec(), DiskGB: g.count(), Price: engine.Pence(g.count()), Reason: g.text(),
		}
		row.Task = row.ID // a number that no other has
		if open := slices.Sorted(maps.Keys(pays)); len(open) > 0 && g.bool() {
			was := pays[pick(g, open...)]
			row.Account, row.Server, row.Task = was.Account, was.Server, was.Task
			if row.Kind = pick(g, engine.LedgerChange, engine.LedgerStop); row.Kind == engine.LedgerStop {
				row.Price = 0
			}
		}
		if pays[row.Task] = row; row.Kind == engine.LedgerStop {
			delete(pays, row.Task)
		}
		return row
	})
}

// deliveries are of stored and new notices to webhooks that stay.
func (g gen) deliveries(m *model, c *engine.Changes) []engine.Delivery {
	hooks := slices.Collect(maps.Keys(m.hooks))
	for _, h := range c.Webhooks {
		hooks = append(hooks, h.ID)
	}
	hooks = slices.DeleteFunc(hooks, func(id string) bool { return slices.Contains(c.RemoveWebhooks, id) })
	slices.Sort(hooks)
	if len(hooks) == 0 || len(m.notices)+len(c.Notices) == 0 {
		return nil
	}
	all := slices.Concat(m.notices, c.Notices)
	used := map[sending]bool{}
	for s := range m.sendings {
		used[s] = true
	}
	list := some(g, func() engine.Delivery { return g.delivery(pick(g, all...).ID, pick(g, hooks...)) })
	return slices.DeleteFunc(list, func(d engine.Delivery) bool {
		s := sending{d.Notice, d.Webhook}
		was := used[s]
		used[s] = true
		return was
	})
}

func (g gen) delivery(notice int64, webhook string) engine.Delivery {
	d := engine.Delivery{Notice: notice, Webhook: webhook, Attempts: g.count(), Status: g.number(), Error: g.text()}
	if g.bool() {
		d.Next = g.time()
	} else {
		d.Done = g.maybeTime()
	}
	return d
}

// deliver does what the deliverer does between Saves.
func (g gen) deliver(ctx context.Context, m *model, s *Store) {
	keys := slices.SortedFunc(maps.Keys(m.sendings), func(a, b sending) int {
		return slices.Compare([]string{fmt.Sprint(a.notice), a.webhook}, []string{fmt.Sprint(b.notice), b.webhook})
	})
	if len(keys) == 0 || g.bool() {
		return
	}
	key := pick(g, keys...)
	d := g.delivery(key.notice, key.webhook)
	if err := s.SaveDelivery(ctx, d); err != nil {
		g.Fatal(err)
	}
	m.sendings[key] = d
}
