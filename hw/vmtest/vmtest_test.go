//go:build vmtest

package vmtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suites are the packages whose tests run in the guest.
var suites = []struct {
	pkg, tags string
	args      []string
}{
	{"picloud/hw/link", "netns", nil},
	{"picloud/hw/volume/lvmthin", "", []string{"-test.bench=Reimage", "-test.benchtime=3x"}},
	{"picloud/netboot/nfs/knfsd", "", nil},
}

// TestInGuest builds the test binary of each package and runs all of them in
// one guest, or those alone whose path has $PICLOUD_VMTEST_ONLY in it, with the
// tests that match $PICLOUD_VMTEST_RUN.
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
	for _, s := range suites {
		if !strings.Contains(s.pkg, os.Getenv("PICLOUD_VMTEST_ONLY")) {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(s.pkg, "picloud/"), "/", "-")
		file := filepath.Join(dir, name)
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", s.tags, "-o", file, s.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", s.pkg, err, out)
		}
		programs = append(programs, Program{name, file, append([]string{"-test.v", "-test.timeout=20m", "-test.run=" + os.Getenv("PICLOUD_VMTEST_RUN")}, s.args...)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
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
