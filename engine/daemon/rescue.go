package daemon

import (
	"context"
	"errors"

	"picloud/engine"
)

// Rescue is engine.Roots'.
func (r *roots) Rescue(context.Context, engine.Pi, string, engine.Person) ([]engine.HostKey, error) {
	return nil, errors.ErrUnsupported
}
