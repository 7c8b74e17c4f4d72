package poeswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"picloud/hw/sim/snmpagent"
)

// ErrNoPort means that the switch has no port of that number.
var ErrNoPort = errors.New("poeswitch: no such port")

// maxStations bounds the forwarding table, as the memory of a switch does.
const maxStations = 8192

// Switch is a simulated PoE switch. Its methods may be called from any
// goroutine, OnPower included.
type Switch struct {
	cfg   Config
	agent *snmpagent.Agent
	mib   *snmpagent.MIB
	start time.Time
	wake  chan struct{}

	mu       sync.Mutex
	ports    []*port // ports[0] is port 1
	uplink   *port   // has no power and is always up
	stations map[[6]byte]station
	starting int // milliwatts reserved for ports that have just been granted power
	lie      bool
	stopped  bool
	events   []event

	tableMu    sync.Mutex        // orders the replacements of tables
	neighbours map[int]Neighbour // by port; tableMu guards it
}

// event is a change of a port's power, for OnPower.
type event struct {
	port       int
	delivering bool
}

// New makes a switch that is switched on but not yet served.
func New(cfg Config) (*Switch, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.BudgetWatts == 0 {
		cfg.BudgetWatts = 30 * cfg.Ports
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.VLAN == nil {
		cfg.VLAN = func(int) int { return 1 }
	}
	cfg.Timing = cfg.Timing.withDefaults()
	sw := &Switch{
		cfg: cfg, start: time.Now(), wake: make(chan struct{}, 1),
		stations: make(map[[6]byte]station), neighbours: make(map[int]Neighbour),
	}
	for n := 1; n <= cfg.Ports; n++ {
		p := &port{
			number: n, admin: !cfg.Disabled, detection: detSearching,
			ifAdmin: true, stp: STP{Edge: true}, stpState: stpDisabled,
		}
		if cfg.Disabled {
			p.detection = detDisabled
		}
		sw.ports = append(sw.ports, p)
	}
	sw.uplink = &port{number: cfg.Ports + 1, ifAdmin: true, carrier: true, link: true, stpState: stpForwarding}
	return sw, sw.makeAgent()
}

func (sw *Switch) makeAgent() (err error) {
	if sw.mib, err = snmpagent.NewMIB(sw.variables()); err != nil {
		return fmt.Errorf("poeswitch: new: %w", err)
	}
	sw.agent, err = snmpagent.New(snmpagent.Config{
		ReadCommunity: sw.cfg.ReadCommunity, WriteCommunity: sw.cfg.WriteCommunity, Log: sw.cfg.Log,
	}, sw.mib)
	if err != nil {
		return fmt.Errorf("poeswitch: new: %w", err)
	}
	return nil
}

// Serve runs the switch and answers SNMP on conn until ctx ends. It closes
// conn and returns nil when ctx ended, else the error that conn gave. A switch
// that has stopped does not start again.
func (sw *Switch) Serve(ctx context.Context, conn net.PacketConn) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sw.agent.Serve(ctx, conn) })
	g.Go(func() error { sw.Run(ctx); return nil })
	return g.Wait()
}

// Run calls OnPower until ctx ends and then stops the switch, for use without
// SNMP. Serve does it as well.
func (sw *Switch) Run(ctx context.Context) {
	defer sw.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sw.wake:
		}
		for _, e := range sw.takeEvents() {
			if sw.cfg.OnPower != nil {
				sw.cfg.OnPower(e.port, e.delivering)
			}
		}
	}
}

func (sw *Switch) stop() {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.stopped = true
	for _, p := range sw.ports {
		p.power.cancel()
		p.forward.cancel()
	}
}

func (sw *Switch) emit(port int, delivering bool) {
	sw.cfg.Log.Debug("port power", "switch", sw.cfg.Name, "port", port, "delivering", delivering)
	if sw.cfg.OnPower == nil {
		return
	}
	sw.events = append(sw.events, event{port, delivering})
	select {
	case sw.wake <- struct{}{}:
	default:
	}
}

func (sw *Switch) takeEvents() []event {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	events := sw.events
	sw.events = nil
	return events
}

