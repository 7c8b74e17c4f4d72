package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// applicationID marks a database as picloud's ("picl"): the header field that
// SQLite keeps for it (pragma application_id).
const applicationID = 0x7069636c

//go:embed migration/*.sql
var migrationFiles embed.FS

// migration brings the schema from version-1 to version. A released file is
// never edited: the next change is the next file.
type migration struct {
	version int
	name    string
	sql     string
}

// migrations reads migration/NNNN_what.sql in order. The numbers have to be 1,
// 2, 3, …, since the number of the last one is the schema's version.
func migrations(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "migration/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version: version, name: path.Base(name), sql: string(text)})
	}
	return all, nil
}

// migrate applies the migrations that the database does not have yet. db has
// foreign keys off: SQLite changes some tables only by making them anew, and
// foreign keys are checked at the end of each migration instead.
func migrate(ctx context.Context, db *sql.DB, all []migration) (from int, err error) {
	if from, err = pragma(ctx, db, "user_version"); err != nil {
		return 0, err
	}
	for _, m := range all[min(from, len(all)):] {
		if err := m.apply(ctx, db); err != nil {
			return from, fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return from, nil
}

// apply runs one migration whole or not at all, its version number included.
func (m migration) apply(ctx context.Context, db *sql.DB) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the migration's error is the one to tell
		}
	}()
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, m.version)
	if _, err := tx.ExecContext(ctx, mark); err != nil {
		return err
	}
	if err := checkForeignKeys(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func checkForeignKeys(ctx context.Context, tx *sql.Tx) error {
	var table, parent string
	row := tx.QueryRowContext(ctx, `SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1`)
	err := row.Scan(&table, &parent)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("a row of %s names a row of %s that is not there", table, parent)
}

// inspect refuses a database that this program must not touch. It only reads.
func inspect(ctx context.Context, db *sql.DB, known int) error {
	id, err := pragma(ctx, db, "application_id")
	if err != nil {
		return err
	}
	if id != applicationID {
		return fmt.Errorf("%w: its application id is %#x, want %#x: %s", ErrForeign, uint32(id), applicationID, hintForeign)
	}
	version, err := pragma(ctx, db, "user_version")
	if err != nil {
		return err
	}
	if version > known {
		return fmt.Errorf("%w: it has schema %d, this picloud knows up to %d: %s", ErrNewer, version, known, hintNewer)
	}
	return quickCheck(ctx, db)
}

// quickCheck reads every page (pragma quick_check): a damaged database is found
// at the start and not by the first customer whose row it was.
func quickCheck(ctx context.Context, db *sql.DB) error {
	found, err := query(ctx, db, func(s *string) []any { return []any{s} }, "PRAGMA quick_check(3)")
	if err != nil {
		return err
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, strings.Join(found, "; "), hintCorrupt)
}

// pragma reads a pragma that is a whole number.
func pragma(ctx context.Context, db *sql.DB, name string) (value int, err error) {
	err = db.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}
