package poe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gosnmp/gosnmp"
)

// Switch is what this package does with a PoE switch. Every method returns
// when ctx ends, may be called from any goroutine, and does one thing at a
// time; its errors are *Error.
type Switch interface {
	// Poll reads the whole switch. The Reading is valid also with an error,
	// which is its Err: ports that were not read are unknown in it.
	Poll(ctx context.Context) (Reading, error)
	// Read reads some ports, in the order asked for. The states are valid also
	// with an error. ErrNoPort, ErrNoAnswer, ErrAnswer, ErrAuth.
	Read(ctx context.Context, ports ...int) ([]PortState, error)
	// SetPower switches a port's power and reads it back until the switch's
	// detection status agrees. It returns the last state read, also with an
	// error: ErrReadOnly, ErrNoPort, ErrRefused, ErrNoAnswer (the state is
	// unknown), ErrNotApplied, ErrNoLoad, ErrDenied, ErrFault. Power comes on
	// no earlier than Config.MinOff after it was switched off.
	SetPower(ctx context.Context, port int, on bool) (PortState, error)
	// FDB reads the learned addresses.
	FDB(ctx context.Context) ([]FDBEntry, error)
	// Close ends the session; what runs ends with ErrClosed or ErrNoAnswer.
	Close() error
}

var _ Switch = (*SNMP)(nil)

// The limits on reading a switch that answers, but late or without end.
const (
	pollLimit  = 30 * time.Second
	tableLimit = 2 * time.Minute // forwarding tables and discovery
)

// late makes an error of this package of the end of its own time limit, which
// is not the end of the caller's ctx.
func late(ctx context.Context, limit time.Duration, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	// The socket's deadline can be over a moment before the context says so.
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return err
	}
	return fmt.Errorf("%w within %v: it answers, but too slowly", ErrNoAnswer, limit)
}

// SNMP is a Switch driven over SNMP.
type SNMP struct {
	cfg     Config
	profile Profile
	turn    chan struct{} // holds one token: whoever has it may use what follows
	closed  context.Context
	end     context.CancelFunc

	sess    session
	plans   map[int]portPlan // by port number
	numbers []int            // the ports, ordered

	mu       sync.Mutex // guards what follows
	answered time.Time
	seen     map[int]time.Time // when a port was last told about
	offAt    map[int]time.Time // when power was last switched off from here
}

// New makes a driver. It sends nothing yet.
func New(cfg Config) (*SNMP, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("poe: switch %q: %w", cfg.Name, err)
	}
	profile, _ := FindProfile(cfg.Profile)
	d := &SNMP{
		cfg: cfg, profile: profile, turn: make(chan struct{}, 1), sess: session{cfg: cfg},
		seen: make(map[int]time.Time), offAt: make(map[int]time.Time),
	}
	d.closed, d.end = context.WithCancel(context.Background())
	d.usePorts(cfg.Ports)
	return d, nil
}

// usePorts takes a map of ports that validatePorts has passed.
func (d *SNMP) usePorts(ports []PortIndex) {
	d.plans = make(map[int]portPlan, len(ports))
	for _, p := range ports {
		d.plans[p.Number] = plan(&d.profile, p)
	}
	d.numbers = slices.Sorted(maps.Keys(d.plans))
}

// begin waits for the driver's turn. The context returned also ends when the
// driver is closed; done gives the turn back.
func (d *SNMP) begin(ctx context.Context) (inner context.Context, done func(), err error) {
	if d.closed.Err() != nil {
		return nil, nil, ErrClosed
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-d.closed.Done():
		return nil, nil, ErrClosed
	}
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.closed, cancel)
	return inner, func() {
		stop()
		cancel()
		<-d.turn
	}, nil
}

// Close ends the session and whatever is under way.
func (d *SNMP) Close() error {
	d.end()
	d.turn <- struct{}{}
	d.sess.close()
	<-d.turn
	return nil
}

// fail wraps an error with its place, the time of the last answer and a hint.
func (d *SNMP) fail(op string, port int, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	if d.closed.Err() != nil && errors.Is(err, context.Canceled) {
		err = ErrClosed
	}
	return &Error{Op: op, Switch: d.cfg.Name, Port: port, Err: err, Answered: d.lastAnswer(), Hint: Hint(err)}
}

func (d *SNMP) lastAnswer() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// unknown is a port's state when the switch did not tell it.
func (d *SNMP) unknown(port int, err error) PortState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return unknown(port, d.seen[port], err)
}

