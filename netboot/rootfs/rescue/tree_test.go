package rescue

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openTree(t testing.TB, dir string) *tree {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return newTree(root)
}

func TestFind(t *testing.T) {
	dir := makeImage(t, map[string]any{
		"usr/bin/dash": "dash", "bin": linkTo("usr/bin"), "usr/bin/sh": linkTo("dash"), "etc/x": "x",
		"usr/bin/vi": linkTo("/etc/alternatives/vi"), "etc/alternatives/vi": linkTo("/bin/dash"),
		"out": linkTo("../../../../etc/x"), "dangling": linkTo("/nowhere"), "loop": linkTo("loop"),
		"dir": linkTo("/usr/bin/"), "top": linkTo("/"),
	})
	for _, tt := range []struct {
		name, real, via string
		err             error
	}{
		{"usr/bin/dash", "usr/bin/dash", "usr usr/bin", nil},
		{"/bin/sh", "usr/bin/dash", "bin usr usr/bin usr/bin/sh", nil},
		{"usr/bin/vi", "usr/bin/dash", "bin etc etc/alternatives etc/alternatives/vi usr usr/bin usr/bin/vi", nil},
		// Above the top is the top, as in a chroot.
		{"out", "etc/x", "etc out", nil},
		{"../../etc/./x", "etc/x", "etc", nil},
		{"top/dir/dash", "usr/bin/dash", "dir top usr usr/bin", nil},
		{"dangling", "", "", fs.ErrNotExist},
		{"usr/bin/none", "", "", fs.ErrNotExist},
		{"loop", "", "", unix.ELOOP},
		{"etc/x/y", "", "", unix.ENOTDIR},
		{"usr", "", "", errNotFile},
		{"", "", "", errNotFile},
	} {
		tree := openTree(t, dir)
		f, err := tree.file(tt.name)
		if !errors.Is(err, tt.err) || f.real != tt.real {
			t.Errorf("%q: %q, %v, want %q, %v", tt.name, f.real, err, tt.real, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if known, err := tree.take(f); known || err != nil {
			t.Errorf("%q: known %v, %v", tt.name, known, err)
		}
		if known, err := tree.take(f); !known || err != nil {
			t.Errorf("%q again: known %v, %v", tt.name, known, err)
		}
		for _, v := range append(strings.Fields(tt.via), tt.real) {
			if _, ok := tree.entries[v]; !ok {
				t.Errorf("%q: %s is not taken", tt.name, v)
			}
		}
		if len(tree.entries) != len(strings.Fields(tt.via))+1 {
			t.Errorf("%q: %v", tt.name, tree.entries)
		}
	}
}

// What is no regular file is not read, and a pipe does not make it wait.
func TestOpen(t *testing.T) {
	dir := makeImage(t, map[string]any{"file": "x", "link": linkTo("file")})
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openTree(t, dir)
	for _, name := range []string{"pipe", "."} {
		if f, err := tree.open(name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
		if b := tree.text("pipe", 10); b != nil {
			t.Errorf("%q", b)
		}
	}
	if _, err := tree.file("pipe"); !errors.Is(err, errNotFile) {
		t.Error(err)
	}
	if b := tree.text("link", 10); string(b) != "x" {
		t.Errorf("%q", b)
	}
	if b := tree.text("link", 0); b != nil {
		t.Errorf("%q", b)
	}
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	tree := openTree(t, dir)
	f, err := os.Create(filepath.Join(dir, "large"))
	if err == nil {
		err = errors.Join(f.Truncate(maxFile+1), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.file("large"); !errors.Is(err, unix.EFBIG) {
		t.Error(err)
	}
	if err := tree.put("a", entry{size: maxTaken}); err != nil {
		t.Error(err)
	}
	if err := tree.put("a", entry{size: maxTaken}); err != nil {
		t.Error("replaced:", err)
	}
	if err := tree.put("b", entry{size: 1}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// Own files follow the image's layout.
func TestOwn(t *testing.T) {
	tree := openTree(t, makeImage(t, map[string]any{"usr/bin/x": "x", "bin": linkTo("usr/bin")}))
	err := errors.Join(tree.own("bin/own", 0o755, []byte("y")), tree.own("a/b/c", 0o644, nil), tree.link("a/b/d", "c"), tree.own("a/e", 0o600, nil))
	if err != nil {
		t.Fatal(err)
	}
	for p, mode := range map[string]uint32{
		"bin": unix.S_IFLNK | 0o777, "usr": unix.S_IFDIR | 0o755, "usr/bin": unix.S_IFDIR | 0o755, "usr/bin/own": unix.S_IFREG | 0o755,
		"a": unix.S_IFDIR | 0o755, "a/b": unix.S_IFDIR | 0o755, "a/b/c": unix.S_IFREG | 0o644, "a/b/d": unix.S_IFLNK | 0o777, "a/e": unix.S_IFREG | 0o600,
	} {
		if e, ok := tree.entries[p]; !ok || e.mode != mode {
			t.Errorf("%s: %o, want %o", p, e.mode, mode)
		}
	}
	if len(tree.entries) != 9 {
		t.Errorf("%v", tree.entries)
	}
}
