package webhook

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
)

func TestGuard(t *testing.T) {
	mine := &net.IPNet{IP: net.ParseIP("2a00:1098:8::1"), Mask: net.CIDRMask(64, 128)}
	four := &net.IPNet{IP: net.ParseIP("93.184.215.14"), Mask: net.CIDRMask(24, 32)}
	allow := []netip.Prefix{
		netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd00:1::/32"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("224.0.0.0/4"),
	}
	g := &guard{allow: allow, own: func() ([]net.Addr, error) { return []net.Addr{mine, four}, nil }}
	const refusedAll, tlsOnly, any = 0, 1, 2
	for addr, may := range map[string]int{
		"93.184.216.34": tlsOnly, "1.1.1.1": tlsOnly, "2606:2800:220:1::1": tlsOnly, "2a00:1098:8:64::1": tlsOnly,
		"::ffff:93.184.216.34": tlsOnly,
		// This computer's own.
		"2a00:1098:8::1": refusedAll, "93.184.215.14": refusedAll, "::ffff:93.184.215.14": refusedAll,
		"0.0.0.0": refusedAll, "0.1.2.3": refusedAll, "::": refusedAll,
		"127.0.0.1": refusedAll, "127.255.255.254": refusedAll, "::1": refusedAll, "::ffff:127.0.0.1": refusedAll,
		"10.0.0.1": refusedAll, "10.21.0.1": refusedAll, "172.16.0.1": refusedAll, "172.31.255.255": refusedAll, "192.168.1.1": refusedAll,
		"::ffff:10.0.0.1": refusedAll, "::ffff:192.168.0.1": refusedAll, "::10.0.0.1": refusedAll,
		"172.15.255.255": tlsOnly, "172.32.0.1": tlsOnly, "100.63.255.255": tlsOnly, "100.128.0.1": tlsOnly,
		"169.254.169.254": refusedAll, "::ffff:169.254.169.254": refusedAll, "fe80::1": refusedAll, "fe80::1%eth0": refusedAll, "2606:2800:220:1::1%eth0": refusedAll,
		"100.64.0.1": refusedAll, "100.127.255.255": refusedAll,
		"fc00::1": refusedAll, "fd00:ec2::254": refusedAll, "fec0::1": refusedAll,
		"224.0.0.1": refusedAll, "239.255.255.255": refusedAll, "ff02::1": refusedAll, "255.255.255.255": refusedAll, "240.0.0.1": refusedAll,
		"192.0.0.1": refusedAll, "192.0.2.1": refusedAll, "198.18.0.1": refusedAll, "198.51.100.1": refusedAll, "203.0.113.1": refusedAll,
		"2001:db8::1": refusedAll, "3fff::1": refusedAll, "2001::1": refusedAll, "2001:0:a00:1::": refusedAll, "2002:a00:1::1": refusedAll, "4000::1": refusedAll,
		"64:ff9b:1::a00:1": refusedAll,
		// Allowed, and what NAT64 would make of addresses that are not.
		"10.20.0.1": any, "::ffff:10.20.0.1": any, "fd00:1::1": any,
		"64:ff9b::5db8:d822": any, "64:ff9b::a00:1": refusedAll, "64:ff9b::7f00:1": refusedAll, "64:ff9b::a14:1": any, "64:ff9b::a9fe:a9fe": refusedAll,
	} {
		for i, tls := range []bool{true, false} {
			err := g.check(netip.MustParseAddr(addr), tls)
			var r *refused
			if ok := may > i; ok != (err == nil) || err != nil && !errors.As(err, &r) {
				t.Errorf("%s, TLS %t: %v", addr, tls, err)
			}
		}
	}
	none := &guard{own: g.own}
	for _, addr := range []string{"64:ff9b::5db8:d822", "10.20.0.1", "fd00:1::1"} {
		if none.check(netip.MustParseAddr(addr), true) == nil {
			t.Errorf("%s, and nothing is allowed", addr)
		}
	}
	blind := &guard{own: func() ([]net.Addr, error) { return nil, errors.New("no netlink") }}
	if blind.check(netip.MustParseAddr("1.1.1.1"), true) == nil {
		t.Error("the own addresses are not known, and it goes on")
	}
}

