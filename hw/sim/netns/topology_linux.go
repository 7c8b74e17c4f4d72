package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// BaseNet returns the first address of the first segment: segment k is the /30 at
// BaseNet + 4*k, whose first host is the server and whose second the Pi.
func BaseNet() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, 0}) }

// PiInterface is the name of the interface in every Pi's namespace.
const PiInterface = "eth0"

// maxSegments keeps the addresses within 10.77.0.0/16.
const maxSegments = 1 << 14

// Segment is the cable to one Pi.
type Segment struct {
	Name string
	// NS is the Pi's namespace; Namespace its name, for "ip netns exec".
	NS        netns.NsHandle
	Namespace string
	// ServerInterface is the server's end, which has the address Server.
	ServerInterface string
	Server          netip.Prefix
	// Pi is the Pi's address. It is not set on the interface: the Pi gets it by DHCP.
	Pi netip.Addr
}

// Topology is a server's namespace and a segment for each Pi.
type Topology struct {
	// Server is the server's namespace; ServerNamespace its name.
	Server          netns.NsHandle
	ServerNamespace string
	Segments        []Segment

	made []string // names of namespaces to delete
}

// topologies counts those made by this process, so that names differ.
var topologies atomic.Uint32

// NewTopology makes the namespaces and cables, one for each name. Close removes
// them. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func NewTopology(names ...string) (_ *Topology, err error) {
	if len(names) == 0 || len(names) > maxSegments {
		return nil, fmt.Errorf("netns: new topology: %d segments, want 1 to %d", len(names), maxSegments)
	}
	t := &Topology{Server: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("netns: new topology: %w", err), t.Close())
		}
	}()
	prefix := fmt.Sprintf("picloud-%d-%d", os.Getpid(), topologies.Add(1))
	t.ServerNamespace = prefix + "-server"
	if t.Server, err = t.namespace(t.ServerNamespace); err != nil {
		return t, err
	}
	h, err := netlink.NewHandleAt(t.Server, unix.NETLINK_ROUTE)
	if err != nil {
		return t, err
	}
	defer h.Close()
	if err := up(h, "lo"); err != nil {
		return t, err
	}
	for k, name := range names {
		s, err := t.lay(h, k, name, prefix)
		t.Segments = append(t.Segments, s)
		if err != nil {
			return t, fmt.Errorf("segment %s: %w", name, err)
		}
	}
	return t, nil
}

// namespace makes a named namespace without staying in it.
func (t *Topology) namespace(name string) (netns.NsHandle, error) {
	h := netns.None()
	err := onOtherThread(func() (err error) {
		h, err = netns.NewNamed(name)
		return err
	})
	if err == nil {
		t.made = append(t.made, name)
	}
	return h, err
}

// onOtherThread runs f on a thread that ends with it, because f may leave it in
// another namespace.
func onOtherThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

// lay makes the k-th segment.
func (t *Topology) lay(server *netlink.Handle, k int, name, prefix string) (Segment, error) {
	s := Segment{
		Name: name, NS: netns.None(),
		Namespace: fmt.Sprintf("%s-%d", prefix, k), ServerInterface: fmt.Sprintf("seg%d", k),
	}
	first, second := hosts(k)
	s.Server, s.Pi = netip.PrefixFrom(first, 30), second
	var err error
	if s.NS, err = t.namespace(s.Namespace); err != nil {
		return s, err
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: s.ServerInterface},
		PeerName:  PiInterface, PeerNamespace: netlink.NsFd(s.NS),
	}
	if err := server.LinkAdd(veth); err != nil {
		return s, err
	}
	if err := quiet(t.Server, s.ServerInterface); err != nil {
		return s, err
	}
	link, err := server.LinkByName(s.ServerInterface)
	if err != nil {
		return s, err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: first.AsSlice(), Mask: net.CIDRMask(30, 32)}}
	return s, errors.Join(server.AddrAdd(link, addr), server.LinkSetUp(link))
}

// hosts returns the two addresses of segment k.
func hosts(k int) (server, pi netip.Addr) {
	b := BaseNet().As4()
	at := func(n int) netip.Addr {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(b[:])+uint32(4*k+n))
		return netip.AddrFrom4(a)
	}
	return at(1), at(2)
}

// quiet turns IPv6 off on an interface, so that captures hold what was sent on
// purpose only.
func quiet(ns netns.NsHandle, name string) error {
	return onOtherThread(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6"), []byte("1"), 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil // a kernel without IPv6
		}
		return err
	})
}

func up(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return h.LinkSetUp(link)
}

// Do runs f on a thread in the server's namespace. Sockets that f makes stay in
// it, whichever goroutine uses them later; goroutines that f starts do not run in
// it.
func (t *Topology) Do(f func() error) error {
	return onOtherThread(func() error {
		if err := netns.Set(t.Server); err != nil {
			return fmt.Errorf("netns: %w", err)
		}
		return f()
	})
}

// Close removes the namespaces and with them the cables.
func (t *Topology) Close() error {
	var errs []error
	for _, s := range t.Segments {
		errs = append(errs, closeHandle(s.NS))
	}
	errs = append(errs, closeHandle(t.Server))
	for _, name := range t.made {
		errs = append(errs, netns.DeleteNamed(name))
	}
	t.made = nil
	t.Segments, t.Server = nil, netns.None()
	return errors.Join(errs...)
}

func closeHandle(h netns.NsHandle) error {
	if !h.IsOpen() {
		return nil
	}
	return h.Close()
}
