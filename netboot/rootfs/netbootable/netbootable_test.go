package netbootable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files is a small tree: a path and its content. A path that ends in / is a
// folder, and content that begins with -> is a link's target.
type files map[string]string

func (f files) with(more files) files {
	all := files{}
	for _, m := range []files{f, more} {
		for p, c := range m {
			all[p] = c
		}
	}
	return all
}

// tempDir is in memory where that can be had: each file that is written is
// flushed, and the traps of TestHostile are many.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "netbootable")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (f files) plant(t testing.TB) string {
	t.Helper()
	top := filepath.Join(tempDir(t), "root")
	must(t, os.Mkdir(top, 0o755))
	paths := make([]string, 0, len(f))
	for p := range f {
		paths = append(paths, p)
	}
	slices.Sort(paths) // "lib" is a link before there is anything in it
	for _, p := range paths {
		full, content := filepath.Join(top, p), f[p]
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		target, link := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(p, "/"):
			must(t, os.MkdirAll(full, 0o755))
		case link:
			must(t, os.Symlink(target, full))
		default:
			must(t, os.WriteFile(full, []byte(content), 0o644))
		}
	}
	return top
}

const unit = "[Unit]\n"

// base is what all have.
var base = files{
	"etc/hostname":            "raspberrypi\n",
	"etc/machine-id":          "uninitialized\n",
	"etc/passwd":              "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
	"lib":                     "->usr/lib",
	"usr/lib/os-release":      "",
	"usr/sbin/sshd":           "x",
	"var/lib/dbus/":           "",
	"usr/lib/modules/":        "",
	"etc/systemd/system/":     "",
	"usr/lib/systemd/systemd": "x", "usr/lib/systemd/systemd-networkd": "x",
	"usr/lib/systemd/system/ssh.service": unit,
	"var/lib/systemd/random-seed":        "seed",
}

// bullseye is Raspberry Pi OS 11: dhcpcd, /boot, a swap file, no merge of /usr
// is assumed for units.
var bullseye = base.with(files{
	"etc/os-release":                             "ID=raspbian\nVERSION_ID=\"11\"\nVERSION_CODENAME=bullseye\n",
	"etc/fstab":                                  "proc            /proc           proc    defaults          0       0\nPARTUUID=9730496b-01  /boot           vfat    defaults          0       2\nPARTUUID=9730496b-02  /               ext4    defaults,noatime  0       1\n# a swapfile is not a swap partition, no line here\n",
	"boot/kernel8.img":                           "k",
	"boot/cmdline.txt":                           "root=PARTUUID=9730496b-02 init=/usr/lib/raspi-config/init_resize.sh",
	"etc/dhcpcd.conf":                            "hostname\npersistent\ninterface eth0\nstatic ip_address=10.1.1.1/24\n",
	"etc/init.d/resize2fs_once":                  "#!/bin/sh\n",
	"etc/rc3.d/S01resize2fs_once":                "->../init.d/resize2fs_once",
	"etc/rc3.d/S01other":                         "->../init.d/other",
	"etc/init.d/dphys-swapfile":                  "#!/bin/sh\n",
	"etc/rc2.d/S01dphys-swapfile":                "->../init.d/dphys-swapfile",
	"var/swap":                                   "swap",
	"etc/ssh/sshd_not_to_be_run":                 "",
	"etc/network/interfaces":                     "# interfaces(5)\nsource /etc/network/interfaces.d/*\n",
	"usr/lib/modules/6.1.21-v8+/modules.builtin": "kernel/fs/nfs/nfs.ko\n",
	"usr/lib/systemd/system/regenerate_ssh_host_keys.service":                     unit,
	"etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service": "->/lib/systemd/system/regenerate_ssh_host_keys.service",
	"etc/systemd/system/dhcpcd.service.d/wait.conf":                               "[Service]\nExecStart=\nExecStart=/usr/lib/dhcpcd5/dhcpcd -q -w\n",
})

