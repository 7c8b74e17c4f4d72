package poe

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"
)

// Version is the SNMP version spoken.
type Version uint8

// The versions. SNMPv1 has neither GetBulk nor typed errors and is left out.
const (
	V2c Version = 2
	V3  Version = 3
)

func (v Version) String() string { return [...]string{"none", "1", "2c", "3"}[min(v, 3)] }

// Secret is a community or a passphrase. It prints as stars, also in logs.
type Secret string

func (s Secret) String() string       { return "***" }
func (s Secret) GoString() string     { return "***" }
func (s Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText keeps secrets out of JSON and other text formats.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// User is an SNMPv3 user of the user-based security model (RFC 3414).
type User struct {
	Name string
	// Auth is MD5, SHA, SHA-224, SHA-256, SHA-384 or SHA-512; empty means no
	// authentication.
	Auth       string
	AuthSecret Secret
	// Priv is DES, AES, AES-192, AES-256, AES-192C or AES-256C (the last two
	// extend keys as Cisco does); empty means no privacy.
	Priv       string
	PrivSecret Secret
	Context    string // context name, mostly empty
}

var authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
	"": gosnmp.NoAuth, "MD5": gosnmp.MD5, "SHA": gosnmp.SHA, "SHA-224": gosnmp.SHA224,
	"SHA-256": gosnmp.SHA256, "SHA-384": gosnmp.SHA384, "SHA-512": gosnmp.SHA512,
}

var privProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
	"": gosnmp.NoPriv, "DES": gosnmp.DES, "AES": gosnmp.AES, "AES-192": gosnmp.AES192,
	"AES-256": gosnmp.AES256, "AES-192C": gosnmp.AES192C, "AES-256C": gosnmp.AES256C,
}

// minSecret is the shortest passphrase that RFC 3414, section 11.2, allows.
const minSecret = 8

func (u User) validate() error {
	auth, ok := authProtocols[u.Auth]
	if !ok {
		return fmt.Errorf("unknown authentication protocol %q", u.Auth)
	}
	priv, ok := privProtocols[u.Priv]
	switch {
	case !ok:
		return fmt.Errorf("unknown privacy protocol %q", u.Priv)
	case u.Name == "" || len(u.Name) > 32:
		return errors.New("a user name has 1 to 32 bytes")
	case priv != gosnmp.NoPriv && auth == gosnmp.NoAuth:
		return errors.New("privacy needs authentication")
	case auth != gosnmp.NoAuth && len(u.AuthSecret) < minSecret:
		return fmt.Errorf("the authentication passphrase is shorter than %d bytes", minSecret)
	case priv != gosnmp.NoPriv && len(u.PrivSecret) < minSecret:
		return fmt.Errorf("the privacy passphrase is shorter than %d bytes", minSecret)
	case len(u.Context) > 32:
		return errors.New("the context name is longer than 32 bytes")
	}
	return nil
}

// PortIndex is how the tables of a switch name one port. The four numbers are
// independent of each other: discovery guesses them and staff correct them.
type PortIndex struct {
	Number     int // the port's number for people and for this package's calls
	Group      int // pethPsePortGroupIndex; 0 means 1
	Port       int // pethPsePortIndex; 0 means Number
	IfIndex    int // 0: link unknown
	BridgePort int // dot1dBasePort; 0: spanning tree and addresses unknown
}

// Limits on what is configured.
const (
	MaxPorts = 1024
	maxIndex = 1<<31 - 1
)

// Config is what an SNMP driver is made from. Credentials are values: the
// caller reads the files. A zero field has the default.
type Config struct {
	Name      string // for errors and readings
	Addr      netip.AddrPort
	Version   Version // default V2c
	Community Secret  // V2c; needs write access to set power
	User      User    // V3
	Profile   string  // default "rfc3621"
	// Ports is the map of the ports. Without one the driver asks the switch
	// at its first poll and believes the guess.
	Ports []PortIndex

	Timeout        time.Duration // of one try; default 2 s
	Retries        int           // tries after the first; default 2, negative none
	MaxRepetitions int           // rows asked for in one GetBulk; default 10: with more some switches do not answer
	MaxOIDs        int           // objects asked for in one Get; default 36
	// MinOff is how long a port stays off before it is powered again, so that
	// the capacitors of a HAT are empty; default 4 s, negative none.
	MinOff time.Duration
	// ReadBack is the time between two looks at a port that was set; default
	// 250 ms.
	ReadBack time.Duration
	// OnLimit and OffLimit are how long the detection status may take to
	// agree with a change; default 8 s and 5 s.
	OnLimit, OffLimit time.Duration
}

