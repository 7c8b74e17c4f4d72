package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"picloud/netboot/dhcp/wire"
)

// demoSegment is segment k of a simulated rack: the /30 at 127.64.0.0 + 4k.
func demoSegment(k int) (server, client netip.Addr) {
	base := uint32(127)<<24 | 64<<16 | uint32(4*k)
	at := func(n uint32) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return at(base + 1), at(base + 2)
}

// loopbackClients opens one socket on each segment, all on the same port.
func loopbackClients(t *testing.T, n int) (port uint16, conns []*net.UDPConn) {
	t.Helper()
	var err error
	for range 10 { // the port can be taken on a later address
		port, conns, err = tryClients(n)
		if err == nil {
			t.Cleanup(func() {
				for _, c := range conns {
					_ = c.Close()
				}
			})
			return port, conns
		}
	}
	t.Fatal(err)
	return 0, nil
}

func tryClients(n int) (port uint16, conns []*net.UDPConn, err error) {
	for k := range n {
		_, addr := demoSegment(k)
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
			return 0, nil, err
		}
		port = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		conns = append(conns, c)
	}
	return port, conns, nil
}

func listenLoopback(t testing.TB) *Conn {
	t.Helper()
	conn, err := Listen(t.Context(), ListenConfig{Addr: netip.MustParseAddrPort("0.0.0.0:0"), Device: "lo"})
	if errors.Is(err, ErrPermission) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// One socket serves segments of every family over the real loopback; each is
// answered from its own segment's address.
func TestLoopback(t *testing.T) {
	const segments = 40
	port, clients := loopbackClients(t, segments)
	conn := listenLoopback(t)
	serverPort := conn.Addr().Port()

	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	table := &mapTable{}
	for k := range segments {
		server, addr := demoSegment(k)
		table.rows = append(table.rows, row{lo.Index, server, MAC{0xb8, 0x27, 0xeb, 0, 0, byte(k)}, Reservation{
			Pi: fmt.Sprint("pi", k), Segment: fmt.Sprint("seg", k), Server: server, Addr: netip.PrefixFrom(addr, 30)}})
	}
	var mu sync.Mutex
	counts := map[Kind]int{}
	s, err := New(Config{
		Conn: conn, Table: table, Reply: ReplyUnicast, ClientPort: port,
		Delay: map[Family]time.Duration{Family3B: 20 * time.Millisecond},
		Nudge: Nudge{After: []time.Duration{10 * time.Millisecond, 25 * time.Millisecond}},
		Events: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			counts[e.Kind]++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()

	var wg sync.WaitGroup
	for k, c := range clients {
		wg.Go(func() { exchange(t, c, k, serverPort) })
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if counts[KindDiscover] != segments || counts[KindOffer] != segments || len(counts) != 2 {
		t.Errorf("events %v", counts)
	}
}

func exchange(t *testing.T, c *net.UDPConn, k int, serverPort uint16) {
	server, addr := demoSegment(k)
	mac := MAC{0xb8, 0x27, 0xeb, 0, 0, byte(k)}
	discover := [][]byte{
		wire.Discover(wire.ROMTransactionID, mac, wire.ParameterList3B, wire.GUID3B),
		wire.Discover(wire.ROMTransactionID, mac, wire.ParameterList3BPlus, serialGUID(uint32(k))),
		wire.Discover(wire.ROMTransactionID, mac, wire.ParameterListEEPROM, eepromGUID(wire.FourCC4, 0xa03111, mac, 1)),
	}[k%3]
	to := netip.AddrPortFrom(server, serverPort)
	if _, err := c.WriteToUDPAddrPort(discover, to); err != nil {
		t.Error(err)
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 1500)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Errorf("segment %d: %v", k, err)
		return
	}
	if from != to {
		t.Errorf("segment %d: answered by %v, want %v", k, from, to)
	}
	if got, _ := netip.AddrFromSlice(buf[:n][wire.OffYIAddr:][:4]); got != addr {
		t.Errorf("segment %d: offered %v, want %v", k, got, addr)
	}
}

func TestListenErrors(t *testing.T) {
	conn := listenLoopback(t)
	defer conn.Close()
	for _, tt := range []struct {
		name string
		cfg  ListenConfig
		want error
		hint string
	}{
		{"a second server", ListenConfig{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), conn.Addr().Port()), Device: "lo"}, ErrPortTaken, "another DHCP server"},
		{"no such interface", ListenConfig{Addr: netip.MustParseAddrPort("0.0.0.0:0"), Device: "nosuch0"}, ErrNoDevice, "ip link"},
	} {
		c, err := Listen(t.Context(), tt.cfg)
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.hint) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestWriteToRefuses(t *testing.T) {
	conn := listenLoopback(t)
	defer conn.Close()
	for _, out := range []Egress{
		{},
		{IfIndex: 1, Src: netip.IPv6Loopback(), Dst: netip.MustParseAddrPort("[::1]:68")},
		{IfIndex: 1, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddrPort("127.0.0.1:68")},
	} {
		if err := conn.WriteTo([]byte("x"), out); err == nil || !strings.HasPrefix(err.Error(), "dhcp: send to") {
			t.Errorf("%+v: %v", out, err)
		}
	}
}

// BenchmarkServe is one DISCOVER and its OFFER through the real server and
// sockets, with the client's own share of the work.
func BenchmarkServe(b *testing.B) {
	port, clients, err := tryClients(1)
	if err != nil {
		b.Fatal(err)
	}
	defer clients[0].Close()
	conn := listenLoopback(b)
	server, addr := demoSegment(0)
	s, err := New(Config{
		Conn: conn, Reply: ReplyUnicast, ClientPort: port,
		Table: &mapTable{rows: []row{{1, server, mac4, Reservation{
			Segment: "seg0", Server: server, Addr: netip.PrefixFrom(addr, 30)}}}},
		Limits: Limits{Rate: 1e9, Burst: 1e9},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	to := netip.AddrPortFrom(server, conn.Addr().Port())
	buf := make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := clients[0].WriteToUDPAddrPort(discover4, to); err != nil {
			b.Fatal(err)
		}
		if _, _, err := clients[0].ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
