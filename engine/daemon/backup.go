package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
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

// due is how long it is until the next copy.
func (b backups) due(now time.Time) time.Duration {
	const soon = time.Minute // a start has other things to do
	names, err := store.Backups(b.folder)
	if err != nil || len(names) == 0 {
		return soon
	}
	return max(soon, store.BackupTime(names[0]).Add(backupEvery).Sub(now))
}
