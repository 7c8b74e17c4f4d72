package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
)

// ClientPorts are the ports that the simulated Pis use at their own addresses, and
// the one that they report to at the server's.
type ClientPorts struct{ DHCP, SSH, Report uint16 }

// FreePorts finds ports that nothing holds now, and that the system gives to no
// connection: what a closed one leaves behind would keep its port from being
// listened at for a minute, at the address of one Pi and not at another's.
func FreePorts(ctx context.Context) (ClientPorts, error) {
	p, err := FreePortsOf(ctx, 3)
	if err != nil {
		return ClientPorts{}, err
	}
	return ClientPorts{DHCP: p[0], SSH: p[1], Report: p[2]}, nil
}

// FreePortsOf finds so many ports like that, for UDP and TCP at any address.
func FreePortsOf(ctx context.Context, n int) ([]uint16, error) {
	first, err := firstEphemeral()
	if err != nil {
		return nil, err
	}
	var held []io.Closer
	defer func() {
		for _, c := range held {
			_ = c.Close() // it was only to be seen that it can be had
		}
	}()
	ports := make([]uint16, n)
	for i := range ports {
		p, c, err := freeBelow(ctx, first)
		if err != nil {
			return nil, err
		}
		ports[i], held = p, append(held, c...)
	}
	return ports, nil
}

// ephemeralRange has the ports that connections get (Linux,
// Documentation/networking/ip-sysctl.rst, "ip_local_port_range").
const ephemeralRange = "/proc/sys/net/ipv4/ip_local_port_range"

func firstEphemeral() (int, error) {
	b, err := os.ReadFile(ephemeralRange)
	if err != nil {
		return 0, err
	}
	var first, last int
	if _, err := fmt.Sscan(string(b), &first, &last); err != nil {
		return 0, fmt.Errorf("%s: %w", ephemeralRange, err)
	}
	return first, nil
}

// Bounds of the search: ports above those that services have by custom, and so
// many tries.
const (
	leastPort = 12_000
	portTries = 100
)

// freeBelow finds a port below first, for UDP and TCP, and holds it.
func freeBelow(ctx context.Context, first int) (port uint16, held []io.Closer, err error) {
	if first <= leastPort {
		return 0, nil, fmt.Errorf("connections get ports from %d on: make %s begin above %d", first, ephemeralRange, leastPort)
	}
	for range portTries {
		port = uint16(leastPort + rand.IntN(first-leastPort))
		if held, err = hold(ctx, port); err == nil {
			return port, held, nil
		}
	}
	return 0, nil, err
}

func hold(ctx context.Context, port uint16) ([]io.Closer, error) {
	var lc net.ListenConfig
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), port).String() // then it is free at every Pi's
	udp, err := lc.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, err
	}
	tcp, err := lc.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	return []io.Closer{udp, tcp}, nil
}
