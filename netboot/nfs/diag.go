package nfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is one established TCP connection to the NFS port, as the kernel sees
// it from the server's side.
type Conn struct {
	Local, Remote netip.AddrPort
	Cookie        uint64        // the kernel's identity of the socket, never used twice
	Received      uint64        // payload bytes from the Pi (tcpi_bytes_received)
	Sent          uint64        // payload bytes that the Pi has acknowledged (tcpi_bytes_acked)
	RTT           time.Duration // smoothed round-trip time (tcpi_rtt), 0 if not measured yet
	Retransmits   uint32        // segments sent again since the connection opened (tcpi_total_retrans)
	Idle          time.Duration // since the Pi's last data (tcpi_last_data_recv)
}

// Layout of struct inet_diag_msg, include/uapi/linux/inet_diag.h.
const (
	diagMsgLen     = 72
	diagReqLen     = 56
	diagInfo       = 2 // INET_DIAG_INFO: the attribute that holds struct tcp_info
	tcpEstablished = 1 // TCP_ESTABLISHED, include/net/tcp_states.h
)

// Offsets in struct tcp_info, include/uapi/linux/tcp.h. Fields are only ever
// added at its end.
const (
	tcpiLastDataRecv  = 52 // milliseconds
	tcpiRTT           = 68 // microseconds
	tcpiTotalRetrans  = 100
	tcpiBytesAcked    = 120
	tcpiBytesReceived = 128
	tcpiNeeded        = 136 // present since Linux 4.1
)

// errShortDiag means that the kernel's message is not what its header files say.
var errShortDiag = errors.New("short inet_diag message")

// Connections returns the established TCP connections whose local port is
// port, IPv4 and IPv6. An IPv4 peer of an IPv6 socket is shown by its IPv4
// address. It needs no privilege. The kernel filters by port, so other
// connections of the server cost next to nothing.
func Connections(port uint16) ([]Conn, error) {
	var conns []Conn
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var err error
		if conns, err = dumpFamily(conns, family, port); err != nil {
			return nil, fmt.Errorf("nfs: read connections of port %d: %w", port, err)
		}
	}
	return conns, nil
}

func dumpFamily(conns []Conn, family uint8, port uint16) ([]Conn, error) {
	req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	req.AddRawData(diagRequest(family, port))
	var parseErr error
	err := req.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(msg []byte) bool {
		conn, ok, err := parseDiag(msg)
		if err != nil {
			parseErr = err
			return false
		}
		// The filter is the kernel's; checking again costs nothing.
		if ok && conn.Local.Port() == port {
			conns = append(conns, conn)
		}
		return true
	})
	if parseErr != nil {
		return nil, parseErr
	}
	return conns, err
}

// diagRequest builds struct inet_diag_req_v2.
func diagRequest(family uint8, port uint16) []byte {
	b := make([]byte, diagReqLen)
	b[0] = family
	b[1] = unix.IPPROTO_TCP
	b[2] = 1 << (diagInfo - 1)
	binary.NativeEndian.PutUint32(b[4:], 1<<tcpEstablished)
	binary.BigEndian.PutUint16(b[8:], port)
	for i := 48; i < diagReqLen; i++ { // INET_DIAG_NOCOOKIE
		b[i] = 0xff
	}
	return b
}

// parseDiag reads struct inet_diag_msg and the tcp_info attribute behind it.
// ok is false for a message without tcp_info.
func parseDiag(b []byte) (c Conn, ok bool, err error) {
	if len(b) < diagMsgLen {
		return Conn{}, false, errShortDiag
	}
	family := b[0]
	addrs := [2]netip.Addr{}
	for i := range addrs {
		raw := b[8+16*i : 24+16*i]
		switch family {
		case unix.AF_INET:
			addrs[i] = netip.AddrFrom4([4]byte(raw[:4]))
		case unix.AF_INET6:
			addrs[i] = netip.AddrFrom16([16]byte(raw)).Unmap()
		default:
			return Conn{}, false, nil
		}
	}
	c.Local = netip.AddrPortFrom(addrs[0], binary.BigEndian.Uint16(b[4:]))
	c.Remote = netip.AddrPortFrom(addrs[1], binary.BigEndian.Uint16(b[6:]))
	c.Cookie = uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32
	info := diagAttr(b[diagMsgLen:], diagInfo)
	if len(info) < tcpiNeeded {
		return Conn{}, false, nil
	}
	c.Idle = time.Duration(binary.NativeEndian.Uint32(info[tcpiLastDataRecv:])) * time.Millisecond
	c.RTT = time.Duration(binary.NativeEndian.Uint32(info[tcpiRTT:])) * time.Microsecond
	c.Retransmits = binary.NativeEndian.Uint32(info[tcpiTotalRetrans:])
	c.Sent = binary.NativeEndian.Uint64(info[tcpiBytesAcked:])
	c.Received = binary.NativeEndian.Uint64(info[tcpiBytesReceived:])
	return c, true, nil
}

// diagAttr returns the payload of the first netlink attribute of this kind,
// nil if there is none (struct nlattr, netlink(7)).
func diagAttr(b []byte, kind uint16) []byte {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:]) == kind {
			return b[4:n]
		}
		next := (n + 3) &^ 3
		if next > len(b) {
			return nil
		}
		b = b[next:]
	}
	return nil
}
