package poeswitch

import (
	"net"
	"time"
)

// Detection statuses: pethPsePortDetectionStatus, RFC 3621.
const (
	detDisabled   = 1
	detSearching  = 2
	detDelivering = 3
	detFault      = 4
	detOtherFault = 6
)

// Port states: dot1dStpPortState, RFC 4188.
const (
	stpDisabled   = 1
	stpListening  = 3
	stpLearning   = 4
	stpForwarding = 5
)

// port is one port of the model; the switch's lock guards it.
type port struct {
	number int

	admin     bool // pethPsePortAdminEnable
	detection int
	device    *Device
	fault     Fault
	deny      bool
	lie       bool

	mpsAbsent, denied, overload, short uint32

	ifAdmin    bool
	carrier    bool          // the device's side of the link is up
	link       bool          // carrier and ifAdmin
	linkChange time.Duration // sysUpTime of the last change
	stp        STP
	stpState   int

	power   step // the power state machine's next step
	forward step // the spanning tree's next step
}

// step is a delayed action that can be taken back: an action whose generation
// is no longer the present one does nothing.
type step struct {
	timer *time.Timer
	gen   uint64
}

func (s *step) cancel() {
	s.gen++
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// after runs f after d with the switch locked, unless the step is cancelled or
// replaced, or the switch has stopped.
func (sw *Switch) after(s *step, d time.Duration, f func()) {
	s.cancel()
	gen := s.gen
	s.timer = time.AfterFunc(sw.cfg.Timing.scale(d), func() {
		sw.mu.Lock()
		defer sw.mu.Unlock()
		if s.gen == gen && !sw.stopped {
			f()
		}
	})
}

// settle takes the port to where its settings and its device now put it.
func (sw *Switch) settle(p *port) {
	p.power.cancel()
	switch {
	case !p.admin:
		sw.cut(p, detDisabled)
	case p.fault != NoFault:
		if p.detection == detDisabled {
			p.detection = detSearching
		}
		sw.after(&p.power, sw.cfg.Timing.Detect, func() { sw.trip(p) })
	case p.device == nil && p.detection == detDelivering:
		sw.after(&p.power, sw.cfg.Timing.Disconnect, func() {
			p.mpsAbsent++
			sw.cut(p, detSearching)
		})
	case p.device == nil:
		p.detection = detSearching
	case p.deny && p.detection == detDelivering:
		sw.cut(p, detSearching)
		p.denied++
		sw.after(&p.power, sw.cfg.Timing.Retry, func() { sw.grant(p) })
	case p.detection != detDelivering:
		p.detection = detSearching
		sw.after(&p.power, sw.cfg.Timing.Detect, func() { sw.grant(p) })
	}
}

// trip cuts the power of a port that has a fault.
func (sw *Switch) trip(p *port) {
	status := detFault
	switch p.fault {
	case Overload:
		p.overload++
	case Short:
		p.short++
	default:
		status = detOtherFault
	}
	sw.cut(p, status)
}

// grant gives power to a detected device if the budget has room for its class,
// as a PSE does that accounts by usage: what is drawn now plus what the new
// device may draw.
func (sw *Switch) grant(p *port) {
	loads := sw.loads()
	gen := p.power.gen
	sw.mu.Unlock() // a device's draw is never asked for under the lock
	used := total(loads)
	sw.mu.Lock()
	if p.power.gen != gen || sw.stopped || p.device == nil {
		return
	}
	need := classMilliwatts[p.device.Class]
	// Ports granted while the lock was open have been counted with nothing:
	// take the reservations of this instant into account too.
	if p.deny || used+sw.starting+need > sw.cfg.BudgetWatts*1000 {
		p.denied++
		sw.after(&p.power, sw.cfg.Timing.Retry, func() { sw.grant(p) })
		return
	}
	sw.reserve(need)
	p.detection = detDelivering
	sw.emit(p.number, true)
}

// reserve counts a fresh port with its class until its draw can be measured.
func (sw *Switch) reserve(milliwatts int) {
	sw.starting += milliwatts
	var s step
	sw.after(&s, sw.cfg.Timing.Disconnect, func() { sw.starting -= milliwatts })
}

// cut ends the power of a port and with it the device's link and addresses.
func (sw *Switch) cut(p *port, detection int) {
	was := p.detection
	p.detection = detection
	if was != detDelivering {
		return
	}
	p.carrier = false
	sw.setLink(p)
	sw.emit(p.number, false)
}

// setLink brings the link to where carrier and ifAdmin put it and starts or
// ends the spanning tree.
func (sw *Switch) setLink(p *port) {
	up := p.carrier && p.ifAdmin
	if p.link == up {
		return
	}
	p.link, p.linkChange = up, sw.uptime()
	p.forward.cancel()
	switch {
	case !up:
		p.stpState = stpDisabled
		sw.forget(p.number)
	case p.stp.Edge:
		p.stpState = stpForwarding
	default:
		sw.listen(p)
	}
}

// listen is the walk through listening and learning of IEEE 802.1D.
func (sw *Switch) listen(p *port) {
	delay := p.stp.ForwardDelay
	if delay <= 0 {
		delay = sw.cfg.Timing.ForwardDelay
	}
	p.stpState = stpListening
	sw.after(&p.forward, delay, func() {
		p.stpState = stpLearning
		sw.after(&p.forward, delay, func() { p.stpState = stpForwarding })
	})
}

// station is a learned address.
type station struct {
	mac  [6]byte
	vlan int
	port int
}

func macKey(mac net.HardwareAddr) (key [6]byte, ok bool) {
	if len(mac) != len(key) || mac[0]&1 != 0 { // a group address is never learned
		return key, false
	}
	return [6]byte(mac), true
}
