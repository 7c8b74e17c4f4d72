package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"picloud/engine"
)

var errTimeout = errors.New("the time is over; the jobs go on")

// patience is how long a job that was just accepted may be missing in the
// snapshots.
const patience = 2 * time.Second

// await waits until jobs have ended and returns how; known are views of them
// from before. Their progress is printed a line at a time, unless the output
// is JSON.
func (a *app) await(ctx context.Context, ids []int64, known []engine.JobView, timeout time.Duration) ([]engine.JobView, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	w := &waiter{app: a, ids: ids, begun: time.Now(), last: map[int64]string{}, ended: map[int64]engine.JobView{}}
	for i := range known {
		if known[i].State.Ended() {
			w.end(time.Now(), &known[i])
		}
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	feed, stop := a.v.Subscribe()
	defer stop()
	for len(w.ended) < len(ids) {
		select {
		case s := <-feed:
			if s == nil {
				return nil, engine.ErrStopped
			}
			if err := w.look(ctx, s); err != nil {
				return w.list(), err
			}
		case <-late.C:
			w.late = true
			if err := w.look(ctx, a.v.Snapshot()); err != nil {
				return w.list(), err
			}
		case <-ctx.Done():
			return w.list(), &problem{exitFailed, context.Cause(ctx), "picloud job list"}
		}
	}
	return w.list(), nil
}

// waiter follows jobs through snapshots.
type waiter struct {
	*app
	ids   []int64
	begun time.Time
	late  bool             // a snapshot from before begun is all there will be
	last  map[int64]string // what was printed of each
	ended map[int64]engine.JobView
}

func (w *waiter) list() []engine.JobView {
	var out []engine.JobView
	for _, id := range w.ids {
		if j, ok := w.ended[id]; ok {
			out = append(out, j)
		}
	}
	return out
}

func (w *waiter) look(ctx context.Context, s *engine.Snapshot) error {
	jobs := make(map[int64]*engine.JobView, len(s.Jobs))
	for i := range s.Jobs {
		jobs[s.Jobs[i].ID] = &s.Jobs[i]
	}
	for _, id := range w.ids {
		if _, over := w.ended[id]; over {
			continue
		}
		j := jobs[id]
		if j == nil {
			// It is newer than the snapshot, or it ended so long ago that the
			// snapshot has it no longer: then its audit row is closed.
			if !w.late && !s.At.After(w.begun) {
				continue
			}
			old, err := w.fromAudit(ctx, id)
			if err != nil {
				return err
			}
			if j = old; j == nil {
				continue
			}
		}
		if j.State.Ended() {
			w.end(s.At, j)
		} else {
			w.tell(s.At, j)
		}
	}
	return nil
}

func (w *waiter) end(at time.Time, j *engine.JobView) {
	w.tell(at, j)
	w.ended[j.ID] = *j
}

// tell prints a job's progress when it is another than before.
func (w *waiter) tell(at time.Time, j *engine.JobView) {
	if w.json {
		return
	}
	text := jobProgress(j)
	if w.last[j.ID] == text {
		return
	}
	w.last[j.ID] = text
	w.printf("%s  %s  %s  job %d  %s\n", at.In(w.s.Zone).Format(time.TimeOnly), clean(string(j.Pi)), clean(j.Verb), j.ID, clean(text))
}

// jobProgress says how far a job is.
func jobProgress(j *engine.JobView) string {
	took := ""
	if !j.Ended.IsZero() && !j.Since.IsZero() {
		took = fmt.Sprintf(" after %.1f s", j.Ended.Sub(j.Since).Seconds())
	}
	switch j.State {
	case engine.JobDone:
		return "done" + took
	case engine.JobFailed:
		return "failed" + took + ": " + j.Error
	case engine.JobCancelled:
		return "cancelled" + took + because(j.Error)
	case engine.JobQueued:
		return "waits for its turn" + because(j.Waits)
	}
	return stepText(j)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// stepText is "2/4 hold".
func stepText(j *engine.JobView) string {
	if j.Steps == 0 {
		return or(j.Step, "its step")
	}
	return fmt.Sprintf("%d/%d %s", j.StepNo, j.Steps, j.Step)
}

// auditPages bounds how far back a job that ended is looked for.
const auditPages = 5

// fromAudit makes what can be told of a job that has left the snapshots out of
// its audit row, nil = it is not closed, or not found.
func (a *app) fromAudit(ctx context.Context, id int64) (*engine.JobView, error) {
	before := int64(0)
	for range auditPages {
		rows, err := a.v.Audit(ctx, before, auditPage)
		if err != nil {
			return nil, fmt.Errorf("read the audit: %w", err)
		}
		if i := slices.IndexFunc(rows, func(r engine.AuditRow) bool {
			// The row of who cancelled it has its number too.
			return r.Job == id && r.Verb != string(engine.VerbCancel)
		}); i >= 0 {
			return jobOfRow(rows[i]), nil
		}
		if len(rows) < auditPage {
			return nil, nil
		}
		before = rows[len(rows)-1].ID
	}
	return nil, nil
}

// jobOfRow is what a closed audit row says of its job.
func jobOfRow(r engine.AuditRow) *engine.JobView {
	if r.Ended.IsZero() {
		return nil
	}
	j := &engine.JobView{
		ID: r.Job, Verb: r.Verb, Pi: engine.PiName(r.Target), Actor: r.Actor, Percent: -1,
		State: engine.JobDone, Since: r.Time, Ended: r.Ended,
	}
	switch {
	case strings.HasPrefix(r.Result, "cancelled"):
		j.State, j.Error = engine.JobCancelled, strings.TrimPrefix(r.Result, "cancelled: ")
	case !strings.HasPrefix(r.Result, "ok"):
		j.State, j.Error = engine.JobFailed, strings.TrimPrefix(r.Result, "failed: ")
	}
	return j
}