// bookworm is Raspberry Pi OS 12: NetworkManager, /boot/firmware.
var bookworm = base.with(files{
	"etc/os-release":                                                       "->../usr/lib/os-release",
	"usr/lib/os-release":                                                   "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
	"etc/fstab":                                                            "proc /proc proc defaults 0 0\nPARTUUID=1-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults,noatime 0 1\ntmpfs /tmp tmpfs size=100M 0 0\n",
	"boot/firmware/kernel8.img":                                            "k",
	"boot/firmware/kernel_2712.img":                                        "k",
	"boot/firmware/initramfs8":                                             "i",
	"boot/firmware/config.txt":                                             "auto_initramfs=1\n",
	"usr/sbin/NetworkManager":                                              "x",
	"etc/NetworkManager/NetworkManager.conf":                               "[main]\nplugins=ifupdown,keyfile\n",
	"etc/initramfs-tools/initramfs.conf":                                   "MODULES=dep\n",
	"usr/lib/systemd/system/userconfig.service":                            unit,
	"usr/lib/systemd/system/rpi-eeprom-update.service":                     unit,
	"usr/lib/systemd/system/dphys-swapfile.service":                        unit,
	"etc/systemd/system/multi-user.target.wants/userconfig.service":        "->/lib/systemd/system/userconfig.service",
	"etc/systemd/system/multi-user.target.wants/rpi-eeprom-update.service": "->/lib/systemd/system/rpi-eeprom-update.service",
	"etc/systemd/system/ssh.service":                                       "->/dev/null",
	"etc/ssh/sshd_config.d/rename_user.conf":                               "Banner /usr/share/userconf-pi/sshd_banner\n",
	"etc/ssh/ssh_host_rsa_key":                                             "shared",
	"etc/ssh/ssh_host_rsa_key.pub":                                         "shared",
	"var/lib/dbus/machine-id":                                              "0123456789abcdef0123456789abcdef\n",
	"usr/lib/modules/6.6.51+rpt-rpi-v8/modules.builtin":                    "kernel/fs/nfs/nfs.ko\n",
	"usr/lib/modules/6.6.51+rpt-rpi-2712/modules.builtin":                  "kernel/fs/nfs/nfs.ko\n",
})

// trixie is Raspberry Pi OS 13: cloud-init, netplan, rpi-swap, rpi-resize.
var trixie = base.with(files{
	"usr/lib/os-release":                                         "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n",
	"etc/fstab":                                                  "proc /proc proc defaults 0 0\nPARTUUID=1-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults,noatime,x-systemd.growfs 0 1\n",
	"boot/firmware/kernel8.img":                                  "k",
	"boot/firmware/meta-data":                                    "instance_id: rpios-image\n",
	"boot/firmware/user-data":                                    "#cloud-config\n",
	"usr/sbin/NetworkManager":                                    "x",
	"usr/bin/cloud-init":                                         "x",
	"etc/cloud/cloud.cfg":                                        "users: []\n",
	"etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg":                  "datasource_list: [NoCloud]\n",
	"etc/rpi/swap.conf":                                          "[Main]\n#Mechanism=auto\n",
	"var/lib/cloud/instances/rpios-image/x":                      "x",
	"usr/lib/systemd/system/rpi-resize.service":                  unit,
	"etc/systemd/system/sysinit.target.wants/rpi-resize.service": "->/usr/lib/systemd/system/rpi-resize.service",
	"etc/systemd/system/multi-user.target.wants/ssh.service":     "->/usr/lib/systemd/system/ssh.service",
	"usr/lib/modules/6.12.47+rpt-rpi-v8/modules.builtin":         "kernel/fs/nfs/nfs.ko\n",
})

// plainDebian is what mmdebstrap makes: Debian's own kernel and ifupdown.
var plainDebian = base.with(files{
	"usr/lib/os-release":                             "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n",
	"etc/network/interfaces":                         "auto lo eth0\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n\tmetric 5\n# end\niface eth1 inet dhcp\n\tmtu 9000\n",
	"etc/network/interfaces.d/setup":                 "auto eth0\niface eth0 inet6 auto\n",
	"boot/vmlinuz-6.1.0-9-arm64":                     "k",
	"boot/initrd.img-6.1.0-9-arm64":                  "i",
	"boot/vmlinuz-6.1.0-25-arm64":                    "k",
	"boot/initrd.img-6.1.0-25-arm64":                 "i",
	"etc/initramfs-tools/":                           "",
	"usr/lib/modules/6.1.0-9-arm64/modules.builtin":  "kernel/fs/ext2/ext2.ko\n",
	"usr/lib/modules/6.1.0-25-arm64/modules.builtin": "kernel/fs/ext2/ext2.ko\n",
	"etc/fstab": "UUID=0-1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n/swapfile none swap sw 0 0\nserver:/home /home nfs defaults 0 0\n",
})

