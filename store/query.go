package store

import (
	"context"
	"database/sql"
	"errors"

	"picloud/engine"
)

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query reads all rows of a SELECT; row gives the pointers to scan one into.
func query[R any](ctx context.Context, q queryer, row func(*R) []any, text string, args ...any) (_ []R, err error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var all []R
	for rows.Next() {
		var r R
		if err := rows.Scan(row(&r)...); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// list reads the rows of a table that tail asks for.
func list[R any](ctx context.Context, q queryer, to *[]R, t table[R], tail string, args ...any) (err error) {
	*to, err = query(ctx, q, t.row, t.sel(tail), args...)
	return err
}

// presentVolumes are those that a start reads.
const presentVolumes = "WHERE state <> 'removed' ORDER BY name"

// presentServers are those that a start reads: see engine.State.
const presentServers = "WHERE state NOT IN ('released', 'failed') OR number <> 0 ORDER BY name"

// A parent and its children are read by one statement, so that they are of one
// moment without a transaction. A parent without children comes once, with
// NULLs.
var (
	openJobs = joined(jobs, steps, "job",
		"WHERE state IN ('queued', 'running') ORDER BY id", "p.id, c.seq")
	pageOfJobs = joined(jobs, steps, "job",
		"WHERE id < ? ORDER BY id DESC LIMIT ?", "p.id DESC, c.seq")
	oneJob      = joined(jobs, steps, "job", "WHERE id = ?", "c.seq")
	pageOfBoots = joined(boots, bootEvents, "boot",
		"WHERE pi = ? ORDER BY id DESC LIMIT ?", "p.id DESC, c.seq")
)

func joined[P, C any](parent table[P], child table[C], key, tail, order string) string {
	return "WITH p AS (" + parent.sel(tail) + ") SELECT " + parent.of("p") + ", " + child.of("c") +
		" FROM p LEFT JOIN " + child.name + " c ON c." + key + " = p.id ORDER BY " + order
}

type jobAndStep struct {
	job  engine.Job
	step jobStep
}

func (r *jobAndStep) columns() []any { return append(jobRow(&r.job), stepRow(&r.step)...) }

func listJobs(ctx context.Context, q queryer, to *[]engine.Job, text string, args ...any) error {
	rows, err := query(ctx, q, (*jobAndStep).columns, text, args...)
	for _, r := range rows {
		if n := len(*to); n == 0 || (*to)[n-1].ID != r.job.ID {
			*to = append(*to, r.job)
		}
		if r.step.job != 0 {
			last := &(*to)[len(*to)-1]
			last.Steps = append(last.Steps, r.step.Step)
		}
	}
	return err
}

type bootAndEvent struct {
	boot  engine.Boot
	event engine.BootLine
}

func (r *bootAndEvent) columns() []any { return append(bootRow(&r.boot), eventRow(&r.event)...) }

func listBoots(ctx context.Context, q queryer, to *[]engine.Boot, args ...any) error {
	rows, err := query(ctx, q, (*bootAndEvent).columns, pageOfBoots, args...)
	for _, r := range rows {
		if n := len(*to); n == 0 || (*to)[n-1].ID != r.boot.ID {
			*to = append(*to, r.boot)
		}
		if r.event.Boot != 0 {
			last := &(*to)[len(*to)-1]
			last.Events = append(last.Events, r.event.BootEvent)
		}
	}
	return err
}
