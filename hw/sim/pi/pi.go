package pi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"picloud/netboot/bootfs/order"
)

// ErrConfig means that a Config cannot be a Pi.
var ErrConfig = errors.New("invalid configuration")

// Config is one simulated Pi.
type Config struct {
	// Name is used in the log only.
	Name string
	// Board is the hardware.
	Board Board
	// NIC is its network port, used by this Pi alone.
	NIC NIC
	// Port is the switch port; nil if the Pi hangs on no simulated switch.
	Port Port
	// TFTPPort and SSHPort are the server's TFTP port (69 if 0) and the port on
	// which the Pi's SSH listens (22 if 0).
	TFTPPort, SSHPort uint16
	// Speed divides the firmware's own times; 1 is real, and so is 0.
	Speed float64
	// Seed decides this Pi's jitter and, for a 3B, which of the ROM's rarer quirks
	// the board has.
	Seed uint64
	// Fault is the name of a fault, or empty. Faults whose place is not [InPi] are
	// for the caller to bring about and do nothing here.
	Fault string
	// Boot, unless nil, takes the place of all that follows the firmware. The
	// stage is [StageKernel] while it runs, and faults of the kernel and of what
	// comes after it do not happen.
	Boot Boot
	// Log gets a line per stage; nil discards.
	Log *slog.Logger
}

// Stages that a Pi reports of itself.
const (
	StageOff      = "off"
	StageROM      = "rom"      // power is on, no packet sent yet
	StageDHCP     = "dhcp"     // asking for an address
	StageFirmware = "firmware" // fetching files
	StageKernel   = "kernel"   // the kernel runs and has no root yet
	StageRoot     = "root"     // the root is mounted
	StageUp       = "up"       // SSH listens
	StageExam     = "exam"     // it is examined, and tells what comes of it
	StageDead     = "dead"     // nothing more will happen until a power cycle
)

// State is what a Pi is doing, as only the Pi knows. It is for tests and the
// simulator's own log.
type State struct {
	Stage string
	// Detail says more: a file, an address, a reason.
	Detail string
}

// Counters count what a Pi has done since it was made.
type Counters struct {
	Boots      int64 // times that power came
	Resets     int64 // restarts with no change of power
	Discovers  int64
	Requests   int64 // TFTP read requests
	Probes     int64 // of these, ended early on purpose
	Resends    int64 // TFTP packets sent again
	Strays     int64 // TFTP packets that belong to no transfer or come out of turn
	Octets     int64 // file contents received over TFTP
	TooSoon    int64 // answers lost because they came too soon
	Held       int64 // answers not looked at until another packet came
	Mounts     int64
	Reconnects int64 // of the NFS connection
	SSH        int64 // connections to SSH
}

type counters struct {
	boots, resets, discovers, requests, probes, resends, strays, octets,
	tooSoon, held, mounts, reconnects, ssh atomic.Int64
}

// Pi is one simulated Raspberry Pi. Its methods are safe for concurrent use.
type Pi struct {
	cfg   Config
	times Times
	log   *slog.Logger
	// minWait is minPacketWait; tests, whose server is always quick, have less.
	minWait time.Duration

	counters counters
	state    atomic.Pointer[State]
	fault    atomic.Pointer[string]

	mu    sync.Mutex
	on    bool
	power uint64        // counts the times that power came
	cut   func()        // ends the boot under way
	wake  chan struct{} // one slot: power changed
}