// debianForPi is plainDebian with the package that fills a Pi's boot partition,
// as the images of raspi.debian.net have it.
var debianForPi = plainDebian.with(files{
	"boot/firmware/vmlinuz-6.1.0-25-arm64":                               "k",
	"boot/firmware/initrd.img-6.1.0-25-arm64":                            "i",
	"boot/firmware/bcm2837-rpi-3-b.dtb":                                  "d",
	"boot/firmware/start.elf":                                            "f",
	"usr/lib/raspi-firmware/start.elf":                                   "f",
	"usr/lib/linux-image-6.1.0-9-arm64/broadcom/bcm2837-rpi-3-b.dtb":     "d",
	"usr/lib/linux-image-6.1.0-25-arm64/broadcom/bcm2837-rpi-3-b.dtb":    "d",
	"usr/lib/linux-image-6.1.0-25-arm64/allwinner/sun50i-a64-pine64.dtb": "d",
})

var releases = []struct {
	name   string
	tree   files
	layout Layout
	boot   Boot
	want   files // content; "" is gone; a trailing $ is only the end of it
}{
	{
		"bullseye", bullseye,
		Layout{
			ID: "raspbian", Version: "11", Codename: "bullseye", BootDir: "boot",
			Systemd: true, Dhcpcd: true, Networkd: true, Ifupdown: true, SSH: true,
		},
		Boot{NFSVersion: "4.1", KernelArgs: []string{"net.ifnames=0"}, Why: "kernel 6.1.21-v8+ has NFS built in"},
		files{
			"etc/fstab":       "proc            /proc           proc    defaults          0       0\n# a swapfile is not a swap partition, no line here\n",
			"etc/dhcpcd.conf": "# picloud begin: the root is on NFS\npersistent\nnohook resolv.conf\ndenyinterfaces eth0\n# picloud end\nhostname\npersistent\ninterface eth0\nstatic ip_address=10.1.1.1/24\n",
			"etc/systemd/system/resize2fs_once.service":           "->/dev/null",
			"etc/systemd/system/dphys-swapfile.service":           "->/dev/null",
			"etc/rc3.d/S01resize2fs_once":                         "",
			"etc/rc3.d/S01other":                                  "->../init.d/other",
			"etc/rc2.d/S01dphys-swapfile":                         "",
			"var/swap":                                            "",
			"etc/ssh/sshd_not_to_be_run":                          "",
			"etc/systemd/system/dhcpcd.service.d/wait.conf":       "",
			"etc/systemd/system/regenerate_ssh_host_keys.service": "->/dev/null",
			"etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service": "",
			"etc/systemd/system/multi-user.target.wants/ssh.service":                      "->/usr/lib/systemd/system/ssh.service",
			"etc/systemd/system/sshd.service":                                             "->/usr/lib/systemd/system/ssh.service",
			"var/lib/systemd/random-seed":                                                 "",
			"etc/systemd/network/05-picloud.network":                                      "KeepConfiguration=yes\n$",
		},
	},
	{
		"bookworm", bookworm,
		Layout{
			ID: "debian", Version: "12", Codename: "bookworm", BootDir: "boot/firmware",
			Systemd: true, NetworkManager: true, Networkd: true, InitramfsTools: true, SSH: true,
		},
		Boot{NFSVersion: "4.1", KernelArgs: []string{"net.ifnames=0"}, Why: "kernel 6.6.51+rpt-rpi-2712 has NFS built in"},
		files{
			"etc/fstab": "proc /proc proc defaults 0 0\ntmpfs /tmp tmpfs size=100M 0 0\n" + bootMount + "\n",
			"etc/NetworkManager/conf.d/90-picloud.conf":                            madeHere + "[main]\ndns=none\n\n[keyfile]\nunmanaged-devices+=interface-name:eth0\n",
			"etc/initramfs-tools/conf.d/picloud":                                   madeHere + "BOOT=nfs\nMODULES=most\n",
			"etc/systemd/system/userconfig.service":                                "->/dev/null",
			"etc/systemd/system/multi-user.target.wants/userconfig.service":        "",
			"etc/systemd/system/rpi-eeprom-update.service":                         "->/dev/null",
			"etc/systemd/system/multi-user.target.wants/rpi-eeprom-update.service": "",
			"etc/systemd/system/dphys-swapfile.service":                            "->/dev/null",
			"etc/systemd/system/ssh.service":                                       "",
			"etc/systemd/system/multi-user.target.wants/ssh.service":               "->/usr/lib/systemd/system/ssh.service",
			"etc/ssh/sshd_config.d/rename_user.conf":                               "",
			"etc/ssh/ssh_host_rsa_key":                                             "",
			"etc/ssh/ssh_host_rsa_key.pub":                                         "",
			"var/lib/dbus/machine-id":                                              "",
			"etc/systemd/network/05-picloud.link":                                  madeHere + "[Match]\nOriginalName=eth0\n\n[Link]\nNamePolicy=\nName=eth0\n",
		},
	},
	{
		"trixie", trixie,
		Layout{
			ID: "debian", Version: "13", Codename: "trixie", BootDir: "boot/firmware",
			Systemd: true, NetworkManager: true, Networkd: true, CloudInit: true, SSH: true,
		},
		Boot{NFSVersion: "4.1", KernelArgs: []string{"net.ifnames=0", "network-config=disabled"}, Why: "kernel 6.12.47+rpt-rpi-v8 has NFS built in"},
		files{
			"etc/fstab":                                                  "proc /proc proc defaults 0 0\n" + bootMount + "\n",
			"etc/rpi/swap.conf.d/90-picloud.conf":                        madeHere + "[Main]\nMechanism=zram\n",
			"etc/systemd/system/rpi-resize.service":                      "->/dev/null",
			"etc/systemd/system/sysinit.target.wants/rpi-resize.service": "",
			"etc/cloud/cloud.cfg.d/99_zz_picloud.cfg":                    "resize_rootfs: false\n$",
			"var/lib/cloud/instances":                                    "",
			"var/lib/cloud/seed/nocloud/meta-data":                       "",
			"boot/firmware/meta-data":                                    "instance_id: rpios-image\n",
		},
	},
	{
		"debian's own kernel", plainDebian,
		Layout{
			ID: "debian", Version: "12", Codename: "bookworm", BootDir: "boot",
			Systemd: true, Networkd: true, Ifupdown: true, InitramfsTools: true, SSH: true,
		},
		Boot{
			Initramfs: true, NFSVersion: "3", Kernel: "vmlinuz-6.1.0-25-arm64", InitramfsFile: "initrd.img-6.1.0-25-arm64",
			KernelArgs: []string{"net.ifnames=0"}, ConfigLines: []string{"initramfs initrd.img-6.1.0-25-arm64 followkernel"},
			Why: "kernel 6.1.0-25-arm64 has NFS as a module",
		},
		files{
			"etc/network/interfaces":         "auto lo\niface lo inet loopback\n\n# end\niface eth1 inet dhcp\n\tmtu 9000\n",
			"etc/network/interfaces.d/setup": "",
			"etc/fstab":                      "server:/home /home nfs defaults 0 0\nproc            /proc           proc    defaults          0       0\n",
		},
	},
	{
		"debian's own kernel, installed for a Pi", debianForPi,
		Layout{
			ID: "debian", Version: "12", Codename: "bookworm", BootDir: "boot/firmware",
			Systemd: true, Networkd: true, Ifupdown: true, InitramfsTools: true, SSH: true,
		},
		Boot{
			Initramfs: true, NFSVersion: "3", Kernel: "vmlinuz-6.1.0-25-arm64", InitramfsFile: "initrd.img-6.1.0-25-arm64",
			Folders:    []string{"usr/lib/raspi-firmware", "usr/lib/linux-image-6.1.0-25-arm64/broadcom"},
			KernelArgs: []string{"net.ifnames=0"}, ConfigLines: []string{"initramfs initrd.img-6.1.0-25-arm64 followkernel"},
			Why: "kernel 6.1.0-25-arm64 has NFS as a module",
		},
		files{"etc/fstab": bootMount + "\n$"},
	},
	{
		"debian's own kernel of 32 bits", plainDebian.without(
			"usr/lib/modules/6.1.0-9-arm64/modules.builtin", "usr/lib/modules/6.1.0-25-arm64/modules.builtin",
		).with(files{
			"boot/vmlinuz-6.1.0-25-armmp":                                "k",
			"usr/lib/modules/6.1.0-25-armmp/modules.builtin":             "kernel/fs/ext2/ext2.ko\n",
			"usr/lib/linux-image-6.1.0-25-armmp/bcm2836-rpi-2-b.dtb":     "d",
			"usr/lib/linux-image-6.1.0-24-armmp/broadcom/of-another.dtb": "d",
			"boot/initrd.img-6.1.0-25-armmp":                             "i",
		}),
		Layout{
			ID: "debian", Version: "12", Codename: "bookworm", BootDir: "boot",
			Systemd: true, Networkd: true, Ifupdown: true, InitramfsTools: true, SSH: true,
		},
		Boot{
			Initramfs: true, NFSVersion: "3", Kernel: "vmlinuz-6.1.0-25-armmp", InitramfsFile: "initrd.img-6.1.0-25-armmp",
			Folders:    []string{"usr/lib/linux-image-6.1.0-25-armmp"},
			KernelArgs: []string{"net.ifnames=0"}, ConfigLines: []string{"initramfs initrd.img-6.1.0-25-armmp followkernel"},
			Why: "kernel 6.1.0-25-armmp has NFS as a module",
		},
		files{},
	},
	{
		"cloud-init without a seed", trixie.with(files{"boot/firmware/meta-data": "->/nowhere/../../x"}).with(files{"boot/": ""}).without("boot/firmware/meta-data"),
		Layout{
			ID: "debian", Version: "13", Codename: "trixie", BootDir: "boot/firmware",
			Systemd: true, NetworkManager: true, Networkd: true, CloudInit: true, SSH: true,
		},
		Boot{NFSVersion: "4.1", KernelArgs: []string{"net.ifnames=0", "network-config=disabled"}, Why: "kernel 6.12.47+rpt-rpi-v8 has NFS built in"},
		files{"var/lib/cloud/seed/nocloud/meta-data": "instance-id: picloud\n"},
	},
}

