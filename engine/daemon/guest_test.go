package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/netboot/rootfs/image"
)

// inGuest is set in the guest of hw/vmtest, to a disk that is ours.
const inGuest = "PICLOUD_VMTEST"

func runTool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput() // also when the test's context has ended
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestRootsInGuest takes roots from an image to their end on LVM and the
// kernel's NFS server, as a production rack has them.
func TestRootsInGuest(t *testing.T) {
	disk := os.Getenv(inGuest)
	if disk == "" {
		t.Skip("needs LVM, nfsd and a disk of its own: run just vmtest")
	}
	const group, pool = "daemon", "pis"
	runTool(t, "vgcreate", group, disk)
	runTool(t, "lvcreate", "--yes", "--type", "thin-pool", "--name", pool, "--size", "200m", "--poolmetadatasize", "8m", group)
	cfg := config.Default()
	cfg.State = t.TempDir()
	cfg.NFS.Driver, cfg.NFS.Path = config.NFSAuto, "/srv/daemon"
	cfg.Volumes.Driver, cfg.Volumes.Group, cfg.Volumes.Pool = config.VolumesLVM, group, pool
	t.Cleanup(func() {
		mounts, _ := filepath.Glob(filepath.Join(cfg.State, "volumes", "*"))
		for _, at := range mounts {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	})
	ctx := t.Context()
	open := func() *roots {
		t.Helper()
		return openInGuest(t, cfg)
	}
	if _, err := AddImage(ctx, cfg, image.Options{Name: "same", Source: rootTarball(t)}, 32<<20); err != nil {
		t.Fatal(err)
	}
	r := open()
	who := engine.Person{Hostname: "shop"}
	give := func(name string) {
		t.Helper()
		if err := r.Clone(ctx, "same", name, 50e6, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Personalise(ctx, name, who); err != nil {
			t.Fatal(err)
		}
		if export, err := r.Publish(ctx, somePi("a"), name); err != nil || export != "kernel 10.64.0.1:/srv/daemon/a rw" {
			t.Fatalf("%q, %v", export, err)
		}
	}
	exported := func() bool { return strings.Contains(runTool(t, "exportfs", "-s"), "/srv/daemon/a  10.64.0.2(") }
	give("a-1")
	if !exported() {
		t.Errorf("not exported: %s", runTool(t, "exportfs", "-s"))
	}
	if err := r.Grow(ctx, "a-1", 80e6); err != nil {
		t.Error(err)
	}
	list, err := r.volumes.List(ctx)
	if err != nil || len(list) != 1 || list[0].Size < 80e6 {
		t.Errorf("volumes %+v, %v", list, err)
	}
	give("a-2")
	if err := r.Remove(ctx, "a-1"); err != nil {
		t.Errorf("the former root, which nobody is given any more: %v", err)
	}
	e := engine.BootEntry{Pi: "a", Segment: somePi("a").Segment, Model: engine.Model4B, Volume: "a-2", Image: "same", Host: "shop"}
	f, err := r.bootFolder(e)
	if err != nil {
		t.Fatal(err)
	}
	if got := readBoot(t, f, "kernel8.img"); string(got) != "kernel" {
		t.Errorf("kernel %q", got)
	}
	err = r.readImage(ctx, "same", func(dir string) error {
		_, err := os.Stat(filepath.Join(dir, "etc/os-release"))
		return err
	})
	if err != nil {
		t.Error(err)
	}

	// The next process finds it all, and has no Pi for it.
	r = open()
	if !exported() {
		t.Error("the export is gone with the process")
	}
	if err := RemoveImage(ctx, cfg, "same"); !errors.Is(err, image.ErrInUse) {
		t.Errorf("the image of a root was removed: %v", err)
	}
	if err := r.prune(ctx, slog.New(slog.DiscardHandler)); err != nil || exported() {
		t.Errorf("an export that no Pi has is there: %v", err)
	}
	if err := errors.Join(r.Remove(ctx, "a-2"), RemoveImage(ctx, cfg, "same")); err != nil {
		t.Error(err)
	}
	if list, err := Images(ctx, cfg); err != nil || len(list) != 0 {
		t.Errorf("images %v, %v", list, err)
	}
	if left, err := os.ReadDir(imagesFolder(cfg.State)); err != nil || len(left) != 0 {
		t.Errorf("left of the image: %v, %v", left, err)
	}
}

// openInGuest is as much of a service as roots need.
func openInGuest(t *testing.T, cfg *config.Config) *roots {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	d := &Daemon{opts: Options{Config: cfg, Log: log}}
	var err error
	if d.volumes, err = openVolumeStore(t.Context(), cfg, false, nil, log); err != nil {
		t.Fatal(err)
	}
	if err := d.openExports(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.exports.Remove(context.Background(), "a"); err != nil {
			t.Error(err)
		}
	})
	r, err := openRoots(t.Context(), cfg, d.volumes, d.exports, log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
