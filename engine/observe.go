package engine

import (
	"cmp"
	"fmt"
	"time"
)

// apply takes one piece of evidence.
func (r *rack) apply(o Observation) {
	if o.Time.IsZero() {
		o.Time = time.Now() // the store takes no row without a time
	}
	switch {
	case o.Switch != nil:
		r.seeSwitch(o.Time, o.Switch)
	case o.DHCP != nil:
		r.seeDHCP(o.Time, o.DHCP)
	case o.TFTP != nil:
		r.seeTFTP(o.Time, o.TFTP)
	case o.NFS != nil:
		r.seeNFS(o.Time, o.NFS)
	case o.SSH != nil:
		r.seeSSH(o.Time, o.SSH)
	case o.Space != nil:
		r.seeSpace(o.Time, o.Space)
	case o.Health != nil:
		r.seeHealth(o.Health)
	case o.Report != nil:
		r.seeReport(o.Time, o.Report)
	}
}

func (r *rack) seeSwitch(at time.Time, s *SwitchReading) {
	st := r.findSwitch(s.Switch)
	if st == nil {
		return
	}
	r.dirty = true
	if s.Err != "" {
		if st.err == "" {
			r.logf(SystemActor().Name, "", 0, "switch %s does not answer: %s", s.Switch, s.Err)
		}
		st.err = printable(s.Err)
		r.retellSwitch(st, at, "the switch does not answer: "+s.Err)
		return
	}
	if st.err != "" {
		r.logf(SystemActor().Name, "", 0, "switch %s answers again", s.Switch)
	}
	st.err, st.answered, st.reading = "", at, *s
	for i := range s.Ports {
		// A poll of the instant that a write was read back in may have begun before.
		if p := r.byPort[PortID{s.Switch, s.Ports[i].Port}]; p != nil && at.After(p.readBack) {
			r.seePort(p, at, s.Ports[i])
		}
	}
	r.retellSwitch(st, at, "the switch answers")
}

func (r *rack) findSwitch(name string) *switchState {
	for _, st := range r.switches {
		if st.Name == name {
			return st
		}
	}
	return nil
}

// retellSwitch reports the Pis whose visible stage changed because the switch
// fell silent or spoke again; either way decisions made before are stale.
func (r *rack) retellSwitch(st *switchState, at time.Time, evidence string) {
	for _, p := range r.order {
		if p.sw == st && p.view() != p.shown {
			r.bump(p)
			r.tell(p, at, evidence)
		}
	}
}

// seePort takes a reading of the Pi's port, from a poll or from the read-back
// of a write.
func (r *rack) seePort(p *piState, at time.Time, now PortReading) {
	if at.Before(p.portAt) {
		return // a poll begun before a write was read back
	}
	was, known := p.port, p.portSeen
	p.port, p.portAt, p.portSeen = now, at, true
	r.portFacts(p, now)
	if !now.Delivering && (!known || was.Delivering) {
		p.cutAt = at
	}
	if !known || was.Enabled != now.Enabled || was.Delivering != now.Delivering || was.Detection != now.Detection {
		r.changes.Ports = append(r.changes.Ports, PortRow{Port: p.Segment.Port, Reading: now, At: at})
		r.bump(p)
	}
	switch {
	case now.Delivering:
		r.portDelivers(p, at, known, was.Delivering)
	case !now.Enabled:
		r.portOff(p, at)
	default:
		r.portSearching(p, at)
	}
	if !known {
		r.wantPower(p)
		r.stageReached(p) // a boot step may wait for what the switch says
	}
}

// FoundOn is the first evidence of a boot that is none yet: the Pi's power was
// on when the service started, so it may have been up for long.
const FoundOn = "power was on when the service started"

// portDelivers starts a boot when the power came on, unless the Pi was heard
// before the poll found it.
func (r *rack) portDelivers(p *piState, at time.Time, known, before bool) {
	switch {
	case !known && p.stage == StageOff:
		p.running, p.restarts = true, 0
		r.startBoot(p, StagePower, at, FoundOn)
	case before:
	case p.stage == StageOff, p.stage == StageStalled && p.before <= StagePower:
		p.restarts = 0
		r.startBoot(p, StagePower, at, "the switch delivers power")
	case p.stage == StagePower:
		r.setStage(p, StagePower, at, "the switch delivers power")
	default:
		r.event(p, at, StagePower, "the switch delivers power")
	}
}

