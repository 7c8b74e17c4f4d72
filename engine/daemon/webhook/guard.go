package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
)

// special are networks whose addresses are not one computer's of the public
// internet. IANA, "IPv4 / IPv6 Special-Purpose Address Registry" (RFC 6890).
var special = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a carrier's NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "for protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documents"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documents"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documents"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("2001::/23"), "for protocols"}, // with Teredo, which has an IPv4 address in it
	{netip.MustParsePrefix("2001:db8::/32"), "for documents"},
	{netip.MustParsePrefix("2002::/16"), "6to4"}, // has an IPv4 address in it
	{netip.MustParsePrefix("3fff::/20"), "for documents"},
}

var (
	// unicast is all that is given out of IPv6 for the public internet.
	unicast = netip.MustParsePrefix("2000::/3")
	// nat64 has an IPv4 address in its last 32 bits (RFC 6052, section 2.1).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// refused means that no webhook may go to an address. It is told to staff only:
// what a name is resolved to here is not a customer's to know.
type refused struct {
	addr netip.Addr
	why  string
}

func (r *refused) Error() string { return fmt.Sprintf("no webhook goes to %s: %s", r.addr, r.why) }

// Errors of [Check].
var (
	ErrAddress = errors.New("webhooks do not go to such an address")
	ErrPlain   = errors.New("webhooks go nowhere without TLS: give an https URL")
)

// Check returns what says of a URL that nothing would ever be sent there, given
// the networks that are allowed. A name may be one of any address: it is looked
// up each time, and what it is then counts.
func Check(allow []netip.Prefix) func(*url.URL) error {
	g := &guard{allow: allow, own: net.InterfaceAddrs}
	return func(u *url.URL) error {
		if u.Scheme == "http" && len(allow) == 0 {
			return ErrPlain
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err == nil && g.check(addr, u.Scheme == "https") != nil {
			return ErrAddress // why is no customer's to know
		}
		return nil
	}
}

// guard decides which addresses may be connected to.
type guard struct {
	allow []netip.Prefix
	own   func() ([]net.Addr, error) // addresses of this computer
}

// control is net.Dialer's: it is asked about the very address that is connected
// to, so that it does not matter what a name was resolved to before.
func (g *guard) control(tls bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
		return g.check(ap.Addr(), tls)
	}
}

// check refuses an address that no webhook may go to, tls or not.
func (g *guard) check(addr netip.Addr, tls bool) error {
	a := addr.Unmap()
	if a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return &refused{addr, "it is no single computer's"}
	}
	if g.allowed(a) {
		if nat64.Contains(a) { // what is behind it must be allowed, too
			b := a.As16()
			return g.check(netip.AddrFrom4([4]byte(b[12:])), true)
		}
		return nil
	}
	if !tls {
		return &refused{addr, "without TLS, and not in a network that is allowed"}
	}
	for _, s := range special {
		if s.prefix.Contains(a) {
			return &refused{addr, "its network is " + s.what}
		}
	}
	if a.Is6() && !unicast.Contains(a) {
		return &refused{addr, "it is not public"}
	}
	return g.notOwn(a)
}

func (g *guard) allowed(a netip.Addr) bool {
	for _, p := range g.allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// notOwn refuses addresses of this computer, which trusts itself more than others.
func (g *guard) notOwn(a netip.Addr) error {
	list, err := g.own()
	if err != nil {
		return fmt.Errorf("webhook: addresses of this computer: %w", err)
	}
	for _, l := range list {
		if n, ok := l.(*net.IPNet); ok {
			if mine, ok := netip.AddrFromSlice(n.IP); ok && mine.Unmap() == a {
				return &refused{a, "it is this computer's own"}
			}
		}
	}
	return nil
}
