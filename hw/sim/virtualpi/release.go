package virtualpi

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Release names an image for [X86] that has what a release of Raspberry Pi OS
// manages its network by: programs that would take the interface down under the
// root, each set up to do so.
type Release string

const (
	// Bullseye has dhcpcd, and its boot files in /boot.
	Bullseye Release = "bullseye"
	// Bookworm has NetworkManager with a connection for the interface, and
	// systemd-networkd with DHCP for all.
	Bookworm Release = "bookworm"
	// Trixie has NetworkManager, and cloud-init that reads the boot folder.
	Trixie Release = "trixie"
)

var releases = map[Release]recipe{
	Bullseye: onX86(recipe{
		suite: "bullseye", boot: "boot", packages: []string{"dhcpcd5", "ifupdown"},
		// There are no security updates any more, and not all of them are kept.
		mirror: "deb http://deb.debian.org/debian bullseye main",
		hooks: []string{
			`--customize-hook=printf 'auto eth0\niface eth0 inet dhcp\n' > "$1/etc/network/interfaces.d/eth0"`,
			`--customize-hook=printf 'hostname\npersistent\ninterface eth0\nstatic ip_address=192.168.1.2/24\n' > "$1/etc/dhcpcd.conf"`,
			`--customize-hook=rm -f "$1/etc/systemd/system/dhcpcd.service.d/wait.conf"; chroot "$1" systemctl enable dhcpcd.service`,
		},
	}),
	Bookworm: onX86(recipe{
		packages: []string{"network-manager"},
		hooks: []string{
			`--customize-hook=printf '[connection]\nid=wired\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=auto\n' > "$1/etc/NetworkManager/system-connections/wired.nmconnection" && chmod 600 "$1/etc/NetworkManager/system-connections/wired.nmconnection"`,
			`--customize-hook=printf '[Match]\nName=*\n\n[Network]\nDHCP=yes\n' > "$1/etc/systemd/network/20-wired.network"`,
			`--customize-hook=chroot "$1" systemctl enable systemd-networkd.service systemd-networkd-wait-online.service`,
		},
	}),
	Trixie: onX86(recipe{
		suite: "trixie", packages: []string{"network-manager", "cloud-init", "netplan.io"},
		hooks: []string{
			// As RPi-Distro/pi-gen's stage2/04-cloud-init has it.
			`--customize-hook=printf 'dsmode: local\ninstance_id: rpios-image\n' > "$1/boot/firmware/meta-data"`,
			`--customize-hook=printf '#cloud-config\nhostname: raspberrypi\n' > "$1/boot/firmware/user-data"`,
			`--customize-hook=printf 'network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n' > "$1/boot/firmware/network-config"`,
			`--customize-hook=printf 'datasource_list: [NoCloud]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware/\n' > "$1/etc/cloud/cloud.cfg.d/90_rpi.cfg"`,
		},
	}),
}

// onX86 completes a recipe with what all images for X86 have.
func onX86(r recipe) recipe {
	x86 := recipes[X86]
	r.arch, r.takes, r.standIns = x86.arch, x86.takes, x86.standIns
	r.packages = slices.Concat(x86Packages, r.packages)
	hooks := slices.Clone(x86.hooks)
	if r.boot != "" {
		for i, h := range hooks {
			hooks[i] = strings.ReplaceAll(h, "/"+defaultBoot, "/"+r.boot)
		}
	}
	r.hooks = slices.Concat(hooks, r.hooks)
	return r
}

// ReleaseImage is [ImageOf] a release.
func ReleaseImage(ctx context.Context, release Release, cache string) (string, error) {
	r, ok := releases[release]
	if !ok {
		return "", fmt.Errorf("virtualpi: make image: %w: no release %q", ErrModel, release)
	}
	return r.image(ctx, cache)
}
