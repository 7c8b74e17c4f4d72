package nfstest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Cables makes two Pis, each in a network namespace of its own and on a veth
// pair of its own, whose other end has the server's address in the namespace
// that the test is in. It needs root.
func Cables(t *testing.T) *[2]Pi {
	t.Helper()
	var pis [2]Pi
	for i, c := range []struct{ name, server, pi string }{
		{"nfstest-a", "10.78.0.1/30", "10.78.0.2/30"}, {"nfstest-b", "10.78.0.5/30", "10.78.0.6/30"},
	} {
		server, pi := netip.MustParsePrefix(c.server), netip.MustParsePrefix(c.pi)
		ns := cable(t, c.name, server, pi)
		pis[i] = Pi{Addr: pi.Addr(), Server: server.Addr(), Dial: func(ctx context.Context, port uint16) (conn net.Conn, err error) {
			err = inNamespace(ns, func() error {
				conn, err = dialReserved(ctx, pi.Addr(), netip.AddrPortFrom(server.Addr(), port))
				return err
			})
			return conn, err
		}}
	}
	return &pis
}

// inNamespace runs f on a thread of its own in a namespace, or in a fresh one.
func inNamespace(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		var err error
		if ns.IsOpen() {
			err = netns.Set(ns)
		} else {
			err = unix.Unshare(unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func cable(t *testing.T, name string, server, pi netip.Prefix) netns.NsHandle {
	t.Helper()
	ns := netns.None()
	must(t, "namespace", inNamespace(ns, func() (err error) {
		ns, err = netns.Get()
		return err
	}))
	t.Cleanup(func() { _ = ns.Close() })
	must(t, "veth", netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}))
	t.Cleanup(func() {
		if link, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(link)
		}
	})
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, "namespace", err)
	defer inside.Close()
	here, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, "namespace", err)
	defer here.Close()
	must(t, "veth", errors.Join(address(here, name, server), address(inside, "eth0", pi)))
	return ns
}

func address(h *netlink.Handle, name string, p netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
	return errors.Join(h.AddrAdd(link, addr), h.LinkSetUp(link))
}
