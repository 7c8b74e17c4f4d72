package daemon

import (
	"context"
	"path/filepath"

	"picloud/engine/daemon/api"
)

// orders is the HTTP API that customers order by. Zero: there is none.
type orders struct {
	api      *api.API
	listener *api.Listener
}

// openAPI binds the API's socket, if the configuration wants one.
func (d *Daemon) openAPI(ctx context.Context) error {
	cfg := d.opts.Config
	if !cfg.API.Listen.IsValid() {
		return nil
	}
	secret, err := secretKey(filepath.Join(cfg.State, "api.key"), "the API's tokens")
	if err != nil {
		return err
	}
	d.orders.api, err = api.New(api.Config{
		Desk: d.engine, Deliveries: d.store.Deliveries, Secret: secret,
		Base: cfg.API.Base, URL: cfg.API.URL, Location: cfg.API.Location, Domain: cfg.API.Domain,
		Version: d.opts.Version, Answered: d.metrics.Answered, Log: d.opts.Log,
	})
	if err != nil {
		return err
	}
	d.orders.listener, err = api.Listen(ctx, api.ListenConfig{
		Addr: cfg.API.Listen, Cert: cfg.API.Cert, Key: cfg.API.Key, Log: d.opts.Log,
	})
	if err != nil {
		return err
	}
	d.close = append(d.close, func() { _ = d.orders.listener.Close() })
	d.opts.Log.Info("API", "url", d.orders.listener.URL(), "base", cfg.API.Base)
	return nil
}

// serveAPI answers customers until ctx ends. Without an API it waits.
func (d *Daemon) serveAPI(ctx context.Context) error {
	if d.orders.api == nil {
		<-ctx.Done()
		return nil
	}
	return d.orders.api.Serve(ctx, d.orders.listener)
}

// APIURL is where the API is reached on this host, "" if there is none.
func (d *Daemon) APIURL() string {
	if d.orders.listener == nil {
		return ""
	}
	return d.orders.listener.URL()
}
