package engine

import (
	"fmt"
	"time"
)

// piState is a Pi with all that is known of what it does now.
type piState struct {
	Pi
	gen      uint64
	sw       *switchState // nil: its switch is not in the layout
	stage    Stage        // by evidence; shown as unknown while the switch is silent
	since    time.Time    // in this stage
	progress time.Time    // last sign of progress in it
	before   Stage        // the stage it stalled in
	diag     Diagnosis    // when stalled
	portSeen bool
	port     PortReading
	portAt   time.Time
	readBack time.Time // when a write to the port was last read back
	cutAt    time.Time // when its power was last seen to go, zero = it was off
	boot     *Boot
	facts    facts
	offSince time.Time // since when it is off, should be on and has no job
	restarts int       // resets of its own since it was last up or powered
	nfs      NFSSeen
	nfsAt    time.Time
	mark     nfsMark
	running  bool      // its power was on when the service started: it may be up already
	lost     time.Time // since when the root connection of a running Pi is gone
	other    *DHCPSeen // another board on its segment
	otherAt  time.Time
	job      *jobState
	// unpowered: the rule for its port could not be followed at the start, for a
	// job had it.
	unpowered bool
	exam      examState
	// releaseTried is when its release was last begun again.
	releaseTried time.Time
	free         string // image that the configuration gives it when nobody has it
	gone         bool   // its place is not in the layout any more
	export       export
	shown        Stage // as last told to Config.Stage
}

// facts are what the rules of a diagnosis look at; each boot starts with none.
type facts struct {
	discovers  int
	offers     int
	fileAsked  string // last boot file asked for
	kernelTry  bool   // it is a kernel
	open       bool   // its transfer has not ended
	files      int    // served whole
	bytes      int64
	missing    string // last name that was not there
	failed     string // a transfer that broke off
	refused    string // a file that was not given, and why
	askedAt    time.Time
	kernel     string
	loader     bool   // bootcode.bin was fetched: the next DISCOVER is its own
	stp        string // worst spanning tree state seen
	deniedBase uint32
	shortBase  uint32
	overBase   uint32
	baseKnown  bool
	powerErr   error // why the switch did not power the port
	nfsRefused string
	refusedAt  time.Time
	sshErr     string
	peak       int         // mW that an examined board drew at most
	examined   bool        // its burn-in has begun
	report     *ReportSeen // of an examination that is over
}

// nfsMark is a connection that is no sign of life; see stale.
type nfsMark struct {
	set   bool
	since time.Time
	bytes uint64
}

func newPiState(p Pi) *piState { return &piState{Pi: p, shown: StageUnknown} }

// view is the stage people see.
func (p *piState) view() Stage {
	if p.sw.silent() || !p.portSeen && p.boot == nil {
		return StageUnknown
	}
	return p.stage
}

// setStage moves the Pi to a stage on some evidence.
func (r *rack) setStage(p *piState, s Stage, at time.Time, evidence string) {
	was := p.stage
	p.progress = at
	evidence = printable(evidence)
	r.event(p, at, s, evidence)
	if was == s {
		return
	}
	p.stage, p.since = s, at
	if s != StageStalled {
		p.diag = Diagnosis{}
	}
	if p.boot != nil && s != StageStalled && s > p.boot.Reached && s <= StageUp {
		p.boot.Reached = s
	}
	if settled(was) || settled(s) {
		r.bump(p)
	}
	if s == StageOff || s == StageDHCP {
		p.running = false
	}
	p.offSince = time.Time{}
	if p.boot != nil && s == StageUp {
		p.boot.Cause = "" // it stalled on its way, and got there
	}
	if p.boot != nil && (s == StageUp || s == StageStalled || s == StageOff) {
		r.saveBoot(p)
	}
	r.dirty = true
	r.tell(p, at, evidence)
	r.stageReached(p)
}

// settled tells whether a stage is one that people decide on: leaving or
// entering it makes a new generation. The stages in between pass by
// themselves.
func settled(s Stage) bool { return s == StageOff || s == StageUp || s == StageStalled }

