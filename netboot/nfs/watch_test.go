package nfs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// dialFrom opens a connection to l with a source address of its own.
func dialFrom(tb testing.TB, l net.Listener, dst, src string) net.Conn {
	tb.Helper()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(src)}}
	c, err := d.Dial("tcp4", net.JoinHostPort(dst, port))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func listen(tb testing.TB) (net.Listener, uint16) {
	tb.Helper()
	l, err := Listen(context.Background(), netip.MustParseAddrPort("0.0.0.0:0"), "lo")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l, uint16(l.Addr().(*net.TCPAddr).Port)
}

// keepAccepting holds on to what it accepts, lest the collector close it.
func keepAccepting(tb testing.TB, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	tb.Cleanup(func() { l.Close(); <-done })
}

func TestWatchSeesRealConnections(t *testing.T) {
	l, port := listen(t)
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	c1 := dialFrom(t, l, "127.64.0.1", "127.64.0.2")
	s1 := <-accepted
	defer s1.Close()
	dialFrom(t, l, "127.64.0.1", "127.64.0.2")
	s2 := <-accepted
	defer s2.Close()
	dialFrom(t, l, "127.64.0.5", "127.64.0.6")
	s3 := <-accepted
	defer s3.Close()

	if _, err := c1.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s1, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := s1.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c1, make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	rounds := 0
	err := Watch(ctx, WatchConfig{Port: port, Every: time.Millisecond}, func(peers []Peer) {
		rounds++
		switch {
		case rounds > 2000:
			t.Errorf("after %d rounds still %+v", rounds, peers)
			cancel()
		case len(peers) == 2:
			// The acknowledgement of the last bytes may be some rounds away.
			p := peers[0]
			if p.Sent != 5000 {
				return
			}
			if p.Addr != netip.MustParseAddr("127.64.0.2") || p.Local != netip.MustParseAddr("127.64.0.1") || p.Conns != 2 || p.Received != 1000 {
				t.Errorf("peer %+v", p)
			}
			if p.RTT <= 0 || p.Since.Before(start) || p.Retransmits != 0 {
				t.Errorf("peer %+v", p)
			}
			s3.Close()
		case len(peers) == 1:
			if peers[0].Addr != netip.MustParseAddr("127.64.0.2") {
				t.Errorf("left %+v", peers)
			}
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchSinceAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		conn := Conn{Cookie: 7, Local: netip.MustParseAddrPort("127.64.0.1:2049"), Remote: netip.MustParseAddrPort("127.64.0.2:800")}
		errDump := errors.New("dump interrupted")
		round := 0
		var got [][]Peer
		err := Watch(t.Context(), WatchConfig{Port: 2049, Every: time.Second, query: func(uint16) ([]Conn, error) {
			round++
			switch {
			case round == 1:
				return nil, nil
			case round == 4, round > 6:
				return nil, errDump
			case round == 6:
				later := conn
				later.Cookie = 8
				return []Conn{later}, nil
			}
			return []Conn{conn}, nil
		}}, func(p []Peer) { got = append(got, p) })
		if !errors.Is(err, errDump) {
			t.Fatalf("err %v", err)
		}
		if want := start.Add(10 * time.Second); !time.Now().Equal(want) {
			t.Errorf("gave up at %v, want %v", time.Now(), want)
		}
		if len(got) != 5 || len(got[0]) != 0 {
			t.Fatalf("reports %v", got)
		}
		for i, since := range map[int]time.Duration{1: time.Second, 2: time.Second, 3: time.Second, 4: 5 * time.Second} {
			if !got[i][0].Since.Equal(start.Add(since)) {
				t.Errorf("report %d: since %v, want %v", i, got[i][0].Since.Sub(start), since)
			}
		}
	})
}

func TestWatchFailsAtOnce(t *testing.T) {
	want := errors.New("no inet_diag")
	err := Watch(t.Context(), WatchConfig{query: func(uint16) ([]Conn, error) { return nil, want }}, func([]Peer) { t.Error("reported") })
	if !errors.Is(err, want) {
		t.Fatalf("err %v", err)
	}
}

func TestListenUnknownDevice(t *testing.T) {
	if _, err := Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:0"), "no-such-if0"); !errors.Is(err, unix.ENODEV) {
		t.Fatalf("err %v", err)
	}
}

func FuzzParseDiag(f *testing.F) {
	l, port := listen(f)
	keepAccepting(f, l)
	dialFrom(f, l, "127.64.0.1", "127.64.0.2")
	seed := make([]byte, diagMsgLen+4+tcpiNeeded)
	seed[0] = unix.AF_INET
	seed[diagMsgLen], seed[diagMsgLen+2] = 4+tcpiNeeded, diagInfo
	f.Add(seed)
	f.Add(seed[:diagMsgLen])
	f.Add(diagRequest(unix.AF_INET6, port))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok, err := parseDiag(b)
		if ok && (err != nil || !c.Remote.IsValid()) {
			t.Fatalf("%+v %v", c, err)
		}
	})
}

func BenchmarkConnections1000(b *testing.B) {
	l, port := listen(b)
	keepAccepting(b, l)
	for i := range 1000 {
		seg := i / 2
		dialFrom(b, l, netip.AddrFrom4([4]byte{127, 64, byte(seg >> 6), byte(seg<<2 | 1)}).String(),
			netip.AddrFrom4([4]byte{127, 64, byte(seg >> 6), byte(seg<<2 | 2)}).String())
	}
	b.ReportAllocs()
	for b.Loop() {
		conns, err := Connections(port)
		if err != nil || len(conns) != 1000 {
			b.Fatalf("%d connections, %v", len(conns), err)
		}
	}
}
