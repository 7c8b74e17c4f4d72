package engine

import (
	"context"
	"fmt"
	"time"
)

// expireEvery is how often former roots are looked at: they are kept for days.
const expireEvery = time.Minute

// expire gives up the former roots that were kept for long enough, so that the
// disk does not fill with roots that nobody will bring back. Each is an act, and
// is written down as one before anything is removed.
func (r *rack) expire(now time.Time) {
	if now.Before(r.expireNext) {
		return
	}
	r.expireNext = now.Add(expireEvery)
	for _, p := range r.order {
		if until := r.formerUntil(p); p.job == nil && !until.IsZero() && !now.Before(until) {
			r.expireFormer(p)
		}
	}
}

// formerUntil is when the Pi's former root is given up, zero = never.
func (r *rack) formerUntil(p *piState) time.Time {
	v, ok := r.volumes[p.Former]
	if keep := r.e.cfg.Keep; ok && keep > 0 {
		return v.Changed.Add(keep)
	}
	return time.Time{}
}

func (r *rack) expireFormer(p *piState) {
	name := p.Former
	p.Former, p.FormerImage = "", ""
	r.savePi(p)
	kept := days(r.e.cfg.Keep)
	r.giveUp(name, p.Name, systemCommand("former roots are kept for "+kept), fmt.Sprintf("its former root %s was kept for %s and is given up", name, kept))
}

// giveUp discards a root that was kept for long enough.
func (r *rack) giveUp(name string, pi PiName, why Command, said string) {
	audit := r.openAuditOf(verbExpire, why, string(pi), 0)
	r.markVolume(name, VolumeDiscarded)
	r.closeAudit(audit, "ok: "+name)
	r.logf(why.Actor.Name, pi, 0, "%s", said)
	r.unswept = true
}

func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// save makes the changes lasting, and only then removes the roots that they
// gave up. What could not be stored is kept and shown as a warning.
func (r *rack) save(ctx context.Context) {
	if r.flush(ctx) == nil && r.unswept {
		r.unswept = false
		r.sweep()
	}
}
