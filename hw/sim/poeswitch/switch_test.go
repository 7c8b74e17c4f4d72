package poeswitch

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosnmp/gosnmp"

	"picloud/hw/sim/snmpagent"
)

// bench is a switch without a socket in a bubble of time.
type bench struct {
	*Switch
	mu     sync.Mutex
	events []string
}

func (b *bench) power(port int, delivering bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, fmt.Sprintf("%d %v", port, delivering))
}

// saw compares and forgets the events so far.
func (b *bench) saw(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.events, want) {
		t.Errorf("power events %v, want %v", b.events, want)
	}
	b.events = nil
}

// detection is what SNMP says of a port.
func (b *bench) detection(n int) int {
	var d int
	_ = b.with(n, func(p *port) { d = p.detection })
	return d
}

func (b *bench) port(n int) port {
	var c port
	_ = b.with(n, func(p *port) { c = *p })
	return c
}

func simulate(t *testing.T, cfg Config, f func(*testing.T, *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bench)
		cfg.Name, cfg.ReadCommunity, cfg.OnPower = "sim", "public", b.power
		var err error
		if b.Switch, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		f(t, b)
		cancel()
		<-done
	})
}

func watts(w int) Device {
	return Device{Class: 4, Milliwatts: func() int { return w * 1000 }}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPowerOnAndOff(t *testing.T) {
	simulate(t, Config{Ports: 2}, func(t *testing.T, b *bench) {
		ok(t, b.Attach(1, watts(5)))
		time.Sleep(749 * time.Millisecond)
		b.saw(t)
		if b.detection(1) != detSearching || b.Delivering(1) {
			t.Error("power before detection was over")
		}
		time.Sleep(time.Millisecond)
		b.saw(t, "1 true")
		if b.detection(1) != detDelivering || b.detection(2) != detSearching {
			t.Errorf("detection %d and %d", b.detection(1), b.detection(2))
		}
		ok(t, b.SetLink(1, true))
		ok(t, b.SetPower(1, false))
		b.saw(t, "1 false")
		if b.detection(1) != detDisabled || b.Forwarding(1) {
			t.Error("off is not off")
		}
		ok(t, b.SetPower(1, true))
		ok(t, b.SetPower(1, true)) // again: nothing starts anew
		time.Sleep(750 * time.Millisecond)
		b.saw(t, "1 true")
		// The device leaves: the switch notices after a while.
		ok(t, b.Detach(1))
		b.saw(t)
		time.Sleep(350 * time.Millisecond)
		b.saw(t, "1 false")
		if p := b.port(1); p.detection != detSearching || p.mpsAbsent != 1 {
			t.Errorf("after detach: %+v", p)
		}
	})
}

func TestSpeed(t *testing.T) {
	simulate(t, Config{Ports: 1, Timing: Timing{Speed: 10, Detect: time.Second}}, func(t *testing.T, b *bench) {
		ok(t, b.Attach(1, watts(5)))
		time.Sleep(100 * time.Millisecond)
		b.saw(t, "1 true")
	})
}

// TestBudget: 70 W feed one device that may draw 30 W beside those that draw
// 20 W each; the third is denied until one leaves.
func TestBudget(t *testing.T) {
	simulate(t, Config{Ports: 3, BudgetWatts: 70}, func(t *testing.T, b *bench) {
		ok(t, b.Attach(1, watts(20)))
		time.Sleep(2 * time.Second)
		ok(t, b.Attach(2, watts(25)))
		time.Sleep(2 * time.Second)
		b.saw(t, "1 true", "2 true")
		ok(t, b.Attach(3, watts(5)))
		time.Sleep(5 * time.Second)
		b.saw(t)
		if p := b.port(3); p.denied == 0 || p.detection != detSearching {
			t.Errorf("denied %d times, detection %d", p.denied, p.detection)
		}
		ok(t, b.SetPower(1, false))
		time.Sleep(3 * time.Second)
		b.saw(t, "1 false", "3 true")
	})
}

// TestBudgetAtOnce powers many at the same instant: the reservations keep the
// sum within the budget though nothing is drawn yet.
func TestBudgetAtOnce(t *testing.T) {
	simulate(t, Config{Ports: 48, BudgetWatts: 100, Timing: Timing{Retry: time.Hour}}, func(t *testing.T, b *bench) {
		for n := 1; n <= 48; n++ {
			ok(t, b.Attach(n, watts(0)))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		delivering := 0
		for n := 1; n <= 48; n++ {
			if b.Delivering(n) {
				delivering++
			}
		}
		if delivering != 3 { // 30 W each
			t.Errorf("%d ports of 30 W from 100 W", delivering)
		}
	})
}

func TestFaultsAndLies(t *testing.T) {
	simulate(t, Config{Ports: 1}, func(t *testing.T, b *bench) {
		ok(t, b.Attach(1, watts(5)))
		time.Sleep(time.Second)
		b.saw(t, "1 true")
		for _, f := range []struct {
			fault     Fault
			detection int
		}{{Overload, detFault}, {Short, detFault}, {OtherFail, detOtherFault}} {
			ok(t, b.SetFault(1, f.fault))
			time.Sleep(time.Second)
			b.saw(t, "1 false")
			if d := b.detection(1); d != f.detection {
				t.Errorf("fault %d: detection %d, want %d", f.fault, d, f.detection)
			}
			ok(t, b.SetFault(1, NoFault))
			time.Sleep(time.Second)
			b.saw(t, "1 true")
		}
		if p := b.port(1); p.overload != 1 || p.short != 1 {
			t.Errorf("%d overloads, %d shorts", p.overload, p.short)
		}
		ok(t, b.SetDenied(1, true))
		b.saw(t, "1 false")
		ok(t, b.SetDenied(1, false))
		time.Sleep(time.Second)
		b.saw(t, "1 true")
		ok(t, b.SetPortLie(1, true))
		ok(t, b.SetPower(1, false))
		b.SetLie(true)
		ok(t, b.SetPortLie(1, false))
		ok(t, b.SetPower(1, false))
		b.saw(t)
		b.SetLie(false)
		ok(t, b.SetPower(1, false))
		b.saw(t, "1 false")
	})
}

func TestSpanningTreeAndAddresses(t *testing.T) {
	mac := net.HardwareAddr{0xb8, 0x27, 0xeb, 1, 2, 3}
	simulate(t, Config{Ports: 2}, func(t *testing.T, b *bench) {
		stations := func() int { b.Switch.mu.Lock(); defer b.Switch.mu.Unlock(); return len(b.stations) }
		ok(t, b.SetSTP(1, STP{Edge: false}))
		ok(t, b.SetLink(1, true))
		ok(t, b.SetLink(2, true))
		if b.Forwarding(1) || !b.Forwarding(2) {
			t.Error("an edge port forwards at once, another does not")
		}
		ok(t, b.Learn(1, mac))
		if stations() != 0 {
			t.Error("learned while listening")
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		ok(t, b.Learn(1, mac))
		if stations() != 1 || b.Forwarding(1) {
			t.Error("learning is not forwarding, but learns")
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if !b.Forwarding(1) {
			t.Error("not forwarding after 30 s")
		}
		ok(t, b.Learn(2, mac)) // it moves
		if stations() != 1 || b.stations[[6]byte(mac)].port != 2 {
			t.Error("the station did not move")
		}
		ok(t, b.SetLink(2, false))
		if stations() != 0 {
			t.Error("known beyond the link")
		}
		if err := b.Learn(1, net.HardwareAddr{1, 0, 0, 0, 0, 0}); err == nil {
			t.Error("a group address was learned")
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, cfg := range []Config{{}, {Name: "x"}, {Name: "x", Ports: MaxPorts + 1}, {Name: "x", Ports: 1, BudgetWatts: -1}, {Name: "x", Ports: 1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	simulate(t, Config{Ports: 2, Disabled: true}, func(t *testing.T, b *bench) {
		if b.detection(1) != detDisabled {
			t.Error("a port that starts disabled is not")
		}
		if b.Attach(0, Device{}) == nil || b.Attach(3, Device{}) == nil || b.Attach(1, Device{Class: 9}) == nil {
			t.Error("a port or class that there is not was taken")
		}
	})
}

// TestAgent reads tables through SNMP's bytes.
func TestAgent(t *testing.T) {
	tagged := func(n int) []int { return map[int][]int{3: {20}}[n] }
	simulate(t, Config{Ports: 3, IfIndexOffset: 100, VLAN: func(n int) int { return 10 * n }, Tagged: tagged}, func(t *testing.T, b *bench) {
		ok(t, b.Attach(2, watts(7)))
		ok(t, b.SetLink(2, true))
		ok(t, b.Learn(2, net.HardwareAddr{0xb8, 0x27, 0xeb, 1, 2, 3}))
		time.Sleep(time.Second)
		for oid, want := range map[string]any{
			"1.3.6.1.2.1.1.5.0":                               []byte("sim"),
			"1.3.6.1.2.1.1.3.0":                               uint32(100),
			"1.3.6.1.2.1.105.1.1.1.6.1.2":                     detDelivering,
			"1.3.6.1.2.1.105.1.1.1.10.1.2":                    5,
			"1.3.6.1.2.1.105.1.3.1.1.2.1":                     uint(90),
			"1.3.6.1.2.1.105.1.3.1.1.4.1":                     uint(7),
			"1.3.6.1.4.1.9.6.1.101.108.1.1.5.1.2":             7000,
			"1.3.6.1.2.1.2.2.1.8.102":                         1,
			"1.3.6.1.2.1.2.2.1.8.101":                         2,
			"1.3.6.1.2.1.31.1.1.1.1.102":                      []byte("gi1/0/2"),
			"1.3.6.1.2.1.17.1.4.1.2.2":                        102,
			"1.3.6.1.2.1.17.2.15.1.3.2":                       stpForwarding,
			"1.3.6.1.2.1.17.4.3.1.2.184.39.235.1.2.3":         2,
			"1.3.6.1.2.1.17.7.1.2.2.1.2.20.184.39.235.1.2.3":  2,
			"1.3.6.1.2.1.17.7.1.4.2.1.3.0.20":                 uint(20),
			"1.3.6.1.2.1.17.7.1.4.2.1.4.0.20":                 []byte{0b0111_0000},
			"1.3.6.1.2.1.17.7.1.4.2.1.5.0.20":                 []byte{0b0100_0000},
			"1.3.6.1.2.1.17.7.1.4.5.1.1.2":                    uint(20),
			"1.3.6.1.2.1.17.7.1.4.5.1.1.4":                    uint(1), // the uplink
			"1.3.6.1.2.1.17.2.15.1.3.4":                       stpForwarding,
			"1.3.6.1.2.1.2.2.1.8.104":                         1,
			"1.3.6.1.2.1.17.7.1.2.2.1.3.20.184.39.235.1.2.3":  3,
			"1.3.6.1.2.1.17.7.1.2.2.1.2.20.184.39.235.1.2.99": nil,
		} {
			if got := get(t, b, oid); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s = %v, want %v", oid, got, want)
			}
		}
		// Power that ends takes the rows of its stations away.
		ok(t, b.SetPower(2, false))
		if got := get(t, b, "1.3.6.1.2.1.17.4.3.1.2.184.39.235.1.2.3"); got != nil {
			t.Errorf("a station without power is at port %v", got)
		}
	})
}

func get(t *testing.T, b *bench, oid string) any {
	t.Helper()
	codec := gosnmp.GoSNMP{Version: gosnmp.Version2c}
	req := gosnmp.SnmpPacket{
		Version: gosnmp.Version2c, Community: "public", PDUType: gosnmp.GetRequest, RequestID: 1,
		Variables: []gosnmp.SnmpPDU{{Name: snmpagent.MustOID(oid).String(), Type: gosnmp.Null}},
	}
	message, err := req.MarshalMsg()
	ok(t, err)
	pkt, err := codec.SnmpDecodePacket(b.agent.Answer(message))
	ok(t, err)
	return pkt.Variables[0].Value
}

// TestStopped: nothing happens after the end.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bench)
		sw, err := New(Config{Name: "sim", Ports: 1, ReadCommunity: "public", OnPower: b.power})
		ok(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ok(t, sw.Attach(1, watts(5)))
		cancel()
		sw.Run(ctx)
		time.Sleep(time.Minute)
		if sw.Delivering(1) || len(b.events) != 0 {
			t.Errorf("power after the end: %v", b.events)
		}
	})
}
