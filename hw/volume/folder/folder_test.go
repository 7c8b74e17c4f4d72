package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picloud/hw/volume"
	"picloud/hw/volume/volumetest"
)

func openTest(t testing.TB) *Driver {
	t.Helper()
	d, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDriver(t *testing.T) {
	volumetest.Run(t, func(t *testing.T) volumetest.Fixture {
		d := openTest(t)
		return volumetest.Fixture{Driver: d, NearlyFull: func(t *testing.T) volume.Driver {
			full, err := Open(filepath.Dir(d.volumes), Options{NearlyFull: 1e-9})
			if err != nil {
				t.Fatal(err)
			}
			return full
		}}
	})
}

func TestCrash(t *testing.T) {
	volumetest.RunCrashes(t, volumetest.Crasher{
		State: func(t *testing.T) string { return t.TempDir() },
		Open: func(t *testing.T, state string, step func(string)) volume.Driver {
			d, err := Open(state, Options{})
			if err != nil {
				t.Fatal(err)
			}
			d.step = step
			return d
		},
		ImageSize: 1 << 20, // not looked at
	})
}

func addImage(t testing.TB, d *Driver) string {
	t.Helper()
	p, err := d.ImagePath("demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(p, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p, "etc/hostname"), []byte("image\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func left(t *testing.T, d *Driver) []string {
	t.Helper()
	entries, err := os.ReadDir(d.volumes)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// crash leaves what a process that was killed in mid-clone and mid-removal leaves.
func crash(t *testing.T, d *Driver, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.MkdirAll(filepath.Join(d.volumes, n, "etc/half"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.volumes, n, "etc/hostname"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloneAfterCrash(t *testing.T) {
	d := openTest(t)
	addImage(t, d)
	crash(t, d, ".clone~a", ".clone~b")
	if err := d.Clone(t.Context(), "demo", "a", nil); err != nil {
		t.Fatal(err)
	}
	p, err := d.Path("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(p, "etc/hostname")); err != nil || string(got) != "image\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(p, "etc/half")); err == nil {
		t.Error("mixed with the half copy")
	}
	if got := strings.Join(left(t, d), " "); got != ".clone~b a" {
		t.Errorf("left %s", got)
	}
}

func TestRemoveAfterCrash(t *testing.T) {
	d := openTest(t)
	crash(t, d, ".trash~a~1", ".trash~a~2", ".trash~a-1~1", ".clone~a", "a")
	if err := d.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(left(t, d), " "); got != ".trash~a-1~1" {
		t.Errorf("left %s", got)
	}
}

func TestRecover(t *testing.T) {
	d := openTest(t)
	crash(t, d, ".trash~a~1", ".trash~b~2", ".clone~c", "keep")
	for range 2 {
		if err := d.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(left(t, d), " "); got != "keep" {
		t.Errorf("left %s", got)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	d := openTest(t)
	image := addImage(t, d)
	if err := os.WriteFile(filepath.Join(image, "big"), make([]byte, 3*chunk), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := d.Clone(ctx, "demo", "a", func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err %v", err)
	}
	if got := left(t, d); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestTooDeep(t *testing.T) {
	d := openTest(t)
	image := addImage(t, d)
	if err := os.MkdirAll(image+strings.Repeat("/d", maxDepth+1), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Clone(t.Context(), "demo", "a", nil); !errors.Is(err, volume.ErrTooDeep) {
		t.Errorf("clone: %v", err)
	}
	if got := left(t, d); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

// TestImageIsALink: an image or volume is a folder, not a link to one.
func TestImageIsALink(t *testing.T) {
	d := openTest(t)
	outside := t.TempDir()
	for _, p := range []string{filepath.Join(d.images, "demo"), filepath.Join(d.volumes, "v")} {
		if err := os.Symlink(outside, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Clone(t.Context(), "demo", "a", nil); err == nil {
		t.Error("cloned through a link")
	}
	if _, err := d.Path("v"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("path: %v", err)
	}
}

func TestFilesAreNotLeftOpen(t *testing.T) {
	d := openTest(t)
	addImage(t, d)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 20 {
		if err := errors.Join(d.Clone(t.Context(), "demo", "a", nil), d.Remove(t.Context(), "a"), d.Recover(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func TestDeviceNeedsPrivilege(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make the device")
	}
	d := openTest(t)
	image := addImage(t, d)
	if err := syscall.Mknod(filepath.Join(image, "null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		t.Skip(err)
	}
	if err := d.Clone(t.Context(), "demo", "a", nil); err != nil {
		t.Fatal(err)
	}
	p, err := d.Path("a")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(p, "null"))
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || info.Sys().(*syscall.Stat_t).Rdev != 1<<8|3 {
		t.Errorf("%v, %v", info, err)
	}
}

func BenchmarkCloneRemove(b *testing.B) {
	d, err := Open(b.TempDir(), Options{Volatile: true})
	if err != nil {
		b.Fatal(err)
	}
	image := addImage(b, d)
	const size = 700 << 10 // as the built-in image
	if err := os.WriteFile(filepath.Join(image, "firmware"), make([]byte, size), 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if err := errors.Join(d.Clone(b.Context(), "demo", "a", nil), d.Remove(b.Context(), "a")); err != nil {
			b.Fatal(err)
		}
	}
}
