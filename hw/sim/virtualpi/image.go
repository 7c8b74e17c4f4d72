package virtualpi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Debian's release of an image that says no other, and where its boot files are.
const (
	defaultSuite = "bookworm"
	defaultBoot  = "boot/firmware"
)

// recipe is how an image is made.
type recipe struct {
	arch string // Debian's name for it
	// suite is Debian's release, "" = defaultSuite.
	suite string
	// boot is the folder of the boot files within, "" = defaultBoot.
	boot string
	// takes is how long that takes, in words for people.
	takes string
	// packages is what the image has besides Debian's minimum.
	packages []string
	// options are further ones for mmdebstrap.
	options []string
	// mirror is a line of sources.list(5) for all packages; "" = mmdebstrap's
	// choice, with security updates.
	mirror string
	// hooks are shell lines that mmdebstrap runs outside the root, which is "$1".
	// The first ones come before the kernel is installed, so that its initramfs is
	// made once, and small: emulated, each megabyte of it costs a second.
	hooks []string
	// standIns are the files that a Pi's firmware asks for and that no emulated
	// processor reads. What is in them does not matter.
	standIns []string
}

// x86Packages are what every image for X86 has.
var x86Packages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "openssh-server", "nfs-common",
	"iproute2", "iputils-ping", "kmod", "netbase", "tzdata",
}

var recipes = map[Model]recipe{
	X86: {
		arch: "amd64", takes: "about two minutes", packages: x86Packages,
		hooks: []string{
			`--essential-hook=mkdir -p "$1/etc/initramfs-tools" "$1/etc/systemd/network" "$1/boot/firmware"`,
			smallInitramfs,
			`--essential-hook=printf 'virtio_pci\nvirtio_net\nnfs\nnfsv3\n' > "$1/etc/initramfs-tools/modules"`,
			interfaceNames,
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
			cleanUp,
		},
		standIns: []string{"start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "overlays/overlay_map.dtb"},
	},
	// As the images of raspi.debian.net are: Debian's kernel, which raspi-firmware
	// copies to the boot partition, with its device trees and the real firmware.
	Pi3B: {
		arch: "arm64", takes: "up to ten minutes, since its packages are set up by an emulated processor",
		packages: []string{
			"linux-image-arm64", "raspi-firmware", "initramfs-tools", "systemd-sysv", "udev", "dbus", "openssh-server",
			"iproute2", "kmod", "netbase", "tzdata",
		},
		options: []string{
			"--components=main,non-free-firmware",
			// Drivers of devices that QEMU has not, or not well, which only take time.
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/sound/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/gpu/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/media/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/staging/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/bluetooth/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/net/wireless/*",
			"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/net/ethernet/*",
		},
		hooks: []string{
			`--essential-hook=mkdir -p "$1/etc/initramfs-tools" "$1/etc/systemd/network" "$1/boot/firmware"`,
			smallInitramfs,
			// The Pi's USB controller; its own network chip, and QEMU's.
			`--essential-hook=printf 'dwc2\nsmsc95xx\ncdc_ether\nnfs\nnfsv3\n' > "$1/etc/initramfs-tools/modules"`,
			// No second time when everything is installed (update-initramfs.conf(5)).
			`--essential-hook=printf 'update_initramfs=no\nbackup_initramfs=no\n' > "$1/etc/initramfs-tools/update-initramfs.conf"`,
			interfaceNames,
			`--customize-hook=sed -i 's/^update_initramfs=.*/update_initramfs=yes/' "$1/etc/initramfs-tools/update-initramfs.conf"`,
			`--customize-hook=printf 'LABEL=RASPIROOT / ext4 rw 0 1\nLABEL=RASPIFIRM /boot/firmware vfat rw 0 2\n' > "$1/etc/fstab"`,
			// Everything takes its time, and a journal of 8 MB over USB takes minutes:
			// like Raspberry Pi OS since Trixie, keep it in memory.
			`--customize-hook=mkdir "$1/etc/systemd/system.conf.d" && printf '[Manager]\nDefaultTimeoutStartSec=10min\nDefaultDeviceTimeoutSec=10min\n' > "$1/etc/systemd/system.conf.d/emulated.conf"`,
			`--customize-hook=rm -rf "$1/var/log/journal" "$1"/etc/systemd/system/timers.target.wants/*`,
			cleanUp,
		},
		standIns: []string{"overlays/overlay_map.dtb"},
	},
}

// Hooks of all recipes.
const (
	smallInitramfs = `--essential-hook=printf 'MODULES=list\nBUSYBOX=auto\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\nDEVICE=\nNFSROOT=auto\nRUNSIZE=10%%\nFSTYPE=nfs\n' > "$1/etc/initramfs-tools/initramfs.conf"`
	// The interface is eth0, as in Raspberry Pi OS (pi-gen, stage2/02-net-tweaks).
	interfaceNames = `--essential-hook=ln -s /dev/null "$1/etc/systemd/network/99-default.link"`
	cleanUp        = `--customize-hook=rm -rf "$1"/etc/ssh/ssh_host_*_key* "$1/var/cache/apt" "$1/var/lib/apt/lists"`
)

// Image is [ImageOf] an x86 machine.
func Image(ctx context.Context, cache string) (string, error) { return ImageOf(ctx, X86, cache) }

// ImageOf returns the file name of a tarball with Debian for an emulated machine,
// its root and boot files laid out as on the card of a Pi. It is made in the cache
// folder if it is not there, which takes root, mmdebstrap, the network and minutes:
// two for X86, ten for Pi3B. Two processes may call it at once. Errors:
// [ErrModel], or what mmdebstrap said.
func ImageOf(ctx context.Context, kind Model, cache string) (string, error) {
	r, ok := recipes[kind]
	if !ok {
		return "", fmt.Errorf("virtualpi: make image: %w: %q", ErrModel, kind)
	}
	return r.image(ctx, cache)
}

func (r *recipe) image(ctx context.Context, cache string) (string, error) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return "", fmt.Errorf("virtualpi: %w (apt install mmdebstrap)", err)
	}
	name := r.file(cache)
	if err := r.make(ctx, name); err != nil {
		return "", fmt.Errorf("virtualpi: make image of %s, which takes %s: %w", r.arch, r.takes, err)
	}
	return name, nil
}

