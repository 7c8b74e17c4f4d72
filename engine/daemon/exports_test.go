package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/nfs"
	"picloud/netboot/rootfs"
)

func TestChooseNFS(t *testing.T) {
	var here []string
	drivers := slices.Clone(nfsDrivers)
	for i := range drivers {
		name := drivers[i].name
		drivers[i].available = func() error {
			if slices.Contains(here, name) {
				return nil
			}
			return fmt.Errorf("%s: %w (apt install %s)", name, nfs.ErrUnavailable, name)
		}
	}
	for _, tt := range []struct {
		wanted string
		here   string
		want   string
		says   string
	}{
		{"auto", "kernel ganesha demo", "kernel", ""},
		{"auto", "ganesha demo", "ganesha", ""},
		{"auto", "demo", "", "apt install kernel"},
		{"auto", "demo", "", "apt install ganesha"},
		{"auto", "demo", "", `driver = "demo"`},
		{"kernel", "ganesha demo", "", "apt install kernel"},
		{"ganesha", "kernel ganesha demo", "ganesha", ""},
		{"ganesha", "kernel demo", "", "apt install ganesha"},
		{"demo", "kernel ganesha demo", "demo", ""},
		{"smb", "kernel", "", `"smb"`},
	} {
		here = strings.Fields(tt.here)
		got, err := chooseNFS(tt.wanted, drivers)
		switch {
		case tt.want == "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s with %s: %q, %v; want an error with %q", tt.wanted, tt.here, got.name, err, tt.says)
		case tt.want != "" && (err != nil || got.name != tt.want):
			t.Errorf("%s with %s: %q, %v; want %s", tt.wanted, tt.here, got.name, err, tt.want)
		}
	}
	if _, err := chooseNFS("auto", drivers[2:]); err == nil {
		t.Error("auto took the demo's server")
	}
}

// fakeExports keeps exports in a map.
type fakeExports map[string]nfs.Export

func (f fakeExports) Add(_ context.Context, e nfs.Export) error {
	f[e.ID] = e
	return nil
}

func (f fakeExports) Remove(_ context.Context, id string) error {
	delete(f, id)
	return nil
}

func (f fakeExports) List(context.Context) ([]nfs.Export, error) {
	var list []nfs.Export
	for _, e := range f {
		list = append(list, e)
	}
	return list, nil
}

