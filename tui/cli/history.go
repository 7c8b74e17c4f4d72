package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

const (
	auditPage   = 200    // rows asked for at a time
	logPage     = 200    // lines asked for at a time
	historyMost = 100000 // rows that one command prints at most
	historyFew  = 50     // rows without --since or --limit
	bootsMost   = 1000
)

// history are the flags of commands that page the past.
type history struct {
	since, actor string
	pis          []string
	limit        int
}

func (h *history) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&h.since, "since", "", "no older than `TIME`: 30m, 24h, 7d, 2026-11-23, 2026-11-23T14:00:00Z")
	f.StringVar(&h.actor, "actor", "", "only by `NAME`; - is the rack itself")
	f.StringArrayVar(&h.pis, "pi", nil, "only of these: a name, ports or a set, as for `PI`; may be repeated")
	f.IntVar(&h.limit, "limit", 0, fmt.Sprintf("no more than the newest `N` (default %d, or all since TIME)", historyFew))
}

// query is a checked history.
type query struct {
	from  time.Time // zero = any
	actor string
	pis   map[string]bool // empty = any
	limit int
}

// check reads the flags. A Pi that the rack has no longer can be asked for by
// its name.
func (h *history) check(now *engine.Snapshot, zone *time.Location) (query, error) {
	q := query{actor: h.actor, limit: h.limit, pis: map[string]bool{}}
	if h.limit < 0 {
		return q, usagef("", "--limit %d: want a number above 0", h.limit)
	}
	if h.since != "" {
		from, err := parseSince(h.since, now.At, zone)
		if err != nil {
			return q, err
		}
		q.from = from
	}
	if q.limit == 0 {
		q.limit = historyFew
		if h.since != "" {
			q.limit = historyMost
		}
	}
	for _, w := range h.pis {
		found, err := resolve(now, []string{w})
		if err != nil {
			q.pis[w] = true
		}
		for _, p := range found {
			q.pis[string(p.Name)] = true
		}
		if err == nil && len(found) == 0 {
			q.pis[""] = true // a set with nobody in it: nothing fits
		}
	}
	return q, nil
}

func (q *query) fits(actor, pi string) bool {
	return (q.actor == "" || actor == q.actor) && (len(q.pis) == 0 || pi != "" && q.pis[pi])
}

// sinceLayouts are the ways to write a moment.
var sinceLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// parseSince reads how long ago, or when.
func parseSince(s string, now time.Time, zone *time.Location) (time.Time, error) {
	wrong := usagef("--since 24h, --since 7d or --since 2026-11-23", "--since %q: no time", clip(s))
	for _, layout := range sinceLayouts {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := digits(days)
		if err != nil || n > 36500 {
			return time.Time{}, wrong
		}
		return now.AddDate(0, 0, -n), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, wrong
	}
	return now.Add(-d), nil
}

// collect pages backwards through what is stored and returns what fits, oldest
// first. An act that was done beside the service is numbered when the service
// heard of it, which may be long after it began: only a whole page from before
// the time that is asked for is the end.
func collect[T any](q query, size int, page func(before int64) ([]T, error), of func(*T) (id int64, at time.Time, actor, pi string)) ([]T, error) {
	var out []T
	before := int64(0)
	for {
		rows, err := page(before)
		if err != nil {
			return nil, err
		}
		older := 0
		for i := range rows {
			id, at, actor, pi := of(&rows[i])
			before = id
			if at.Before(q.from) {
				older++
				continue
			}
			if q.fits(actor, pi) {
				out = append(out, rows[i])
			}
			if len(out) == q.limit {
				slices.Reverse(out)
				return out, nil
			}
		}
		if len(rows) < size || older == len(rows) {
			slices.Reverse(out)
			return out, nil
		}
	}
}

func (a *app) auditCommand() *cobra.Command {
	var h history
	c := a.leaf("audit", "every act: who, from where, what, to what, why, and how it ended", noWords, func(ctx context.Context, now *engine.Snapshot, _ []string) error {
		q, err := h.check(now, a.s.Zone)
		if err != nil {
			return err
		}
		rows, err := collect(q, auditPage, func(before int64) ([]engine.AuditRow, error) { return a.v.Audit(ctx, before, auditPage) },
			func(r *engine.AuditRow) (int64, time.Time, string, string) { return r.ID, r.Time, r.Actor, r.Target })
		if err != nil {
			return fmt.Errorf("read the audit: %w", err)
		}
		return a.audit(rows)
	})
	h.flags(c)
	return c
}

func (a *app) audit(rows []engine.AuditRow) error {
	if a.json {
		out := auditJSON{schemaVersion, make([]auditRowJSON, len(rows))}
		for i, r := range rows {
			out.Rows[i] = auditRowJSON{r.ID, stamp{r.Time}, r.Actor, r.Source, null(r.Key), r.Verb, r.Target, null(r.Reason), null(r.Job), null(r.Result), stamp{r.Ended}}
		}
		return a.emit(out)
	}
	t := table{cols: []column{
		{title: "TIME"}, {title: "ACTOR", least: 6}, {title: "VERB"}, {title: "TARGET"}, {title: "RESULT", least: 20}, {title: "REASON", rank: 1, least: 16},
		{title: "JOB", right: true, rank: 2}, {title: "FROM", rank: 3, least: 8}, {title: "KEY", rank: 4, least: 12},
	}}
	for _, r := range rows {
		t.row(a.when(r.Time), r.Actor, r.Verb, r.Target, or(r.Result, "(not over)"), r.Reason, jobText(r.Job), r.Source, r.Key)
	}
	a.print(&t)
	return nil
}

