package engine

import (
	"cmp"
	"fmt"
	"slices"
)

// moveTo finds the Pi that a server can move to: the one that was named, or
// the best spare.
func (r *rack) moveTo(from *piState, name PiName) (*piState, error) {
	if name == "" {
		return r.spare(from)
	}
	to, ok := r.pis[name]
	if !ok {
		return nil, fmt.Errorf("%w: there is no Pi %s to move to", ErrNotNow, name)
	}
	if to == from {
		return nil, fmt.Errorf("%w: its server is here already", ErrNotNow)
	}
	view := r.viewPi(to)
	if why := refuseTarget(&view); why != "" {
		return nil, fmt.Errorf("%w: not to %s: %s", ErrNotNow, name, why)
	}
	return to, nil
}

// refuseTarget says why no server can move to a Pi; refuseSpare also why the
// engine does not pick it by itself.
var (
	refuseTarget = all(refuseRented, refuseBroken, refuseNotReady, refuseNoBoard, refuseBusy, refuseSilentSwitch)
	refuseSpare  = all(refuseTarget, refuseStalled)
)

// spare picks the Pi to move to: of the same model, since the root has booted
// on one, then one that is up, then by name.
func (r *rack) spare(from *piState) (*piState, error) {
	var list []*piState
	for _, p := range r.order {
		view := r.viewPi(p)
		if p != from && refuseSpare(&view) == "" {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: there is no spare to move to: a ready Pi with a known board, that nobody has and that has no job", ErrNotNow)
	}
	return slices.MinFunc(list, func(a, b *piState) int {
		return cmp.Or(
			first(a.Model == from.Model, b.Model == from.Model),
			first(a.stage == StageUp, b.stage == StageUp),
			cmp.Compare(a.Name, b.Name),
		)
	}), nil
}

// first puts what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// at is the Pi that one of the job's steps works on: a move's are those of the
// Pi that gives the server away up to the hand-over, then of the other.
func (j *jobState) at(step int) *piState {
	if j.to != nil && step > j.last(stepHandOver) {
		return j.to
	}
	return j.pi
}

// last is where the job has its last step of that name, -1 = nowhere.
func (j *jobState) last(name string) int {
	for i := len(j.Steps) - 1; i >= 0; i-- {
		if j.Steps[i].Name == name {
			return i
		}
	}
	return -1
}

// here is the Pi that the present step works on.
func (j *jobState) here() *piState { return j.at(min(j.Step, len(j.Steps)-1)) }

// handedOver tells whether a move's server is on its new Pi.
func (r *rack) handedOver(j *jobState) bool {
	return j.Verb == string(VerbMove) && r.volumes[j.Volume].Pi == j.To
}

// leaving tells whether a move has begun to take the Pi's root away: from then
// on nothing may export it, a restart of the service least of all.
func (p *piState) leaving() bool {
	j := p.job
	if j == nil || j.pi != p || j.Verb != string(VerbMove) {
		return false
	}
	return j.begun(stepWithdraw)
}

// begun tells whether a step of that name was begun.
func (j *jobState) begun(name string) bool {
	i := slices.IndexFunc(j.Steps, func(s Step) bool { return s.Name == name })
	return i >= 0 && j.Steps[i].State != StepWaiting
}

// applyHandOver puts the server on its new Pi, in one transaction. A cancel
// that was asked for meanwhile leaves it where it is.
func applyHandOver(r *rack, p *piState, w *work, err error) {
	j, to := r.jobs[w.job.ID], r.pis[w.job.To]
	switch {
	case err != nil || j == nil || j.stop != "" || r.handedOver(j):
	case to == nil:
		j.halt("the place it goes to was taken out of the configuration")
	case to.Rented():
		j.halt(fmt.Sprintf("%s has a server by now, %s", to.Name, to.Server))
	default:
		r.handOver(p, to)
		r.logf(j.Actor, to.Name, j.ID, "%s is on %s now", to.Server, to.Name)
		if VerbName(j.Verb) == verbProvision {
			r.settleIn(j, p, to)
		}
		r.serverMoved(to, j.ID)
	}
}

// settleIn lets a provisioning go on at the Pi that its server was handed to, as
// if it had begun there.
func (r *rack) settleIn(j *jobState, from, to *piState) {
	if v := r.volumes[j.Volume]; v.Pi != to.Name {
		v.Pi = to.Name
		r.saveVolume(v)
	}
	to.Life = LifeDeploying
	j.pi, j.Pi, j.to, j.To, from.job = to, to.Name, nil, "", nil
	r.bump(from)
	r.deployIfBare(from, verbDeploy)
}

// halt ends the job before its next step, as the store knows with this one.
func (j *jobState) halt(why string) { j.stop, j.Error = why, printable(why) }

// handOver gives all that makes up a server to another Pi: its root, its former
// root and its name. The other's own roots are given up; the Pi that it leaves
// is free again, or stays broken.
func (r *rack) handOver(from, to *piState) {
	r.discardRoots(to)
	for _, name := range []string{from.Volume, from.Former} {
		if v, ok := r.volumes[name]; ok {
			v.Pi = to.Name
			r.saveVolume(v)
		}
	}
	free := cmp.Or(from.free, to.Image)
	to.Server, to.Life, to.Note, to.Power, to.Rescue = from.Server, LifeLive, "", true, false
	to.Volume, to.Image, to.Former, to.FormerImage = from.Volume, from.Image, from.Former, from.FormerImage
	from.Server, from.Power, from.Rescue = "", false, false
	from.Volume, from.Image, from.Former, from.FormerImage = "", free, "", ""
	if from.Life != LifeBroken {
		from.Life = lives[VerbReady](&from.Pi)
	}
	r.savePi(from)
	r.savePi(to)
}

// discardRoots gives up what a Pi has had while it was nobody's.
func (r *rack) discardRoots(p *piState) {
	for _, name := range []string{p.Volume, p.Former} {
		r.markVolume(name, VolumeDiscarded)
	}
}

// goBack powers a server on again whose move ended before the hand-over. Its
// root is exported again because nothing takes it away any more; here that is
// a step, so that it comes before the power.
func (r *rack) goBack(j *jobState) {
	p := j.pi
	if j.Verb != string(VerbMove) || !j.begun(stepPowerOff) || p.gone || r.handedOver(j) ||
		p.job != nil || !p.Power || !p.mayBoot() {
		return
	}
	audit := r.openAudit(verbReturn, systemCommand("its move ended early"), p, r.ids.Job+1)
	r.newJob(verbReturn, p, SystemActor().Name, 0, audit)
}
