package bootfs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Cmdline is what the command line of a Pi's kernel is made of. It gives the kernel
// its address, so that there is no second DHCP, and its root over NFS
// (Documentation/admin-guide/nfs/nfsroot.rst of the Linux kernel).
type Cmdline struct {
	// Server is the address of the file server.
	Server netip.Addr
	// Client is the Pi's own address with the length of its network's prefix.
	Client netip.Prefix
	// Gateway is the IPv4 default route. It may be invalid: then there is none.
	Gateway netip.Addr
	// Hostname is the Pi's host name, one label of letters, digits and hyphens.
	// Without a name, systemd's network generator trips (systemd issue 14319).
	Hostname string
	// ExportPath is the absolute path of the root on the file server.
	ExportPath string
	// NFSVersion is "3", "4.1" or "4.2". Empty is "4.1".
	NFSVersion string
	// NFSPort is the server's TCP port for NFS, or 0 for the standard one.
	NFSPort uint16
	// MountPort is the server's TCP port for MOUNT, for version 3 only, or 0 to ask
	// the port mapper.
	MountPort uint16
	// Initramfs tells that an initramfs mounts the root, not the kernel. Its
	// nfsmount knows version 3 only, and takes no proto= (raspberrypi/documentation
	// issue 3205). It sets auto_initramfs in config.txt, too.
	Initramfs bool
	// Memory tells that the initramfs is the whole system, which finds out by
	// itself what its addresses are. Then the line has no address and no root, and
	// of the fields above only Initramfs is looked at.
	Memory bool
	// ReadOnly mounts the root read-only.
	ReadOnly bool
	// Device is the network interface. Empty is "eth0".
	Device string
	// Console are the values of console=, the last of which is /dev/console. Nil is
	// "serial0,115200" and "tty1"; the firmware knows what serial0 is.
	Console []string
	// Extra are further words for the kernel, such as "quiet". Words that would
	// change where the root comes from are refused.
	Extra []string
}

const (
	defaultNFSVersion = "4.1"
	defaultDevice     = "eth0"
	// maxCmdline is COMMAND_LINE_SIZE of a 32-bit ARM kernel, in octets with the
	// final NUL; a 64-bit one takes 2,048.
	maxCmdline = 1024
)

var defaultConsole = []string{"serial0,115200", "tty1"}

// nfsOptions are the mount options for each version, as the kernel takes them. The
// UDP transport is gone from newer kernels (raspberrypi/firmware issue 1642). A
// version 3 root cannot have locks, since nothing runs yet that could serve them.
var nfsOptions = map[string]string{
	"3":   "vers=3,proto=tcp,hard,nolock",
	"4.1": "vers=4.1,proto=tcp,hard",
	"4.2": "vers=4.2,proto=tcp,hard",
}

// initramfsOptions are those that klibc's nfsmount knows. Its own default timeouts
// make it give up on a busy server (LTSP issue 27).
const initramfsOptions = "vers=3,tcp,hard,nolock,timeo=600,retrans=2"

// reserved are the words that Extra must not have, up to their "=".
var reserved = []string{"root", "nfsroot", "nfsaddrs", "ip", "init", "rdinit", "rootfstype", "rootflags", "ro", "rw", "console"}

func (c *Cmdline) check() error {
	if !c.Memory {
		if err := c.checkRoot(); err != nil {
			return err
		}
	}
	for _, w := range c.Console {
		if !isWord(w, ",") {
			return fmt.Errorf("console %q is not a device with options", w)
		}
	}
	for _, w := range c.Extra {
		if err := checkExtra(w); err != nil {
			return err
		}
	}
	if n := len(c.String()); n >= maxCmdline {
		return fmt.Errorf("the command line has %d octets, the kernel reads %d", n, maxCmdline-1)
	}
	return nil
}

