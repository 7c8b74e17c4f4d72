package config

import (
	"net/netip"
	"time"

	"picloud/engine"
)

// Config is a rack's configuration. Build one in code from [Default] and
// [DefaultSwitch], then call Validate; or read one with Parse or Load.
type Config struct {
	Rack     string // the rack's name, for people
	State    string // folder of the database, the volumes and unpacked images
	Boot     Boot
	DHCP     DHCP
	TFTP     TFTP
	NFS      NFS
	Volumes  Volumes
	Guest    Guest
	SSH      SSH
	Console  Console
	Backup   Backup
	HTTP     HTTP
	Orders   Orders
	Exam     Exam
	API      API
	Guard    []Guard // one per verb of engine.Verbs, in that order
	Locals   []Local
	Switches []Switch
	Segments []Segment
	Servers  []Server
	Images   []Image
	Plans    []Plan

	source *source // where the file says what; nil for a value built in code
}

// Boot is how Pis are started and watched.
type Boot struct {
	Limits   engine.Limits // 0 = no limit for that stage
	Starting int           // Pis that may be between power-on and kernel at once
	Hold     time.Duration // how long a power-cycle keeps the port off
	Failures int           // a batch stops after so many failed jobs
}

// Reply is where a DHCP answer is sent to.
type Reply string

// A DHCP answer goes to 255.255.255.255, or to the offered address at the
// client's MAC (RFC 2131, section 4.1).
const (
	ReplyBroadcast Reply = "broadcast"
	ReplyUnicast   Reply = "unicast"
)

// DHCP sets the DHCP server.
type DHCP struct {
	Port       int // UDP port of the server (RFC 2131: 67); 0 = any free one
	ClientPort int // UDP port of the Pis (68)
	Reply      Reply
	Delay3B    time.Duration // OFFER to the Pi 3 ROM is held back so long
	Nudge      time.Duration // extra frames to the Pi 3 ROM, so far apart; 0 = none
	Device     string        // SO_BINDTODEVICE; "" = every interface
}

// TFTP sets the TFTP server.
type TFTP struct {
	Port         int           // UDP port (RFC 1350: 69); 0 = any free one
	MaxTransfers int           // at once, of all Pis
	MaxPerPi     int           // at once, of one Pi
	Timeout      time.Duration // a block not acknowledged is sent again after
}

// NFS sets what gives the Pis their roots.
type NFS struct {
	Driver string // which server; see Known
	Port   int    // TCP port (2049); 0 = any free one, of the demo's server
	Path   string // prefix of the exported paths, as the kernel command line has them
	// Shared lets nfs-ganesha export roots that share a file system, of which
	// each Pi can then read and write every other's.
	Shared bool
}

// Values of nfs.driver that the checks know of.
const (
	NFSAuto   = "auto"   // the kernel's server if it runs, else nfs-ganesha
	NFSKernel = "kernel" // the kernel's
	NFSDemo   = "demo"   // picloud's own, read-only
)

// nfsPort is the port of NFS (RFC 1813, section 2.1).
const nfsPort = 2049

// VolumesLVM is the value of volumes.driver that needs a group and a pool.
const VolumesLVM = "lvm"

// Volumes sets where the Pis' roots are kept.
type Volumes struct {
	Driver     string // how; see Known
	NearlyFull int    // per cent of the disk at which no new root is made
	KeepDays   int    // how long a former root is kept; 0 = until the next reimage
	Group      string // lvm: the volume group
	Pool       string // lvm: the thin pool in it
	DiskGB     int    // size of a root, in 10^9 bytes, unless its server has another
}

// Guest is what is written into every root.
type Guest struct {
	Resolvers []netip.Addr // DNS servers; for servers with IPv6 only, ones that do DNS64 (RFC 6147)
	TimeZone  string       // of the tz database, "" = the image's
}

// SSH sets the probe that tells that a Pi is up.
type SSH struct {
	Port    int // TCP port on the Pi
	Every   time.Duration
	Timeout time.Duration // for the connection and its banner
}

// Console sets how people and scripts reach the service.
type Console struct {
	Socket string         // Unix socket of the rack terminal and of picloud VERB
	Listen netip.AddrPort // TCP address of the console over SSH; zero = none
}

// Backup sets the daily copies of the database.
type Backup struct {
	Keep int // how many are kept, in the state folder's backups; 0 = none are made
}

// HTTP sets where the service tells its metrics and its health.
type HTTP struct {
	Listen netip.AddrPort // TCP address of /metrics, /healthz and /readyz; zero = none
}

// Local says who a user of this computer is to the service. root is an admin.
type Local struct {
	User     string // as the system knows the user
	Operator string // as picloud operator add named them
}

// Guard is what stands between a key and its verb.
type Guard struct {
	Verb   engine.VerbName
	Free   engine.GuardKind // for a Pi that nobody has
	Rented engine.GuardKind // for a Pi that a customer has
	Delay  time.Duration    // of a count-down, if either is one
}

// SNMP versions of a switch: community strings (RFC 3416, RFC 1901), or users
// with authentication (RFC 3414).
const (
	SNMPv2c = "2c"
	SNMPv3  = "3"
)

// Switch is a PoE switch and how it is reached.
type Switch struct {
	Name            string
	Address         netip.AddrPort // of its SNMP agent
	Profile         string         // which tables and columns it has; see Known
	Version         string         // SNMPv2c or SNMPv3
	CredentialsFile string         // what ReadCredentials reads
	// Credentials are filled in by Load, or by code that has no file. They are
	// never written by Encode.
	Credentials Credentials
	Ports       int           // on the faceplate, PoE ports first
	Poll        time.Duration // between two readings
	Group       int           // pethPsePortGroupIndex (RFC 3621) of its ports
	Timeout     time.Duration // for one SNMP answer
	Retries     int           // after the first try
	Overrides   []PortMap
}

