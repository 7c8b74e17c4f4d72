package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"picloud/engine"
)

func saveServer(t *testing.T, s *Store, name string) {
	t.Helper()
	if err := s.Save(t.Context(), engine.Changes{Servers: []engine.Server{{Name: name, Owner: "o"}}}); err != nil {
		t.Fatal(err)
	}
}

// A backup is taken while others save, and is whole: every server that was
// saved before it is in it.
func TestBackupOfARunningStore(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "picloud.db"), Options{})
	for i := range 20 {
		saveServer(t, s, fmt.Sprintf("before-%d", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := s.Save(t.Context(), engine.Changes{Servers: []engine.Server{{Name: fmt.Sprintf("during-%d", i), Owner: "o"}}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	file := filepath.Join(dir, "copy.db")
	c, err := s.Backup(t.Context(), file)
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if c.Servers < 20 || c.Schema == 0 || c.Path != file {
		t.Errorf("copy %+v", c)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: it holds customers' names and keys", info.Mode(), err)
	}
	if _, err := s.Backup(t.Context(), file); !errors.Is(err, ErrExists) {
		t.Errorf("over an existing file: %v, want ErrExists", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".copy*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "picloud.db"), filepath.Join(dir, "copy.db")
	s := openAt(t, path, Options{})
	saveServer(t, s, "kept")
	if _, err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	saveServer(t, s, "later")
	if _, err := Restore(t.Context(), file, path); !errors.Is(err, ErrInUse) {
		t.Fatalf("into a running store: %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A write-ahead log that a crash left must go with its own database.
	if err := os.WriteFile(path+"-wal", []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	aside, err := Restore(t.Context(), file, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{aside, aside + "-wal"} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("the database from before is not kept: %v", err)
		}
	}
	again := openAt(t, path, Options{})
	state, err := again.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Servers) != 1 || state.Servers[0].Name != "kept" {
		t.Errorf("servers %+v, want the one of the backup", state.Servers)
	}
}

// What is no good copy is refused, and the database stays as it was.
func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	path, good := filepath.Join(dir, "picloud.db"), filepath.Join(dir, "copy.db")
	s := openAt(t, path, Options{})
	for i := range 200 {
		saveServer(t, s, fmt.Sprintf("server-%d", i))
	}
	if _, err := s.Backup(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	torn := append([]byte(nil), whole...)
	for i := len(torn) / 2; i < len(torn)/2+8192 && i < len(torn); i++ {
		torn[i] ^= 0xff
	}
	for name, bad := range map[string]struct {
		content []byte
		want    error
	}{
		"truncated": {whole[:len(whole)/2], ErrCorrupt},
		"torn":      {torn, ErrCorrupt},
		"empty":     {nil, ErrCorrupt},
		"foreign":   {[]byte(strings.Repeat("not a database ", 1000)), ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, bad.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(t.Context(), file, path); !errors.Is(err, bad.want) {
				t.Errorf("%v, want %v", err, bad.want)
			}
			if c, err := Verify(t.Context(), path); err != nil || c.Servers != 200 {
				t.Errorf("afterwards the database is %+v, %v", c, err)
			}
		})
	}
	if _, err := Restore(t.Context(), filepath.Join(dir, "none"), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "picloud.db"), Options{})
	backups := filepath.Join(dir, "backups")
	day := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for i := range 5 {
		if _, err := s.Rotate(t.Context(), backups, day.AddDate(0, 0, i), 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(backups, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := Backups(backups)
	if err != nil || len(names) != 3 || filepath.Base(names[0]) != "picloud-20261127T030000Z.db" {
		t.Fatalf("backups %v, %v", names, err)
	}
	// The newest is damaged: the one before is named.
	if err := os.Truncate(names[0], 100); err != nil {
		t.Fatal(err)
	}
	c, err := NewestGood(t.Context(), backups)
	if err != nil || c.Path != names[1] || !c.Taken.Equal(day.AddDate(0, 0, 3)) {
		t.Errorf("newest good %+v, %v, want %s", c, err, names[1])
	}
	if _, err := NewestGood(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no folder: %v", err)
	}
}
