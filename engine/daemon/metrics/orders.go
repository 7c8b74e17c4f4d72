package metrics

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine"
)

type orderCounters struct{ orders, notices *prometheus.CounterVec }

func newOrderCounters() *orderCounters {
	o := &orderCounters{
		orders:  counters("picloud_orders_total", "Orders of servers, by how they were answered.", "result"),
		notices: counters("picloud_notices_total", "What happened to customers' servers, by kind; server.failed is an order that was taken and could not be carried out.", "kind"),
	}
	fromZero(o.orders, orderTaken, orderRepeated, other)
	for _, r := range orderRefusals {
		fromZero(o.orders, r.word)
	}
	for _, kind := range engine.NoticeKinds() {
		fromZero(o.notices, string(kind))
	}
	return o
}

// How an order is answered that is not refused.
const (
	orderTaken    = "taken"
	orderRepeated = "repeated"
)

// orderRefusals are short words for why an order is refused; the first that fits
// is told.
var orderRefusals = []struct {
	err  error
	word string
}{
	{engine.ErrNoneFree, "none_free"},
	{engine.ErrServerTaken, "name_taken"},
	{engine.ErrBadOrder, "bad"},
	{engine.ErrNotAllowed, "not_allowed"},
	{engine.ErrNoSuchAccount, "account"},
	{engine.ErrAccountClosed, "account"},
	{engine.ErrTooMany, "limit"},
	{engine.ErrOnceDiffers, "once_differs"},
	{engine.ErrNotWritten, "not_written"},
}

// Served counts how an order was answered; it is engine.Config's Served.
func (m *Metrics) Served(verb engine.ServerVerb, res engine.ServerResult, err error) {
	if verb == engine.ServerOrder {
		m.orders.orders.WithLabelValues(orderResult(res, err)).Inc()
	}
}

func orderResult(res engine.ServerResult, err error) string {
	switch {
	case err == nil && res.Repeated:
		return orderRepeated
	case err == nil:
		return orderTaken
	}
	for _, r := range orderRefusals {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return other
}

// saved counts what happened by the notices that are stored of it, once each.
func (o *orderCounters) saved(c *engine.Changes) {
	for i := range c.Notices {
		o.notices.WithLabelValues(string(c.Notices[i].Kind)).Inc()
	}
}

// configured is the state of a server that nobody ordered.
const configured = "configured"

// serverStates are told also where there is no server in them. One that ended is
// on no Pi.
var serverStates = []string{
	configured, string(engine.ServerProvisioning), string(engine.ServerInitialising), string(engine.ServerLive), string(engine.ServerReleasing),
}

func countServers(s *state, emit emit) {
	n := make(map[string]int, len(serverStates))
	for i := range s.Pis {
		switch p := &s.Pis[i]; {
		case p.Rent.State != "":
			n[string(p.Rent.State)]++
		case p.Server != "":
			n[configured]++
		}
	}
	for _, state := range serverStates {
		emit(float64(n[state]), state)
	}
}

// sumRent is what live servers bring a month.
func sumRent(s *state) (float64, bool) {
	var sum engine.Pence
	for i := range s.Pis {
		if r := &s.Pis[i].Rent; r.State == engine.ServerLive {
			sum += r.Price
		}
	}
	return float64(sum) / 100, true
}

// countFree counts the Pis that orders can have of each kind of board that is
// sold, without the spares.
func countFree(s *state, emit emit) {
	rules := s.src.Rules()
	n := map[engine.Spec]int{}
	for i := range s.Pis {
		if p := &s.Pis[i]; p.Free {
			n[p.Spec()]++
		}
	}
	type kind struct{ model, memory int } // boards that differ in their clock only are one
	free, order := map[kind]int{}, []kind(nil)
	for _, spec := range s.Specs() {
		if _, sold := rules.Price(spec, 0); !sold && len(rules.Plans) > 0 {
			continue
		}
		k := kind{spec.Model, spec.Memory}
		if _, there := free[k]; !there {
			order = append(order, k)
		}
		free[k] += max(0, n[spec]-rules.Spares)
	}
	for _, k := range order {
		emit(float64(free[k]), strconv.Itoa(k.model), strconv.Itoa(k.memory))
	}
}

func countAccounts(s *state, emit emit) {
	open, closed := 0, 0
	for _, a := range s.src.Accounts().List() {
		if a.Closed.IsZero() {
			open++
		} else {
			closed++
		}
	}
	emit(float64(open), "open")
	emit(float64(closed), "closed")
}