// newRoots are roots in plain folders, on an exporter that exports nothing.
func newRoots(t *testing.T, change func(*config.Config, *exporter)) (*roots, fakeExports) {
	t.Helper()
	cfg := config.Default()
	cfg.State = t.TempDir()
	cfg.Images = []config.Image{{Name: config.BuiltinImage}}
	exports := fakeExports{}
	e := &exporter{Exporter: exports, name: "kernel", port: standardNFS}
	if change != nil {
		change(cfg, e)
	}
	log := slog.New(slog.DiscardHandler)
	driver, err := openVolumeStore(t.Context(), cfg, true, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRoots(t.Context(), cfg, driver, e, log)
	if err != nil {
		t.Fatal(err)
	}
	return r, exports
}

func somePi(name string) engine.Pi {
	return engine.Pi{Name: engine.PiName(name), Segment: engine.Segment{
		Server: netip.MustParseAddr("10.64.0.1"), Addr: netip.MustParsePrefix("10.64.0.2/30"),
	}}
}

// TestPrune: what nobody has published since the start goes, the rest stays,
// also when a root could not be found.
func TestPrune(t *testing.T) {
	r, exports := newRoots(t, nil)
	for _, id := range []string{"old", "lost", "broken"} {
		exports[id] = nfs.Export{ID: id}
	}
	if err := r.Clone(t.Context(), config.BuiltinImage, "a-1", 0, nil); err != nil {
		t.Fatal(err)
	}
	if export, err := r.Publish(t.Context(), somePi("a"), "a-1"); err != nil || export != "kernel 10.64.0.1:/srv/pi/a rw" {
		t.Errorf("%q, %v", export, err)
	}
	if _, err := r.Publish(t.Context(), somePi("lost"), "lost-1"); err == nil {
		t.Error("a root that is not there was exported")
	}
	if _, err := r.Publish(t.Context(), somePi("broken"), "a-1"); err != nil {
		t.Error(err)
	}
	if err := r.Withdraw(t.Context(), somePi("broken")); err != nil {
		t.Error(err)
	}
	if err := r.prune(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	var left []string
	for id := range exports {
		left = append(left, id)
	}
	if slices.Sort(left); !slices.Equal(left, []string{"a", "lost"}) {
		t.Errorf("left: %v", left)
	}
}

// TestRootOfDebian: a fresh root is made bootable once, and what it boots is
// what its owner has installed.
func TestRootOfDebian(t *testing.T) {
	image := DebianFolder(t)
	r, _ := newRoots(t, func(c *config.Config, e *exporter) {
		c.Images = append(c.Images, config.Image{Name: "debian", Path: image})
		c.Guest.TimeZone = "Europe/London"
		e.name, e.mount = "ganesha", 20048
	})
	if err := r.Clone(t.Context(), "debian", "a-1", 5e9, nil); err != nil { // a folder has no size
		t.Fatal(err)
	}
	who := engine.Person{Hostname: "shop", Address: netip.MustParsePrefix("2001:db8::2/64"), Gateway: netip.MustParseAddr("fe80::1")}
	keys, err := r.Personalise(t.Context(), "a-1", who)
	if err != nil || len(keys) == 0 || !strings.HasPrefix(keys[0].Fingerprint, "SHA256:") {
		t.Fatalf("keys %v, %v", keys, err)
	}
	dir, err := r.volumes.Path("a-1")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"etc/hostname": "shop\n", "etc/fstab": "nfs", "etc/systemd/system/picloud-network.service": "2001:db8::2/64", "etc/timezone": "Europe/London",
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || file != "etc/fstab" && !strings.Contains(string(b), want) || strings.Contains(string(b), "ext4") {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}

	// The owner changes what netbootable would change back.
	if err := os.WriteFile(filepath.Join(dir, "etc/fstab"), []byte("mine ext4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	who.Hostname = "shop2"
	again, err := r.Personalise(t.Context(), "a-1", who)
	if err != nil || !slices.Equal(again, keys) {
		t.Errorf("keys %v, %v; want %v", again, err, keys)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "etc/fstab")); err != nil || string(b) != "mine ext4\n" {
		t.Errorf("a customer's own root was changed: %q, %v", b, err)
	}

	// So it is when other keys may log in.
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFoAqG5D+FopuCm9xL6Bp8CZ6t0OVDnLGxzR90Cuws5 me@here"
	if err := r.Keys(t.Context(), "a-1", []string{key}); err != nil {
		t.Error(err)
	}
	for file, want := range map[string]string{"etc/hostname": "shop2\n", "etc/fstab": "mine ext4\n", "root/.ssh/authorized_keys": key + "\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	if err := r.Keys(t.Context(), "a-1", []string{"command=\"x\" " + key}); !errors.Is(err, rootfs.ErrInvalidPerson) {
		t.Errorf("a key with an option: %v", err)
	}
	if err := r.Keys(t.Context(), "a-2", nil); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("of no root: %v", err)
	}

	e := engine.BootEntry{
		Pi: "a", Segment: somePi("a").Segment, Model: engine.Model3B, Serial: 0x12345678, Volume: "a-1", Image: "debian", Host: "shop",
	}
	check := func(file, want string) {
		t.Helper()
		f, err := r.bootFolder(e)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := f.Generated(file); !strings.Contains(text, want) {
			t.Errorf("%s: no %q in %s", file, want, text)
		}
	}
	check("cmdline.txt", "nfsroot=10.64.0.1:/srv/pi/a,vers=3,tcp,hard,nolock,timeo=600,retrans=2 rw ")
	check("cmdline.txt", "net.ifnames=0")
	check("config.txt", "kernel=vmlinuz-6.1.0-1-arm64")
	for _, made := range []string{"usr/lib/modules/6.1.0-2-arm64/modules.builtin", "boot/vmlinuz-6.1.0-2-arm64", "boot/initrd.img-6.1.0-2-arm64"} {
		writeFile(t, filepath.Join(dir, made), "")
	}
	r.looks.forget("a-1")
	check("config.txt", "kernel=vmlinuz-6.1.0-2-arm64")

	if err := r.Remove(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(r.records.dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestRootOfDemo: the built-in image is read-only, and its server's ports are
// told.
func TestRootOfDemo(t *testing.T) {
	r, _ := newRoots(t, func(_ *config.Config, e *exporter) { e.readOnly, e.port, e.mount = true, 12049, 12049 })
	if err := r.Clone(t.Context(), config.BuiltinImage, "a-1", 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Personalise(t.Context(), "a-1", engine.Person{Hostname: "a"}); err != nil {
		t.Fatal(err)
	}
	f, err := r.bootFolder(engine.BootEntry{
		Pi: "a", Segment: somePi("a").Segment, Model: engine.Model(order.Pi4B), Volume: "a-1", Image: config.BuiltinImage, Host: "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := f.Generated("cmdline.txt"); !strings.Contains(text, "vers=3,proto=tcp,hard,nolock,port=12049,mountport=12049,mountproto=tcp ro ") {
		t.Error(text)
	}
	if err := r.Grow(t.Context(), "a-1", 1e9); err == nil || !strings.Contains(err.Error(), `driver = "btrfs" or "lvm"`) {
		t.Errorf("grown: %v", err)
	}
	// A root of before, of which nothing is recorded, boots all the same.
	if err := errors.Join(r.records.remove("a-1"), os.RemoveAll(filepath.Join(r.state, "volumes", "a-1", "etc"))); err != nil {
		t.Fatal(err)
	}
	r.looks.forget("a-1")
	if _, err := r.bootFolder(engine.BootEntry{
		Pi: "a", Segment: somePi("a").Segment, Model: engine.Model(order.Pi4B), Volume: "a-1", Host: "a",
	}); err != nil {
		t.Error(err)
	}
}

// DebianFolder is just as much of Debian as a root is taken for one by.
func DebianFolder(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	if err := rootfs.Builtin(t.Context(), filepath.Join(top, "image")); err != nil {
		t.Fatal(err)
	}
	top = filepath.Join(top, "image")
	for _, kernel := range []string{"kernel8.img", "kernel_2712.img"} {
		if err := os.Remove(filepath.Join(top, "boot/firmware", kernel)); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{
		"etc/fstab":                                     "PARTUUID=1-2 / ext4 defaults 0 1\n",
		"usr/lib/systemd/systemd":                       "",
		"usr/sbin/sshd":                                 "",
		"boot/vmlinuz-6.1.0-1-arm64":                    "k",
		"boot/initrd.img-6.1.0-1-arm64":                 "i",
		"usr/lib/modules/6.1.0-1-arm64/modules.builtin": "kernel/fs/ext2/ext2.ko\n",
	} {
		writeFile(t, filepath.Join(top, file), text)
	}
	if _, err := os.Lstat(filepath.Join(top, "lib")); err != nil {
		if err := os.Symlink("usr/lib", filepath.Join(top, "lib")); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestAwait: the first roots wait for a server that starts, the others do not
// wait for one that never did.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		e := &exporter{people: "nfs-ganesha", began: time.Now(), ready: func(ctx context.Context) error {
			select {
			case <-up:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}}
		for i, want := range []time.Duration{firstReady, hardlyAny, hardlyAny} {
			begin := time.Now()
			if err := e.await(t.Context()); !errors.Is(err, errNotRunning) || time.Since(begin) != want {
				t.Errorf("wait %d: %v after %s, want %s", i, err, time.Since(begin), want)
			}
		}
		close(up)
		if err := e.await(t.Context()); err != nil {
			t.Error(err)
		}
		up = make(chan struct{}) // it is started again
		begin := time.Now()
		if err := e.await(t.Context()); err == nil || time.Since(begin) != laterReady {
			t.Errorf("%v after %s, want %s", err, time.Since(begin), laterReady)
		}
	})
}
