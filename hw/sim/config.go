package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"picloud/hw/sim/pi"
	"picloud/hw/sim/poeswitch"
	"picloud/netboot/bootfs/order"
)

// ErrConfig means that no rack can be made of a Config.
var ErrConfig = errors.New("invalid configuration")

// MaxPis bounds a rack.
const MaxPis = 4096

// Ports are the ports that stand for the well-known ones where these need
// privileges. A zero means the well-known one.
type Ports struct {
	DHCPServer uint16 // 67, of the server
	DHCPClient uint16 // 68, of the Pis; nudges (port 9) come here, too
	TFTP       uint16 // 69, of the server
	NFS        uint16 // 2049, of the server; the Pis take it from their command line
	SSH        uint16 // 22, of the Pis
}

// Wire is the cable of one Pi, for a Config.NIC.
type Wire struct {
	Index        int // of the segment, from 0
	Name         string
	Board        pi.Board
	Server, Addr netip.Addr
	Ports        Ports
}

// Config is a rack. The zero value is one of 60 Pis on two switches.
type Config struct {
	// Seed decides everything that is random.
	Seed uint64
	// Name is the rack's name and the beginning of its Pis' names ("a3" if empty).
	Name string
	// Switches and PortsPerSwitch are 2 and 48 if 0. Switches are added until all
	// Pis have a port.
	Switches, PortsPerSwitch int
	// Pis is 60 if 0.
	Pis int
	// Speed divides the times of firmware and switches; 1, real time, if 0.
	Speed float64
	// New is how many of the Pis, the last ones, have boards that the inventory knows
	// nothing of.
	New int
	// Faults is how many Pis have which fault (see [Faults]), each at most one. Those
	// that an examination finds (see [ExamFaults]) are of new Pis, the others are
	// not.
	Faults map[string]int
	Ports  Ports
	// BaseNet is the first address of the first segment, 127.64.0.0 if not valid.
	BaseNet netip.Addr
	// Rented is the part of the Pis that customers have: a third if 0, none if
	// below 0.
	Rented float64
	// PoweredOn is whether the switches' ports begin with their power enabled, as
	// those of a running rack do, rather than disabled.
	PoweredOn bool
	// NIC makes the network port of each Pi; nil is loopback.
	NIC func(Wire) (pi.NIC, error)
	// Boot, unless nil, returns what follows each Pi's firmware; nil of it is the
	// simulated kernel.
	Boot func(Wire) pi.Boot
	// Listen opens the socket of a switch's SNMP agent; nil is 127.0.0.1 and any
	// port.
	Listen func() (net.PacketConn, error)
	// Log gets what the simulated hardware does; nil discards.
	Log *slog.Logger
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&c.Switches, 2)
	set(&c.PortsPerSwitch, 48)
	set(&c.Pis, 60)
	if c.Name == "" {
		c.Name = "a3"
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if !c.BaseNet.IsValid() {
		c.BaseNet = netip.AddrFrom4([4]byte{127, 64, 0, 0})
	}
	if c.Rented == 0 {
		c.Rented = 1.0 / 3
	}
	if c.NIC == nil {
		c.NIC = loopback
	}
	if c.Boot == nil {
		c.Boot = func(Wire) pi.Boot { return nil }
	}
	if c.Listen == nil {
		c.Listen = listenLoopback
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func loopback(w Wire) (pi.NIC, error) {
	return &pi.Loopback{
		Pi: w.Addr, Server: netip.AddrPortFrom(w.Server, w.Ports.DHCPServer), ClientPort: w.Ports.DHCPClient,
	}, nil
}

func listenLoopback() (net.PacketConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

// check says what is wrong with a Config whose defaults have been filled in, and
// adds the switches that its Pis need.
func (c *Config) check() error {
	switch {
	case c.Pis < 1 || c.Pis > MaxPis:
		return fmt.Errorf("sim: new: %w: %d Pis, want 1 to %d", ErrConfig, c.Pis, MaxPis)
	case c.New < 0 || c.New > c.Pis:
		return fmt.Errorf("sim: new: %w: %d of %d Pis are new", ErrConfig, c.New, c.Pis)
	case c.PortsPerSwitch < 1 || c.PortsPerSwitch > poeswitch.MaxPorts || c.Switches < 1 || c.Switches > MaxPis:
		return fmt.Errorf("sim: new: %w: %d switches of %d ports, want at least 1 of 1 to %d", ErrConfig, c.Switches, c.PortsPerSwitch, poeswitch.MaxPorts)
	case !(c.Speed >= 0.1 && c.Speed <= 1000):
		return fmt.Errorf("sim: new: %w: speed %v, want 0.1 to 1000", ErrConfig, c.Speed)
	case c.Rented > 1:
		return fmt.Errorf("sim: new: %w: rented %v, want at most 1", ErrConfig, c.Rented)
	case !c.BaseNet.Is4() || c.BaseNet.As4()[3]%4 != 0:
		return fmt.Errorf("sim: new: %w: base network %v, want the first IPv4 address of a /30", ErrConfig, c.BaseNet)
	}
	c.Switches = max(c.Switches, (c.Pis+c.PortsPerSwitch-1)/c.PortsPerSwitch)
	return c.checkFaults()
}

func (c *Config) checkFaults() error {
	total := 0
	for name, n := range c.Faults {
		if _, err := pi.FaultNamed(name); err != nil {
			return fmt.Errorf("sim: new: %w", err)
		}
		if n < 0 {
			return fmt.Errorf("sim: new: %w: fault %s on %d Pis", ErrConfig, name, n)
		}
		if total += min(n, MaxPis+1); total > c.Pis {
			return fmt.Errorf("sim: new: %w: more faults than the %d Pis", ErrConfig, c.Pis)
		}
	}
	return nil
}

// Faults returns every fault that keeps a Pi from coming up.
func Faults() []pi.Fault { return pi.Faults() }

// ExamFaults returns every fault that an examination finds.
func ExamFaults() []pi.Fault { return pi.ExamFaults() }

// FaultNames returns the names of the faults, in the order of [Faults].
func FaultNames() []string { return namesOf(pi.Faults()) }

// ExamFaultNames returns those of [ExamFaults].
func ExamFaultNames() []string { return namesOf(pi.ExamFaults()) }

func namesOf(list []pi.Fault) []string {
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names
}

// families of a rack, as often as they occur one after the other.
var mixture = []order.Family{order.Pi4B, order.Pi3B, order.Pi5, order.Pi3BPlus, order.Pi4B}
