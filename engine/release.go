package engine

import (
	"fmt"
	"time"
)

// release takes a server back: from now on it is nobody's and costs nothing. Its
// Pi goes through a job before another gets it, and its root is kept for a while.
func (r *rack) release(cmd *ServerCommand) (ServerResult, error) {
	s, p, err := r.own(cmd)
	if err != nil {
		return ServerResult{}, err
	}
	if s.Account == "" {
		return ServerResult{}, fmt.Errorf("%w: it is of the configuration, and goes with its [[server]]", ErrNotNow)
	}
	if err := p.idle(); err != nil {
		return ServerResult{}, err
	}
	undo := r.takeBack(p, s.Name)
	s.State, s.Ended = ServerReleasing, time.Now()
	r.saveServer(s)
	r.giveBack(p)
	r.charge(LedgerStop, s, p.Spec(), "released")
	job := r.startRelease(p, r.serverAct(cmd, "server "+s.Name+" of "+s.Account))
	r.notify(s, NoticeReleasing, job.ID, "it is given back")
	return r.written(cmd, ServerResult{Server: s.Name, Job: job.ID}, undo)
}

// giveBack takes a Pi out of use until its release is over; a broken one stays so.
func (r *rack) giveBack(p *piState) {
	p.Power = false
	if p.Life != LifeBroken {
		p.Life = LifeReleasing
	}
	r.savePi(p)
}

// startRelease begins the job that takes off a Pi what it has of a server.
func (r *rack) startRelease(p *piState, act Command) *jobState {
	return r.newJob(verbRelease, p, act.Actor.Name, 0, r.openAudit(verbRelease, act, p, r.ids.Job+1))
}

// applyDetach takes the server off its Pi. The root is kept for the customer, if
// it was ever theirs; nothing exports it any more.
func applyDetach(r *rack, p *piState, w *work, err error) {
	if err != nil || p.Life != LifeReleasing && p.Life != LifeBroken {
		return
	}
	s, ended := r.servers[w.job.Server], time.Now()
	for _, name := range []string{p.Volume, p.Former} {
		v, ok := r.volumes[name]
		switch {
		case !ok:
		case name == p.Volume && s.State == ServerReleasing && r.rules.Keep > 0:
			v.State, v.Changed, v.Server = VolumeFormer, ended, s.Name
			r.saveVolume(v)
		default:
			r.markVolume(name, VolumeDiscarded)
		}
	}
	p.Server, p.Volume, p.Image, p.Former, p.FormerImage, p.Rescue = "", "", p.free, "", "", false
	r.savePi(p)
	if s.State == ServerReleasing {
		s.State = ServerReleased
		r.saveServer(s)
		r.notify(s, NoticeReleased, w.job.ID, "its Pi is given back")
	}
}

// releaseEnded lets a Pi be used again whose release is over.
func (r *rack) releaseEnded(p *piState) {
	if p.gone || p.Life != LifeReleasing || p.Server != "" || p.job != nil {
		return
	}
	r.examineOrReady(p)
	r.deployIfBare(p, verbDeploy)
}

// How often what orders leave behind is looked at, and how soon a release that
// failed is tried again.
const (
	ordersEvery  = 10 * time.Second
	releaseAgain = 30 * time.Second
	forgetEvery  = time.Hour
	// onceFor is how long a command that is sent again is known.
	onceFor = 72 * time.Hour
)

// tidyOrders brings to an end what no job does any more: a release whose switch
// did not answer, an order whose job is gone, numbers and roots that were kept.
func (r *rack) tidyOrders(now time.Time) {
	if now.Before(r.ordersNext) || r.storeErr != nil {
		return
	}
	r.ordersNext = now.Add(ordersEvery)
	for _, p := range r.order {
		switch {
		case p.Life != LifeReleasing || p.job != nil || p.sw.silent() || now.Sub(p.releaseTried) < releaseAgain:
		case p.Server != "" || p.Volume != "":
			p.releaseTried = now
			r.startRelease(p, systemCommand("its release had not come to its end"))
		case !r.rules.Examine:
			r.releaseEnded(p)
		}
	}
	for _, s := range r.servers {
		r.tidyServer(s, now)
	}
	r.tidyRoots(now)
	r.forgetOnces(now)
}

func (r *rack) tidyServer(s Server, now time.Time) {
	switch {
	case s.State == ServerProvisioning || s.State == ServerInitialising:
		if r.jobs[s.Task] == nil {
			r.notProvisioned(&jobState{Job: Job{ID: s.Task, Server: s.Name, Error: "its job is gone"}})
		}
	case s.State.Ended() && s.Number != 0 && now.Sub(s.Ended) >= r.rules.Quarantine:
		s.Number, s.SSHPort = 0, 0
		r.saveServer(s)
		delete(r.servers, s.Name) // the store keeps it as history
	}
}

// tidyRoots gives the roots of released servers up that were kept for long
// enough. It is an act, and written down as one.
func (r *rack) tidyRoots(now time.Time) {
	for _, v := range r.volumes {
		if v.State != VolumeFormer || v.Server == "" || now.Sub(v.Changed) < r.rules.Keep {
			continue
		}
		why := systemCommand(fmt.Sprintf("server %s: the root of a released server is kept for %s", v.Server, days(r.rules.Keep)))
		r.giveUp(v.Name, v.Pi, why, fmt.Sprintf("the root %s of the released server %s is given up", v.Name, v.Server))
	}
}

func (r *rack) forgetOnces(now time.Time) {
	if now.Before(r.forgetNext) {
		return
	}
	r.forgetNext = now.Add(forgetEvery)
	old := now.Add(-onceFor)
	for key, row := range r.onces {
		if row.Time.Before(old) {
			delete(r.onces, key)
			r.changes.ForgetOnces = old
		}
	}
}
