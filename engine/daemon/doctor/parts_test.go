package doctor

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/link"
	"picloud/hw/poe"
)

const udpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1092: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0000000000000000 0
 1093: 0100007F:0045 0200007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 31338 2 0000000000000000 0
 nonsense
 1094: 0100007F:FFFFF 00000000:0000 07 0:0 0:0 0 0 0 31339 2
`

const udp6Table = ` 1: 00000000000000000000000000000000:0045 0:0 07 0:0 0:0 0 0 0 99 2
 2: 0000000000000000FFFF00000100007F:0045 0:0 07 0:0 0:0 0 0 0 98 2
`

func TestParseSockets(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the tables are those of a little-endian host")
	}
	for _, c := range []struct{ table, want string }{
		{udpTable, "0.0.0.0:67 31337"},
		{udp6Table, "[::]:69 99, 127.0.0.1:69 98"},
		{"", ""},
	} {
		list, err := parseSockets(strings.NewReader(c.table), "udp", 7)
		var got []string
		for _, s := range list {
			got = append(got, fmt.Sprint(s.addr, " ", s.inode))
		}
		if err != nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%q, %v, want %q", got, err, c.want)
		}
	}
}

func FuzzParseSockets(f *testing.F) {
	f.Add(udpTable)
	f.Add(udp6Table)
	f.Fuzz(func(t *testing.T, table string) {
		list, _ := parseSockets(strings.NewReader(table), "udp", 7)
		for _, s := range list {
			if !s.addr.IsValid() || s.network != "udp" {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A socket of this process is found with its owner.
func TestOwner(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := netip.MustParseAddrPort(l.Addr().String())
	all, err := sockets()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.network != "tcp" || s.addr != addr {
			continue
		}
		o := owners(map[uint64]bool{s.inode: true})[s.inode]
		if o.pid != os.Getpid() || o.name == "" || !within(o.pid, os.Getppid()) || within(o.pid, 1<<30) {
			t.Errorf("owner %+v, want process %d", o, os.Getpid())
		}
		return
	}
	t.Errorf("%s is not among %d sockets", addr, len(all))
}

func TestMeets(t *testing.T) {
	any67 := port{network: "udp", number: 67}
	local := port{network: "tcp", number: 22, addr: netip.MustParseAddr("127.0.0.1")}
	for _, c := range []struct {
		p       port
		network string
		addr    string
		want    bool
	}{
		{any67, "udp", "0.0.0.0:67", true},
		{any67, "udp", "10.0.0.1:67", true},
		{any67, "udp", "[::]:67", true},
		{any67, "udp", "[fe80::1]:67", false},
		{any67, "tcp", "0.0.0.0:67", false},
		{any67, "udp", "0.0.0.0:68", false},
		{local, "tcp", "127.0.0.1:22", true},
		{local, "tcp", "0.0.0.0:22", true},
		{local, "tcp", "10.0.0.1:22", false},
	} {
		if got := c.p.meets(socket{network: c.network, addr: netip.MustParseAddrPort(c.addr)}); got != c.want {
			t.Errorf("%s %s: %v", c.network, c.addr, got)
		}
	}
}

// Whatever a unit or process is called, nothing but a unit's name gets into a
// command.
func TestUnitForm(t *testing.T) {
	for in, want := range map[string]string{
		"0::/system.slice/dnsmasq.service\n":                  "dnsmasq.service",
		"0::/system.slice/system-getty.slice/getty@t.service": "getty@t.service",
		"0::/user.slice/user-1000.slice/x.service":            "",
		"0::/system.slice/a; rm -rf /.service":                "",
	} {
		got := ""
		if m := unitForm.FindStringSubmatch(in); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// portmapper answers one GETPORT for each port, or hangs up.
func portmapper(t *testing.T, ports map[uint32]uint32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			call := make([]byte, 15*4)
			if _, err := io.ReadFull(c, call); err == nil && ports != nil {
				words := []uint32{1<<31 | 28, binary.BigEndian.Uint32(call[4:]), 1, 0, 0, 0, 0, ports[binary.BigEndian.Uint32(call[11*4:])]}
				var b []byte
				for _, w := range words {
					b = binary.BigEndian.AppendUint32(b, w)
				}
				_, _ = c.Write(b)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestPortmapper(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, c := range []struct {
		name, at string
		level    Level
		text     string
	}{
		{"both", portmapper(t, map[uint32]uint32{progNFS: 2049, progMount: 20048}), OK, "knows NFS and MOUNT"},
		{"no mountd", portmapper(t, map[uint32]uint32{progNFS: 2049}), Failure, "no MOUNT version 3"},
		{"nonsense", portmapper(t, map[uint32]uint32{progNFS: 70000}), Failure, "not a portmapper's answer"},
		{"hangs up", portmapper(t, nil), Failure, "EOF"},
		{"none", closed.Addr().String(), Failure, "refused"},
	} {
		e := &Env{Portmapper: c.at, NFS: func() (string, error) { return config.NFSKernel, nil }}
		f := checkPortmapper(t.Context(), e)
		if len(f) != 1 || f[0].Level != c.level || !strings.Contains(f[0].Text, c.text) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// wires are interfaces as a test says.
type wires map[string]link.Interface

func (w wires) Lookup(name string) (link.Interface, error) {
	i, ok := w[name]
	if !ok {
		return i, link.ErrNoInterface
	}
	i.Name = name
	return i, nil
}

func (w wires) CheckAddress(name string, _ netip.Prefix) error {
	_, err := w.Lookup(name)
	return err
}

func (w wires) Neighbours(string) ([]link.Neighbour, error) {
	return []link.Neighbour{{Addr: netip.MustParseAddr("10.0.0.2"), MAC: [6]byte{2}, Permanent: true}}, nil
}

func onVLAN(iface string, port int, mac byte) engine.Pi {
	return engine.Pi{Name: engine.PiName(iface), MAC: engine.MAC{mac}, Segment: engine.Segment{
		Name: iface, Interface: iface, Server: netip.MustParseAddr("10.0.0.1"), Addr: netip.MustParsePrefix("10.0.0.2/30"),
		Port: engine.PortID{Switch: "sw1", Port: port},
	}}
}

func worst(found []Finding) (text string, level Level) {
	for _, f := range found {
		if f.Level > level {
			text, level = f.Subject+": "+f.Text+" ("+f.Remedy+")", f.Level
		}
	}
	return text, level
}

func TestInterfaceNames(t *testing.T) {
	up := link.Interface{Up: true, Carrier: true, VLAN: 101, Parent: "eth0"}
	other, down, plain := up, up, up
	other.VLAN, down.Carrier, plain.VLAN = 102, false, 0
	for _, c := range []struct {
		name  string
		i     link.Interface
		level Level
		text  string
	}{
		{"eth0.101", up, OK, ""},
		{"pi101", up, OK, ""},
		{"eth0.101", other, Failure, "is VLAN 102 (ip link del eth0.101; ip link add link eth0 name eth0.101 type vlan id 101)"},
		{"eth1.101", up, Warning, "is on eth0"},
		{"eth0.101", plain, Warning, "no VLAN interface"},
		{"eth0.101", down, Failure, "the trunk of eth0.101 has no carrier"},
		{"eth1", link.Interface{Up: true}, Warning, "no carrier"},
	} {
		e := &Env{Links: wires{c.name: c.i}, Pis: []engine.Pi{onVLAN(c.name, 1, 0)}}
		if text, level := worst(checkInterfaces(t.Context(), e)); level != c.level || !strings.Contains(text, c.text) {
			t.Errorf("%s: %v %s", c.name, level, text)
		}
	}
}

func TestNeighbourOfAnotherBoard(t *testing.T) {
	for mac, want := range map[byte]Level{2: OK, 4: Failure} {
		e := &Env{Links: wires{}, Service: 1, Pis: []engine.Pi{onVLAN("eth0.101", 1, mac)}}
		if text, level := worst(checkNeighbours(t.Context(), e)); level != want {
			t.Errorf("%v %s", level, text)
		}
	}
}

// The VLANs of a switch are held against those of the host.
func TestVLANs(t *testing.T) {
	tagged := link.Interface{Up: true, Carrier: true, VLAN: 101, Parent: "eth0"}
	port := func(n, pvid int) poe.BridgePort { return poe.BridgePort{Port: n, BridgePort: n, PVID: pvid} }
	vlan := func(id int, egress, untagged []int) poe.VLAN {
		return poe.VLAN{ID: id, Egress: egress, Untagged: untagged}
	}
	const uplink = 9
	for _, c := range []struct {
		name  string
		b     poe.Bridge
		level Level
		text  string
	}{
		{"right", poe.Bridge{Ports: []poe.BridgePort{port(1, 101)}, VLANs: []poe.VLAN{vlan(101, []int{1, uplink}, []int{1})}}, OK, ""},
		{"not told", poe.Bridge{Ports: []poe.BridgePort{port(1, 0)}}, OK, ""},
		{"only the PVID told", poe.Bridge{Ports: []poe.BridgePort{port(1, 101)}}, OK, ""},
		{"another VLAN", poe.Bridge{Ports: []poe.BridgePort{port(1, 7)}}, Failure, "its untagged VLAN is 7, and eth0.101 is on VLAN 101 (set the port's untagged VLAN to 101"},
		{"untagged in two", poe.Bridge{Ports: []poe.BridgePort{port(1, 101)}, VLANs: []poe.VLAN{
			vlan(1, []int{1}, []int{1}), vlan(101, []int{1, uplink}, []int{1}),
		}}, Failure, "leave it untagged from VLANs [1 101]"},
		{"no uplink", poe.Bridge{Ports: []poe.BridgePort{port(1, 101)}, VLANs: []poe.VLAN{vlan(101, []int{1}, []int{1})}}, Failure, "no uplink carries its VLAN 101"},
		{"a stranger", poe.Bridge{Ports: []poe.BridgePort{port(1, 101)}, VLANs: []poe.VLAN{vlan(101, []int{1, 5, uplink}, []int{1, 5})}}, Warning, "bridge port 5 is in its VLAN"},
		{"shared, by the PVIDs", poe.Bridge{Ports: []poe.BridgePort{port(1, 101), port(2, 101)}}, Failure, "reach each other"},
	} {
		e := &Env{Links: wires{"eth0.101": tagged}, Pis: []engine.Pi{onVLAN("eth0.101", 1, 0), onVLAN("lo", 2, 0)}}
		if text, level := worst(e.checkVLANs(config.Switch{Name: "sw1"}, c.b)); level != c.level || !strings.Contains(text, c.text) {
			t.Errorf("%s: %v %s", c.name, level, text)
		}
	}
}

func TestReport(t *testing.T) {
	r := Mistakes([]config.Problem{{File: "rack.toml", Line: 3, Column: 1, Message: "unknown\x1b key", Remedy: "racks"}}, time.Unix(0, 0))
	r.add(warnf("sw1", "buy one", "no \u202e supply"))
	r.add(okf("", "fine"))
	var text, object bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	const want = `failure  config  rack.toml:3:1: unknown? key
                   try: racks
warning          sw1: no ? supply
                   try: buy one
ok               fine
1 ok, 1 warning, 1 failure
`
	if text.String() != want {
		t.Errorf("%s, want\n%s", text.String(), want)
	}
	var got struct {
		Version, Failures int
		Worst             string
		Findings          []map[string]string
	}
	if err := json.Unmarshal(object.Bytes(), &got); err != nil || got.Version != 1 || got.Failures != 1 || got.Worst != "failure" ||
		len(got.Findings) != 3 || got.Findings[0]["level"] != "failure" || got.Findings[0]["remedy"] != "racks" {
		t.Errorf("%s, %v", object.String(), err)
	}
}

// A check that was stopped has found nothing.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := Examine(ctx, &Env{Config: config.Default()}, func(Check) bool { return true }); len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
}

func TestServiceAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if pid := ServiceAt(path); pid != 0 {
		t.Errorf("nobody is process %d", pid)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if pid := ServiceAt(path); pid != os.Getpid() {
		t.Errorf("process %d, want %d", pid, os.Getpid())
	}
}
