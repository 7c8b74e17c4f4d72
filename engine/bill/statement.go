package bill

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"picloud/engine"
)

// Line is what one server cost while it cost the same.
type Line struct {
	Account  string
	Server   string
	Task     int64     // of its order: tells a server from a later one of its name
	From, To time.Time // UTC; To is the first second that it does not count
	Spec     engine.Spec
	DiskGB   int
	Price    engine.Pence // a month
	Amount   engine.Pence
}

// Seconds is how long it is.
func (l *Line) Seconds() int64 { return l.To.Unix() - l.From.Unix() }

// Statement is what servers cost in a month.
type Statement struct {
	Month Month
	// Until is the time to which it is counted: the end of the month if that is
	// over.
	Until time.Time
	// Lines are by account, server, order and time.
	Lines []Line
	Total engine.Pence
}

// Over tells whether the month is counted to its end, so that nothing of it
// changes any more.
func (s *Statement) Over() bool { return !s.Until.Before(s.Month.End()) }

// Make counts a month from the rows of the ledger, oldest first: all those of the
// accounts that it is for, from the ledger's first on. until is how far the ledger
// is whole; what is after that is not counted. It fails with ErrLedger,
// ErrNotBegun or ErrTooMuch.
func Make(m Month, rows []engine.LedgerRow, until time.Time) (Statement, error) {
	st := Statement{Month: m, Until: until.UTC().Truncate(time.Second)}
	if st.Over() {
		st.Until = m.End()
	}
	if !st.Until.After(m.Begin()) {
		return Statement{}, fmt.Errorf("%s: %w", m, ErrNotBegun)
	}
	orders, err := read(rows)
	if err != nil {
		return Statement{}, err
	}
	for _, o := range orders {
		for i := range o.spans {
			if err := st.add(&o.spans[i]); err != nil {
				return Statement{}, fmt.Errorf("%s: %w", m, err)
			}
		}
	}
	slices.SortStableFunc(st.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Task, b.Task), a.From.Compare(b.From))
	})
	return st, nil
}

// add adds the line of a span, if any of it is in the time that is counted.
func (s *Statement) add(sp *span) (err error) {
	from, to := sp.within(s.Month.Begin(), s.Until)
	if !from.Before(to) {
		return nil
	}
	row := &sp.first
	l := Line{
		Account: row.Account, Server: row.Server, Task: row.Task, From: from, To: to,
		Spec: row.Spec, DiskGB: row.DiskGB, Price: row.Price,
	}
	l.Amount = share(l.Price, l.Seconds(), s.Month.Seconds())
	s.Lines = append(s.Lines, l)
	s.Total, err = sum(s.Total, l.Amount)
	return err
}

// accounts are the lines of each account.
func (s *Statement) accounts(f func(name string, lines []Line, total engine.Pence)) {
	for from := 0; from < len(s.Lines); {
		to, total := from, engine.Pence(0)
		for ; to < len(s.Lines) && s.Lines[to].Account == s.Lines[from].Account; to++ {
			total += s.Lines[to].Amount
		}
		f(s.Lines[from].Account, s.Lines[from:to], total)
		from = to
	}
}
