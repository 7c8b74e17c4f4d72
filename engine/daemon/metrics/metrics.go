package metrics

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what happens in one service. Its methods may be called by any
// goroutine, but those of one counter's feed by one at a time, as they are said
// to be.
type Metrics struct {
	registry *prometheus.Registry
	seen     *prometheus.CounterVec
	dhcp     dhcpCounters
	tftp     tftpCounters
	boots    *bootCounters
	jobs     *jobCounters
	store    *storeCounters
	webhooks *prometheus.CounterVec
	orders   *orderCounters
	api      *apiCounters
}

// New makes the metrics of a service of that version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.seen = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "picloud_observations_total", Help: "Pieces of evidence that were handed to the engine, by where they come from.",
	}, []string{"kind"})
	fromZero(m.seen, observationKinds...)
	m.dhcp, m.tftp = newDHCPCounters(), newTFTPCounters()
	m.boots, m.jobs, m.store = newBootCounters(), newJobCounters(), newStoreCounters()
	m.webhooks, m.orders, m.api = newWebhookCounter(), newOrderCounters(), newAPICounters()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "picloud_build_info", Help: "Which picloud runs; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision(), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.seen, build,
		m.dhcp.requests, m.dhcp.replies, m.dhcp.failures,
		m.tftp.requests, m.tftp.bytes, m.tftp.errors,
		m.boots.started, m.boots.ended, m.boots.stalled, m.boots.seconds,
		m.jobs.ended, m.jobs.seconds,
		m.store.seconds, m.store.errors, m.webhooks,
		m.orders.orders, m.orders.notices, m.api.requests, m.api.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// revision is the commit that the program was built from, "" if it does not
// know.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// Follow has the state of the rack told at each scrape. It is called once.
func (m *Metrics) Follow(s Source) error { return m.registry.Register(rack{s}) }
