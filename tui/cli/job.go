package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// jobGroup shows jobs and ends them.
func (a *app) jobGroup() *cobra.Command {
	g := a.group("job", "the jobs: what is being done, and what lately was", "")
	active := false
	list := a.leaf("list", "list the jobs that run, wait, or ended lately", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
		jobs := slices.Clone(now.Jobs)
		if active {
			jobs = slices.DeleteFunc(jobs, func(j engine.JobView) bool { return j.State.Ended() })
		}
		slices.SortFunc(jobs, func(a, b engine.JobView) int { return cmp.Compare(a.ID, b.ID) })
		return a.jobs(now, jobs)
	})
	list.Flags().BoolVar(&active, "active", false, "only those that have not ended")
	show := a.leaf("show JOB...", "tell how far jobs are, or how they ended", jobWords, a.jobShow)
	var timeout time.Duration
	wait := a.leaf("wait JOB...", "wait until jobs end; status 1 if one does not succeed", jobWords, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		return a.jobWait(ctx, now, args, timeout)
	})
	wait.Flags().DurationVar(&timeout, "timeout", 0, "no longer than `TIME`, such as 5m")
	g.AddCommand(list, show, wait, a.jobCancel())
	return g
}

// jobNumber reads a job's number.
func jobNumber(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, usagef("picloud job list", "%q is no number of a job", clip(s))
	}
	return id, nil
}

// findJobs finds jobs by their numbers: among those that the snapshot has, or
// else in the audit.
func (a *app) findJobs(ctx context.Context, now *engine.Snapshot, args []string) ([]engine.JobView, error) {
	var out []engine.JobView
	for _, arg := range args {
		id, err := jobNumber(arg)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(now.Jobs, func(j engine.JobView) bool { return j.ID == id }); i >= 0 {
			out = append(out, now.Jobs[i])
			continue
		}
		j, err := a.fromAudit(ctx, id)
		if err != nil {
			return nil, err
		}
		if j == nil {
			return nil, failf("picloud job list, or picloud audit", "there is no job %d among those that run or ended lately", id)
		}
		out = append(out, *j)
	}
	return out, nil
}

func (a *app) jobs(now *engine.Snapshot, jobs []engine.JobView) error {
	if a.json {
		return a.emit(jobsOut(jobs))
	}
	t := table{cols: []column{
		{title: "JOB", right: true}, {title: "VERB"}, {title: "PI"}, {title: "STATE"}, {title: "STEP", least: 8}, {title: "AGE", right: true},
		{title: "BY", rank: 2, least: 4}, {title: "SERVER", rank: 3, least: 6}, {title: "OWNER", rank: 4, least: 5}, {title: "WHY", rank: 1, least: 30},
	}}
	for i := range jobs {
		j := &jobs[i]
		at := j.Since
		if !j.Ended.IsZero() {
			at = j.Ended
		}
		pi := string(j.Pi)
		if j.To != "" {
			pi += " to " + string(j.To)
		}
		step := stepText(j)
		if j.State == engine.JobRunning && j.Percent >= 0 {
			step += fmt.Sprintf(" %d%%", j.Percent)
		}
		t.row(strconv.FormatInt(j.ID, 10), j.Verb, pi, cell{string(j.State), jobLook(j.State)}, step, ago(now.At, at), j.Actor, j.Server, j.Owner, or(j.Error, j.Waits))
	}
	a.print(&t)
	return nil
}

func jobLook(s engine.JobState) look {
	switch s {
	case engine.JobFailed:
		return bad
	case engine.JobRunning:
		return busy
	case engine.JobDone:
		return good
	}
	return plain
}

func jobsOut(jobs []engine.JobView) jobsJSON {
	out := jobsJSON{schemaVersion, make([]jobJSON, len(jobs))}
	for i := range jobs {
		out.Jobs[i] = jobOut(&jobs[i])
	}
	return out
}

func (a *app) jobShow(ctx context.Context, now *engine.Snapshot, args []string) error {
	jobs, err := a.findJobs(ctx, now, args)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(jobsOut(jobs))
	}
	g := &page{app: a}
	for i := range jobs {
		j := &jobs[i]
		g.title(fmt.Sprintf("job %d", j.ID), j.Verb+" "+string(j.Pi))
		if j.To != "" {
			g.fact("to", string(j.To))
		}
		g.fact("state", jobProgress(j))
		if j.State == engine.JobRunning && j.Percent >= 0 {
			g.fact("step", fmt.Sprintf("%d %% of %s", j.Percent, j.Step))
		}
		if j.Server != "" {
			g.fact("server", j.Server+ofOwner(j.Owner))
		}
		g.fact("by", j.Actor)
		g.fact("since", a.when(j.Since))
		if !j.Ended.IsZero() {
			g.fact("ended", a.when(j.Ended))
		}
	}
	g.flush()
	return nil
}

func (a *app) jobWait(ctx context.Context, now *engine.Snapshot, args []string, timeout time.Duration) error {
	if timeout < 0 {
		return usagef("", "--timeout %s: want a time above 0", timeout)
	}
	jobs, err := a.findJobs(ctx, now, args)
	if err != nil {
		return err
	}
	var ids []int64
	for _, j := range jobs {
		if !slices.Contains(ids, j.ID) {
			ids = append(ids, j.ID)
		}
	}
	ended, err := a.await(ctx, ids, jobs, timeout)
	if a.json {
		if err := a.emit(jobsOut(ended)); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(ended, func(j engine.JobView) bool { return j.State != engine.JobDone }):
		return errTold()
	}
	return nil
}

// jobCancel is the verb cancel with jobs named by their numbers.
func (a *app) jobCancel() *cobra.Command {
	verb, _ := engine.FindVerb(engine.VerbCancel)
	t := &act{app: a, verb: verb}
	c := a.leaf("cancel JOB...", "cancel jobs, now or after the step that runs", jobWords, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		var pis []*engine.PiView
		for _, arg := range args {
			p, err := a.piOfJob(ctx, now, arg)
			if err != nil {
				return err
			}
			if !slices.Contains(pis, p) {
				pis = append(pis, p)
			}
		}
		return t.run(ctx, now, pis, "")
	})
	f := c.Flags()
	f.BoolVar(&t.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.StringVar(&t.reason, "reason", "", "why, for the audit: `TEXT`")
	f.BoolVar(&t.yes, "yes", false, "do not ask; a name to type needs --confirm")
	f.StringVar(&t.confirm, "confirm", "", "the `TEXT` that would have to be typed")
	return c
}

// piOfJob is the Pi whose job has that number and has not ended.
func (a *app) piOfJob(ctx context.Context, now *engine.Snapshot, arg string) (*engine.PiView, error) {
	jobs, err := a.findJobs(ctx, now, []string{arg})
	if err != nil {
		return nil, err
	}
	p, ok := now.Pi(jobs[0].Pi)
	if !ok || p.Job == nil || p.Job.ID != jobs[0].ID {
		return nil, failf("picloud job show "+arg, "job %d is over: %s", jobs[0].ID, jobs[0].State)
	}
	return p, nil
}
