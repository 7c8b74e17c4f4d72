package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"picloud/engine"
	"picloud/hw/link"
)

// neighbours keeps a permanent neighbour entry for each Pi on a real
// interface: a Pi 3B answers no ARP once a transfer has begun.
type neighbours struct {
	links  *link.Links
	routes *routes
	log    *slog.Logger
	mu     sync.Mutex // a reload checks while the boot table is followed
	closed bool
	have   map[neighbour]engine.MAC
	failed map[neighbour]string
}

type neighbour struct {
	iface string
	addr  netip.Addr
}

func newNeighbours(r *routes, log *slog.Logger) *neighbours {
	return &neighbours{routes: r, log: log, have: map[neighbour]engine.MAC{}, failed: map[neighbour]string{}}
}

// check opens what is needed and says what is wrong with the segments'
// interfaces before anything is served on them.
func (n *neighbours) check(l engine.Layout) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var problems []error
	for _, p := range l.Pis {
		if n.routes.loopback(p.Segment.Name) {
			continue
		}
		if err := n.open(); err != nil {
			return err
		}
		want := netip.PrefixFrom(p.Segment.Server, p.Segment.Addr.Bits())
		if err := n.links.CheckAddress(p.Segment.Interface, want); err != nil {
			problems = append(problems, fmt.Errorf("segment %s: %w", p.Segment.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (n *neighbours) open() error {
	if n.closed {
		return errClosed
	}
	if n.links != nil {
		return nil
	}
	var err error
	n.links, err = link.Open()
	return err
}

func (n *neighbours) close() {
	n.mu.Lock() // a reload may be checking
	defer n.mu.Unlock()
	n.closed = true
	if n.links != nil {
		n.links.Close()
		n.links = nil
	}
}

var errClosed = errors.New("the service is stopping")

// follow sets the entries that the boot table asks for and removes the others
// that it set before.
func (n *neighbours) follow(t *engine.BootTable) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links == nil {
		return
	}
	want := map[neighbour]engine.MAC{}
	t.Entries(func(e engine.BootEntry) bool {
		if e.MAC != (engine.MAC{}) && !n.routes.loopback(e.Segment.Name) {
			want[neighbour{e.Segment.Interface, e.Segment.Addr.Addr()}] = e.MAC
		}
		return true
	})
	for at, mac := range want {
		if n.have[at] != mac {
			n.set(at, mac)
		}
	}
	for at := range n.have {
		if _, ok := want[at]; !ok {
			delete(n.have, at)
			if err := n.links.RemoveNeighbour(at.iface, at.addr); err != nil {
				n.log.Warn("neighbour entry stays", "interface", at.iface, "addr", at.addr, "err", err)
			}
		}
	}
}

func (n *neighbours) set(at neighbour, mac engine.MAC) {
	err := n.links.SetNeighbour(at.iface, at.addr, mac)
	if err == nil {
		n.have[at] = mac
		delete(n.failed, at)
		return
	}
	if n.failed[at] != err.Error() { // tried again with every boot table; said once
		n.failed[at] = err.Error()
		n.log.Warn("no neighbour entry: a Pi 3B may not boot", "interface", at.iface, "addr", at.addr, "err", err)
	}
}
