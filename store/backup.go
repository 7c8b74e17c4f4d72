package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrExists: the file is there already and is not written over.
var ErrExists = errors.New("file exists")

// Copy is a database file as Verify found it.
type Copy struct {
	Path    string
	Taken   time.Time // by its name if that tells, else when it was last written
	Bytes   int64
	Schema  int // version of its schema
	Pis     int
	Servers int
}

// Backup writes a copy of the running database to file, whole or not at all,
// and reads it back. The copy is of one moment; Saves go on meanwhile. Errors:
// ErrExists, ErrClosed, ErrFull, and those of Verify.
func (s *Store) Backup(ctx context.Context, file string) (Copy, error) {
	if s.closed.Load() {
		return Copy{}, fmt.Errorf("store: back up to %s: %w", file, ErrClosed)
	}
	c, err := backup(ctx, s.path, file)
	if err != nil {
		return Copy{}, fmt.Errorf("store: back up to %s: %w", file, explain(err))
	}
	return c, nil
}

// CopyFile does the same for a database that another process may have open.
func CopyFile(ctx context.Context, path, file string) (Copy, error) {
	c, err := backup(ctx, path, file)
	if err != nil {
		return Copy{}, fmt.Errorf("store: back up %s to %s: %w", path, file, explain(err))
	}
	return c, nil
}

func backup(ctx context.Context, from, file string) (Copy, error) {
	if _, err := os.Lstat(file); err == nil {
		return Copy{}, fmt.Errorf("%w: give another name", ErrExists)
	}
	unborn, err := unbornFile(file)
	if err != nil {
		return Copy{}, err
	}
	defer os.Remove(unborn)
	err = with(openCopying, from, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "VACUUM INTO ?", unborn)
		return err
	})
	if err != nil {
		return Copy{}, err
	}
	return adopt(ctx, unborn, file)
}

// unbornFile makes an empty file beside file that only its owner can read:
// SQLite would make it with the process's umask.
func unbornFile(file string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// adopt checks the copy and gives it its name.
func adopt(ctx context.Context, unborn, file string) (Copy, error) {
	c, err := verify(ctx, unborn)
	if err != nil {
		return Copy{}, err
	}
	if err := syncFile(unborn); err != nil {
		return Copy{}, err
	}
	if err := os.Rename(unborn, file); err != nil {
		return Copy{}, err
	}
	c.Path = file
	return c, syncDir(filepath.Dir(file))
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// openCopying opens a database to be copied from.
func openCopying(path string) (*sql.DB, error) {
	return openOne(path, parameters{"mode": "ro", "_busy_timeout": "5000"})
}

// Verify reads a copy of a database through (pragma integrity_check and
// foreign_key_check). It writes nothing. Errors: ErrForeign, ErrNewer,
// ErrCorrupt, and those of the file system.
func Verify(ctx context.Context, file string) (Copy, error) {
	c, err := verify(ctx, file)
	if err != nil {
		return Copy{}, fmt.Errorf("store: verify %s: %w", file, explain(err))
	}
	return c, nil
}

func verify(ctx context.Context, file string) (Copy, error) {
	all, err := migrations(migrationFiles)
	if err != nil {
		return Copy{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return Copy{}, err
	}
	if !info.Mode().IsRegular() {
		return Copy{}, fmt.Errorf("%w: it is a %s", ErrPath, kindOf(info.Mode()))
	}
	if info.Size() == 0 {
		return Copy{}, fmt.Errorf("%w: the file is empty", ErrCorrupt)
	}
	c := Copy{Path: file, Taken: takenAt(filepath.Base(file), info.ModTime()), Bytes: info.Size()}
	return c, with(openCopying, file, func(db *sql.DB) error { return c.look(ctx, db, len(all)) })
}

func (c *Copy) look(ctx context.Context, db *sql.DB, known int) error {
	if err := inspect(ctx, db, known); err != nil {
		return err
	}
	found, err := query(ctx, db, func(s *string) []any { return []any{s} }, "PRAGMA integrity_check(3)")
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("%w: %s", ErrCorrupt, strings.Join(found, "; "))
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it only read
	if err := checkForeignKeys(ctx, tx); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for what, into := range map[string]*int{
		"SELECT count(*) FROM pis": &c.Pis, "SELECT count(*) FROM servers": &c.Servers, "PRAGMA user_version": &c.Schema,
	} {
		if err := tx.QueryRowContext(ctx, what).Scan(into); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Names of automatic backups: they sort by time.
const (
	stamp        = "20060102T150405Z"
	backupPrefix = "picloud-"
	backupSuffix = ".db"
)

// takenAt reads the time in a backup's name.
func takenAt(name string, otherwise time.Time) time.Time {
	text, ok := strings.CutPrefix(name, backupPrefix)
	text, ok2 := strings.CutSuffix(text, backupSuffix)
	t, err := time.Parse(stamp, text)
	if !ok || !ok2 || err != nil {
		return otherwise
	}
	return t
}

// BackupName is the name of an automatic backup.
func BackupName(at time.Time) string { return backupPrefix + at.UTC().Format(stamp) + backupSuffix }

// Backups lists the automatic backups in a folder, newest first, by their
// names alone. A folder that is not there has none.
func Backups(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: list backups: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !takenAt(e.Name(), time.Time{}).IsZero() {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// clockSlack is how far in the future a backup's name may be: what is later was
// made while the clock was wrong, and says nothing of its age.
const clockSlack = 24 * time.Hour

// Credible parts the names of Backups into those that are not later than a day
// after now, and the others, each in the order that they had.
func Credible(names []string, now time.Time) (credible, future []string) {
	for _, name := range names {
		if BackupTime(name).After(now.Add(clockSlack)) {
			future = append(future, name)
		} else {
			credible = append(credible, name)
		}
	}
	return credible, future
}

// NewestGood returns the newest automatic backup that is whole; one whose name
// is in the future only if there is no other. The error is fs.ErrNotExist if
// there is none.
func NewestGood(ctx context.Context, dir string) (Copy, error) {
	names, err := Backups(dir)
	if err != nil {
		return Copy{}, err
	}
	credible, future := Credible(names, time.Now())
	for _, name := range append(credible, future...) {
		if c, err := verify(ctx, name); err == nil {
			return c, nil
		}
	}
	return Copy{}, fmt.Errorf("store: no good backup in %s: %w", dir, fs.ErrNotExist)
}

// Rotate makes a backup in dir and then deletes the oldest automatic ones, so
// that keep are left. Those whose names are in the future are neither counted
// nor deleted until their time comes. A backup that fails deletes none.
func (s *Store) Rotate(ctx context.Context, dir string, now time.Time, keep int) (Copy, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Copy{}, fmt.Errorf("store: rotate backups: %w", err)
	}
	c, err := s.Backup(ctx, filepath.Join(dir, BackupName(now)))
	if err != nil {
		return Copy{}, err
	}
	names, err := Backups(dir)
	if err != nil {
		return c, err
	}
	names, _ = Credible(names, now)
	var errs []error
	for _, old := range names[min(max(keep, 1), len(names)):] {
		errs = append(errs, os.Remove(old))
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("store: rotate backups: %w", err)
	}
	return c, nil
}

// BackupTime is the time in the name of an automatic backup, zero if it has
// none.
func BackupTime(file string) time.Time { return takenAt(filepath.Base(file), time.Time{}) }
