package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"picloud/engine/config"
)

// port is one that the rack needs.
type port struct {
	network string
	number  int
	addr    netip.Addr // that it is bound to, zero = every one
	what    string
	holder  holder
	seldom  bool // it is bound only now and then
}

// holder is who should have a port.
type holder uint8

const (
	service holder = iota // picloud, or a program that it started
	kernel                // its NFS server
	mapper                // rpcbind, or systemd for it
)

// portmapPort is that of the portmapper (RFC 1833, section 3).
const portmapPort = 111

func (e *Env) ports() []port {
	c := e.Config
	driver := c.NFS.Driver
	if e.NFS != nil {
		if chosen, err := e.NFS(); err == nil {
			driver = chosen
		}
	}
	list := []port{
		{network: "udp", number: c.DHCP.Port, what: "DHCP"},
		{network: "udp", number: c.TFTP.Port, what: "TFTP"},
		{network: "tcp", number: c.NFS.Port, what: "NFS"},
	}
	if driver == config.NFSKernel {
		list[2].holder = kernel
	}
	if driver != config.NFSDemo {
		list = append(list,
			port{network: "udp", number: portmapPort, what: "the portmapper", holder: mapper},
			port{network: "tcp", number: portmapPort, what: "the portmapper", holder: mapper})
	}
	for _, at := range []struct {
		addr netip.AddrPort
		what string
	}{{c.Console.Listen, "the console over SSH"}, {c.HTTP.Listen, "metrics"}} {
		if at.addr.IsValid() {
			list = append(list, port{network: "tcp", number: int(at.addr.Port()), addr: at.addr.Addr(), what: at.what})
		}
	}
	if c.Orders.Examine {
		list = append(list, port{network: "tcp", number: c.Exam.Port, what: "reports of boards under examination", seldom: true})
	}
	return slices.DeleteFunc(list, func(p port) bool { return p.number == 0 }) // any free one
}

// meets tells whether a socket is at a port, or keeps others from it.
func (p port) meets(s socket) bool {
	a := s.addr.Addr()
	return s.network == p.network && int(s.addr.Port()) == p.number &&
		(a.IsUnspecified() || !p.addr.IsValid() || p.addr.IsUnspecified() || a == p.addr) &&
		(a.Is4() || a.IsUnspecified() || p.addr.Is6())
}

// checkPorts: a port that somebody else has is a service that does not start,
// or a Pi that gets its address from elsewhere.
func checkPorts(_ context.Context, e *Env) []Finding {
	all, err := sockets()
	if err != nil {
		return []Finding{warnf("", "", "open ports cannot be listed: %v", err)}
	}
	ports := e.ports()
	at := make([][]socket, len(ports))
	want := map[uint64]bool{}
	for i, p := range ports {
		for _, s := range all {
			if p.meets(s) {
				at[i] = append(at[i], s)
				want[s.inode] = true
			}
		}
	}
	who := owners(want)
	still, err := sockets() // a process may have ended before it was looked for
	if err != nil {
		still = all
	}
	var found []Finding
	for i, p := range ports {
		at := slices.DeleteFunc(at[i], func(s socket) bool { return !slices.Contains(still, s) })
		found = append(found, e.checkPort(p, at, who))
	}
	return found
}

func (e *Env) checkPort(p port, at []socket, who map[uint64]owner) Finding {
	subject := fmt.Sprintf("%s %d", p.network, p.number)
	if len(at) == 0 {
		if e.Service != 0 && p.holder == service && !p.seldom {
			return failf(subject, "systemctl restart picloud", "picloud runs, and does not have it for %s", p.what)
		}
		return okf(subject, "free, for %s", p.what)
	}
	mine := ""
	for _, s := range at {
		o, known := who[s.inode]
		switch {
		case !known && os.Geteuid() != 0:
			return warnf(subject, "sudo picloud doctor", "taken by a process of another user, which root alone can see")
		case !known && p.holder != kernel:
			return failf(subject, "systemctl disable --now nfs-server, if it is the kernel's NFS server", "taken by the kernel, or by what cannot be seen from here; %s needs it", p.what)
		case !known:
			mine = "the kernel has it for " + p.what
		case p.holder == service && e.Service != 0 && within(o.pid, e.Service):
			mine = "picloud has it for " + p.what
		case p.holder == mapper && (o.name == "rpcbind" || o.pid == 1):
			mine = o.name + " has it for " + p.what
		default:
			return failf(subject, o.stop(), "taken by %s; %s needs it", o, p.what)
		}
	}
	return okf(subject, "%s", mine)
}
