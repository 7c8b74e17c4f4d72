package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Errors that say what is wrong; the text behind them says what to do.
var (
	ErrNoInterface = errors.New("no such interface")
	ErrDown        = errors.New("interface is down")
	ErrNoAddress   = errors.New("interface lacks the address")
	ErrTwice       = errors.New("address is on two interfaces")
	ErrAddress     = errors.New("not a usable IPv4 address")
	ErrMAC         = errors.New("not the MAC address of one network card")
	ErrPermission  = errors.New("not permitted")
)

// Links speaks to the kernel about the interfaces of one network namespace:
// the one in which the goroutine that called Open was running. Its methods may
// be called by several goroutines, in whatever namespace those are.
type Links struct{ h *netlink.Handle }

// Open opens the netlink socket.
func Open() (*Links, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("link: open netlink: %w", err)
	}
	return &Links{h: h}, nil
}

// Close closes the socket. No other method may be running or follow.
func (l *Links) Close() { l.h.Close() }

// Interface is an interface as the kernel has it at the moment.
type Interface struct {
	Name  string
	Index int
	MAC   [6]byte // zero if it has none
	MTU   int     // bytes
	// Up is the administrator's wish, Carrier whether there is a signal from
	// the other end. A Pi that is off has no carrier on a cable of its own.
	Up, Carrier bool
	// Addrs are its IPv4 addresses, each with its network's prefix length.
	Addrs []netip.Prefix
	// VLAN is its number on Parent, both zero for what is no VLAN device.
	VLAN   int
	Parent string
}

// Lookup returns the interface, or an error that wraps ErrNoInterface.
func (l *Links) Lookup(name string) (Interface, error) {
	link, err := l.byName("look up", name)
	if err != nil {
		return Interface{}, err
	}
	return l.describe(link)
}

func (l *Links) byName(op, name string) (netlink.Link, error) {
	link, err := l.h.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case err == nil:
		return link, nil
	case errors.As(err, &missing), errors.Is(err, unix.ENODEV), name == "", len(name) >= unix.IFNAMSIZ:
		return nil, fmt.Errorf("link: %s %.64q: %w (list them with \"ip link\")", op, name, ErrNoInterface)
	}
	return nil, failure(op, name, err)
}

func (l *Links) describe(link netlink.Link) (Interface, error) {
	a := link.Attrs()
	i := Interface{
		Name: a.Name, Index: a.Index, MTU: a.MTU,
		Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
	}
	copy(i.MAC[:], a.HardwareAddr)
	if v, ok := link.(*netlink.Vlan); ok {
		i.VLAN, i.Parent = v.VlanId, l.nameOf(a.ParentIndex)
	}
	addrs, err := retry(func() ([]netlink.Addr, error) { return l.h.AddrList(link, unix.AF_INET) })
	if err != nil {
		return Interface{}, failure("list addresses of", a.Name, err)
	}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok {
			i.Addrs = append(i.Addrs, p)
		}
	}
	return i, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || !a.Unmap().Is4() || size != 32 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), bits), true
}

// CheckAddress checks that the interface is there and up, and that it has the
// address want.Addr() with the prefix length want.Bits(), which no other
// interface has. The error wraps ErrNoInterface, ErrDown, ErrNoAddress or
// ErrTwice and names the command that mends it.
func (l *Links) CheckAddress(name string, want netip.Prefix) error {
	if !want.IsValid() || !want.Addr().Is4() {
		return fmt.Errorf("link: check %.64q: %w: %v (write it like 10.0.0.1/30)", name, ErrAddress, want)
	}
	i, err := l.Lookup(name)
	if err != nil {
		return err
	}
	if !i.Up {
		return fmt.Errorf("link: check %q: %w (bring it up: ip link set %s up)", name, ErrDown, name)
	}
	has := false
	for _, a := range i.Addrs {
		switch {
		case a == want:
			has = true
		case a.Addr() == want.Addr():
			return fmt.Errorf("link: check %q: %w: it has %v, not %v (ip address del %v dev %s; ip address add %v dev %s)",
				name, ErrNoAddress, a, want, a, name, want, name)
		}
	}
	if !has {
		return fmt.Errorf("link: check %q: %w: %v (ip address add %v dev %s)", name, ErrNoAddress, want, want, name)
	}
	return l.checkOnce(i, want.Addr())
}

// checkOnce looks for the address on other interfaces: the kernel would send
// the answers of one segment out by another.
func (l *Links) checkOnce(i Interface, addr netip.Addr) error {
	addrs, err := retry(func() ([]netlink.Addr, error) { return l.h.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return failure("list addresses for", i.Name, err)
	}
	for _, a := range addrs {
		p, ok := prefix(a.IPNet)
		if !ok || a.LinkIndex == i.Index || p.Addr() != addr {
			continue
		}
		return fmt.Errorf("link: check %q: %w: %v is on %s as well (give each segment its own network)",
			i.Name, ErrTwice, addr, l.nameOf(a.LinkIndex))
	}
	return nil
}

func (l *Links) nameOf(index int) string {
	link, err := l.h.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("interface %d", index)
	}
	return link.Attrs().Name
}

// failure wraps what the kernel says.
func failure(op, name string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("link: %s %q: %w (needs root or CAP_NET_ADMIN)", op, name, ErrPermission)
	}
	return fmt.Errorf("link: %s %q: %w", op, name, err)
}

// retry repeats a dump that a change in the middle made void.
func retry[T any](dump func() (T, error)) (v T, err error) {
	for range 5 {
		if v, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return v, err
}
