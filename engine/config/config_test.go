package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"picloud/engine"
)

var known = Known{Profiles: []string{"rfc3621", "cisco-ios"}, NFSDrivers: []string{"auto", "kernel", "ganesha", "demo"}, VolumeDrivers: []string{"folder", "btrfs", "lvm"}}

// small is a rack of one Pi, as the mistakes are made in it: 14 lines.
const small = `rack = "A3"

[[switch]]
name = "sw1"
address = "10.0.0.2:161"
profile = "rfc3621"
credentials = "/etc/picloud/sw1.secret"

[[segment]]
name = "a3-001"
interface = "eth0.101"
address = "10.64.0.1/30"
switch = "sw1"
port = 1
`

// mustParse reads a configuration that has no mistake.
func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, found := Parse("rack.toml", []byte(text), known)
	for _, p := range found {
		t.Error(p.Error())
	}
	if c == nil {
		t.FailNow()
	}
	return c
}

// sameConfig compares what files say, not where they say it.
func sameConfig(t *testing.T, got, want *Config) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "source"), cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b Credentials) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

const full = `
rack = "B7"
state = "/data/picloud"
dhcp.reply = "unicast"
ssh = { port = 2222, every = "10s" }
nfs = { driver = "ganesha", port = 3049, shared = true }
guest = { resolvers = ["2001:db8::64", "10.0.0.53"], time_zone = "Europe/London" }
volumes = { driver = "lvm", group = "vg0", pool = "pis", disk_gb = 10, keep_days = 0 }

[boot]
power = "1m"
root = "0s"
starting = 8

[tftp]
max_per_pi = 2

[guard]
[guard.cycle]
free = "yes"
rented = "name"
[guard.on]
free = "countdown"

[[switch]]
name = "sw1"
address = "10.0.0.2"
profile = "cisco-ios"
version = "3"
credentials = "/etc/picloud/sw1.secret"
ports = 24
poll = "500ms"
group = 2
	[[switch.port]]
	port = 3
	ifindex = 10_103
	[[switch.port]]
	port = 4
	group = 1

[[switch]]
name = "sw2"
address = "10.0.0.3:1161"
profile = "rfc3621"
credentials = "/etc/picloud/sw2.secret"
port = [{ port = 1, index = 49 }]

[[segment]]
name = "b7-001"
interface = "eth0.101"
address = "10.64.0.2/30"
switch = "sw1"
port = 24
power = true
mac = "B8-27-EB-12-34-56"
serial = "0a0B0c0d"
model = "3B+"
memory = 1024
image = "trixie"

[[segment]]
name = "seg2"
interface = "eth0.102"
address = "10.65.0.1/24"
pi = "b7-002"
pi_address = "10.65.0.9"
switch = "sw2"
port = 24

[[server]]
name = "shop"
owner = "Ärzte & Co"
pi = "b7-002"
keys = [
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51 a",
	'no-pty,command="x y" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51',
]
address = "2001:db8:0:1::2/64"
disk_gb = 40

[[image]]
name = "trixie"
label = "Pi OS"
path = "/srv/images/trixie"

[orders]
disk = "0.85"
spares = 1
tries = 2
pool = "2001:db8:7:1::/96"
pool_bits = 64
gateway = "2001:db8:7:1:ffff::1"
ssh_ports = 5000
quarantine_days = 30
keep_days = 0
image = "trixie"
examine = true
exam_image = "trixie"

[exam]
port = 7000
burn_in = "45s"

[[plan]]
model = 4
memory = 4096
month = "7.5"

[[plan]]
model = 4
cpu = 1_500
month = "0"

[[plan]]
month = "5.75"

[api]
listen = "0.0.0.0:8443"
cert = "/etc/picloud/api.crt"
key = "/etc/picloud/api.key"
base = "/hosted/v0"
url = "https://api.example.org:444/pi"
private_webhooks = ["10.20.0.0/16", "fd00::/8", "192.0.2.7"]
location = "CLL"
domain = "pi.example.org"
`

