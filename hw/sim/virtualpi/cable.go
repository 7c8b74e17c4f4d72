package virtualpi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Names of what is made in the Pi's namespace.
const (
	bridgeName = "br-guest"
	tapName    = "tap-guest"
)

// cable joins the Pi's end of its cable to a tap, behind which the guest's
// network card is.
type cable struct {
	handle *netlink.Handle
	port   netlink.Link // the Pi's end
	mac    net.HardwareAddr
	bridge netlink.Link
	tap    *os.File // not persistent: the interface ends with it
}

// join makes the tap and a bridge from it to the interface in the namespace. The
// interface gets another MAC address until Close, because the guest has the
// board's: a bridge keeps to itself what is sent to an address of its ports.
func join(ns netns.NsHandle, name string) (_ *cable, err error) {
	c := new(cable)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("join guest to %s: %w", name, err), c.Close())
		}
	}()
	if c.handle, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		return c, err
	}
	if c.port, err = c.handle.LinkByName(name); err != nil {
		return c, err
	}
	c.mac = c.port.Attrs().HardwareAddr
	if err := c.handle.LinkSetHardwareAddr(c.port, localMAC()); err != nil {
		return c, err
	}
	if err := in(ns, c.openTap); err != nil {
		return c, err
	}
	noSnooping := false
	c.bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}, MulticastSnooping: &noSnooping}
	if err := c.handle.LinkAdd(c.bridge); err != nil {
		c.bridge = nil
		return c, err
	}
	tap, err := c.handle.LinkByName(tapName)
	if err != nil {
		return c, err
	}
	for _, l := range []netlink.Link{c.port, tap} {
		if err := c.handle.LinkSetMaster(l, c.bridge); err != nil {
			return c, err
		}
	}
	for _, l := range []netlink.Link{tap, c.bridge} {
		if err := c.handle.LinkSetUp(l); err != nil {
			return c, err
		}
	}
	return c, nil
}

// openTap runs in the namespace, which new interfaces there must not speak IPv6
// in: only the guest does.
func (c *cable) openTap() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	c.tap = os.NewFile(uintptr(fd), tapName)
	req, err := unix.NewIfreq(tapName)
	if err != nil {
		return err
	}
	// With the header, checksums and segments may be left to the guest.
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	return os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
}

// localMAC makes up an address with the local bit.
func localMAC() net.HardwareAddr {
	a := make(net.HardwareAddr, 6)
	_, _ = rand.Read(a) // never fails
	a[0] = a[0]&^1 | 2
	return a
}

// Close takes the guest off the cable and gives the Pi's end its address back.
func (c *cable) Close() error {
	if c.handle == nil {
		return nil
	}
	defer c.handle.Close()
	var errs []error
	if c.tap != nil {
		errs = append(errs, c.tap.Close())
	}
	if c.bridge != nil {
		errs = append(errs, c.handle.LinkDel(c.bridge))
	}
	if c.port != nil {
		errs = append(errs, c.handle.LinkSetHardwareAddr(c.port, c.mac))
	}
	return errors.Join(errs...)
}

// in runs f on a thread in the namespace, which ends with it.
func in(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}
