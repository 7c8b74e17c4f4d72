package lvmthin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/hw/volume/volumetest"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/knfsd"
)

// The guest of hw/vmtest has an empty disk for us, and says in this variable
// which.
const inGuest = "PICLOUD_VMTEST"

// group is a volume group that this process has to itself.
var group = "vmtest-" + filepath.Base(os.Getenv(inGuest))

func must(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

var makeGroup sync.Once

// needGuest skips the test where there is no disk to make a volume group of.
func needGuest(t testing.TB) {
	t.Helper()
	if os.Getenv(inGuest) == "" {
		t.Skip("needs LVM and a disk of its own: run just vmtest")
	}
	makeGroup.Do(func() {
		if exec.Command("vgs", group).Run() == nil {
			return
		}
		must(t, "vgcreate", group, os.Getenv(inGuest))
	})
}

var pools int

// newPool makes a thin pool that goes away with the test.
func newPool(t testing.TB, size string) string {
	t.Helper()
	needGuest(t)
	pools++
	pool := fmt.Sprintf("pool%d", pools)
	must(t, "lvcreate", "--yes", "--type", "thin-pool", "--name", pool, "--size", size, "--poolmetadatasize", "8m", group)
	t.Cleanup(func() { must(t, "lvremove", "--yes", "--force", "--force", group+"/"+pool) })
	return pool
}

func openTest(t testing.TB, state string, opts Options) *Driver {
	t.Helper()
	opts.Group = group
	d, err := Open(context.Background(), state, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// unmountAll ends what a driver has mounted.
func unmountAll(t testing.TB, state string) {
	for _, dir := range []string{"volumes", "imports"} {
		names, _ := filepath.Glob(filepath.Join(state, dir, "*"))
		for _, name := range names {
			if err := (&Driver{}).unmountFS(name); err != nil {
				t.Error(err)
			}
		}
	}
}

const imageSize = 96 << 20

// What a short run does: the emulated guest takes seconds for each call of
// LVM, and the rest is the same in any driver.
var (
	shortTests   = []string{"CloneKeepsAll", "CloneAtOnce", "Size", "SnapshotAndRollback", "RemoveTakesSnapshots", "Wipe", "NearlyFull", "ImportWholeOrNotAtAll", "Trim", "RecoverBesideImport"}
	shortCrashes = []string{"Clone", "Grow", "Rollback"}
)

func TestDriver(t *testing.T) {
	needGuest(t)
	var only []string
	if testing.Short() {
		only = shortTests
	}
	volumetest.Run(t, func(t *testing.T) volumetest.Fixture {
		pool, state := newPool(t, "1g"), t.TempDir()
		d := openTest(t, state, Options{Pool: pool})
		t.Cleanup(func() { unmountAll(t, state) })
		return volumetest.Fixture{Driver: d, ImageSize: imageSize, NearlyFull: func(t *testing.T) volume.Driver {
			return openTest(t, state, Options{Pool: pool, NearlyFull: 1e-6})
		}}
	}, only...)
}

func TestCrash(t *testing.T) {
	needGuest(t)
	var only []string
	if testing.Short() {
		only = shortCrashes
	}
	volumetest.RunCrashes(t, volumetest.Crasher{
		State: func(t *testing.T) string {
			pool, state := newPool(t, "512m"), t.TempDir()
			t.Cleanup(func() { unmountAll(t, state) })
			return pool + ":" + state
		},
		Open: func(t *testing.T, state string, step func(string)) volume.Driver {
			pool, dir, _ := strings.Cut(state, ":")
			d := openTest(t, dir, Options{Pool: pool})
			d.step = step
			return d
		},
		ImageSize: 32 << 20,
		Only:      only,
	})
}

// TestBusy: a root that an NFS server has bound elsewhere is not taken away
// from under its Pi.
func TestBusy(t *testing.T) {
	pool, state, elsewhere := newPool(t, "512m"), t.TempDir(), t.TempDir()
	d := openTest(t, state, Options{Pool: pool})
	t.Cleanup(func() { unmountAll(t, state) })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(d.Import(t.Context(), "demo", 32<<20, func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644)
	}))
	check(d.Clone(t.Context(), "demo", "a", nil))
	check(d.Snapshot(t.Context(), "a", "s"))
	open, err := os.Open(filepath.Join(d.mountPoint("a"), "file"))
	check(err)
	busy := func(what string) {
		t.Helper()
		for op, err := range map[string]error{
			"rollback": d.Rollback(t.Context(), "a", "s"), "wipe": d.Wipe(t.Context(), "a"), "remove": d.Remove(t.Context(), "a"),
		} {
			if !errors.Is(err, volume.ErrBusy) {
				t.Errorf("%s with %s: %v", op, what, err)
			}
		}
		if _, err := os.Stat(filepath.Join(d.mountPoint("a"), "file")); err != nil {
			t.Error(err)
		}
	}
	busy("a file open")
	check(open.Close())
	check(unix.Mount(d.mountPoint("a"), elsewhere, "", unix.MS_BIND, ""))
	busy("a bind mount")
	check(unix.Unmount(elsewhere, 0))
	check(d.Rollback(t.Context(), "a", "s"))
	check(d.Remove(t.Context(), "a"))
	s, err := d.look(t.Context())
	check(err)
	if len(s.all) != 1 {
		t.Errorf("left %+v", s.all)
	}
}

// TestAfterReboot: nothing is mounted or active, as after a restart of the host.
func TestAfterReboot(t *testing.T) {
	pool, state := newPool(t, "512m"), t.TempDir()
	d := openTest(t, state, Options{Pool: pool})
	t.Cleanup(func() { unmountAll(t, state) })
	if err := errors.Join(
		d.Import(t.Context(), "demo", 32<<20, func(context.Context, string) error { return nil }),
		d.Clone(t.Context(), "demo", "a", nil), d.Clone(t.Context(), "demo", "b", nil), d.Snapshot(t.Context(), "a", "s"),
	); err != nil {
		t.Fatal(err)
	}
	if a, b := uuid(t, d, "a"), uuid(t, d, "b"); a == b {
		t.Errorf("two file systems have UUID %x", a)
	}
	unmountAll(t, state)
	must(t, "vgchange", "--activate", "n", group)
	d = openTest(t, state, Options{Pool: pool})
	if _, err := d.Path("a"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("path before Recover: %v", err)
	}
	if err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := d.Path(name); err != nil {
			t.Error(err)
		}
	}
	if err := d.Rollback(t.Context(), "a", "s"); err != nil {
		t.Error(err)
	}
}

