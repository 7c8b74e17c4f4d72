package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"picloud/engine"
)

// Bounds that Options can change.
const (
	DefaultKeepBoots   = 50      // of each Pi
	DefaultKeepLog     = 100_000 // lines
	DefaultKeepNotices = 100_000
)

// readers is how many reads can be under way at once; more wait.
const readers = 4

// slowSave is when a Save is worth a line in the service's log: the engine's
// loop stands still for that long.
const slowSave = 250 * time.Millisecond

// Options of Open; the zero value is fit for use.
type Options struct {
	Log         *slog.Logger     // nil = discard
	Now         func() time.Time // nil = time.Now; only measures how long a Save takes
	KeepBoots   int              // boots kept of each Pi, 0 = DefaultKeepBoots
	KeepLog     int              // log lines kept, 0 = DefaultKeepLog
	KeepNotices int              // notices kept, 0 = DefaultKeepNotices
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepBoots <= 0 {
		o.KeepBoots = DefaultKeepBoots
	}
	if o.KeepLog <= 0 {
		o.KeepLog = DefaultKeepLog
	}
	if o.KeepNotices <= 0 {
		o.KeepNotices = DefaultKeepNotices
	}
	return o
}

// Store is an open database. All of its methods may be called by many
// goroutines at once.
type Store struct {
	opts Options
	path string
	lock *lock
	read *sql.DB // read-only

	closed atomic.Bool
	mu     sync.Mutex // guards what follows: one Save at a time
	writer *writer    // nil = closed
}

var _ engine.Inventory = (*Store)(nil)

// Open opens the database at path, with its directory (mode 0700) and file
// (0600) made where they are missing, and brings its schema up to date. ctx
// bounds the opening only.
//
// Errors: ErrPath, ErrInUse, ErrForeign, ErrNewer, ErrCorrupt, and those of the
// file system. None of them has changed an existing database.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	all, err := migrations(migrationFiles)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s, err := open(ctx, path, opts.withDefaults(), all)
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, explain(err))
	}
	return s, nil
}

func open(ctx context.Context, path string, opts Options, all []migration) (_ *Store, err error) {
	s := &Store{opts: opts}
	if s.path, err = resolve(path); err != nil {
		return nil, err
	}
	// The lock comes before anything opens the database: POSIX drops all of a
	// process's locks on a file when any of its descriptors is closed, so a
	// second Open must not come near it.
	if s.lock, err = takeLock(s.path + ".lock"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.prepare(ctx, all); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare leaves a database with the newest schema at s.path.
func (s *Store) prepare(ctx context.Context, all []migration) error {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.create(ctx, all)
	}
	if err != nil {
		return err
	}
	// A new database appears by a rename, with its schema: an empty file is one
	// that was lost, and starting afresh in silence would hide it.
	if info.Size() == 0 {
		return fmt.Errorf("%w: the file is empty: %s", ErrCorrupt, hintEmpty)
	}
	return s.upgrade(ctx, all)
}

// create makes a new database beside s.path and then puts it there.
func (s *Store) create(ctx context.Context, all []migration) error {
	unborn := s.path + ".new"
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(unborn + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(unborn, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	err = with(openMigrating, unborn, func(db *sql.DB) error {
		_, err := migrate(ctx, db, all)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Rename(unborn, s.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	s.opts.Log.Info("database made", "path", s.path, "schema", len(all))
	return nil
}

// upgrade checks the database, through a connection that cannot write since
// the file may turn out to be somebody else's, and brings it to the newest
// schema.
func (s *Store) upgrade(ctx context.Context, all []migration) error {
	err := with(openInspecting, s.path, func(db *sql.DB) error { return inspect(ctx, db, len(all)) })
	if err != nil {
		return err
	}
	if err := private(s.path); err != nil {
		return err
	}
	return with(openMigrating, s.path, func(db *sql.DB) error {
		from, err := migrate(ctx, db, all)
		if err == nil && from != len(all) {
			s.opts.Log.Info("database migrated", "path", s.path, "from", from, "schema", len(all))
		}
		return err
	})
}

// with lends a connection to do.
func with(open func(string) (*sql.DB, error), path string, do func(*sql.DB) error) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// openInspecting opens a database for reading only: mode=ro.
func openInspecting(path string) (*sql.DB, error) {
	return openOne(path, parameters{"mode": "ro", "_query_only": "on", "_busy_timeout": "5000"})
}

// openMigrating opens a database whose schema may be changed. mode=rw: SQLite
// makes no file.
func openMigrating(path string) (*sql.DB, error) {
	return openOne(path, parameters{
		"mode":          "rw",
		"_foreign_keys": "off", // see migrate
		"_synchronous":  "FULL",
		"_busy_timeout": "5000",
		"_txlock":       "immediate",
	})
}

// openOne opens a database for one connection at a time.
func openOne(path string, p parameters) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", dsn(path, p))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// connect opens the writing and the reading connections.
func (s *Store) connect(ctx context.Context) error {
	var err error
	if s.writer, err = openWriter(ctx, s.path); err != nil {
		return err
	}
	// mode=ro and query_only: no read can ever write. Not immediate, for a
	// read must not queue for the writer's lock.
	s.read, err = sql.Open("sqlite3", dsn(s.path, parameters{
		"mode":          "ro",
		"_query_only":   "on",
		"_busy_timeout": "5000",
	}))
	if err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	return s.read.PingContext(ctx)
}

// Close waits for a Save under way and closes the database. Later calls return
// ErrClosed; another Close returns nil.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	// The writer goes last: the last connection to close folds the write-ahead
	// log back into the database, which a reader may not.
	if s.writer != nil {
		errs = append(errs, s.writer.close())
		s.writer = nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
		s.lock = nil
	}
	return errors.Join(errs...)
}
