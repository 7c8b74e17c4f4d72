package acts

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stateEnv makes the test binary a process that dies in the middle of an act.
const stateEnv = "PICLOUD_TEST_ACT"

func TestMain(m *testing.M) {
	if state := os.Getenv(stateEnv); state != "" {
		_ = Do(state, Act{Verb: "image-add"}, func() error { os.Exit(3); return nil })
	}
	os.Exit(m.Run())
}

func take(t *testing.T, state string) []Act {
	t.Helper()
	var got []Act
	if err := Take(state, slog.New(slog.DiscardHandler), func(a Act) error { got = append(got, a); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

// An act is on disk before it and after it, is taken once, and in its order.
func TestDo(t *testing.T) {
	state := t.TempDir()
	if got := take(t, state); len(got) > 0 {
		t.Errorf("of nothing: %+v", got)
	}
	act := Act{Actor: "root", Source: "shell", Key: "uid:0", Verb: "restore", Target: "b.db", Reason: "disk died"}
	err := Do(state, act, func() error {
		names, err := filepath.Glob(filepath.Join(Folder(state), "*"))
		if err != nil || len(names) != 1 {
			t.Errorf("before the act there are %q, %v", names, err)
		}
		if got := take(t, state); len(got) > 0 {
			t.Errorf("taken while it goes on: %+v", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no such file")
	if err := Do(state, Act{Verb: "image-remove"}, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	got := take(t, state)
	if len(got) != 2 || got[0].Result != "ok" || got[1].Result != "failed: no such file" || got[0].Ended.Before(got[0].Began) {
		t.Fatalf("%+v", got)
	}
	if got[0].Began.IsZero() || got[0].Actor != act.Actor || got[0].Reason != act.Reason || got[0].Key != act.Key {
		t.Errorf("%+v", got[0])
	}
	if got := take(t, state); len(got) > 0 {
		t.Errorf("taken twice: %+v", got)
	}
}

// What the audit does not take stays for the next time.
func TestTakeKeepsWhatIsNotTaken(t *testing.T) {
	state := t.TempDir()
	for range 2 {
		if err := Do(state, Act{Verb: "restore"}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("disk full")
	if err := Take(state, slog.New(slog.DiscardHandler), func(Act) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if got := take(t, state); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// An act whose process died is told as such.
func TestActThatDied(t *testing.T) {
	state := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stateEnv+"="+state)
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatal(err)
	}
	if got := take(t, state); len(got) != 1 || got[0].Result != interrupted || got[0].Ended.IsZero() {
		t.Errorf("%+v", got)
	}
}

// What cannot be written down is not done.
func TestNothingIsDoneUnwritten(t *testing.T) {
	state := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Do(state, Act{Verb: "restore"}, func() error { t.Error("it was done"); return nil })
	if err == nil || !strings.Contains(err.Error(), "not done") {
		t.Errorf("%v", err)
	}
}

// A file that is no act is put aside, and holds up no other.
func TestUnreadable(t *testing.T) {
	state := t.TempDir()
	if err := os.Mkdir(Folder(state), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"", "{", strings.Repeat("[", 1<<20)} {
		if err := os.WriteFile(filepath.Join(Folder(state), fmt.Sprint(i, suffix)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Do(state, Act{Verb: "restore"}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := take(t, state); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	for i := range 3 {
		if _, err := os.Stat(filepath.Join(Folder(state), fmt.Sprint(i, suffix, unreadable))); errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
