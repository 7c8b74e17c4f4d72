package bill

import (
	"errors"
	"fmt"
	"time"

	"picloud/engine"
)

// ErrLedger means that rows of the ledger do not fit together.
var ErrLedger = errors.New("the ledger is not in order")

// span is a time in which a server costs the same.
type span struct {
	first engine.LedgerRow // what it says goes for the whole time
	end   time.Time        // zero = it goes on
}

// order is a server of the ledger: its task tells it from a later one of its name.
type order struct {
	last  engine.LedgerRow
	spans []span
}

// reader follows the ledger row by row.
type reader struct {
	last   engine.LedgerRow
	orders map[int64]*order
	begun  []*order         // in the order of their start
	names  map[string]int64 // task of the server that has the name now
	errs   []error
}

// maxErrors bounds how many mistakes are told.
const maxErrors = 20

// read turns rows, oldest first, into what each server cost and when.
func read(rows []engine.LedgerRow) ([]*order, error) {
	r := reader{orders: map[int64]*order{}, names: map[string]int64{}}
	for i := range rows {
		if err := r.row(&rows[i]); err != nil {
			r.errs = append(r.errs, fmt.Errorf("row %d (%s of %.40q, order %d): %w: %w", rows[i].ID, rows[i].Kind, rows[i].Server, rows[i].Task, ErrLedger, err))
		}
		if len(r.errs) == maxErrors {
			break
		}
		r.last = rows[i]
	}
	return r.begun, errors.Join(r.errs...)
}

// row takes one row.
func (r *reader) row(row *engine.LedgerRow) error {
	if err := r.fits(row); err != nil {
		return err
	}
	switch o := r.orders[row.Task]; row.Kind {
	case engine.LedgerStart:
		return r.start(row, o)
	case engine.LedgerChange:
		return r.change(row, o)
	case engine.LedgerStop:
		return r.stop(row, o)
	}
	return fmt.Errorf("it is no start, change or stop")
}

// fits checks a row by itself, and that it comes after the one before.
func (r *reader) fits(row *engine.LedgerRow) error {
	switch {
	case row.ID <= r.last.ID:
		return fmt.Errorf("it comes after row %d", r.last.ID)
	case row.Time.Before(r.last.Time):
		return fmt.Errorf("its time %s is before %s, that of row %d", stamp(row.Time), stamp(r.last.Time), r.last.ID)
	case row.Time.IsZero() || row.Time.Nanosecond() != 0:
		return fmt.Errorf("its time %s is no whole second", row.Time.UTC().Format(time.RFC3339Nano))
	case row.Account == "" || row.Server == "" || row.Task <= 0:
		return fmt.Errorf("it lacks an account, a server or an order")
	case row.Price < 0:
		return fmt.Errorf("its price %s is below zero", row.Price)
	case row.Kind == engine.LedgerStop && row.Price != 0:
		return fmt.Errorf("a stop has a price, %s", row.Price)
	}
	return nil
}

func (r *reader) start(row *engine.LedgerRow, o *order) error {
	if o != nil {
		return fmt.Errorf("its order began to cost in row %d", o.spans[0].first.ID)
	}
	if task, taken := r.names[row.Server]; taken {
		return fmt.Errorf("order %d has the name and still costs", task)
	}
	o = &order{last: *row, spans: []span{{first: *row}}}
	r.orders[row.Task] = o
	r.names[row.Server] = row.Task
	r.begun = append(r.begun, o)
	return nil
}

// goesOn checks that a row is of a server that costs.
func (o *order) goesOn(row *engine.LedgerRow) error {
	switch {
	case o == nil:
		return fmt.Errorf("its order has not begun to cost")
	case o.last.Kind == engine.LedgerStop:
		return fmt.Errorf("its order costs nothing since row %d", o.last.ID)
	case o.last.Account != row.Account || o.last.Server != row.Server:
		return fmt.Errorf("its order is of server %.40q of account %.40q", o.last.Server, o.last.Account)
	}
	return nil
}

func (r *reader) change(row *engine.LedgerRow, o *order) error {
	if err := o.goesOn(row); err != nil {
		return err
	}
	o.last = *row
	if now := o.spans[len(o.spans)-1].first; now.Price == row.Price && now.Spec == row.Spec && now.DiskGB == row.DiskGB {
		return nil // it goes on as it was
	}
	o.spans[len(o.spans)-1].end = row.Time
	o.spans = append(o.spans, span{first: *row})
	return nil
}

func (r *reader) stop(row *engine.LedgerRow, o *order) error {
	if err := o.goesOn(row); err != nil {
		return err
	}
	o.last = *row
	o.spans[len(o.spans)-1].end = row.Time
	delete(r.names, row.Server)
	return nil
}

// within is the part of a span from begin to end; from is not before to if there
// is none.
func (s *span) within(begin, end time.Time) (from, to time.Time) {
	from, to = s.first.Time.UTC(), end
	if from.Before(begin) {
		from = begin
	}
	if !s.end.IsZero() && s.end.Before(end) {
		to = s.end.UTC()
	}
	return from, to
}

// stamp is a time in UTC, as the encodings have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
