package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/engine"
)

// refused opens path and wants the error, with a hint behind it.
func refused(t *testing.T, path string, want error) string {
	t.Helper()
	s, err := Open(t.Context(), path, Options{})
	if err == nil {
		s.Close()
		t.Fatalf("%q was opened, want %v", path, want)
	}
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	if !strings.HasPrefix(err.Error(), "store: open ") {
		t.Errorf("error %q does not name the operation", err)
	}
	return err.Error()
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"with space.db", "what?.db", "50%.db", "50%20.db", "a#b.db", "a;b&c=d.db", "mode=ro.db", "ü✓.db",
		"quote'\".db", "back\\slash.db", "\xff\xfe.db", " ", "new\nline.db", "x?mode=memory",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name) // odd directories as well
			path := filepath.Join(dir, name)
			s := openAt(t, path, Options{})
			save(t, s, everything())
			s.Close()
			checkEverything(t, openAt(t, path, Options{}))
			if found, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(found) != 1 {
				t.Errorf("files beside the directory: %v, %v", found, err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusedPaths(t *testing.T) {
	dir := t.TempDir()
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "nothing"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"", ":memory:", "file::memory:", "file:x.db", ":memory:?cache=shared", "a\x00b", dir, dir + "/", ".", "..",
		"/dev/null", dangling,
	} {
		refused(t, path, ErrPath)
	}
}

func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "var", "lib", "picloud.db")
	s := openAt(t, path, Options{})
	save(t, s, everything())
	wants := map[string]os.FileMode{
		filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700,
		path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
	}
	for name, want := range wants {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	s.Close()
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the write-ahead log is left behind: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openAt(t, path, Options{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode after opening: %v, %v", info.Mode(), err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "picloud.db")
	s := openAt(t, path, Options{})
	save(t, s, everything())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, dir + "/./picloud.db", link} {
		text := refused(t, name, ErrInUse)
		if !strings.Contains(text, fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("%q does not name the process", text)
		}
	}
	checkEverything(t, s) // undisturbed
	save(t, s, engine.Changes{Log: []engine.LogLine{{ID: 3, Time: at(3)}}})
	s.Close()
	openAt(t, link, Options{})
}

func TestForeignFilesAreRefusedAndLeftAlone(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.db")
	rawExec(t, other, "CREATE TABLE pis (name TEXT); INSERT INTO pis VALUES ('mine')")
	database, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"sqlite": database,
		"text":   []byte(strings.Repeat("no database\n", 1000)),
		"short":  []byte("x"),
		"zeros":  make([]byte, 8192),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.db")
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, path, ErrForeign)
			after, err := os.ReadFile(path)
			if err != nil || string(after) != string(content) {
				t.Errorf("the file was changed (%v)", err)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
				t.Errorf("its mode was changed to %v", info.Mode())
			}
		})
	}
}

func TestForeignDatabaseInWALModeIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db := rawOpen(t, path)
	if _, err := db.Exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, path, ErrForeign)
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestNewerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	openAt(t, path, Options{}).Close()
	rawExec(t, path, "PRAGMA user_version = 9999")
	if text := refused(t, path, ErrNewer); !strings.Contains(text, "9999") || !strings.Contains(text, hintNewer) {
		t.Errorf("error %q has no version or hint", text)
	}
}

// filled is a closed database of some hundred pages.
func filled(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "picloud.db")
	s := openAt(t, path, Options{})
	c := everything()
	for i := range int64(2000) {
		c.Log = append(c.Log, engine.LogLine{ID: 3 + i, Time: at(3), Text: strings.Repeat("evidence ", 20)})
	}
	save(t, s, c)
	s.Close()
	return path
}

func TestDamageIsFoundAtOpen(t *testing.T) {
	whole, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	const pageSize = 4096
	flip := func(from, n int) func([]byte) []byte {
		return func(b []byte) []byte {
			for i := from; i < from+n; i++ {
				b[i] ^= 0x5a
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		damage func([]byte) []byte
		want   error
	}{
		"schema page":     {flip(100, 12), ErrCorrupt},
		"page headers":    {flip(len(whole)/pageSize/2*pageSize, 12), ErrCorrupt},
		"cell pointers":   {flip(len(whole)/pageSize/2*pageSize+8, 60), ErrCorrupt},
		"a page lost":     {func(b []byte) []byte { clear(b[40*pageSize : 41*pageSize]); return b }, ErrCorrupt},
		"end cut off":     {func(b []byte) []byte { return b[:len(b)-10*pageSize] }, ErrCorrupt},
		"emptied":         {func(b []byte) []byte { return nil }, ErrCorrupt},
		"magic":           {flip(0, 4), ErrForeign},
		"application id":  {flip(68, 4), ErrForeign},
		"only the header": {func(b []byte) []byte { return b[:100] }, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "picloud.db")
			if err := os.WriteFile(path, c.damage([]byte(string(whole))), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, c.want)
		})
	}
}

// A process that dies while it makes a database leaves nothing under its name.
func TestUnfinishedCreationIsBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.WriteFile(path+".new"+suffix, []byte("left over"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save(t, openAt(t, path, Options{}), everything())
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "picloud.db")
	if _, err := Open(ctx, path, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	openAt(t, path, Options{}) // the lock was given back
}

func TestClosed(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	_, load := s.Load(ctx)
	_, boots := s.Boots(ctx, "a3-001", 1)
	_, page := s.Log(ctx, 0, 1)
	for _, err := range []error{load, boots, page, s.Save(ctx, everything())} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v, want ErrClosed", err)
		}
	}
}
