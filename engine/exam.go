package engine

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// A board that is new here, or that comes back from a customer, is examined
// before anybody gets it: it boots a small system in memory that looks at the
// board, works it hard for some seconds and reports. What comes of it is the
// Pi's life: ready, or broken with the reason.

// Steps of the examination.
const (
	stepPrepare   = "prepare"
	stepEnterExam = "enter-exam"
	stepReport    = "report"
	stepLeaveExam = "leave-exam"
	stepListen    = "listen"
)

// Verbs of the engine's own.
const (
	// verbListen powers a place where no board is known, so that one that is
	// plugged in there is heard.
	verbListen VerbName = "listen"
	// verbResume boots a Pi's own root again after an examination.
	verbResume VerbName = "resume"
)

// examPlan has the board off before the boot table has the examination, so that
// nothing that ran on it before can ask for what lets a report count.
var examPlan = []string{
	stepPrepare, stepPowerOff, stepRest, stepWithdraw, stepEnterExam, stepPowerOn, stepReport, stepPowerOff, stepLeaveExam,
}

// An examination that could not be carried out is tried again after a time that
// doubles, and not for ever.
const (
	examTries = 3
	examRetry = time.Minute
)

// examState is what is known of a Pi's examinations since the start.
type examState struct {
	tries    int
	next     time.Time
	stopped  bool // by staff: they say how it goes on
	listened bool // the place was powered so that a board is heard
}

func prepareExam(ctx context.Context, e *Engine, w *work) error {
	return e.cfg.Roots.Examine(ctx, w.pi, w.job.Image)
}

func applyExam(on bool) func(*rack, *piState, *work, error) {
	return func(r *rack, p *piState, _ *work, err error) {
		if err == nil && p.Exam != on {
			p.Exam = on
			r.savePi(p)
		}
	}
}

// waitForReport waits until the report is there, or it is clear that none comes:
// that is for applyReport to judge, and the job goes on. Only a job that has to
// end ends here.
func waitForReport(ctx context.Context, e *Engine, w *work) error {
	err := waitForBoot(ctx, e, w)
	if ctx.Err() != nil {
		return err
	}
	w.silent = err
	return nil
}

// applyReport makes of the report, or of the want of one, what the Pi's life is
// from now on.
func applyReport(r *rack, p *piState, w *work, err error) {
	j := r.jobs[w.job.ID]
	if err != nil || j == nil || j.stop != "" {
		return
	}
	said := p.facts.report
	switch {
	case said != nil:
		r.sentence(p, judge(p, said))
	case w.silent == nil:
		r.sentence(p, "no report: its SSH answers, so it started another system than the examination's (from a card?)")
	case p.stage == StageStalled:
		r.sentence(p, "no report: "+w.silent.Error())
	default:
		j.halt("no report: " + w.silent.Error())
	}
}

// sentence ends an examination: why the board is not fit for use, "" = it is.
func (r *rack) sentence(p *piState, why string) {
	p.Life, p.Note = lives[VerbReady](&p.Pi), ""
	if why != "" {
		p.Life, p.Note, p.Power = LifeBroken, printable(why), false
	}
	r.savePi(p)
}

// verdict is what an examination came to, for the log and the audit.
func (j *jobState) verdict() string {
	switch {
	case j.Verb != string(VerbExamine) || j.State != JobDone:
		return ""
	case j.pi.Life == LifeBroken:
		return ": broken: " + j.pi.Note
	}
	return ": " + string(j.pi.Life)
}

