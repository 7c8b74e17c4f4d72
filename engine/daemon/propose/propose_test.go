package propose

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine/config"
	"picloud/hw/poe"
)

func options() Options {
	return Options{
		Address: netip.MustParseAddrPort("10.0.0.2:161"), Version: config.SNMPv2c, Credentials: "/etc/picloud/sw1.secret",
		Net: netip.MustParsePrefix("10.64.0.0/16"), Interface: "eth0", At: time.Unix(1800000000, 0),
	}
}

func known() config.Known {
	var k config.Known
	for _, p := range poe.Profiles() {
		k.Profiles = append(k.Profiles, p.Name)
	}
	return k
}

func port(n, vlan int, macs ...[6]byte) poe.SurveyPort {
	p := poe.SurveyPort{
		Found: poe.Found{PortIndex: poe.PortIndex{Number: n, Group: 1, Port: n, IfIndex: n, BridgePort: n}},
		State: poe.PortState{Port: n, Detection: poe.DetectionDeliveringPower, Class: 4, Milliwatts: 2500, HasWatts: true},
		PVID:  vlan,
	}
	for _, mac := range macs {
		p.Stations = append(p.Stations, poe.FDBEntry{MAC: mac, VLAN: vlan, Port: n})
	}
	return p
}

// survey has one of each kind of port.
func survey() *poe.Survey {
	pi, other := [6]byte{0xb8, 0x27, 0xeb, 1, 2, 3}, [6]byte{2, 0, 0, 0, 0, 1}
	s := &poe.Survey{
		SysName: "sw1.example", SysDescr: "Switch\x22 of 8 ports", Profile: "cisco-smb", Why: "its sysObjectID is 1.3.6.1.4.1.9.6.1.83",
		Ports: []poe.SurveyPort{
			port(1, 101, pi), port(2, 102, other), port(3, 103, [6]byte{0xdc, 0xa6, 0x32, 0, 0, 9}, other), port(4, 104),
			port(5, 1), port(6, 1), port(7, 0), port(8, 108), port(9, 109, pi),
		},
		Elsewhere: []poe.Neighbour{{LocalPort: "gi1/0/25", PortID: "Te1/7", SysName: "core1", Forwards: true}},
		Missing:   []error{errors.New("a walk does not end")},
	}
	s.Ports[0].Alias, s.Ports[0].IfName = "Web 1", "gi1/0/1"
	s.Ports[1].Alias = "web-1"
	s.Ports[3].State = poe.PortState{Port: 4, Detection: poe.DetectionSearching, Class: poe.ClassUnknown}
	s.Ports[3].Tagged = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	s.Ports[7].Neighbours = []poe.Neighbour{{LocalPort: "gi1/0/8", PortID: "eth0", ChassisID: "02:00:00:00:00:09", Forwards: true}}
	s.Ports[8].Group, s.Ports[8].BridgePort = 2, 50
	return s
}

func write(t testing.TB, s *poe.Survey, o Options) (string, int) {
	t.Helper()
	var b bytes.Buffer
	n, err := Write(&b, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), n
}

// TestProposal compares the whole text, and reads it as a configuration.
func TestProposal(t *testing.T) {
	text, n := write(t, survey(), options())
	file := filepath.Join("testdata", "proposal.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("got\n%s", text)
	}
	c, problems := config.Read("proposal", strings.NewReader("rack = \"A3\"\n"+text), known())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if n != 5 || len(c.Segments) != n || c.Segments[0].Name != "web-1" || c.Segments[1].Name != "sw1-example-002" {
		t.Errorf("%d segments: %+v", n, c.Segments)
	}
	// What is commented out is right as well, but for what it is doubted for.
	all := strings.NewReplacer("#[[", "[[", "#name", "name", "#interface", "interface", "#address", "address", "#switch", "switch", "#port", "port").Replace(text)
	_, problems = config.Read("proposal", strings.NewReader("rack = \"A3\"\n"+all), known())
	if len(problems) != 1 || !strings.Contains(problems[0].Message, "interface eth0.1 is also that of") {
		t.Errorf("with all that is doubted: %v", problems)
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no net":         func(o *Options) { o.Net = netip.Prefix{} },
		"IPv6":           func(o *Options) { o.Net = netip.MustParsePrefix("fd00::/64") },
		"small net":      func(o *Options) { o.Net = netip.MustParsePrefix("10.0.0.0/28") },
		"end of IPv4":    func(o *Options) { o.Net = netip.MustParsePrefix("255.255.255.252/30") },
		"host":           func(o *Options) { o.Net = netip.MustParsePrefix("10.0.0.1/16") },
		"long interface": func(o *Options) { o.Interface = "enp129s0f0np0" },
		"no interface":   func(o *Options) { o.Interface = "" },
		"bad name":       func(o *Options) { o.Name = "a b" },
		"bad prefix":     func(o *Options) { o.Prefix = "///" },
	} {
		o := options()
		change(&o)
		var b bytes.Buffer
		if _, err := Write(&b, survey(), o); !errors.Is(err, ErrOptions) || b.Len() > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzHostile: whatever a switch says, what is printed is one line each, cannot
// steer a terminal, and is a configuration.
func FuzzHostile(f *testing.F) {
	f.Add("sw1", "x\"]\nrack = \"y\"", "a3-001\x1b[2J", "[[segment]]", 101, 102)
	f.Add("", "", "", "", 0, -1)
	f.Add("..", "\\", "-", strings.Repeat("é", 200), 5000, 1)
	f.Add("0g", "", "", "", -97, -97)
	f.Fuzz(func(t *testing.T, name, descr, alias, id string, vlan1, vlan2 int) {
		s := survey()
		s.SysName, s.SysDescr = name, descr
		s.Ports[0].Alias, s.Ports[0].IfName, s.Ports[0].PVID = alias, id, vlan1
		s.Ports[1].Alias, s.Ports[1].PVID = id, vlan2
		s.Elsewhere[0].SysName, s.Elsewhere[0].PortID, s.Elsewhere[0].LocalPort = name, id, alias
		var b bytes.Buffer
		if _, err := Write(&b, s, options()); err != nil {
			if !errors.Is(err, ErrOptions) {
				t.Fatal(err)
			}
			return
		}
		text := b.String()
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("a control character in %q", text)
		}
		if _, problems := config.Read("proposal", strings.NewReader("rack = \"A3\"\n"+text), known()); len(problems) > 0 {
			t.Errorf("%v\n%s", problems, text)
		}
	})
}
