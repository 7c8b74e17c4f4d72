package rescue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/netbootable"
)

// ErrInvalidPerson means that a [Person] cannot be written; the error says why.
var ErrInvalidPerson = errors.New("invalid person")

// Person is what makes a rescue system one server's own.
type Person struct {
	// Person has the host name, the keys that may log in as root (at least one),
	// the public address and the resolvers. The time zone is not used: it is UTC.
	rootfs.Person
	// Interface is the one to the file server, and has all addresses. Empty means
	// eth0. If it is not there, another with a device behind it is used.
	Interface string
	// Address is the Pi's own IPv4 address with the length of its network's
	// prefix, and Gateway its default route, which may be invalid: then there is
	// none.
	Address netip.Prefix
	Gateway netip.Addr
	// HostKey is the private key of its SSH server: see [netbootable.NewHostKey].
	HostKey []byte
	// Root is what is mounted at /mnt.
	Root Root
	// Clock is set on a Pi whose own clock is behind. Zero leaves the clock alone.
	Clock time.Time
	// Notice is told to whoever logs in, such as how to end the rescue: printable
	// ASCII with line breaks.
	Notice string
}

// Root is a root file system that is exported to the Pi.
type Root struct {
	Server netip.Addr // IPv4
	Path   string
	// Version is 3, 4.1 or 4.2. Empty means 4.1.
	Version string
	// Port and MountPort are the server's TCP ports of NFS, and for version 3 of
	// MOUNT. 0 means the usual one, and to ask the portmapper.
	Port, MountPort uint16
}

const (
	defaultInterface = "eth0"
	defaultVersion   = "4.1"
	maxNotice        = 4096
	maxExport        = 255
)

