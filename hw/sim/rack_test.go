package sim_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/hw/sim"
	"picloud/hw/sim/pi"
	"picloud/hw/sim/poeswitch"
)

func newRack(t *testing.T, cfg sim.Config) *sim.Rack {
	t.Helper()
	r, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// sameAgents gives the agents' addresses, which the system chooses, one value.
func sameAgents(inv sim.Inventory) sim.Inventory {
	for i := range inv.Switches {
		inv.Switches[i].Addr = netip.AddrPort{}
	}
	return inv
}

func compareAddr(a, b netip.Addr) bool         { return a == b }
func compareAddrPort(a, b netip.AddrPort) bool { return a == b }

var addrs = cmp.Options{cmp.Comparer(compareAddr), cmp.Comparer(compareAddrPort)}

func TestSameSeedSameRack(t *testing.T) {
	a := sameAgents(newRack(t, sim.Config{Seed: 5}).Inventory())
	b := sameAgents(newRack(t, sim.Config{Seed: 5}).Inventory())
	if d := cmp.Diff(a, b, addrs); d != "" {
		t.Error(d)
	}
	if c := sameAgents(newRack(t, sim.Config{Seed: 6}).Inventory()); cmp.Equal(a, c, addrs) {
		t.Error("another seed gives the same rack")
	}
}

func TestDefaultRack(t *testing.T) {
	inv := newRack(t, sim.Config{}).Inventory()
	if inv.Rack != "a3" || len(inv.Switches) != 2 || len(inv.Pis) != 60 {
		t.Fatalf("%s: %d switches, %d Pis", inv.Rack, len(inv.Switches), len(inv.Pis))
	}
	models, macs, places, rented := map[string]int{}, map[[6]byte]bool{}, map[[2]any]bool{}, 0
	for k, p := range inv.Pis {
		models[p.Model]++
		macs[p.MAC] = true
		places[[2]any{p.Switch, p.Port}] = true
		if p.Customer != "" {
			rented++
		}
		if base := uint32(4 * k); p.Server.As4()[3] != byte(base)+1 || p.Addr != p.Server.Next() {
			t.Errorf("%s has %v and %v", p.Name, p.Server, p.Addr)
		}
	}
	if want := map[string]int{"3B": 12, "3B+": 12, "4B": 24, "5": 12}; !maps.Equal(models, want) {
		t.Errorf("models %v, want %v", models, want)
	}
	if len(macs) != 60 || len(places) != 60 || rented != 20 {
		t.Errorf("%d MAC addresses, %d ports, %d rented", len(macs), len(places), rented)
	}
}

func TestSwitchesAreAdded(t *testing.T) {
	inv := newRack(t, sim.Config{Pis: 500}).Inventory()
	if len(inv.Switches) != 11 || len(inv.Pis) != 500 {
		t.Errorf("%d switches for %d Pis", len(inv.Switches), len(inv.Pis))
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  sim.Config
		want error
	}{
		{"no Pis", sim.Config{Pis: -1}, sim.ErrConfig},
		{"too many Pis", sim.Config{Pis: sim.MaxPis + 1}, sim.ErrConfig},
		{"ports", sim.Config{PortsPerSwitch: poeswitch.MaxPorts + 1}, sim.ErrConfig},
		{"speed", sim.Config{Speed: -1}, sim.ErrConfig},
		{"base", sim.Config{BaseNet: netip.MustParseAddr("127.64.0.1")}, sim.ErrConfig},
		{"end of addresses", sim.Config{BaseNet: netip.MustParseAddr("255.255.255.240")}, sim.ErrConfig},
		{"unknown fault", sim.Config{Faults: map[string]int{"rust": 1}}, pi.ErrUnknownFault},
		{"faults below 0", sim.Config{Faults: map[string]int{pi.NoSSH: -1}}, sim.ErrConfig},
		{"more faults than Pis", sim.Config{Pis: 2, Faults: map[string]int{pi.NoSSH: 2, pi.NoLink: 1}}, sim.ErrConfig},
		{"more faults than Pis that can have it", sim.Config{Pis: 10, Faults: map[string]int{pi.EEPROMHang: 10}}, sim.ErrConfig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := sim.New(tt.cfg); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFaultsAreDealt(t *testing.T) {
	faults := map[string]int{}
	for _, name := range sim.FaultNames() {
		faults[name] = 2
	}
	faults[pi.EEPROMHang] = 6 // as many as a rack of 60 has place for beside the rest
	r := newRack(t, sim.Config{Seed: 3, Faults: faults})
	got := map[string]int{}
	for _, p := range r.Inventory().Pis {
		u, err := r.Pi(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		if f := u.Fault(); f != "" {
			got[f]++
		}
		if swapped := [6]byte(u.Board().MAC) != p.MAC; swapped != (u.Fault() == pi.Swapped) {
			t.Errorf("%s with fault %q has another MAC: %t", p.Name, u.Fault(), swapped)
		}
	}
	if !maps.Equal(got, faults) {
		t.Errorf("faults %v, want %v", got, faults)
	}
}

// New Pis are in the inventory by their place alone, and they have the faults that
// an examination finds.
func TestNewPis(t *testing.T) {
	r := newRack(t, sim.Config{Pis: 12, New: 3, Rented: 1, Faults: map[string]int{pi.BadMemory: 1, pi.TooHot: 1, pi.NoSSH: 9}})
	got := map[string]int{}
	for i, p := range r.Inventory().Pis {
		u, err := r.Pi(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		fresh := i >= 9
		if known := p.MAC == [6]byte(u.Board().MAC) && p.Serial == u.Board().Serial && p.Model != "" && p.MemoryMB != 0 && p.Customer != ""; known == fresh {
			t.Errorf("new %t: %+v", fresh, p)
		}
		if fresh && (p.MAC != [6]byte{} || p.Serial != 0 || p.Model != "" || p.Switch == "" || p.Customer != "") {
			t.Errorf("new: %+v", p)
		}
		if u.Fault() == pi.NoSSH == fresh {
			t.Errorf("new %t: fault %s", fresh, u.Fault())
		}
		got[u.Fault()]++
	}
	if got[pi.BadMemory] != 1 || got[pi.TooHot] != 1 || got[pi.NoSSH] != 9 {
		t.Errorf("faults %v", got)
	}
	for _, cfg := range []sim.Config{
		{Pis: 2, New: 3}, {Pis: 2, New: -1}, {Pis: 3, New: 1, Faults: map[string]int{pi.BadMemory: 2}}, {Pis: 3, New: 2, Faults: map[string]int{pi.NoSSH: 2}},
	} {
		if _, err := sim.New(cfg); !errors.Is(err, sim.ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestPlug(t *testing.T) {
	r := newRack(t, sim.Config{
		Pis: 1, Speed: 100, PoweredOn: true, BaseNet: netip.MustParseAddr("127.78.0.0"), Ports: sim.Ports{DHCPServer: 40067, DHCPClient: 40068},
	})
	name := r.Inventory().Pis[0].Name
	u, err := r.Pi(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, in := range []bool{true, false, true} {
		if err := r.Plug(name, in); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); (u.State().Stage != pi.StageOff) != in; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("plug %t: %+v", in, u.State())
			}
		}
	}
	if err := r.Plug("x", true); !errors.Is(err, sim.ErrNoPi) {
		t.Errorf("a plug that is not there: %v", err)
	}
}

func TestSetFault(t *testing.T) {
	r := newRack(t, sim.Config{})
	pis := r.Inventory().Pis
	old := slices.IndexFunc(pis, func(p sim.Pi) bool { return p.Model == "3B" })
	for _, tt := range []struct {
		pi, fault string
		want      error
	}{
		{"b7-001", pi.NoSSH, sim.ErrNoPi},
		{pis[old].Name, "rust", pi.ErrUnknownFault},
		{pis[old].Name, pi.EEPROMHang, pi.ErrConfig},
		{pis[old].Name, pi.Swapped, sim.ErrFixed},
		{pis[old].Name, pi.PoEFault, nil},
		{pis[old].Name, "", nil},
	} {
		if err := r.SetFault(tt.pi, tt.fault); !errors.Is(err, tt.want) {
			t.Errorf("SetFault(%q, %q): %v, want %v", tt.pi, tt.fault, err, tt.want)
		}
	}
	if _, err := r.Switch("sw9"); !errors.Is(err, sim.ErrNoSwitch) {
		t.Errorf("switch: %v", err)
	}
}

// With nobody to answer them the ROM boards give up and the others go on, each as
// its port is told; and everything is gone after Run.
func TestRunWithoutServer(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRack(t, sim.Config{
		Seed: 9, Pis: 20, Speed: 200,
		BaseNet: netip.MustParseAddr("127.77.0.0"), Ports: sim.Ports{DHCPServer: 40067, DHCPClient: 40068},
		Faults: map[string]int{pi.PoEFault: 1, pi.PoEDenied: 1, pi.PoELie: 1, pi.STPBlocked: 1, pi.NoLink: 1},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	inv := r.Inventory()
	for _, p := range inv.Pis {
		sw, err := r.Switch(p.Switch)
		if err != nil {
			t.Fatal(err)
		}
		if err := sw.SetPower(p.Port, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range inv.Pis {
		want := pi.StageDHCP
		u, err := r.Pi(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		switch f := u.Fault(); {
		case f == pi.PoEFault || f == pi.PoEDenied || f == pi.PoELie:
			want = pi.StageOff
		case f == pi.NoLink || p.Model == "3B" || p.Model == "3B+":
			want = pi.StageDead
		}
		eventually(t, func() bool { return u.State().Stage == want },
			func() any { return []any{p.Name, p.Model, u.Fault(), want, u.State()} })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= before }, func() any { return runtime.NumGoroutine() - before })
}

func eventually(t *testing.T, ok func() bool, what func() any) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %v", what())
		}
	}
}

// What follows the firmware can be the caller's, Pi by Pi.
func TestBootOfTheCaller(t *testing.T) {
	seen := map[string]bool{}
	newRack(t, sim.Config{Pis: 3, Boot: func(w sim.Wire) pi.Boot {
		seen[w.Name] = len(w.Board.MAC) == 6
		return func(context.Context, pi.Loaded) error { return nil }
	}})
	if want := map[string]bool{"a3-001": true, "a3-002": true, "a3-003": true}; !maps.Equal(seen, want) {
		t.Errorf("asked for %v, want %v", seen, want)
	}
}
