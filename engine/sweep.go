package engine

import (
	"context"
	"slices"
)

// sweep removes the volumes that nothing uses any more, one after the other:
// roots that were never finished, and those whose last step a crash took away.
// A Pi with a job is left to that job's own steps, and what is still exported
// to it stays until it is not. What cannot be removed is tried again when the
// next job ends.
func (r *rack) sweep() {
	if r.runners.ctx == nil || r.sweeping {
		return
	}
	var names []string
	for _, v := range r.volumes {
		if v.State == VolumeDiscarded && !r.held(&v) {
			names = append(names, v.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	r.sweeping = true
	r.runners.spawn(func(ctx context.Context) {
		var swept []string
		for _, name := range names {
			err := r.e.cfg.Roots.Remove(ctx, name)
			if err == nil {
				swept = append(swept, name)
			} else if ctx.Err() == nil {
				r.e.cfg.Log.Warn("remove a root that nothing uses", "volume", name, "err", err)
			}
		}
		_ = r.e.tellLoop(ctx, stepMessage{kind: stepSwept, swept: swept, all: len(swept) == len(names)})
	})
}

// held tells whether a job of the volume's Pi may work on it, or whether it may
// still be exported. A Pi that was taken out may have a job to its end.
func (r *rack) held(v *Volume) bool {
	p := r.pis[v.Pi]
	if p == nil {
		return r.jobOf(v.Pi) != nil || r.exporting > 0
	}
	return p.job != nil || p.export.maybe(v.Name)
}

func (r *rack) swept(m stepMessage) {
	r.sweeping = false
	for _, name := range m.swept {
		r.markVolume(name, VolumeRemoved)
	}
	r.unswept = r.unswept || m.all // for what came to it meanwhile
}
