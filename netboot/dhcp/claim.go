package dhcp

import "net/netip"

// claim is who was last answered with an address.
type claim struct {
	in  Ingress
	pi  pi
	res Reservation
}

// claims remembers who was answered with which address, so that one address is
// never given to two: a table that has it twice is wrong, and two Pis with one
// address break each other in ways that are hard to find.
type claims struct {
	least   int // up to this size there is no sweep
	sweepAt int // the size at which the next sweep is due
	by      map[netip.Addr]claim
}

func newClaims(least int) *claims {
	return &claims{least: least, sweepAt: least, by: make(map[netip.Addr]claim)}
}

// take claims the address of e's reservation. It fails if another Pi was
// answered with the address and the table still has it down for that one.
func (c *claims) take(e *Event, table Table) (former claim, ok bool) {
	addr := e.Reservation.Addr.Addr()
	p := pi{e.Reservation.Segment, e.MAC}
	former, found := c.by[addr]
	if found && former.pi != p && former.stands(table) {
		return former, false
	}
	if !found && len(c.by) >= c.sweepAt {
		c.sweep(table)
	}
	c.by[addr] = claim{in: e.Ingress, pi: p, res: e.Reservation}
	return claim{}, true
}

// stands asks the table whether the claim is still good.
func (c claim) stands(table Table) bool {
	res, verdict := table.Lookup(c.in, c.pi.mac)
	return verdict == Known && res.Segment == c.pi.segment && res.Addr.Addr() == c.res.Addr.Addr()
}

// sweep forgets the claims that no longer stand. What is left is bounded by
// the table's own size; and since the next sweep comes when it has doubled,
// sweeping costs each new claim a constant.
func (c *claims) sweep(table Table) {
	for addr, cl := range c.by {
		if !cl.stands(table) {
			delete(c.by, addr)
		}
	}
	c.sweepAt = max(c.least, 2*len(c.by))
}