func uuid(t *testing.T, d *Driver, name string) [16]byte {
	t.Helper()
	s, err := d.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	super, err := readSuper(d.device(pick(s.all, kindVolume, "", name).id))
	if err != nil {
		t.Fatal(err)
	}
	return super.uuid
}

// TestReadImage looks into an image beside a clone of it, and tells the use of
// all volumes.
func TestReadImage(t *testing.T) {
	pool, state := newPool(t, "200m"), t.TempDir()
	t.Cleanup(func() { unmountAll(t, state) })
	d := openTest(t, state, Options{Pool: pool})
	ctx := t.Context()
	err := d.Import(ctx, "img", minSize, func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Clone(ctx, "img", "v", nil); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	for _, want := range []error{failed, nil} {
		err := d.ReadImage(ctx, "img", func(dir string) error {
			if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "x" {
				t.Errorf("%q, %v", b, err)
			}
			if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("written: %v", err)
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if left, err := os.ReadDir(filepath.Join(state, "imports")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := d.ReadImage(ctx, "none", func(string) error { return nil }); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("no such image: %v", err)
	}
	used, err := d.Usages(ctx)
	one, oneErr := d.Usage(ctx, "v")
	if err != nil || oneErr != nil || len(used) != 1 || used["v"] != one {
		t.Errorf("use %v, of one %d; %v %v", used, one, err, oneErr)
	}
	if err := d.RemoveImage(ctx, "img"); err != nil {
		t.Error(err)
	}
}

func TestNoPool(t *testing.T) {
	needGuest(t)
	if _, err := Open(t.Context(), t.TempDir(), Options{Group: group, Pool: "nosuch"}); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("err %v", err)
	}
}

func TestBadNames(t *testing.T) {
	for _, o := range []Options{{}, {Group: "-x", Pool: "p"}, {Group: "g", Pool: "p && lv_name=x"}, {Group: "g/x", Pool: "p"}} {
		if _, err := Open(t.Context(), t.TempDir(), o); !errors.Is(err, volume.ErrInvalidName) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// sample is a real report, of Debian 12's LVM 2.03.16.
const sample = `  {
      "report": [
          {
              "lv": [
                  {"lv_name":"pi-00","lv_tags":"picloud,picloud.kind=image,picloud.name=demo,picloud.ready,picloud.turn=1", "lv_size":"33554432", "lv_time":"1795000000", "data_percent":"3.12", "metadata_percent":"", "lv_active":""},
                  {"lv_name":"pi-01","lv_tags":"picloud,picloud.kind=volume,picloud.name=a,picloud.ready,picloud.turn=1", "lv_size":"33554432", "lv_time":"1795000001", "data_percent":"50.00", "metadata_percent":"", "lv_active":"active"},
                  {"lv_name":"pi-02","lv_tags":"picloud,picloud.kind=volume,picloud.name=a,picloud.ready,picloud.turn=2", "lv_size":"67108864", "lv_time":"1795000002", "data_percent":"50.00", "metadata_percent":"", "lv_active":"active"},
                  {"lv_name":"pi-03","lv_tags":"picloud,picloud.kind=volume,picloud.name=a,picloud.turn=3", "lv_size":"67108864", "lv_time":"1795000003", "data_percent":"", "metadata_percent":"", "lv_active":""},
                  {"lv_name":"pi-04","lv_tags":"picloud,picloud.kind=snapshot,picloud.name=s,picloud.of=a,picloud.ready,picloud.turn=1", "lv_size":"33554432", "lv_time":"1795000004", "data_percent":"", "metadata_percent":"", "lv_active":""},
                  {"lv_name":"pool", "lv_tags":"", "lv_size":"1073741824", "lv_time":"1795000000", "data_percent":"25.00", "metadata_percent":"10.50", "lv_active":"active", "segtype":"thin-pool", "vg_extent_size":"4194304"},
                  {"lv_name":"mine","lv_tags":"", "lv_size":"33554432", "lv_time":"1795000004", "data_percent":"", "metadata_percent":"", "lv_active":""}
              ]
          }
      ]
  }
`

func TestReport(t *testing.T) {
	r, err := parseReport([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.stock("pool", 0.9)
	all := s.all
	if err != nil || len(all) != 5 || s.extent != 4<<20 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s.pool.Size != 1<<30 || s.pool.Used != 1<<28 || s.pool.Metadata != 0.105 || s.pool.NearlyFull {
		t.Errorf("pool %+v", s.pool)
	}
	if full, err := r.stock("pool", 0.1); err != nil || !full.pool.NearlyFull {
		t.Errorf("pool %+v, %v", full.pool, err)
	}
	if _, err := r.stock("mine", 0.9); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("no pool: %v", err)
	}
	v := pick(all, kindVolume, "", "a")
	if v == nil || v.id != "pi-02" || v.size != 64<<20 || v.used != 0.5 || !v.active || !v.created.Equal(time.Unix(1795000002, 0)) {
		t.Errorf("volume %+v", v)
	}
	if s := pick(all, kindSnapshot, "a", "s"); s == nil || s.id != "pi-04" {
		t.Errorf("snapshot %+v", s)
	}
	if s := pick(all, kindSnapshot, "b", "s"); s != nil {
		t.Errorf("snapshot of another volume: %+v", s)
	}
	var ids []string
	for _, old := range replaced(all, v) {
		ids = append(ids, old.id)
	}
	if got := strings.Join(ids, " "); got != "pi-01 pi-03" {
		t.Errorf("replaced %s", got)
	}
}

// TestTags: what is written as tags is read back.
func TestTags(t *testing.T) {
	for _, want := range []lv{
		{kind: kindVolume, name: "pi_tdata-1.x", turn: 7, ready: true},
		{kind: kindSnapshot, name: "snapshot0", of: strings.Repeat("a", volume.MaxName), turn: 1},
	} {
		var tags []string
		for i, arg := range want.tags() {
			if i%2 == 1 {
				tags = append(tags, arg)
			}
		}
		var got lv
		if !got.readTags(strings.Join(tags, ",")) || got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestCommandOutput(t *testing.T) {
	l := limited{max: 3}
	for _, s := range []string{"ab", "cd", "e"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if l.String() != "abc" || !l.cut {
		t.Errorf("%q, %v", l.String(), l.cut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := command(ctx, "true"); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	if _, err := command(t.Context(), "no-such-program"); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "apt install") {
		t.Errorf("err %v", err)
	}
}

func TestSuper(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 24<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := readSuper(image); !errors.Is(err, errNotExt4) {
		t.Errorf("empty: %v", err)
	}
	if _, err := exec.LookPath("mke2fs"); err != nil {
		t.Skip(err)
	}
	if err := makeFS(t.Context(), image, 24<<20); err != nil {
		t.Fatal(err)
	}
	s, err := readSuper(image)
	if err != nil || s.block != 4096 || !s.fills(24<<20) || s.fills(32<<20) {
		t.Errorf("%+v, %v", s, err)
	}
	for range 2 {
		if err := setUUID(t.Context(), image, "pi-1", s); err != nil {
			t.Fatal(err)
		}
		before := s
		if s, err = readSuper(image); err != nil || s.uuid[6]>>4 != 8 {
			t.Errorf("UUID %x, %v", s.uuid, err)
		}
		if before.uuid[6]>>4 == 8 && before.uuid != s.uuid {
			t.Error("the UUID has changed again")
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"report":[]}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReport(b)
		if err != nil {
			return
		}
		_, _ = r.stock("pool", 0.9)
		for _, v := range r.ours() {
			if volume.CheckName(v.name) != nil || v.used < 0 || v.used > 1 {
				t.Errorf("%+v", v)
			}
		}
	})
}

// BenchmarkReimage publishes with the kernel's server.
func BenchmarkReimage(b *testing.B) {
	pool, state := newPool(b, "4g"), b.TempDir()
	d := openTest(b, state, Options{Pool: pool})
	b.Cleanup(func() { unmountAll(b, state) })
	s, err := knfsd.Open(knfsd.Config{State: b.TempDir(), Prefix: "/srv/bench"})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.Cleanup(func() {
		if err := s.Remove(ctx, "pi"); err != nil {
			b.Error(err)
		}
	})
	volumetest.BenchmarkReimage(b, volumetest.Fixture{Driver: d}, func(ctx context.Context, dir string) error {
		return s.Add(ctx, nfs.Export{ID: "pi", Dir: dir, Path: "/srv/bench/pi", Client: netip.MustParseAddr("127.64.0.2")})
	})
}
