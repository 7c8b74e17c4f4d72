package virtualpi

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

// suite is the Debian release of the image.
const suite = "bookworm"

// packages is what the image has besides Debian's minimum.
var packages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "openssh-server", "nfs-common",
	"iproute2", "iputils-ping", "kmod", "netbase", "tzdata",
}

// hooks are shell lines that mmdebstrap runs outside the root, which is "$1".
// The first ones come before the kernel is installed, so that its initramfs is
// made once, and small: emulated, each megabyte of it costs a second.
var hooks = []string{
	`--essential-hook=mkdir -p "$1/etc/initramfs-tools" "$1/etc/systemd/network" "$1/boot/firmware"`,
	`--essential-hook=printf 'MODULES=list\nBUSYBOX=auto\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\nDEVICE=\nNFSROOT=auto\nRUNSIZE=10%%\nFSTYPE=nfs\n' > "$1/etc/initramfs-tools/initramfs.conf"`,
	`--essential-hook=printf 'virtio_pci\nvirtio_net\nnfs\nnfsv3\n' > "$1/etc/initramfs-tools/modules"`,
	// The interface is eth0, as in Raspberry Pi OS (pi-gen, stage2/02-net-tweaks).
	`--essential-hook=ln -s /dev/null "$1/etc/systemd/network/99-default.link"`,
	// The boot folder of a Pi: the kernel and its initramfs by the names that the
	// firmware asks for.
	`--customize-hook=mv "$1"/boot/vmlinuz-* "$1/boot/firmware/kernel8.img"`,
	`--customize-hook=mv "$1"/boot/initrd.img-* "$1/boot/firmware/initramfs8"`,
	`--customize-hook=rm -f "$1/vmlinuz" "$1/initrd.img" "$1/vmlinuz.old" "$1/initrd.img.old"`,
	// What a card's first boot has and a root over NFS must not: Raspberry Pi
	// OS's fstab and command line.
	`--customize-hook=printf 'proc /proc proc defaults 0 0\nPARTUUID=1c9e6b5a-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1c9e6b5a-02 / ext4 defaults,noatime 0 1\n' > "$1/etc/fstab"`,
	`--customize-hook=printf 'console=serial0,115200 console=tty1 root=PARTUUID=1c9e6b5a-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n' > "$1/boot/firmware/cmdline.txt"`,
	`--customize-hook=printf 'arm_64bit=1\nauto_initramfs=1\n' > "$1/boot/firmware/config.txt"`,
	`--customize-hook=rm -rf "$1"/etc/ssh/ssh_host_*_key* "$1/var/cache/apt" "$1/var/lib/apt/lists"`,
}

// standIns are the files that a Pi's firmware asks for and that no emulated
// processor reads. What is in them does not matter.
var standIns = []string{
	"start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "overlays/overlay_map.dtb",
}

// Image returns the file name of a tarball with Debian for an emulated x86
// processor, its root and boot files laid out as on the card of a Pi with
// Raspberry Pi OS. It is made in the cache folder if it is not there, which
// takes about two minutes, root, mmdebstrap and the network. Two processes may
// call it at once.
func Image(ctx context.Context, cache string) (string, error) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return "", fmt.Errorf("virtualpi: %w (apt install mmdebstrap)", err)
	}
	recipe := sha256.Sum256([]byte(fmt.Sprint(suite, packages, hooks, standIns)))
	name := filepath.Join(cache, "image-amd64-"+hex.EncodeToString(recipe[:8])+".tar")
	if err := makeImage(ctx, name); err != nil {
		return "", fmt.Errorf("virtualpi: make image: %w", err)
	}
	return name, nil
}

// makeImage makes the tarball, whole or not at all.
func makeImage(ctx context.Context, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(name+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return os.NewSyscallError("flock", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	firmware, err := os.MkdirTemp("", "picloud-firmware-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(firmware)
	if err := writeStandIns(firmware); err != nil {
		return err
	}
	fresh := strings.TrimSuffix(name, ".tar") + ".new.tar"
	defer os.Remove(fresh)
	if err := bootstrap(ctx, firmware, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

func writeStandIns(dir string) error {
	for _, n := range standIns {
		file := filepath.Join(dir, n)
		text := fmt.Appendf(nil, "stand-in for %s: it runs on no hardware\n", n)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o755)
}

func bootstrap(ctx context.Context, firmware, target string) error {
	args := []string{
		"--variant=minbase", "--mode=root", "--format=tar", "--include=" + strings.Join(packages, ","),
		`--aptopt=Apt::Install-Recommends "false"`, "--dpkgopt=force-confold",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
	}
	args = append(args, hooks...)
	args = append(args, fmt.Sprintf(`--customize-hook=cp -r %q/. "$1/boot/firmware/"`, firmware), suite, target)
	out, err := exec.CommandContext(ctx, "mmdebstrap", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out[max(0, len(out)-4096):])
	}
	return nil
}
