package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour is one entry of the kernel's IPv4 neighbour table.
type Neighbour struct {
	Addr netip.Addr
	MAC  [6]byte // zero while it is not resolved
	// Permanent entries never expire, and ARP does not change them.
	Permanent bool
}

// SetNeighbour makes the permanent entry for a Pi, in place of whatever entry
// its address has on the interface. The address must be in a network of the
// interface. Loss of carrier, as when a Pi is powered off, leaves permanent
// entries alone (Linux 5.0 and later); taking the interface down removes them,
// so set them again when it has come up. The error wraps ErrNoInterface, ErrAddress, ErrMAC,
// ErrNoAddress or ErrPermission.
func (l *Links) SetNeighbour(name string, addr netip.Addr, mac [6]byte) error {
	const op = "set neighbour on"
	if mac == [6]byte{} || mac[0]&1 != 0 {
		return fmt.Errorf("link: %s %.64q: %w: %x", op, name, ErrMAC, mac)
	}
	i, err := l.neighbourOn(op, name, addr)
	if err != nil {
		return err
	}
	if !i.reaches(addr) {
		return fmt.Errorf("link: %s %q: %w: %v is in none of its networks %v", op, name, ErrNoAddress, addr, i.Addrs)
	}
	err = l.h.NeighSet(&netlink.Neigh{
		LinkIndex: i.Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
		IP: addr.AsSlice(), HardwareAddr: mac[:],
	})
	if err != nil {
		return failure(op, name, err)
	}
	return nil
}

// RemoveNeighbour removes the entry of a Pi that SetNeighbour made. That there
// is none is no error.
func (l *Links) RemoveNeighbour(name string, addr netip.Addr) error {
	const op = "remove neighbour from"
	i, err := l.neighbourOn(op, name, addr)
	if err != nil {
		return err
	}
	err = l.h.NeighDel(&netlink.Neigh{LinkIndex: i.Index, Family: unix.AF_INET, IP: addr.AsSlice()})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return failure(op, name, err)
	}
	return nil
}

// Neighbours returns the interface's entries.
func (l *Links) Neighbours(name string) ([]Neighbour, error) {
	const op = "list neighbours of"
	link, err := l.byName(op, name)
	if err != nil {
		return nil, err
	}
	entries, err := retry(func() ([]netlink.Neigh, error) {
		return l.h.NeighList(link.Attrs().Index, unix.AF_INET)
	})
	if err != nil {
		return nil, failure(op, name, err)
	}
	var out []Neighbour
	for _, e := range entries {
		a, ok := netip.AddrFromSlice(e.IP)
		if !ok || e.State&netlink.NUD_FAILED != 0 {
			continue
		}
		n := Neighbour{Addr: a.Unmap(), Permanent: e.State&netlink.NUD_PERMANENT != 0}
		copy(n.MAC[:], e.HardwareAddr)
		out = append(out, n)
	}
	return out, nil
}

func (l *Links) neighbourOn(op, name string, addr netip.Addr) (Interface, error) {
	if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
		return Interface{}, fmt.Errorf("link: %s %.64q: %w: %v", op, name, ErrAddress, addr)
	}
	link, err := l.byName(op, name)
	if err != nil {
		return Interface{}, err
	}
	return l.describe(link)
}

// reaches says whether addr is on the wire of i, and not i's own.
func (i *Interface) reaches(addr netip.Addr) bool {
	for _, p := range i.Addrs {
		if p.Contains(addr) && p.Addr() != addr {
			return true
		}
	}
	return false
}
