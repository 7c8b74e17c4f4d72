package nfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens a TCP socket for an NFS server. If device is not empty, the
// socket takes connections that arrive on this interface alone
// (SO_BINDTODEVICE, socket(7)), so that one socket on 0.0.0.0 can serve many
// addresses of one interface and nothing else. Port 0 picks a free port.
func Listen(ctx context.Context, addr netip.AddrPort, device string) (net.Listener, error) {
	lc := net.ListenConfig{}
	if device != "" {
		lc.Control = bindToDevice(device)
	}
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	l, err := lc.Listen(ctx, network, addr.String())
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = " (another NFS server has the port: stop it or choose another port)"
		}
		return nil, fmt.Errorf("nfs: listen %s: %w%s", addr, err, hint)
	}
	return l, nil
}

func bindToDevice(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var sockErr error
		if err := c.Control(func(fd uintptr) {
			sockErr = unix.BindToDevice(int(fd), device)
		}); err != nil {
			return err
		}
		if sockErr != nil {
			return fmt.Errorf("bind to interface %q: %w", device, sockErr)
		}
		return nil
	}
}
