package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"

	"picloud/hw/sim/pi"
	"picloud/hw/sim/poeswitch"
)

// Rack is a simulated rack. Its methods are safe for concurrent use, but for
// SetPorts, which comes before Run.
type Rack struct {
	cfg       Config
	inventory Inventory
	switches  []*rackSwitch
	units     []*unit

	mu     sync.Mutex // the units' faults, started
	closed bool
}

type rackSwitch struct {
	name string
	conn net.PacketConn
	*poeswitch.Switch
	pis map[int]*unit // by port; not changed once made
}

// unit is a Pi with its place in the rack.
type unit struct {
	wire  Wire
	board pi.Board // the one that is really there
	port  *switchPort
	seed  uint64
	fault string
	fresh bool // the inventory does not know its board
	pi    *pi.Pi
}

// New makes a rack whose switches have their sockets open but answer nothing
// before Run. The error wraps [ErrConfig], pi.ErrUnknownFault, or what opening a
// socket gave.
func New(cfg Config) (_ *Rack, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Rack{cfg: cfg, inventory: Inventory{Rack: cfg.Name}}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x7261636b))
	for i := range cfg.Switches {
		if err := r.addSwitch(i); err != nil {
			return nil, err
		}
	}
	if err := r.plugIn(rng); err != nil {
		return nil, err
	}
	if err := r.dealFaults(rng); err != nil {
		return nil, err
	}
	for _, u := range r.units {
		if err := u.portFault(u.fault, true); err != nil {
			return nil, err
		}
	}
	return r, r.build()
}

func (r *Rack) addSwitch(i int) error {
	s := &rackSwitch{name: fmt.Sprintf("sw%d", i+1), pis: make(map[int]*unit)}
	seen := Switch{
		Name: s.name, ReadCommunity: "read-" + r.cfg.Name, WriteCommunity: "write-" + r.cfg.Name,
		Ports: r.cfg.PortsPerSwitch, Profile: profile,
	}
	var err error
	s.Switch, err = poeswitch.New(poeswitch.Config{
		Name: s.name, Ports: r.cfg.PortsPerSwitch,
		ReadCommunity: seen.ReadCommunity, WriteCommunity: seen.WriteCommunity,
		VLAN:     func(port int) int { return firstVLAN + port },
		Disabled: !r.cfg.PoweredOn,
		Timing:   poeswitch.Timing{Speed: r.cfg.Speed},
		OnPower:  s.onPower,
		Log:      r.cfg.Log.With("switch", s.name),
	})
	if err != nil {
		return fmt.Errorf("sim: new: %w", err)
	}
	if s.conn, err = r.cfg.Listen(); err != nil {
		return fmt.Errorf("sim: new: snmp agent of %s: %w", s.name, err)
	}
	r.switches = append(r.switches, s)
	if seen.Addr, err = netip.ParseAddrPort(s.conn.LocalAddr().String()); err != nil {
		return fmt.Errorf("sim: new: snmp agent of %s: %w", s.name, err)
	}
	r.inventory.Switches = append(r.inventory.Switches, seen)
	return nil
}

// firstVLAN and the port's number make its VLAN: one VLAN to one Pi.
const firstVLAN = 100

// onPower hands the power of a port to the Pi on it.
func (s *rackSwitch) onPower(port int, delivering bool) {
	if u := s.pis[port]; u != nil {
		u.pi.SetPower(delivering)
	}
}

// plugIn makes the boards and plugs each into a port.
func (r *Rack) plugIn(rng *rand.Rand) error {
	ports := rng.Perm(r.cfg.Switches * r.cfg.PortsPerSwitch)
	families := make([]int, r.cfg.Pis)
	for i := range families {
		families[i] = i % len(mixture)
	}
	rng.Shuffle(len(families), func(i, j int) { families[i], families[j] = families[j], families[i] })
	rented := make(map[int]bool)
	for _, i := range rng.Perm(r.cfg.Pis)[:int(max(0, r.cfg.Rented)*float64(r.cfg.Pis))] {
		rented[i] = true
	}
	macs := make(map[string]bool)
	for i := range r.cfg.Pis {
		board, err := newBoard(families[i], macs, rng)
		if err != nil {
			return err
		}
		sw, n := r.switches[ports[i]/r.cfg.PortsPerSwitch], ports[i]%r.cfg.PortsPerSwitch+1
		u := &unit{
			board: board, seed: rng.Uint64(), fresh: i >= r.cfg.Pis-r.cfg.New,
			wire: Wire{Index: i, Name: fmt.Sprintf("%s-%03d", r.cfg.Name, i+1), Ports: r.cfg.Ports},
			port: &switchPort{sw: sw.Switch, n: n, log: r.cfg.Log.With("switch", sw.name)},
		}
		if u.wire.Server, u.wire.Addr, err = segment(r.cfg.BaseNet, i); err != nil {
			return err
		}
		sw.pis[n] = u
		r.units = append(r.units, u)
		r.inventory.Pis = append(r.inventory.Pis, u.label(sw.name, rented[i], rng))
	}
	return nil
}

