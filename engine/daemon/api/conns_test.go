package api

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
)

// pipes is a listener whose connections come from addresses that a test gives.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

type from struct {
	net.Conn
	addr netip.AddrPort
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(f.addr) }

func (p pipes) dial(addr string) net.Conn {
	near, far := net.Pipe()
	p <- from{far, netip.MustParseAddrPort(addr)}
	return near
}

func TestConnectionsPerSource(t *testing.T) {
	in := make(pipes, maxPerSource+8)
	l := &perSource{Listener: in, open: map[netip.Prefix]int{}}
	var kept []net.Conn
	accept := func(addr string) (client, server net.Conn) {
		client = in.dial(addr)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	for range maxPerSource {
		_, c := accept("[2001:db8::1]:5000")
		kept = append(kept, c)
	}
	tooMuch := in.dial("[2001:db8::ffff]:5001") // of the same network
	_, other := accept("[2001:db8:0:1::1]:5000")
	if _, err := tooMuch.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many: %v", err)
	}
	for range 2 * maxPerSource { // a proxy on this host
		accept("127.0.0.1:5000")
	}
	_ = kept[0].Close()
	_ = kept[0].Close() // which counts once
	accept("[2001:db8::1]:5002")
	if n := l.open[sourceOf(netip.MustParseAddr("2001:db8::1"))]; n != maxPerSource {
		t.Errorf("%d count", n)
	}
	_ = other.Close()
	if len(l.open) != 1 {
		t.Errorf("sources: %v", l.open)
	}
}
