package daemon

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine/config"
	"picloud/store"
)

func touch(t *testing.T, name string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestBackupDue(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		made []time.Duration // before now
		want time.Duration
		warn bool
	}{
		"none":                    {nil, time.Minute, false},
		"an hour ago":             {[]time.Duration{time.Hour}, 23 * time.Hour, false},
		"days ago":                {[]time.Duration{72 * time.Hour}, time.Minute, false},
		"a clock an hour ahead":   {[]time.Duration{-time.Hour}, 24 * time.Hour, false},
		"ten years ahead":         {[]time.Duration{-87600 * time.Hour}, time.Minute, true},
		"ten years ahead and one": {[]time.Duration{-87600 * time.Hour, time.Hour}, 23 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			b := backups{folder: t.TempDir(), log: slog.New(slog.NewTextHandler(&log, nil))}
			for _, ago := range tc.made {
				touch(t, filepath.Join(b.folder, store.BackupName(now.Add(-ago))))
			}
			if got := b.due(now); got != tc.want || strings.Contains(log.String(), "in the future") != tc.warn {
				t.Errorf("due in %v, want %v; log %q", got, tc.want, log.String())
			}
		})
	}
}

func TestMissingDatabase(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		want  string // in the error
	}{
		"new":           {nil, ""},
		"only a folder": {[]string{"images/trixie"}, ""},
		"a new disk":    {[]string{"volumes/lost+found/x"}, ""},
		"all there":     {[]string{"picloud.db", "volumes/a3-001-2/etc", "backups/x.db"}, ""},
		"roots":         {[]string{"volumes/a3-001-2/etc"}, "picloud restore FILE"},
		"backups":       {[]string{"backups/x.db"}, "picloud restore FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &config.Config{State: t.TempDir()}
			for _, f := range tc.files {
				touch(t, filepath.Join(cfg.State, f))
			}
			err := missesDatabase(cfg)
			if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, errNoDatabase) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
