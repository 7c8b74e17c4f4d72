package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"picloud/engine/config"
	"picloud/store"
)

// Database is the file of a configuration's database.
func Database(cfg *config.Config) string { return filepath.Join(cfg.State, "picloud.db") }

// BackupFolder is where the daily copies of it are.
func BackupFolder(cfg *config.Config) string { return filepath.Join(cfg.State, "backups") }

// withBackup names the newest good backup to whoever reads that the database
// is damaged.
func withBackup(ctx context.Context, cfg *config.Config, damaged error) error {
	c, err := store.NewestGood(ctx, BackupFolder(cfg))
	if err != nil {
		return fmt.Errorf("%w; there is no good backup in %s", damaged, BackupFolder(cfg))
	}
	return fmt.Errorf("%w; the newest good backup is of %s: picloud restore %s", damaged, c.Taken.Local().Format(time.DateTime), c.Path)
}

// errNoDatabase: a new database would have everything that runs withdrawn.
var errNoDatabase = errors.New("the database is missing")

// missesDatabase says that a configuration's database is not there, but was: its
// backups are, or its roots.
func missesDatabase(cfg *config.Config) error {
	if _, err := os.Lstat(Database(cfg)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, dir := range []string{BackupFolder(cfg), filepath.Join(cfg.State, "volumes")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }) {
			return fmt.Errorf("%w: %s is not there, but %s is not empty: restore a backup with picloud restore FILE, or move %s away to start with an empty inventory",
				errNoDatabase, Database(cfg), dir, dir)
		}
	}
	return nil
}

// backups makes the daily copies.
type backups struct {
	store  *store.Store
	folder string
	keep   int
	log    *slog.Logger
}

const (
	backupEvery = 24 * time.Hour
	backupAgain = time.Hour // after one that failed
)

// run makes a copy a day after the last one, until ctx ends: a service that is
// restarted often makes no more, and one that was away for long makes one soon.
func (b backups) run(ctx context.Context) error {
	wait := b.due(time.Now())
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		if b.keep == 0 {
			wait = backupEvery
			continue
		}
		c, err := b.store.Rotate(ctx, b.folder, time.Now(), b.keep)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			b.log.Error("no backup of the database", "err", err)
			wait = backupAgain
		default:
			b.log.Info("database backed up", "path", c.Path, "bytes", c.Bytes)
			wait = backupEvery
		}
	}
}

// due is how long it is until the next copy, at most backupEvery: the clock may
// have been wrong when the last one was named.
func (b backups) due(now time.Time) time.Duration {
	const soon = time.Minute // a start has other things to do
	names, err := store.Backups(b.folder)
	if err != nil {
		return soon
	}
	names, future := store.Credible(names, now)
	if len(future) > 0 {
		b.log.Warn("backups with a time in the future: the clock is or was wrong", "newest", future[0], "count", len(future))
	}
	if len(names) == 0 {
		return soon
	}
	return min(max(soon, store.BackupTime(names[0]).Add(backupEvery).Sub(now)), backupEvery)
}