// seeReport takes what the examination system tells.
func (r *rack) seeReport(at time.Time, s *ReportSeen) {
	p := r.byClient[s.Client]
	if p == nil || !p.Exam || p.boot == nil || r.tooOld(p, at) || at.Before(p.boot.Started) {
		return
	}
	if s.Refused != "" {
		r.event(p, at, StageKernel, "a report that does not count: "+s.Refused)
		return
	}
	f := &p.facts
	switch {
	case f.report != nil:
		return // it is told again until the power goes
	case s.Done:
		f.report = s
		r.told(p, s)
		r.reach(p, StageKernel, at, "its system runs")
		r.progress(p, at, StageKernel, "examined: "+s.summary(f.peak))
		r.stageReached(p)
		return
	}
	evidence := ""
	if !f.examined {
		f.examined = true
		evidence = "examined from now on: " + s.summary(0)
		r.told(p, s)
		r.reach(p, StageKernel, at, "its system runs")
	}
	if p.stage == StageStalled && p.before == StageKernel {
		r.setStage(p, StageKernel, at, "it goes on")
	}
	r.progress(p, at, StageKernel, evidence)
}

// told keeps what a board says of itself, which nobody has to type.
func (r *rack) told(p *piState, s *ReportSeen) {
	if s.MAC != p.MAC {
		return
	}
	before := p.Pi
	p.Model, p.Serial = cmp.Or(s.Model, p.Model), cmp.Or(p.Serial, s.Serial)
	p.Memory = cmp.Or(s.Sold, s.nominal(), p.Memory)
	if p.Pi == before {
		return
	}
	r.savePi(p)
	if before.Model != ModelUnknown && before.Model != p.Model {
		r.logf(SystemActor().Name, p.Name, p.jobID(), "it is a Pi %s, and was taken for a %s", p.Model, before.Model)
	}
}

// examImage is the image that boards are examined with, "" = there is none.
func (r *rack) examImage() string {
	return cmp.Or(r.rules.Exam, r.defaultImage())
}

// examine begins the examination of a Pi that nobody has.
func (r *rack) examine(p *piState, cmd Command) {
	j := r.newJob(VerbExamine, p, cmd.Actor.Name, 0, r.openAudit(VerbExamine, cmd, p, r.ids.Job+1))
	j.Image = r.examImage()
	r.savePi(p)
	r.saveJob(j)
	r.logf(cmd.Actor.Name, p.Name, j.ID, "examine: %s", cmd.Reason)
}

// examineOrReady makes a Pi that is nobody's any more ready, by an examination if
// the rules want one. Its job must be over.
func (r *rack) examineOrReady(p *piState) {
	p.exam = examState{}
	p.Life, p.Note = LifeReleasing, ""
	switch {
	case !r.rules.Examine:
		p.Life = lives[VerbReady](&p.Pi)
	case r.checkExam() == nil: // else it waits for the image
		r.examine(p, systemCommand("it was given back"))
		return
	}
	r.savePi(p)
}

// checkExam says why no board can be examined.
func (r *rack) checkExam() error {
	if image := r.examImage(); !r.hasImage(image) {
		return fmt.Errorf("%w: the configuration has no image %q to examine with", ErrNotNow, image)
	}
	return nil
}

// examineAdopted has a board that staff took for a Pi that nobody has examined,
// if the rules want that.
func (r *rack) examineAdopted(p *piState, cmd Command) bool {
	if !r.rules.Examine || p.Rented() || p.job != nil || p.Life == LifeBroken {
		return false
	}
	p.exam = examState{}
	p.Life = LifeNew
	if r.checkExam() != nil { // it waits for the image
		r.savePi(p)
		return true
	}
	r.examine(p, cmd)
	return true
}

// nothingThere is a place with power for a board that has not come.
func (r *rack) nothingThere(p *piState, at time.Time) {
	if p.stage == StageOff {
		r.tell(p, at, "nothing is plugged in")
		return
	}
	r.setStage(p, StageOff, at, "nothing is plugged in")
}

// isFirst tells whether a board that is heard at a place is the first one there,
// and nobody else's: it is taken and examined without hands.
func (r *rack) isFirst(p *piState, d *DHCPSeen) bool {
	return r.rules.Examine && r.checkExam() == nil && p.awaits() && d.ROM && d.MAC != MAC{} && p.job == nil &&
		(p.Serial == 0 || p.Serial == d.Serial) && r.homeOf(d.MAC, p) == nil && p.portSeen && !p.sw.silent()
}

