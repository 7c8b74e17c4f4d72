package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"picloud/engine"
)

// routes finds the segment that a packet came in by: by its interface, and by
// the address it was sent to where an interface carries several segments, as
// the loopback of the demo does. Packets read it while a reload replaces it.
type routes struct{ table atomic.Pointer[routeTable] }

type routeTable struct {
	only    map[int]string      // ifindex with one segment
	byIndex map[routeKey]string // ifindex with several
	loop    map[string]bool     // segment is on a loopback interface
}

type routeKey struct {
	ifIndex int
	server  netip.Addr
}

// set looks up the interfaces of all segments.
func (r *routes) set(l engine.Layout) error {
	t := &routeTable{only: map[int]string{}, byIndex: map[routeKey]string{}, loop: map[string]bool{}}
	found := map[string]*net.Interface{}
	shared := map[int]int{}
	for _, p := range l.Pis {
		ifi := found[p.Segment.Interface]
		if ifi == nil {
			var err error
			if ifi, err = net.InterfaceByName(p.Segment.Interface); err != nil {
				return fmt.Errorf("segment %s: interface %s: %w (create it, or correct interface = in the configuration)",
					p.Segment.Name, p.Segment.Interface, err)
			}
			found[p.Segment.Interface] = ifi
		}
		t.loop[p.Segment.Name] = ifi.Flags&net.FlagLoopback != 0
		t.only[ifi.Index] = p.Segment.Name
		t.byIndex[routeKey{ifi.Index, p.Segment.Server}] = p.Segment.Name
		shared[ifi.Index]++
	}
	for index, n := range shared {
		if n > 1 {
			delete(t.only, index)
		}
	}
	r.table.Store(t)
	return nil
}

// find returns the segment of a packet, "" when there is none.
func (r *routes) find(ifIndex int, dst netip.Addr) string {
	t := r.table.Load()
	if name, ok := t.only[ifIndex]; ok {
		return name
	}
	return t.byIndex[routeKey{ifIndex, dst}]
}

// loopback tells whether the segment is on a loopback interface.
func (r *routes) loopback(segment string) bool { return r.table.Load().loop[segment] }
