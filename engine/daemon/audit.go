package daemon

import (
	"context"
	"fmt"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/acts"
)

// actsEvery is how often acts are looked for that were done beside the service.
const actsEvery = 2 * time.Second

// takeActs brings what was done beside the service into the audit, until ctx
// ends.
func (d *Daemon) takeActs(ctx context.Context) error {
	for told := ""; ; {
		err := acts.Take(d.opts.Config.State, d.opts.Log, func(a acts.Act) error {
			_, err := d.engine.Note(ctx, engine.AuditRow{
				Time: a.Began, Actor: a.Actor, Source: a.Source, Key: a.Key, Verb: a.Verb, Target: a.Target,
				Reason: a.Reason, Result: a.Result, Ended: a.Ended,
			})
			return err
		})
		if now := fmt.Sprint(err); err != nil && ctx.Err() == nil && now != told {
			d.opts.Log.Error("acts from beside the service are not in the audit", "err", err)
			told = now
		} else if err == nil {
			told = ""
		}
		select {
		case <-time.After(actsEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// noted writes down that the service is told to do something by a signal, does
// it, and writes down how it ended.
func (d *Daemon) noted(ctx context.Context, verb, target string, f func() (result string, err error)) error {
	row := engine.AuditRow{Actor: engine.SystemActor().Name, Source: "signal", Verb: verb, Target: target}
	id, err := d.engine.Note(ctx, row)
	if err != nil {
		return err
	}
	row.ID = id
	row.Result, err = f()
	if err != nil {
		row.Result = "failed: " + err.Error()
	}
	if _, noteErr := d.engine.Note(context.WithoutCancel(ctx), row); err == nil {
		err = noteErr
	}
	return err
}

// describeLayout says what a configuration that was taken over has.
func describeLayout(cfg *config.Config) string {
	return fmt.Sprintf("ok: %d segments, %d switches, %d servers, %d images", len(cfg.Segments), len(cfg.Switches), len(cfg.Servers), len(cfg.Images))
}