// awaits tells whether any board that comes may be taken here.
func (p *piState) awaits() bool { return p.Life == LifeNew && p.MAC == MAC{} && !p.Rented() }

// takeFirst takes the first board heard at a place.
func (r *rack) takeFirst(p *piState) {
	p.exam = examState{listened: p.exam.listened}
	cmd := systemCommand("the first board heard here")
	r.take(cmd, p)
	r.examine(p, cmd)
}

// examineDue begins, again and again until it is done or given up, what nobody
// asks for: to listen where no board is known, and the examination of the boards
// that are new or were given back.
func (r *rack) examineDue(now time.Time) {
	if !r.rules.Examine || r.storeErr != nil || r.runners.ctx == nil || r.checkExam() != nil {
		return
	}
	for _, p := range r.order {
		if p.job != nil || p.Rented() || !p.portSeen || p.sw.silent() || p.exam.stopped || now.Before(p.exam.next) {
			continue
		}
		switch {
		case p.awaits() && p.other != nil && p.port.Delivering && r.isFirst(p, p.other):
			r.takeFirst(p) // heard while a job had the place, or before the rule
		case p.awaits():
			r.listen(p)
		case p.Life == LifeNew && p.port.Delivering:
			r.examine(p, systemCommand("it is new"))
		case p.Life == LifeReleasing && p.Volume == "": // else its release is not over
			r.examine(p, systemCommand("it was given back"))
		}
	}
}

// listenAt powers a place that may well be empty: then a switch that looks for a
// device is all that can be had.
func listenAt(ctx context.Context, e *Engine, w *work) error {
	err := setPower(true)(ctx, e, w)
	if err != nil && w.reading != nil && w.reading.Enabled && w.reading.Detection == detectionSearching {
		return nil
	}
	return err
}

// detectionSearching is the MIB's word for a port that looks for a device.
const detectionSearching = "searching"

// listen powers an empty place once, if its port should be on.
func (r *rack) listen(p *piState) {
	if !p.Power || p.exam.listened || p.port.Enabled {
		return
	}
	p.exam.listened = true
	r.newJob(verbListen, p, SystemActor().Name, 0, r.openAudit(verbListen, systemCommand("a board that is plugged in is to be heard"), p, r.ids.Job+1))
}

// examEnded does what follows an examination, however it ended: the Pi boots its
// root again if it has one, gets its first, or is tried again.
func (r *rack) examEnded(j *jobState) {
	p := j.pi
	if j.Verb != string(VerbExamine) || p.gone {
		return
	}
	if p.Exam {
		p.Exam = false
		r.savePi(p)
	}
	if j.State != JobDone {
		r.examFailed(p, j)
	} else {
		p.exam = examState{}
	}
	if p.Life != LifeReady || !j.begun(stepPowerOff) || r.deployIfBare(p, verbDeploy) || !p.Power || p.job != nil {
		return
	}
	if p.Volume == "" { // there is nothing that it could boot
		p.Power = false
		r.savePi(p)
		return
	}
	r.newJob(verbResume, p, SystemActor().Name, 0, r.openAudit(verbResume, systemCommand("its examination is over"), p, r.ids.Job+1))
}

// examFailed has an examination tried again that was not carried out, and gives
// it up in the end: then people have to look.
func (r *rack) examFailed(p *piState, j *jobState) {
	x := &p.exam
	if x.tries++; x.tries < examTries || x.stopped || p.Life != LifeNew && p.Life != LifeReleasing {
		x.next = j.Ended.Add(examRetry << min(x.tries-1, examTries))
		return
	}
	r.sentence(p, fmt.Sprintf("it could not be examined, %d times: %s", x.tries, j.Error))
	r.logf(SystemActor().Name, p.Name, j.ID, "broken: %s", p.Note)
}
