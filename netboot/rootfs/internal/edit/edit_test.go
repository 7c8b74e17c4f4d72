package edit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) (*os.Root, string) {
	t.Helper()
	top := t.TempDir()
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, top
}

// TestReplaces: whatever stands at a place, the new file or link is there
// afterwards, and what a link pointed to is as it was.
func TestReplaces(t *testing.T) {
	for name, before := range map[string]func(p, outside string) error{
		"nothing":    func(string, string) error { return nil },
		"a file":     func(p, _ string) error { return os.WriteFile(p, []byte("old"), 0o600) },
		"a link out": func(p, outside string) error { return os.Symlink(outside, p) },
		"a link in":  func(p, _ string) error { return os.Symlink("other", p) },
		"a loop":     func(p, _ string) error { return os.Symlink(filepath.Base(p), p) },
		"a pipe":     func(p, _ string) error { return unix.Mkfifo(p, 0o600) },
		"a full folder": func(p, _ string) error {
			return os.MkdirAll(filepath.Join(p, "a/b"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, top := open(t)
			outside := filepath.Join(t.TempDir(), "outside")
			p := filepath.Join(top, "place")
			err := errors.Join(os.WriteFile(outside, []byte("mine"), 0o600), os.WriteFile(filepath.Join(top, "other"), []byte("other"), 0o600),
				os.Mkdir(filepath.Join(top, ".place.picloud-new"), 0o700), before(p, outside), File(root, "place", 0o640, []byte("new")))
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(p); err != nil || info.Mode() != 0o640 || string(Read(root, "place", 3)) != "new" {
				t.Errorf("%v, %v", info, err)
			}
			if err := Link(root, "place", "target"); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.Readlink(p); got != "target" {
				t.Errorf("%q", got)
			}
			if err := OwnedFile(root, "place", 0o600, os.Getuid(), os.Getgid(), []byte("mine")); err != nil {
				t.Error(err)
			}
			a, _ := os.ReadFile(outside)
			b, _ := os.ReadFile(filepath.Join(top, "other"))
			if string(a) != "mine" || string(b) != "other" {
				t.Errorf("%q, %q", a, b)
			}
			if names := Names(root, "."); !slices.Contains(names, "place") || len(names) != 2 {
				t.Errorf("%q", names)
			}
		})
	}
}

func TestDirs(t *testing.T) {
	root, top := open(t)
	outside := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(top, "a"), 0o755), os.Symlink(outside, filepath.Join(top, "a/b")), Dirs(root, "a/b/c")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(top, "a/b")); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("outside: %v", left)
	}
	if err := errors.Join(Dirs(root, "."), Sync(root, "a/b/c")); err != nil {
		t.Error(err)
	}
	if err := Sync(root, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestRead: what is not a small regular file of the root is as if not there.
func TestRead(t *testing.T) {
	root, top := open(t)
	err := errors.Join(
		os.WriteFile(filepath.Join(top, "file"), []byte("12345"), 0o600),
		os.Symlink("file", filepath.Join(top, "in")),
		os.Symlink("/etc/passwd", filepath.Join(top, "out")),
		unix.Mkfifo(filepath.Join(top, "pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"file": {"12345", "12345"}, "in": {"", "12345"}, "out": {}, "pipe": {}, "none": {}, ".": {}, "../x": {},
	} {
		if a, b := Read(root, name, 5), Follow(root, name, 5); string(a) != want[0] || string(b) != want[1] {
			t.Errorf("%s: %q, %q", name, a, b)
		}
	}
	if Read(root, "file", 4) != nil || len(Names(root, "file")) != 0 || len(Names(root, "pipe")) != 0 {
		t.Error("read beyond the limit, or what is no directory")
	}
}
