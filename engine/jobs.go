package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// jobState is a job that is not over.
type jobState struct {
	Job
	pi      *piState
	to      *piState // move: the Pi that gets the server; both have this job
	slot    bool     // counts against cfg.Starting
	running bool     // has a runner
	cancel  context.CancelCauseFunc
	stop    string // cancel was asked for, and why
	resumed bool   // its boot step ran while the service was away
	percent atomic.Int64
	watch   chan error // of the boot step
}

// batch is the jobs of one command: enough failures stop the rest.
type batch struct{ left, failed int }

// newJob makes a job, stored with the next flush.
func (r *rack) newJob(verb VerbName, p *piState, actor string, batchID, audit int64) *jobState {
	r.ids.Job++
	j := &jobState{pi: p, Job: Job{
		ID: r.ids.Job, Batch: cmp.Or(batchID, r.ids.Job), Audit: audit, Verb: string(verb), Pi: p.Name,
		Actor: actor, Server: p.Server, State: JobQueued, Created: time.Now(),
	}}
	for _, name := range plans[verb] {
		j.Steps = append(j.Steps, Step{Name: name, State: StepWaiting})
	}
	j.percent.Store(-1)
	r.jobs[j.ID] = j
	p.job = j
	b := r.batches[j.Batch]
	if b == nil {
		b = &batch{}
		r.batches[j.Batch] = b
	}
	b.left++
	r.saveJob(j)
	r.bump(p)
	return j
}

// restoreJob takes up a stored job; a step found running is run again.
func (r *rack) restoreJob(j Job) {
	s := &jobState{Job: j, pi: r.pis[j.Pi], to: r.pis[j.To], stop: j.Error}
	s.percent.Store(-1)
	if s.pi == nil && s.to != nil && r.handedOver(s) {
		s.pi = &piState{Pi: Pi{Name: j.Pi}, gone: true} // nothing is left to do there
	}
	if s.pi == nil || s.to == nil && j.To != "" {
		s.State, s.Error, s.Ended = JobCancelled, "its Pi is not known any more", time.Now()
		r.abandon(s)
		r.saveJob(s)
		r.closeAudit(s.Audit, "cancelled: "+s.Error)
		if s.pi != nil {
			r.goBack(s)
		}
		return
	}
	s.pi.job = s
	if s.to != nil {
		s.to.job = s
	}
	r.jobs[j.ID] = s
	b := r.batches[j.Batch]
	if b == nil {
		b = &batch{}
		r.batches[j.Batch] = b
	}
	b.left++
}

// saveJob copies the job with its steps into the changes: the steps change.
func (r *rack) saveJob(j *jobState) {
	row := j.Job
	row.Steps = slices.Clone(j.Steps)
	r.changes.Jobs = append(r.changes.Jobs, row)
	r.dirty = true
}

func (r *rack) resumeJobs() {
	for _, j := range r.jobs {
		if j.State == JobRunning {
			j.State = JobQueued
			j.resumed = true
			r.logf(j.Actor, j.Pi, j.ID, "%s goes on at step %s after a restart of the service", j.Verb, j.Steps[min(j.Step, len(j.Steps)-1)].Name)
		}
	}
}

