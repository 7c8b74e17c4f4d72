package engine

import (
	"context"
	"sync"
	"time"
)

// exportKey is what an export was made for; the zero value is none.
type exportKey struct {
	volume  string
	rescue  bool
	segment Segment
}

// unknownExport is none that is ever wanted: what is there has to be mended.
var unknownExport = exportKey{volume: "?"}

// export is what is exported to a Pi, as far as the engine knows.
type export struct {
	key  exportKey
	text string // as people know it
	err  string // why what it should have could not be exported
	busy bool   // a runner is changing it, beside every job
	next time.Time
	wait time.Duration
}

// maybe tells whether a volume may be what is exported.
func (x *export) maybe(volume string) bool { return x.key.volume == volume || x.key == unknownExport }

// An export that could not be changed is tried again after a time that doubles.
const (
	exportRetry    = time.Second
	exportLongest  = time.Minute
	exportsAtOnce  = 8
	exportDeadline = 30 * time.Second
	// withdrawDeadline is shorter: the loop stands still.
	withdrawDeadline = 5 * time.Second
)

// exportOf is what is exported to a Pi that may boot.
func exportOf(p *Pi) exportKey {
	return exportKey{volume: p.Volume, rescue: p.Rescue, segment: p.Segment}
}

// wanted is what should be exported to the Pi.
func (p *piState) wanted() exportKey {
	if p.Exam || !p.mayBoot() {
		return exportKey{}
	}
	return exportOf(&p.Pi)
}

// mayBoot is the one gate of boot files and export alike. DHCP answers without
// it: the refused boot file then says why, where silence would not.
func (p *piState) mayBoot() bool { return p.Life != LifeBroken && p.Volume != "" && !p.leaving() }

// publishRoots exports the roots of those Pis that may boot, at the start and
// before anything else: running Pis wait for it after a restart of the server.
// It is the loop's own work, so that no job can export another root of the same
// Pi meanwhile.
func (r *rack) publishRoots(ctx context.Context) {
	slots := make(chan struct{}, exportsAtOnce)
	var wg sync.WaitGroup
	results := make([]func(), len(r.order))
	for i, p := range r.order {
		key := p.wanted()
		if key == (exportKey{}) {
			if p.Volume != "" { // the last process may have left it exported
				p.export.key = unknownExport
			}
			continue
		}
		slots <- struct{}{}
		pi := p.Pi
		wg.Go(func() {
			defer func() { <-slots }()
			text, err := r.e.cfg.Roots.Publish(ctx, pi, pi.Volume)
			results[i] = func() { r.exported(p, key, text, err) }
		})
	}
	wg.Wait()
	for _, told := range results {
		if told != nil && ctx.Err() == nil {
			told()
		}
	}
}

// exported takes note of how a change of the Pi's export went.
func (r *rack) exported(p *piState, key exportKey, text string, err error) {
	x := &p.export
	r.dirty = true
	r.unswept = true // what was exported may be a root to remove
	if err == nil {
		*x = export{key: key, text: printable(text), busy: x.busy}
		return
	}
	if why := printable(err.Error()); why != x.err {
		r.logf(SystemActor().Name, p.Name, p.jobID(), "its root is not exported as it should be: %s", why)
		x.err = why
	}
	if key != (exportKey{}) {
		x.key, x.text = unknownExport, ""
	}
	x.wait = min(max(2*x.wait, exportRetry), exportLongest)
	x.next = time.Now().Add(x.wait)
}

// mendExports brings every export to what it should be, where no job does: one
// that failed, one that a job left when it ended early, and those of Pis whose
// place or life changed. A runner does each, so that a slow exporter stops
// nobody; no job of that Pi starts meanwhile. While the store fails nothing is
// mended: what it has last may be a job that takes the root elsewhere.
func (r *rack) mendExports(now time.Time) {
	if r.runners.ctx == nil || r.storeErr != nil { // Run exports them all first
		return
	}
	for _, p := range r.order {
		if r.exporting >= exportsAtOnce {
			return
		}
		want := p.wanted()
		if p.job != nil && p.job.running || p.export.busy || want == p.export.key || now.Before(p.export.next) {
			continue
		}
		r.mendExport(p, want)
	}
}

func (r *rack) mendExport(p *piState, want exportKey) {
	p.export.busy = true
	r.exporting++
	pi, roots := p.Pi, r.e.cfg.Roots
	r.runners.spawn(func(ctx context.Context) {
		limited, cancel := context.WithTimeout(ctx, exportDeadline)
		defer cancel()
		m := stepMessage{kind: stepExported, pi: p, key: want}
		if want == (exportKey{}) {
			m.err = roots.Withdraw(limited, pi)
		} else {
			m.text, m.err = roots.Publish(limited, pi, pi.Volume)
		}
		_ = r.e.tellLoop(ctx, m)
	})
}

// mended ends what mendExport began.
func (r *rack) mended(m stepMessage) {
	p := m.pi
	p.export.busy = false
	r.exporting--
	r.exported(p, m.key, m.text, m.err)
	if p.gone {
		r.withdraw(p)
	}
	if now := r.pis[p.Name]; now != nil && now != p { // it was put back meanwhile
		now.export.key = unknownExport
	}
}

// exporting tells whether a runner changes the export of one of the job's Pis.
func (j *jobState) exporting() bool {
	return j.pi.export.busy || j.to != nil && j.to.export.busy
}

// withdraw ends the exports of a Pi that is not in the layout any more, once
// nothing can make another.
func (r *rack) withdraw(p *piState) {
	if r.runners.ctx == nil || p.job != nil || p.export.busy || r.pis[p.Name] != nil {
		return
	}
	// The loop waits, so that no other place gets the root meanwhile.
	ctx, cancel := context.WithTimeout(r.runners.ctx, withdrawDeadline)
	defer cancel()
	if err := r.e.cfg.Roots.Withdraw(ctx, p.Pi); err != nil {
		r.logf(SystemActor().Name, p.Name, 0, "its root is still exported: %v", err)
	}
}

func applyPublish(r *rack, p *piState, w *work, err error) {
	if w.pi.Volume != "" {
		r.exported(p, exportOf(&w.pi), w.export, err)
	}
}

func applyWithdraw(r *rack, p *piState, _ *work, err error) {
	r.exported(p, exportKey{}, "", err)
}