// A kernel that was installed since is found, and nothing is changed.
func TestLook(t *testing.T) {
	top := debianForPi.plant(t)
	r, err := Apply(t.Context(), top, Options{})
	must(t, err)
	b, err := Look(top)
	must(t, err)
	if fmt.Sprint(b) != fmt.Sprint(r.Boot) {
		t.Errorf("%+v, want %+v", b, r.Boot)
	}
	must(t, os.MkdirAll(filepath.Join(top, "usr/lib/modules/6.1.0-100-arm64"), 0o755))
	for _, tt := range []struct{ made, kernel string }{
		{"usr/lib/modules/6.1.0-100-arm64/modules.builtin", r.Boot.Kernel},
		{"boot/vmlinuz-6.1.0-100-arm64", r.Boot.Kernel},
		{"boot/initrd.img-6.1.0-100-arm64", "vmlinuz-6.1.0-100-arm64"},
	} {
		must(t, os.WriteFile(filepath.Join(top, tt.made), nil, 0o644))
		b, err = Look(top)
		must(t, err)
		if b.Kernel != tt.kernel || b.InitramfsFile != strings.Replace(tt.kernel, "vmlinuz", "initrd.img", 1) {
			t.Errorf("with %s: %+v", tt.made, b)
		}
	}
	if len(b.Folders) != 1 {
		t.Errorf("device trees of another kernel: %q", b.Folders)
	}
	for _, p := range []string{t.TempDir(), "/does/not/exist"} {
		if _, err := Look(p); err == nil {
			t.Errorf("%s was taken for a root", p)
		}
	}
}

