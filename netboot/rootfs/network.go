package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// Network is a Pi's public IPv6 address. Its IPv4 address, over which its root
// is mounted, is the kernel's and is not touched.
type Network struct {
	// Address is a unicast address with the length of its prefix.
	Address netip.Prefix
	// Gateway is the next hop of the default route: within the prefix, or
	// link-local.
	Gateway netip.Addr
	// Interface has the address. Empty means eth0.
	Interface string
}

const (
	defaultInterface = "eth0"
	maxResolvers     = 3 // resolv.conf(5), MAXNS
)

var interfaceForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$`)

func (n Network) check() error {
	if n == (Network{}) {
		return nil
	}
	a := n.Address.Addr()
	switch {
	case !n.Address.IsValid() || !public(a) || n.Address.Bits() == 0:
		return fmt.Errorf("address %s: want a unicast IPv6 address with the length of its prefix", n.Address)
	case !n.Gateway.Is6() || n.Gateway.Zone() != "" || !n.Gateway.IsLinkLocalUnicast() && !public(n.Gateway):
		return fmt.Errorf("gateway %s: want a unicast IPv6 address without a zone", n.Gateway)
	case !n.Gateway.IsLinkLocalUnicast() && !n.Address.Contains(n.Gateway):
		return fmt.Errorf("gateway %s is neither link-local nor within %s", n.Gateway, n.Address.Masked())
	case n.Gateway == a:
		return fmt.Errorf("gateway %s is the address itself", n.Gateway)
	case n.Interface != "" && !interfaceForm.MatchString(n.Interface):
		return fmt.Errorf("interface %.40q: want the name of an interface", n.Interface)
	}
	return nil
}

// public tells whether a is an IPv6 unicast address beyond the link.
func public(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsMulticast() && !a.IsLinkLocalUnicast()
}

func checkResolvers(list []netip.Addr) error {
	if len(list) > maxResolvers {
		return fmt.Errorf("%d resolvers, at most %d", len(list), maxResolvers)
	}
	for _, a := range list {
		if !a.Is4() && !public(a) || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("resolver %s: want a unicast address", a)
		}
	}
	return nil
}

const (
	unitName = "picloud-network.service"
	unitPath = "etc/systemd/system/" + unitName
	wantDir  = "etc/systemd/system/multi-user.target.wants"
)

// unit adds the address beside what the kernel has set up. IPv6 is a module of
// the Pi's kernel. There is nobody else on the segment who could have the
// address, so that it is not asked for (nodad).
func (n Network) unit() string {
	dev := n.Interface
	if dev == "" {
		dev = defaultInterface
	}
	return fmt.Sprintf(`# Written by picloud at each reimage.
[Unit]
Description=Public IPv6 address
Wants=network.target
Before=network.target network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=-/sbin/modprobe ipv6
ExecStart=/sbin/ip -6 address replace %s dev %s nodad
ExecStart=/sbin/ip -6 route replace default via %s dev %s

[Install]
WantedBy=multi-user.target
`, n.Address, dev, n.Gateway, dev)
}

// writeNetwork writes and enables the unit, or removes a former one.
func writeNetwork(root *os.Root, p Person) error {
	if p.Network == (Network{}) {
		for _, name := range []string{unitPath, wantDir + "/" + unitName} {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !isOutside(root, name) {
				return err
			}
		}
		return nil
	}
	if err := edit.Dirs(root, wantDir); err != nil {
		return err
	}
	if err := edit.File(root, unitPath, 0o644, []byte(p.Network.unit())); err != nil {
		return err
	}
	if err := edit.Link(root, wantDir+"/"+unitName, "/"+unitPath); err != nil {
		return err
	}
	return errors.Join(edit.Sync(root, wantDir), edit.Sync(root, "etc/systemd/system"))
}

// isOutside tells whether a path goes through something that is no directory of
// the root, so that what is removed cannot be there.
func isOutside(root *os.Root, name string) bool {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if info, err := root.Lstat(name[:i]); err != nil || !info.IsDir() {
			return true
		}
	}
	return false
}

// writeResolvers replaces resolv.conf, also where it is a link to what a
// resolver of the root's own would write.
func writeResolvers(root *os.Root, p Person) error {
	if len(p.Resolvers) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("# Written by picloud at each reimage.\n")
	for _, a := range p.Resolvers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return edit.File(root, "etc/resolv.conf", 0o644, []byte(b.String()))
}
