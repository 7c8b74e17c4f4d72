package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoAct means that a row is not of an act that is open.
var ErrNoAct = errors.New("no act of that number is open")

// Note writes an act into the audit that is done beside the verbs, such as
// reading the configuration again. It is called before the act, with a row
// without an ID, whose ID it returns, and after it with the same row and its
// Result. One that is over already is written at once. With an error nothing is
// written, and before an act it then must not be done.
func (e *Engine) Note(ctx context.Context, row AuditRow) (id int64, err error) {
	return ask(ctx, e, e.notes, row)
}

func (r *rack) note(row AuditRow) (int64, error) {
	if row.ID != 0 {
		if _, open := r.open[row.ID]; !open {
			return 0, fmt.Errorf("%s: %w: %d", row.Verb, ErrNoAct, row.ID)
		}
		r.closeAudit(row.ID, row.Result)
		r.logNote(&row)
		return row.ID, r.flush(context.Background())
	}
	if err := r.flush(context.Background()); err != nil {
		return 0, fmt.Errorf("%s: %w: nothing is done that could not be written down", row.Verb, err)
	}
	kept := len(r.changes.Audit)
	r.ids.Audit++
	row.ID = r.ids.Audit
	row.Verb, row.Target, row.Reason, row.Result = printable(row.Verb), printable(row.Target), printable(row.Reason), printable(row.Result)
	row.Actor, row.Source, row.Key = printable(row.Actor), printable(row.Source), printable(row.Key)
	if row.Time.IsZero() {
		row.Time = time.Now()
	}
	if row.Result != "" && row.Ended.IsZero() {
		row.Ended = time.Now()
	}
	if row.Ended.IsZero() {
		r.open[row.ID] = row
	}
	r.changes.Audit = append(r.changes.Audit, row)
	if err := r.flush(context.Background()); err != nil {
		delete(r.open, row.ID)
		r.changes.Audit = r.changes.Audit[:kept]
		return 0, fmt.Errorf("%s: %w: nothing is done that could not be written down", row.Verb, err)
	}
	r.logNote(&row)
	return row.ID, nil
}

// logNote tells viewers of the act.
func (r *rack) logNote(row *AuditRow) {
	text := row.Verb
	if row.Target != "" {
		text += " " + row.Target
	}
	if row.Result != "" {
		text += " " + row.Result
	}
	r.logf(row.Actor, "", 0, "%s", text)
}
