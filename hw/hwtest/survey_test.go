package hwtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/hw/poe"
	"picloud/hw/sim/poeswitch"
)

// surveyed is a switch with a Pi at port 1, nothing at port 2, an access point
// at port 3, and a core switch at the uplink.
func surveyed(t *testing.T) (*poeswitch.Switch, poe.Config) {
	t.Helper()
	sw, addr := simulated(t, poeswitch.Config{
		Ports: 3, IfIndexOffset: 48, VLAN: func(n int) int { return 100 + n },
		Tagged: func(n int) []int { return map[int][]int{3: {7, 8}}[n] },
		Alias:  func(n int) string { return map[int]string{1: "a3-001 \x1b[31mrack"}[n] },
	})
	for _, n := range []int{1, 3} {
		check(t, sw.Attach(n, poeswitch.Device{Class: 4, Milliwatts: func() int { return 2100 }}))
		check(t, sw.SetLink(n, true))
	}
	check(t, sw.Learn(1, net.HardwareAddr{0xb8, 0x27, 0xeb, 1, 2, 3}))
	for i := range poe.MaxStations + 2 {
		check(t, sw.Learn(3, net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}))
	}
	check(t, sw.SetNeighbour(3, &poeswitch.Neighbour{
		Chassis: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Port: "eth0", SysName: "ap\x1b]0;x\x07", SysDesc: "access point", Bridge: true,
	}))
	check(t, sw.SetNeighbour(4, &poeswitch.Neighbour{
		Chassis: net.HardwareAddr{2, 0, 0, 0, 1, 1}, Port: "Te1/0/7", PortDesc: "to a3", SysName: "core1", SysDesc: "core", Router: true,
	}))
	waitOn(t, sw, 1, 3)
	return sw, poe.Config{Name: "sim", Addr: addr, Community: "public", Profile: poe.ProfileAuto, Timeout: 200 * time.Millisecond, Retries: 1}
}

// waitOn waits until ports deliver power.
func waitOn(t *testing.T, sw *poeswitch.Switch, ports ...int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(ports, func(n int) bool { return !sw.Delivering(n) }) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the simulated switch gives no power")
		}
	}
}

func TestLookAt(t *testing.T) {
	sw, cfg := surveyed(t)
	s, err := poe.LookAt(t.Context(), cfg)
	check(t, err)
	if s.SysName != "sim" || s.Profile != "cisco-smb" || s.Why != "it has that vendor's table of watts" || s.ObjectID != ".1.3.6.1.4.1.32473.1.1" {
		t.Errorf("%q %q %q %q", s.SysName, s.Profile, s.Why, s.ObjectID)
	}
	if len(s.Ports) != 3 || len(s.Missing) != 0 {
		t.Fatalf("%+v", s)
	}
	one, two, three := s.Ports[0], s.Ports[1], s.Ports[2]
	if !one.State.On() || one.State.Milliwatts != 2100 || one.PVID != 101 || one.IfName != "gi1/0/1" || one.Alias != "a3-001 [31mrack" || len(one.Tagged) != 0 {
		t.Errorf("port 1: %+v", one)
	}
	if len(one.Stations) != 1 || one.Stations[0].HardwareAddr().String() != "b8:27:eb:01:02:03" || one.Stations[0].VLAN != 101 {
		t.Errorf("stations at port 1: %+v", one.Stations)
	}
	if two.State.On() || two.PVID != 102 || len(two.Stations) != 0 {
		t.Errorf("port 2: %+v", two)
	}
	if len(three.Stations) != poe.MaxStations || three.More != 2 {
		t.Errorf("port 3 has %d stations and %d more", len(three.Stations), three.More)
	}
	wantAP := []poe.Neighbour{{
		BridgePort: 3, LocalPort: "gi1/0/3", ChassisID: "02:00:00:00:00:09", PortID: "eth0",
		SysName: "ap]0;x", SysDesc: "access point", Forwards: true,
	}}
	if !slices.Equal(three.Neighbours, wantAP) {
		t.Errorf("neighbours at port 3: %+v", three.Neighbours)
	}
	if len(s.Elsewhere) != 1 || s.Elsewhere[0].SysName != "core1" || s.Elsewhere[0].LocalPort != "gi1/0/4" || !s.Elsewhere[0].Forwards {
		t.Errorf("elsewhere: %+v", s.Elsewhere)
	}
	check(t, sw.SetNeighbour(4, nil))
	check(t, sw.SetLink(3, false)) // takes its neighbour along
	cfg.Profile = "rfc3621"
	s, err = poe.LookAt(t.Context(), cfg)
	check(t, err)
	if len(s.Elsewhere)+len(s.Ports[2].Neighbours) != 0 || s.Why != "as asked for" || s.Ports[0].State.HasWatts {
		t.Errorf("%+v", s)
	}
	sw.SetSilent(true)
	if _, err := poe.LookAt(t.Context(), cfg); !errors.Is(err, poe.ErrNoAnswer) {
		t.Errorf("a silent switch: %v", err)
	}
}

// Net-SNMP's own client reads the simulated LLDP and forwarding tables.
func TestTablesWithNetSNMP(t *testing.T) {
	walk, err := exec.LookPath("snmpwalk")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("snmpwalk is not installed: apt-get install snmp")
	}
	if err != nil {
		t.Skip("snmpwalk is not installed: apt-get install snmp")
	}
	_, cfg := surveyed(t)
	for root, want := range map[string][]string{
		".1.0.8802.1.1.2.1.4.1.1": {
			".4.1.1.4.0.4.1 = INTEGER: 4", ".4.1.1.5.0.4.1 = Hex-STRING: 02 00 00 00 01 01", ".4.1.1.6.0.4.1 = INTEGER: 5",
			`.4.1.1.7.0.4.1 = STRING: "Te1/0/7"`, `.4.1.1.9.0.4.1 = STRING: "core1"`, ".4.1.1.12.0.4.1 = Hex-STRING: 08 00",
		},
		".1.0.8802.1.1.2.1.3.7.1":  {".3.7.1.2.4 = INTEGER: 5", `.3.7.1.3.4 = STRING: "gi1/0/4"`},
		".1.3.6.1.2.1.17.7.1.2.2":  {".2.101.184.39.235.1.2.3 = INTEGER: 1"},
		".1.3.6.1.2.1.17.4.3":      {".2.184.39.235.1.2.3 = INTEGER: 1"},
		".1.3.6.1.2.1.31.1.1.1.18": {".18.50 = \"\""},
	} {
		out, err := exec.CommandContext(t.Context(), walk, "-v2c", "-c", "public", "-On", "-t", "2",
			fmt.Sprintf("udp:%s", cfg.Addr), root).CombinedOutput()
		if err != nil {
			t.Errorf("snmpwalk %s: %v\n%s", root, err, out)
			continue
		}
		for _, line := range want {
			if !strings.Contains(string(out), line) {
				t.Errorf("snmpwalk %s says nothing of %q:\n%s", root, line, out)
			}
		}
	}
}
