package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
	"picloud/engine/bill"
)

// books are the ledger as whoever asks may read it.
type books struct{ *app }

// Ledger is bill.Ledger's.
func (b books) Ledger(ctx context.Context, account string, until time.Time) ([]engine.LedgerRow, error) {
	return b.v.Charges(ctx, b.s.Actor, account, until)
}

// Billed is bill.Ledger's.
func (b books) Billed() time.Time { return b.v.Billed() }

// Formats of a bill.
const (
	billTable = "table"
	billCSV   = "csv"
	billJSON  = "json"
)

// billCommand prints what accounts owe for a month.
func (a *app) billCommand() *cobra.Command {
	var month, format string
	c := a.leaf("bill [ACCOUNT]", "what all accounts, or one, owe for a month, to the second and the penny", words{most: 1, of: a.accountNames},
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			_, name, err := a.accountOrAll(args)
			if err != nil {
				return err
			}
			st, err := a.statement(ctx, name, month)
			switch {
			case errors.Is(err, bill.ErrNotBegun):
				return usagef("", "--month: %w", err)
			case err != nil:
				return err
			}
			return a.bill(&st, format)
		})
	c.Long = "Print what all accounts, or one, owe for a month. It is made of the ledger alone:\nuntil a month is over it is counted up to now. Each line is rounded up to a penny.\nFor admins."
	c.Flags().StringVar(&month, "month", "", "`MONTH`, such as 2026-11, in UTC (default: this one so far)")
	c.Flags().StringVar(&format, "format", billTable, "table, csv or json")
	a.completes(c, "format", func(*engine.Snapshot) []string { return []string{billTable, billCSV, billJSON} })
	return c
}

func (a *app) statement(ctx context.Context, account, month string) (bill.Statement, error) {
	if month == "" {
		return bill.Usage(ctx, books{a}, account)
	}
	m, err := bill.ParseMonth(month)
	if err != nil {
		return bill.Statement{}, usagef("--month 2026-11", "--month: %w", err)
	}
	return bill.Read(ctx, books{a}, account, m)
}

func (a *app) bill(st *bill.Statement, format string) error {
	if a.json {
		format = billJSON
	}
	switch format {
	case billJSON:
		return a.emit(st.JSON())
	case billCSV:
		return bill.WriteCSV(a.out, st)
	case billTable:
		a.billTable(st)
		return nil
	}
	return usagef("table, csv or json", "--format %q is none", clip(format))
}

func (a *app) billTable(st *bill.Statement) {
	t := table{cols: []column{
		{title: "ACCOUNT", least: 8}, {title: "SERVER", least: 8}, {title: "BOARD", rank: 1}, {title: "DISK", right: true, rank: 2}, {title: "FROM", rank: 3},
		{title: "TO", rank: 4}, {title: "SECONDS", right: true, rank: 5}, {title: "A MONTH", right: true}, {title: "AMOUNT", right: true},
	}}
	for i := range st.Lines {
		l := &st.Lines[i]
		t.row(l.Account, l.Server, specText(l.Spec), fmt.Sprintf("%d GB", l.DiskGB), utc(l.From), utc(l.To), fmt.Sprint(l.Seconds()), l.Price.String(), l.Amount.String())
	}
	a.print(&t)
	until := ""
	if !st.Over() {
		until = ", counted up to " + utc(st.Until)
	}
	a.printf("%s in UTC%s: %s\n", st.Month, until, st.Total)
}

// utc writes a moment of a bill: its month is one in UTC, wherever it is read.
func utc(t time.Time) string { return t.UTC().Format(time.DateTime) }
