package engine

import "time"

// Stage is what a Pi is doing now, by the best evidence there is.
type Stage uint8

// The boot stages in the order a Pi passes them; each names its evidence.
const (
	StageOff      Stage = iota // the switch says the port's power is off
	StagePower                 // the switch delivers power; nothing heard yet
	StageDHCP                  // a DISCOVER came
	StageFirmware              // a boot file was asked for
	StageKernel                // the kernel image was served whole
	StageRoot                  // an NFS connection from the Pi's address
	StageUp                    // an SSH banner from its address
	StageStalled               // no progress within the stage's limit
	StageUnknown               // the switch has not answered
	stageCount
)

// stageInfo is what people see of a stage.
type stageInfo struct {
	name string
	mark byte // one character of the faceplate
	long string
}

var stages = [stageCount]stageInfo{
	StageOff:      {"off", '_', "the switch port gives no power"},
	StagePower:    {"power", 'p', "power is on, nothing heard yet"},
	StageDHCP:     {"dhcp", 'd', "asking for an address"},
	StageFirmware: {"tftp", 't', "fetching firmware and kernel"},
	StageKernel:   {"kernel", 'k', "the kernel was served whole"},
	StageRoot:     {"nfs", 'n', "its root is mounted"},
	StageUp:       {"up", '.', "SSH answers"},
	StageStalled:  {"stalled", '!', "no progress within the stage's limit"},
	StageUnknown:  {"unknown", '?', "the switch has not answered"},
}

// String is the stage's name in tables, JSON and filters.
func (s Stage) String() string {
	if s >= stageCount {
		return "invalid"
	}
	return stages[s].name
}

// Mark is the stage's one character on the faceplate.
func (s Stage) Mark() byte {
	if s >= stageCount {
		return '?'
	}
	return stages[s].mark
}

// Meaning says in a few words what the stage is.
func (s Stage) Meaning() string {
	if s >= stageCount {
		return ""
	}
	return stages[s].long
}

// Booting tells whether the stage lies between power-on and up.
func (s Stage) Booting() bool { return s >= StagePower && s < StageUp }

// ParseStage finds a stage by its name.
func ParseStage(name string) (Stage, bool) {
	for i, info := range stages {
		if info.name == name {
			return Stage(i), true
		}
	}
	return 0, false
}

// Limits say how long a Pi may stay in a stage without progress before it
// counts as stalled. The zero value of an entry means no limit.
type Limits [stageCount]time.Duration

// DefaultLimits are for real Pis. Power: the Pi 3 ROM looks for an SD card and
// USB disks for 5-10 s first (Pi documentation, boot-net), a Pi 5 does less.
// DHCP: an EEPROM tries for 45 s (DHCP_TIMEOUT), bootcode.bin may ignore
// offers for a minute (raspberrypi/firmware#941). Firmware: no block acknowledged or asked
// for within 45 s (TFTP_FILE_TIMEOUT is 30 s).
func DefaultLimits() Limits {
	return Limits{
		StageOff:      30 * time.Second,
		StagePower:    45 * time.Second,
		StageDHCP:     75 * time.Second,
		StageFirmware: 45 * time.Second,
		StageKernel:   90 * time.Second,
		StageRoot:     180 * time.Second,
	}
}

// Scale divides every limit, for a simulated rack whose firmware runs faster
// than real, but never below floor: the server's own work is not sped up.
func (l Limits) Scale(speed float64, floor time.Duration) Limits {
	for i := range l {
		if l[i] > 0 {
			l[i] = max(time.Duration(float64(l[i])/speed), floor)
		}
	}
	return l
}
