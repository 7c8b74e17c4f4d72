package hwtest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"picloud/hw/poe"
	"picloud/hw/sim/poeswitch"
)

// quick is a driver of the simulated switch that does not wait long.
func quick(t *testing.T, c poe.Config) *poe.SNMP {
	t.Helper()
	c.Name, c.Timeout, c.Retries = "sim", 100*time.Millisecond, 1
	for n := 1; n <= 3; n++ {
		c.Ports = append(c.Ports, poe.PortIndex{Number: n, IfIndex: n, BridgePort: n})
	}
	return driver(t, c)
}

// What the driver says of a bridge is what the switch was made to be.
func TestBridge(t *testing.T) {
	sw, addr := simulated(t, poeswitch.Config{
		Ports: 3, VLAN: func(n int) int { return 100 + n },
		Tagged: func(n int) []int { return map[int][]int{3: {101}}[n] },
	})
	check(t, sw.SetSTP(2, poeswitch.STP{ForwardDelay: time.Hour}))
	for _, n := range []int{1, 2} {
		check(t, sw.Attach(n, poeswitch.Device{Class: 1}))
		check(t, sw.SetLink(n, true))
	}
	b, err := quick(t, poe.Config{Addr: addr, Community: "public"}).Bridge(t.Context())
	check(t, err)
	want := []poe.BridgePort{
		{Port: 1, BridgePort: 1, STP: poe.STPForwarding, STPEnabled: poe.True, AdminEdge: poe.True, OperEdge: poe.True, PVID: 101},
		{Port: 2, BridgePort: 2, STP: poe.STPListening, STPEnabled: poe.True, AdminEdge: poe.False, OperEdge: poe.False, PVID: 102},
		{Port: 3, BridgePort: 3, STP: poe.STPDisabled, STPEnabled: poe.True, AdminEdge: poe.True, OperEdge: poe.True, PVID: 103},
	}
	if !slices.Equal(b.Ports, want) {
		t.Errorf("ports\n%+v, want\n%+v", b.Ports, want)
	}
	egress := map[int][]int{101: {1, 3, 4}, 102: {2, 4}, 103: {3, 4}}
	untagged := map[int][]int{101: {1}, 102: {2}, 103: {3}}
	if len(b.VLANs) != 3 {
		t.Fatalf("VLANs %+v", b.VLANs)
	}
	for _, v := range b.VLANs {
		if !slices.Equal(v.Egress, egress[v.ID]) || !slices.Equal(v.Untagged, untagged[v.ID]) {
			t.Errorf("VLAN %+v, want egress %v, untagged %v", v, egress[v.ID], untagged[v.ID])
		}
	}
	sw.SetSilent(true)
	if _, err := quick(t, poe.Config{Addr: addr, Community: "public"}).Bridge(t.Context()); !errors.Is(err, poe.ErrNoAnswer) {
		t.Errorf("a silent switch: %v", err)
	}
}

// Rewrite leaves the power as it is, and is refused whoever may only read.
func TestRewrite(t *testing.T) {
	sw, addr := simulated(t, poeswitch.Config{Ports: 3})
	check(t, sw.SetPower(2, false))
	writer := quick(t, poe.Config{Addr: addr, Community: "private"})
	for port, want := range map[int]poe.Admin{1: poe.AdminEnabled, 2: poe.AdminDisabled} {
		check(t, writer.Rewrite(t.Context(), port))
		s, err := writer.Read(t.Context(), port)
		if err != nil || s[0].Admin != want {
			t.Errorf("port %d: %v, %v, want %v", port, s[0].Admin, err, want)
		}
	}
	for _, c := range []struct {
		community poe.Secret
		port      int
		want      error
	}{{"public", 1, poe.ErrRefused}, {"wrong", 1, poe.ErrNoAnswer}, {"private", 9, poe.ErrNoPort}} {
		if err := quick(t, poe.Config{Addr: addr, Community: c.community}).Rewrite(t.Context(), c.port); !errors.Is(err, c.want) {
			t.Errorf("%s, port %d: %v, want %v", string(c.community), c.port, err, c.want)
		}
	}
}
