package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type apiCounters struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newAPICounters() *apiCounters {
	return &apiCounters{
		requests: counters("picloud_api_requests_total", "Requests to the order API that were answered, by route and status.", "route", "code"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "picloud_api_request_seconds", Help: "Time that the order API took to answer, by route; of a stream of events, how long it was open.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
	}
}

// noRoute is told of requests for what there is not.
const noRoute = "none"

// Answered counts a request to the order API. route is the pattern that it met,
// "" = none: never its path, which is whoever asks to make up.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	if route == "" {
		route = noRoute
	}
	m.api.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.api.seconds.WithLabelValues(route).Observe(took.Seconds())
}