func orDefault[T cmp.Ordered](v *T, def T) {
	var zero T
	switch {
	case *v == zero:
		*v = def
	case *v < zero:
		*v = zero
	}
}

func (c Config) withDefaults() Config {
	if c.Version == 0 {
		c.Version = V2c
	}
	if c.Profile == "" {
		c.Profile = rfc3621.Name
	}
	orDefault(&c.Timeout, 2*time.Second)
	orDefault(&c.Retries, 2)
	orDefault(&c.MaxRepetitions, 10)
	orDefault(&c.MaxOIDs, 36)
	orDefault(&c.MinOff, 4*time.Second)
	orDefault(&c.ReadBack, 250*time.Millisecond)
	orDefault(&c.OnLimit, 8*time.Second)
	orDefault(&c.OffLimit, 5*time.Second)
	c.Ports = slices.Clone(c.Ports)
	for i := range c.Ports {
		orDefault(&c.Ports[i].Group, 1)
		orDefault(&c.Ports[i].Port, c.Ports[i].Number)
	}
	slices.SortFunc(c.Ports, func(a, b PortIndex) int { return cmp.Compare(a.Number, b.Number) })
	return c
}

// validate checks a configuration that has its defaults.
func (c Config) validate() error {
	profile, ok := FindProfile(c.Profile)
	switch {
	case !ok:
		return fmt.Errorf("unknown profile %q: known are %s", c.Profile, profileNames())
	case c.Name == "":
		return errors.New("the name is empty")
	case !c.Addr.IsValid() || c.Addr.Port() == 0:
		return fmt.Errorf("%v is no address with a port", c.Addr)
	case c.Version != V2c && c.Version != V3:
		return fmt.Errorf("SNMP version %v is not spoken", c.Version)
	case c.Version == V2c && (c.Community == "" || len(c.Community) > 127):
		return errors.New("a community has 1 to 127 bytes")
	case c.Timeout <= 0 || c.ReadBack <= 0 || c.OnLimit <= 0 || c.OffLimit <= 0:
		return errors.New("a time limit is negative")
	case c.Retries > 10 || c.MaxRepetitions < 1 || c.MaxRepetitions > 255 || c.MaxOIDs < 1 || c.MaxOIDs > 128:
		return errors.New("retries are 0 to 10, repetitions 1 to 255, objects 1 to 128")
	}
	if c.Version == V3 {
		if err := c.User.validate(); err != nil {
			return fmt.Errorf("user %q: %w", c.User.Name, err)
		}
	}
	return validatePorts(c.Ports, profile)
}

// validatePorts checks ports ordered by number.
func validatePorts(ports []PortIndex, profile Profile) error {
	if len(ports) > MaxPorts {
		return fmt.Errorf("%d ports, the most is %d", len(ports), MaxPorts)
	}
	rows := make(map[string]int, len(ports))
	for i, p := range ports {
		if p.Number < 1 || min(p.Group, p.Port, p.IfIndex, p.BridgePort) < 0 ||
			max(p.Number, p.Group, p.Port, p.IfIndex, p.BridgePort) > maxIndex {
			return fmt.Errorf("port %d: an index is out of range", p.Number)
		}
		if i > 0 && ports[i-1].Number == p.Number {
			return fmt.Errorf("port %d is there twice", p.Number)
		}
		row := profile.Detection.Index.of(p)
		// Two numbers for one outlet would switch off somebody else's Pi.
		if other, ok := rows[row]; ok {
			return fmt.Errorf("ports %d and %d have the same index %s", other, p.Number, row[1:])
		}
		rows[row] = p.Number
	}
	return nil
}

func profileNames() string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// security is the user in gosnmp's terms.
func (u User) security() (*gosnmp.UsmSecurityParameters, gosnmp.SnmpV3MsgFlags) {
	usm := &gosnmp.UsmSecurityParameters{
		UserName:                 u.Name,
		AuthenticationProtocol:   authProtocols[u.Auth],
		AuthenticationPassphrase: string(u.AuthSecret),
		PrivacyProtocol:          privProtocols[u.Priv],
		PrivacyPassphrase:        string(u.PrivSecret),
	}
	switch {
	case usm.PrivacyProtocol != gosnmp.NoPriv:
		return usm, gosnmp.AuthPriv
	case usm.AuthenticationProtocol != gosnmp.NoAuth:
		return usm, gosnmp.AuthNoPriv
	default:
		return usm, gosnmp.NoAuthNoPriv
	}
}
