package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine/daemon/webhook"
)

func newWebhookCounter() *prometheus.CounterVec {
	c := counters("picloud_webhook_attempts_total", "Requests to customers' webhooks, by how they ended.", "result")
	for _, r := range webhook.Results() {
		c.WithLabelValues(string(r))
	}
	return c
}

// Webhook counts a request to a webhook.
func (m *Metrics) Webhook(r webhook.Result) { m.webhooks.WithLabelValues(string(r)).Inc() }
