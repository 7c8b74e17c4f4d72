//go:build e2e

package virtualpi

import (
	"strings"
	"testing"
)

// TestReleases boots what manages the network of each release of Raspberry Pi OS,
// set up to take the interface of the root for itself, and wants it left alone:
// while it starts, while it runs, and until the last of a restart.
func TestReleases(t *testing.T) {
	for _, tt := range []struct {
		release Release
		look    []question
	}{
		{Bullseye, []question{
			{"systemctl is-active dhcpcd", "^active$"},
			{"ifquery --list | grep -c eth0 || true", "^0$"},
			{"ip -4 -o address show dev eth0 | grep -c 192.168 || true", "^0$"},
		}},
		{Bookworm, []question{
			{"nmcli -g GENERAL.STATE device show eth0", "unmanaged"},
			{"networkctl --no-legend list eth0 | tr -s ' '", "eth0 ether "},
			{"systemctl is-active systemd-networkd", "^active$"},
			{"ip -4 -o address show dev eth0 | grep -c dynamic || true", "^0$"},
		}},
		{Trixie, []question{
			{"nmcli -g GENERAL.STATE device show eth0", "unmanaged"},
			{"cloud-init status | tail -n 1", "status: done"},
			{"cat /run/cloud-init/cloud-id", "^nocloud"},
			{"ls /etc/netplan | grep -c cloud-init || true", "^0$"},
		}},
	} {
		t.Run(string(tt.release), func(t *testing.T) {
			hw := anX86
			hw.release, hw.patience = tt.release, 2 // more is started than in the plain image
			hw.look = append(tt.look, anX86.look...)
			if boot := hw.recipe().boot; boot != "" {
				hw.upgrade = strings.ReplaceAll(hw.upgrade, "/"+defaultBoot, "/"+boot)
			}
			testBoot(t, &hw)
		})
	}
}
