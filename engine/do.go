package engine

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// do checks a command against the rack as it is now, target by target, stores
// the audit rows and jobs of those it accepts, and only then lets them act.
func (r *rack) do(cmd Command) (Result, error) {
	if cmd.Actor.Account != "" {
		return Result{}, fmt.Errorf("customers %w %s: they act on their servers", ErrNotAllowed, cmd.Verb)
	}
	return r.carryOut(cmd, func(Result) {})
}

// carryOut does what do does; alongside is called before all is stored, to have
// more stored with it.
func (r *rack) carryOut(cmd Command, alongside func(Result)) (Result, error) {
	verb, ok := FindVerb(cmd.Verb)
	if !ok {
		return Result{}, fmt.Errorf("%w: %q", ErrNoSuchVerb, cmd.Verb)
	}
	if cmd.Actor.Role < verb.Role {
		return Result{}, fmt.Errorf("%w %s: you are %s, and it needs %s", ErrNotAllowed, verb.Name, cmd.Actor.Role, verb.Role)
	}
	if cmd.Image != "" {
		if !r.hasImage(cmd.Image) {
			return Result{}, fmt.Errorf("%s: no image %q", verb.Name, cmd.Image)
		}
	}
	if err := r.flush(context.Background()); err != nil {
		return Result{}, fmt.Errorf("%s: %w: nothing is done that could not be written down", verb.Name, err)
	}
	var res Result
	var batchID int64
	var undo []func()
	for _, t := range cmd.Targets {
		p, to, err := r.check(verb, cmd, t)
		if err != nil {
			res.Refused = append(res.Refused, Refused{t.Pi, err})
			continue
		}
		undo = append(undo, r.undoer(verb, p))
		job := r.act(verb, cmd, p, to, batchID)
		if job != 0 && batchID == 0 {
			batchID = job
		}
		res.Accepted = append(res.Accepted, Accepted{t.Pi, job})
	}
	alongside(res)
	if err := r.flush(context.Background()); err != nil {
		for _, f := range undo {
			f()
		}
		return Result{}, fmt.Errorf("%s: %w: nothing is done that could not be written down", verb.Name, err)
	}
	return res, nil
}

// undoer takes an act back that could not be stored. No step of its job has
// begun, since jobs start after the flush; whoever asked was told that nothing
// is done, so nothing may be done when the store recovers.
func (r *rack) undoer(verb Verb, p *piState) func() {
	before, other, had := p.Pi, p.other, p.job
	giveBack := r.undoMove(p)
	return func() {
		giveBack()
		if j := p.job; j != nil && j != had {
			r.cancelJob(j, "it could not be written down")
		}
		if p.Pi != before {
			p.Pi, p.other = before, other
			r.savePi(p)
		}
	}
}

// check says why a target may not be acted on, or returns it, and for a move
// the Pi that its server goes to.
func (r *rack) check(verb Verb, cmd Command, t Target) (p, to *piState, err error) {
	p, ok := r.pis[t.Pi]
	if !ok {
		return nil, nil, ErrNoSuchPi
	}
	if p.gen != t.Gen {
		return nil, nil, fmt.Errorf("%w (now %s)", ErrStale, p.view())
	}
	view := r.viewPi(p)
	if why := verb.Refuse(&view); why != "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotNow, why)
	}
	switch verb.Name {
	case VerbReimage:
		err = r.checkImage(cmp.Or(cmd.Image, p.Image))
	case VerbResize:
		err = r.checkSize(p, cmd.Size)
	case VerbMove:
		to, err = r.moveTo(p, cmd.To)
	case VerbAdopt:
		err = r.checkAdopt(p)
	case VerbExamine:
		err = r.checkExam()
	}
	if err != nil {
		return nil, nil, err
	}
	guard := r.e.Guards(verb.Name).For(&view)
	if cmd.Passed < guard.Kind {
		return nil, nil, fmt.Errorf("%w (%s)", ErrGuard, guard.Kind)
	}
	if guard.Kind == GuardName && cmd.Typed != guardText(verb.Name, cmd.Targets) {
		return nil, nil, fmt.Errorf("%w: type %q", ErrGuard, guardText(verb.Name, cmd.Targets))
	}
	return p, to, nil
}