// file is the name of what the recipe makes: another one if it is changed.
func (r *recipe) file(cache string) string {
	all := fmt.Sprint(cmp.Or(r.suite, defaultSuite), r.packages, r.hooks, r.standIns)
	if len(r.options) > 0 || r.mirror != "" {
		all += fmt.Sprint(r.options) + r.mirror
	}
	digest := sha256.Sum256([]byte(all))
	return filepath.Join(cache, "image-"+r.arch+"-"+hex.EncodeToString(digest[:8])+".tar")
}

// make makes the tarball, whole or not at all.
func (r *recipe) make(ctx context.Context, name string) error {
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
	if err := emulate(ctx, r.arch); err != nil {
		return err
	}
	firmware, err := os.MkdirTemp("", "picloud-firmware-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(firmware)
	if err := writeStandIns(firmware, r.standIns); err != nil {
		return err
	}
	fresh := strings.TrimSuffix(name, ".tar") + ".new.tar"
	defer os.Remove(fresh)
	if err := r.bootstrap(ctx, firmware, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

// interpreters are what the kernel hands programs of other processors to, by
// Debian's name of the architecture.
var interpreters = map[string]string{"arm64": "qemu-aarch64"}

const binfmtFolder = "/proc/sys/fs/binfmt_misc"

// emulate lets this machine run the programs of another, as the packages that are
// installed set up at its next start.
func emulate(ctx context.Context, arch string) error {
	if arch == runtime.GOARCH {
		return nil
	}
	interpreter := interpreters[arch]
	if _, err := os.Stat(filepath.Join(binfmtFolder, "register")); errors.Is(err, fs.ErrNotExist) {
		if err := unix.Mount("binfmt_misc", binfmtFolder, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return os.NewSyscallError("mount "+binfmtFolder, err)
		}
	}
	if _, err := os.Stat(filepath.Join(binfmtFolder, interpreter)); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "update-binfmts", "--enable", interpreter).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run programs of %s (apt install qemu-user-static binfmt-support arch-test): %w\n%s", arch, err, out)
	}
	return nil
}

func writeStandIns(dir string, names []string) error {
	for _, n := range names {
		file := filepath.Join(dir, n)
		text := fmt.Appendf(nil, "stand-in for %s: it runs on no hardware\n", n)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o755)
}

func (r *recipe) bootstrap(ctx context.Context, firmware, target string) error {
	args := []string{
		"--arch=" + r.arch, "--variant=minbase", "--mode=root", "--format=tar", "--include=" + strings.Join(r.packages, ","),
		`--aptopt=Apt::Install-Recommends "false"`, "--dpkgopt=force-confold",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
	}
	args = slices.Concat(args, r.options, r.hooks)
	args = append(args, fmt.Sprintf(`--customize-hook=cp -r %q/. "$1/%s/"`, firmware, cmp.Or(r.boot, defaultBoot)), cmp.Or(r.suite, defaultSuite), target)
	if r.mirror != "" {
		args = append(args, r.mirror)
	}
	out, err := exec.CommandContext(ctx, "mmdebstrap", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out[max(0, len(out)-4096):])
	}
	return nil
}