// tell reports a change of the stage as people see it.
func (r *rack) tell(p *piState, at time.Time, evidence string) {
	now := p.view()
	if now == p.shown {
		return
	}
	p.shown = now
	r.notifyStage(p, now)
	if r.e.cfg.Stage != nil {
		r.e.cfg.Stage(StageChange{
			Time: at, Pi: p.Name, Port: p.Segment.Port, Stage: now, Evidence: evidence, Diagnosis: p.diag,
		})
	}
}

// event appends a line to the boot's timeline.
func (r *rack) event(p *piState, at time.Time, s Stage, evidence string) {
	if p.boot == nil || evidence == "" {
		return
	}
	n := len(p.boot.Events)
	if n >= MaxBootEvents {
		return
	}
	if n == MaxBootEvents-1 {
		evidence = "the timeline is full; later evidence is not kept"
	}
	ev := BootEvent{Time: at, Stage: s, Evidence: printable(evidence)}
	p.boot.Events = append(p.boot.Events, ev)
	r.changes.Events = append(r.changes.Events, BootLine{Boot: p.boot.ID, Seq: n, BootEvent: ev})
	r.dirty = true
}

// startBoot begins a new boot at a stage.
func (r *rack) startBoot(p *piState, s Stage, at time.Time, evidence string) {
	r.ids.Boot++
	p.boot = &Boot{ID: r.ids.Boot, Pi: p.Name, Started: at, Reached: s}
	keep := p.facts
	p.facts = facts{deniedBase: keep.deniedBase, shortBase: keep.shortBase, overBase: keep.overBase, baseKnown: keep.baseKnown}
	p.lost = time.Time{}
	r.saveBoot(p)
	r.setStage(p, s, at, evidence)
}

func (r *rack) saveBoot(p *piState) {
	b := *p.boot
	b.Events = nil
	r.changes.Boots = append(r.changes.Boots, b)
}

// stall declares that the Pi makes no progress, and why.
func (r *rack) stall(p *piState, at time.Time, d Diagnosis) {
	before := p.stage // one that is off and never booted stays off: it stalls there
	if p.boot == nil {
		r.startBoot(p, StagePower, at, "")
	}
	p.before, p.diag = before, d
	p.boot.Cause = d.Cause
	r.setStage(p, StageStalled, at, d.Cause)
	r.logf(SystemActor().Name, p.Name, p.jobID(), "stalled at %s: %s", d.At, d.Cause)
}

func (p *piState) jobID() int64 {
	if p.job == nil {
		return 0
	}
	return p.job.ID
}

// unprintable tells control characters, those of terminals' escapes among them,
// and what is no UTF-8.
func unprintable(c rune) bool {
	return c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0xfffd
}

// printable makes hostile text fit for a line on a terminal: control and
// escape characters become "?", and it is cut to a line's length.
func printable(s string) string {
	const longest = 200
	clean := []rune(nil)
	for i, c := range s {
		if unprintable(c) {
			if clean == nil {
				clean = []rune(s[:i])
			}
			c = '?'
		}
		if clean != nil {
			clean = append(clean, c)
		}
	}
	if clean != nil {
		s = string(clean)
	}
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest-1]) + "…"
	}
	return s
}

// kept is how many log lines a snapshot carries.
const kept = 100

func (r *rack) logf(actor string, pi PiName, job int64, format string, args ...any) {
	r.ids.Log++
	line := LogLine{ID: r.ids.Log, Time: time.Now(), Actor: actor, Pi: pi, Job: job, Text: printable(fmt.Sprintf(format, args...))}
	r.changes.Log = append(r.changes.Log, line)
	// A new slice: the old one belongs to snapshots.
	r.log = append([]LogLine{line}, r.log[:min(len(r.log), kept-1)]...)
	r.dirty = true
	r.e.cfg.Log.Info(line.Text, "actor", actor, "pi", pi, "job", job)
}
