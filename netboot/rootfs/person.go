package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"picloud/netboot/rootfs/internal/edit"
)

// ErrInvalidPerson means that a [Person] has something that cannot be
// written; the error says which.
var ErrInvalidPerson = errors.New("invalid person")

// Person is what makes a root one Pi's own.
type Person struct {
	// Hostname is one label of RFC 1123, section 2.1, in lower case.
	Hostname string
	// AuthorizedKeys are SSH public keys, each "type base64 [comment]", that
	// may log in as root, and as the first user if the root has one: the
	// lowest number from 1000 on with a folder in /home. Options such as
	// command= are refused. None leaves no key in the root.
	AuthorizedKeys []string
	// Network is the public address. Its zero value leaves none in the root.
	Network Network
	// Resolvers are the DNS servers, at most 3 (resolv.conf(5)); none leaves
	// the root's own. A Pi with IPv6 only needs one that does DNS64 (RFC 6147).
	Resolvers []netip.Addr
	// TimeZone is a name of the tz database, such as Europe/London; empty leaves
	// the root's own.
	TimeZone string
}

const defaultHosts = `127.0.0.1	localhost
::1		localhost ip6-localhost ip6-loopback
ff02::1		ip6-allnodes
ff02::2		ip6-allrouters
`

// maxHosts is how long an existing /etc/hosts may be to be kept.
const maxHosts = 64 << 10

// Validate returns nil if p can be written, else an error that wraps
// [ErrInvalidPerson].
func (p Person) Validate() error {
	if err := checkHostname(p.Hostname); err != nil {
		return fmt.Errorf("%w: host name %.70q: %w", ErrInvalidPerson, p.Hostname, err)
	}
	if err := checkKeys(p.AuthorizedKeys); err != nil {
		return err
	}
	if err := p.Network.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPerson, err)
	}
	if err := checkResolvers(p.Resolvers); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPerson, err)
	}
	if err := checkZone(p.TimeZone); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPerson, err)
	}
	return nil
}

func checkHostname(name string) error {
	if len(name) < 1 || len(name) > 63 {
		return errors.New("want 1 to 63 characters")
	}
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		case r == '-' && i > 0 && i < len(name)-1:
		default:
			return errors.New("want lower-case letters and digits, and hyphens between them")
		}
	}
	return nil
}

// Personalise writes into the root in folder top: /etc/hostname, the
// 127.0.1.1 line of /etc/hosts, .ssh/authorized_keys (mode 0600 in 0700) of root
// and of the first user, an empty /etc/machine-id, which makes systemd choose a
// new one (machine-id(5)), a unit that sets the public address, resolv.conf and
// the time zone. Each file is replaced as a whole, and a second run changes
// nothing. The tree may be a customer's: whatever stands at these places, no
// link in it leads out of the root, and nothing in it makes Personalise wait.
// Errors: [ErrInvalidPerson], before anything is written, also for a time zone
// that the root does not have; or what the file system said.
func Personalise(top string, p Person) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("rootfs: personalise %s: %w", top, err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return fmt.Errorf("rootfs: personalise: %w", err)
	}
	defer root.Close()
	if err := personalise(root, p); err != nil {
		return fmt.Errorf("rootfs: personalise %s: %w", top, err)
	}
	return nil
}

func personalise(root *os.Root, p Person) error {
	if err := findZone(root, p.TimeZone); err != nil {
		return err
	}
	if err := edit.Dir(root, "etc", 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		mode    fs.FileMode
		content []byte
	}{
		{"etc/hostname", 0o644, []byte(p.Hostname + "\n")},
		{"etc/hosts", 0o644, hosts(edit.Read(root, "etc/hosts", maxHosts), p.Hostname)},
		{"etc/machine-id", 0o444, nil},
	} {
		if err := edit.File(root, f.name, f.mode, f.content); err != nil {
			return err
		}
	}
	if err := writeKeys(root, p.AuthorizedKeys); err != nil {
		return err
	}
	for _, step := range []func(*os.Root, Person) error{letIn, writeNetwork, writeResolvers, writeZone} {
		if err := step(root, p); err != nil {
			return err
		}
	}
	// D-Bus keeps a copy on some systems, which must not outlive the original.
	const copied = "var/lib/dbus/machine-id"
	if info, err := root.Lstat(copied); err == nil && info.Mode().IsRegular() {
		if err := root.Remove(copied); err != nil {
			return err
		}
	}
	return edit.Sync(root, "etc")
}

// hosts returns old with one 127.0.1.1 line (hosts(5), Debian's habit), for
// the host name. What cannot be kept is replaced by the default.
func hosts(old []byte, name string) []byte {
	if len(old) == 0 || bytes.ContainsRune(old, 0) {
		old = []byte(defaultHosts)
	}
	var b bytes.Buffer
	for line := range bytes.Lines(old) {
		if fields := bytes.Fields(line); len(fields) > 0 && string(fields[0]) == "127.0.1.1" {
			continue
		}
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "127.0.1.1\t%s\n", name)
	return b.Bytes()
}