func (r *rack) portOff(p *piState, at time.Time) {
	if p.stage == StageOff && p.boot == nil {
		r.tell(p, at, "the switch says the port is off")
		return
	}
	if p.stage == StageOff || p.stage == StageStalled && (p.facts.powerErr != nil || p.before == StageOff) {
		return
	}
	p.lost, p.restarts = time.Time{}, 0
	r.setStage(p, StageOff, at, "the switch says the port is off")
}

// portSearching is a port that is enabled and powers nothing: no device, one
// that is refused, or one that was lost.
func (r *rack) portSearching(p *piState, at time.Time) {
	switch {
	case r.rules.Examine && p.awaits() && p.port.Detection == detectionSearching:
		r.nothingThere(p, at)
	case p.stage == StageOff:
		r.startBoot(p, StagePower, at, "the port is enabled: "+p.port.Detection)
	case p.stage > StagePower && p.stage <= StageUp, p.stage == StageStalled && p.before > StagePower:
		r.startBoot(p, StagePower, at, "the port lost its power: "+p.port.Detection)
	}
}

// portFacts keeps what the rules need: the counters' start, and the worst
// spanning tree state.
func (r *rack) portFacts(p *piState, now PortReading) {
	f := &p.facts
	if p.Exam && now.HasWatts {
		f.peak = max(f.peak, now.Milliwatts)
	}
	if !f.baseKnown {
		f.deniedBase, f.shortBase, f.overBase, f.baseKnown = now.Denied, now.Short, now.Overload, true
	}
	if p.stage == StagePower || p.stage == StageDHCP {
		if now.STP != "" && now.STP != "forwarding" && now.STP != "disabled" {
			f.stp = now.STP
		}
	}
}

func (r *rack) seeDHCP(at time.Time, d *DHCPSeen) {
	p := r.bySeg[d.Segment]
	if p == nil || r.tooOld(p, at) {
		return
	}
	switch d.Kind {
	case "unknown":
		r.seeOther(p, at, d)
	case "discover":
		r.seeDiscover(p, at, d)
	case "offer":
		p.facts.offers++
		r.progress(p, at, StageDHCP, fmt.Sprintf("OFFER %s", p.Segment.Addr.Addr()))
	case "request", "ack", "nak":
		r.progress(p, at, StageDHCP, kindWords[d.Kind]+reasonSuffix(d.Reason))
	}
}

var kindWords = map[string]string{"request": "REQUEST", "ack": "ACK", "nak": "NAK"}