var (
	interfaceForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$`)
	exportForm    = regexp.MustCompile(`^/[a-zA-Z0-9/._@+-]*$`)
)

// nfsOptions are the mount options of nfs(5), as the kernel itself takes them. A
// rescue system runs nothing that could keep locks, or map access control lists.
var nfsOptions = map[string]string{
	"3":   "vers=3,proto=tcp,mountproto=tcp,hard,nolock",
	"4.1": "vers=4.1,proto=tcp,hard",
	"4.2": "vers=4.2,proto=tcp,hard",
}

// Validate returns nil if p can be written, else an error that wraps
// [ErrInvalidPerson].
func (p Person) Validate() error {
	for _, check := range []func() error{p.Person.Validate, p.checkAccess, p.checkNetwork, p.checkRoot, p.checkNotice} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidPerson, err)
		}
	}
	return nil
}

func (p Person) checkAccess() error {
	if len(p.AuthorizedKeys) == 0 {
		return errors.New("no key: nobody could log in")
	}
	_, err := netbootable.ParseHostKey(p.HostKey)
	return err
}

func (p Person) checkNetwork() error {
	switch {
	case !interfaceForm.MatchString(p.device()):
		return fmt.Errorf("interface %.40q: want the name of an interface", p.Interface)
	case p.Network.Interface != "" && p.Network.Interface != p.device():
		return fmt.Errorf("the public address is on %s, and not on %s", p.Network.Interface, p.device())
	case !isHost(p.Address.Addr()) || p.Address.Bits() == 0:
		return fmt.Errorf("address %s: want an IPv4 address with the length of its prefix", p.Address)
	case p.Gateway.IsValid() && (!isHost(p.Gateway) || !p.Address.Contains(p.Gateway)):
		return fmt.Errorf("gateway %s: want an IPv4 address within %s", p.Gateway, p.Address.Masked())
	}
	return nil
}

func isHost(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast()
}

func (p Person) checkRoot() error {
	r := p.Root
	switch {
	case !isHost(r.Server):
		return fmt.Errorf("file server %s: want an IPv4 address", r.Server)
	case len(r.Path) > maxExport || !exportForm.MatchString(r.Path) || path.Clean(r.Path) != r.Path:
		return fmt.Errorf("path %.80q of the root: want an absolute path of letters, digits and ._@+-", r.Path)
	case nfsOptions[r.version()] == "":
		return fmt.Errorf("NFS version %.10q: want 3, 4.1 or 4.2", r.Version)
	case r.MountPort != 0 && r.version() != "3":
		return fmt.Errorf("NFS version %s has no MOUNT port", r.version())
	}
	return nil
}

func (p Person) checkNotice() error {
	bad := func(r rune) bool { return (r < ' ' || r > '~') && r != '\n' }
	if len(p.Notice) > maxNotice || strings.ContainsFunc(p.Notice, bad) {
		return fmt.Errorf("notice: want at most %d characters of printable ASCII", maxNotice)
	}
	return nil
}

func (p Person) device() string {
	if p.Interface == "" {
		return defaultInterface
	}
	return p.Interface
}

func (r Root) version() string {
	if r.Version == "" {
		return defaultVersion
	}
	return r.Version
}

// options are those of the mount, with the server's address, which mount(8)
// otherwise leaves to a helper.
func (r Root) options() string {
	o := nfsOptions[r.version()] + ",addr=" + r.Server.String()
	if r.Port != 0 {
		o += fmt.Sprintf(",port=%d", r.Port)
	}
	if r.MountPort != 0 {
		o += fmt.Sprintf(",mountport=%d", r.MountPort)
	}
	return o
}

// conf is what /init reads, as a shell does. No value has a quote in it.
func (p Person) conf() []byte {
	values := []struct{ name, value string }{
		{"INTERFACE", p.device()},
		{"ADDRESS", p.Address.String()},
		{"GATEWAY", text(p.Gateway)},
		{"ADDRESS6", ""}, {"GATEWAY6", ""},
		{"ROOT", p.Root.Server.String() + ":" + p.Root.Path},
		{"ROOT_OPTIONS", p.Root.options()},
		{"CLOCK", "0"},
	}
	if p.Network.Address.IsValid() {
		values[3].value, values[4].value = p.Network.Address.String(), p.Network.Gateway.String()
	}
	if !p.Clock.IsZero() {
		values[7].value = fmt.Sprint(p.Clock.Unix())
	}
	var b bytes.Buffer
	for _, v := range values {
		fmt.Fprintf(&b, "%s='%s'\n", v.name, v.value)
	}
	return b.Bytes()
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

const motd = `
This is the rescue system of %s. It runs in memory: what you change in it is
gone when it ends.

  /mnt           the server's own root, over the network. Changes stay.
  server-shell   a shell in that root, as "chroot /mnt" with /proc, /sys and /dev
  reboot         starts the Pi again: in here, until the rescue has been ended

`

// Write writes the personal part of the archive, uncompressed: it is to follow the
// base. Errors: [ErrInvalidPerson], before anything is written, or w's.
func (p Person) Write(w io.Writer) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("rescue: write the personal part: %w", err)
	}
	if err := p.write(w); err != nil {
		return fmt.Errorf("rescue: write the personal part of %s: %w", p.Hostname, err)
	}
	return nil
}

func (p Person) write(w io.Writer) error {
	var keys, resolvers strings.Builder
	for _, k := range p.AuthorizedKeys {
		keys.WriteString(strings.TrimSpace(k) + "\n")
	}
	for _, a := range p.Resolvers {
		fmt.Fprintf(&resolvers, "nameserver %s\n", a)
	}
	notice := p.Notice
	if notice != "" {
		notice = strings.TrimRight(notice, "\n") + "\n\n"
	}
	a := newArchive(w)
	for _, f := range []struct {
		name string
		mode uint32
		data []byte
	}{
		{"etc/hostname", unix.S_IFREG | 0o644, []byte(p.Hostname + "\n")},
		{"etc/hosts", unix.S_IFREG | 0o644, []byte("127.0.0.1\tlocalhost\n::1\t\tlocalhost\n127.0.1.1\t" + p.Hostname + "\n")},
		{"etc/motd", unix.S_IFREG | 0o644, fmt.Appendf(nil, motd+notice, p.Hostname)},
		{"etc/rescue.conf", unix.S_IFREG | 0o644, p.conf()},
		{"etc/resolv.conf", unix.S_IFREG | 0o644, []byte(resolvers.String())},
		{"etc/ssh/ssh_host_ed25519_key", unix.S_IFREG | 0o600, p.HostKey},
		{"root/.ssh", unix.S_IFDIR | 0o700, nil},
		{"root/.ssh/authorized_keys", unix.S_IFREG | 0o600, []byte(keys.String())},
	} {
		if err := a.next(member{name: f.name, mode: f.mode, size: int64(len(f.data))}); err != nil {
			return err
		}
		if _, err := a.Write(f.data); err != nil {
			return err
		}
	}
	return a.close()
}

// Initramfs is a base with a personal part behind it, to be served as one file.
type Initramfs struct {
	io.Reader
	base *os.File
	size int64
}

// Open opens the base that [Build] has written, with p's part behind it. Errors:
// [ErrInvalidPerson], or the file system's.
func Open(base string, p Person) (*Initramfs, error) {
	var personal bytes.Buffer
	if err := p.Write(&personal); err != nil {
		return nil, err
	}
	f, err := os.Open(base)
	if err != nil {
		return nil, fmt.Errorf("rescue: open: %w", err)
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size()&3 != 0) {
		err = fmt.Errorf("%s is not a base of a rescue system", base)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("rescue: open: %w", err)
	}
	size := info.Size()
	return &Initramfs{
		Reader: io.MultiReader(io.LimitReader(f, size), &personal),
		base:   f, size: size + int64(personal.Len()),
	}, nil
}

// Size is the length of the whole in bytes.
func (i *Initramfs) Size() int64 { return i.size }

// Close closes the base.
func (i *Initramfs) Close() error { return i.base.Close() }