// New makes a Pi without power. It returns an error that wraps [ErrConfig] or
// [ErrUnknownFault].
func New(cfg Config) (*Pi, error) {
	if !slices.Contains(order.Families(), cfg.Board.Family) || len(cfg.Board.MAC) != 6 {
		return nil, fmt.Errorf("pi: new %s: %w: board %+v has no known family or no MAC address", cfg.Name, ErrConfig, cfg.Board)
	}
	if cfg.NIC == nil || cfg.Speed < 0 {
		return nil, fmt.Errorf("pi: new %s: %w: want a NIC and a speed above 0", cfg.Name, ErrConfig)
	}
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if cfg.TFTPPort == 0 {
		cfg.TFTPPort = 69
	}
	if cfg.SSHPort == 0 {
		cfg.SSHPort = 22
	}
	if cfg.Port == nil {
		cfg.Port = unmanaged{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pi{
		cfg: cfg, times: times[cfg.Board.Family], minWait: minPacketWait, log: cfg.Log.With("pi", cfg.Name),
		wake: make(chan struct{}, 1),
	}
	p.state.Store(&State{Stage: StageOff})
	if err := p.SetFault(cfg.Fault); err != nil {
		return nil, err
	}
	return p, nil
}

// SetFault gives the Pi a fault, or with an empty name takes it away, from the
// next boot on. The error wraps [ErrUnknownFault], or [ErrConfig] when boards of
// the family cannot have the fault.
func (p *Pi) SetFault(name string) error {
	if name != "" {
		f, err := FaultNamed(name)
		if err != nil {
			return err
		}
		if !f.Fits(p.cfg.Board.Family) {
			return fmt.Errorf("pi: fault %s: %w: not on a %s", name, ErrConfig, p.cfg.Board.Family)
		}
	}
	p.fault.Store(&name)
	return nil
}

// Fault returns the name of the fault that the next boot will have.
func (p *Pi) Fault() string { return *p.fault.Load() }

// Board returns the hardware.
func (p *Pi) Board() Board { return p.cfg.Board }

// State returns what the Pi is doing.
func (p *Pi) State() State { return *p.state.Load() }

// Counters returns what the Pi has done so far.
func (p *Pi) Counters() Counters {
	c := &p.counters
	return Counters{
		Boots: c.boots.Load(), Resets: c.resets.Load(), Discovers: c.discovers.Load(),
		Requests: c.requests.Load(), Probes: c.probes.Load(), Resends: c.resends.Load(),
		Strays: c.strays.Load(), Octets: c.octets.Load(), TooSoon: c.tooSoon.Load(),
		Held: c.held.Load(), Mounts: c.mounts.Load(), Reconnects: c.reconnects.Load(),
		SSH: c.ssh.Load(),
	}
}

// SetPower tells the Pi that its port delivers power or has stopped to. It does
// not block. Power that goes ends everything at once: no packet leaves the Pi
// after its sockets have been closed, which happens right after this call.
func (p *Pi) SetPower(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == p.on {
		return
	}
	p.on = on
	if on {
		p.power++
	} else if p.cut != nil {
		p.cut()
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run lets the Pi boot whenever it has power, until ctx ends. It returns nil
// then, and nothing that it started is left. It must be called once.
func (p *Pi) Run(ctx context.Context) error {
	var done uint64 // the last power-on that has been dealt with
	for {
		bootCtx, n := p.begin(ctx, done)
		if bootCtx != nil {
			done = n
			p.counters.boots.Add(1)
			p.boot(bootCtx, n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

// begin returns the context of a boot if there is power that has not led to one.
func (p *Pi) begin(ctx context.Context, done uint64) (context.Context, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || p.power == done {
		return nil, 0
	}
	bootCtx, cancel := context.WithCancel(ctx)
	p.cut = cancel
	return bootCtx, p.power
}

// boot runs from power on to power off.
func (p *Pi) boot(ctx context.Context, n uint64) {
	defer p.powerOff()
	for reset := uint64(0); ; reset++ {
		b := &boot{
			Pi: p, ctx: ctx, fault: p.Fault(),
			board: rand.New(rand.NewPCG(p.cfg.Seed, 0)),
			rng:   rand.New(rand.NewPCG(p.cfg.Seed, n<<16|reset)),
		}
		err := b.run()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrReset) {
			p.counters.resets.Add(1)
			p.cfg.Port.SetLink(false)
			p.reset()
			continue
		}
		p.setState(StageDead, err.Error())
		<-ctx.Done()
		return
	}
}

func (p *Pi) powerOff() {
	p.mu.Lock()
	if p.cut != nil {
		p.cut() // the context of a boot that ended with Run's
		p.cut = nil
	}
	p.mu.Unlock()
	p.cfg.Port.SetLink(false)
	p.cfg.Port.SetDraw(0)
	p.reset()
	p.setState(StageOff, "")
}

func (p *Pi) reset() {
	if err := p.cfg.NIC.Reset(); err != nil {
		p.log.Warn("reset network port", "err", err)
	}
}

func (p *Pi) setState(stage, detail string) {
	p.state.Store(&State{stage, detail})
	p.log.Debug("stage", "stage", stage, "detail", detail)
}

// boot is one run from reset to the next one or to the loss of power.
type boot struct {
	*Pi
	ctx   context.Context
	fault string
	board *rand.Rand // the same on every boot: what the board is like
	rng   *rand.Rand // differs from boot to boot
}

// Ends of a boot other than the loss of power.
var (
	// errSilent and its like: nothing more happens.
	errSilent   = errors.New("gave up and is silent")
	errNoLink   = errors.New("no link")
	errNoBoot   = errors.New("network boot is not enabled")
	errStopped  = errors.New("firmware stopped")
	errHung     = errors.New("hung")
	errHungTFTP = errors.New("hung after tftp time-out")
	errNoKernel = errors.New("no kernel found")
)

// run is the whole way from reset to SSH. It returns when ctx ends or with the
// reason why nothing more happens.
func (b *boot) run() error {
	bootMW, idleMW := Draw(b.cfg.Board.Family)
	b.setState(StageROM, "")
	b.cfg.Port.SetDraw(b.vary(bootMW))
	if b.fault == NoLink {
		return errNoLink
	}
	if err := b.wait(b.times.Link); err != nil {
		return err
	}
	b.cfg.Port.SetLink(true)
	if b.fault == NoNetboot {
		return errNoBoot
	}
	if err := b.wait(b.times.Discover); err != nil {
		return err
	}
	load := b.bootEEPROM
	if b.cfg.Board.Family.UsesBootcode() {
		load = b.bootROM
	}
	k, err := load()
	if err != nil {
		return err
	}
	if b.cfg.Boot != nil {
		return b.handOver(k.handed)
	}
	return b.runKernel(k, b.vary(idleMW))
}

// vary changes a power reading by up to 8 per cent.
func (b *boot) vary(mw int) int { return mw + mw*(b.rng.IntN(17)-8)/100 }

// wait spends the firmware's own time, sped up.
func (b *boot) wait(s Span) error { return b.sleep(b.scale(s.pick(b.rng))) }

func (b *boot) scale(d time.Duration) time.Duration {
	return time.Duration(float64(d) / b.cfg.Speed)
}

// packetWait is a time to wait for a packet: sped up, but not below minPacketWait
// unless the real time is.
func (b *boot) packetWait(d time.Duration) time.Duration {
	return max(b.scale(d), min(d, b.minWait))
}

// sleep waits in true time. It returns an error when the power goes.
func (b *boot) sleep(d time.Duration) error {
	if d <= 0 {
		return b.ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-t.C:
		return nil
	}
}

// cutOff closes c when the power goes, which ends whatever waits for it. The
// returned function ends the watch.
func (b *boot) cutOff(c io.Closer) func() bool {
	return context.AfterFunc(b.ctx, func() { c.Close() })
}