// get reads objects and takes note that the switch answered.
func (d *SNMP) get(ctx context.Context, oids []string) ([]gosnmp.SnmpPDU, error) {
	vars, err := d.sess.get(ctx, oids)
	if err == nil {
		d.heard()
	}
	return vars, err
}

func (d *SNMP) heard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered = time.Now()
}

// Poll is Switch.Poll.
func (d *SNMP) Poll(ctx context.Context) (Reading, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		err = d.fail("poll", 0, err)
		return Reading{Switch: d.cfg.Name, At: time.Now(), Answered: d.lastAnswer(), Err: err}, err
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, pollLimit)
	defer cancel()
	r := Reading{Switch: d.cfg.Name}
	err = d.pollHead(limited, &r)
	r.Ports, err = d.readPorts(limited, d.numbers, err)
	r.Err = d.fail("poll", 0, late(inner, pollLimit, err))
	r.At, r.Answered = time.Now(), d.lastAnswer()
	return r, r.Err
}

// pollHead reads what is about the whole switch, and the ports' map if there
// is none yet.
func (d *SNMP) pollHead(ctx context.Context, r *Reading) error {
	if len(d.numbers) == 0 {
		ports, err := d.discover(ctx)
		if err != nil {
			return err
		}
		if err := d.adopt(ports); err != nil {
			return err
		}
	}
	oids := []string{oidSysDescr, oidSysUpTime}
	groups := d.groups()
	for _, g := range groups {
		row := "." + strconv.Itoa(g)
		oids = append(oids, oidPethMainPower+row, oidPethMainStatus+row, oidPethMainConsumption+row)
	}
	vars, err := d.get(ctx, oids)
	if err != nil {
		return err
	}
	r.SysDescr, r.Uptime = printable(vars[0]), upTime(vars[1])
	for i, g := range groups {
		row := vars[2+3*i:]
		r.PSE = append(r.PSE, decodePSE(g, row[0], row[1], row[2]))
	}
	return nil
}

// maxGroups bounds the power supply groups of one switch: no stack has more
// units.
const maxGroups = 32

// groups are the power supply groups that the ports belong to.
func (d *SNMP) groups() []int {
	if !d.profile.MainPSE {
		return nil
	}
	set := make(map[int]bool)
	for _, pl := range d.plans {
		if pl.Group > 0 {
			set[pl.Group] = true
		}
	}
	groups := slices.Sorted(maps.Keys(set))
	return groups[:min(len(groups), maxGroups)]
}

// readPorts reads ports, as many in a request as fit. After the first failure,
// or with one from before, the rest is unknown.
func (d *SNMP) readPorts(ctx context.Context, numbers []int, err error) ([]PortState, error) {
	states := make([]PortState, 0, len(numbers))
	perRequest := max(1, d.cfg.MaxOIDs/len(fields))
	for chunk := range slices.Chunk(numbers, perRequest) {
		var oids []string
		for _, n := range chunk {
			oids = append(oids, d.plans[n].oids...)
		}
		var vars []gosnmp.SnmpPDU
		if err == nil {
			vars, err = d.get(ctx, oids)
		}
		for _, n := range chunk {
			if err != nil {
				states = append(states, d.unknown(n, err))
				continue
			}
			pl := d.plans[n]
			states = append(states, d.saw(pl.decode(&d.profile, vars[:len(pl.oids)], d.lastAnswer())))
			vars = vars[len(pl.oids):]
		}
	}
	return states, err
}

// saw takes note that the switch has told a port's state.
func (d *SNMP) saw(s PortState) PortState {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[s.Port] = s.At
	return s
}

// Read is Switch.Read.
func (d *SNMP) Read(ctx context.Context, ports ...int) ([]PortState, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		err = d.fail("read", 0, err)
		states := make([]PortState, len(ports))
		for i, n := range ports {
			states[i] = d.unknown(n, err)
		}
		return states, err
	}
	defer done()
	states, err := d.read(inner, ports...)
	return states, d.fail("read", 0, err)
}

func (d *SNMP) read(ctx context.Context, ports ...int) ([]PortState, error) {
	var err error
	for _, n := range ports {
		if err = d.check(n); err != nil {
			break
		}
	}
	return d.readPorts(ctx, ports, err)
}

// check tells whether the driver has a port.
func (d *SNMP) check(port int) error {
	if _, ok := d.plans[port]; ok {
		return nil
	}
	if len(d.plans) == 0 {
		return fmt.Errorf("%w: %d: the ports are not known before the first poll", ErrNoPort, port)
	}
	return fmt.Errorf("%w: %d", ErrNoPort, port)
}
