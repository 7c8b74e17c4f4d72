package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/hw/volume/volumetest"
)

// mount makes a btrfs file system in a file and mounts it, or skips the test
// where that cannot be done. In CI it must be possible.
func mount(t testing.TB, size int64) string {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
		skip = t.Fatalf
	}
	if os.Geteuid() != 0 {
		skip("mounting a file system needs root")
	}
	file, at := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.btrfs", "-q", "-m", "single", file}, {"mount", "-o", "loop", file, at}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			skip("%v: %v: %s (apt install btrfs-progs)", args, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return at
}

func openTest(t testing.TB, state string, opts Options) *Driver {
	t.Helper()
	d, err := Open(state, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const imageSize = 64 << 20

func TestDriver(t *testing.T) {
	disk, n := mount(t, 4<<30), 0
	volumetest.Run(t, func(t *testing.T) volumetest.Fixture {
		n++
		state := filepath.Join(disk, fmt.Sprint(n))
		d := openTest(t, state, Options{})
		return volumetest.Fixture{Driver: d, ImageSize: imageSize, NearlyFull: func(t *testing.T) volume.Driver {
			return openTest(t, state, Options{NearlyFull: 1e-9})
		}}
	})
}

func TestCrash(t *testing.T) {
	disk, n := "", 0
	volumetest.RunCrashes(t, volumetest.Crasher{
		State: func(t *testing.T) string {
			n++
			return filepath.Join(disk, fmt.Sprint(n))
		},
		Open: func(t *testing.T, state string, step func(string)) volume.Driver {
			d := openTest(t, state, Options{})
			d.step = step
			return d
		},
		Setup:     func(t *testing.T) { disk = mount(t, 4<<30) },
		ImageSize: imageSize,
	})
}

func TestOtherFileSystem(t *testing.T) {
	if _, err := Open(filepath.Join("/dev/shm", fmt.Sprintf("picloud-%d", os.Getpid())), Options{}); !errors.Is(err, volume.ErrNotSupported) {
		t.Errorf("err %v", err)
	}
	_ = os.Remove(filepath.Join("/dev/shm", fmt.Sprintf("picloud-%d", os.Getpid())))
}

func TestLayouts(t *testing.T) {
	for what, got := range map[string][2]uintptr{
		"vol_args_v2": {unsafe.Sizeof(volArgsV2{}), 4096}, "vol_args": {unsafe.Sizeof(volArgs{}), 4096},
		"subvol_info": {unsafe.Sizeof(subvolInfo{}), 504}, "search_args": {unsafe.Sizeof(searchArgs{}), 4096},
		"otime": {unsafe.Offsetof(subvolInfo{}.otime), 392},
	} {
		if got[0] != got[1] {
			t.Errorf("%s has %d bytes, want %d", what, got[0], got[1])
		}
	}
}

// TestQgroupsAreForgotten: a thousand reimages must not leave a thousand
// quota groups, which each commit would have to look at.
func TestQgroupsAreForgotten(t *testing.T) {
	d := openTest(t, mount(t, 1<<30), Options{})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(d.Import(t.Context(), "demo", 0, func(context.Context, string) error { return nil }))
	for range 10 {
		check(d.Clone(t.Context(), "demo", "a", nil))
		check(d.Remove(t.Context(), "a"))
	}
	dir, err := openFolder(d.volumes)
	check(err)
	defer dir.Close()
	// The kernel's cleaner has to have seen them.
	for deadline := time.Now().Add(time.Minute); ; {
		check(unix.Syncfs(fd(dir)))
		check(d.Recover(t.Context()))
		dead, err := deadQgroups(dir)
		check(err)
		if len(dead) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are left", len(dead))
		}
	}
}

func FuzzEachItem(f *testing.F) {
	seed := make([]byte, 2*itemHeader+16)
	seed[28] = 16
	f.Add(seed, 2)
	f.Add(seed[:40], 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		_, _ = eachItem(b, n, func(key, []byte) {})
	})
}

// BenchmarkReimage leaves out the export, which costs the same for every driver.
func BenchmarkReimage(b *testing.B) {
	d := openTest(b, mount(b, 8<<30), Options{})
	volumetest.BenchmarkReimage(b, volumetest.Fixture{Driver: d}, nil)
}
