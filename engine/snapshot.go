package engine

import (
	"net/netip"
	"time"
)

// Snapshot is the rack at one moment. It is immutable: viewers share it.
type Snapshot struct {
	Gen      uint64
	At       time.Time
	Rack     string
	Counts   Counts
	PoE      PoE
	Switches []SwitchView // in the configuration's order
	Pis      []PiView     // by name
	Jobs     []JobView    // not ended, oldest first, then recently ended
	Log      []LogLine    // the newest lines, newest first
	Warnings []string     // what is wrong with the service itself
	Images   []Image
	Dropped  uint64    // observations lost in a flood since the start
	Space    SpaceSeen // Volumes is nil here; see PiView
	SpaceAt  time.Time // when Space was looked at, zero = never

	index map[PiName]int
}

// Pi finds a Pi by name.
func (s *Snapshot) Pi(name PiName) (*PiView, bool) {
	i, ok := s.index[name]
	if !ok {
		return nil, false
	}
	return &s.Pis[i], true
}

// Counts are the Pis by what they do; the parts add up to Total.
type Counts struct {
	Total, Up, Booting, Off, Stalled, Unknown int
}

// PoE is the power used, of all switches that answer.
type PoE struct {
	Milliwatts  int
	BudgetWatts int
	Complete    bool // every switch answered at its last poll
}

// SwitchView is a switch as last heard.
type SwitchView struct {
	Name        string
	Ports       int
	Pis         []int     // index into Snapshot.Pis by port (entry 0 is port 1), -1 = no Pi there
	Answered    time.Time // zero = never
	Err         string    // "" = the last poll was answered
	Uptime      time.Duration
	Description string
	Milliwatts  int
	BudgetWatts int
}

// PowerView is what is known of a port's power.
type PowerView uint8

// The port's power is not known, off, on, or on without a device drawing any.
const (
	PowerUnknown PowerView = iota
	PowerOff
	PowerOn
	PowerSearching
)

// String is the short word of the table's PWR column.
func (p PowerView) String() string {
	if p > PowerSearching {
		return "invalid"
	}
	return [...]string{"?", "off", "on", "srch"}[p]
}

// PiView is one Pi in a snapshot.
type PiView struct {
	Name    PiName
	Gen     uint64 // of what decisions rest on: send it back with a Command
	Port    PortID
	Segment Segment
	Model   Model
	Memory  int // MB, 0 = not known
	Serial  uint32
	MAC     MAC
	Addr    netip.Addr
	Life    Life
	Note    string
	Server  string
	Owner   string // customer, "" = nobody
	// Public is the server's own address, with its prefix, and Gateway the next
	// hop that it is told; zero = none.
	Public     netip.Prefix
	Gateway    netip.Addr
	Power      PowerView
	PowerAt    time.Time // when the switch last told
	Wanted     bool      // what the port should be
	WasOn      bool      // its power was on when the service started, and it has not booted since
	Milliwatts int
	HasWatts   bool
	Link       string // up, down or "" when not told
	Stage      Stage
	Since      time.Time // in this stage
	LastStage  Stage     // when Stage is unknown or stalled: the one before
	Diagnosis  Diagnosis // when stalled
	Root       string
	RootVolume VolumeView
	Former     string // what undo brings back
	// FormerVolume is Former's; it became the former root at its Changed.
	FormerVolume VolumeView
	FormerUntil  time.Time // when Former is given up, zero = never
	Image        string
	Export       string // what is exported to it, "" = nothing
	ExportErr    string // why its root is not exported
	Rescue       bool   // it boots the small system in memory
	Exam         bool   // it boots the examination system
	RescueKeys   []HostKey
	Job          *JobView // not ended job, nil = none
	Boot         *Boot    // the current or last boot, nil = none seen
	NFS          NFSSeen
	NFSAt        time.Time
	Seen         *DHCPSeen // another board heard on this Pi's segment
	SeenIs       PiName    // the Pi whose board Seen is: it was moved here, or somebody sends its address
	SeenAt       time.Time
	// Rent is of a server that was ordered.
	Rent Rent
	// Free tells whether an order may have it, unless it is held back as a spare.
	Free bool
}

// Rent is what a Pi's server is to the customer who ordered it. State "" = it has
// none, or one of the configuration.
type Rent struct {
	State   ServerState
	DiskGB  int
	Price   Pence // a month
	Task    int64 // its order's job
	SSHPort int   // of the IPv4 proxy, 0 = none
	Created time.Time
	Live    time.Time // zero = not yet
}

// VolumeView is a volume of a Pi in a snapshot.
type VolumeView struct {
	Created  time.Time
	Changed  time.Time // when it became what it is
	HostKeys []HostKey
	Use      VolumeUse
	UseAt    time.Time // when Use was looked at, zero = never
}

// JobView is a job in a snapshot.
type JobView struct {
	ID      int64
	Batch   int64
	Verb    string
	Pi      PiName
	To      PiName // move
	Actor   string
	State   JobState
	Step    string // name of the step running or next
	StepNo  int    // 1-based
	Steps   int
	Percent int // of the step, -1 = not told
	Since   time.Time
	Ended   time.Time
	Error   string
	Server  string // that it is for, "" = none
	Owner   string // whose that is
	Waits   string // why it has not begun, "" = it has
}

// BootTable is what DHCP, TFTP and NFS answer from: an immutable value behind
// an atomic pointer, replaced at once when something in it changes.
type BootTable struct {
	segments map[string]BootEntry
	clients  map[netip.Addr]BootEntry
}

// BootEntry is how one Pi boots.
type BootEntry struct {
	Pi      PiName
	Segment Segment
	MAC     MAC // zero: no board is known, every board heard is new
	Model   Model
	Serial  uint32
	Volume  string // "" = it gets no boot files
	Image   string
	Host    string
	Rescue  bool // it boots the small system in memory
	Exam    bool // it boots the examination system
	Allowed bool // its life-cycle lets it boot
}

// Segment finds the entry of a segment by its name.
func (t *BootTable) Segment(name string) (BootEntry, bool) {
	e, ok := t.segments[name]
	return e, ok
}

// Client finds the entry of a Pi by its address.
func (t *BootTable) Client(addr netip.Addr) (BootEntry, bool) {
	e, ok := t.clients[addr.Unmap()]
	return e, ok
}

// Entries calls f for every entry, in no order, until it returns false.
func (t *BootTable) Entries(f func(BootEntry) bool) {
	for _, e := range t.segments {
		if !f(e) {
			return
		}
	}
}
