package poeswitch

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// MaxPorts bounds a switch, so that port numbers fit every table.
const MaxPorts = 512

// Timing is how long the steps of a port take. A zero field has the default.
type Timing struct {
	// Detect is the time from power being allowed to power being delivered:
	// signature detection and classification (IEEE 802.3 clause 33.2.5 allows
	// 500 ms for detection alone). Default 750 ms.
	Detect time.Duration
	// Disconnect is the time from the device leaving to power being cut,
	// T_MPDO of IEEE 802.3 clause 33. Default 350 ms.
	Disconnect time.Duration
	// Retry is the time from power being denied to the next try. Default 2 s.
	Retry time.Duration
	// ForwardDelay is the time that a port which is no edge port spends in
	// each of listening and learning (IEEE 802.1D). Default 15 s.
	ForwardDelay time.Duration
	// Speed divides the times above: 10 makes the switch ten times as fast.
	// Default 1.
	Speed float64
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&t.Detect, 750*time.Millisecond)
	set(&t.Disconnect, 350*time.Millisecond)
	set(&t.Retry, 2*time.Second)
	set(&t.ForwardDelay, 15*time.Second)
	if t.Speed <= 0 {
		t.Speed = 1
	}
	return t
}

func (t Timing) scale(d time.Duration) time.Duration { return time.Duration(float64(d) / t.Speed) }

// Config is what a Switch is made from.
type Config struct {
	Name           string
	Ports          int // 1 to MaxPorts
	BudgetWatts    int // power supply of the only PSE group; 0 means 30 W a port
	ReadCommunity  string
	WriteCommunity string // empty: nothing can be set
	// IfIndexOffset is added to a port's number to make its ifIndex; real
	// switches have such gaps.
	IfIndexOffset int
	// VLAN is the PVID of a port; nil puts every port in VLAN 1.
	VLAN func(port int) int
	// Tagged are VLANs that a port is in besides, tagged; nil means none. The
	// uplink, a port without power after the others, has every VLAN tagged.
	Tagged func(port int) []int
	// Alias is what staff wrote at a port's interface; nil means nothing.
	Alias func(port int) string
	// Disabled makes the ports start with power disabled.
	Disabled bool
	Timing   Timing
	// OnPower is called when power to a port really starts or stops, in order,
	// by one goroutine of Run. It must not block.
	OnPower func(port int, delivering bool)
	Log     *slog.Logger
}

func (c Config) tagged(port int) []int {
	if c.Tagged == nil {
		return nil
	}
	return c.Tagged(port)
}

func (c Config) validate() error {
	switch {
	case c.Name == "":
		return errors.New("poeswitch: new: the name is empty")
	case c.Ports < 1 || c.Ports > MaxPorts:
		return fmt.Errorf("poeswitch: new: %d ports, a switch has 1 to %d", c.Ports, MaxPorts)
	case c.BudgetWatts < 0 || c.BudgetWatts > 1_000_000:
		return fmt.Errorf("poeswitch: new: budget of %d W", c.BudgetWatts)
	case c.IfIndexOffset < 0 || c.IfIndexOffset > 1<<24:
		return fmt.Errorf("poeswitch: new: ifIndex offset of %d", c.IfIndexOffset)
	}
	return nil
}

// Device is what hangs on a port.
type Device struct {
	// Class is the device's PoE class, 0 to 8.
	Class int
	// Milliwatts is its present draw; nil draws nothing. It is called from
	// several goroutines, never while the switch holds a lock.
	Milliwatts func() int
	// MAC is the device's address; Learn is called with it when it sends.
	MAC net.HardwareAddr
}

func (d Device) milliwatts() int {
	if d.Milliwatts == nil {
		return 0
	}
	return max(0, d.Milliwatts())
}

// classMilliwatts is the power that a PSE reserves per class (IEEE 802.3bt,
// table 145-11: 15.4, 4, 7, 15.4, 30, 45, 60, 75 and 90 W).
var classMilliwatts = [...]int{15400, 4000, 7000, 15400, 30000, 45000, 60000, 75000, 90000}

// Fault is an electrical fault that a port can be told to have.
type Fault int

// The faults.
const (
	NoFault   Fault = iota
	Overload        // the device draws more than its class; counted in pethPsePortOverLoadCounter
	Short           // the pairs are shorted; counted in pethPsePortShortCounter
	OtherFail       // reported as otherFault
)

// STP is the spanning-tree setting of a port.
type STP struct {
	// Edge ports forward as soon as the link is up.
	Edge bool
	// ForwardDelay overrides Timing.ForwardDelay, before scaling; 0 does not.
	ForwardDelay time.Duration
}
