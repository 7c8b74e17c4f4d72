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
	firstDeliveries = withNotice("webhooks h CROSS JOIN deliveries d ON d.webhook = h.id", "d.notice = ("+firstOf+") AND (?1 = '' OR h.id = ?1) ORDER BY d.notice, d.webhook")
	deliveriesOf    = withNotice("deliveries d JOIN webhooks h ON h.id = d.webhook", "d.webhook = ? AND d.notice < ? AND h.account = ? ORDER BY d.notice DESC LIMIT ?")
)

func withNotice(from, where string) string {
	return "SELECT " + deliveries.of("d") + ", " + notices.of("n") + ", " + webhooks.of("h") + " FROM " + from +
		" JOIN notices n ON n.id = d.notice WHERE " + where
}

func sentRow(s *engine.Sending) []any {
	return append(append(deliveryRow(&s.Delivery), noticeRow(&s.Notice)...), webhookRow(&s.Webhook)...)
}

// firstOf is found by an index of what waits, however much there is. The index is
// named, and webhooks are read first, since SQLite would rather read all that ever
// was delivered.
const firstOf = "SELECT min(notice) FROM deliveries INDEXED BY deliveries_waiting WHERE webhook = h.id AND next IS NOT NULL"

// FirstDeliveries returns of each webhook, or of one (not ""), the delivery that
// is to be carried out first: that of the oldest notice that is not over, due or
// not. What waits behind it is not looked at, so that a webhook that takes nothing
// delays no other.
func (s *Store) FirstDeliveries(ctx context.Context, webhook string) ([]engine.Sending, error) {
	first, err := query(ctx, s.read, sentRow, firstDeliveries, webhook)
	if err != nil {
		return nil, s.fault("read the next deliveries", err)
	}
	return first, nil
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

// What notices and the ledger are read with.
var (
	noticesOf   = notices.sel("WHERE account = ? AND id > ? ORDER BY id LIMIT ?")
	allNotices  = notices.sel("WHERE id > ? ORDER BY id LIMIT ?")
	ledgerOf    = ledger.sel("WHERE account = ? AND time < ? ORDER BY time, id")
	wholeLedger = ledger.sel("WHERE time < ? ORDER BY id")
)

// Notices returns those of an account ("" = all) after a number, oldest first:
// limit of them, at most MaxPage. Those beyond Options.KeepNotices are gone.
func (s *Store) Notices(ctx context.Context, account string, after int64, limit int) ([]engine.Notice, error) {
	text, args := noticesOf, []any{account, after, page(limit)}
	if account == "" {
		text, args = allNotices, args[1:]
	}
	rows, err := query(ctx, s.read, noticeRow, text, args...)
	if err != nil {
		return nil, s.fault("read notices", err)
	}
	return rows, nil
}

// Ledger returns all rows of an account ("" = all) before a time, oldest first.
func (s *Store) Ledger(ctx context.Context, account string, before time.Time) ([]engine.LedgerRow, error) {
	text, args := ledgerOf, []any{account, moment{&before}}
	if account == "" {
		text, args = wholeLedger, args[1:]
	}
	rows, err := query(ctx, s.read, ledgerRow, text, args...)
	if err != nil {
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
