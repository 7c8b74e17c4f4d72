package pi

import (
	"encoding/binary"
	"net"
	"net/netip"

	"picloud/netboot/dhcp/wire"
)

// Header lengths and fields of Ethernet, IPv4 (RFC 791) and UDP (RFC 768).
const (
	etherLen  = 14
	ipLen     = 20
	udpLen    = 8
	etherIPv4 = 0x0800
	protoUDP  = 17
	// fragment is the flag "more fragments" and the offset: neither is set in a
	// packet that is whole.
	fragment = 0x3fff
)

var (
	broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastIP  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// broadcastFrame wraps a DHCP message as the boot ROM puts it on the wire: from
// 0.0.0.0 port 68 to 255.255.255.255 port 67.
func broadcastFrame(mac net.HardwareAddr, message []byte, d Datagram) []byte {
	f := make([]byte, etherLen+ipLen+udpLen, etherLen+ipLen+udpLen+len(message))
	f = append(f, message...)
	copy(f, broadcastMAC)
	copy(f[6:], mac)
	be := binary.BigEndian
	be.PutUint16(f[12:], etherIPv4)
	ip, udp := f[etherLen:], f[etherLen+ipLen:]
	ip[0] = 4<<4 | ipLen/4
	be.PutUint16(ip[2:], uint16(ipLen+len(udp)))
	be.PutUint16(ip[4:], d.ID)
	ip[8], ip[9] = d.TTL, protoUDP
	dst := broadcastIP.As4()
	copy(ip[16:], dst[:])
	be.PutUint16(ip[10:], ^sum(0, ip[:ipLen]))
	be.PutUint16(udp, wire.ClientPort)
	be.PutUint16(udp[2:], wire.ServerPort)
	be.PutUint16(udp[4:], uint16(len(udp)))
	if d.Checksum {
		pseudo := sum(protoUDP+uint32(len(udp)), ip[12:ipLen])
		if c := ^sum(uint32(pseudo), udp); c != 0 {
			be.PutUint16(udp[6:], c)
		} else {
			be.PutUint16(udp[6:], 0xffff) // 0 would mean that there is none
		}
	}
	return f
}

// sum is the ones' complement sum of RFC 1071.
func sum(s uint32, b []byte) uint16 {
	for len(b) > 1 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// dhcpPayload returns what a frame carries to UDP port 68, and where it came from.
// It returns nil for every other frame. Checksums are not looked at: between
// interfaces of one machine they are not filled in.
func dhcpPayload(f []byte) ([]byte, netip.Addr) {
	be := binary.BigEndian
	if len(f) < etherLen+ipLen || be.Uint16(f[12:]) != etherIPv4 {
		return nil, netip.Addr{}
	}
	ip := f[etherLen:]
	head, total := int(ip[0]&0xf)*4, int(be.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || head < ipLen || total > len(ip) || total < head+udpLen ||
		ip[9] != protoUDP || be.Uint16(ip[6:])&fragment != 0 {
		return nil, netip.Addr{}
	}
	udp := ip[head:total]
	if n := int(be.Uint16(udp[4:])); be.Uint16(udp[2:]) != wire.ClientPort || n < udpLen || n > len(udp) {
		return nil, netip.Addr{}
	} else {
		return udp[udpLen:n], ip4(ip[12:16])
	}
}