func (f files) without(paths ...string) files {
	all := f.with(nil)
	for _, p := range paths {
		delete(all, p)
	}
	return all
}

// check compares a tree with what it is to hold.
func (f files) check(t *testing.T, top string) {
	t.Helper()
	for p, want := range f {
		full := filepath.Join(top, p)
		if target, ok := strings.CutPrefix(want, "->"); ok {
			if got, err := os.Readlink(full); err != nil || got != target {
				t.Errorf("%s is a link to %q, want %q (%v)", p, got, target, err)
			}
			continue
		}
		b, err := os.ReadFile(full)
		end, partly := strings.CutSuffix(want, "$")
		switch {
		case want == "":
			if _, err := os.Lstat(full); err == nil && len(b) > 0 || err == nil && !strings.Contains(p, "interfaces") {
				t.Errorf("%s is still there", p)
			}
		case partly && strings.HasSuffix(string(b), end), string(b) == want:
		default:
			t.Errorf("%s holds %q, %v", p, b, err)
		}
	}
}

func TestReleases(t *testing.T) {
	for _, tt := range releases {
		t.Run(tt.name, func(t *testing.T) {
			top := tt.tree.plant(t)
			r, err := Apply(t.Context(), top, Options{})
			must(t, err)
			if r.Layout != tt.layout {
				t.Errorf("layout %+v", r.Layout)
			}
			if fmt.Sprintf("%+v", r.Boot) != fmt.Sprintf("%+v", tt.boot) {
				t.Errorf("boot %+v", r.Boot)
			}
			if len(r.Warnings) > 0 || len(r.HostKeys) > 0 {
				t.Errorf("%q %v", r.Warnings, r.HostKeys)
			}
			tt.want.check(t, top)
			files{"etc/sysctl.d/60-picloud.conf": "net.ipv4.ping_group_range = 0 2147483647\n$"}.check(t, top)
			if info, err := os.Stat(filepath.Join(top, "etc/machine-id")); err != nil || info.Size() != 0 || info.Mode() != 0o444 {
				t.Errorf("machine-id %v, %v", info, err)
			}
			if len(r.Changes) < 8 {
				t.Errorf("changes %v", r.Changes)
			}
			for _, c := range r.Changes {
				if c.Rule == "" || c.Path == "" || c.What == "" {
					t.Errorf("%+v", c)
				}
			}
			again, err := Apply(t.Context(), top, Options{})
			must(t, err)
			if len(again.Changes) != 0 {
				t.Errorf("a second run changes %v", again.Changes)
			}
			left(t, top)
		})
	}
}

