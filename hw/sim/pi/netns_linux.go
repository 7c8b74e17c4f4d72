package pi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NetNS is a NIC that is an Ethernet interface, such as a veth end, in a network
// namespace of the Pi's own. It needs CAP_NET_ADMIN, CAP_NET_RAW and
// CAP_SYS_ADMIN. DHCP is broadcast as raw frames; everything else goes through
// the namespace's own network stack.
type NetNS struct {
	ns     netns.NsHandle
	handle *netlink.Handle
	link   netlink.Link
	mac    net.HardwareAddr
	addr   netip.Addr
}

// NewNetNS takes the interface of that name in the namespace, gives it the MAC
// address and brings it up without an IP address. The namespace stays the
// caller's and must outlive the NIC. Close releases the NIC.
func NewNetNS(ns netns.NsHandle, name string, mac net.HardwareAddr) (*NetNS, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("pi: interface %s: %w", name, err)
	}
	n := &NetNS{ns: ns, handle: h, mac: mac}
	if n.link, err = h.LinkByName(name); err == nil {
		err = errors.Join(h.LinkSetDown(n.link), h.LinkSetHardwareAddr(n.link, mac), n.quiet(), h.LinkSetUp(n.link))
	}
	if err == nil {
		err = n.Reset()
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("pi: interface %s: %w", name, err)
	}
	return n, nil
}

// Close releases the connection to the kernel. The interface stays.
func (n *NetNS) Close() { n.handle.Close() }

// in runs f on a thread that is in the namespace. Sockets that f makes stay there.
func (n *NetNS) in(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		// Never unlocked unless the thread is back where it was: a thread that is not
		// ends with its goroutine.
		old, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer old.Close()
		if err := netns.Set(n.ns); err != nil {
			done <- err
			return
		}
		err = f()
		if netns.Set(old) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// quiet keeps the kernel from sending IPv6 packets that a boot ROM would not.
func (n *NetNS) quiet() error {
	err := n.sysctl("ipv6", "disable_ipv6", "1")
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without IPv6
	}
	return err
}

// sysctl sets a variable of the interface.
func (n *NetNS) sysctl(family, name, value string) error {
	file := filepath.Join("/proc/sys/net", family, "conf", n.link.Attrs().Name, name)
	return n.in(func() error { return os.WriteFile(file, []byte(value), 0) })
}

// OpenDHCP implements NIC.
func (n *NetNS) OpenDHCP() (DHCPConn, error) {
	var conn *packet.Conn
	err := n.in(func() error {
		ifi, err := net.InterfaceByName(n.link.Attrs().Name)
		if err != nil {
			return err
		}
		conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pi: open dhcp: %w", err)
	}
	return &rawDHCP{conn: conn, mac: n.mac}, nil
}

// Configure implements NIC.
func (n *NetNS) Configure(a Addressing) error {
	if err := n.Reset(); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(a.Prefix)}
	if err := n.handle.AddrAdd(n.link, addr); err != nil {
		return fmt.Errorf("pi: configure %v: %w", a.Prefix, err)
	}
	n.addr = a.Prefix.Addr()
	route := &netlink.Route{LinkIndex: n.link.Attrs().Index}
	switch {
	case a.OnLink:
		route.Scope = netlink.SCOPE_LINK
		route.Dst = &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	case a.Gateway.IsValid() && !a.Gateway.IsUnspecified():
		route.Gw = a.Gateway.AsSlice()
	default:
		return nil
	}
	if err := n.handle.RouteReplace(route); err != nil {
		return fmt.Errorf("pi: configure %v: route: %w", a.Prefix, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// ListenUDP implements NIC.
func (n *NetNS) ListenUDP(port uint16, d Datagram) (conn *net.UDPConn, err error) {
	err = n.in(func() (err error) {
		conn, err = listenUDP(netip.AddrPortFrom(n.addr, port), d)
		return err
	})
	return conn, err
}

// Reserved ports that the kernel's RPC client takes by default
// (sunrpc.min_resvport and max_resvport).
const minReserved, maxReserved = 665, 1023

// DialTCP implements NIC. It connects from a reserved port, as the kernel's NFS
// client does, because an export is by default for those only (exports(5),
// "secure").
func (n *NetNS) DialTCP(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	const span = maxReserved - minReserved + 1
	first := rand.IntN(span)
	for i := range span {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: n.addr.AsSlice(), Port: minReserved + (first+i)%span}}
		err = n.in(func() (err error) {
			conn, err = d.DialContext(ctx, "tcp4", to.String())
			return err
		})
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
	}
	return nil, err
}

// ListenTCP implements NIC.
func (n *NetNS) ListenTCP(ctx context.Context, port uint16) (l net.Listener, err error) {
	err = n.in(func() (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(ctx, "tcp4", netip.AddrPortFrom(n.addr, port).String())
		return err
	})
	return l, err
}

// AnswerARP implements NIC: arp_ignore 8 means to answer for no address (kernel
// documentation networking/ip-sysctl).
func (n *NetNS) AnswerARP(on bool) error {
	value := "8"
	if on {
		value = "0"
	}
	if err := n.sysctl("ipv4", "arp_ignore", value); err != nil {
		return fmt.Errorf("pi: answer arp: %w", err)
	}
	return nil
}

// Reset implements NIC.
func (n *NetNS) Reset() error {
	addrs, err := n.handle.AddrList(n.link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("pi: reset interface: %w", err)
	}
	for _, a := range addrs {
		if err := n.handle.AddrDel(n.link, &a); err != nil {
			return fmt.Errorf("pi: reset interface: %w", err)
		}
	}
	n.addr = netip.Addr{}
	return n.AnswerARP(true)
}

// rawDHCP carries DHCP in whole Ethernet frames.
type rawDHCP struct {
	conn *packet.Conn
	mac  net.HardwareAddr
	buf  [1600]byte
}

func (d *rawDHCP) Broadcast(message []byte, style Datagram) error {
	_, err := d.conn.WriteTo(broadcastFrame(d.mac, message, style), &packet.Addr{HardwareAddr: broadcastMAC})
	return err
}

func (d *rawDHCP) Receive(buf []byte, deadline time.Time) (int, netip.Addr, error) {
	if err := d.conn.SetReadDeadline(deadline); err != nil {
		return 0, netip.Addr{}, err
	}
	for {
		n, _, err := d.conn.ReadFrom(d.buf[:])
		if err != nil {
			return 0, netip.Addr{}, err
		}
		frame := d.buf[:n]
		if !d.forUs(frame) {
			continue
		}
		payload, src := dhcpPayload(frame)
		return copy(buf, payload), src, nil
	}
}

// forUs reports whether the hardware would have received a frame: it is not the
// board's own, and it is to it or to all.
func (d *rawDHCP) forUs(frame []byte) bool {
	if len(frame) < etherLen || bytes.Equal(frame[6:12], d.mac) {
		return false
	}
	to := frame[:6]
	return bytes.Equal(to, d.mac) || bytes.Equal(to, broadcastMAC)
}

func (d *rawDHCP) Close() error { return d.conn.Close() }
