package daemon

import (
	"context"

	"picloud/engine/daemon/webhook"
)

// sendWebhooks sends notices to customers' webhooks until ctx ends. The outbox is
// the store itself: what came of a try is no business of the engine's.
func (d *Daemon) sendWebhooks(ctx context.Context) error {
	return webhook.New(webhook.Config{
		Outbox: d.store, Noticed: d.engine.Noticed, Allow: d.opts.Config.API.PrivateWebhooks,
		Version: d.opts.Version, Tried: d.metrics.Webhook, Log: d.opts.Log,
	}).Run(ctx)
}
