package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"picloud/engine"
)

// Restore puts the copy in file in the place of the database at path, which no
// process may have open. The copy is checked before. The database that was
// there is kept under another name, which is returned, "" if there was none.
// At every moment one of the two is at path: a crash leaves no picloud that
// starts with an empty inventory.
//
// New jobs, boots, audit rows, rows of the ledger and notices have numbers far
// above those of both, since volumes and outside records are named by numbers
// that the copy knows nothing of. Errors: ErrInUse, and those of Verify.
func Restore(ctx context.Context, file, path string) (aside string, err error) {
	if aside, err = restore(ctx, file, path, time.Now()); err != nil {
		return "", fmt.Errorf("store: restore %s from %s: %w", path, file, explain(err))
	}
	return aside, nil
}

func restore(ctx context.Context, file, path string, now time.Time) (aside string, err error) {
	if path, err = resolve(path); err != nil {
		return "", err
	}
	l, err := takeLock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	if _, err := verify(ctx, file); err != nil {
		return "", err
	}
	unborn, err := unbornFile(path)
	if err != nil {
		return "", err
	}
	defer os.Remove(unborn)
	if err := copyFile(file, unborn); err != nil {
		return "", err
	}
	former := fold(ctx, path)
	if err := raiseFloors(ctx, unborn, former, now); err != nil {
		return "", err
	}
	if _, err := verify(ctx, unborn); err != nil {
		return "", err
	}
	if err := syncFile(unborn); err != nil {
		return "", err
	}
	if aside, err = keepAside(path, now); err != nil {
		return "", err
	}
	if err := os.Rename(unborn, path); err != nil {
		return "", err
	}
	return aside, syncDir(filepath.Dir(path))
}

// former is what is known of the numbers of the database to be replaced.
type former struct {
	there, read bool
	last        engine.LastIDs
}

// fold brings the write-ahead log of a sound database into it, which it then
// is without. One that is damaged, or not picloud's, is left as it is.
func fold(ctx context.Context, path string) (f former) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return former{}
	}
	f.there = true
	all, err := migrations(migrationFiles)
	if err != nil {
		return f
	}
	err = with(openInspecting, path, func(db *sql.DB) error { return inspect(ctx, db, len(all)) })
	if err != nil {
		return f
	}
	err = with(openMigrating, path, func(db *sql.DB) error {
		// The numbers of an older schema have no floors yet.
		if _, err := migrate(ctx, db, all); err != nil {
			return err
		}
		if f.last, err = lastIDsOf(ctx, db); err != nil {
			return err
		}
		_, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	})
	f.read = err == nil
	return f
}

func lastIDsOf(ctx context.Context, db *sql.DB) (last engine.LastIDs, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return last, err
	}
	defer func() { _ = tx.Rollback() }() // it only read
	return last, lastIDs(ctx, tx, &last)
}

// floorStep is how far above all known numbers a restored database goes on: it
// is more than are given between two daily copies.
const floorStep = 1_000_000

// raiseFloors lets a database go on above its own numbers and the former's. Of
// a former that could not be read the seconds since 1970 are above: no rack has
// a job a second for ever.
func raiseFloors(ctx context.Context, path string, f former, now time.Time) error {
	all, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	return with(openMigrating, path, func(db *sql.DB) error {
		if _, err := migrate(ctx, db, all); err != nil {
			return err
		}
		own, err := lastIDsOf(ctx, db)
		if err != nil {
			return err
		}
		unread := int64(0)
		if f.there && !f.read {
			unread = now.Unix()
		}
		const put = "INSERT INTO id_floors (of, id) VALUES (?, ?) ON CONFLICT (of) DO UPDATE SET id = excluded.id"
		former := numbers(&f.last)
		for of, last := range numbers(&own) {
			if _, err := db.ExecContext(ctx, put, of, max(*last+floorStep, *former[of]+floorStep, unread)); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepAside gives a database a second name, under which it stays when another
// takes the place of its first. What a damaged one has beside it is moved: a
// write-ahead log that stayed would be read into the other.
func keepAside(path string, now time.Time) (aside string, err error) {
	name := path + ".before-restore-" + now.UTC().Format(stamp)
	switch err := os.Link(path, name); {
	case err == nil:
		aside = name
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Rename(path+suffix, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, syncDir(filepath.Dir(path))
}
