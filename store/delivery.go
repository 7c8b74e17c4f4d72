package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"picloud/engine"
)

// What a delivery is read with.
var (
	dueDeliveries = withNotice("d.next <= ? ORDER BY d.next, d.notice, d.webhook LIMIT ?")
	deliveriesOf  = withNotice("d.webhook = ? AND d.notice < ? AND h.account = ? ORDER BY d.notice DESC LIMIT ?")
)

func withNotice(tail string) string {
	return "SELECT " + deliveries.of("d") + ", " + notices.of("n") + ", " + webhooks.of("h") + " FROM deliveries d " +
		"JOIN notices n ON n.id = d.notice JOIN webhooks h ON h.id = d.webhook WHERE " + tail
}

func sentRow(s *engine.Sending) []any {
	return append(append(deliveryRow(&s.Delivery), noticeRow(&s.Notice)...), webhookRow(&s.Webhook)...)
}

// DueDeliveries returns what is to be tried at now, the longest due first: limit
// of them, at most MaxPage.
func (s *Store) DueDeliveries(ctx context.Context, now time.Time, limit int) ([]engine.Sending, error) {
	due, err := query(ctx, s.read, sentRow, dueDeliveries, moment{&now}, page(limit))
	if err != nil {
		return nil, s.fault("read due deliveries", err)
	}
	return due, nil
}

const nextDelivery = "SELECT min(next) FROM deliveries WHERE next IS NOT NULL"

// NextDelivery is when the next delivery is to be tried, which may be past; zero
// = there is none.
func (s *Store) NextDelivery(ctx context.Context) (next time.Time, err error) {
	if err := s.read.QueryRowContext(ctx, nextDelivery).Scan(moment{&next}); err != nil {
		return time.Time{}, s.fault("read the next delivery", err)
	}
	return next, nil
}

// saveDelivery changes no row into another's: the key only finds it.
const saveDelivery = "UPDATE deliveries SET attempts = ?3, next = ?4, status = ?5, error = ?6, done = ?7 " +
	"WHERE notice = ?1 AND webhook = ?2"

// SaveDelivery writes what became of a delivery. It may be called beside Save,
// and does not wait for the disk: what a power cut takes is sent again, with the
// same number. It returns engine.ErrNotFound when the webhook was removed
// meanwhile, and the errors of Save.
func (s *Store) SaveDelivery(ctx context.Context, d engine.Delivery) error {
	if err := s.changeDelivery(ctx, &d); err != nil {
		return fmt.Errorf("store: save delivery %d to %s: %w", d.Notice, d.Webhook, explain(err))
	}
	return nil
}

func (s *Store) changeDelivery(ctx context.Context, d *engine.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		return ErrClosed
	}
	return s.writer.transaction(ctx, syncNormal, func(b *batch) {
		n, err := b.run(saveDelivery, deliveryRow(d)...)
		if n == 0 && err == nil && b.err == nil {
			err = engine.ErrNotFound
		}
		if err != nil {
			b.err = err
		}
	})
}

// Deliveries returns what was and is to be sent to a webhook of an account, newest
// notice first and older than before (0 = the newest): limit of them, at most
// MaxPage. Another account's webhook has none.
func (s *Store) Deliveries(ctx context.Context, account, webhook string, before int64, limit int) ([]engine.Sending, error) {
	rows, err := query(ctx, s.read, sentRow, deliveriesOf, webhook, from(before), account, page(limit))
	if err != nil {
		return nil, s.fault(fmt.Sprintf("read deliveries to %q", webhook), err)
	}
	return rows, nil
}

// Notices returns those of an account ("" = all) after a number, oldest first:
// limit of them, at most MaxPage. Those beyond Options.KeepNotices are gone.
func (s *Store) Notices(ctx context.Context, account string, after int64, limit int) ([]engine.Notice, error) {
	tail, args := "WHERE account = ? AND id > ? ORDER BY id LIMIT ?", []any{account, after, page(limit)}
	if account == "" {
		tail, args = "WHERE id > ? ORDER BY id LIMIT ?", args[1:]
	}
	var rows []engine.Notice
	if err := list(ctx, s.read, &rows, notices, tail, args...); err != nil {
		return nil, s.fault("read notices", err)
	}
	return rows, nil
}

// Ledger returns all rows of an account ("" = all) before a time, oldest first.
func (s *Store) Ledger(ctx context.Context, account string, before time.Time) ([]engine.LedgerRow, error) {
	tail, args := "WHERE account = ? AND time < ? ORDER BY time, id", []any{account, moment{&before}}
	if account == "" {
		tail, args = "WHERE time < ? ORDER BY id", args[1:]
	}
	var rows []engine.LedgerRow
	if err := list(ctx, s.read, &rows, ledger, tail, args...); err != nil {
		return nil, s.fault("read the ledger", err)
	}
	return rows, nil
}

// Job returns a job with its steps, engine.ErrNotFound if there is none of that
// number.
func (s *Store) Job(ctx context.Context, id int64) (engine.Job, error) {
	var found []engine.Job
	err := listJobs(ctx, s.read, &found, oneJob, id)
	if err == nil && len(found) == 0 {
		err = engine.ErrNotFound
	}
	if err != nil {
		return engine.Job{}, s.fault(fmt.Sprintf("read job %d", id), err)
	}
	return found[0], nil
}

func loadOrders(ctx context.Context, tx *sql.Tx, st *engine.State) error {
	for _, part := range []func() error{
		func() error { return list(ctx, tx, &st.Accounts, accounts, "ORDER BY name") },
		func() error { return list(ctx, tx, &st.APIKeys, apiKeys, "ORDER BY id") },
		func() error { return list(ctx, tx, &st.Webhooks, webhooks, "ORDER BY id") },
		func() error { return list(ctx, tx, &st.Onces, onces, "ORDER BY account, key") },
		func() error { return billed(ctx, tx, &st.Billed) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// billed is the time of the newest row of the ledger, zero if it has none.
func billed(ctx context.Context, tx *sql.Tx, at *time.Time) error {
	return tx.QueryRowContext(ctx, "SELECT (SELECT time FROM ledger ORDER BY id DESC LIMIT 1)").Scan(moment{at})
}
