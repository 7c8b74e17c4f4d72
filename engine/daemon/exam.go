package daemon

import (
	"context"
	"errors"

	"picloud/engine"
)

// Examine is engine.Roots'.
func (r *roots) Examine(context.Context, engine.Pi, string) error {
	return errors.New("this build cannot examine boards")
}
