package daemon

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"picloud/engine"
	"picloud/hw/link"
)

// addresses routes the public address of each server to the Pi that the server
// is on, and is the next hop there. What the kernel has is looked at again now
// and then, since an interface that was taken down comes up without. Nothing is
// taken back when the service ends: servers run on.
type addresses struct {
	segments *routes
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex // a reload opens links while snapshots are followed
	links   addressLinks
	want    wires
	checked time.Time
	ours    map[wireGateway]bool // set by this process
	said    map[string]string    // the last problem of each interface
}

// addressLinks is what addresses need of hw/link.
type addressLinks interface {
	SetRoute(link.Route) error
	RemoveRoute(link.Route) error
	Routes() ([]link.Route, error)
	SetGateway(name string, a netip.Addr) error
	RemoveGateway(name string, a netip.Addr) error
	Close()
}

// wires is what the interfaces are to have.
type wires struct {
	routes   map[netip.Addr]string // by address: the interface
	gateways map[wireGateway]bool
}

type wireGateway struct {
	iface string
	addr  netip.Addr
}

// addressesAgain is how often the kernel's tables are compared.
const addressesAgain = 10 * time.Second

func newAddresses(segments *routes, log *slog.Logger) *addresses {
	return &addresses{
		segments: segments, log: log, now: time.Now, ours: map[wireGateway]bool{}, said: map[string]string{},
	}
}

// layout opens what a configuration needs.
func (a *addresses) layout(l engine.Layout) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range l.Pis {
		if a.links == nil && !a.segments.loopback(p.Segment.Name) {
			links, err := link.Open()
			if err != nil {
				return err
			}
			a.links = links
		}
	}
	return nil
}

func (a *addresses) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.links != nil {
		a.links.Close()
		a.links = nil
	}
}

// follow makes the interfaces have what a snapshot asks for.
func (a *addresses) follow(s *engine.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.links == nil {
		return
	}
	want := a.wanted(s)
	same := maps.Equal(want.routes, a.want.routes) && maps.Equal(want.gateways, a.want.gateways)
	if same && a.now().Sub(a.checked) < addressesAgain {
		return
	}
	a.want, a.checked = want, a.now()
	a.setRoutes()
	a.setGateways()
	a.checkForwarding()
}

func (a *addresses) wanted(s *engine.Snapshot) wires {
	w := wires{routes: map[netip.Addr]string{}, gateways: map[wireGateway]bool{}}
	for i := range s.Pis {
		p := &s.Pis[i]
		if !p.Public.IsValid() || a.segments.loopback(p.Segment.Name) {
			continue
		}
		w.routes[p.Public.Addr()] = p.Segment.Interface
		if p.Gateway.IsLinkLocalUnicast() {
			w.gateways[wireGateway{p.Segment.Interface, p.Gateway}] = true
		}
	}
	return w
}

// setRoutes also removes routes of servers that are no more, or have moved
// while the service was away.
func (a *addresses) setRoutes() {
	have, err := a.links.Routes()
	a.tell("", "the servers' routes cannot be read", err)
	there := map[netip.Addr]string{}
	for _, r := range have {
		if a.want.routes[r.Addr] == r.Interface {
			there[r.Addr] = r.Interface
			continue
		}
		a.tell(r.Interface, "a route of no server stays", a.links.RemoveRoute(r))
	}
	for addr, iface := range a.want.routes {
		if there[addr] != iface {
			a.tell(iface, "a server's address is not routed to it", a.links.SetRoute(link.Route{Addr: addr, Interface: iface}))
		}
	}
}

func (a *addresses) setGateways() {
	for g := range a.want.gateways {
		err := a.links.SetGateway(g.iface, g.addr)
		a.tell(g.iface+" gateway", "a server has no next hop", err)
		a.ours[g] = err == nil || a.ours[g]
	}
	for g := range a.ours {
		if a.want.gateways[g] {
			continue
		}
		if err := a.links.RemoveGateway(g.iface, g.addr); err != nil {
			a.tell(g.iface+" gateway", "the next hop of no server stays", err)
			continue
		}
		delete(a.ours, g)
	}
}

// forwardingFile says whether this host forwards at all (ip-sysctl.rst).
const forwardingFile = "/proc/sys/net/ipv6/conf/all/forwarding"

var errNoForwarding = errors.New("this host forwards no IPv6 (sysctl -w net.ipv6.conf.all.forwarding=1)")

func (a *addresses) checkForwarding() {
	if len(a.want.routes) == 0 {
		return
	}
	b, err := os.ReadFile(forwardingFile)
	if err == nil && strings.TrimSpace(string(b)) == "0" {
		err = errNoForwarding
	}
	a.tell("forwarding", "servers reach only this host", err)
}

// tell logs a problem once, and forgets it when it is over.
func (a *addresses) tell(what, text string, err error) {
	if err == nil {
		delete(a.said, what)
		return
	}
	if a.said[what] != err.Error() {
		a.said[what] = err.Error()
		a.log.Warn(text, "err", err)
	}
}
