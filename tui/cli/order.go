package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type serverActJSON struct {
	Version int         `json:"version" doc:"1"`
	Verb    string      `json:"verb" doc:"order, release, keys"`
	DryRun  bool        `json:"dry_run" doc:"nothing was done"`
	Account *string     `json:"account"`
	Server  *string     `json:"server" doc:"its name; null = one will be made up"`
	Job     *int64      `json:"job" doc:"null = it is over, or nothing was done"`
	Board   *specJSON   `json:"board" doc:"of an order"`
	DiskGB  *int        `json:"disk_gb" doc:"of an order"`
	Image   *string     `json:"image" doc:"of an order; null = the one that orders get"`
	Price   *string     `json:"month_price" doc:"of an order: pounds, as 6.25; null = not known"`
	Now     *serverJSON `json:"now" doc:"the server as it is now, null = there is none"`
	Jobs    []jobJSON   `json:"jobs" doc:"with --wait: how they ended"`
}

// serverAct is a command on a server on its way to the engine.
type serverAct struct {
	consent
	cmd     engine.ServerCommand
	wait    bool
	timeout time.Duration
	account string
	board   engine.Spec
	price   string
}

func (t *serverAct) waitFlags(c *cobra.Command) {
	c.Flags().BoolVar(&t.wait, "wait", false, "wait until its job ends; status 1 if that does not succeed")
	c.Flags().DurationVar(&t.timeout, "timeout", 0, "with --wait: no longer than `TIME`, such as 5m")
}

// run asks for consent and sends the command.
func (t *serverAct) run(ctx context.Context, now *engine.Snapshot, what, word string, tells []string) error {
	if t.dryRun {
		return t.tellDry(now, what, tells)
	}
	if err := t.pass(what, word, tells...); err != nil {
		return err
	}
	return t.send(ctx)
}

func (t *serverAct) tellDry(now *engine.Snapshot, what string, tells []string) error {
	if t.json {
		if err := t.emit(t.out(now, 0, nil)); err != nil {
			return err
		}
		return t.dry()
	}
	t.printf("%s: nothing is done; this is a dry run\n", clean(what))
	for _, line := range tells {
		t.printf("  %s\n", clean(line))
	}
	return t.dry()
}

func (t *serverAct) checkWait() error {
	switch {
	case t.timeout != 0 && !t.wait:
		return usagef("", "--timeout goes with --wait")
	case t.timeout < 0:
		return usagef("", "--timeout %s: want a time above 0", t.timeout)
	}
	return nil
}

// send gives the command to the engine, tells what became of it, and waits if
// that is wanted.
func (t *serverAct) send(ctx context.Context) error {
	if err := t.checkWait(); err != nil {
		return err
	}
	t.cmd.Actor, t.cmd.Reason = t.s.Actor, t.reason
	sending, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	res, err := t.v.Serve(sending, t.cmd)
	if err != nil {
		return t.ordering(err)
	}
	t.cmd.Server = res.Server
	if !t.json {
		t.printf("%s  %s  job %d\n", t.cmd.Verb, clean(res.Server), res.Job)
	}
	var ended []engine.JobView
	if t.wait {
		if ended, err = t.await(ctx, []int64{res.Job}, nil, t.timeout); err != nil {
			return err
		}
	} else {
		t.settle(ctx, time.Now())
	}
	return t.tellEnd(t.v.Snapshot(), res.Job, ended)
}

func (t *serverAct) tellEnd(now *engine.Snapshot, job int64, ended []engine.JobView) error {
	failed := slices.ContainsFunc(ended, func(j engine.JobView) bool { return j.State != engine.JobDone })
	if t.json {
		if err := t.emit(t.out(now, job, ended)); err != nil {
			return err
		}
	} else if p, err := t.server(now, t.cmd.Server); err == nil && t.wait && !failed {
		if err := t.servers(now, []*engine.PiView{p}); err != nil {
			return err
		}
	}
	if failed {
		return errTold()
	}
	return nil
}

func (t *serverAct) out(now *engine.Snapshot, job int64, ended []engine.JobView) serverActJSON {
	out := serverActJSON{
		Version: schemaVersion, Verb: string(t.cmd.Verb), DryRun: t.dryRun, Account: null(t.account), Server: null(t.cmd.Server), Job: null(job),
		Board: specOut(t.board), DiskGB: null(t.cmd.DiskGB), Image: null(t.cmd.Image), Price: null(t.price), Jobs: []jobJSON{},
	}
	if p, err := t.server(now, t.cmd.Server); err == nil {
		s := serverOut(p)
		out.Now, out.Account = &s, null(p.Owner)
	}
	for i := range ended {
		out.Jobs = append(out.Jobs, jobOut(&ended[i]))
	}
	return out
}

