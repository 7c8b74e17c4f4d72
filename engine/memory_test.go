package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// sold is what a memory keeps of orders, as the store does.
type sold struct {
	servers    map[string]Server
	accounts   map[string]Account
	keys       map[string]APIKey
	webhooks   map[string]Webhook
	onces      map[[2]string]OnceRow
	ledger     []LedgerRow
	notices    []Notice
	deliveries []Delivery
}

func newSold() sold {
	return sold{
		servers: map[string]Server{}, accounts: map[string]Account{}, keys: map[string]APIKey{},
		webhooks: map[string]Webhook{}, onces: map[[2]string]OnceRow{},
	}
}

func (m *sold) save(c *Changes) {
	for _, s := range c.Servers {
		m.servers[s.Name] = s
	}
	for _, a := range c.Accounts {
		m.accounts[a.Name] = a
	}
	for _, k := range c.APIKeys {
		m.keys[k.ID] = k
	}
	for _, h := range c.Webhooks {
		m.webhooks[h.ID] = h
	}
	for _, id := range c.RemoveWebhooks {
		delete(m.webhooks, id)
		m.deliveries = slices.DeleteFunc(m.deliveries, func(d Delivery) bool { return d.Webhook == id })
	}
	for _, o := range c.Onces {
		m.onces[[2]string{o.Account, o.Key}] = o
	}
	maps.DeleteFunc(m.onces, func(_ [2]string, o OnceRow) bool { return o.Time.Before(c.ForgetOnces) })
	m.ledger = append(m.ledger, c.Ledger...)
	m.notices = append(m.notices, c.Notices...)
	m.deliveries = append(m.deliveries, c.Deliveries...)
}

func (m *sold) load(s *State) {
	for _, v := range m.servers {
		if !v.State.Ended() || v.Number != 0 {
			s.Servers = append(s.Servers, v)
		}
	}
	s.Accounts = append(s.Accounts, slices.Collect(maps.Values(m.accounts))...)
	s.APIKeys = append(s.APIKeys, slices.Collect(maps.Values(m.keys))...)
	s.Webhooks = append(s.Webhooks, slices.Collect(maps.Values(m.webhooks))...)
	s.Onces = append(s.Onces, slices.Collect(maps.Values(m.onces))...)
	if n := len(m.ledger); n > 0 {
		s.LastID.Ledger, s.Billed = m.ledger[n-1].ID, m.ledger[n-1].Time
	}
	if n := len(m.notices); n > 0 {
		s.LastID.Notice = m.notices[n-1].ID
	}
}

// mistakes lists what the store would refuse: a place in the pool given twice,
// and a ledger that is out of order, or that ends twice what began once.
func (m *sold) mistakes() []string {
	var list []string
	taken := map[any]string{}
	for _, s := range m.servers {
		if s.Number == 0 {
			continue
		}
		type port int
		for _, place := range []any{s.Number, s.Address, port(s.SSHPort)} {
			if other, ok := taken[place]; ok && place != (netip.Prefix{}) && place != port(0) {
				list = append(list, fmt.Sprintf("%v is of %s and %s", place, other, s.Name))
			}
			taken[place] = s.Name
		}
	}
	type order struct {
		server string
		task   int64
	}
	paying := map[order]bool{}
	for i, row := range m.ledger {
		if i > 0 && (row.ID <= m.ledger[i-1].ID || row.Time.Before(m.ledger[i-1].Time)) {
			list = append(list, fmt.Sprintf("the ledger is out of order at %+v", row))
		}
		o := order{row.Server, row.Task}
		pays, begun := paying[o]
		if begun != (row.Kind != LedgerStart) || begun && !pays {
			list = append(list, fmt.Sprintf("the ledger cannot have %+v", row))
		}
		paying[o] = row.Kind != LedgerStop
	}
	return list
}

// Job is Inventory's.
func (m *memory) Job(_ context.Context, id int64) (Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.jobs[id]
	if !ok {
		return Job{}, ErrNotFound
	}
	return j, nil
}

// Notices is Inventory's.
func (m *memory) Notices(_ context.Context, account string, after int64, limit int) ([]Notice, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Notice
	for _, n := range m.sold.notices {
		if n.ID > after && (account == "" || n.Account == account) && len(list) < limit {
			list = append(list, n)
		}
	}
	return list, nil
}

// Deliveries is Inventory's.
func (m *memory) Deliveries(_ context.Context, account, webhook string, before int64, limit int) ([]Sending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Sending
	hook := m.sold.webhooks[webhook]
	for _, d := range slices.Backward(m.sold.deliveries) {
		if d.Webhook != webhook || hook.Account != account || before != 0 && d.Notice >= before || len(list) == limit {
			continue
		}
		i := slices.IndexFunc(m.sold.notices, func(n Notice) bool { return n.ID == d.Notice })
		list = append(list, Sending{Delivery: d, Notice: m.sold.notices[i], Webhook: hook})
	}
	return list, nil
}

// Ledger is Inventory's.
func (m *memory) Ledger(_ context.Context, account string, before time.Time) ([]LedgerRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []LedgerRow
	for _, row := range m.sold.ledger {
		if row.Time.Before(before) && (account == "" || row.Account == account) {
			list = append(list, row)
		}
	}
	return list, nil
}
