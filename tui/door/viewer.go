package door

import (
	"context"
	"time"

	"picloud/engine"
)

// viewer is the engine as one session may use it. Reading is everybody's who
// came in; each act asks first who its actor is now.
type viewer struct {
	engine.Viewer
	c *conn
}

// actTime bounds how long the engine may take to accept or refuse.
const actTime = 30 * time.Second

// Do carries out a command as the session's present actor, whatever actor it
// names. It was decided, so it goes on even if the client goes meanwhile.
func (v *viewer) Do(ctx context.Context, cmd engine.Command) (engine.Result, error) {
	if err := ctx.Err(); err != nil {
		return engine.Result{}, context.Cause(ctx)
	}
	actor, err := v.c.present()
	if err != nil {
		return engine.Result{}, err
	}
	cmd.Actor = actor
	ctx, cancel := context.WithTimeout(v.c.base, actTime)
	defer cancel()
	return v.Viewer.Do(ctx, cmd)
}

// ChangeOperators does the same for a command on operators. Its end is waited
// for, since the session that gave it may be among those it concerns.
func (v *viewer) ChangeOperators(ctx context.Context, cmd engine.OperatorCommand) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	actor, err := v.c.present()
	if err != nil {
		return err
	}
	cmd.Actor = actor
	ctx, cancel := context.WithTimeout(v.c.base, actTime)
	defer cancel()
	return v.Viewer.ChangeOperators(ctx, cmd)
}
