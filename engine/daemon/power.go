package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/poe"
)

// switches are the workers of all switches. They implement engine.Power.
type switches struct {
	observe func(engine.Observation)
	log     *slog.Logger
	speed   float64 // how much faster than real the switches are

	mu      sync.Mutex
	ctx     context.Context // nil until run
	ended   bool            // no worker may start any more
	running map[string]*runningSwitch
	wg      sync.WaitGroup
}

type runningSwitch struct {
	cfg    config.Switch
	hold   time.Duration
	worker *poe.Worker
	driver *poe.SNMP

	launched bool
	cancel   context.CancelFunc
}

var errNoSwitch = errors.New("no such switch in the configuration")

// SetPower is engine.Power's.
func (s *switches) SetPower(ctx context.Context, port engine.PortID, on bool) (engine.PortReading, error) {
	s.mu.Lock()
	sw := s.running[port.Switch]
	s.mu.Unlock()
	if sw == nil {
		return engine.PortReading{}, fmt.Errorf("set power of %s: %w", port, errNoSwitch)
	}
	state, err := sw.worker.Submit(ctx, port.Port, on)
	reading := portReading(state)
	if state.Err != nil {
		reading.Port = 0 // nothing is known of the port
	}
	// The port is named by whoever tells of it, and it is no news that it is PoE.
	var failed *poe.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return reading, err
}

// set makes the running workers those of the configuration: a switch whose
// settings changed gets a new worker, one that stays keeps its own. After an
// error all are as they were.
func (s *switches) set(list []config.Switch, hold time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errClosed
	}
	next := make(map[string]*runningSwitch, len(list))
	for _, c := range list {
		if have := s.running[c.Name]; have != nil && sameSwitch(have, c, hold) {
			next[c.Name] = have
			continue
		}
		fresh, err := s.make(c, hold)
		if err != nil {
			return fmt.Errorf("switch %s: %w", c.Name, err)
		}
		next[c.Name] = fresh
	}
	for name, sw := range s.running {
		if next[name] != sw {
			sw.cancel()
		}
	}
	s.running = next
	if s.ctx != nil {
		s.launchAll()
	}
	return nil
}

func sameSwitch(have *runningSwitch, c config.Switch, hold time.Duration) bool {
	return have.hold == hold && reflect.DeepEqual(have.cfg, c)
}

func (s *switches) make(c config.Switch, hold time.Duration) (*runningSwitch, error) {
	settings := poeConfig(c, hold)
	s.hasten(&settings)
	driver, err := poe.New(settings)
	if err != nil {
		return nil, err
	}
	worker := poe.NewWorker(driver, poe.WorkerConfig{
		Interval: c.Poll, Log: s.log.With("switch", c.Name),
		Publish: func(r poe.Reading) { s.observe(switchObservation(r)) },
	})
	return &runningSwitch{cfg: c, hold: hold, worker: worker, driver: driver, cancel: func() {}}, nil
}

// hasten shortens the waits that only hardware needs, for a simulated switch
// that is faster than real.
func (s *switches) hasten(c *poe.Config) {
	const readBack, on, off, least = 250 * time.Millisecond, 8 * time.Second, 5 * time.Second, 2 * time.Second
	if s.speed > 1 {
		c.ReadBack = max(20*time.Millisecond, time.Duration(float64(readBack)/s.speed))
		c.OnLimit = max(least, time.Duration(float64(on)/s.speed))
		c.OffLimit = max(least, time.Duration(float64(off)/s.speed))
	}
}

// launchAll starts the workers that do not run yet; s.mu is held. A driver is
// closed when its worker has ended.
func (s *switches) launchAll() {
	for _, sw := range s.running {
		if sw.launched {
			continue
		}
		ctx, cancel := context.WithCancel(s.ctx)
		sw.launched, sw.cancel = true, cancel
		s.wg.Go(func() {
			defer cancel()
			defer sw.driver.Close()
			_ = sw.worker.Run(ctx) // ends with its context only
		})
	}
}

// run works until ctx ends.
func (s *switches) run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.launchAll()
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true // a reload that comes now must not start what nobody waits for
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

func poeConfig(c config.Switch, hold time.Duration) poe.Config {
	p := poe.Config{
		Name: c.Name, Addr: c.Address, Profile: c.Profile, Version: poe.V2c,
		Community: poe.Secret(cmp.Or(c.Credentials.WriteCommunity, c.Credentials.ReadCommunity)),
		Timeout:   c.Timeout, Retries: c.Retries, MinOff: hold,
	}
	if c.Retries == 0 {
		p.Retries = -1 // there, zero means the default
	}
	if c.Version == config.SNMPv3 {
		p.Version = poe.V3
		p.User = poe.User{
			Name: c.Credentials.User,
			Auth: dashed(c.Credentials.AuthProtocol), AuthSecret: poe.Secret(c.Credentials.AuthPassword),
			Priv: dashed(c.Credentials.PrivProtocol), PrivSecret: poe.Secret(c.Credentials.PrivPassword),
		}
	}
	override := make(map[int]config.PortMap, len(c.Overrides))
	for _, o := range c.Overrides {
		override[o.Port] = o
	}
	for port := 1; port <= c.Ports; port++ {
		index := poe.PortIndex{Number: port, Group: c.Group, Port: port, IfIndex: port, BridgePort: port}
		o := override[port]
		orKeep(&index.Group, o.Group)
		orKeep(&index.Port, o.Index)
		orKeep(&index.IfIndex, o.IfIndex)
		orKeep(&index.BridgePort, o.BridgePort)
		p.Ports = append(p.Ports, index)
	}
	return p
}

// dashed puts a protocol's name in the driver's form: SHA256 is SHA-256.
func dashed(name string) string {
	for _, prefix := range []string{"SHA", "AES"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return prefix + "-" + rest
		}
	}
	return name
}

func orKeep(v *int, set int) {
	if set != 0 {
		*v = set
	}
}

// switchObservation is a poll as evidence. A poll that left any port unknown
// is none: what was good before is not shown as if it were now.
func switchObservation(r poe.Reading) engine.Observation {
	seen := &engine.SwitchReading{Switch: r.Switch, Uptime: r.Uptime, Description: r.SysDescr}
	o := engine.Observation{Time: r.At, Switch: seen}
	if r.Err != nil {
		seen.Err = r.Err.Error()
		if hint := poe.Hint(r.Err); hint != "" {
			seen.Err += " (" + hint + ")"
		}
		return o
	}
	for _, p := range r.PSE {
		seen.BudgetWatts += p.BudgetWatts
		seen.ConsumptionWatts += p.ConsumptionWatts
	}
	seen.Ports = make([]engine.PortReading, len(r.Ports))
	for i, p := range r.Ports {
		seen.Ports[i] = portReading(p)
	}
	return o
}

func portReading(p poe.PortState) engine.PortReading {
	r := engine.PortReading{
		Port: p.Port, Enabled: p.Admin == poe.AdminEnabled, Delivering: p.On(), Detection: p.Detection.String(),
		Denied: p.Denied, Overload: p.Overload, Short: p.Short, Milliwatts: p.Milliwatts, HasWatts: p.HasWatts,
		LinkKnown: p.Link == poe.LinkUp || p.Link == poe.LinkDown || p.Link == poe.LinkLowerLayerDown,
		LinkUp:    p.Link == poe.LinkUp,
	}
	if p.STP != poe.STPUnknown {
		r.STP = p.STP.String()
	}
	return r
}
