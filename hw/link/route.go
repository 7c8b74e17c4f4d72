package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks the routes that this package makes, so that those of an
// earlier process are known again (rtnetlink(7), rtm_protocol; list them with
// "ip -6 route show proto 80"). No routing daemon has this number in
// iproute2's rt_protos.
const RouteProtocol = 80

// Route is the way to one IPv6 address: it is on the wire of an interface.
type Route struct {
	Addr      netip.Addr
	Interface string
}

// SetRoute makes the route, in place of one by another interface. The
// interface must be up; taking it down removes the route. The error wraps
// ErrNoInterface, ErrAddress, ErrDown or ErrPermission.
func (l *Links) SetRoute(r Route) error {
	const op = "set route on"
	if !routable(r.Addr) {
		return fmt.Errorf("link: %s %.64q: %w: %v (want a public IPv6 address)", op, r.Interface, ErrAddress, r.Addr)
	}
	link, err := l.byName(op, r.Interface)
	if err != nil {
		return err
	}
	return failure6(op, r.Interface, l.h.RouteReplace(route(r.Addr, link.Attrs().Index)))
}

// RemoveRoute removes a route that SetRoute made. That there is none is no
// error, nor that its interface is gone.
func (l *Links) RemoveRoute(r Route) error {
	const op = "remove route from"
	if !routable(r.Addr) {
		return fmt.Errorf("link: %s %.64q: %w: %v", op, r.Interface, ErrAddress, r.Addr)
	}
	link, err := l.byName(op, r.Interface)
	if errors.Is(err, ErrNoInterface) {
		return nil // its routes went with it
	}
	if err != nil {
		return err
	}
	err = l.h.RouteDel(route(r.Addr, link.Attrs().Index))
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return failure6(op, r.Interface, err)
}

// Routes returns the routes that SetRoute made, also in earlier processes.
func (l *Links) Routes() ([]Route, error) {
	filter := &netlink.Route{Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN}
	list, err := retry(func() ([]netlink.Route, error) {
		return l.h.RouteListFiltered(unix.AF_INET6, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, failure("list routes of", "", err)
	}
	var out []Route
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		if ones, bits := r.Dst.Mask.Size(); !ok || ones != bits {
			continue
		}
		out = append(out, Route{a, l.nameOf(r.LinkIndex)})
	}
	return out, nil
}

func route(a netip.Addr, index int) *netlink.Route {
	return &netlink.Route{
		LinkIndex: index, Protocol: RouteProtocol, Scope: netlink.SCOPE_UNIVERSE, Table: unix.RT_TABLE_MAIN,
		Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(128, 128)},
	}
}

func routable(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// gatewayBits is the length of the prefix of link-local addresses (RFC 4291,
// section 2.5.6).
const gatewayBits = 64

// SetGateway gives the interface a link-local address, which a Pi has as the
// next hop of its default route. Nobody is asked whether it is taken
// (IFA_F_NODAD): the Pi is the only other one on the wire, and may be off. That
// it is there is no error. The error wraps ErrNoInterface, ErrAddress or
// ErrPermission.
func (l *Links) SetGateway(name string, a netip.Addr) error {
	return l.gateway("set gateway on", name, a, func(link netlink.Link, addr *netlink.Addr) error {
		has, err := l.hasAddr6(link, a)
		if err != nil || has {
			return err
		}
		return l.h.AddrReplace(link, addr)
	})
}

// RemoveGateway takes the address away. That it is not there is no error, nor
// that the interface is gone.
func (l *Links) RemoveGateway(name string, a netip.Addr) error {
	err := l.gateway("remove gateway from", name, a, func(link netlink.Link, addr *netlink.Addr) error {
		err := l.h.AddrDel(link, addr)
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil
		}
		return err
	})
	if errors.Is(err, ErrNoInterface) {
		return nil
	}
	return err
}

// HasGateway tells whether the interface has the address.
func (l *Links) HasGateway(name string, a netip.Addr) (has bool, err error) {
	err = l.gateway("look for gateway on", name, a, func(link netlink.Link, _ *netlink.Addr) (err error) {
		has, err = l.hasAddr6(link, a)
		return err
	})
	return has, err
}

func (l *Links) gateway(op, name string, a netip.Addr, do func(netlink.Link, *netlink.Addr) error) error {
	if !a.Is6() || !a.IsLinkLocalUnicast() || a.Zone() != "" {
		return fmt.Errorf("link: %s %.64q: %w: %v (want a link-local IPv6 address, such as fe80::1)", op, name, ErrAddress, a)
	}
	link, err := l.byName(op, name)
	if err != nil {
		return err
	}
	return failure6(op, name, do(link, &netlink.Addr{
		IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(gatewayBits, 128)},
		Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK,
	}))
}

func (l *Links) hasAddr6(link netlink.Link, a netip.Addr) (bool, error) {
	addrs, err := retry(func() ([]netlink.Addr, error) { return l.h.AddrList(link, unix.AF_INET6) })
	return slices.ContainsFunc(addrs, func(have netlink.Addr) bool {
		return have.IPNet != nil && have.IP.Equal(a.AsSlice())
	}), err
}

// failure6 is failure for what concerns IPv6, which an interface may be without.
func failure6(op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("link: %s %q: %w (bring it up: ip link set %s up)", op, name, ErrDown, name)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("link: %s %q: %w (is IPv6 off there? sysctl -w net.ipv6.conf.%s.disable_ipv6=0)", op, name, err, name)
	}
	return failure(op, name, err)
}