func jobText(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

func (a *app) logCommand() *cobra.Command {
	var h history
	c := a.leaf("log", "what happened: acts, their results, and what the rack did by itself", noWords, func(ctx context.Context, now *engine.Snapshot, _ []string) error {
		q, err := h.check(now, a.s.Zone)
		if err != nil {
			return err
		}
		lines, err := collect(q, logPage, func(before int64) ([]engine.LogLine, error) { return a.v.Log(ctx, before, logPage) },
			func(l *engine.LogLine) (int64, time.Time, string, string) { return l.ID, l.Time, l.Actor, string(l.Pi) })
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if a.json {
			out := logJSON{schemaVersion, make([]logLineJSON, len(lines))}
			for i, l := range lines {
				out.Lines[i] = logLineJSON{l.ID, stamp{l.Time}, l.Actor, null(string(l.Pi)), null(l.Job), l.Text}
			}
			return a.emit(out)
		}
		t := table{cols: []column{{title: "TIME"}, {title: "ACTOR", least: 4}, {title: "PI"}, {title: "TEXT", least: 40}, {title: "JOB", right: true, rank: 1}}}
		for _, l := range lines {
			t.row(a.when(l.Time), l.Actor, string(l.Pi), l.Text, jobText(l.Job))
		}
		a.print(&t)
		return nil
	})
	h.flags(c)
	return c
}

// bootGroup shows boots.
func (a *app) bootGroup() *cobra.Command {
	g := a.group("boot", "the boots of a Pi, each with its evidence", "")
	limit := 20
	list := a.leaf("list PI", "list a Pi's boots, newest first", onePi, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		if limit < 1 || limit > bootsMost {
			return usagef("", "--limit %d: want 1 to %d", limit, bootsMost)
		}
		p, boots, err := a.boots(ctx, now, args[0], limit)
		if err != nil {
			return err
		}
		return a.bootList(p, boots)
	})
	list.Flags().IntVar(&limit, "limit", limit, "no more than the newest `N`")
	var id int64
	show := a.leaf("show PI", "the timeline of a Pi's boot, and why it is stuck", onePi, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		return a.bootShow(ctx, now, args[0], id)
	})
	show.Flags().Int64Var(&id, "boot", 0, "the `NUMBER` of an older boot (default: the current or last one)")
	g.AddCommand(list, show)
	return g
}

// boots are a Pi's boots, newest first; the current one as it is now.
func (a *app) boots(ctx context.Context, now *engine.Snapshot, name string, limit int) (*engine.PiView, []engine.Boot, error) {
	pis, err := resolve(now, []string{name})
	if err != nil {
		return nil, nil, err
	}
	if len(pis) != 1 {
		return nil, nil, usagef("", "%s: want one Pi, not %d", clip(name), len(pis))
	}
	p := pis[0]
	boots, err := a.v.Boots(ctx, p.Name, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("read the boots of %s: %w", p.Name, err)
	}
	if p.Boot != nil {
		boots = slices.DeleteFunc(slices.Clone(boots), func(b engine.Boot) bool { return b.ID == p.Boot.ID })
		boots = slices.Insert(boots, 0, *p.Boot)
	}
	return p, boots[:min(len(boots), limit)], nil
}

func (a *app) bootList(p *engine.PiView, boots []engine.Boot) error {
	if a.json {
		out := bootsJSON{schemaVersion, string(p.Name), make([]bootJSON, len(boots))}
		for i := range boots {
			out.Boots[i] = bootOut(&boots[i])
		}
		return a.emit(out)
	}
	t := table{cols: []column{{title: "BOOT", right: true}, {title: "STARTED"}, {title: "REACHED"}, {title: "TOOK", right: true}, {title: "STUCK", least: 40}}}
	for i := range boots {
		b := &boots[i]
		took := ""
		if !b.Up.IsZero() {
			took = fmt.Sprintf("%.1fs", b.Up.Sub(b.Started).Seconds())
		}
		t.row(strconv.FormatInt(b.ID, 10), a.when(b.Started), b.Reached.String(), took, b.Cause)
	}
	a.print(&t)
	return nil
}

func (a *app) bootShow(ctx context.Context, now *engine.Snapshot, name string, id int64) error {
	p, boots, err := a.boots(ctx, now, name, bootsMost)
	if err != nil {
		return err
	}
	i := 0
	if id != 0 {
		i = slices.IndexFunc(boots, func(b engine.Boot) bool { return b.ID == id })
	}
	if i < 0 || len(boots) == 0 {
		return failf("picloud boot list "+string(p.Name), "%s has no boot %s", p.Name, strings.TrimPrefix(strconv.FormatInt(id, 10), "0"))
	}
	b := &boots[i]
	if a.json {
		return a.emit(bootsJSON{schemaVersion, string(p.Name), []bootJSON{bootOut(b)}})
	}
	g := &page{app: a}
	g.title(string(p.Name), p.Port.String())
	current := p.Boot != nil && b.ID == p.Boot.ID
	if current && p.Stage == engine.StageStalled && p.Diagnosis.Cause != "" {
		g.fact("stuck", p.Diagnosis.Cause+" ("+p.Diagnosis.Fault+")")
		if p.Diagnosis.Hint != "" {
			g.fact("do", p.Diagnosis.Hint)
		}
	}
	g.timeline(b)
	g.flush()
	return nil
}
