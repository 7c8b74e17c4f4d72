package hwtest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"picloud/hw/poe"
	"picloud/hw/sim/poeswitch"
)

const (
	loaded = 3
	empty  = 7
)

var mac = net.HardwareAddr{0xdc, 0xa6, 0x32, 1, 2, 3}

// simulated is a switch on loopback that runs until the test ends.
func simulated(t *testing.T, cfg poeswitch.Config) (*poeswitch.Switch, netip.AddrPort) {
	t.Helper()
	cfg.Name, cfg.ReadCommunity, cfg.WriteCommunity = "sim", "public", "private"
	cfg.Timing.Speed = 20
	sw, err := poeswitch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sw.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return sw, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func driver(t *testing.T, cfg poe.Config) *poe.SNMP {
	t.Helper()
	d, err := poe.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSimulatedSwitch(t *testing.T) {
	TestSwitch(t, func(t *testing.T) Harness {
		sw, addr := simulated(t, poeswitch.Config{Ports: 8, IfIndexOffset: 48})
		check(t, sw.Attach(loaded, poeswitch.Device{Class: 4, Milliwatts: func() int { return 2100 }}))
		check(t, sw.SetLink(loaded, true))
		check(t, sw.Learn(loaded, mac))
		d := driver(t, poe.Config{
			Name: "sim", Addr: addr, Community: "private", Profile: "cisco-smb",
			Timeout: 50 * time.Millisecond, Retries: 1, MinOff: 50 * time.Millisecond,
			ReadBack: 5 * time.Millisecond, OnLimit: 300 * time.Millisecond, OffLimit: 300 * time.Millisecond,
		})
		_, err := d.Poll(t.Context()) // finds the ports
		check(t, err)
		return Harness{
			Switch: d, Loaded: loaded, Empty: empty, MAC: [6]byte(mac),
			Silence: sw.SetSilent,
			Lie:     func(port int, lie bool) { check(t, sw.SetPortLie(port, lie)) },
			Fault: func(port int, fault bool) {
				f := poeswitch.NoFault
				if fault {
					f = poeswitch.Overload
				}
				check(t, sw.SetFault(port, f))
			},
			Deny:       func(port int, deny bool) { check(t, sw.SetDenied(port, deny)) },
			Delivering: sw.Delivering,
		}
	})
}

// TestRealSwitch switches a device off and on at a real switch:
//
//	PICLOUD_TEST_SWITCH=192.0.2.10:161,netgear,3,7 PICLOUD_TEST_COMMUNITY=private go test ./hw/hwtest -run Real -v
//
// The four parts are its address, its profile, a port with a device and an
// empty port (0 for none).
func TestRealSwitch(t *testing.T) {
	where := os.Getenv("PICLOUD_TEST_SWITCH")
	if where == "" {
		t.Skip("PICLOUD_TEST_SWITCH is not set")
	}
	parts := strings.Split(where, ",")
	if len(parts) != 4 {
		t.Fatalf("PICLOUD_TEST_SWITCH=%q: want ADDRESS:PORT,PROFILE,LOADED,EMPTY", where)
	}
	addr, err := netip.ParseAddrPort(parts[0])
	check(t, err)
	with, err := strconv.Atoi(parts[2])
	check(t, err)
	without, err := strconv.Atoi(parts[3])
	check(t, err)
	TestSwitch(t, func(t *testing.T) Harness {
		d := driver(t, poe.Config{
			Name: "real", Addr: addr, Profile: parts[1],
			Community: poe.Secret(os.Getenv("PICLOUD_TEST_COMMUNITY")),
		})
		_, err := d.Poll(t.Context())
		check(t, err)
		return Harness{Switch: d, Loaded: with, Empty: without}
	})
}

// A port that is off already may be powered at once after it was asked to be off
// again: it has rested. One that was on has to.
func TestOffAgainIsNoNewRest(t *testing.T) {
	sw, addr := simulated(t, poeswitch.Config{Ports: 8})
	check(t, sw.Attach(loaded, poeswitch.Device{Class: 4, Milliwatts: func() int { return 2100 }}))
	cfg := poe.Config{Name: "sim", Addr: addr, Community: "private", Profile: "cisco-smb", MinOff: time.Hour, ReadBack: 5 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	before, d := driver(t, cfg), driver(t, cfg)
	for _, d := range []*poe.SNMP{before, d} {
		_, err := d.Poll(ctx)
		check(t, err)
	}
	_, err := before.SetPower(ctx, loaded, false) // by somebody else
	check(t, err)
	for _, on := range []bool{false, false, true, false} {
		if s, err := d.SetPower(ctx, loaded, on); err != nil || s.On() != on {
			t.Fatalf("%t: %+v, %v", on, s, err)
		}
	}
	soon, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	if _, err := d.SetPower(soon, loaded, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("powered again at once: %v", err)
	}
}
