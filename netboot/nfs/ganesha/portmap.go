package ganesha

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// The portmapper (RFC 1833, section 3).
const (
	portmapAddress        = "127.0.0.1:111"
	portmapPort           = 111
	progPortmap           = 100000
	portmapSet            = 1
	portmapUnset          = 2
	portmapTimeout        = 5 * time.Second
	protocolTCP    uint32 = 6
)

// register tells the portmapper on which port a program is, in place of what it
// was told before.
func register(ctx context.Context, prog, vers uint32, port uint16) error {
	if err := unregister(ctx, prog, vers); err != nil {
		return err
	}
	done, err := portmap(ctx, portmapSet, prog, vers, protocolTCP, uint32(port))
	if err == nil && !done {
		err = fmt.Errorf("portmapper does not take program %d", prog)
	}
	return err
}

// unregister has the portmapper forget a program. One that it does not know is
// no error.
func unregister(ctx context.Context, prog, vers uint32) error {
	_, err := portmap(ctx, portmapUnset, prog, vers, 0, 0)
	return err
}

// portmap makes one call, and returns the boolean that is its result.
func portmap(ctx context.Context, proc uint32, args ...uint32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, portmapTimeout)
	defer cancel()
	c, err := dialReserved(ctx, netip.AddrFrom4([4]byte{127, 0, 0, 1}), portmapPort)
	if err != nil {
		return false, fmt.Errorf("portmapper: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	const number = 1
	call := append([]uint32{number, 0, 2, progPortmap, 2, proc, 0, 0, 0, 0}, args...)
	p := binary.BigEndian.AppendUint32(nil, lastFragment|uint32(4*len(call)))
	for _, v := range call {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	// An accepted reply with an empty verifier and a boolean.
	answer := make([]byte, 4+7*4)
	if err := exchange(c, p, answer); err != nil {
		return false, fmt.Errorf("portmapper: %w", err)
	}
	d := decoder{answer[4:]}
	if d.word() != number || d.word() != 1 || d.word() != 0 || d.word() != 0 || d.word() != 0 || d.word() != 0 {
		return false, fmt.Errorf("portmapper: refused: %x", answer[4:])
	}
	return d.word() != 0, nil
}

func exchange(c net.Conn, call, answer []byte) error {
	if _, err := c.Write(call); err != nil {
		return err
	}
	_, err := io.ReadFull(c, answer)
	return err
}