func TestParseFull(t *testing.T) {
	c := mustParse(t, full)
	want := Default()
	want.Rack, want.State = "B7", "/data/picloud"
	want.DHCP.Reply = ReplyUnicast
	want.SSH.Port, want.SSH.Every = 2222, 10*time.Second
	want.NFS = NFS{Driver: "ganesha", Port: 3049, Path: "/srv/pi", Shared: true}
	want.Guest = Guest{
		Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8::64"), netip.MustParseAddr("10.0.0.53")}, TimeZone: "Europe/London",
	}
	want.Volumes = Volumes{Driver: VolumesLVM, NearlyFull: 90, Group: "vg0", Pool: "pis", DiskGB: 10}
	want.Boot.Limits[engine.StagePower] = time.Minute
	want.Boot.Limits[engine.StageRoot] = 0
	want.Boot.Starting = 8
	want.TFTP.MaxPerPi = 2
	want.Guard[0].Free, want.Guard[0].Rented = engine.GuardYes, engine.GuardName
	want.Guard[1].Free = engine.GuardCountdown
	sw1, sw2 := DefaultSwitch(), DefaultSwitch()
	sw1.Name, sw1.Address, sw1.Profile, sw1.Version = "sw1", netip.MustParseAddrPort("10.0.0.2:161"), "cisco-ios", SNMPv3
	sw1.CredentialsFile, sw1.Ports, sw1.Poll, sw1.Group = "/etc/picloud/sw1.secret", 24, 500*time.Millisecond, 2
	sw1.Overrides = []PortMap{{Port: 3, IfIndex: 10103}, {Port: 4, Group: 1}}
	sw2.Name, sw2.Address, sw2.Profile = "sw2", netip.MustParseAddrPort("10.0.0.3:1161"), "rfc3621"
	sw2.CredentialsFile, sw2.Overrides = "/etc/picloud/sw2.secret", []PortMap{{Port: 1, Index: 49}}
	want.Switches = []Switch{sw1, sw2}
	want.Segments = []Segment{
		{
			Name: "b7-001", Interface: "eth0.101", Address: netip.MustParsePrefix("10.64.0.2/30"),
			Switch: "sw1", Port: 24, Power: true, MAC: engine.MAC{0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56},
			Serial: 0x0a0b0c0d, Model: engine.Model3BPlus, Memory: 1024, Image: "trixie",
		},
		{
			Name: "seg2", Interface: "eth0.102", Address: netip.MustParsePrefix("10.65.0.1/24"),
			Pi: "b7-002", PiAddress: netip.MustParseAddr("10.65.0.9"), Switch: "sw2", Port: 24,
		},
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51"
	want.Servers = []Server{{
		Name: "shop", Owner: "Ärzte & Co", Pi: "b7-002",
		Keys:    []string{key + " a", `no-pty,command="x y" ` + key},
		Address: netip.MustParsePrefix("2001:db8:0:1::2/64"), DiskGB: 40,
	}}
	want.Images = []Image{{Name: "trixie", Label: "Pi OS", Path: "/srv/images/trixie"}}
	want.Orders = Orders{
		Disk: 85, Spares: 1, Tries: 2, Pool: netip.MustParsePrefix("2001:db8:7:1::/96"), PoolBits: 64,
		Gateway: netip.MustParseAddr("2001:db8:7:1:ffff::1"), SSHPorts: 5000, Quarantine: 30,
		Image: "trixie", Examine: true, ExamImage: "trixie",
	}
	want.Exam = Exam{Port: 7000, Burn: 45 * time.Second}
	want.Plans = []Plan{{Model: 4, Memory: 4096, Month: 750}, {Model: 4, CPU: 1500}, {Month: 575}}
	want.API = API{
		Listen: netip.MustParseAddrPort("0.0.0.0:8443"), Cert: "/etc/picloud/api.crt", Key: "/etc/picloud/api.key",
		Base: "/hosted/v0", URL: "https://api.example.org:444/pi", Location: "CLL", Domain: "pi.example.org",
		PrivateWebhooks: []netip.Prefix{
			netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.7/32"),
		},
	}
	sameConfig(t, c, want)

	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	sameConfig(t, mustParse(t, b.String()), want)
}

func TestLayout(t *testing.T) {
	c := mustParse(t, full)
	layout := c.Layout()
	want := engine.Layout{
		Rack:     "B7",
		Switches: []engine.Switch{{Name: "sw1", Ports: 24}, {Name: "sw2", Ports: 48}},
		Pis: []engine.Pi{
			{
				Name: "b7-001",
				Segment: engine.Segment{
					Name: "b7-001", Interface: "eth0.101", Server: netip.MustParseAddr("10.64.0.2"),
					Addr: netip.MustParsePrefix("10.64.0.1/30"), Port: engine.PortID{Switch: "sw1", Port: 24},
				},
				Model: engine.Model3BPlus, Memory: 1024, Serial: 0x0a0b0c0d, MAC: c.Segments[0].MAC,
				Life: engine.LifeReady, Power: true, Image: "trixie",
			},
			{
				Name: "b7-002",
				Segment: engine.Segment{
					Name: "seg2", Interface: "eth0.102", Server: netip.MustParseAddr("10.65.0.1"),
					Addr: netip.MustParsePrefix("10.65.0.9/24"), Port: engine.PortID{Switch: "sw2", Port: 24},
				},
				Life: engine.LifeLive, Server: "shop",
			},
		},
		Servers: []engine.Server{{
			Name: "shop", Owner: "Ärzte & Co", Keys: c.Servers[0].Keys,
			Address: netip.MustParsePrefix("2001:db8:0:1::2/64"), Gateway: DefaultGateway, Disk: 40_000_000_000,
		}},
		Images: []engine.Image{{Name: "trixie", Label: "Pi OS"}},
		Rules: engine.Rules{
			Plans: []engine.Plan{
				{Spec: engine.Spec{Model: 4, Memory: 4096}, Month: 750}, {Spec: engine.Spec{Model: 4, CPU: 1500}}, {Month: 575},
			},
			Disk: 85, Spares: 1, Tries: 2, Pool: netip.MustParsePrefix("2001:db8:7:1::/96"), Bits: 64,
			Gateway: netip.MustParseAddr("2001:db8:7:1:ffff::1"), Ports: 5000, Quarantine: 30 * day,
			Image: "trixie", Examine: true, Exam: "trixie",
		},
	}
	if diff := cmp.Diff(want, layout, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if life := mustParse(t, small).Layout().Pis[0].Life; life != engine.LifeNew {
		t.Errorf("nothing known of the board: life %s, want new", life)
	}
	if plain := mustParse(t, small); plain.Volumes.Keep() != 7*24*time.Hour || plain.Volumes.Disk() != 0 || c.Volumes.Keep() != 0 || c.Volumes.Disk() != 10_000_000_000 {
		t.Errorf("kept for %s, disk %d", plain.Volumes.Keep(), c.Volumes.Disk())
	}
	withPool := mustParse(t, small+"[orders]\npool = \"2001:db8:7::/48\"\n").Layout().Rules
	if withPool.Gateway != DefaultGateway || withPool.Bits != 64 || withPool.Tries != 3 || withPool.Quarantine != 7*day || withPool.Keep != 7*day {
		t.Errorf("rules %+v", withPool)
	}
	if none := mustParse(t, small).Layout().Rules; none.Gateway.IsValid() || none.Bits != 0 {
		t.Errorf("a gateway without a pool: %+v", none)
	}
	if c.Limits() != c.Boot.Limits {
		t.Error("Limits are not Boot.Limits")
	}
}

// TestDefaultGuards: without a word in the file, the engine gets its own table
// back.
func TestDefaultGuards(t *testing.T) {
	guards := mustParse(t, small).Guards()
	for _, v := range engine.Verbs() {
		if guards[v.Name] != v.Guards {
			t.Errorf("%s: %+v, want %+v", v.Name, guards[v.Name], v.Guards)
		}
	}
	on := mustParse(t, full).Guards()[engine.VerbOn]
	if want := (engine.Guard{Kind: engine.GuardCountdown, Delay: 3 * time.Second}); on.Free != want {
		t.Errorf("on: %+v, want %+v", on.Free, want)
	}
	if mustParse(t, small).Limits() != engine.DefaultLimits() {
		t.Error("limits are not the engine's")
	}
}

func template(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := Template(&b, known); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTemplate: the template is a configuration, and means the defaults and its
// examples, whether its defaults stay comments or become settings.
func TestTemplate(t *testing.T) {
	want := Default()
	sw := DefaultSwitch()
	sw.Name, sw.Address, sw.Profile = "sw1", netip.MustParseAddrPort("10.0.0.2:161"), "rfc3621"
	sw.CredentialsFile = "/etc/picloud/sw1.secret"
	want.Rack, want.Switches = "A3", []Switch{sw}
	want.Segments = []Segment{{
		Name: "a3-001", Interface: "eth0.101", Address: netip.MustParsePrefix("10.64.0.1/30"), Switch: "sw1", Port: 1,
	}}
	want.Images = []Image{{Name: BuiltinImage}}
	sameConfig(t, mustParse(t, template(t)), want)

	// The one example that cannot be true beside another: builtin has no path.
	all := regexp.MustCompile(`(?m)^#path = "/srv/images.*\n`).ReplaceAllString(template(t), "")
	all = regexp.MustCompile(`(?m)^#([^ \n])`).ReplaceAllString(all, "$1")
	c := mustParse(t, all)
	s := &want.Segments[0]
	s.Pi, s.PiAddress = "a3-001", netip.MustParseAddr("10.64.0.2")
	s.MAC, s.Serial, s.Model = engine.MAC{0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56}, 0x12345678, engine.Model4B
	s.Memory, s.Image, s.Life = 4096, BuiltinImage, engine.LifeReady
	want.Orders.Pool, want.Orders.Gateway = netip.MustParsePrefix("2001:db8:0:2::/64"), DefaultGateway
	want.Orders.Image, want.Orders.ExamImage = BuiltinImage, BuiltinImage
	want.Plans = []Plan{{Model: 4, Memory: 4096, Month: 575}}
	want.API = API{
		Listen: netip.MustParseAddrPort("0.0.0.0:8443"), Cert: "/etc/picloud/api.crt", Key: "/etc/picloud/api.key",
		Base: "/beta", URL: "https://api.example.org", PrivateWebhooks: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")},
		Location: "CLL", Domain: "pi.example.org",
	}
	want.Switches[0].Overrides = []PortMap{{Port: 1}}
	want.Volumes.Group, want.Volumes.Pool = "vg0", "picloud"
	want.Guest = Guest{Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8::64")}, TimeZone: "Europe/London"}
	want.Console.Listen = netip.MustParseAddrPort("0.0.0.0:2222")
	want.Locals = []Local{{User: "alice", Operator: "alice"}}
	want.Servers = []Server{{
		Name: "shop-web", Owner: "customer 1042", Pi: "a3-001", Keys: c.Servers[0].Keys,
		Address: netip.MustParsePrefix("2001:db8:0:1::2/64"), Gateway: netip.MustParseAddr("fe80::1"),
	}}
	want.Images[0].Label = "Built-in"
	sameConfig(t, c, want)
}

// TestTemplateIsWhole: no key is left out, and lines fit a terminal.
func TestTemplateIsWhole(t *testing.T) {
	text := template(t)
	for _, tab := range schema(known) {
		for _, f := range tab.fields {
			if !regexp.MustCompile(`(?m)^#?` + f.key + ` = `).MatchString(text) {
				t.Errorf("%s %s is not in the template", tab.header(), f.key)
			}
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 101 && !strings.HasPrefix(line, "#keys") {
			t.Errorf("long line: %s", line)
		}
	}
}

// TestNoHTTP: an empty text is none, in the file and in what Encode writes.
func TestNoHTTP(t *testing.T) {
	c := mustParse(t, strings.Replace(template(t), `#listen = "127.0.0.1:9468"`, `listen = ""`, 1))
	if c.HTTP.Listen.IsValid() {
		t.Fatalf("listens on %v", c.HTTP.Listen)
	}
	var b strings.Builder
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	sameConfig(t, mustParse(t, b.String()), c)
}

// TestInCode builds the demo's kind of rack: no file, loopback addresses.
func TestInCode(t *testing.T) {
	c := Default()
	c.Rack, c.DHCP.Device, c.DHCP.Port = "demo", "lo", 0
	sw := DefaultSwitch()
	sw.Name, sw.Address, sw.Profile = "sw1", netip.MustParseAddrPort("127.0.0.1:40161"), "rfc3621"
	sw.Credentials = Credentials{ReadCommunity: "public", WriteCommunity: "private"}
	c.Switches = []Switch{sw}
	for k := range 48 {
		base := [4]byte{127, 64, byte(4 * k >> 8), byte(4*k + 1)}
		c.Segments = append(c.Segments, Segment{
			Name: fmt.Sprintf("a3-%03d", k+1), Interface: "lo",
			Address: netip.PrefixFrom(netip.AddrFrom4(base), 30), Switch: "sw1", Port: k + 1,
		})
	}
	if found := c.Validate(known); found != nil {
		t.Fatal(found)
	}
	if got := c.Layout().Pis[47].Segment.Addr; got != netip.MustParsePrefix("127.64.0.190/30") {
		t.Errorf("address %s", got)
	}

	c.Segments[1].Port = 1
	c.Switches[0].Credentials.User = "x"
	c.Guard = append(c.Guard, c.Guard[0], Guard{Verb: "fly", Delay: time.Second})
	c.Rack = ""
	var got []string
	for _, p := range c.Validate(known) {
		got = append(got, p.Error())
	}
	want := []string{
		"no rack\n  try: rack = \"A3\"",
		"guard: cycle is there twice\n  try: delete one of them",
		"guard: there is no verb \"fly\"\n  try: a verb of engine.Verbs",
		"switch \"sw1\" credentials: has both communities and a user\n  try: communities for version 2c, or a user for version 3",
		"segment \"a3-002\": switch port sw1/1 is also that of segment \"a3-001\"\n  try: give each its own",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