// PortMap says where a port of the faceplate is in the switch's tables, for
// switches that number them otherwise. A zero keeps the profile's rule.
type PortMap struct {
	Port       int // on the faceplate, from 1
	Group      int // pethPsePortGroupIndex (RFC 3621)
	Index      int // pethPsePortIndex (RFC 3621)
	IfIndex    int // ifIndex (RFC 2863)
	BridgePort int // dot1dBasePort (RFC 4188)
}

// Serial is the low 32 bits of a board's serial number; 0 = not known.
type Serial uint32

// Segment is one VLAN to one Pi, and what is known of the board there.
type Segment struct {
	Name      string
	Interface string       // the server's network interface
	Address   netip.Prefix // the server's address, with the segment's mask
	Pi        engine.PiName
	PiAddress netip.Addr // zero: the other host of a /30
	Switch    string
	Port      int // on the faceplate, from 1
	Power     bool
	MAC       engine.MAC
	Serial    Serial
	Model     engine.Model
	Memory    int // MB, 0 = not known
	Image     string
	Life      engine.Life
}

// Server is what a customer has.
type Server struct {
	Name  string
	Owner string
	Pi    engine.PiName
	Keys  []string // authorized_keys lines of root
	// Address is its public IPv6 address with the length of the prefix that its
	// Pi has on the wire; Gateway is the next hop, zero = DefaultGateway.
	Address netip.Prefix
	Gateway netip.Addr
	DiskGB  int // size of its root, in 10^9 bytes; 0 = volumes.disk_gb
}

// BuiltinImage is the name of the image that the program carries in itself.
const BuiltinImage = "builtin"

// Image is an operating system that roots are made from.
type Image struct {
	Name  string
	Label string // for people
	Path  string // a folder with a whole root; "" for the built-in one, and what picloud image add added
}

// metricsPort is where Prometheus finds the service unless it is told otherwise.
const metricsPort = 9468

// DefaultSocket is where a service is looked for.
const DefaultSocket = "/run/picloud/picloud.sock"

// Default returns a configuration with every default, and no hardware yet.
func Default() *Config {
	return &Config{
		State: "/var/lib/picloud",
		Boot:  Boot{Limits: engine.DefaultLimits(), Starting: 16, Hold: 4 * time.Second, Failures: 3},
		DHCP: DHCP{
			Port: 67, ClientPort: 68, Reply: ReplyBroadcast,
			Delay3B: time.Second, Nudge: 600 * time.Millisecond,
		},
		TFTP:    TFTP{Port: 69, MaxTransfers: 256, MaxPerPi: 4, Timeout: time.Second},
		NFS:     NFS{Driver: NFSAuto, Port: nfsPort, Path: "/srv/pi"},
		Volumes: Volumes{Driver: "folder", NearlyFull: 90, KeepDays: 7},
		SSH:     SSH{Port: 22, Every: 5 * time.Second, Timeout: 2 * time.Second},
		Console: Console{Socket: DefaultSocket},
		Backup:  Backup{Keep: 14},
		HTTP:    HTTP{Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), metricsPort)},
		Orders:  Orders{Tries: 3, PoolBits: 64, Quarantine: 7, KeepDays: 7},
		Exam:    Exam{Port: examPort, Burn: 20 * time.Second},
		API:     API{Base: "/beta"},
		Guard:   defaultGuards(),
	}
}

// DefaultSwitch returns a switch with every default, to be named and reached.
func DefaultSwitch() Switch {
	return Switch{
		Version: SNMPv2c, Ports: 48, Poll: 2 * time.Second, Group: 1,
		Timeout: 2 * time.Second, Retries: 2,
	}
}

// defaultGuards puts the verb table's guards in the form of the file.
func defaultGuards() []Guard {
	verbs := engine.Verbs()
	guards := make([]Guard, 0, len(verbs))
	for _, v := range verbs {
		delay := max(v.Guards.Free.Delay, v.Guards.Rented.Delay)
		if delay == 0 {
			delay = shortestDelay(verbs)
		}
		guards = append(guards, Guard{
			Verb: v.Name, Free: v.Guards.Free.Kind, Rented: v.Guards.Rented.Kind, Delay: delay,
		})
	}
	return guards
}

// shortestDelay is the count-down that a verb without one gets when the
// configuration sets one: the shortest of the other verbs.
func shortestDelay(verbs []engine.Verb) time.Duration {
	var shortest time.Duration
	for _, v := range verbs {
		for _, d := range []time.Duration{v.Guards.Free.Delay, v.Guards.Rented.Delay} {
			if d > 0 && (shortest == 0 || d < shortest) {
				shortest = d
			}
		}
	}
	return shortest
}

// Limits are the stage limits for the engine.
func (c *Config) Limits() engine.Limits { return c.Boot.Limits }

// Guards are the guards for the engine, by verb.
func (c *Config) Guards() map[engine.VerbName]engine.Guards {
	guards := make(map[engine.VerbName]engine.Guards, len(c.Guard))
	for _, g := range c.Guard {
		guards[g.Verb] = engine.Guards{Free: g.guard(g.Free), Rented: g.guard(g.Rented)}
	}
	return guards
}

func (g Guard) guard(kind engine.GuardKind) engine.Guard {
	if kind != engine.GuardCountdown {
		return engine.Guard{Kind: kind}
	}
	return engine.Guard{Kind: kind, Delay: g.Delay}
}
