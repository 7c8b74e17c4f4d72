package poe

import (
	"context"

	"github.com/gosnmp/gosnmp"
)

const (
	// maxFDB bounds the addresses read from one switch.
	maxFDB = 65_536
	// maxVLANs is how many there are.
	maxVLANs = 4096
	// learned is dot1dTpFdbStatus and dot1qTpFdbStatus of a learned address;
	// the others are the switch's own or were set by hand.
	learned = 3
	macLen  = 6
)

// FDB is Switch.FDB: Q-BRIDGE-MIB, which has the VLANs, and where that is
// empty BRIDGE-MIB.
func (d *SNMP) FDB(ctx context.Context) ([]FDBEntry, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return nil, d.fail("read addresses", 0, err)
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, tableLimit)
	defer cancel()
	entries, err := d.fdb(limited)
	return entries, d.fail("read addresses", 0, late(inner, tableLimit, err))
}

func (d *SNMP) fdb(ctx context.Context) ([]FDBEntry, error) {
	entries, err := d.table(ctx, oidQTpFdbPort, oidQTpFdbStatus, 1)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return d.table(ctx, oidTpFdbPort, oidTpFdbStatus, 0)
	}
	vlans, err := d.vlans(ctx)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		// Most switches number their databases as their VLANs, and some leave
		// the map out.
		if vlan, ok := vlans[uint32(e.VLAN)]; ok {
			entries[i].VLAN = vlan
		}
	}
	return entries, nil
}

// row is the index of a forwarding table: a database's number, or 0, and an
// address.
type row struct {
	fdb uint32
	mac [macLen]byte
}

// parseRow reads an index of so many parts before the address.
func parseRow(index []uint32, before int) (r row, ok bool) {
	if len(index) != before+macLen {
		return r, false
	}
	if before > 0 {
		r.fdb = index[0]
	}
	for i, n := range index[before:] {
		if n > 255 {
			return r, false
		}
		r.mac[i] = byte(n)
	}
	return r, true
}

// table joins the port and status columns of a forwarding table.
func (d *SNMP) table(ctx context.Context, portColumn, statusColumn string, before int) ([]FDBEntry, error) {
	statuses := make(map[row]int64)
	err := d.walk(ctx, statusColumn, maxFDB, func(index []uint32, v gosnmp.SnmpPDU) {
		if r, ok := parseRow(index, before); ok {
			statuses[r], _ = number(v)
		}
	})
	if err != nil {
		return nil, err
	}
	ports := make(map[int]int, len(d.plans))
	for _, pl := range d.plans {
		if pl.BridgePort > 0 {
			ports[pl.BridgePort] = pl.Number
		}
	}
	var entries []FDBEntry
	err = d.walk(ctx, portColumn, maxFDB, func(index []uint32, v gosnmp.SnmpPDU) {
		r, ok := parseRow(index, before)
		n, err := number(v)
		// Bridge port 0 means that the switch does not know it.
		if !ok || err != nil || n < 1 || n > maxIndex || r.fdb > maxIndex {
			return
		}
		if status, ok := statuses[r]; ok && status != learned {
			return
		}
		entries = append(entries, FDBEntry{MAC: r.mac, VLAN: int(r.fdb), BridgePort: int(n), Port: ports[int(n)]})
	})
	return entries, err
}

// vlans is dot1qVlanFdbId turned round: which VLAN uses a database. Several may
// share one; then the lowest counts.
func (d *SNMP) vlans(ctx context.Context) (map[uint32]int, error) {
	vlans := make(map[uint32]int)
	err := d.walk(ctx, oidVlanFdbID, maxVLANs, func(index []uint32, v gosnmp.SnmpPDU) {
		id, err := number(v)
		if err != nil || len(index) != 2 || index[1] < 1 || index[1] >= maxVLANs || id < 0 || id > maxIndex {
			return
		}
		vlan := int(index[1]) // the first part is a TimeFilter
		if old, ok := vlans[uint32(id)]; !ok || vlan < old {
			vlans[uint32(id)] = vlan
		}
	})
	return vlans, err
}

// walk reads a column and takes note that the switch answered.
func (d *SNMP) walk(ctx context.Context, column string, limit int, row func([]uint32, gosnmp.SnmpPDU)) error {
	return d.sess.walk(ctx, column, limit, func(index []uint32, v gosnmp.SnmpPDU) {
		d.heard()
		row(index, v)
	})
}
