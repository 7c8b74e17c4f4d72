package bill

import (
	"context"
	"fmt"
	"time"

	"picloud/engine"
)

// Ledger is where rows come from; engine.Desk has it.
type Ledger interface {
	// Ledger returns the rows of an account before a time, oldest first. account
	// "" = all.
	Ledger(ctx context.Context, account string, until time.Time) ([]engine.LedgerRow, error)
	// Billed is the time before which the ledger has all its rows.
	Billed() time.Time
}

// Read makes the statement of a month, of one account or, for "", of all. It fails
// as Make does, or as the ledger does.
func Read(ctx context.Context, from Ledger, account string, m Month) (Statement, error) {
	until := from.Billed()
	if end := m.End(); until.After(end) {
		until = end
	}
	rows, err := from.Ledger(ctx, account, until)
	if err != nil {
		return Statement{}, fmt.Errorf("read the ledger: %w", err)
	}
	return Make(m, rows, until)
}

// Usage is what an account's servers cost this month so far.
func Usage(ctx context.Context, from Ledger, account string) (Statement, error) {
	// The last second that is whole: on the first of a month at midnight there is
	// nothing of that month yet, and the one before is what is wanted.
	return Read(ctx, from, account, MonthOf(from.Billed().Add(-time.Second)))
}