func (c *Cmdline) checkRoot() error {
	if !c.Server.Is4() || c.Server.IsUnspecified() {
		return fmt.Errorf("server address %s is not an IPv4 address", c.Server)
	}
	if !c.Client.IsValid() || !c.Client.Addr().Is4() || c.Client.Addr().IsUnspecified() {
		return fmt.Errorf("client address %s is not an IPv4 address", c.Client)
	}
	if c.Gateway.IsValid() && !c.Gateway.Is4() {
		return fmt.Errorf("gateway %s is not an IPv4 address", c.Gateway)
	}
	if !isLabel(c.Hostname) {
		return fmt.Errorf("host name %q is not letters, digits and hyphens (at most 63)", c.Hostname)
	}
	if !isExport(c.ExportPath) {
		return fmt.Errorf("export path %q is not an absolute path of letters, digits and ._@+-", c.ExportPath)
	}
	if err := c.checkNFS(); err != nil {
		return err
	}
	if d := c.device(); len(d) > 15 || !isWord(d, ".-_") {
		return fmt.Errorf("device %q is not the name of an interface", d)
	}
	return nil
}

func (c *Cmdline) checkNFS() error {
	v := c.version()
	if _, ok := nfsOptions[v]; !ok {
		return fmt.Errorf("NFS version %q is not 3, 4.1 or 4.2", v)
	}
	if c.Initramfs && v != "3" {
		return fmt.Errorf("an initramfs mounts NFS version 3 only, not %s", v)
	}
	if c.MountPort != 0 && v != "3" {
		return fmt.Errorf("NFS version %s has no MOUNT port", v)
	}
	return nil
}

func checkExtra(w string) error {
	if w == "" || !isPrintable(w) || strings.ContainsAny(w, " \"") {
		return fmt.Errorf("kernel argument %q is not one word of printable ASCII", w)
	}
	key, _, _ := strings.Cut(w, "=")
	if slices.Contains(reserved, key) {
		return fmt.Errorf("kernel argument %q: %s is set by the state of the Pi", w, key)
	}
	if key == "--" {
		return errors.New("kernel argument -- would hide those that follow")
	}
	return nil
}

// isWord tells whether s is one or more letters, digits and others.
func isWord(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return s != ""
}

// isLabel tells whether s is one label of a host name (RFC 1123, section 2.1).
func isLabel(s string) bool {
	return len(s) <= 63 && isWord(s, "-") && s[0] != '-' && s[len(s)-1] != '-'
}

// isExport tells whether s can stand in nfsroot=: there a comma ends it, and the
// kernel puts the client's address in place of %s.
func isExport(s string) bool {
	return len(s) <= maxName && strings.HasPrefix(s, "/") && isWord(s, "/._@+-") &&
		!slices.Contains(strings.Split(s, "/"), "..")
}

func (c *Cmdline) version() string { return orElse(c.NFSVersion, defaultNFSVersion) }

func (c *Cmdline) device() string { return orElse(c.Device, defaultDevice) }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// String is the command line, one line without a line break. It is meaningful only
// if New accepts it.
func (c *Cmdline) String() string {
	var w []string
	console := c.Console
	if console == nil {
		console = defaultConsole
	}
	for _, d := range console {
		w = append(w, "console="+d)
	}
	if c.Memory {
		return strings.Join(slices.Concat(w, []string{"rdinit=/init"}, c.Extra), " ")
	}
	mode := "rw"
	if c.ReadOnly {
		mode = "ro"
	}
	w = append(w, "root=/dev/nfs", "nfsroot="+c.nfsroot(), mode, "ip="+c.ip(), "rootwait")
	return strings.Join(append(w, c.Extra...), " ")
}

// nfsroot is <server>:<dir>,<options>.
func (c *Cmdline) nfsroot() string {
	o := nfsOptions[c.version()]
	if c.Initramfs {
		o = initramfsOptions
	}
	if c.NFSPort != 0 {
		o += fmt.Sprintf(",port=%d", c.NFSPort)
	}
	if c.MountPort != 0 {
		o += fmt.Sprintf(",mountport=%d", c.MountPort)
		if !c.Initramfs {
			o += ",mountproto=tcp"
		}
	}
	return fmt.Sprintf("%s:%s,%s", c.Server, c.ExportPath, o)
}

// ip is <client>:<server>:<gateway>:<netmask>:<host>:<device>:off, which is static.
func (c *Cmdline) ip() string {
	gateway := ""
	if c.Gateway.IsValid() {
		gateway = c.Gateway.String()
	}
	mask := net.IP(net.CIDRMask(c.Client.Bits(), 32))
	return fmt.Sprintf("%s:%s:%s:%s:%s:%s:off",
		c.Client.Addr(), c.Server, gateway, mask, c.Hostname, c.device())
}
