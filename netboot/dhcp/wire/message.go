package wire

import "encoding/binary"

// Message types of option 53 (RFC 2132 section 9.6) that a Pi sends.
const (
	TypeDiscover = 1
	TypeOffer    = 2
	TypeRequest  = 3
	TypeAck      = 5
)

// SerialGUID returns option 97 of the 3B+ ROM, of bootcode.bin, and of an
// EEPROM with DHCP_OPTION97=0: the serial number four times, little endian.
func SerialGUID(serial uint32) (guid [GUIDLen]byte) {
	for i := 1; i < GUIDLen; i += 4 {
		binary.LittleEndian.PutUint32(guid[i:], serial)
	}
	return guid
}

// EEPROMGUID returns option 97 of the Pi 4 and 5 families: the FourCC, the
// board revision code, the last four bytes of the MAC address and the serial
// number. Revision and serial number are little endian and the MAC bytes
// stand in the order of the address, as three logs show: a CM4 with revision
// c03140 and MAC e4:5f:01:94:24:f8 sends 00 "RPi4" 40 31 c0 00 01 94 24 f8.
// fourCC is one of the FourCC constants; a longer one is cut, and a shorter
// one filled with zeros.
func EEPROMGUID(fourCC string, revision uint32, mac [6]byte, serial uint32) (guid [GUIDLen]byte) {
	copy(guid[1:5], fourCC)
	binary.LittleEndian.PutUint32(guid[5:], revision)
	copy(guid[9:13], mac[2:])
	binary.LittleEndian.PutUint32(guid[13:], serial)
	return guid
}

// AppendOption appends one option to b. A value longer than 255 bytes is
// split over several options of the same code (RFC 3396 section 5).
func AppendOption(b []byte, code byte, value string) []byte {
	for len(value) > 255 {
		b = append(b, code, 255)
		b = append(b, value[:255]...)
		value = value[255:]
	}
	b = append(b, code, byte(len(value)))
	return append(b, value...)
}

// AppendHeader appends the BOOTP header of a client's message: BOOTREQUEST on
// Ethernet, flags and all addresses 0, with the magic cookie.
func AppendHeader(b []byte, xid uint32, mac [6]byte) []byte {
	start := len(b)
	b = append(b, make([]byte, HeaderLen)...)
	h := b[start:]
	h[0], h[1], h[2] = 1, 1, 6
	binary.BigEndian.PutUint32(h[OffXID:], xid)
	copy(h[OffCHAddr:], mac[:])
	copy(h[OffCookie:], Cookie)
	return b
}

// Discover returns a Pi's DHCPDISCOVER, byte for byte as the traces show it:
// options 53, 55, 93, 94, 97, 60. list is one of the ParameterList constants
// and guid is option 97.
//
// A 3B sends Discover(ROMTransactionID, mac, ParameterList3B, GUID3B).
func Discover(xid uint32, mac [6]byte, list, guid string) []byte {
	b := AppendHeader(make([]byte, 0, DiscoverLen), xid, mac)
	b = append(b, OptMessageType, 1, TypeDiscover)
	b = appendClient(b, list, guid)
	b = AppendOption(b, OptVendorClass, VendorClass)
	return append(b, OptEnd)
}

// Request returns the DHCPREQUEST with which a Pi 4 or 5 takes the offer of
// addr by server. It has no option 60 (rpi-eeprom issues 82 and 87). No trace
// of the whole message was found: the other options are those that RFC 2131
// table 5 demands, and then the DISCOVER's. The ROM family sends none.
func Request(xid uint32, mac [6]byte, list, guid string, addr, server [4]byte) []byte {
	b := AppendHeader(make([]byte, 0, DiscoverLen), xid, mac)
	b = append(b, OptMessageType, 1, TypeRequest)
	b = AppendOption(b, OptRequestedAddress, string(addr[:]))
	b = AppendOption(b, OptServerIdentifier, string(server[:]))
	b = appendClient(b, list, guid)
	b = append(b, OptEnd)
	for len(b) < MinLen {
		b = append(b, 0)
	}
	return b
}

func appendClient(b []byte, list, guid string) []byte {
	b = AppendOption(b, OptParameterList, list)
	b = AppendOption(b, OptClientArchitecture, ClientArchitecture)
	b = AppendOption(b, OptClientInterface, ClientInterface)
	return AppendOption(b, OptClientGUID, guid)
}