// defaultDisk is what an order gets that does not say, in GB.
const defaultDisk = 10

// orderCommand orders a server for an account.
func (a *app) orderCommand() *cobra.Command {
	t := &serverAct{consent: consent{app: a, needs: engine.RoleOperator}, cmd: engine.ServerCommand{Verb: engine.ServerOrder}}
	var keys []string
	c := a.leaf("order ACCOUNT [NAME]", "order a server for an account", words{least: 1, most: 2, of: a.accountNames, first: 1},
		func(ctx context.Context, now *engine.Snapshot, args []string) (err error) {
			if err := t.checkWait(); err != nil {
				return err
			}
			t.account, t.cmd.Account = args[0], args[0]
			if len(args) > 1 {
				t.cmd.Server = args[1]
			}
			if t.cmd.Keys, err = loginKeys(keys); err != nil {
				return err
			}
			if t.dryRun {
				return t.dryOrder(now)
			}
			return t.send(ctx)
		})
	c.Long = "Order a server for an account. It gets the lowest board that is free and as wished,\na name if none is given, an address, and a root of its own; with --wait the\ncommand ends when it is live, or says why it cannot be."
	f := c.Flags()
	f.IntVar(&t.cmd.Wish.Model, "model", 0, "the board's generation: `N` is 3, 4 or 5 (default: any)")
	f.IntVar(&t.cmd.Wish.Memory, "memory", 0, "its memory in `MB` (default: any)")
	f.IntVar(&t.cmd.Wish.CPU, "cpu", 0, "its clock in `MHZ` (default: any)")
	f.IntVar(&t.cmd.DiskGB, "disk", defaultDisk, "`GB` of disk, a multiple of 10")
	f.StringVar(&t.cmd.Image, "image", "", "the `IMAGE` for its root (default: the one that orders get)")
	a.completes(c, "image", imageNames)
	keyFlag(c, &keys)
	t.reasonFlag(c)
	t.dryRunFlag(c)
	t.waitFlags(c)
	c.Example = "  picloud order acme web1 --model 4 --disk 20 --key ~/.ssh/id_ed25519.pub --wait"
	return c
}

// dryOrder says what an order would get. The engine looks again when it comes.
func (t *serverAct) dryOrder(now *engine.Snapshot) error {
	all, err := t.customers()
	if err != nil {
		return err
	}
	if _, err := t.app.account(all, t.account); err != nil {
		return err
	}
	if t.cmd.Image != "" && !slices.Contains(imageNames(now), t.cmd.Image) {
		return usagef(or(meant(t.cmd.Image, imageNames(now)), "picloud image list"), "there is no image %q", clip(t.cmd.Image))
	}
	rules := t.v.Rules()
	board, free, exists := lowestFree(now, rules, t.cmd.Wish)
	switch {
	case !exists:
		return usagef("", "there is no board like that for sale")
	case free == 0:
		return failf("picloud pi list", "order: %w", engine.ErrNoneFree)
	}
	t.board = board
	price, _ := rules.Price(board, t.cmd.DiskGB)
	t.price = price.String()
	return t.tellDry(now, "order for "+t.account, []string{
		fmt.Sprintf("%s, %d GB disk, %s a month", specText(board), t.cmd.DiskGB, price),
		plural(free, "board is", "boards are") + " free of that kind",
	})
}

// lowestFree is the lowest board that a wish could have now, and how many of it
// are free beside the spares; exists tells whether any is like that at all.
func lowestFree(now *engine.Snapshot, rules *engine.Rules, wish engine.Spec) (board engine.Spec, free int, exists bool) {
	for _, spec := range now.Specs() {
		if _, sold := rules.Price(spec, 0); !spec.Meets(wish) || !sold && len(rules.Plans) > 0 {
			continue
		}
		exists = true
		n := -rules.Spares
		for i := range now.Pis {
			if p := &now.Pis[i]; p.Free && p.Spec() == spec {
				n++
			}
		}
		if n > 0 {
			return spec, n, true
		}
	}
	return engine.Spec{}, 0, exists
}