func reasonSuffix(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// tooOld tells whether evidence was gathered before the power last went.
func (r *rack) tooOld(p *piState, at time.Time) bool {
	return p.stage == StageOff && p.portSeen && at.Before(p.portAt)
}

// progress notes evidence that belongs to a stage without moving the Pi back.
func (r *rack) progress(p *piState, at time.Time, s Stage, evidence string) {
	if p.stage == s {
		p.progress = at
	}
	r.event(p, at, s, evidence)
}

// otherFor is how long another board stays the one that adopt would take, after
// it was last heard. Each change makes decisions stale: whoever has a Pi could
// otherwise keep staff from acting on it by inventing boards.
const otherFor = 30 * time.Second

func (r *rack) seeOther(p *piState, at time.Time, d *DHCPSeen) {
	first := p.other == nil || p.other.MAC != d.MAC
	if first && at.Sub(p.otherAt) < otherFor {
		return
	}
	p.other, p.otherAt = d, at
	if !first {
		return
	}
	r.bump(p)
	what := fmt.Sprintf("DISCOVER from another board: %s", describeBoard(d))
	r.event(p, at, StagePower, what)
	if r.isFirst(p, d) {
		r.takeFirst(p)
		return
	}
	if home := r.homeOf(d.MAC, p); home != nil {
		r.logf(SystemActor().Name, p.Name, 0, "%s, the one of %s: moved here? :adopt takes it as this Pi", what, home.Name)
		return
	}
	r.logf(SystemActor().Name, p.Name, 0, "%s; :adopt takes it as this Pi", what)
}

func describeBoard(d *DHCPSeen) string {
	s := d.MAC.String()
	if d.Model != "" {
		s += ", Pi " + string(d.Model)
	}
	if d.Serial != 0 {
		s += fmt.Sprintf(", serial %08x", d.Serial)
	}
	return s
}

// seeDiscover tells the first DISCOVER of a boot from bootcode.bin's own, from
// an operating system's, and from a Pi that reset itself.
func (r *rack) seeDiscover(p *piState, at time.Time, d *DHCPSeen) {
	switch {
	case !d.ROM:
		r.event(p, at, p.stage, "its system asks for an address")
		return
	case p.stage != StageOff && p.facts.loader && d.Second:
		r.progress(p, at, StageFirmware, "bootcode.bin's DISCOVER")
		if p.stage == StageStalled && p.before == StageFirmware {
			r.setStage(p, StageFirmware, at, "it goes on")
		}
		return
	case p.stage == StageOff || p.boot == nil:
		r.startBoot(p, StageDHCP, at, "") // heard before the poll found the power on
	case p.stage > StageDHCP && p.stage <= StageUp,
		p.stage == StageStalled && p.before > StageDHCP:
		r.restarted(p, at)
	}
	r.learn(p, d)
	p.facts.discovers++
	p.other = nil
	evidence := fmt.Sprintf("DISCOVER %d", p.facts.discovers)
	if p.stage == StageStalled && p.before == StageDHCP { // a boot loop too: asking is no progress
		r.event(p, at, StageDHCP, evidence)
		return
	}
	r.setStage(p, StageDHCP, at, evidence)
}

// learn fills in what the configuration does not say of the board: without its
// model it would get no boot files. bootcode.bin asks as a 3B+ on a 3B too, so
// it tells nothing when it may be what is heard first.
func (r *rack) learn(p *piState, d *DHCPSeen) {
	if d.Second && p.running {
		return
	}
	before := p.Pi
	p.Model, p.Serial = cmp.Or(p.Model, d.Model), cmp.Or(p.Serial, d.Serial)
	if p.Pi != before {
		r.savePi(p)
		r.logf(SystemActor().Name, p.Name, 0, "its board is %s", describeBoard(d))
	}
}

// maxRestarts is how often a Pi may reset itself before it counts as looping.
const maxRestarts = 3

func (p *piState) looping() bool { return p.stage == StageStalled && p.diag.Fault == FaultBootLoop }

func (r *rack) restarted(p *piState, at time.Time) {
	if p.stage == StageUp {
		p.restarts = 0
	}
	p.restarts++
	if p.looping() {
		return
	}
	from := p.stage
	if from == StageStalled {
		from = p.before
	}
	if from != StageUp && p.restarts >= maxRestarts {
		r.startBoot(p, StageDHCP, at, "it restarted by itself")
		r.stall(p, at, bootLoop(p, from))
		return
	}
	r.startBoot(p, StageDHCP, at, fmt.Sprintf("it restarted by itself, from %s", from))
}

func (r *rack) seeTFTP(at time.Time, t *TFTPSeen) {
	p := r.byClient[t.Client]
	if p == nil || r.tooOld(p, at) {
		return
	}
	f := &p.facts
	name := printable(t.Name)
	asked := t.Asked
	if asked.IsZero() {
		asked = at
	}
	newer := !asked.Before(f.askedAt)
	if newer && (t.Kind == "requested" || t.Kind == "notfound") {
		f.askedAt, f.fileAsked, f.kernelTry = asked, name, t.Kernel
	}
	if name == f.fileAsked && t.Kind != "requested" {
		f.open = false
	}
	switch t.Kind {
	case "requested":
		f.open = f.open || newer
		f.failed = forget(f.failed, name)
		f.loader = f.loader && isLoader(name)
		r.seeFirmware(p, at, "")
	case "served":
		f.files++
		f.bytes += t.Bytes
		f.failed = forget(f.failed, name)
		f.loader = isLoader(name)
		r.seeFirmware(p, at, fmt.Sprintf("%s, %d bytes", name, t.Bytes))
		if t.Kernel {
			f.kernel = name
			r.reach(p, StageKernel, at, name+" served whole")
		}
	case "notfound":
		f.missing = name
		r.seeFirmware(p, at, name+" is not there")
	case "early":
		r.seeFirmware(p, at, "")
	case "failed":
		f.failed = name
		r.event(p, at, StageFirmware, fmt.Sprintf("%s broke off after %d of %d bytes: %s", name, t.Bytes, t.Size, t.Reason))
	case "refused":
		f.refused = printable(name + ": " + t.Reason)
		r.event(p, at, StageFirmware, name+" refused: "+t.Reason)
	}
}

// forget empties what, if it is name.
func forget(what, name string) string {
	if what == name {
		return ""
	}
	return what
}

// isLoader tells the files of the Pi 3's first round: after them bootcode.bin
// runs and asks for an address of its own.
func isLoader(name string) bool {
	base := baseName(name)
	return base == "bootcode.bin" || base == "bootsig.bin"
}

func baseName(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

// seeFirmware notes a file; evidence "" is progress without a line.
func (r *rack) seeFirmware(p *piState, at time.Time, evidence string) {
	if p.boot == nil || p.looping() {
		return
	}
	stuckBefore := p.stage == StageStalled && p.before <= StageFirmware
	if p.stage == StagePower || p.stage == StageDHCP || stuckBefore {
		if evidence == "" {
			evidence = p.facts.fileAsked + " asked for"
		}
		r.setStage(p, StageFirmware, at, evidence)
		return
	}
	r.progress(p, at, StageFirmware, evidence)
}

// reach moves the Pi on to a stage that it has not passed yet.
func (r *rack) reach(p *piState, s Stage, at time.Time, evidence string) {
	stage := p.stage
	if stage == StageStalled {
		stage = p.before
		if p.looping() && s < StageRoot {
			return
		}
	}
	if stage == StageOff || p.boot == nil {
		return
	}
	if stage >= s && p.stage != StageStalled || p.stage == StageStalled && s <= p.before {
		return
	}
	r.setStage(p, s, at, evidence)
}

func (r *rack) seeNFS(at time.Time, n *NFSSeen) {
	p := r.byClient[n.Client]
	if p == nil || r.tooOld(p, at) {
		return
	}
	if n.Refused != "" {
		p.facts.nfsRefused, p.facts.refusedAt = printable(n.Refused), at
		r.event(p, at, StageKernel, "mount refused: "+n.Refused)
		return
	}
	p.nfs, p.nfsAt = *n, at
	if !n.Connected {
		p.mark = nfsMark{}
		if p.lost.IsZero() && (p.stage == StageRoot || p.stage == StageUp) {
			p.lost = at
			r.event(p, at, p.stage, "its root connection is gone")
		}
		return
	}
	if p.stale(n) {
		return
	}
	p.lost = time.Time{}
	r.reach(p, StageRoot, at, "its root is mounted")
}

// stale tells whether a connection is only the file server's memory of a Pi
// whose power went: its kernel keeps the connection of a dead peer. Before the
// kernel was served no connection can be new, unless the Pi was running when
// the service started.
func (p *piState) stale(n *NFSSeen) bool {
	stage := p.stage
	if stage == StageStalled {
		stage = p.before
	}
	if !p.portSeen {
		return true // and nothing more, until the switch has told whether it is on
	}
	if stage < StageKernel && !p.running {
		p.mark = nfsMark{set: true, since: n.Since, bytes: n.BytesIn}
		return true
	}
	return p.mark.set && p.mark.since.Equal(n.Since) && p.mark.bytes == n.BytesIn
}

func (r *rack) seeSSH(at time.Time, s *SSHSeen) {
	p := r.byClient[s.Client]
	if p == nil || r.tooOld(p, at) || p.boot == nil || at.Before(p.boot.Started) {
		return
	}
	if s.Banner == "" {
		p.facts.sshErr = printable(s.Err)
		return
	}
	p.facts.sshErr = ""
	if at.After(p.lost) {
		// sshd runs from the root: a client that was idle for five minutes only
		// closed its connection.
		p.lost = time.Time{}
	}
	if p.stage == StageUp || p.stage == StageOff {
		return
	}
	p.boot.Up = at
	p.restarts = 0
	r.setStage(p, StageUp, at, "SSH answers: "+s.Banner)
}
