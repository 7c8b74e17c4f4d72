package engine

import (
	"net/netip"
	"time"
)

// Observation is one piece of evidence, from a packet, a switch or a socket.
// Exactly one of the pointers is set.
type Observation struct {
	Time   time.Time
	Switch *SwitchReading
	DHCP   *DHCPSeen
	TFTP   *TFTPSeen
	NFS    *NFSSeen
	SSH    *SSHSeen
	Space  *SpaceSeen
	Health *HealthSeen
	Report *ReportSeen
}

// SpaceSeen is how much room the roots take.
type SpaceSeen struct {
	Err    string // "" = all of it could be told
	Driver string // what keeps the volumes: lvm, btrfs, folder
	Copies bool   // a new root copies every file, which takes time and room
	Quota  bool   // a volume has a size that it cannot outgrow
	Pool   PoolReading
	// Volumes are those that were looked at; others are as they were.
	Volumes map[string]VolumeUse
}

// PoolReading is the room that all volumes share.
type PoolReading struct {
	Size, Used int64   // bytes
	Metadata   float64 // how much of the room for metadata is used, 0 to 1; 0 = it has none of its own
	NearlyFull bool    // no new root is made, so that those there can go on
}

// VolumeUse is the room of one volume, in bytes.
type VolumeUse struct {
	Size int64 // that it may hold, 0 = no limit
	Used int64
}

// SwitchReading is a poll of a switch, or the news that a poll failed.
type SwitchReading struct {
	Switch           string
	Err              string // "" = it answered
	Uptime           time.Duration
	Description      string
	BudgetWatts      int
	ConsumptionWatts int
	Ports            []PortReading
}

// PortReading is a port in the switch's own words.
type PortReading struct {
	Port       int
	Enabled    bool   // pethPsePortAdminEnable
	Delivering bool   // pethPsePortDetectionStatus is deliveringPower
	Detection  string // the MIB's word: searching, fault, otherFault, …
	Denied     uint32 // pethPsePortPowerDeniedCounter
	Overload   uint32
	Short      uint32
	Milliwatts int
	HasWatts   bool
	LinkKnown  bool
	LinkUp     bool
	STP        string // dot1dStpPortState's word, "" = not told
}

// DHCPSeen is a DHCP message to or from a Pi.
type DHCPSeen struct {
	Segment string
	Kind    string // discover, offer, request, ack, nak, unknown, ignored
	MAC     MAC
	Model   Model  // told by the packet; hostile input
	Serial  uint32 // told by the packet; 0 = not told
	ROM     bool   // sent by a boot ROM or boot loader, not by an operating system
	Second  bool   // bootcode.bin's own round, not the ROM's
	Reason  string
}

// TFTPSeen is a boot file asked for by the Pi at Client.
type TFTPSeen struct {
	Client netip.Addr
	Kind   string // requested, served, notfound, early, failed, refused
	Name   string
	Bytes  int64
	Size   int64
	Kernel bool      // the name is a kernel image
	Asked  time.Time // when the request came: events of two requests may come in the wrong order
	Reason string
}

// NFSSeen is the state of the Pi's NFS connections, as the kernel of the file
// server counts them.
type NFSSeen struct {
	Client      netip.Addr
	Connected   bool
	Since       time.Time // when the connection was first seen: tells one from the next
	BytesIn     uint64
	BytesOut    uint64
	RTT         time.Duration
	Retransmits uint32
	Refused     string // a mount that was refused, and why
}

// SSHSeen is the result of asking the Pi's address for its SSH banner.
type SSHSeen struct {
	Client netip.Addr
	Banner string // "" = none
	Err    string
}
