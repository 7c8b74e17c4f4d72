package api

import (
	"net"
	"net/netip"
	"sync"
)

// maxPerSource is how many connections one source may have: an IPv4 address or
// an IPv6 /64. A proxy on this host may have all.
const maxPerSource = 128

// perSource closes what a source opens beyond its number.
type perSource struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Prefix]int
}

// Accept is net.Listener's.
func (p *perSource) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := peer(c)
		if addr.IsLoopback() {
			return c, nil
		}
		source := sourceOf(addr)
		if p.enter(source) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { p.leave(source) })}, nil
		}
		_ = c.Close()
	}
}

func peer(c net.Conn) netip.Addr {
	ap, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return ap.Addr().Unmap()
}

func (p *perSource) enter(source netip.Prefix) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[source] >= maxPerSource {
		return false
	}
	p.open[source]++
	return true
}

func (p *perSource) leave(source netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[source]--; p.open[source] == 0 {
		delete(p.open, source)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close is net.Conn's.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
