// Package acts writes down what is done to a rack without its service, such as
// a database that is restored. Each act is a file in the state folder: it is on
// disk before the act, and how the act ended is after it. The service takes
// these files up into its audit when it starts, and while it runs.
//
// The file is locked (flock(2)) as long as the act goes on, so that one whose
// process died is told from one that takes long.
package acts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Act is one act: who did what to what, and why.
type Act struct {
	Began  time.Time `json:"began"`
	Actor  string    `json:"actor"`
	Source string    `json:"source"`
	Key    string    `json:"key"` // "uid:0"
	Verb   string    `json:"verb"`
	Target string    `json:"target"`
	Reason string    `json:"reason"`
	Result string    `json:"result"` // "" = it is not over
	Ended  time.Time `json:"ended"`  // zero = it is not over
}

// interrupted is the result of an act whose process died.
const interrupted = "not told: it was interrupted"

const (
	suffix     = ".json"
	unreadable = ".unreadable"
	longest    = 64 << 10 // bytes of a file
)

// Folder is where the acts on a state folder are.
func Folder(state string) string { return filepath.Join(state, "acts") }

// Do writes an act down, does it, and writes down how it ended. What cannot be
// written down before is not done; that the end cannot be is told beside f's
// own error.
func Do(state string, act Act, f func() error) error {
	act.Began = time.Now()
	name := filepath.Join(Folder(state), fmt.Sprintf("%d-%d%s", act.Began.UnixNano(), os.Getpid(), suffix))
	file, err := begin(state, name, act)
	if err != nil {
		return fmt.Errorf("%s: it cannot be written down, so it is not done: %w", act.Verb, err)
	}
	defer file.Close() // and with it the lock
	err = f()
	act.Result, act.Ended = "ok", time.Now()
	if err != nil {
		act.Result = "failed: " + err.Error()
	}
	return errors.Join(err, end(name, act))
}

func end(name string, act Act) error {
	file, err := write(name, act)
	if err != nil {
		return fmt.Errorf("%s: write down how it ended: %w", act.Verb, err)
	}
	return file.Close()
}

// begin makes the file of an act, locked.
func begin(state, name string, act Act) (*os.File, error) {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := giveTo(state, dir); err != nil {
		return nil, err
	}
	return write(name, act)
}

// write puts a file in its place, whole, on disk and locked until it is closed.
func write(name string, act Act) (_ *os.File, err error) {
	text, err := json.Marshal(act)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(name)
	fresh, err := os.CreateTemp(dir, ".fresh-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fresh.Close(), os.Remove(fresh.Name()))
		}
	}()
	if err := syscall.Flock(int(fresh.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, err
	}
	_, err = fresh.Write(text)
	if err = errors.Join(err, fresh.Sync(), giveTo(dir, fresh.Name())); err != nil {
		return nil, err
	}
	if err := os.Rename(fresh.Name(), name); err != nil {
		return nil, err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return fresh, errors.Join(folder.Sync(), folder.Close())
}

// giveTo gives a file to the owner of a folder: the service, when root acts.
func giveTo(folder, name string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Getuid() != 0 {
		return nil
	}
	return os.Lchown(name, int(owner.Uid), int(owner.Gid))
}

// Take hands over every act that is over, oldest first, and removes its file
// once note has taken it. It stops at the first that note does not take. A crash
// in between has it told twice, and never not at all.
func Take(state string, log *slog.Logger, note func(Act) error) error {
	dir := Folder(state)
	entries, err := os.ReadDir(dir) // by name, and so by time
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		act, over, err := read(name)
		if err != nil {
			log.Error("an act in the state folder cannot be read", "file", name+unreadable, "err", err)
			if err := os.Rename(name, name+unreadable); err != nil {
				return err
			}
			continue
		}
		if !over {
			continue
		}
		if err := note(act); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// read reads an act that is over.
func read(name string) (act Act, over bool, err error) {
	file, err := os.Open(name)
	if err != nil {
		return Act{}, false, err
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return Act{}, false, nil // it goes on
	} else if err != nil {
		return Act{}, false, err
	}
	if replaced(file, name) {
		return Act{}, false, nil // it ended just now: the next time
	}
	text, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return Act{}, false, err
	}
	if err := json.Unmarshal(text, &act); err != nil {
		return Act{}, false, err
	}
	if act.Ended.IsZero() {
		act.Result, act.Ended = interrupted, act.Began
	}
	return act, true, nil
}

// replaced tells whether another file has taken the name meanwhile.
func replaced(file *os.File, name string) bool {
	mine, err := file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(name)
	return err != nil || !os.SameFile(mine, there)
}