// left looks for files that an edit left behind.
func left(t *testing.T, top string) {
	t.Helper()
	must(t, filepath.WalkDir(top, func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".picloud-new") {
			t.Errorf("left %s", p)
		}
		return err
	}))
}

func TestHostKeys(t *testing.T) {
	top := bookworm.plant(t)
	_, err := Apply(t.Context(), top, Options{})
	must(t, err)
	r, err := Apply(t.Context(), top, Options{HostKeys: true, Comment: "pi-07"})
	must(t, err)
	if len(r.HostKeys) != 2 || len(r.Changes) != 4 {
		t.Fatalf("%+v", r)
	}
	for i, name := range []string{"ed25519", "ecdsa"} {
		k, p := r.HostKeys[i], filepath.Join(top, "etc/ssh/ssh_host_"+name+"_key")
		info, err := os.Stat(p)
		must(t, err)
		if info.Mode() != 0o600 || !strings.HasPrefix(k.Fingerprint, "SHA256:") {
			t.Errorf("%v %+v", info.Mode(), k)
		}
		b, err := os.ReadFile(p + ".pub")
		if err != nil || string(b) != k.Public+" pi-07\n" || !strings.HasPrefix(k.Public, k.Type+" ") {
			t.Errorf("%q, %v", b, err)
		}
		askKeygen(t, p, k)
	}
	again, err := Apply(t.Context(), top, Options{HostKeys: true, Comment: "pi-07"})
	must(t, err)
	if len(again.Changes) != 0 || !slices.Equal(again.HostKeys, r.HostKeys) {
		t.Errorf("%+v", again)
	}
	// A key that is not one, or is not its own, is made anew.
	p := filepath.Join(top, "etc/ssh/ssh_host_ed25519_key")
	must(t, os.WriteFile(p, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"), 0o600))
	again, err = Apply(t.Context(), top, Options{HostKeys: true, Comment: "pi-07"})
	must(t, err)
	if again.HostKeys[0] == r.HostKeys[0] || again.HostKeys[1] != r.HostKeys[1] {
		t.Errorf("%+v", again.HostKeys)
	}
	_, err = Apply(t.Context(), top, Options{})
	must(t, err)
	if names, _ := filepath.Glob(filepath.Join(top, "etc/ssh/ssh_host_*")); len(names) != 0 {
		t.Errorf("left in the image: %v", names)
	}
}

func TestNewHostKey(t *testing.T) {
	private, k, err := NewHostKey("p01-rescue")
	must(t, err)
	if k.Type != "ssh-ed25519" || !strings.HasPrefix(k.Fingerprint, "SHA256:") || !strings.HasPrefix(k.Public, "ssh-ed25519 AAAA") {
		t.Errorf("%+v", k)
	}
	p := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(p, private, 0o600))
	askKeygen(t, p, k)
	if again, err := ParseHostKey(private); err != nil || again != k {
		t.Errorf("%+v, %v, want %+v", again, err, k)
	}
	if other, _, err := NewHostKey(""); err != nil || string(other) == string(private) {
		t.Errorf("the same key twice, %v", err)
	}
	for _, comment := range []string{"two words", "line\n", strings.Repeat("x", 129)} {
		if _, _, err := NewHostKey(comment); !errors.Is(err, ErrInvalidOption) {
			t.Errorf("%q: %v", comment, err)
		}
	}
	for _, b := range [][]byte{nil, []byte("text"), private[:len(private)/2], bytes.Repeat([]byte("x"), maxKeyFile+1)} {
		if _, err := ParseHostKey(b); !errors.Is(err, ErrInvalidHostKey) {
			t.Errorf("%.40q: %v", b, err)
		}
	}
}

// askKeygen asks OpenSSH what it makes of a key.
func askKeygen(t *testing.T, p string, k HostKey) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Log("install openssh-client to have the keys checked by it")
		return
	}
	public, err := exec.CommandContext(t.Context(), "ssh-keygen", "-y", "-f", p).Output()
	if err != nil || !strings.HasPrefix(string(public), k.Public) {
		t.Errorf("ssh-keygen: %q, %v", public, err)
	}
	list, err := exec.CommandContext(t.Context(), "ssh-keygen", "-l", "-f", p).Output()
	if err != nil || !strings.Contains(string(list), k.Fingerprint) {
		t.Errorf("ssh-keygen: %q, %v", list, err)
	}
}

