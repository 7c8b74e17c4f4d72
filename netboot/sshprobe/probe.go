// Package sshprobe tells whether a Pi's SSH server answers: it connects and
// reads the identification string of RFC 4253, section 4.2. It sends nothing
// and does not log in.
//
// OpenSSH 9.8 and later punish an address that connects often without logging
// in (PerSourcePenalties, sshd_config(5)): stop probing a Pi, or probe it
// rarely, once it has answered.
package sshprobe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// DefaultTimeout bounds one whole probe, from the first SYN to the last byte.
const DefaultTimeout = 3 * time.Second

// Bounds of what is read. RFC 4253 bounds the identification to 255 bytes
// with its line end; the lines before it are ours to bound.
const (
	maxIdentification = 255
	maxLines          = 32
	maxBytes          = 4 << 10
)

// ErrNotSSH means that something answered, but not an SSH 2 server.
var ErrNotSSH = errors.New("not an SSH 2 server")

// Probe connects to addr and returns the server's identification string
// without its line end, such as "SSH-2.0-OpenSSH_9.2p1 Debian-2". It is
// printable ASCII of at most 253 bytes, and the words of an untrusted host.
// The probe takes at most [DefaultTimeout], less if ctx ends sooner. Errors
// wrap [ErrNotSSH] or what the network said.
func Probe(ctx context.Context, addr netip.AddrPort) (banner string, err error) {
	return ProbeFrom(ctx, netip.Addr{}, addr)
}

// ProbeFrom is [Probe] from one of the server's own addresses, as a segment
// needs it. The zero source leaves the choice to the kernel.
func ProbeFrom(ctx context.Context, source netip.Addr, addr netip.AddrPort) (banner string, err error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	banner, err = probe(ctx, source, addr)
	if err != nil {
		return "", fmt.Errorf("sshprobe: %s: %w", addr, err)
	}
	return banner, nil
}

func probe(ctx context.Context, source netip.Addr, addr netip.AddrPort) (string, error) {
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	banner, err := readIdentification(c)
	if ctx.Err() != nil && !errors.Is(err, ErrNotSSH) && err != nil {
		return "", fmt.Errorf("connected, but no identification: %w", ctx.Err())
	}
	return banner, err
}

// readIdentification reads lines until one starts with "SSH-".
func readIdentification(r io.Reader) (string, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxBytes), maxBytes)
	for range maxLines {
		line, err := in.ReadString('\n')
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && line == "":
			return "", fmt.Errorf("connection closed without identification: %w", io.ErrUnexpectedEOF)
		case errors.Is(err, io.EOF):
			return "", fmt.Errorf("%w: line without end: %.60q", ErrNotSSH, line)
		default:
			return "", err
		}
		if strings.HasPrefix(line, "SSH-") {
			return parseIdentification(line)
		}
	}
	return "", fmt.Errorf("%w: %d lines without identification", ErrNotSSH, maxLines)
}

// parseIdentification checks SSH-protoversion-softwareversion SP comments CR
// LF. A missing CR is taken, as RFC 4253, section 4.2, advises.
func parseIdentification(line string) (string, error) {
	if len(line) > maxIdentification {
		return "", fmt.Errorf("%w: identification of %d bytes", ErrNotSSH, len(line))
	}
	id := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: identification %.60q is not printable", ErrNotSSH, id)
	}
	version, software, _ := strings.Cut(strings.TrimPrefix(id, "SSH-"), "-")
	software, _, _ = strings.Cut(software, " ")
	if version != "2.0" && version != "1.99" || software == "" {
		return "", fmt.Errorf("%w: identification %.60q", ErrNotSSH, id)
	}
	return id, nil
}