// checkImage says why no new root can be made from an image.
func (r *rack) checkImage(image string) error {
	if !r.hasImage(image) {
		return fmt.Errorf("%w: the configuration has no image %q", ErrNotNow, image)
	}
	if why := r.noRoom(); why != "" {
		return fmt.Errorf("%w: %s", ErrNotNow, why)
	}
	return nil
}

func (r *rack) hasImage(name string) bool {
	_, ok := r.images[name]
	return ok
}

// guardText is what GuardName wants typed: the one Pi's name, or for many the
// verb with their number.
func guardText(verb VerbName, targets []Target) string {
	if len(targets) == 1 {
		return string(targets[0].Pi)
	}
	return fmt.Sprintf("%s %d", verb, len(targets))
}

// GuardText is what an actor has to type to pass GuardName.
func GuardText(verb VerbName, targets []Target) string { return guardText(verb, targets) }

// wanted is what each verb says the port should be from now on.
var wanted = map[VerbName]bool{
	VerbOn: true, VerbCycle: true, VerbReimage: true, VerbUndo: true, VerbRescue: true, VerbUnrescue: true,
	VerbOff: false, VerbBroken: false,
}

// lives is the life-cycle state that a verb sets.
var lives = map[VerbName]func(*Pi) Life{
	VerbBroken: func(*Pi) Life { return LifeBroken },
	VerbReady: func(p *Pi) Life {
		switch {
		case p.Rented():
			return LifeLive
		case p.MAC == MAC{}:
			return LifeNew
		}
		return LifeReady
	},
}

// act writes the act down and starts it. It returns the job's number, 0 when
// the act is over at once.
func (r *rack) act(verb Verb, cmd Command, p, to *piState, batchID int64) int64 {
	if verb.Name == VerbCancel {
		audit := r.openAudit(verb.Name, cmd, p, p.job.ID)
		p.exam.stopped = p.job.Verb == string(VerbExamine)
		r.cancelJob(p.job, "cancelled by "+cmd.Actor.Name)
		r.closeAudit(audit, "ok")
		return 0
	}
	if verb.Name == VerbAdopt {
		r.adopt(cmd, p)
		return 0
	}
	said := cmd.says(to)
	cmd.Reason = strings.TrimSpace(said + " " + cmd.Reason)
	audit := r.openAudit(verb.Name, cmd, p, r.ids.Job+1)
	if on, ok := wanted[verb.Name]; ok {
		p.Power = on
	}
	if life := lives[verb.Name]; life != nil {
		p.Life, p.Note = life(&p.Pi), printable(cmd.Reason)
	}
	job := r.newJob(verb.Name, p, cmd.Actor.Name, batchID, audit)
	r.prepareRoot(job, cmd.Image)
	job.Size = cmd.Size
	if to != nil {
		job.to, job.To, to.job = to, to.Name, job
		r.bump(to)
	}
	r.savePi(p)
	r.saveJob(job)
	r.logf(cmd.Actor.Name, p.Name, job.ID, "%s", strings.TrimSpace(string(verb.Name)+" "+said))
	return job.ID
}

// says is what the audit has to know of a command beside its verb and target.
func (c *Command) says(to *piState) string {
	switch {
	case to != nil:
		return fmt.Sprintf("to %s", to.Name)
	case c.Verb == VerbResize:
		return fmt.Sprintf("to %d bytes", c.Size)
	}
	return ""
}

// prepareRoot names the volume that the job brings to the Pi or works on.
func (r *rack) prepareRoot(j *jobState, image string) {
	switch VerbName(j.Verb) {
	case VerbMove, VerbResize, VerbRescue:
		j.Volume, j.Image = j.pi.Volume, j.pi.Image
	case VerbUndo:
		j.Volume, j.Image = j.pi.Former, j.pi.FormerImage
	case VerbExamine:
		j.Image = r.examImage()
	case VerbReimage, verbDeploy, verbCommission:
		r.newRoot(j, cmp.Or(image, j.pi.Image), r.rootSize(j.pi))
	}
}

// newRoot names the volume that a job is to make from an image.
func (r *rack) newRoot(j *jobState, image string, size int64) {
	j.Image, j.Volume = image, fmt.Sprintf("%s-%d", j.pi.Name, j.ID)
	now := time.Now()
	r.saveVolume(Volume{
		Name: j.Volume, Pi: j.Pi, Image: image, State: VolumeMaking, Created: now, Changed: now, Size: size,
	})
}

