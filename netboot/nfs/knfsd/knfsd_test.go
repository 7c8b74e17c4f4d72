package knfsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/netboot/nfs"
	"picloud/netboot/nfs/internal/record"
	"picloud/netboot/nfs/nfstest"
)

const (
	inGuest   = "PICLOUD_VMTEST" // set in the guest of hw/vmtest
	mountPort = 20048
	prefix    = "/srv/vmtest"
)

func must(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needGuest skips the test where the kernel's server is not there to itself.
func needGuest(t testing.TB) {
	t.Helper()
	if os.Getenv(inGuest) == "" {
		t.Skip("needs a kernel with nfsd, to itself: run just vmtest")
	}
	check(t, Available())
}

func openServer(t testing.TB, state string) *Server {
	t.Helper()
	s, err := Open(Config{State: state, Prefix: prefix})
	check(t, err)
	check(t, s.Recover(context.Background()))
	return s
}

func newServer(t testing.TB) *Server {
	t.Helper()
	needGuest(t)
	s := openServer(t, t.TempDir())
	t.Cleanup(func() { withdrawAll(t, s) })
	return s
}

// withdrawAll withdraws everything, by few calls of exportfs.
func withdrawAll(t testing.TB, s *Server) {
	for some := range slices.Chunk(s.records.Exports(), 200) {
		args := []string{"-u"}
		for _, e := range some {
			args = append(args, e.Client.String()+":"+e.Path)
		}
		_ = exec.Command("exportfs", args...).Run() // not all may be there
		for _, e := range some {
			check(t, errors.Join(s.unbind(context.Background(), e.Path), s.records.Delete(e.ID)))
		}
	}
}

// makeDisk makes a file system in a file and mounts it.
func makeDisk(t *testing.T, at string, mkfs ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	check(t, os.WriteFile(file, nil, 0o600))
	check(t, os.Truncate(file, 256<<20))
	must(t, mkfs[0], append(mkfs[1:], file)...)
	check(t, os.MkdirAll(at, 0o755))
	must(t, "mount", "-o", "loop", file, at)
	t.Cleanup(func() { must(t, "umount", at) })
}

// onPlace are the tests that depend on what a root is on.
var onPlace = append([]string{"MountOwnAndRead", "AddReplaces", "WriteFiles", "ReplaceOpenFile"}, nfstest.Isolation...)

// TestConformance runs the suite, with two Pis on cables of their own, on file
// systems of their own, and what depends on the place on the other kinds of place
// that a root can be in.
func TestConformance(t *testing.T) {
	needGuest(t)
	must(t, "modprobe", "-a", "veth", "btrfs", "loop")
	pis := nfstest.Cables(t)
	for _, place := range []struct {
		name    string
		only    []string
		makeDir func(t *testing.T) func(t *testing.T, name string) string
	}{
		{"FileSystemOfItsOwn", nil, func(t *testing.T) func(*testing.T, string) string {
			top := t.TempDir()
			return func(t *testing.T, name string) string {
				at := filepath.Join(top, name)
				makeDisk(t, at, "mke2fs", "-q", "-F", "-t", "ext4")
				return at
			}
		}},
		{"FolderOfExt4", onPlace, func(t *testing.T) func(*testing.T, string) string { return nil }},
		{"SubvolumeOfBtrfs", onPlace, func(t *testing.T) func(*testing.T, string) string {
			top := filepath.Join(t.TempDir(), "btrfs")
			makeDisk(t, top, "mkfs.btrfs", "-q")
			return func(t *testing.T, name string) string {
				at := filepath.Join(top, name)
				must(t, "btrfs", "-q", "subvolume", "create", at)
				return at
			}
		}},
	} {
		if place.only != nil && testing.Short() {
			place.only = []string{"RefuseForeignHandle", "RefuseForgedHandle", "StayBelowRoot", "NameNothingAbove", "WriteFiles"}
		}
		t.Run(place.name, func(t *testing.T) {
			nfstest.Run(t, func(t *testing.T) nfstest.Server {
				makeDir := place.makeDir(t) // its cleanup comes after the exports'
				return nfstest.Server{
					Exporter: newServer(t), MountPort: mountPort, NFSPort: 2049, Writable: true, MountsBelow: true,
					MakeDir: makeDir, Prefix: prefix, ListsExports: true, Pis: pis,
				}
			}, place.only...)
		})
	}
}

func exports(t *testing.T, s *Server) string {
	t.Helper()
	list, err := s.List(t.Context())
	check(t, err)
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return strings.Join(ids, " ")
}

func export(t testing.TB, top, id string, n int) nfs.Export {
	t.Helper()
	dir := filepath.Join(top, id)
	check(t, os.MkdirAll(dir, 0o755))
	return nfs.Export{ID: id, Dir: dir, Path: prefix + "/" + id, Client: netip.AddrFrom4([4]byte{127, 70, byte(n >> 6), byte(n<<2 | 2)})}
}

// TestRestart: the process starts again, with exports as it left them; with
// one that was withdrawn by hand, as after a restart of the host; and with one
// that nobody knows.
func TestRestart(t *testing.T) {
	needGuest(t)
	state, top := t.TempDir(), t.TempDir()
	first := openServer(t, state)
	for i, id := range []string{"a", "b", "c"} {
		check(t, first.Add(t.Context(), export(t, top, id, i)))
	}
	second := openServer(t, state)
	t.Cleanup(func() { withdrawAll(t, second) })
	if got := exports(t, second); got != "a b c" {
		t.Errorf("exports %s", got)
	}
	check(t, second.Remove(t.Context(), "c"))
	must(t, "exportfs", "-u", "127.70.0.6:"+prefix+"/b")
	must(t, "umount", prefix+"/b")
	if got := exports(t, second); got != "a" {
		t.Errorf("exports %s", got)
	}
	orphan := export(t, top, "orphan", 9)
	check(t, os.MkdirAll(orphan.Path, 0o755))
	check(t, unix.Mount(orphan.Dir, orphan.Path, "", unix.MS_BIND, ""))
	must(t, "exportfs", "-o", "rw", "127.70.0.38:"+orphan.Path)
	foreign := t.TempDir()
	must(t, "exportfs", "-o", "rw", "127.70.0.38:"+foreign)

	third := openServer(t, state)
	if got := exports(t, third); got != "a b" {
		t.Errorf("exports %s", got)
	}
	table, err := readTable(t.Context())
	check(t, err)
	for _, e := range table {
		if e.path == orphan.Path {
			t.Errorf("the orphan is still exported: %v", e)
		}
	}
	if len(table) != 3 {
		t.Errorf("table %v: someone else's export is gone", table)
	}
	if _, err := os.Stat(orphan.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the orphan's path: %v", err)
	}
	must(t, "exportfs", "-u", "127.70.0.38:"+foreign)
}

func TestOutsidePrefix(t *testing.T) {
	s := newServer(t)
	for _, p := range []string{"/etc", "/srv/other", prefix, prefix + "x/a"} {
		e := export(t, t.TempDir(), "a", 0)
		e.Path = p
		if err := s.Add(t.Context(), e); !errors.Is(err, nfs.ErrInvalidExport) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestManyExports: exports are added to and taken from many. What one costs then
// BenchmarkAddRemove tells.
func TestManyExports(t *testing.T) {
	s := newServer(t)
	top := t.TempDir()
	many := 1000
	if testing.Short() {
		many = 100
	}
	fill(t, s, top, many)
	e := export(t, top, "one-more", many)
	check(t, s.Add(t.Context(), e))
	check(t, s.Remove(t.Context(), "pi-0050"))
	list, err := s.List(t.Context())
	check(t, err)
	if len(list) != many {
		t.Errorf("%d exports, want %d", len(list), many)
	}
}

// fill makes exports by few calls of exportfs, to save the guest's time, with
// all else that Add does.
func fill(t testing.TB, s *Server, top string, n int) {
	t.Helper()
	for i := 0; i < n; {
		args := []string{"-o", "rw,sync,no_root_squash,subtree_check"}
		for ; i < n && len(args) < 200; i++ {
			e := export(t, top, fmt.Sprintf("pi-%04d", i), i)
			r, err := s.records.Put(e)
			check(t, err)
			check(t, s.bind(e))
			s.live[r.ID] = true
			args = append(args, e.Client.String()+":"+e.Path)
		}
		must(t, "exportfs", args...)
	}
}

// BenchmarkAddRemove is one more export beside none and beside a thousand.
func BenchmarkAddRemove(b *testing.B) {
	for _, others := range []int{0, 1000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			s := newServer(b)
			top := b.TempDir()
			fill(b, s, top, others)
			e := export(b, top, "one-more", others)
			for b.Loop() {
				check(b, errors.Join(s.Add(b.Context(), e), s.Remove(b.Context(), e.ID)))
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	if os.Getenv(inGuest) != "" {
		t.Skip("it is available here")
	}
	err := Available()
	if err == nil {
		t.Skip("this host runs the kernel's NFS server")
	}
	if !errors.Is(err, nfs.ErrUnavailable) || !strings.Contains(err.Error(), "nfs-kernel-server") && !strings.Contains(err.Error(), "systemctl") {
		t.Errorf("err %v", err)
	}
}

func TestParseTable(t *testing.T) {
	// As exportfs 2.6.2 of Debian 12 prints it.
	const out = "/srv/pi-a  127.64.0.2(sync,wdelay,hide,no_subtree_check,fsid=8e1c5f5e-1f6e-9d0b-0b7f-8f5a1b2c3d4e,sec=sys,rw,secure,no_root_squash,no_all_squash)\n" +
		"/home  *(ro)\n/net  10.0.0.0/8(ro)\n/x\n\n/odd\\040name  10.0.0.2(ro)\n"
	got := parseTable([]byte(out))
	if len(got) != 2 || got[0] != (entry{"/srv/pi-a", "127.64.0.2"}) || got[1] != (entry{`/odd\040name`, "10.0.0.2"}) {
		t.Errorf("%v", got)
	}
}

func TestOptions(t *testing.T) {
	e := nfs.Export{ID: "a", Dir: t.TempDir(), Path: "/srv/a", Client: netip.MustParseAddr("10.0.0.2")}
	sum := e.FSID()
	got, err := options(record.Record{Export: e, Number: 7})
	check(t, err)
	if want := "rw,sync,no_root_squash,subtree_check,fsid=" + uuid(sum); got != want && !strings.HasSuffix(got, "fsid=7") {
		t.Errorf("options %s, want %s", got, want)
	}
	if u := uuid(sum); len(u) != 36 || strings.Count(u, "-") != 4 {
		t.Errorf("uuid %s", u)
	}
	e.Dir = "/nonexistent"
	if _, err := options(record.Record{Export: e}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err %v", err)
	}
}

func TestMountPoints(t *testing.T) {
	const info = "22 1 0:21 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /srv/pi/a rw,nosuid shared:1 - ext4 /dev/dm-1 rw\n31 22 0:5 / /with\\040blank rw - x y z\nbad\n"
	if got := strings.Join(mountPoints([]byte(info)), " "); got != "/ /srv/pi/a" {
		t.Errorf("%s", got)
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add([]byte("/srv/pi-a  127.64.0.2(sync,rw)\n"))
	f.Add([]byte("22 1 0:21 / / rw - ext4 /dev/vda rw\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parseTable(b) {
			if _, err := netip.ParseAddr(e.client); err != nil {
				t.Errorf("%+v", e)
			}
		}
		mountPoints(b)
	})
}