// newBoard makes a board whose MAC address no other board of the rack has.
func newBoard(family int, macs map[string]bool, rng *rand.Rand) (pi.Board, error) {
	for {
		b, err := pi.NewBoard(mixture[family], rng)
		if err != nil || !macs[string(b.MAC)] {
			macs[string(b.MAC)] = true
			return b, err
		}
	}
}

// label is the unit as staff know it.
func (u *unit) label(sw string, rented bool, rng *rand.Rand) Pi {
	p := Pi{
		Name: u.wire.Name, Model: string(u.board.Family), Revision: u.board.Revision,
		Serial: u.board.Serial, MAC: [6]byte(u.board.MAC), MemoryMB: u.board.MemoryMB(),
		Switch: sw, Port: u.port.n, Server: u.wire.Server, Addr: u.wire.Addr,
	}
	switch {
	case u.fresh:
		p.Model, p.Revision, p.Serial, p.MAC, p.MemoryMB = "", 0, 0, [6]byte{}, 0
	case rented:
		rent(&p, rng)
	}
	return p
}

// segment returns the two addresses of the k-th /30.
func segment(base netip.Addr, k int) (server, addr netip.Addr, err error) {
	b := base.As4()
	first := uint64(binary.BigEndian.Uint32(b[:])) + 4*uint64(k)
	if first+3 > 0xffffffff {
		return server, addr, fmt.Errorf("sim: new: %w: no addresses left after %v", ErrConfig, base)
	}
	at := func(n uint32) netip.Addr {
		binary.BigEndian.PutUint32(b[:], uint32(first)+n)
		return netip.AddrFrom4(b)
	}
	return at(1), at(2), nil
}

// build makes the Pis and attaches them to their ports.
func (r *Rack) build() error {
	for _, u := range r.units {
		u.wire.Board = u.board
		nic, err := r.cfg.NIC(u.wire)
		if err != nil {
			return fmt.Errorf("sim: network port of %s: %w", u.wire.Name, err)
		}
		u.pi, err = pi.New(pi.Config{
			Name: u.wire.Name, Board: u.board, NIC: nic, Port: u.port,
			TFTPPort: u.wire.Ports.TFTP, SSHPort: u.wire.Ports.SSH,
			Speed: r.cfg.Speed, Seed: u.seed, Fault: u.fault, Boot: r.cfg.Boot(u.wire), Log: r.cfg.Log,
		})
		if err != nil {
			return fmt.Errorf("sim: %w", err)
		}
		if err := u.plugIn(); err != nil {
			return fmt.Errorf("sim: %w", err)
		}
	}
	return nil
}

func (u *unit) plugIn() error {
	return u.port.sw.Attach(u.port.n, poeswitch.Device{
		Class: pi.PoEClass(u.board.Family), Milliwatts: u.port.milliwatts, MAC: u.board.MAC,
	})
}

// Plug pulls a Pi's plug, or puts it in again. SetPorts puts them all in. The error
// wraps [ErrNoPi].
func (r *Rack) Plug(name string, in bool) error {
	u, err := r.unit(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in {
		err = u.plugIn()
	} else {
		err = u.port.sw.Detach(u.port.n)
	}
	if err != nil {
		return fmt.Errorf("sim: plug of %s: %w", name, err)
	}
	return nil
}

// SetPorts sets the ports of the server and the Pis, once the server has chosen
// its own. It must come before Run.
func (r *Rack) SetPorts(p Ports) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.units {
		u.wire.Ports = p
	}
	return r.build()
}

// Inventory returns what staff know of the rack.
func (r *Rack) Inventory() Inventory {
	inv := r.inventory
	inv.Switches = append([]Switch(nil), inv.Switches...)
	inv.Pis = append([]Pi(nil), inv.Pis...)
	return inv
}

// Switch returns a switch, which can be told to be silent, slow or to lie. The
// error wraps [ErrNoSwitch].
func (r *Rack) Switch(name string) (*poeswitch.Switch, error) {
	for _, s := range r.switches {
		if s.name == name {
			return s.Switch, nil
		}
	}
	return nil, fmt.Errorf("sim: %w: %q", ErrNoSwitch, name)
}

// Pi returns a simulated Pi, for tests that compare what it does with what the
// product thinks it does. The error wraps [ErrNoPi].
func (r *Rack) Pi(name string) (*pi.Pi, error) {
	u, err := r.unit(name)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return u.pi, nil
}

func (r *Rack) unit(name string) (*unit, error) {
	for _, u := range r.units {
		if u.wire.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("sim: %w: %q", ErrNoPi, name)
}

// Run lets the switches answer and the Pis boot until ctx ends, and returns nil
// then, or the error of the first switch whose socket failed. Nothing is left
// when it returns. It must be called once, and not after Close.
func (r *Rack) Run(ctx context.Context) error {
	defer r.Close()
	g, ctx := errgroup.WithContext(ctx)
	for _, u := range r.units {
		g.Go(func() error { return u.pi.Run(ctx) })
	}
	for _, s := range r.switches {
		g.Go(func() error { return s.Serve(ctx, s.conn) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("sim: run: %w", err)
	}
	return nil
}

// Close closes the switches' sockets; it is for a rack that is not run.
func (r *Rack) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	for _, s := range r.switches {
		s.conn.Close()
	}
}