// rootSize is the room of a new root: never less than the present one was given
// or grew to.
func (r *rack) rootSize(p *piState) int64 {
	return max(r.volumes[p.Volume].Size, r.servers[p.Server].Disk)
}

// take makes the board that was heard at a place its own.
func (r *rack) take(cmd Command, p *piState) {
	audit := r.openAudit(VerbAdopt, cmd, p, 0)
	d := p.other
	if home := r.homeOf(d.MAC, p); home != nil {
		r.takeBoard(home, p.Name, cmd.Actor.Name)
	}
	p.MAC, p.Serial, p.Memory = d.MAC, d.Serial, 0
	if d.Model != "" {
		p.Model = d.Model
	}
	p.other = nil
	r.savePi(p)
	r.closeAudit(audit, "ok: "+describeBoard(d))
	r.logf(cmd.Actor.Name, p.Name, 0, "adopt %s", describeBoard(d))
}

func (r *rack) adopt(cmd Command, p *piState) {
	r.take(cmd, p)
	if r.examineAdopted(p, cmd) {
		return
	}
	if p.Life == LifeNew {
		p.Life = LifeReady
		r.savePi(p)
	}
	if r.deployIfBare(p, verbCommission) || p.job != nil {
		return
	}
	// A Pi 3 has given up asking by now, and others asked for another's root.
	p.Power = true
	r.savePi(p)
	r.newJob(VerbCycle, p, cmd.Actor.Name, 0, r.openAudit(VerbCycle, cmd, p, r.ids.Job+1))
}

// wantPower follows, once per start of the service, the rule that is written
// down for the port: a Pi that should be on is powered, and one without a root
// gets its first.
func (r *rack) wantPower(p *piState) {
	// A job has the port for now, and may end without having powered it.
	if p.unpowered = p.job != nil; p.unpowered {
		return
	}
	if p.Life == LifeBroken || p.Life == LifeNew {
		return
	}
	if r.deployIfBare(p, verbDeploy) || !p.Power || p.port.Enabled && p.port.Delivering {
		return
	}
	r.newJob(VerbOn, p, SystemActor().Name, 0, r.openAudit(VerbOn, systemCommand("its port should be on"), p, r.ids.Job+1))
}

// notForRoots are the lives in which a Pi gets no root by itself.
var notForRoots = map[Life]bool{LifeBroken: true, LifeNew: true, LifeAllocated: true, LifeReleasing: true}

// deployIfBare gives a Pi that has an image and no root its first root, by one
// of the engine's own verbs.
func (r *rack) deployIfBare(p *piState, verb VerbName) bool {
	if p.Volume != "" || p.Image == "" || !p.portSeen || p.job != nil || notForRoots[p.Life] || r.noRoom() != "" {
		return false
	}
	p.Power = true
	j := r.newJob(verb, p, SystemActor().Name, 0, r.openAudit(verb, systemCommand("it has no root yet"), p, r.ids.Job+1))
	r.prepareRoot(j, p.Image)
	r.savePi(p)
	r.saveJob(j)
	return true
}

func systemCommand(why string) Command { return Command{Actor: SystemActor(), Reason: why} }

// openAudit writes an act down with the number of its job, 0 if it has none.
func (r *rack) openAudit(verb VerbName, cmd Command, p *piState, job int64) int64 {
	return r.openAuditOf(verb, cmd, string(p.Name), job)
}

func (r *rack) openAuditOf(verb VerbName, cmd Command, target string, job int64) int64 {
	r.ids.Audit++
	source := cmd.Actor.Source
	if cmd.Actor.From.IsValid() {
		source += " " + cmd.Actor.From.String()
	}
	row := AuditRow{
		ID: r.ids.Audit, Time: time.Now(), Actor: cmd.Actor.Name, Source: source, Key: cmd.Actor.Key,
		Verb: string(verb), Target: printable(target), Reason: printable(cmd.Reason), Job: job,
	}
	r.open[row.ID] = row
	r.changes.Audit = append(r.changes.Audit, row)
	return row.ID
}

func (r *rack) closeAudit(id int64, result string) {
	row, ok := r.open[id]
	if !ok {
		return
	}
	delete(r.open, id)
	row.Result, row.Ended = printable(result), time.Now()
	r.changes.Audit = append(r.changes.Audit, row)
}
