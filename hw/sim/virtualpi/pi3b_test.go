//go:build e2e && e2epi

package virtualpi

import (
	"net"
	"regexp"
	"testing"

	"picloud/hw/sim/pi"
	"picloud/netboot/bootfs/order"
)

// aPi3B is QEMU's own, with Debian's kernel.
var aPi3B = hardware{
	model: Pi3B,
	board: pi.Board{
		Family: order.Pi3B, Revision: 0xa02082, Serial: 0x7285c0f2,
		MAC: net.HardwareAddr{0xb8, 0x27, 0xeb, 0x85, 0xc0, 0xf2},
	},
	// A 3B waits five seconds for an answer, which it gets after one.
	arch: "arm64", speed: 3, patience: 3, clockless: true, kernel: regexp.MustCompile(`/vmlinuz-6\.1\.[0-9-]+-arm64$`),
	// Linux's driver and QEMU's USB controller disagree now and then (WARNING at
	// drivers/usb/dwc2/hcd_queue.c), which does no harm but for the time that it
	// takes to write it all to the console.
	args: []string{"loglevel=4"},
	look: []question{
		{"uname -m", "^aarch64$"},
		{`tr '\0' '\n' < /proc/device-tree/model`, "^Raspberry Pi 3 Model B$"},
		{"readlink /sys/class/net/eth0/device/driver", "/cdc_ether$"},
		// Else /etc/kernel/postinst.d/z50-raspi-firmware would fail, and with it every
		// installation of a kernel.
		{"mountpoint /boot/firmware", "is a mountpoint$"},
	},
	// In place, since a copy of 33 MB over QEMU's USB takes minutes.
	upgrade: `
printf upgraded >> "$(echo /boot/firmware/vmlinuz-*)"
stat -c %s /boot/firmware/vmlinuz-*
`,
}

// TestBootPi3B is TestBoot with the processor, the kernel and the devices of a
// Raspberry Pi.
func TestBootPi3B(t *testing.T) { testBoot(t, &aPi3B) }
