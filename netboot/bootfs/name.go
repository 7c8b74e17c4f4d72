package bootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strings"
)

// refusal is an error that is fs.ErrNotExist, whatever its reason: a boot ROM goes
// on after "file not found", and no other answer is known to be safe.
type refusal string

func (r refusal) Error() string { return string(r) }

// Is makes every refusal an fs.ErrNotExist.
func (r refusal) Is(target error) bool { return target == fs.ErrNotExist }

// Why a file is not served. All of these are fs.ErrNotExist, too.
var (
	// ErrName: the name is empty, too long, absolute, leads upwards, or has
	// characters that no boot file has.
	ErrName error = refusal("not the name of a boot file")
	// ErrNeverServed: the bootloader would update itself from the file, or take its
	// configuration from it instead of from config.txt.
	ErrNeverServed error = refusal("never served, since it could change the board's bootloader or its configuration")
	// ErrOtherPrefix: the prefix is the serial number or MAC address of another Pi.
	ErrOtherPrefix error = refusal("prefix of another Pi")
	// ErrNotRegular: it is a folder, a device, a socket or a pipe.
	ErrNotRegular error = refusal("not a regular file")
	// ErrLink: it is a link that leads out of the boot folder, or in a circle.
	ErrLink error = refusal("link leads out of the boot folder")
	// ErrTooLarge: it has more than MaxFileSize octets.
	ErrTooLarge error = refusal("larger than any boot file")
	// ErrNotFound: neither the root nor the image has it. For many names this is
	// the normal answer.
	ErrNotFound error = refusal("no such boot file")
)

const (
	// maxName is the longest name in octets, prefix included. The longest that a
	// boot ROM asks for are overlays with some 60.
	maxName = 255
	// maxDepth is how many folders deep a name may be, prefix included.
	maxDepth = 8
)

// checkName accepts relative paths of printable ASCII, without "." and "..".
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return ErrName
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '\\' {
			return ErrName
		}
	}
	if !fs.ValidPath(name) || name == "." || strings.Count(name, "/") > maxDepth {
		return ErrName
	}
	return nil
}

// SplitPrefix splits a name that a Pi asks for into the prefix, with its slash, and
// the rest. The prefix is 8 hexadecimal digits, the low half of the serial number,
// or a MAC address with dashes (TFTP_PREFIX in eeprom-bootloader.adoc). If there is
// none, prefix is empty.
//
// The prefix of a Pi 3B is the first that is heard of its serial number.
func SplitPrefix(name string) (prefix, rest string) {
	i := strings.IndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	if first := name[:i]; !isSerial(first) && !isMAC(first) {
		return "", name
	}
	return name[:i+1], name[i+1:]
}

func isSerial(s string) bool { return len(s) == 8 && isHex(s) }

func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		if (i%3 == 2) != (s[i] == '-') {
			return false
		}
	}
	return isHex(strings.ReplaceAll(s, "-", ""))
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isOwn tells whether a prefix, with its slash, is that of this Pi. A serial number
// that is not known yet cannot be told from another.
func (s *Spec) isOwn(prefix string) bool {
	p := strings.TrimSuffix(prefix, "/")
	if isSerial(p) {
		return s.Serial == "" || strings.EqualFold(p, s.Serial)
	}
	mac, err := net.ParseMAC(p)
	return err == nil && strings.EqualFold(mac.String(), s.MAC.String())
}

// neverServed are names, in lower case, that are refused wherever they are. With
// self-update on, as it is by default, the bootloader writes pieeprom.upd to its
// EEPROM if pieeprom.sig differs from what it has (ENABLE_SELF_UPDATE in
// eeprom-bootloader.adoc); recovery.bin and recover4.elf are programs that do so
// unasked. autoboot.txt and tryboot.txt come before config.txt or in its place
// (config_txt/autoboot.adoc). A pattern is as in path.Match.
var neverServed = []string{
	"pieeprom*",
	"recovery*",
	"recover4*",
	"vl805*",
	"*.upd",
	"*.sig",
	"bootconf.txt",
	"autoboot.txt",
	"tryboot.txt",
	"tryboot.img",
}

// resolve turns a name from the network into a path in the boot folder.
func (s *Spec) resolve(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	prefix, rest := SplitPrefix(name)
	if prefix != "" && !s.isOwn(prefix) {
		return "", ErrOtherPrefix
	}
	for _, part := range strings.Split(strings.ToLower(rest), "/") {
		for _, pattern := range neverServed {
			if ok, _ := path.Match(pattern, part); ok {
				return "", ErrNeverServed
			}
		}
	}
	return rest, nil
}

// upstreamTrees are device trees by the name that the firmware asks for, that of
// Raspberry Pi's kernels, with the name that Linux itself has for it, and so the
// kernels of distributions. The firmware would ask for the latter with
// upstream_kernel=1 (config_txt/boot.adoc), and then for more that is not there.
// The boards since the Pi 4 have one name in both, but for the CM4.
var upstreamTrees = map[string]string{
	"bcm2710-rpi-3-b.dtb":      "bcm2837-rpi-3-b.dtb",
	"bcm2710-rpi-3-b-plus.dtb": "bcm2837-rpi-3-b-plus.dtb",
	"bcm2710-rpi-cm3.dtb":      "bcm2837-rpi-cm3-io3.dtb",
	"bcm2710-rpi-zero-2-w.dtb": "bcm2837-rpi-zero-2-w.dtb",
	"bcm2711-rpi-cm4.dtb":      "bcm2711-rpi-cm4-io.dtb",
}

// aliases are the names by which a file may be there, the best first.
func aliases(name string) []string {
	if other, ok := upstreamTrees[name]; ok {
		return []string{name, other}
	}
	return []string{name}
}

// openError is the form of every error of Open.
func openError(name string, err error) error {
	if len(name) > maxName {
		name = name[:maxName] + "..."
	}
	return fmt.Errorf("bootfs: open %q: %w", name, err)
}

// isAbsent tells whether err means that there is nothing by that name, so that the
// next place may have it.
func isAbsent(err error) bool {
	var r refusal
	return errors.Is(err, fs.ErrNotExist) && !errors.As(err, &r)
}
