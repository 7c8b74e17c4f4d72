//go:build vmtest

package vmtest

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suites are the packages whose tests run in the guest, all at the same time.
var suites = []struct {
	name, pkg, tags string
	args            []string // after those that all get
}{
	{"link", "picloud/hw/link", "netns", nil},
	{"lvm", "picloud/hw/volume/lvmthin", "", []string{"-test.skip=^(TestCrash|TestPowerCut)$"}},
	{"lvm-crash", "picloud/hw/volume/lvmthin", "", []string{"-test.run=^TestCrash$"}},
	{"lvm-power", "picloud/hw/volume/lvmthin", "", []string{"-test.run=^TestPowerCut$"}},
	{"nfs", "picloud/netboot/nfs/knfsd", "", nil},
	{"roots", "picloud/engine/daemon", "", []string{"-test.run=^TestRootsInGuest$", "-test.bench=^$"}},
	{"reimage", "picloud/engine/daemon", "", []string{"-test.run=^$", "-test.bench=^BenchmarkReimage$", "-test.benchtime=5x"}},
}

// dynamic are the suites that need cgo, for SQLite: they are linked against the
// guest's C library, which is Debian's as this host's is.
var dynamic = map[string]string{"roots": "1", "reimage": "1"}

// onRequest are the suites that are run when they are named, or all are.
var onRequest = map[string]bool{"reimage": true}

// TestInGuest builds the test binary of each package and runs all of them in
// one guest, or those alone whose name has $PICLOUD_VMTEST_ONLY in it. The
// tests know by -test.short to leave out what they have shown in another way;
// with PICLOUD_VMTEST_ALL=1 they leave out nothing, and benchmarks run too:
// that takes four times as long.
func TestInGuest(t *testing.T) {
	cache := os.Getenv("PICLOUD_VMTEST_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			user = os.TempDir()
		}
		cache = filepath.Join(user, "picloud", "vmtest")
	}
	begin := time.Now()
	guest, err := Prepare(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("guest ready after %v", time.Since(begin).Round(time.Second))
	dir := t.TempDir()
	var programs []Program
	only, all := os.Getenv("PICLOUD_VMTEST_ONLY"), os.Getenv("PICLOUD_VMTEST_ALL") != ""
	for _, s := range suites {
		if !strings.Contains(s.name, only) || onRequest[s.name] && !all && only == "" {
			continue
		}
		file := filepath.Join(dir, s.name)
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", s.tags, "-o", file, s.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cmp.Or(dynamic[s.name], "0"), "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", s.pkg, err, out)
		}
		args := []string{"-test.v", "-test.timeout=28m", "-test.short"}
		if all {
			args = []string{"-test.v", "-test.timeout=28m", "-test.bench=.", "-test.benchtime=3x"}
		}
		programs = append(programs, Program{s.name, file, append(args, s.args...)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 28*time.Minute)
	defer cancel()
	begin = time.Now()
	results, err := guest.Run(ctx, programs, os.Stdout)
	t.Logf("guest ran for %v", time.Since(begin).Round(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Exit != 0 {
			t.Errorf("%s: exit code %d", r.Name, r.Exit)
		}
	}
}
