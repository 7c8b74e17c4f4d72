package door

import (
	"context"
	"time"

	"picloud/engine"
)

// viewer is the engine as one session may use it. What is read of the rack is
// everybody's who came in; each act, and each question about customers, asks
// first who its actor is now.
type viewer struct {
	engine.Viewer
	c *conn
}

// actTime bounds how long the engine may take to accept or refuse.
const actTime = 30 * time.Second

// acting carries out a command as the session's present actor, whatever actor it
// names. It was decided, so it goes on, and its end is waited for, even if the
// client goes meanwhile; the session that gave it may be among those it concerns.
func acting[T any](ctx context.Context, v *viewer, do func(ctx context.Context, actor engine.Actor) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, context.Cause(ctx)
	}
	actor, err := v.c.present()
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(v.c.base, actTime)
	defer cancel()
	return do(ctx, actor)
}

// Do carries out a command on Pis.
func (v *viewer) Do(ctx context.Context, cmd engine.Command) (engine.Result, error) {
	return acting(ctx, v, func(ctx context.Context, actor engine.Actor) (engine.Result, error) {
		cmd.Actor = actor
		return v.Viewer.Do(ctx, cmd)
	})
}

// Serve carries out a command on a customer's server.
func (v *viewer) Serve(ctx context.Context, cmd engine.ServerCommand) (engine.ServerResult, error) {
	return acting(ctx, v, func(ctx context.Context, actor engine.Actor) (engine.ServerResult, error) {
		cmd.Actor = actor
		return v.Viewer.Serve(ctx, cmd)
	})
}

// ChangeOperators carries out a command on operators.
func (v *viewer) ChangeOperators(ctx context.Context, cmd engine.OperatorCommand) error {
	_, err := acting(ctx, v, func(ctx context.Context, actor engine.Actor) (struct{}, error) {
		cmd.Actor = actor
		return struct{}{}, v.Viewer.ChangeOperators(ctx, cmd)
	})
	return err
}

// ChangeAccounts carries out a command on accounts.
func (v *viewer) ChangeAccounts(ctx context.Context, cmd engine.AccountCommand) error {
	_, err := acting(ctx, v, func(ctx context.Context, actor engine.Actor) (struct{}, error) {
		cmd.Actor = actor
		return struct{}{}, v.Viewer.ChangeAccounts(ctx, cmd)
	})
	return err
}

// asking runs a read that is not everybody's as the session's present actor.
func asking[T any](v *viewer, read func(actor engine.Actor) (T, error)) (T, error) {
	actor, err := v.c.present()
	if err != nil {
		var none T
		return none, err
	}
	return read(actor)
}

// Customers asks as the present actor.
func (v *viewer) Customers(engine.Actor) (*engine.Accounts, error) {
	return asking(v, v.Viewer.Customers)
}

// Rented asks as the present actor.
func (v *viewer) Rented(_ engine.Actor, name string) (engine.ServerView, error) {
	return asking(v, func(a engine.Actor) (engine.ServerView, error) { return v.Viewer.Rented(a, name) })
}

// Sent asks as the present actor.
func (v *viewer) Sent(ctx context.Context, _ engine.Actor, webhook string, before int64, limit int) ([]engine.Sending, error) {
	return asking(v, func(a engine.Actor) ([]engine.Sending, error) { return v.Viewer.Sent(ctx, a, webhook, before, limit) })
}

// Charges asks as the present actor.
func (v *viewer) Charges(ctx context.Context, _ engine.Actor, account string, until time.Time) ([]engine.LedgerRow, error) {
	return asking(v, func(a engine.Actor) ([]engine.LedgerRow, error) { return v.Viewer.Charges(ctx, a, account, until) })
}