// TestHostile: a root with traps at the places that are written. Nothing
// outside changes.
func TestHostile(t *testing.T) {
	places := []string{
		"etc/systemd", "etc/systemd/system", "etc/systemd/network", "etc/NetworkManager", "etc/NetworkManager/conf.d",
		"etc/fstab", "etc/ssh", "etc/ssh/sshd_config.d", "etc/ssh/ssh_host_ed25519_key", "etc/cloud", "etc/cloud/cloud.cfg.d",
		"etc/machine-id", "etc/sysctl.d", "etc/dhcpcd.conf", "etc/network", "etc/network/interfaces", "etc/network/interfaces.d",
		"var", "var/lib", "var/lib/cloud", "var/lib/dbus", "etc/rpi", "etc/initramfs-tools", "usr", "lib", "boot", "etc/os-release",
		"etc/systemd/system/multi-user.target.wants", "etc/rc3.d", "usr/lib/modules", "etc/.fstab.picloud-new",
	}
	tree := bullseye.with(bookworm).with(trixie).with(plainDebian)
	for _, target := range []string{"OUT", "../../../outside", "/etc", ".", "pipe", "loop"} {
		for _, place := range places {
			top := tree.plant(t)
			outside := filepath.Join(filepath.Dir(top), "outside")
			must(t, os.MkdirAll(filepath.Join(outside, "lib"), 0o755))
			for _, name := range []string{"fstab", "machine-id", "ssh_host_rsa_key", "random-seed", "S01resize2fs_once", "lib/x"} {
				must(t, os.WriteFile(filepath.Join(outside, name), []byte("mine"), 0o644))
			}
			before := list(t, outside)
			trap := filepath.Join(top, place)
			must(t, os.RemoveAll(trap))
			must(t, os.MkdirAll(filepath.Dir(trap), 0o755))
			switch target {
			case "pipe":
				must(t, mkfifo(trap))
			case "loop":
				must(t, os.Symlink(filepath.Base(trap), trap))
			default:
				must(t, os.Symlink(strings.ReplaceAll(target, "OUT", outside), trap))
			}
			// It may be refused, but not harm or hang.
			_, err := Apply(t.Context(), top, Options{HostKeys: true})
			if err != nil && !strings.HasPrefix(err.Error(), "netbootable: ") {
				t.Errorf("%s %s: %v", place, target, err)
			}
			if after := list(t, outside); after != before {
				t.Fatalf("%s %s: outside changed from %s to %s", place, target, before, after)
			}
		}
	}
}

func mkfifo(p string) error { return unix.Mkfifo(p, 0o600) }