// TestOwnAddressesAreKnown asks this computer.
func TestOwnAddressesAreKnown(t *testing.T) {
	g := &guard{own: net.InterfaceAddrs}
	if g.notOwn(netip.MustParseAddr("127.0.0.1")) == nil {
		t.Error("127.0.0.1 is another's")
	}
}

// TestNoSocketToWhereItMayNotGo has real servers on loopback that must hear
// nothing, however they are called.
func TestNoSocketToWhereItMayNotGo(t *testing.T) {
	b := newBox(t)
	count := func(network, addr string) (string, func() int) {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		n := make(chan int, 1)
		go func() {
			heard := 0
			for {
				c, err := l.Accept()
				if err != nil {
					n <- heard
					return
				}
				heard++
				c.Close()
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port, func() int { l.Close(); return <-n }
	}
	port, heard := count("tcp4", "127.0.0.1:0")
	nine, heard9 := count("tcp4", "127.9.9.9:0")
	six, heard6 := count("tcp6", "[::1]:0")
	var hooks []string
	for name, to := range map[string]string{
		"loopback": "https://127.0.0.1:" + port, "another": "https://127.9.9.9:" + nine, "none": "https://0.0.0.0:" + port, "mapped": "https://[::ffff:127.0.0.1]:" + port,
		"six": "https://[::1]:" + six, "name": "https://localhost:" + port, "plain": "http://127.0.0.1:" + port, "plainname": "http://localhost:" + port,
	} {
		b.hook(name, to)
		hooks = append(hooks, name)
	}
	b.tell(1)
	stop := b.run(b.sender(nil))
	for _, name := range hooks {
		if d := b.settled(name, 1, 1); d.Error != "its address is not one that webhooks go to" || d.Status != 0 || d.Next.IsZero() {
			t.Errorf("%s: %+v", name, d)
		}
	}
	stop()
	if n := heard() + heard9() + heard6(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestPlainHTTPGoesToAllowedNetworksOnly and there it does.
func TestPlainHTTPGoesToAllowedNetworksOnly(t *testing.T) {
	b := newBox(t)
	r := newReceiver(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: r}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	b.hook("plain", "http://"+l.Addr().String())
	b.tell(1)
	stop := b.run(b.sender([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
	if d := b.settled("plain", 1, 1); d.Error == "" {
		t.Errorf("%+v", d)
	}
	stop()
	d := b.delivery("plain", 1)
	d.Next = d.Next.Add(-longestDelay)
	if err := b.store.SaveDelivery(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	b.run(b.sender(loopback))
	r.until(1)
	if d := b.settled("plain", 1, 2); d.Error != "" || d.Status != 204 || d.Done.IsZero() || !d.Next.IsZero() {
		t.Errorf("%+v", d)
	}
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	c := newClient(nil, nil, "")
	for _, h := range []*http.Client{c.secure, c.plain} {
		if h.Transport.(*http.Transport).Proxy != nil {
			t.Error("it would have a proxy connect to what it may not")
		}
	}
}

// What could never be sent is refused when a webhook is added; what a name is
// looked up to, only when something is sent.
func TestCheck(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}
	for _, tt := range []struct {
		url   string
		allow []netip.Prefix
		want  error
	}{
		{"https://example.org/hook", nil, nil},
		{"https://localhost/hook", nil, nil},
		{"http://example.org/hook", nil, ErrPlain},
		{"http://example.org/hook", allow, nil},
		{"https://93.184.216.34/hook", nil, nil},
		{"http://93.184.216.34/hook", allow, ErrAddress},
		{"https://127.0.0.1:9/hook", nil, ErrAddress},
		{"https://[::1]/hook", allow, ErrAddress},
		{"https://[::ffff:127.0.0.1]/hook", nil, ErrAddress},
		{"https://169.254.169.254/latest", nil, ErrAddress},
		{"https://10.20.3.4/hook", nil, ErrAddress},
		{"http://10.20.3.4/hook", allow, nil},
		{"https://10.21.3.4/hook", allow, ErrAddress},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(tt.allow)(u); !errors.Is(err, tt.want) {
			t.Errorf("%s with %v: %v, want %v", tt.url, tt.allow, err, tt.want)
		}
	}
}
