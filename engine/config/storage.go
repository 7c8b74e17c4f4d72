package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// DefaultGateway is the next hop of a server that has an address and no
// gateway: a link-local address, the same on every segment.
var DefaultGateway = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1})

// zoneForm is what names in the tz database look like (theory.html, "Timezone
// identifiers").
var zoneForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z][A-Za-z0-9_+-]{0,30}){0,2}$`)

// lvmForm is what LVM takes as a name (lvm(8), "VALID NAMES"), and what is no
// option.
var lvmForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func lvmName() func(any) *fault {
	return form(lvmForm, 64, `a name of "vgs" or "lvs": letters, digits and . _ - between them`)
}

// public tells whether a is an IPv6 unicast address beyond the link.
func public(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// publicAddress checks a server's own address.
func publicAddress(p netip.Prefix) *fault {
	const remedy = `a unicast IPv6 address with the length of its prefix, such as "2001:db8:0:1::2/64"`
	a := p.Addr()
	switch {
	case !public(a):
		return faultf(remedy, "%s is not a public IPv6 address", p)
	case p.Bits() == 0:
		return faultf(fmt.Sprintf("%q", netip.PrefixFrom(a, 64)), "%s is the whole Internet", p)
	case p.Bits() < 127 && a == p.Masked().Addr(): // RFC 4291, section 2.6.1; RFC 6164 for /127
		return faultf(fmt.Sprintf("%q", netip.PrefixFrom(a.Next(), p.Bits())), "%s is the address of every router on the prefix", p)
	}
	return nil
}

// gatewayAddress checks a server's next hop.
func gatewayAddress(a netip.Addr) *fault {
	if !a.Is6() || a.Is4In6() || a.Zone() != "" || !a.IsLinkLocalUnicast() && !public(a) {
		return faultf(`"fe80::1", or an address of the server's own prefix`, "%s is not a unicast IPv6 address without a zone", a)
	}
	return nil
}

// resolvers checks the DNS servers of the guests: resolv.conf(5) takes MAXNS of
// them.
func resolvers(list []netip.Addr) *fault {
	const most = 3
	if len(list) > most {
		return faultf("leave the first three", "%d are more than a resolver looks at", len(list))
	}
	for _, a := range list {
		if !a.Is4() && !public(a) || a.IsUnspecified() || a.IsMulticast() {
			return faultf(`such as "2001:db8::64"`, "%s is not a unicast address", a)
		}
	}
	return nil
}

// nfs checks what the drivers need of the other settings.
func (k *checker) nfs() {
	n := &k.c.NFS
	at := func(key string) place { return place{table: "nfs", key: key} }
	switch {
	case n.Port == 0 && n.Driver != NFSDemo:
		k.say(at("port"), "nfs.port", faultf("2049", "0 (any free port) works with driver = %q only", NFSDemo))
	case n.Port != nfsPort && n.Driver == NFSKernel:
		k.say(at("port"), "nfs.port", faultf("2049, or driver = \"ganesha\"", "the kernel's server has port 2049, not %d", n.Port))
	}
	// What is mounted below the path and is no export is unmounted.
	if within := holds(n.Path, k.c.State); within || holds(k.c.State, n.Path) {
		k.say(at("path"), "nfs.path", faultf(`a folder that holds nothing else, such as "/srv/pi"`, "%s and the state folder %s are in one another", n.Path, k.c.State))
	}
}

// holds tells whether a clean path is dir or below it.
func holds(dir, path string) bool {
	return dir != "" && (path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/"))
}

// volumes wants LVM's names where they are needed.
func (k *checker) volumes() {
	v := &k.c.Volumes
	if v.Driver != VolumesLVM {
		return
	}
	for _, f := range []struct{ key, value, example string }{{"group", v.Group, "vg0"}, {"pool", v.Pool, "picloud"}} {
		p := place{table: "volumes", key: f.key}
		if f.value != "" || k.source.spoilt(p) {
			continue
		}
		k.list.add(k.source.position(p), fmt.Sprintf("[volumes]: no %s, which driver = %q needs", f.key, VolumesLVM), fmt.Sprintf("%s = %q", f.key, f.example))
	}
}

// addresses wants every server to have an address of its own and a way out.
func (k *checker) addresses() {
	seen := first[netip.Addr]{}
	for i, s := range k.c.Servers {
		name := title("server", s.Name)
		at := func(key string) place { return place{table: "server", i: i, key: key} }
		g := s.Gateway
		if !s.Address.IsValid() {
			if g.IsValid() && !k.source.spoilt(at("address")) {
				k.say(at("gateway"), name+" gateway", faultf("address = \"2001:db8:0:1::2/64\"", "there is no address that it would be for"))
			}
			continue
		}
		unique(k, seen, s.Address.Addr(), at("address"), name, "address "+s.Address.Addr().String())
		switch {
		case !g.IsValid() || gatewayAddress(g) != nil:
		case g == s.Address.Addr():
			k.say(at("gateway"), name+" gateway", faultf(fmt.Sprintf("%q", DefaultGateway), "%s is the server's own address", g))
		case !g.IsLinkLocalUnicast() && !s.Address.Contains(g):
			k.say(at("gateway"), name+" gateway", faultf(fmt.Sprintf("%q", DefaultGateway), "%s is neither link-local nor within %s", g, s.Address.Masked()))
		}
	}
}
