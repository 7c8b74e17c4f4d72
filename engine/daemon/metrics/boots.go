package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine"
)

type bootCounters struct {
	started prometheus.Counter
	ended   *prometheus.CounterVec
	stalled *prometheus.CounterVec
	seconds prometheus.Histogram

	last map[engine.PiName]*boot // owned by whoever saves

	mu   sync.Mutex
	down map[engine.PiName]bool // stalled, and counted
}

// boot is a Pi's newest.
type boot struct {
	id    int64
	found bool // the Pi's power was on when the service started: no boot of ours
	up    bool
}

func newBootCounters() *bootCounters {
	b := &bootCounters{
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_boots_started_total", Help: "Starts of Pis, by power or by themselves.",
		}),
		ended: counters("picloud_boots_ended_total",
			"Starts that came up, and those that never did before the next one of the same Pi.", "result"),
		stalled: counters("picloud_boots_stalled_total", "Pis that made no progress within a stage's limit, by fault.", "cause"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "picloud_boot_seconds", Help: "Time from power, or from a Pi's own reset, to the answer of its SSH server.",
			Buckets: []float64{15, 20, 30, 40, 50, 60, 75, 90, 120, 180, 300, 600},
		}),
		last: make(map[engine.PiName]*boot), down: make(map[engine.PiName]bool),
	}
	fromZero(b.ended, endedUp, endedGivenUp)
	fromZero(b.stalled, engine.Faults()...)
	return b
}

// The results of a boot.
const (
	endedUp      = "up"
	endedGivenUp = "given_up"
)

// saved counts what became of boots by what is stored of them: each change of a
// boot is, once. It is called by one goroutine.
func (b *bootCounters) saved(c *engine.Changes) {
	var found map[int64]bool
	for i := range c.Boots {
		row := &c.Boots[i]
		last := b.last[row.Pi]
		if last == nil || row.ID > last.id {
			if found == nil {
				found = foundOn(c.Events)
			}
			last = b.next(row, last, found[row.ID])
		}
		if row.ID != last.id || row.Up.IsZero() || last.up {
			continue
		}
		last.up = true
		if !last.found {
			b.ended.WithLabelValues(endedUp).Inc()
			b.seconds.Observe(row.Up.Sub(row.Started).Seconds())
		}
	}
	for _, name := range c.RemovePis {
		delete(b.last, name)
	}
}

func (b *bootCounters) next(row *engine.Boot, before *boot, found bool) *boot {
	if before != nil && !before.up && !before.found {
		b.ended.WithLabelValues(endedGivenUp).Inc()
	}
	if !found {
		b.started.Inc()
	}
	now := &boot{id: row.ID, found: found}
	b.last[row.Pi] = now
	return now
}

// foundOn are the boots of Pis that were on when the service started.
func foundOn(events []engine.BootLine) map[int64]bool {
	found := make(map[int64]bool)
	for i := range events {
		if events[i].Seq == 0 && events[i].Evidence == engine.FoundOn {
			found[events[i].Boot] = true
		}
	}
	return found
}

// Stage counts a Pi that stalled; it is engine.Config's Stage. A switch that is
// silent for a while does not make a Pi stall again.
func (m *Metrics) Stage(c engine.StageChange) {
	b := m.boots
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.Stage == engine.StageUnknown:
	case c.Stage != engine.StageStalled:
		delete(b.down, c.Pi)
	case !b.down[c.Pi]:
		b.down[c.Pi] = true
		b.stalled.WithLabelValues(c.Diagnosis.Fault).Inc()
	}
}
