package poe

import (
	"fmt"
	"net"
	"time"
)

// Admin is what the switch was told to do with a port's power:
// pethPsePortAdminEnable of RFC 3621.
type Admin uint8

// The values of Admin; the zero value is what no answer leaves.
const (
	AdminUnknown Admin = iota
	AdminEnabled
	AdminDisabled
)

var adminWords = [...]string{"unknown", "enabled", "disabled"}

func (a Admin) String() string { return word(adminWords[:], int(a)) }

// Detection is what the switch finds at a port: pethPsePortDetectionStatus of
// RFC 3621, with its numbers.
type Detection uint8

// The values of Detection; the zero value is what no answer leaves.
const (
	DetectionUnknown         Detection = iota
	DetectionDisabled                  // power is off
	DetectionSearching                 // power is allowed, no device was found
	DetectionDeliveringPower           // power is on
	DetectionFault
	DetectionTest
	DetectionOtherFault
)

var detectionWords = [...]string{"unknown", "disabled", "searching", "deliveringPower", "fault", "test", "otherFault"}

func (d Detection) String() string { return word(detectionWords[:], int(d)) }

// Link is ifOperStatus of RFC 2863, with its numbers.
type Link uint8

// The values of Link; the zero value is what no answer leaves.
const (
	LinkNoAnswer Link = iota
	LinkUp
	LinkDown
	LinkTesting
	LinkUnknown // the switch itself does not know
	LinkDormant
	LinkNotPresent
	LinkLowerLayerDown
)

var linkWords = [...]string{"no answer", "up", "down", "testing", "unknown", "dormant", "notPresent", "lowerLayerDown"}

func (l Link) String() string { return word(linkWords[:], int(l)) }

// STP is dot1dStpPortState of RFC 4188, with its numbers.
type STP uint8

// The values of STP; the zero value is what no answer leaves, as from a switch
// without spanning tree.
const (
	STPUnknown STP = iota
	STPDisabled
	STPBlocking
	STPListening
	STPLearning
	STPForwarding
	STPBroken
)

var stpWords = [...]string{"unknown", "disabled", "blocking", "listening", "learning", "forwarding", "broken"}

func (s STP) String() string { return word(stpWords[:], int(s)) }

// PSEStatus is pethMainPseOperStatus of RFC 3621, with its numbers.
type PSEStatus uint8

// The values of PSEStatus; the zero value is what no answer leaves.
const (
	PSEUnknown PSEStatus = iota
	PSEOn
	PSEOff
	PSEFaulty
)

var pseWords = [...]string{"unknown", "on", "off", "faulty"}

func (s PSEStatus) String() string { return word(pseWords[:], int(s)) }

func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("%d", i)
}

// ClassUnknown is the Class of a port that delivers no power.
const ClassUnknown = -1

// PortState is what the switch said of one port.
type PortState struct {
	Port      int // the number in Config.Ports
	Admin     Admin
	Detection Detection
	// Class is the PoE class of the device, 0 to 8, or ClassUnknown; it is
	// valid only while power is delivered (RFC 3621).
	Class int
	// Milliwatts is the present draw, where HasWatts says that the switch
	// tells it.
	Milliwatts int
	HasWatts   bool
	// Denied, Overload and Short count since the switch started: power
	// refused for want of budget, cut for an overload, cut for a short.
	Denied, Overload, Short uint32
	Link                    Link
	STP                     STP
	// At is the time of the last answer about this port. Where Err is not nil
	// the states above are unknown and At is how old the knowledge is; zero
	// means never.
	At time.Time
	// Err is why the state is unknown.
	Err error
}

// On tells whether the switch says that it delivers power.
func (s PortState) On() bool { return s.Detection == DetectionDeliveringPower }

// PSE is one power supply group of a switch: pethMainPseTable of RFC 3621. A
// stack has one a unit.
type PSE struct {
	Group            int
	BudgetWatts      int
	ConsumptionWatts int
	Status           PSEStatus // PSEUnknown: the numbers are unknown too
}

// Reading is the result of one poll.
type Reading struct {
	Switch string
	At     time.Time // when the poll ended
	// Answered is when the switch last answered anything; zero means never.
	Answered time.Time
	Uptime   time.Duration // sysUpTime, wraps after 497 days
	SysDescr string        // printable ASCII, at most 255 bytes
	Ports    []PortState   // every configured port, ordered by number
	PSE      []PSE         // ordered by group
	// Err is why some or all of the ports are unknown.
	Err error
}

// FDBEntry is a learned address of the switch's forwarding database.
type FDBEntry struct {
	MAC        [6]byte
	VLAN       int // 0 where the switch told no VLAN
	BridgePort int // dot1dBasePort
	Port       int // the number in Config.Ports, 0 for any other bridge port
}

// HardwareAddr is the address in the standard library's form.
func (e FDBEntry) HardwareAddr() net.HardwareAddr { return net.HardwareAddr(e.MAC[:]) }
