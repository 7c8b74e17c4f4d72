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

// Names of files are those that people type, in the folder that they are in.
func TestBackupToWhatIsTyped(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "picloud.db"), Options{})
	saveServer(t, s, "one")
	t.Chdir(dir)
	if err := os.Mkdir("b?#%", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"b1.db", "./b2.db", "b?#%/b 3.db", "a:b.db"} {
		if c, err := CopyFile(t.Context(), "picloud.db", file); err != nil || c.Servers != 1 {
			t.Errorf("%s: %+v, %v", file, c, err)
		}
		fresh := filepath.Join(t.TempDir(), "new.db")
		if _, err := Restore(t.Context(), file, fresh); err != nil {
			t.Errorf("restore %s: %v", file, err)
		}
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
	aside, err := Restore(t.Context(), file, path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Verify(t.Context(), aside); err != nil || c.Servers != 2 {
		t.Errorf("the database from before: %+v, %v", c, err)
	}
	state := loaded(t, openAt(t, path, Options{}))
	if len(state.Servers) != 1 || state.Servers[0].Name != "kept" {
		t.Errorf("servers %+v, want the one of the backup", state.Servers)
	}
}

// What a crash left in the write-ahead log goes with its own database: into it
// if it is sound, beside it if not.
func TestRestoreAfterCrash(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "picloud.db"), filepath.Join(dir, "copy.db")
	s := openAt(t, path, Options{})
	saveServer(t, s, "kept")
	if _, err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	saveServer(t, s, "later")
	crashed := filepath.Join(t.TempDir(), "picloud.db")
	for _, suffix := range []string{"", "-wal"} { // as they are while it is open
		noError(t, os.WriteFile(crashed+suffix, nil, 0o600))
		noError(t, copyFile(path+suffix, crashed+suffix))
	}
	aside, err := Restore(t.Context(), file, crashed)
	noError(t, err)
	if c, err := Verify(t.Context(), aside); err != nil || c.Servers != 2 {
		t.Errorf("the database from before: %+v, %v", c, err)
	}
	damaged := filepath.Join(t.TempDir(), "picloud.db")
	noError(t, os.WriteFile(damaged, []byte(strings.Repeat("damaged", 1000)), 0o600))
	noError(t, os.WriteFile(damaged+"-wal", []byte("left by a crash"), 0o600))
	aside, err = Restore(t.Context(), file, damaged)
	noError(t, err)
	for _, name := range []string{aside, aside + "-wal"} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("the damaged database is not kept: %v", err)
		}
	}
	st := loaded(t, openAt(t, damaged, Options{}))
	if len(st.Servers) != 1 || st.LastID.Job < 1_700_000_000 {
		t.Errorf("%d servers, last job %d", len(st.Servers), st.LastID.Job)
	}
}

// Two restores of one copy: no number is given again that anything after the
// copy had.
func TestRestoreGivesNoNumberAgain(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "picloud.db"), filepath.Join(dir, "copy.db")
	s := openAt(t, path, Options{})
	save(t, s, everything())
	_, err := s.Backup(t.Context(), file)
	noError(t, err)
	noError(t, s.Close())
	now := time.Now()
	for i := range int64(2) {
		_, err := restore(t.Context(), file, path, now.Add(time.Duration(i)*time.Second))
		noError(t, err)
		s := openAt(t, path, Options{})
		last := loaded(t, s).LastID
		want := engine.LastIDs{Job: 3, Boot: 2, Audit: 2, Log: 2, Ledger: 3, Notice: 2} // lines are pruned by number
		for _, n := range numbers(&want) {
			*n += (i + 1) * floorStep
		}
		if last != want {
			t.Errorf("restore %d: %+v, want %+v", i, last, want)
		}
		noError(t, s.Close())
	}
}

// A restore that cannot go on leaves a database in its place.
func TestRestoreKeepsADatabase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "picloud.db")
	s := openAt(t, path, Options{})
	saveServer(t, s, "kept")
	noError(t, s.Close())
	aside, err := keepAside(path, time.Now())
	noError(t, err)
	for _, name := range []string{path, aside} { // a crash now
		if c, err := Verify(t.Context(), name); err != nil || c.Servers != 1 {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
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

// A backup that was made while the clock was wrong is not taken for the newest,
// and no true one is deleted for it.
func TestBackupOfTheFuture(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "picloud.db"), Options{})
	backups := filepath.Join(dir, "backups")
	now := time.Now().UTC().Truncate(time.Second)
	wrong, err := s.Rotate(t.Context(), backups, now.AddDate(10, 0, 0), 2)
	noError(t, err)
	var last Copy
	for i := range 4 {
		last, err = s.Rotate(t.Context(), backups, now.Add(time.Duration(i)*time.Minute), 2)
		noError(t, err)
	}
	names, err := Backups(backups)
	noError(t, err)
	credible, future := Credible(names, now)
	if len(credible) != 2 || credible[0] != last.Path || len(future) != 1 || future[0] != wrong.Path {
		t.Errorf("credible %v, future %v", credible, future)
	}
	if c, err := NewestGood(t.Context(), backups); err != nil || c.Path != last.Path {
		t.Errorf("newest good %+v, %v", c, err)
	}
	for _, name := range credible {
		noError(t, os.Remove(name))
	}
	if c, err := NewestGood(t.Context(), backups); err != nil || c.Path != wrong.Path {
		t.Errorf("the only one: %+v, %v", c, err)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// After a restore the ledger and the notices go on above all numbers that were
// ever given, and a server that the copy has is ended by it once.
func TestRestoreGoesOnWithOrders(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "picloud.db"), filepath.Join(dir, "copy.db")
	s := openAt(t, path, Options{})
	save(t, s, turn(1))
	_, err := s.Backup(t.Context(), file)
	noError(t, err)
	for n := int64(2); n < 30; n++ {
		save(t, s, turn(n))
	}
	noError(t, s.Close())
	_, err = Restore(t.Context(), file, path)
	noError(t, err)
	s = openAt(t, path, Options{})
	st := loaded(t, s)
	checkMoney(t, s, st, 1)
	if want := int64(2*29 - 1 + floorStep); st.LastID.Ledger != want || st.LastID.Notice != 29+floorStep {
		t.Errorf("last numbers are %+v, want %d of the ledger", st.LastID, want)
	}
	stop := row(engine.LedgerStop, st.LastID.Ledger+1, 1)
	stop.Time = st.Billed
	save(t, s, engine.Changes{
		Ledger:     []engine.LedgerRow{stop},
		Notices:    []engine.Notice{{ID: st.LastID.Notice + 1, Time: at(0), Account: "acme", Kind: engine.NoticeReleased}},
		Deliveries: []engine.Delivery{{Notice: st.LastID.Notice + 1, Webhook: "w", Next: at(0)}},
	})
	stop.ID++
	if err := s.Save(t.Context(), engine.Changes{Ledger: []engine.LedgerRow{stop}}); err == nil {
		t.Error("it was ended twice")
	}
}
