package store

import (
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// Errors of Open and Save, to be tested with errors.Is. The text that comes
// with them says what to do.
var (
	// ErrPath: the path cannot name a database file.
	ErrPath = errors.New("not a path of a database file")
	// ErrInUse: another process, or another Store of this one, has it open; or,
	// from Save, another program has held a lock on it for 5 s.
	ErrInUse = errors.New("database is in use")
	// ErrForeign: the file is not picloud's.
	ErrForeign = errors.New("not a picloud database")
	// ErrNewer: a newer picloud has written the database.
	ErrNewer = errors.New("database is from a newer picloud")
	// ErrCorrupt: the file is damaged.
	ErrCorrupt = errors.New("database is damaged")
	// ErrFull: the disk or the quota is full. Nothing of the Save is stored.
	ErrFull = errors.New("no space left for the database")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store is closed")
)

// conditions are the SQLite result codes that a person can act on.
var conditions = map[sqlite3.ErrNo]struct {
	is   error
	hint string
}{
	sqlite3.ErrCorrupt: {ErrCorrupt, hintCorrupt},
	sqlite3.ErrNotADB:  {ErrForeign, hintForeign},
	sqlite3.ErrBusy:    {ErrInUse, hintBusy},
	sqlite3.ErrFull:    {ErrFull, "free some space; nothing is lost, the change is not stored"},
}

const (
	hintCorrupt = "move the file and its -wal aside and restore a copy, or salvage it with sqlite3 FILE .recover"
	hintForeign = "give another path, or restore a copy if this was picloud's database"
	hintNewer   = "run the newer picloud, or restore a copy from before the upgrade"
	hintEmpty   = "restore a copy, or remove the file to start with an empty inventory"
	hintBusy    = "end the program that holds a lock on it, such as an sqlite3 shell or a backup"
	hintInUse   = "stop the other picloud first, or talk to it instead"
	hintPath    = "give the path of a file, such as /var/lib/picloud/picloud.db"
)

// explain puts a sentinel and a hint to an SQLite error that has them.
func explain(err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	c, ok := conditions[e.Code]
	if !ok || errors.Is(err, c.is) {
		return err
	}
	return fmt.Errorf("%w: %w: %s", c.is, err, c.hint)
}
