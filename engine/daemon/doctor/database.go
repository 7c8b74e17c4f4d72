package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"picloud/store"
)

// checkDatabase reads all of the database, and of the newest backup. It may
// take a second for each 100 MB.
func checkDatabase(ctx context.Context, e *Env) []Finding {
	if e.Database == "" {
		return nil
	}
	c, err := store.Verify(ctx, e.Database)
	switch {
	case err == nil:
		found := []Finding{okf(e.Database, "read through: %d Pis, %d servers, %s", c.Pis, c.Servers, size(c.Bytes))}
		if f, bad := damagedBackup(ctx, e.Backups); bad {
			found = append(found, f)
		}
		return found
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{okf(e.Database, "not there yet: the service makes it")}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{warnf(e.Database, "sudo picloud doctor", "it cannot be read by this user")}
	case errors.Is(err, store.ErrNewer):
		return []Finding{failf(e.Database, "install that version of picloud again", "%v", err)}
	}
	remedy := "there is no good backup: ask for help before anything is written"
	if good, berr := store.NewestGood(ctx, e.Backups); berr == nil {
		remedy = fmt.Sprintf("systemctl stop picloud; picloud restore %s", good.Path)
	}
	return []Finding{failf(e.Database, remedy, "%v", err)}
}

// damagedBackup looks whether the newest backup could be restored.
func damagedBackup(ctx context.Context, dir string) (Finding, bool) {
	names, err := store.Backups(dir)
	if err != nil || len(names) == 0 {
		return Finding{}, false
	}
	if _, err := store.Verify(ctx, names[0]); err == nil || errors.Is(err, fs.ErrPermission) || ctx.Err() != nil {
		return Finding{}, false
	}
	text := "it cannot be restored, and no other can"
	if good, err := store.NewestGood(ctx, dir); err == nil {
		text = "it cannot be restored; the newest good one is " + filepath.Base(good.Path)
	}
	return failf(names[0], "picloud backup FILE, and look at the disk: dmesg --level err", "%s", text), true
}

// Ages of the newest backup, one being made each day.
const (
	oldBackup     = 2 * 24 * time.Hour
	ancientBackup = 7 * 24 * time.Hour
)

// checkBackups: a backup is old if the database was written to long after it.
func checkBackups(_ context.Context, e *Env) []Finding {
	if e.Backups == "" {
		return nil
	}
	written, born := written(e.Database)
	if written.IsZero() {
		return nil // nothing to back up yet
	}
	if e.Config.Backup.Keep == 0 {
		return []Finding{warnf("", "keep = 14 below [backup]", "no backups are made")}
	}
	names, err := store.Backups(e.Backups)
	if errors.Is(err, fs.ErrPermission) {
		return []Finding{warnf(e.Backups, "sudo picloud doctor", "it cannot be read by this user")}
	}
	if err != nil {
		return []Finding{warnf(e.Backups, "", "%v", err)}
	}
	const remedy = "picloud backup FILE; the log says why the service makes none"
	last := born
	if len(names) > 0 {
		last = store.BackupTime(names[0])
	}
	age := written.Sub(last)
	days := int(age / (24 * time.Hour))
	switch {
	case age > ancientBackup:
		return []Finding{failf(e.Backups, remedy, "the newest backup lacks %d days", days)}
	case age > oldBackup:
		return []Finding{warnf(e.Backups, remedy, "the newest backup lacks %d days", days)}
	case len(names) == 0:
		return []Finding{okf(e.Backups, "none yet: the first is made by the service, and one each day")}
	}
	return []Finding{okf(e.Backups, "%d, the newest of %s", len(names), last.Local().Format(time.DateTime))}
}

// written is when the database was last written to, and when it came to be,
// as far as the files tell; zero if there is none.
func written(path string) (last, born time.Time) {
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return last, last // the file system does not tell
	}
	return last, time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}
