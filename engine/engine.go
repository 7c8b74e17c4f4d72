package engine

import (
	"context"
	"log/slog"
	"time"
)

// Config is what an Engine is made from.
type Config struct {
	Layout    Layout
	Inventory Inventory
	Power     Power
	Roots     Roots
	Guards    map[VerbName]Guards // overrides of the verb table's
	Limits    Limits
	Hold      time.Duration // how long a cycle keeps the port off
	Starting  int           // how many Pis may be between power-on and kernel at once
	Failures  int           // a batch stops after so many failed jobs
	Publish   time.Duration // shortest time between two snapshots
	Log       *slog.Logger  // nil discards
}

// Viewer is what a console needs of the engine; *Engine is one.
type Viewer interface {
	// Snapshot returns the newest snapshot, never nil after New.
	Snapshot() *Snapshot
	// Subscribe returns a mailbox channel with the newest snapshot, until
	// cancel is called.
	Subscribe() (snapshots <-chan *Snapshot, cancel func())
	// Do carries out a command and returns when its acts are accepted and
	// stored, or refused. Jobs go on after it returns.
	Do(ctx context.Context, cmd Command) (Result, error)
	// Guards returns a verb's guards as the configuration set them.
	Guards(verb VerbName) Guards
	// Boots, Log and Audit page the history out of the store.
	Boots(ctx context.Context, pi PiName, limit int) ([]Boot, error)
	Log(ctx context.Context, before int64, limit int) ([]LogLine, error)
	Audit(ctx context.Context, before int64, limit int) ([]AuditRow, error)
}
