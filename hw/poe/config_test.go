package poe

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	names := make(map[string]bool)
	for _, p := range Profiles() {
		if names[p.Name] || p.Name == "" || p.Vendor == "" || p.Source == "" {
			t.Errorf("profile %q: no name, vendor or source, or there twice", p.Name)
		}
		names[p.Name] = true
		if p.Detection.OID == "" {
			t.Errorf("%s: no detection status", p.Name)
		}
		if !p.ReadOnly && (p.Enable.OID == "" || p.On == p.Off || len(p.OnValues) == 0) {
			t.Errorf("%s: cannot be set", p.Name)
		}
		if p.Watts.OID != "" && p.MilliwattsUnit == 0 {
			t.Errorf("%s: watts without a unit", p.Name)
		}
		for _, c := range []Column{p.Enable, p.Detection, p.Class, p.Watts} {
			if c.OID == "" {
				continue
			}
			if oid, err := parseOID(c.OID); err != nil || formatOID(oid) != c.OID {
				t.Errorf("%s: %q is no object identifier with a leading dot", p.Name, c.OID)
			}
		}
	}
	if _, ok := FindProfile("nobody"); ok {
		t.Error("found a profile that there is not")
	}
}

func TestConfig(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:161")
	ok := Config{Name: "sw1", Addr: addr, Community: "private"}
	v3 := Config{Name: "sw1", Addr: addr, Version: V3, User: User{Name: "u", Auth: "SHA", AuthSecret: "12345678", Priv: "AES", PrivSecret: "12345678"}}
	change := func(c Config, f func(*Config)) Config { f(&c); return c }
	for name, test := range map[string]struct {
		cfg  Config
		want string // in the error; empty: none
	}{
		"v2c":              {ok, ""},
		"v3":               {v3, ""},
		"no name":          {change(ok, func(c *Config) { c.Name = "" }), "name is empty"},
		"no address":       {change(ok, func(c *Config) { c.Addr = netip.AddrPort{} }), "no address"},
		"no community":     {change(ok, func(c *Config) { c.Community = "" }), "community"},
		"unknown profile":  {change(ok, func(c *Config) { c.Profile = "x" }), `unknown profile "x": known are rfc3621, cisco-ios`},
		"SNMPv1":           {change(ok, func(c *Config) { c.Version = 1 }), "version 1 is not spoken"},
		"short passphrase": {change(v3, func(c *Config) { c.User.AuthSecret = "short" }), "shorter than 8"},
		"privacy alone":    {change(v3, func(c *Config) { c.User.Auth = "" }), "privacy needs authentication"},
		"unknown protocol": {change(v3, func(c *Config) { c.User.Priv = "ROT13" }), `"ROT13"`},
		"port twice":       {change(ok, func(c *Config) { c.Ports = []PortIndex{{Number: 2}, {Number: 2, Port: 3}} }), "port 2 is there twice"},
		"outlet twice":     {change(ok, func(c *Config) { c.Ports = []PortIndex{{Number: 1, Port: 2}, {Number: 2}} }), "ports 1 and 2 have the same index 1.2"},
		"port 0":           {change(ok, func(c *Config) { c.Ports = []PortIndex{{}} }), "out of range"},
		"negative limit":   {change(ok, func(c *Config) { c.Timeout = -1 }), "negative"},
	} {
		_, err := New(test.cfg)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	c := Config{Community: "hush", User: User{AuthSecret: "hush", PrivSecret: "hush"}}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Community), string(asJSON)} {
		if strings.Contains(s, "hush") {
			t.Errorf("a secret shows in %s", s)
		}
	}
}

func TestMatch(t *testing.T) {
	ports := func(groups, perGroup, first int) (ps []PortIndex) {
		for g := 1; g <= groups; g++ {
			for p := range perGroup {
				ps = append(ps, PortIndex{Group: g, Port: first + p})
			}
		}
		return ps
	}
	ethernets := func(name string, index ...int) interfaces {
		ifs := interfaces{
			byIndex: make(map[int]string), bridgePort: make(map[int]int),
			entity: make(map[[2]int]int), ifOf: make(map[int]int), fpcPort: make(map[[2]int]iface),
		}
		for i, n := range index {
			ifs.byIndex[n] = fmt.Sprintf(name, i)
			ifs.bridgePort[n] = i + 1
			ifs.add(iface{n, ifs.byIndex[n]})
		}
		return ifs
	}
	cisco := ethernets("Gi1/0/%d", 10101, 10102)
	for p, entity := range map[int]int{1: 1006, 2: 1007} {
		cisco.entity[[2]int{1, p}] = entity
		cisco.ifOf[entity] = 10100 + p
	}
	for name, test := range map[string]struct {
		rule  IndexRule
		ports []PortIndex
		ifs   interfaces
		want  []int // ifIndex
	}{
		"same as ifIndex": {SameAsIfIndex, ports(1, 2, 1), ethernets("%d", 1, 2, 3), []int{1, 2}},
		"in order":        {SameAsIfIndex, ports(1, 2, 1), ethernets("%d", 49, 50), []int{49, 50}},
		"stack in order":  {SameAsIfIndex, ports(2, 2, 1), ethernets("%d", 1, 2, 51, 52), []int{1, 2, 51, 52}},
		"port is 48 + n":  {InOrder, ports(1, 2, 49), ethernets("%d", 1, 2), []int{1, 2}},
		"too few":         {InOrder, ports(1, 2, 1), ethernets("%d", 7), []int{7, 0}},
		"Alcatel":         {GroupThousand, ports(2, 1, 1), ethernets("%d", 1001, 2001), []int{1001, 2001}},
		"Alcatel missing": {GroupThousand, ports(2, 1, 1), ethernets("%d", 1001), []int{1001, 0}},
		"Cisco":           {CiscoEntity, ports(1, 3, 1), cisco, []int{10101, 10102, 0}},
		"Juniper":         {JuniperName, ports(1, 2, 1), ethernets("ge-0/0/%d", 513, 514), []int{513, 514}},
	} {
		got := match(Profile{Rule: test.rule}, test.ports, test.ifs)
		for i, f := range got {
			if f.IfIndex != test.want[i] || f.Number != i+1 || f.BridgePort != test.ifs.bridgePort[test.want[i]] {
				t.Errorf("%s: port %d: %+v, want ifIndex %d", name, i+1, f, test.want[i])
			}
		}
	}
}

func FuzzOID(f *testing.F) {
	for _, s := range []string{".1.3.6.1", "1.3", "", ".", "..", ".4294967295", ".4294967296", ".1.-3", ".1.+3", strings.Repeat(".1", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		oid, err := parseOID(s)
		if err != nil {
			return
		}
		if again, err := parseOID(formatOID(oid)); err != nil || len(again) != len(oid) || len(oid) > maxSubIDs {
			t.Fatalf("%q: %v, %v", s, again, err)
		}
	})
}
