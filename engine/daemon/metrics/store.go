package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine"
)

type storeCounters struct {
	seconds prometheus.Histogram
	errors  prometheus.Counter

	mu   sync.Mutex
	last error // of the last Save
}

func newStoreCounters() *storeCounters {
	return &storeCounters{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "picloud_store_save_seconds", Help: "Time that it took to make a turn's changes lasting.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_store_save_errors_total", Help: "Changes that the store did not take; they are tried again.",
		}),
	}
}

type jobCounters struct {
	ended   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newJobCounters() *jobCounters {
	j := &jobCounters{
		ended: counters("picloud_jobs_ended_total", "Jobs that ended, by verb and result.", "verb", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "picloud_job_seconds", Help: "Time that jobs took which were done, waiting included, by verb.",
			Buckets: []float64{1, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1800, 3600},
		}, []string{"verb"}),
	}
	for _, verb := range engine.JobVerbs() {
		j.seconds.WithLabelValues(string(verb))
		for _, state := range []engine.JobState{engine.JobDone, engine.JobFailed, engine.JobCancelled} {
			j.ended.WithLabelValues(string(verb), string(state))
		}
	}
	return j
}

func (j *jobCounters) saved(c *engine.Changes) {
	counted := make(map[int64]bool)
	for i := range c.Jobs {
		row := &c.Jobs[i]
		if !row.State.Ended() || counted[row.ID] {
			continue
		}
		counted[row.ID] = true
		j.ended.WithLabelValues(row.Verb, string(row.State)).Inc()
		if row.State == engine.JobDone {
			j.seconds.WithLabelValues(row.Verb).Observe(row.Ended.Sub(row.Created).Seconds())
		}
	}
}

// Inventory returns what times and counts what i is given to keep. What a store
// has not taken is not counted, for it will be given again.
func (m *Metrics) Inventory(i engine.Inventory) engine.Inventory { return inventory{i, m} }

type inventory struct {
	engine.Inventory
	m *Metrics
}

func (i inventory) Save(ctx context.Context, c engine.Changes) error {
	begin := time.Now()
	err := i.Inventory.Save(ctx, c)
	s := i.m.store
	s.seconds.Observe(time.Since(begin).Seconds())
	s.mu.Lock()
	s.last = err
	s.mu.Unlock()
	if err != nil {
		s.errors.Inc()
		return err
	}
	i.m.boots.saved(&c)
	i.m.jobs.saved(&c)
	i.m.orders.saved(&c)
	return nil
}

// takes returns why the store does not take what it is given, nil if it does.
func (s *storeCounters) takes() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
