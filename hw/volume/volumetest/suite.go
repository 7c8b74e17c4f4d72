// Package volumetest is the test suite that every [volume.Driver] must pass.
package volumetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picloud/hw/volume"
)

// Fixture is a fresh driver without volumes.
type Fixture struct {
	volume.Driver
	// ImageSize is what images are imported with. It leaves room for the
	// suite's 40 MB of files.
	ImageSize int64
	// NearlyFull is the same driver, or another one of the same volumes, whose
	// alarm is on.
	NearlyFull func(t *testing.T) volume.Driver
}

// Run runs the suite, or those of its tests alone whose names are in only. open
// makes a fresh fixture for each test and cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Fixture, only ...string) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Fixture)
	}{
		{"CloneKeepsAll", cloneKeepsAll},
		{"CloneAgain", cloneAgain},
		{"CloneProgress", cloneProgress},
		{"CloneCancelled", cloneCancelled},
		{"CloneMissingImage", cloneMissingImage},
		{"CloneAtOnce", cloneAtOnce},
		{"VolumesAreSeparate", volumesAreSeparate},
		{"Names", names},
		{"ListAndExists", listAndExists},
		{"Remove", remove},
		{"RemoveCancelled", removeCancelled},
		{"RemoveHostile", removeHostile},
		{"Usage", usage},
		{"ImportWholeOrNotAtAll", importWholeOrNotAtAll},
		{"RemoveImage", removeImage},
		{"Size", size},
		{"SnapshotAndRollback", snapshotAndRollback},
		{"SnapshotNames", snapshotNames},
		{"RemoveTakesSnapshots", removeTakesSnapshots},
		{"Wipe", wipe},
		{"Trim", trim},
		{"NearlyFull", nearlyFull},
		{"RecoverKeepsAll", recoverKeepsAll},
		{"RecoverBesideImport", recoverBesideImport},
	} {
		if len(only) > 0 && !slices.Contains(only, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var mtime = time.Unix(1_600_000_000, 123_000_000)

const bigSize = 5 << 20

func big() []byte { return bytes.Repeat([]byte("0123456789abcdef"), bigSize/16) }

// image makes an image with one of everything.
func (f Fixture) image(t *testing.T) {
	t.Helper()
	check(t, f.Import(t.Context(), "demo", f.ImageSize, func(_ context.Context, dir string) error {
		fill(t, dir)
		return nil
	}))
}

func fill(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"etc", "usr/bin", "closed", "empty"} {
		check(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for name, content := range map[string][]byte{
		"etc/hostname": []byte("image\n"), "usr/bin/sudo": []byte("#!"), "usr/bin/big": big(), "closed/secret": []byte("x"),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	check(t, os.Chmod(filepath.Join(dir, "usr/bin/sudo"), 0o755|os.ModeSetuid))
	check(t, os.Link(filepath.Join(dir, "etc/hostname"), filepath.Join(dir, "etc/same")))
	check(t, os.Symlink("hostname", filepath.Join(dir, "etc/rel")))
	check(t, os.Symlink("/nonexistent/target", filepath.Join(dir, "etc/abs")))
	check(t, syscall.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o620))
	check(t, os.Chmod(filepath.Join(dir, "etc/pipe"), 0o620)) // the umask took some
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	check(t, err)
	_, err = sparse.WriteAt([]byte("end"), 1<<20)
	check(t, errors.Join(err, sparse.Truncate(2<<20), sparse.Close()))
	if os.Geteuid() == 0 {
		check(t, os.Lchown(filepath.Join(dir, "etc/hostname"), 1000, 1001))
		check(t, os.Lchown(filepath.Join(dir, "etc/abs"), 1002, 1003))
		check(t, setCapability(filepath.Join(dir, "usr/bin/sudo")))
	}
	check(t, os.Chmod(filepath.Join(dir, "closed"), 0o700|os.ModeSticky))
	for _, name := range []string{"etc/hostname", "empty", "usr/bin"} {
		check(t, os.Chtimes(filepath.Join(dir, name), mtime, mtime))
	}
}

// capNetRaw is CAP_NET_RAW, permitted and effective (VFS_CAP_REVISION_2 of
// include/uapi/linux/capability.h), as ping has it.
var capNetRaw = []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func setCapability(name string) error {
	err := syscall.Setxattr(name, "security.capability", capNetRaw, 0)
	if errors.Is(err, syscall.ENOTSUP) {
		return nil // tmpfs of some kernels
	}
	return err
}

func (f Fixture) path(t *testing.T, name string) string {
	t.Helper()
	p, err := f.Path(name)
	check(t, err)
	return p
}

func (f Fixture) clone(t *testing.T, name string) string {
	t.Helper()
	check(t, f.Clone(t.Context(), "demo", name, nil))
	return f.path(t, name)
}

func cloneKeepsAll(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	for name, want := range map[string][]byte{
		"etc/hostname": []byte("image\n"), "etc/same": []byte("image\n"), "usr/bin/big": big(),
		"sparse": append(append(make([]byte, 1<<20), "end"...), make([]byte, 1<<20-3)...),
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, want := range map[string]os.FileMode{
		"usr/bin/sudo": 0o755 | os.ModeSetuid,
		"closed":       0o700 | os.ModeSticky | os.ModeDir,
		"etc/pipe":     0o620 | os.ModeNamedPipe,
		"etc/hostname": 0o644,
	} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for name, want := range map[string]string{"etc/rel": "hostname", "etc/abs": "/nonexistent/target"} {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"etc/hostname", "empty", "usr/bin"} {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if !info.ModTime().Equal(mtime) {
			t.Errorf("%s: %v", name, info.ModTime())
		}
	}
	keepsInodes(t, dir)
}

func stat(t *testing.T, p string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(p)
	check(t, err)
	return info.Sys().(*syscall.Stat_t)
}

func keepsInodes(t *testing.T, dir string) {
	t.Helper()
	one, other := stat(t, filepath.Join(dir, "etc/hostname")), stat(t, filepath.Join(dir, "etc/same"))
	if one.Ino != other.Ino || one.Nlink != 2 {
		t.Errorf("hard link: inodes %d and %d, %d links", one.Ino, other.Ino, one.Nlink)
	}
	if st := stat(t, filepath.Join(dir, "sparse")); st.Blocks*512 > 1<<20 {
		t.Errorf("sparse file takes %d bytes", st.Blocks*512)
	}
	if os.Geteuid() != 0 {
		return
	}
	buf := make([]byte, 64)
	n, err := syscall.Getxattr(filepath.Join(dir, "usr/bin/sudo"), "security.capability", buf)
	if !errors.Is(err, syscall.ENOTSUP) && !bytes.Equal(buf[:max(n, 0)], capNetRaw) {
		t.Errorf("file capability %x, %v", buf[:max(n, 0)], err)
	}
	link := stat(t, filepath.Join(dir, "etc/abs"))
	if one.Uid != 1000 || one.Gid != 1001 || link.Uid != 1002 || link.Gid != 1003 {
		t.Errorf("owners %d:%d and %d:%d", one.Uid, one.Gid, link.Uid, link.Gid)
	}
}

// cloneAgain: the second run of a job's step must not undo what came after the first.
func cloneAgain(t *testing.T, f Fixture) {
	f.image(t)
	name := filepath.Join(f.clone(t, "a"), "etc/hostname")
	check(t, os.WriteFile(name, []byte("mine\n"), 0o644))
	f.clone(t, "a")
	if got, err := os.ReadFile(name); err != nil || string(got) != "mine\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func cloneProgress(t *testing.T, f Fixture) {
	f.image(t)
	last, lastTotal, calls := int64(-1), int64(0), 0
	check(t, f.Clone(t.Context(), "demo", "a", func(done, total int64) {
		if done < last || done > total || calls > 0 && total != lastTotal {
			t.Errorf("%d of %d after %d of %d", done, total, last, lastTotal)
		}
		last, lastTotal = done, total
		calls++
	}))
	if last != lastTotal || calls < 1 || f.Features().Copies && (lastTotal < bigSize || calls < 3) {
		t.Errorf("ended at %d of %d after %d calls", last, lastTotal, calls)
	}
}

// cloneCancelled: a job is cancelled in mid-copy and runs again.
func cloneCancelled(t *testing.T, f Fixture) {
	f.image(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if !f.Features().Copies {
		cancel()
	}
	err := f.Clone(ctx, "demo", "a", func(done, total int64) {
		if done > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err %v", err)
	}
	if there, err := f.Exists(t.Context(), "a"); err != nil || there {
		t.Errorf("half a volume: %v, %v", there, err)
	}
	if list, err := f.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	if _, err := f.Path("a"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("path: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(f.clone(t, "a"), "usr/bin/big")); err != nil || len(got) != bigSize {
		t.Errorf("after the second run: %d bytes, %v", len(got), err)
	}
}

func cloneMissingImage(t *testing.T, f Fixture) {
	if err := f.Clone(t.Context(), "none", "a", nil); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("err %v", err)
	}
	if there, err := f.Exists(t.Context(), "a"); err != nil || there {
		t.Errorf("%v, %v", there, err)
	}
}

func cloneAtOnce(t *testing.T, f Fixture) {
	f.image(t)
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { errs[i] = f.Clone(t.Context(), "demo", fmt.Sprintf("v%d", i/2), nil) })
	}
	wg.Wait()
	check(t, errors.Join(errs...))
	if list, err := f.List(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

func volumesAreSeparate(t *testing.T, f Fixture) {
	f.image(t)
	a, b := f.clone(t, "a"), f.clone(t, "b")
	for _, name := range []string{"etc/hostname", "usr/bin/big"} {
		check(t, os.WriteFile(filepath.Join(a, name), []byte("changed"), 0o644))
	}
	c := f.clone(t, "c")
	for _, dir := range []string{b, c} {
		if got, err := os.ReadFile(filepath.Join(dir, "etc/hostname")); err != nil || string(got) != "image\n" {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "usr/bin/big")); err != nil || len(got) != bigSize {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func names(t *testing.T, f Fixture) {
	f.image(t)
	for _, bad := range []string{"", ".", "..", "a/b", "../a", "/a", ".a", "-a", "a~b", "a b", "a\x00", "a\n", "ä", strings.Repeat("a", volume.MaxName+1)} {
		_, pathErr := f.Path(bad)
		_, existsErr := f.Exists(t.Context(), bad)
		_, usageErr := f.Usage(t.Context(), bad)
		for what, err := range map[string]error{
			"path": pathErr, "exists": existsErr, "usage": usageErr,
			"clone": f.Clone(t.Context(), "demo", bad, nil), "clone image": f.Clone(t.Context(), bad, "a", nil),
			"remove": f.Remove(t.Context(), bad), "grow": f.Grow(t.Context(), bad, 1<<40), "wipe": f.Wipe(t.Context(), bad),
			"snapshot": f.Snapshot(t.Context(), bad, "s"), "snapshot name": f.Snapshot(t.Context(), "a", bad),
			"rollback": f.Rollback(t.Context(), bad, "s"), "rollback name": f.Rollback(t.Context(), "a", bad),
			"remove snapshot": f.RemoveSnapshot(t.Context(), "a", bad), "remove image": f.RemoveImage(t.Context(), bad),
			"import": f.Import(t.Context(), bad, f.ImageSize, func(context.Context, string) error {
				t.Errorf("import of %.20q", bad)
				return nil
			}),
		} {
			if !errors.Is(err, volume.ErrInvalidName) {
				t.Errorf("%s %.20q: %v", what, bad, err)
			}
		}
	}
	for _, good := range []string{"a", "pi-07.2026_1", "A9", strings.Repeat("a", volume.MaxName)} {
		f.clone(t, good)
		check(t, f.Remove(t.Context(), good))
	}
}

func listAndExists(t *testing.T, f Fixture) {
	f.image(t)
	begin := time.Now().Add(-time.Minute)
	for _, name := range []string{"b", "a", "a-1"} {
		f.clone(t, name)
	}
	list, err := f.List(t.Context())
	check(t, err)
	var got []string
	for _, v := range list {
		got = append(got, v.Name)
		if v.Created.Before(begin) || v.Created.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was made at %v", v.Name, v.Created)
		}
	}
	if strings.Join(got, " ") != "a a-1 b" {
		t.Errorf("list %v", got)
	}
	for name, want := range map[string]bool{"a": true, "a-1": true, "c": false, "demo": false} {
		if there, err := f.Exists(t.Context(), name); err != nil || there != want {
			t.Errorf("%s: %v, %v", name, there, err)
		}
	}
}

func remove(t *testing.T, f Fixture) {
	f.image(t)
	f.clone(t, "a")
	other := f.clone(t, "a-1")
	for range 2 {
		check(t, f.Remove(t.Context(), "a"))
	}
	if there, err := f.Exists(t.Context(), "a"); err != nil || there {
		t.Errorf("%v, %v", there, err)
	}
	if _, err := os.Stat(filepath.Join(other, "etc/hostname")); err != nil {
		t.Error(err)
	}
	f.clone(t, "a")
}

func removeCancelled(t *testing.T, f Fixture) {
	f.image(t)
	f.clone(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Remove(ctx, "a"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	check(t, f.Remove(t.Context(), "a"))
	if there, err := f.Exists(t.Context(), "a"); err != nil || there {
		t.Errorf("%v, %v", there, err)
	}
}

// removeHostile: a customer has left links out of the volume, closed folders
// and folders nested deeper than a path can say.
func removeHostile(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	outside := t.TempDir()
	precious := filepath.Join(outside, "precious")
	check(t, os.WriteFile(precious, []byte("x"), 0o644))
	check(t, os.Symlink(outside, filepath.Join(dir, "out")))
	check(t, os.Symlink(precious, filepath.Join(dir, "file-out")))
	nest(t, dir, 1600)
	check(t, os.MkdirAll(filepath.Join(dir, "shut/inner"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "shut/inner/file"), nil, 0o600))
	check(t, os.Chmod(filepath.Join(dir, "shut/inner"), 0))
	check(t, os.Chmod(filepath.Join(dir, "shut"), 0))
	check(t, f.Remove(t.Context(), "a"))
	if there, err := f.Exists(t.Context(), "a"); err != nil || there {
		t.Errorf("%v, %v", there, err)
	}
	if got, err := os.ReadFile(precious); err != nil || string(got) != "x" {
		t.Errorf("outside the volume: %q, %v", got, err)
	}
}

// nest makes folders within folders, two hundred at a time: a longer path
// could not be named.
func nest(t *testing.T, dir string, depth int) {
	t.Helper()
	const step = 200
	for made := 0; made < depth; made += step {
		next := dir + "/chain-next"
		check(t, os.MkdirAll(next+strings.Repeat("/deep", step-1), 0o755))
		if _, err := os.Lstat(dir + "/deep"); err == nil {
			check(t, os.Rename(dir+"/deep", next+strings.Repeat("/deep", step)))
		}
		check(t, os.Rename(next, dir+"/deep"))
	}
}

func usage(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	before, err := f.Usage(t.Context(), "a")
	check(t, err)
	if before < bigSize && f.Features().Copies {
		t.Errorf("%d bytes for a file of %d", before, bigSize)
	}
	check(t, os.WriteFile(filepath.Join(dir, "more"), big(), 0o644))
	check(t, os.Link(filepath.Join(dir, "more"), filepath.Join(dir, "more-2")))
	outside := t.TempDir()
	check(t, os.WriteFile(filepath.Join(outside, "big"), bytes.Repeat(big(), 3), 0o644))
	check(t, os.Symlink(outside, filepath.Join(dir, "out")))
	syncDir(t, dir)
	after, err := f.Usage(t.Context(), "a")
	check(t, err)
	if grown := after - before; grown < bigSize*9/10 || grown > bigSize*3/2 {
		t.Errorf("grew by %d for %d", grown, bigSize)
	}
	if _, err := f.Usage(t.Context(), "none"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("unknown volume: %v", err)
	}
}
