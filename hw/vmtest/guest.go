// Package vmtest runs test binaries as root in a virtual machine with Debian's
// kernel, for what the kernel at hand may not have: device mapper, the NFS
// server, 802.1Q. Nothing outside tests uses it.
//
// QEMU emulates the processor (TCG), so that it runs where there is no KVM and
// where there is one that does not work; code is ten to thirty times slower
// than on the host. The guest has no network.
package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// suite is the Debian release of the guest.
const suite = "bookworm"

// packages is what the guest has besides Debian's minimum.
var packages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "busybox-static", "kmod", "iproute2", "procps", "util-linux",
	"e2fsprogs", "lvm2", "thin-provisioning-tools", "btrfs-progs", "nfs-kernel-server", "rpcbind",
}

// initScript is the guest's first process. What it is to do is on the second
// disk. LVM is told that there is no udev, whose rules take longer than LVM:
// it then makes its links itself; and to leave alone the disks of a test that
// cuts their power, which have a configuration of their own. The kernel's NFS server runs, as it does on
// a file server.
const initScript = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
printf 'activation { monitoring = 0 udev_sync = 0 udev_rules = 0 }\nbackup { backup = 0 archive = 0 }\ndevices { obtain_device_list_from_udev = 0 scan_lvs = 0 global_filter = [ "r|^/dev/mapper/cut-|" ] }\nglobal { use_lvmpolld = 0 notify_dbus = 0 }\n' > /etc/lvm/lvmlocal.conf
rm -rf /run/udev
modprobe -a nfsd dm-thin-pool dm-snapshot dm-log-writes 8021q veth btrfs loop
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /run/rpcbind /run/lock /tests
for file in etab rmtab; do : > /var/lib/nfs/$file; done
(rpcbind; rpc.nfsd --no-nfs-version 4 4; rpc.mountd --no-nfs-version 4 --port 20048) > /dev/null 2>&1 < /dev/null
mount -o ro /dev/vdb /tests && . /tests/run
sync
echo o > /proc/sysrq-trigger
sleep 60
`

// hooks are shell lines that mmdebstrap runs outside the guest's root, "$1":
// the first before packages are installed, so that the initramfs is made once
// and small.
var hooks = []string{
	`--essential-hook=mkdir -p "$1/etc/initramfs-tools"`,
	`--essential-hook=printf 'MODULES=list\nBUSYBOX=auto\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\nDEVICE=\nNFSROOT=auto\nRUNSIZE=10%%\nFSTYPE=ext4\n' > "$1/etc/initramfs-tools/initramfs.conf"`,
	`--essential-hook=printf 'virtio_pci\nvirtio_blk\next4\n' > "$1/etc/initramfs-tools/modules"`,
	`--customize-hook=mkdir -p "$1/tests" && rm -rf "$1/var/cache/apt" "$1/var/lib/apt/lists"`,
}

// Guest is a virtual machine's disk and kernel, in a folder of the cache.
type Guest struct{ dir string }

// needed are the host's programs, and the Debian package of each.
var needed = []struct{ program, from string }{
	{"mmdebstrap", "mmdebstrap"}, {"mke2fs", "e2fsprogs"}, {"qemu-system-x86_64", "qemu-system-x86"},
}

// Prepare returns the guest in the cache folder, which it makes there if it
// is not there: that takes about two minutes, root and the network. Two
// processes may call it at once.
func Prepare(ctx context.Context, cache string) (*Guest, error) {
	for _, n := range needed {
		if _, err := exec.LookPath(n.program); err != nil {
			return nil, fmt.Errorf("vmtest: %w (apt install %s)", err, n.from)
		}
	}
	recipe := sha256.Sum256([]byte(fmt.Sprint(suite, packages, hooks, initScript)))
	g := &Guest{dir: filepath.Join(cache, "guest-"+hex.EncodeToString(recipe[:8]))}
	if err := g.prepare(ctx, cache); err != nil {
		return nil, fmt.Errorf("vmtest: make guest: %w", err)
	}
	return g, nil
}

func (g *Guest) prepare(ctx context.Context, cache string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(g.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return os.NewSyscallError("flock", err)
	}
	if _, err := os.Stat(g.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh, err := os.MkdirTemp(cache, "fresh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := build(ctx, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, g.dir)
}

func build(ctx context.Context, dir string) error {
	root := filepath.Join(dir, "root")
	args := []string{
		"--variant=minbase", "--mode=root", "--include=" + strings.Join(packages, ","),
		`--aptopt=Apt::Install-Recommends "false"`, "--dpkgopt=force-confold",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
	}
	args = append(append(args, hooks...), suite, root)
	if err := run(ctx, "mmdebstrap", args...); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "sbin/vmtest-init"), []byte(initScript), 0o755); err != nil {
		return err
	}
	for name, pattern := range map[string]string{"vmlinuz": "vmlinuz-*", "initrd": "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("want one boot/%s, found %q", pattern, found)
		}
		if err := os.Rename(found[0], filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	disk := filepath.Join(dir, "disk")
	if err := makeDisk(ctx, disk, 4<<30, root); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// makeDisk makes a sparse file with an ext4 file system that holds what is in
// the folder.
func makeDisk(ctx context.Context, name string, size int64, folder string) error {
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, size)); err != nil {
		return err
	}
	return run(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, name)
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-4096):])
	}
	return nil
}
