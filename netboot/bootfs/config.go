package bootfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"picloud/netboot/bootfs/order"
)

// Config is what a Pi's config.txt is made of. The zero value boots the 64-bit
// kernel that the firmware prefers.
type Config struct {
	// Bits32 starts a 32-bit kernel. A Pi 5 has none.
	Bits32 bool
	// Kernel is the name of the kernel, if it is not the one that the firmware looks
	// for: kernel8.img, kernel7.img or kernel7l.img, and on a Pi 5 kernel_2712.img,
	// else kernel8.img.
	Kernel string
	// UART puts the serial console on the GPIO pins.
	UART bool
	// Extra are lines that are added at the end, such as "dtoverlay=disable-wifi". An
	// initramfs by another name than initramfs8 and the like is one of them.
	Extra []string
}

// maxConfigLine is the longest line in octets; the firmware ignores what goes
// beyond (config_txt/what_is_config_txt.adoc, "File Format").
const maxConfigLine = 98

func (c *Config) check(f order.Family) error {
	if c.Bits32 && f == order.Pi5 {
		return errors.New("a Pi 5 has no 32-bit kernel")
	}
	if c.Kernel != "" {
		if err := checkName(c.Kernel); err != nil || strings.ContainsRune(c.Kernel, ' ') {
			return fmt.Errorf("kernel %q: %w", c.Kernel, ErrName)
		}
	}
	for _, l := range append([]string{c.Kernel}, c.Extra...) {
		if !isPrintable(l) {
			return fmt.Errorf("line %q is not printable ASCII", l)
		}
		if len("kernel=")+len(l) > maxConfigLine {
			return fmt.Errorf("line %.20q... is longer than the firmware reads", l)
		}
	}
	return nil
}

// setting is a line of config.txt with what it is for. The reason goes into the
// file: people read it on the console when a Pi does not boot.
type setting struct {
	line, why string
}

// text makes config.txt. The names are those of the documentation of config.txt,
// raspberrypi/documentation, computers/config_txt.
func (c *Config) text(f order.Family, initramfs bool) string {
	var b strings.Builder
	b.WriteString("# Made from the state of this Pi. Its user's config.txt is not read.\n[all]\n")
	for _, s := range c.settings(f, initramfs) {
		fmt.Fprintf(&b, "# %s\n%s\n", s.why, s.line)
	}
	for _, l := range c.Extra {
		fmt.Fprintf(&b, "%s\n", l)
	}
	return b.String()
}

func (c *Config) settings(f order.Family, initramfs bool) []setting {
	var s []setting
	// boot.adoc, "arm_64bit": the default differs by board and by firmware; a Pi 5
	// has only 64-bit kernels and ignores it.
	if f != order.Pi5 {
		s = append(s, setting{"arm_64bit=" + digit(!c.Bits32), "Which kernel: 1 is kernel8.img"})
	}
	// boot.adoc, "kernel".
	if c.Kernel != "" {
		s = append(s, setting{"kernel=" + c.Kernel, "Not the kernel that the firmware would choose"})
	}
	// boot.adoc, "auto_initramfs". Images set it since Bookworm, but their initramfs
	// mounts only NFS 2 and 3 (raspberrypi/documentation issue 3205).
	if named := slices.ContainsFunc(c.Extra, isInitramfs); named {
		s = append(s, setting{"auto_initramfs=0", "The initramfs that mounts the root is named below"})
	} else {
		s = append(s, setting{"auto_initramfs=" + digit(initramfs), "Who mounts the root: 0 is the kernel itself"})
	}
	// boot.adoc, "enable_uart", together with console=serial0 of the command line.
	s = append(s, setting{"enable_uart=" + digit(c.UART), "Serial console on the GPIO pins"})
	// Without a card these boards poll the card reader for ever; raspberrypi/piserver
	// sets it when it converts an image.
	if f.UsesBootcode() {
		s = append(s, setting{"dtparam=sd_poll_once", "There is no card to wait for"})
	}
	return s
}

// isInitramfs tells the line that names one, the only one without "="
// (config_txt/boot.adoc, "initramfs").
func isInitramfs(line string) bool { return strings.HasPrefix(line, "initramfs ") }

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// isPrintable tells whether s is printable ASCII without a line break.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
