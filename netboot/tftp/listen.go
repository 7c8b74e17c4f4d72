package tftp

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// readBuffer holds, in octets, the requests of a rack of Pis that all start at
// once. The system counts about 1 KB for each.
const readBuffer = 1 << 20

// Listen opens a UDP socket for requests at addr, such as "0.0.0.0:69". If device
// is not empty, only packets that arrive on that network interface are received
// (SO_BINDTODEVICE, which an ordinary user may set).
//
// With an unspecified address one socket serves every address of the machine,
// or of the device: replies come from the address that was asked.
func Listen(ctx context.Context, addr, device string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = setOptions(int(fd), device) }); cerr != nil {
			return cerr
		}
		return err
	}}
	c, err := lc.ListenPacket(ctx, "udp4", addr)
	if err != nil {
		return nil, fmt.Errorf("tftp: listen at %s on device %q: %w", addr, device, err)
	}
	if u, ok := c.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(readBuffer) // As much of it as the system allows.
	}
	return c, nil
}

// setOptions prepares a socket before it is bound. The system notes the interface
// of a packet when it arrives, not when it is read: asked for only by Serve, it
// would be lost for what came before.
func setOptions(fd int, device string) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return err
	}
	if device == "" {
		return nil
	}
	return unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
}
