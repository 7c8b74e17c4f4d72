package engine

import (
	"fmt"
	"net/netip"
	"time"
)

// PiName is a Pi's name in the rack, unique and stable over board swaps: it
// names the place (a segment and its switch port), such as "a3-023".
type PiName string

// PortID names a switch port the way the front of the switch does.
type PortID struct {
	Switch string
	Port   int // 1-based, as printed on the faceplate
}

// String gives "sw1/23".
func (p PortID) String() string { return fmt.Sprintf("%s/%d", p.Switch, p.Port) }

// MAC is an Ethernet address; the zero value means "not known".
type MAC [6]byte

// String gives the colon form, or "" for the zero value.
func (m MAC) String() string {
	if m == (MAC{}) {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Model is a Raspberry Pi model as far as netbooting tells them apart.
type Model string

// The models the rack knows; their boot ROMs differ (see netboot/dhcp).
const (
	ModelUnknown Model = ""
	Model3B      Model = "3B"
	Model3BPlus  Model = "3B+"
	Model4B      Model = "4B"
	Model5       Model = "5"
)

// Segment is one VLAN to one Pi: where it is, which addresses it has, and the
// switch port that gives the Pi power and network.
type Segment struct {
	Name      string
	Interface string       // network interface of the server
	Server    netip.Addr   // the server's address on it
	Addr      netip.Prefix // the Pi's address, with the segment's mask
	Port      PortID
}

// Life is what a Pi may be used for. It says nothing of whether it runs.
type Life string

// The life-cycle: new → ready → allocated → deploying → live → releasing → ready,
// and broken from anywhere.
const (
	LifeNew       Life = "new"
	LifeReady     Life = "ready"
	LifeAllocated Life = "allocated"
	LifeDeploying Life = "deploying"
	LifeLive      Life = "live"
	LifeReleasing Life = "releasing"
	LifeBroken    Life = "broken"
)

// Pi is one place for a Raspberry Pi and what is kept of the board in it.
// All of it is stored; what the Pi is doing now is in its Boot.
type Pi struct {
	Name    PiName
	Segment Segment
	Model   Model
	Serial  uint32 // low 32 bits of the board's serial number; 0 = not known
	MAC     MAC    // zero = not known: the first board heard is reported as new
	Life    Life
	Note    string // why it is broken, as the person who marked it said
	Server  string // the server (customer's machine) on it, "" = none
	Power   bool   // what the port should be: the written-down rule that powers it
	Volume  string // the root it boots from, "" = none
	Former  string // the root before the last reimage, which undo brings back
	Image   string // the image Volume was made from
	// FormerImage is the image Former was made from.
	FormerImage string
	// Rescue makes it boot the small system in memory instead of its root.
	Rescue bool
	Memory int // MB, as the board told; 0 = not known
	// Exam makes it boot the examination system.
	Exam bool
}

// Rented tells whether a customer has this Pi.
func (p Pi) Rented() bool { return p.Server != "" }

// Server is what a customer has: a name, an owner and keys. It is on a Pi.
type Server struct {
	Name  string
	Owner string
	Keys  []string // authorized_keys lines of root
	// Address is its public IPv6 address with the length of its prefix, and
	// Gateway the next hop; they go along when it moves. Zero = none.
	Address netip.Prefix
	Gateway netip.Addr
	Disk    int64 // bytes that its root may hold, 0 = as its image

	// What follows is of servers that were ordered; one of the configuration has
	// none of it.
	Account string
	State   ServerState
	Wish    Spec
	Image   string
	DiskGB  int
	Number  int       // its place in the pool of addresses and ports, from 1; 0 = none
	SSHPort int       // of the IPv4 proxy, 0 = none
	Price   Pence     // a month
	Task    int64     // its order's job
	Placed  time.Time // when it came to the Pi that it is on
	Created time.Time
	Live    time.Time // zero = not yet
	Ended   time.Time
	Note    string // why it failed
}

// Switch is a PoE switch as the rack is wired.
type Switch struct {
	Name  string
	Ports int
}

// Image is an operating system that roots are made from.
type Image struct {
	Name  string
	Label string
	Added time.Time
}

// VolumeState is what a volume is kept for.
type VolumeState string

// A volume is being made, a Pi's root, a Pi's former root, no longer wanted,
// or gone.
const (
	VolumeMaking    VolumeState = "making"
	VolumeCurrent   VolumeState = "current"
	VolumeFormer    VolumeState = "former"
	VolumeDiscarded VolumeState = "discarded"
	VolumeRemoved   VolumeState = "removed"
)

// Volume is a root file system on the file server.
type Volume struct {
	Name    string
	Pi      PiName
	Image   string
	State   VolumeState
	Created time.Time
	Changed time.Time
	// Size is how many bytes it was made or grown to hold, 0 = as its image.
	Size     int64
	HostKeys []HostKey // of its SSH server, as picloud made them
	// RescueKeys are of the small system that had it mounted last.
	RescueKeys []HostKey
	// Server is the released one that a former root is kept for, "" = it is a
	// Pi's former root.
	Server string
}

// HostKey is the public half of what an SSH server proves itself by.
type HostKey struct {
	Type        string // ssh-ed25519
	Fingerprint string // SHA256:..., as ssh shows it
}

// Layout is the rack as its configuration describes it.
type Layout struct {
	Rack     string
	Switches []Switch
	Pis      []Pi // Life, Server, Volume and Image are first values; what is stored wins
	Servers  []Server
	Images   []Image
	Rules    Rules
}
