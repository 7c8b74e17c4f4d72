package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// syncMode is SQLite's pragma synchronous, as far as it is used here.
type syncMode string

// In write-ahead mode, FULL syncs the log at each commit; NORMAL syncs it only
// before a checkpoint. Both leave the database whole after a power cut: NORMAL
// may lose the last commits, never one before another.
const (
	syncFull   syncMode = "FULL"
	syncNormal syncMode = "NORMAL"
)

// writer is the one connection that writes, with its prepared statements. It
// says BEGIN and COMMIT itself: sql.Tx rolls back behind a COMMIT that fails,
// and then nothing can tell which row broke a foreign key.
//
// Statements run without the caller's context. The driver would interrupt them
// at any moment, COMMIT too, and the caller could not tell whether its changes
// are stored; they are short, and Save looks at the context between them.
type writer struct {
	db       *sql.DB
	conn     *sql.Conn
	sync     syncMode
	prepared map[string]*sql.Stmt
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	db, err := openOne(path, parameters{
		"mode":          "rw",
		"_foreign_keys": "on",
		"_journal_mode": "WAL",
		"_synchronous":  string(syncFull),
		"_busy_timeout": "5000", // a backup or an sqlite3 shell may hold the lock for a moment
	})
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, sync: syncFull, prepared: map[string]*sql.Stmt{}}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// journalLimit is what the write-ahead log is cut back to after a long read
// made it grow, in bytes.
const journalLimit = 16 << 20

func (w *writer) start(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA journal_size_limit = %d", journalLimit)); err != nil {
		return err
	}
	for _, text := range statements() {
		stmt, err := w.conn.PrepareContext(ctx, text) //nolint:sqlclosecheck // kept in prepared until the writer ends
		if err != nil {
			return fmt.Errorf("prepare %q: %w", text, err)
		}
		w.prepared[text] = stmt
	}
	return nil
}

// batch is a transaction being filled. After the first error the rest does
// nothing.
type batch struct {
	ctx context.Context
	w   *writer
	err error
}

// run runs a prepared statement, if there was no error before, and returns how
// many rows it changed.
func (b *batch) run(statement string, args ...any) (int64, error) {
	if b.err == nil {
		b.err = context.Cause(b.ctx)
	}
	if b.err != nil {
		return 0, nil
	}
	result, err := b.w.prepared[statement].ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (b *batch) exec(statement string, args ...any) error {
	_, err := b.run(statement, args...)
	return err
}

// do runs a prepared statement; what names it in an error.
func (b *batch) do(what, statement string, args ...any) {
	if err := b.exec(statement, args...); err != nil {
		b.err = fmt.Errorf("%s: %w", what, err)
	}
}

// transaction runs fill in one transaction: all of it is stored or nothing. ctx
// is looked at until the COMMIT begins.
func (w *writer) transaction(ctx context.Context, mode syncMode, fill func(*batch)) error {
	if err := w.setSync(mode); err != nil {
		return err
	}
	if err := w.say("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	b := &batch{ctx: ctx, w: w}
	fill(b)
	err := b.err
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		// SQLite may have rolled back by itself (disk full, I/O error), and then
		// ROLLBACK is an error that means nothing.
		_ = w.say("ROLLBACK")
	}
	return err
}

// lateKeys are the foreign keys that are checked at the commit, with what breaks
// them.
var lateKeys = []struct{ text, broken string }{
	{"pi %s: server %s is not stored: %w",
		"SELECT name, server FROM pis WHERE server NOT IN (SELECT name FROM servers) LIMIT 1"},
	{"server %s: account %s is not stored: %w",
		"SELECT name, account FROM servers WHERE account NOT IN (SELECT name FROM accounts) LIMIT 1"},
}

// commit ends the transaction, or says which row broke a foreign key.
func (w *writer) commit() error {
	err := w.say("COMMIT")
	if err == nil {
		return nil
	}
	for _, k := range lateKeys {
		var row, names string
		if w.conn.QueryRowContext(context.Background(), k.broken).Scan(&row, &names) == nil {
			return fmt.Errorf(k.text, row, names, err)
		}
	}
	return err
}

// setSync changes the mode; SQLite does so only between transactions.
func (w *writer) setSync(mode syncMode) error {
	if w.sync == mode {
		return nil
	}
	if err := w.say("PRAGMA synchronous = " + string(mode)); err != nil {
		return err
	}
	w.sync = mode
	return nil
}

func (w *writer) say(statement string) error {
	_, err := w.conn.ExecContext(context.Background(), statement)
	return err
}

func (w *writer) close() error {
	var errs []error
	for _, stmt := range w.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}
