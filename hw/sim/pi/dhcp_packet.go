package pi

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/dhcp/wire"
)

// dhcpNAK is the message type with which a server refuses (RFC 2132, section
// 9.6).
const dhcpNAK = 6

// optPad is the padding option, which has no length (RFC 2132, section 3.1).
const optPad = 0

// Datagram is how the IP and UDP headers of a program's packets look.
type Datagram struct {
	TTL uint8
	// ID is the IP identification.
	ID uint16
	// Checksum is whether the UDP checksum is filled in; the ROM sends 0.
	Checksum bool
}

// romDatagram is what the ROM and bootcode.bin send (boot-net.adoc: ttl 128, id
// 0, no cksum).
var romDatagram = Datagram{TTL: wire.ROMTTL}

// eepromTTL is the time to live of the EEPROM bootloaders' packets, whose
// checksum is filled in and whose identification counts (capture of a Pi 4).
const eepromTTL = 64

// dialect is how one program on a board speaks DHCP.
type dialect struct {
	params string
	guid   func(Board) string
	// classFirst is whether option 60 stands before 93, 94 and 97 or after them. A
	// Pi 4 that sends "RPi4" in option 97 has it before; one with the bootloader of
	// 2019 still had it behind (rpi-eeprom issue 58).
	classFirst bool
	// menu is the text that option 43 has to contain somewhere.
	menu string
	// noRelay is whether a reply that passed a relay is dropped: the 3B's ROM looks
	// at the hops field.
	noRelay bool
	// tooSoon is whether answers within romTooSoon are lost.
	tooSoon bool
}

// The text that tells a Pi that this server is meant for it. The 3B's ROM gets
// the length wrong and needs three blanks behind (boot-net.adoc).
const (
	menuText   = wire.BootText
	menuText3B = menuText + "   "
)

var (
	dialect3B       = dialect{params: wire.ParameterList3B, guid: romGUID, menu: menuText3B, noRelay: true, tooSoon: true}
	dialect3BPlus   = dialect{params: wire.ParameterList3BPlus, guid: serialGUID, menu: menuText}
	dialectBootcode = dialect{params: wire.ParameterList3BPlus, guid: serialGUID, menu: menuText}
	dialectEEPROM   = dialect{params: wire.ParameterListEEPROM, guid: eepromGUID, classFirst: true, menu: menuText}
)

// romDialect is the dialect of a family's mask ROM.
var romDialect = map[order.Family]dialect{order.Pi3B: dialect3B, order.Pi3BPlus: dialect3BPlus}

// discover builds a DISCOVER.
func (d dialect) discover(b Board, xid uint32) []byte {
	p := wire.AppendHeader(make([]byte, 0, wire.DiscoverLen), xid, b.mac6())
	p = append(p, wire.OptMessageType, 1, wire.TypeDiscover)
	p = wire.AppendOption(p, wire.OptParameterList, d.params)
	if d.classFirst {
		p = wire.AppendOption(p, wire.OptVendorClass, wire.VendorClass)
	}
	p = wire.AppendOption(p, wire.OptClientArchitecture, wire.ClientArchitecture)
	p = wire.AppendOption(p, wire.OptClientInterface, wire.ClientInterface)
	p = wire.AppendOption(p, wire.OptClientGUID, d.guid(b))
	if !d.classFirst {
		p = wire.AppendOption(p, wire.OptVendorClass, wire.VendorClass)
	}
	return append(p, wire.OptEnd)
}

// request builds the REQUEST of an EEPROM bootloader.
func (d dialect) request(b Board, xid uint32, addr, server netip.Addr) []byte {
	return wire.Request(xid, b.mac6(), d.params, d.guid(b), addr.As4(), server.As4())
}

// reply is what a Pi takes from a server's packet.
type reply struct {
	kind     byte
	addr     netip.Addr // yiaddr
	mask     int        // prefix length, 0 when option 1 is missing
	router   netip.Addr // option 3, the first one
	serverID netip.Addr // option 54
	siaddr   netip.Addr
	next     netip.Addr // option 66, when it is a dotted-decimal address
	menu     bool       // option 43 has the text
	// romServer is where the ROM turns to: options are gone through in order, 66
	// sets it to its address and 43 to the packet's source; the last one wins
	// (openSUSE/netboot-rpi3b; firmware issues 670 and 801).
	romServer netip.Addr
}

// parseReply reads a server's packet. It returns false for anything that is not
// an answer to this board's xid or that does not hold together.
func (d dialect) parseReply(p []byte, src netip.Addr, mac net.HardwareAddr, xid uint32) (reply, bool) {
	var r reply
	if len(p) < wire.HeaderLen || p[0] != 2 || p[1] != 1 || p[2] != 6 ||
		binary.BigEndian.Uint32(p[wire.OffXID:]) != xid ||
		!bytes.Equal(p[wire.OffCHAddr:wire.OffCHAddr+6], mac) || string(p[wire.OffCookie:wire.HeaderLen]) != wire.Cookie {
		return r, false
	}
	if d.noRelay && p[3] != 0 {
		return r, false
	}
	r.addr = ip4(p[wire.OffYIAddr:wire.OffSIAddr])
	r.siaddr = ip4(p[wire.OffSIAddr:wire.OffGIAddr])
	ok := eachOption(p[wire.HeaderLen:], func(code byte, v []byte) {
		switch code {
		case wire.OptMessageType:
			if len(v) == 1 {
				r.kind = v[0]
			}
		case wire.OptSubnetMask:
			if len(v) == 4 {
				r.mask, _ = net.IPMask(v).Size()
			}
		case wire.OptRouter:
			if len(v) >= 4 {
				r.router = ip4(v[:4])
			}
		case wire.OptServerIdentifier:
			if len(v) == 4 {
				r.serverID = ip4(v)
			}
		case wire.OptTFTPServerName:
			// A name, or an address with a NUL behind it, is not taken.
			if a, err := netip.ParseAddr(string(v)); err == nil && a.Is4() {
				r.next, r.romServer = a, a
			}
		case wire.OptVendorSpecific:
			if bytes.Contains(v, []byte(d.menu)) {
				r.menu, r.romServer = true, src
			}
		}
	})
	return r, ok && r.kind != 0
}

// eepromServer is where the EEPROM bootloaders turn to: option 66, else the
// server's own address (waveform80/nobodd explain-pi-netboot; rpi-eeprom release
// notes, 2019-10-08).
func (r reply) eepromServer() netip.Addr {
	for _, a := range []netip.Addr{r.next, r.serverID, r.siaddr} {
		if a.IsValid() && !a.IsUnspecified() {
			return a
		}
	}
	return netip.Addr{}
}

// eachOption calls f for every option up to the end option. It returns false
// when an option runs over the end of the packet.
func eachOption(o []byte, f func(code byte, value []byte)) bool {
	for len(o) > 0 {
		switch o[0] {
		case optPad:
			o = o[1:]
			continue
		case wire.OptEnd:
			return true
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			return false
		}
		f(o[0], o[2:2+int(o[1])])
		o = o[2+int(o[1]):]
	}
	return true
}

func ip4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