// startJobs gives free slots to waiting jobs: those that people asked for
// before the engine's own, then the oldest.
func (r *rack) startJobs() {
	if r.runners.ctx == nil || r.slots >= r.e.cfg.Starting && !r.anySlotless() {
		return
	}
	var waiting []*jobState
	for _, j := range r.jobs {
		if j.State == JobQueued && !j.running && !j.exporting() {
			waiting = append(waiting, j)
		}
	}
	system := SystemActor().Name
	slices.SortFunc(waiting, func(a, b *jobState) int {
		if (a.Actor == system) != (b.Actor == system) {
			if b.Actor == system {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for _, j := range waiting {
		if j.boots() {
			if r.slots >= r.e.cfg.Starting {
				continue
			}
			j.slot = true
			r.slots++
		}
		r.startJob(j)
	}
}

// anySlotless tells whether a waiting job needs no slot.
func (r *rack) anySlotless() bool {
	for _, j := range r.jobs {
		if j.State == JobQueued && !j.running && !j.boots() {
			return true
		}
	}
	return false
}

// boots tells whether the job powers a Pi on, which takes a slot.
func (j *jobState) boots() bool {
	for _, s := range j.Steps {
		if s.Name == stepPowerOn {
			return true
		}
	}
	return false
}

func (r *rack) freeSlot(j *jobState) {
	if j.slot {
		j.slot = false
		r.slots--
	}
}

func (r *rack) startJob(j *jobState) {
	j.running = true
	j.State = JobRunning
	if j.Started.IsZero() {
		j.Started = time.Now()
	}
	r.saveJob(j)
	ctx, cancel := context.WithCancelCause(r.runners.ctx)
	j.cancel = cancel
	id, first, steps := j.ID, j.Step, slices.Clone(j.Steps)
	r.runners.spawn(func(context.Context) {
		defer cancel(nil)
		r.e.runJob(ctx, id, first, steps)
	})
}

// stepKind says what a runner tells or asks the loop.
type stepKind uint8

const (
	stepBegin stepKind = iota
	stepEnd
	stepWatch
	stepSwept    // of no job: volumes were removed
	stepExported // of no job: an export was changed
)

// stepMessage is how a runner talks with the loop. reply holds one value: the
// loop never waits for a runner.
type stepMessage struct {
	kind  stepKind
	job   int64
	step  int
	work  *work
	err   error
	watch chan error
	swept []string
	all   bool // nothing that was to be swept is left
	pi    *piState
	key   exportKey
	text  string
	reply chan error
}

// runJob carries a job's steps out, one after the other. The loop stores each
// step before and after; when it cannot, the step does not run.
func (e *Engine) runJob(ctx context.Context, id int64, first int, steps []Step) {
	for i := first; i < len(steps); i++ {
		w := &work{}
		if err := e.tellLoop(ctx, stepMessage{kind: stepBegin, job: id, step: i, work: w}); err != nil {
			return
		}
		var err error
		if def := stepDefs[steps[i].Name]; def.run != nil {
			err = def.run(ctx, e, w)
		}
		if e.tellLoop(ctx, stepMessage{kind: stepEnd, job: id, step: i, work: w, err: err}) != nil || err != nil {
			return
		}
	}
}

// tellLoop hands a message over and waits until the loop has stored it. It
// goes through after a cancel too: the loop must learn how the step ended.
func (e *Engine) tellLoop(_ context.Context, m stepMessage) error {
	m.reply = make(chan error, 1)
	select {
	case e.steps <- m:
	case <-e.stopped:
		return ErrStopped
	}
	select {
	case err := <-m.reply:
		return err
	case <-e.stopped:
		return ErrStopped
	}
}

// freeMessages are those that belong to no job.
var freeMessages = map[stepKind]func(*rack, stepMessage){
	stepSwept:    (*rack).swept,
	stepExported: (*rack).mended,
}

func (r *rack) handleStep(m stepMessage) {
	if free := freeMessages[m.kind]; free != nil {
		free(r, m)
		m.reply <- nil
		return
	}
	j := r.jobs[m.job]
	if j == nil {
		m.reply <- ErrStopped
		return
	}
	switch m.kind {
	case stepBegin:
		m.reply <- r.beginStep(j, m)
	case stepEnd:
		err := r.endStep(j, m)
		r.showServer(j.at(m.step).Server)
		m.reply <- err
	case stepWatch:
		j.watch = m.watch
		r.stageReached(j.here())
		m.reply <- nil
	}
}

// beginStep stores that a step starts, and fills in what it works on.
func (r *rack) beginStep(j *jobState, m stepMessage) error {
	if j.stop != "" {
		r.endJob(j, JobCancelled, j.stop)
		return errCancelled
	}
	p := j.at(m.step)
	step := &j.Steps[m.step]
	j.Step = m.step
	step.State, step.Started = StepRunning, time.Now()
	j.percent.Store(-1)
	r.saveJob(j)
	if err := r.flush(context.Background()); err != nil {
		step.State = StepFailed
		r.endJob(j, JobFailed, fmt.Sprintf("%s was not begun: %v", step.Name, err))
		return err
	}
	*m.work = work{
		job: j.Job, pi: p.Pi, person: r.person(p), discard: r.discarded(p), size: r.volumes[j.Volume].Size,
		percent: j.setPercent, rest: max(0, r.e.cfg.Hold-time.Since(p.cutAt)),
	}
	return nil
}

var errCancelled = errors.New("cancelled")

func (j *jobState) setPercent(done, total int64) {
	if total > 0 {
		j.percent.Store(done * 100 / total)
	}
}

func (r *rack) person(p *piState) Person {
	who := Person{Hostname: string(p.Name)}
	if s, ok := r.servers[p.Server]; ok {
		who = Person{Hostname: s.Name, Keys: s.Keys, Address: s.Address, Gateway: s.Gateway}
	}
	return who
}

func (r *rack) discarded(p *piState) []string {
	var names []string
	for _, v := range r.volumes {
		if v.Pi == p.Name && v.State == VolumeDiscarded {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return names
}

// endStep stores how a step ended, with what it changed.
func (r *rack) endStep(j *jobState, m stepMessage) error {
	if m.err != nil && r.runners.ctx.Err() != nil {
		return errStopping // left as running: the next process runs it again
	}
	step, p := &j.Steps[m.step], j.at(m.step)
	if silent := m.work.silent; silent != nil && m.err == nil {
		step.State, step.Detail, step.Ended = StepFailed, printable(silent.Error()), time.Now()
		if r.bootAgain(j, m.step) {
			return errAgain
		}
	}
	if apply := stepDefs[step.Name].apply; apply != nil && !p.gone {
		apply(r, p, m.work, m.err)
	}
	step.Ended = time.Now()
	j.watch = nil
	if m.err != nil {
		step.State = StepFailed
		step.Detail = printable(m.err.Error())
		if r.bootAgain(j, m.step) || r.tryAgain(j, m.step) {
			return errAgain
		}
		if j.stop != "" {
			r.endJob(j, JobCancelled, j.stop)
		} else {
			r.endJob(j, JobFailed, fmt.Sprintf("%s: %v", step.Name, m.err))
		}
		return nil
	}
	step.State = StepDone
	j.Step = m.step + 1
	if j.Step == len(j.Steps) {
		r.endJob(j, JobDone, "")
		return r.flush(context.Background())
	}
	r.saveJob(j)
	r.bump(p)
	if err := r.flush(context.Background()); err != nil {
		r.endJob(j, JobFailed, fmt.Sprintf("after %s: %v", step.Name, err))
		return err
	}
	r.publishBootTable()
	return nil
}

var errAgain = errors.New("it is started once more")

// bootAgain powers a Pi once more whose boot failed while nobody answered it: a
// Pi 3 gives up for good, and others hang in the middle of a file. The job goes
// on with further steps, and only once.
func (r *rack) bootAgain(j *jobState, failed int) bool {
	p := j.at(failed)
	watching := j.Steps[failed].Name
	if !j.resumed || j.stop != "" || watching != stepBoot && watching != stepReport ||
		p.stage != StageStalled && (p.stage != StageOff || !p.portSeen) {
		return false
	}
	j.resumed = false
	j.goOn(failed, []string{stepPowerOff, stepHold, stepPowerOn, stepBoot})
	r.saveJob(j)
	r.logf(j.Actor, j.Pi, j.ID, "%s: the boot was interrupted by a restart of the service; once more", j.Verb)
	return true
}

// stageReached lets the boot step of the Pi's job end, and frees its slot once
// the kernel is there: what follows loads neither DHCP nor TFTP.
func (r *rack) stageReached(p *piState) {
	j := p.job
	if j == nil || j.here() != p {
		return
	}
	watching := j.Steps[min(j.Step, len(j.Steps)-1)].Name
	if j.watch != nil && watching == stepReport && p.facts.report != nil {
		j.watch <- nil
		j.watch = nil
	}
	if j.watch != nil {
		switch p.stage {
		case StageUp:
			j.watch <- nil
			j.watch = nil
		case StageStalled:
			j.watch <- fmt.Errorf("it stalled at %s: %s", p.diag.At, p.diag.Cause)
			j.watch = nil
		case StageOff:
			if !p.portSeen {
				return // after a restart: the switch has not told yet
			}
			j.watch <- errors.New("its power went off")
			j.watch = nil
		}
	}
	if p.stage >= StageKernel && (watching == stepBoot || watching == stepReport) {
		r.freeSlot(j)
	}
}

// keptEnded is how many ended jobs a snapshot shows.
const keptEnded = 50

// endJob closes a job, its audit row, and what it left behind.
func (r *rack) endJob(j *jobState, s JobState, why string) {
	j.State, j.Error, j.Ended = s, printable(why), time.Now()
	r.freeSlot(j)
	delete(r.jobs, j.ID)
	for _, p := range []*piState{j.pi, r.pis[j.Pi], j.to, r.pis[j.To]} { // not the same when it was put back
		if p == nil || p.job != j {
			continue
		}
		p.job = nil
		r.bump(p)
		if p != j.pi && p != j.to && p.portSeen {
			r.wantPower(p) // its first reading came while it had to wait
		}
	}
	if s != JobDone {
		r.abandon(j)
	}
	r.saveJob(j)
	for _, p := range []*piState{j.pi, j.to} {
		if p != nil && p.gone {
			r.withdraw(p)
		}
	}
	r.ended = append([]JobView{*r.viewJob(j)}, r.ended[:min(len(r.ended), keptEnded-1)]...)
	took := j.Ended.Sub(j.Created).Round(100 * time.Millisecond)
	result := fmt.Sprintf("ok in %s", took)
	result += j.verdict()
	if s != JobDone {
		result = fmt.Sprintf("%s: %s", s, j.Error)
	}
	r.closeAudit(j.Audit, result)
	r.logf(j.Actor, j.Pi, j.ID, "%s %s", j.Verb, result)
	r.batchEnded(j)
	r.goBack(j)
	r.examEnded(j)
	for _, p := range []*piState{j.pi, j.to} {
		if p != nil && p.unpowered && p.portSeen && !p.gone {
			r.wantPower(p)
		}
	}
	if (s == JobDone && j.Verb == string(VerbReady) || r.handedOver(j)) && !j.pi.gone {
		r.deployIfBare(j.pi, verbDeploy)
	}
	r.serverJobEnded(j)
	r.showServer(j.Server) // who sees that the task is over sees what it did
	for _, p := range []*piState{j.pi, j.to} {
		if p != nil {
			r.showServer(p.Server)
		}
	}
	r.showTask(j)
	r.unswept = true
}

// abandon discards a volume that the job made and that never became a root.
func (r *rack) abandon(j *jobState) {
	if v, ok := r.volumes[j.Volume]; ok && v.State == VolumeMaking {
		r.markVolume(v.Name, VolumeDiscarded)
	}
}

// batchEnded stops the rest of a batch that fails too often.
func (r *rack) batchEnded(j *jobState) {
	b := r.batches[j.Batch]
	if b == nil {
		return
	}
	b.left--
	if j.State == JobFailed {
		b.failed++
	}
	if b.left <= 0 {
		delete(r.batches, j.Batch)
		return
	}
	if b.failed < r.e.cfg.Failures || j.Actor == SystemActor().Name {
		return
	}
	for _, other := range r.jobs {
		if other.Batch == j.Batch && other.State == JobQueued {
			r.cancelJob(other, fmt.Sprintf("not started: %d jobs of this command failed", b.failed))
		}
	}
}

// cancelJob ends a waiting job at once, and a running one at the next step.
func (r *rack) cancelJob(j *jobState, why string) {
	if !j.running {
		r.endJob(j, JobCancelled, why)
		return
	}
	j.stop = cmp.Or(j.stop, fmt.Sprintf("%s; stopped at %s", why, j.Steps[min(j.Step, len(j.Steps)-1)].Name))
	j.Error = printable(j.stop) // stored: the next process must not go on with it
	r.saveJob(j)
	if j.cancel != nil && stepDefs[j.Steps[min(j.Step, len(j.Steps)-1)].Name].waits {
		j.cancel(errCancelled)
	}
}