// with runs f with the switch locked and port n.
func (sw *Switch) with(n int, f func(*port)) error {
	if n < 1 || n > len(sw.ports) {
		return fmt.Errorf("%w: %d of %d", ErrNoPort, n, len(sw.ports))
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	f(sw.ports[n-1])
	return nil
}

// Attach plugs a device into a port in the place of what was there.
func (sw *Switch) Attach(n int, d Device) error {
	if d.Class < 0 || d.Class >= len(classMilliwatts) {
		return fmt.Errorf("poeswitch: attach to port %d: class %d, a device has 0 to %d", n, d.Class, len(classMilliwatts)-1)
	}
	return sw.with(n, func(p *port) {
		p.device = &d
		sw.settle(p)
	})
}

// Detach unplugs what hangs on a port.
func (sw *Switch) Detach(n int) error {
	return sw.with(n, func(p *port) {
		p.device, p.carrier = nil, false
		sw.setLink(p)
		sw.settle(p)
	})
}

// SetLink brings the link of a port up or down. Power that ends takes the link
// down by itself.
func (sw *Switch) SetLink(n int, up bool) error {
	err := sw.with(n, func(p *port) {
		p.carrier = up
		sw.setLink(p)
	})
	if err == nil && !up {
		sw.publishStations()
	}
	return err
}

// SetSTP changes the spanning tree of a port, from its next link on.
func (sw *Switch) SetSTP(n int, stp STP) error {
	return sw.with(n, func(p *port) { p.stp = stp })
}

// SetFault gives a port an electrical fault, or takes it away.
func (sw *Switch) SetFault(n int, f Fault) error {
	return sw.with(n, func(p *port) {
		p.fault = f
		sw.settle(p)
	})
}

// SetDenied makes the switch deny power to a port whatever the budget.
func (sw *Switch) SetDenied(n int, denied bool) error {
	return sw.with(n, func(p *port) {
		p.deny = denied
		sw.settle(p)
	})
}

// SetPortLie makes the switch say yes to a SET of that port's power and do
// nothing.
func (sw *Switch) SetPortLie(n int, lie bool) error {
	return sw.with(n, func(p *port) { p.lie = lie })
}

// SetLie is SetPortLie for every port.
func (sw *Switch) SetLie(lie bool) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.lie = lie
}

// SetDelay makes every SNMP answer late by d.
func (sw *Switch) SetDelay(d time.Duration) { sw.agent.SetDelay(d) }

// SetSilent makes the switch stop, or resume, answering SNMP.
func (sw *Switch) SetSilent(silent bool) { sw.agent.SetSilent(silent) }

// SetPower is what a SET of pethPsePortAdminEnable does, without SNMP.
func (sw *Switch) SetPower(n int, on bool) error {
	return sw.with(n, func(p *port) {
		if p.lie || sw.lie || p.admin == on {
			return
		}
		p.admin = on
		sw.settle(p)
	})
}

// Delivering tells whether a port gives power now.
func (sw *Switch) Delivering(n int) bool {
	delivering := false
	_ = sw.with(n, func(p *port) { delivering = p.detection == detDelivering })
	return delivering
}

// Forwarding tells whether frames pass a port: its link is up and its spanning
// tree forwards.
func (sw *Switch) Forwarding(n int) bool {
	forwarding := false
	_ = sw.with(n, func(p *port) { forwarding = p.link && p.stpState == stpForwarding })
	return forwarding
}

// Learn takes note that a frame from mac came in at a port. It is learned in
// the states learning and forwarding only, and forgotten when the link goes
// down.
func (sw *Switch) Learn(n int, mac net.HardwareAddr) error {
	key, ok := macKey(mac)
	if !ok {
		return fmt.Errorf("poeswitch: learn %v at port %d: not the address of one station", mac, n)
	}
	changed := false
	err := sw.with(n, func(p *port) {
		s := station{mac: key, vlan: sw.cfg.VLAN(n), port: n}
		full := len(sw.stations) >= maxStations
		if p.stpState < stpLearning || sw.stations[key] == s || full {
			return
		}
		sw.stations[key], changed = s, true
	})
	if changed {
		sw.publishStations()
	}
	return err
}

func (sw *Switch) forget(port int) {
	for key, s := range sw.stations {
		if s.port == port {
			delete(sw.stations, key)
		}
	}
}

// loads are the devices that are given power now.
func (sw *Switch) loads() []Device {
	var loads []Device
	for _, p := range sw.ports {
		if p.detection == detDelivering && p.device != nil {
			loads = append(loads, *p.device)
		}
	}
	return loads
}

func total(loads []Device) int {
	sum := 0
	for _, d := range loads {
		sum += d.milliwatts()
	}
	return sum
}

// milliwatts is what all ports together draw.
func (sw *Switch) milliwatts() int {
	sw.mu.Lock()
	loads := sw.loads()
	sw.mu.Unlock()
	return total(loads)
}

func (sw *Switch) uptime() time.Duration { return time.Since(sw.start) }