func list(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all = append(all, p)
			return err
		}
		b, err := os.ReadFile(p)
		all = append(all, p+"="+string(b))
		return err
	}))
	return strings.Join(all, " ")
}

func TestRefuses(t *testing.T) {
	top := base.plant(t)
	for _, o := range []Options{{Interface: "a b"}, {Interface: "-x"}, {Interface: "eth0\n"}, {Interface: strings.Repeat("x", 16)}, {Comment: "a\nb"}} {
		if _, err := Apply(t.Context(), top, o); !errors.Is(err, ErrInvalidOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Apply(t.Context(), t.TempDir(), Options{}); !errors.Is(err, ErrNotRoot) {
		t.Error(err)
	}
	if _, err := Apply(t.Context(), filepath.Join(top, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Apply(ctx, top, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	tree := plainDebian.without("usr/sbin/sshd", "usr/lib/systemd/system/ssh.service", "usr/lib/systemd/systemd",
		"boot/initrd.img-6.1.0-25-arm64", "boot/initrd.img-6.1.0-9-arm64")
	r, err := Apply(t.Context(), tree.plant(t), Options{Interface: "end0"})
	must(t, err)
	all := strings.Join(r.Warnings, "|")
	for _, want := range []string{"no SSH server", "needs an initramfs", "no systemd"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
}

// TestSocket: a server that its socket starts stays as it is.
func TestSocket(t *testing.T) {
	top := base.with(files{"etc/systemd/system/sockets.target.wants/ssh.socket": "->/usr/lib/systemd/system/ssh.socket"}).plant(t)
	_, err := Apply(t.Context(), top, Options{})
	must(t, err)
	files{"etc/systemd/system/multi-user.target.wants/ssh.service": ""}.check(t, top)
}

func TestNewest(t *testing.T) {
	v := []string{"6.1.0-9-arm64", "6.1.0-25-arm64", "6.12.1", "5.10.0", "x", "99999999999999999999", "no version"}
	if got := strings.Join(newestOf(v, 6), " "); got != "99999999999999999999 6.12.1 6.1.0-25-arm64 6.1.0-9-arm64 5.10.0 x" {
		t.Error(got)
	}
	if got := strings.Join(newestOf(v, 2), " "); got != "99999999999999999999 6.12.1" {
		t.Error(got)
	}
}

// TestManyKernels: a root with thousands of kernels, all with as large a list as
// there may be, costs no more than a bounded number of files and octets.
func TestManyKernels(t *testing.T) {
	top := debianForPi.plant(t)
	list := filepath.Join(top, "list")
	must(t, os.WriteFile(list, make([]byte, maxBuiltin), 0o644))
	for i := range 5000 {
		dir := filepath.Join(top, "usr/lib/modules", fmt.Sprintf("9.%d", i))
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.Link(list, filepath.Join(dir, "modules.builtin")))
	}
	root, err := os.OpenRoot(top)
	must(t, err)
	defer root.Close()
	r := reader{root: root, left: maxAllOfBuiltin}
	builtin, module := r.kernels()
	if r.files != maxKernels || r.left != 0 || len(builtin) != 0 || len(module) != maxAllOfBuiltin/maxBuiltin || module[0] != "9.4999" {
		t.Errorf("%d files, %d octets left, kernels %q %q", r.files, r.left, builtin, module)
	}
	if _, err := Look(top); err != nil {
		t.Error(err)
	}
}

func FuzzInterfaces(f *testing.F) {
	f.Add(plainDebian["etc/network/interfaces"])
	f.Add("auto eth0\\\n eth1\niface eth0")
	f.Fuzz(func(t *testing.T, text string) {
		once := withoutInterface(text, "eth0")
		if again := withoutInterface(once, "eth0"); again != once {
			t.Fatalf("%q becomes %q, then %q", text, once, again)
		}
		if b := block(text, "x"); block(b, "x") != b {
			t.Fatalf("%q: %q", text, b)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	a, err := makeEd25519(bytes.NewReader(bytes.Repeat([]byte{7}, 100)), "c")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range keyKinds {
			if public, ok := k.public(b); ok && newHostKey(public).Type == "" {
				t.Fatalf("%q", public)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	top := trixie.plant(b)
	for b.Loop() {
		if _, err := Apply(b.Context(), top, Options{HostKeys: true}); err != nil {
			b.Fatal(err)
		}
	}
}
