package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume/volumetest"
	"picloud/netboot/nfs/ganesha"
)

// BenchmarkReimage measures the server's part of a reimage of a 2 GB root with
// 20,000 files, and prints each step in milliseconds: a new root is cloned, made
// its server's own, and exported in place of the former. That one is kept as it
// is, which takes no time; package volumetest measures a snapshot of it. Here the
// roots are btrfs subvolumes and nfs-ganesha has them. In the guest of hw/vmtest
// the kernel's server has them: those of LVM and, to tell what the emulated
// processor makes of it, of btrfs.
func BenchmarkReimage(b *testing.B) {
	type place struct {
		name string
		open func(b *testing.B, cfg *config.Config) *roots
	}
	places := []place{{"btrfs-ganesha", benchGanesha}}
	if os.Getenv(inGuest) != "" {
		places = []place{{"lvm-kernel", benchLVM}, {"btrfs-kernel", benchBtrfs}}
	}
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			cfg := config.Default()
			cfg.NFS.Path = "/srv/bench"
			cfg.Guest.Resolvers, cfg.Guest.TimeZone = []netip.Addr{netip.MustParseAddr("2001:db8::64")}, "Europe/London"
			benchReimage(b, p.open(b, cfg))
		})
	}
}

func benchReimage(b *testing.B, r *roots) {
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(importImage(ctx, r.volumes, r.state, "demo", 2*volumetest.RootSize, fillBench))
	who := engine.Person{
		Hostname: "shop", Keys: []string{benchKey}, Address: netip.MustParsePrefix("2001:db8:77::2/64"), Gateway: netip.MustParseAddr("fe80::1"),
	}
	steps := []struct {
		name string
		do   func(volume string) error
		took time.Duration
	}{
		{name: "clone", do: func(v string) error { return r.Clone(ctx, "demo", v, 0, nil) }},
		{name: "person", do: func(v string) error { _, err := r.Personalise(ctx, v, who); return err }},
		{name: "export", do: func(v string) error { _, err := r.Publish(ctx, somePi("a"), v); return err }},
	}
	all := func(v string) {
		for i := range steps {
			begin := time.Now()
			must(steps[i].do(v))
			steps[i].took += time.Since(begin)
		}
	}
	all("a-0")
	for i := range steps {
		steps[i].took = 0 // the first export replaces none
	}
	n := 0
	for b.Loop() {
		n++
		all(fmt.Sprint("a-", n))
		b.StopTimer()
		must(r.Remove(ctx, fmt.Sprint("a-", n-1)))
		b.StartTimer()
	}
	b.StopTimer()
	must(errors.Join(r.Withdraw(ctx, somePi("a")), r.Remove(ctx, fmt.Sprint("a-", n))))
	b.ReportMetric(0, "ns/op") // the parts say it
	var sum time.Duration
	for _, s := range steps {
		b.ReportMetric(float64(s.took.Microseconds())/1e3/float64(n), s.name+"-ms")
		sum += s.took
	}
	b.ReportMetric(float64(sum.Microseconds())/1e3/float64(n), "all-ms")
}

const benchKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVmRcz0dBHv0HhxD1VdGnpnDyVcyQCBkvZ6wIMFjUC7 customer"

// fillBench is a root that is taken for one, and large.
func fillBench(_ context.Context, dir string) error {
	errs := []error{volumetest.FillRoot(dir)}
	for _, f := range []struct{ name, text string }{
		{"etc/os-release", "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n"},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n"},
		{"etc/fstab", "proc /proc proc defaults 0 0\nPARTUUID=1-2 / ext4 defaults 0 1\n"},
		{"boot/firmware/kernel8.img", "kernel"}, {"home/pi/.profile", ""}, {"usr/sbin/sshd", ""},
		{"usr/lib/systemd/systemd", ""}, {"usr/lib/systemd/system/ssh.service", "[Unit]\n"}, {"usr/sbin/NetworkManager", ""},
	} {
		name := filepath.Join(dir, f.name)
		errs = append(errs, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(f.text), 0o644))
	}
	return errors.Join(errs...)
}

// benchRoots opens roots on what exports them.
func benchRoots(b *testing.B, cfg *config.Config, open func(d *Daemon) error) *roots {
	b.Helper()
	log := slog.New(slog.NewTextHandler(b.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d := &Daemon{opts: Options{Config: cfg, Log: log}}
	var err error
	if d.volumes, err = openVolumeStore(b.Context(), cfg, false, nil, log); err != nil {
		b.Fatal(err)
	}
	if err := open(d); err != nil {
		b.Fatal(err)
	}
	r, err := openRoots(b.Context(), cfg, d.volumes, d.exports, log)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func benchLVM(b *testing.B, cfg *config.Config) *roots {
	const group, pool = "bench", "pis"
	for _, args := range [][]string{
		{"vgcreate", group, os.Getenv(inGuest)},
		{"lvcreate", "--yes", "--type", "thin-pool", "--name", pool, "--size", "3500m", "--poolmetadatasize", "16m", group},
	} {
		benchTool(b, args...)
	}
	cfg.State = b.TempDir()
	cfg.Volumes.Driver, cfg.Volumes.Group, cfg.Volumes.Pool = config.VolumesLVM, group, pool
	b.Cleanup(func() { benchTool(b, "vgremove", "--force", "--yes", group) })
	return benchRoots(b, cfg, func(d *Daemon) error { return d.openExports(b.Context()) })
}

// benchBtrfs has the disk that LVM had.
func benchBtrfs(b *testing.B, cfg *config.Config) *roots {
	cfg.State = b.TempDir()
	mountBtrfs(b, os.Getenv(inGuest), cfg.State)
	cfg.Volumes.Driver = "btrfs"
	return benchRoots(b, cfg, func(d *Daemon) error { return d.openExports(b.Context()) })
}

func mountBtrfs(b *testing.B, disk, at string) {
	benchTool(b, "mkfs.btrfs", "-q", "-f", disk)
	benchTool(b, "mount", disk, at)
	b.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			b.Errorf("unmount: %v", err)
		}
	})
}

// benchGanesha has ports of its own: another server may have the usual ones.
func benchGanesha(b *testing.B, cfg *config.Config) *roots {
	if err := cmp.Or(ganesha.Available(), privileged()); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			b.Fatal(err)
		}
		b.Skip(err)
	}
	disk := filepath.Join(b.TempDir(), "disk")
	cfg.State = b.TempDir()
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 8<<30)); err != nil {
		b.Fatal(err)
	}
	mountBtrfs(b, disk, cfg.State)
	cfg.Volumes.Driver = "btrfs"
	return benchRoots(b, cfg, func(d *Daemon) error {
		ports := []uint16{benchPort(b), benchPort(b)}
		s, err := ganesha.New(ganesha.Config{
			State: filepath.Join(cfg.State, "nfs"), NFSPort: ports[0], MountPort: ports[1], AllowShared: true, Logger: d.opts.Log,
		})
		if err != nil {
			return err
		}
		d.exports = &exporter{
			Exporter: s, name: nfsGanesha, people: "nfs-ganesha", port: ports[0], mount: ports[1], ready: s.Ready, began: time.Now(),
			binds: &binds{filepath.Join(cfg.State, "mounts")},
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		b.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
		return nil
	})
}

func privileged() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting a file system needs root")
	}
	return nil
}

func benchPort(b *testing.B) uint16 {
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func benchTool(b *testing.B, args ...string) {
	b.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
}
