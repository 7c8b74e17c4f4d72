package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// sendTime bounds how long the engine may take to accept or refuse.
const sendTime = 30 * time.Second

// act is one verb on some Pis, on its way to the engine.
type act struct {
	*app
	verb    engine.Verb
	dryRun  bool
	yes     bool
	confirm string
	reason  string
	wait    bool
	timeout time.Duration
	image   string
	to      string
	size    string

	cmd   engine.Command
	guard engine.Guard
	pis   []*engine.PiView // who it will be done to
	left  []refusal        // who it cannot be done to, and why
	told  int              // how many of left have been printed
}

// refusal is a Pi that is left alone.
type refusal struct {
	pi  engine.PiName
	err error
}

// argument is a word of a verb's Args as a flag.
type argument struct {
	word, flag, help string
	into             func(a *act) *string
	of               func(*engine.Snapshot) []string
}

// arguments are the flags for the words that verbs have in their Args. The
// reason is a flag of every verb.
var arguments = []argument{
	{"IMAGE", "image", "the `IMAGE` for the new root (default: the one it has)", func(a *act) *string { return &a.image }, imageNames},
	{"PI", "to", "the `PI` it goes to (default: a spare one)", func(a *act) *string { return &a.to }, piNames},
	{"TO", "to", "the `PI` it goes to (default: a spare one)", func(a *act) *string { return &a.to }, piNames},
	{"SIZE", "size", "the `SIZE` of the root, such as 20G, or +5G for so much more", func(a *act) *string { return &a.size }, nil},
}

// wordsOf are the words of a verb's Args, and whether each must be given.
func wordsOf(args string) (names []string, must []bool) {
	for f := range strings.FieldsSeq(args) {
		name := strings.Trim(f, "[].")
		if name != "" {
			names, must = append(names, name), append(must, !strings.HasPrefix(f, "["))
		}
	}
	return names, must
}

// verbCommand is the command of a row of the verb table.
func (a *app) verbCommand(v engine.Verb) *cobra.Command {
	t := &act{app: a, verb: v}
	use := string(v.Name) + " PI..."
	var needed []string
	c := a.leaf(use, v.Help, piWords, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		pis, err := resolve(now, args)
		if err != nil {
			return err
		}
		return t.run(ctx, now, pis, strings.Join(args, " "))
	})
	f := c.Flags()
	names, must := wordsOf(v.Args)
	for i, name := range names {
		j := slices.IndexFunc(arguments, func(x argument) bool { return x.word == name })
		if j < 0 || f.Lookup(arguments[j].flag) != nil {
			continue
		}
		arg := arguments[j]
		f.StringVar(arg.into(t), arg.flag, "", arg.help)
		if arg.of != nil {
			a.completes(c, arg.flag, arg.of)
		}
		if must[i] {
			needed = append(needed, arg.flag)
			c.Use += " --" + arg.flag + " " + name
		} else {
			c.Use += " [--" + arg.flag + " " + name + "]"
		}
	}
	check := c.Args
	c.Args = func(cmd *cobra.Command, args []string) error {
		for _, n := range needed {
			if !cmd.Flags().Changed(n) {
				return usagef(cmd.CommandPath()+" --help", "%s needs --%s", cmd.CommandPath(), n)
			}
		}
		return check(cmd, args)
	}
	f.BoolVar(&t.yes, "yes", false, "do not ask; a name to type needs --confirm")
	f.StringVar(&t.confirm, "confirm", "", "the `TEXT` to type: the Pi's name, for several as \""+string(v.Name)+" 3\"")
	t.commonFlags(c)
	c.Long = a.verbHelp(v)
	return c
}

func (t *act) commonFlags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&t.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.StringVar(&t.reason, "reason", "", "why, for the audit: `TEXT`")
	f.BoolVar(&t.wait, "wait", false, "wait until the jobs end; status 1 if one does not succeed")
	f.DurationVar(&t.timeout, "timeout", 0, "with --wait: no longer than `TIME`, such as 5m")
}

// verbHelp tells what a verb is and what it asks.
func (a *app) verbHelp(v engine.Verb) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s\n\n", upperFirst(v.Help), targetHelp())
	fmt.Fprintf(&b, "For role %s and above.", v.Role)
	if v.Loses != "" {
		fmt.Fprintf(&b, " Takes away: %s.", v.Loses)
	}
	g := v.Guards
	if a.v != nil {
		g = a.v.Guards(v.Name)
	}
	free, rented := guardHelp(g.Free), guardHelp(g.Rented)
	switch {
	case free == rented && free == "":
		b.WriteString("\nIt is done without asking.")
	case free == rented:
		fmt.Fprintf(&b, "\nIt asks first; without a terminal it needs %s.", free)
	default:
		fmt.Fprintf(&b, "\nIt asks first; without a terminal a free Pi needs %s,\nand a rented one %s.", or(free, "nothing"), or(rented, "nothing"))
	}
	return b.String()
}

func guardHelp(g engine.Guard) string {
	switch g.Kind {
	case engine.GuardNone:
		return ""
	case engine.GuardName:
		return "--confirm TEXT"
	}
	return "--yes"
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// run carries the verb out on Pis that were named by said.
func (t *act) run(ctx context.Context, now *engine.Snapshot, pis []*engine.PiView, said string) error {
	if t.timeout != 0 && !t.wait {
		return usagef("", "--timeout goes with --wait")
	}
	if t.timeout < 0 {
		return usagef("", "--timeout %s: want a time above 0", t.timeout)
	}
	if err := t.command(now, pis); err != nil {
		return err
	}
	if len(pis) == 0 {
		return t.nobody(said)
	}
	t.sort(now, pis)
	if t.dryRun {
		return t.tell(now)
	}
	// Whether the role allows it is the engine's to say; nobody is asked to
	// confirm what will be refused.
	if t.s.Actor.Role >= t.verb.Role && len(t.pis) > 0 {
		if err := t.pass(now); err != nil {
			return err
		}
	}
	return t.send(ctx, now)
}

// nobody is what to say of a set with nobody in it: there is nothing to do, and
// that is done.
func (t *act) nobody(said string) error {
	if t.json {
		return t.emit(actJSON{Version: schemaVersion, Verb: string(t.verb.Name), DryRun: t.dryRun})
	}
	t.printf("%s: nothing to do, %s is nobody just now\n", t.verb.Name, clip(said))
	return nil
}

// command fills in what is asked of the engine, but for who passed which guard.
func (t *act) command(now *engine.Snapshot, pis []*engine.PiView) error {
	t.cmd = engine.Command{Verb: t.verb.Name, Actor: t.s.Actor, Image: t.image, Reason: t.reason}
	if t.image != "" && !slices.Contains(imageNames(now), t.image) {
		return usagef(or(meant(t.image, imageNames(now)), "picloud image list"), "there is no image %q", clip(t.image))
	}
	if t.to != "" {
		to, err := resolve(now, []string{t.to})
		switch {
		case err != nil:
			return err
		case len(to) != 1:
			return usagef("", "--to %s: want one Pi, not %d", clip(t.to), len(to))
		case len(pis) > 1:
			return usagef("leave --to out, and spare Pis are taken", "%d Pis cannot go to one", len(pis))
		}
		t.cmd.To = to[0].Name
	}
	if t.size != "" {
		return t.sizeOf(pis)
	}
	return nil
}

// sizeOf makes the one size of the command out of what was asked.
func (t *act) sizeOf(pis []*engine.PiView) error {
	want, err := parseSize(t.size)
	if err != nil {
		return usagef("--size 20G", "--size: %w", err)
	}
	t.cmd.Size = want.bytes
	if !want.more {
		return nil
	}
	for i, p := range pis {
		has := p.RootVolume.Use.Size
		switch {
		case has == 0:
			return usagef("say the whole size, such as --size 20G", "--size %s: the present size of %s is not known", clip(t.size), p.Name)
		case has > maxSize || want.bytes > maxSize-has:
			return usagef("", "--size %s: that is more than 1000T", clip(t.size))
		case i > 0 && has != pis[0].RootVolume.Use.Size:
			return usagef("say the whole size, or name those of one size", "--size %s: %s and %s differ in size", clip(t.size), pis[0].Name, p.Name)
		}
		t.cmd.Size = has + want.bytes
	}
	return nil
}

// sort tells those the verb can be used on now from those it cannot, and finds
// the strongest guard.
func (t *act) sort(now *engine.Snapshot, pis []*engine.PiView) {
	guards := t.v.Guards(t.verb.Name)
	for _, p := range pis {
		if why := t.refuse(now, p); why != "" {
			t.left = append(t.left, refusal{p.Name, fmt.Errorf("%w: %s", engine.ErrNotNow, why)})
			continue
		}
		t.pis = append(t.pis, p)
		t.cmd.Targets = append(t.cmd.Targets, engine.Target{Pi: p.Name, Gen: p.Gen})
		if g := guards.For(p); g.Kind > t.guard.Kind {
			t.guard = g
		}
	}
}

// refuse says early what the engine would say: it looks again.
func (t *act) refuse(now *engine.Snapshot, p *engine.PiView) string {
	if t.verb.Refuse != nil {
		if why := t.verb.Refuse(p); why != "" {
			return why
		}
	}
	switch t.verb.Name {
	case engine.VerbReimage:
		if image := cmp.Or(t.image, p.Image); !slices.Contains(imageNames(now), image) {
			return fmt.Sprintf("the configuration has no image %q", clean(image))
		}
	case engine.VerbMove:
		if to, ok := now.Pi(t.cmd.To); ok {
			return refuseMove(p, to)
		}
	case engine.VerbResize:
		if has := p.RootVolume.Use.Size; t.cmd.Size < has {
			return "its root has " + bytesOf(has) + " and cannot shrink"
		}
	}
	return ""
}

// refuseMove says why no server can go to a Pi.
func refuseMove(p, to *engine.PiView) string {
	switch name := clean(string(to.Name)); {
	case p.Name == to.Name:
		return "its server is here already"
	case to.Server != "":
		return "not to " + name + ": it has a server, " + clean(to.Server)
	case to.Life != engine.LifeReady:
		return fmt.Sprintf("not to %s: it is %s, not ready", name, to.Life)
	case to.Job != nil:
		return fmt.Sprintf("not to %s: job %d (%s) is not over", name, to.Job.ID, to.Job.Verb)
	case to.Power == engine.PowerUnknown:
		return fmt.Sprintf("not to %s: switch %s does not answer", name, clean(to.Port.Switch))
	}
	return ""
}

// what is the verb with what it is given: "move to a3-005".
func (t *act) what() string {
	s := string(t.verb.Name)
	switch {
	case t.cmd.To != "":
		s += " to " + clean(string(t.cmd.To))
	case t.verb.Name == engine.VerbMove:
		s += " to a spare Pi"
	case t.cmd.Image != "":
		s += " from " + clean(t.cmd.Image)
	case t.cmd.Size != 0:
		s += " to " + bytesOf(t.cmd.Size)
	}
	return s
}

// send gives the command to the engine and tells what became of it.
func (t *act) send(ctx context.Context, now *engine.Snapshot) error {
	var res engine.Result
	// With nobody left the engine is only asked if it is the role that is wrong.
	if len(t.pis) > 0 || t.s.Actor.Role < t.verb.Role {
		var err error
		sending, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		if res, err = t.v.Do(sending, t.cmd); err != nil {
			return err
		}
	}
	sent := time.Now()
	for _, r := range res.Refused {
		t.left = append(t.left, refusal{r.Pi, r.Why})
	}
	waits := t.wait && slices.ContainsFunc(res.Accepted, func(a engine.Accepted) bool { return a.Job != 0 })
	if !t.json {
		t.tellAccepted(now, res.Accepted)
		t.tellLeft(now)
	}
	var ended []engine.JobView
	var waitErr error
	if waits {
		ended, waitErr = t.await(ctx, jobsOf(res.Accepted), nil, t.timeout)
	} else if len(res.Accepted) > 0 {
		t.settle(ctx, sent)
	}
	if t.json {
		if err := t.emit(t.resultJSON(now, res.Accepted, ended)); err != nil {
			return err
		}
	}
	failed := slices.ContainsFunc(ended, func(j engine.JobView) bool { return j.State != engine.JobDone })
	switch {
	case waitErr != nil:
		return waitErr
	case len(t.left) > 0 || failed:
		return errTold()
	}
	return nil
}

func jobsOf(accepted []engine.Accepted) []int64 {
	var ids []int64
	for _, a := range accepted {
		if a.Job != 0 {
			ids = append(ids, a.Job)
		}
	}
	return ids
}

// settle waits until snapshots show what was accepted, so that a script's next
// command sees what this one did.
func (a *app) settle(ctx context.Context, sent time.Time) {
	const longest = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	feed, stop := a.v.Subscribe()
	defer stop()
	for {
		select {
		case s := <-feed:
			if s == nil || s.At.After(sent) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (t *act) tellAccepted(now *engine.Snapshot, accepted []engine.Accepted) {
	for _, acc := range accepted {
		what := "done"
		if acc.Job != 0 {
			what = fmt.Sprintf("job %d", acc.Job)
		}
		port := ""
		if p, ok := now.Pi(acc.Pi); ok {
			port = "  " + p.Port.String()
		}
		t.printf("%s  %s%s  %s\n", t.verb.Name, clean(string(acc.Pi)), clean(port), what)
	}
}

// tellLeft lists who was left alone, with what to do about it.
func (t *act) tellLeft(now *engine.Snapshot) {
	news := t.left[t.told:]
	t.told = len(t.left)
	for _, r := range news {
		fmt.Fprintf(t.err, "%s  %s  refused: %s\n", t.verb.Name, clean(string(r.pi)), clean(r.err.Error()))
	}
	if len(news) > 0 {
		t.hint(leftHint(now, news[0]))
	}
}

// leftHint is what to do about one that was left alone.
func leftHint(now *engine.Snapshot, r refusal) string {
	p, ok := now.Pi(r.pi)
	switch {
	case !errors.Is(r.err, engine.ErrNotNow):
		return hintFor(r.err)
	case ok && p.Job != nil:
		return fmt.Sprintf("picloud job wait %d, or picloud pi cancel %s", p.Job.ID, r.pi)
	case ok && p.Power == engine.PowerUnknown:
		return "picloud switch show " + p.Port.Switch
	case ok && p.Life == engine.LifeBroken:
		return "picloud pi ready " + string(r.pi)
	}
	return "picloud pi show " + string(r.pi)
}

// tell is the dry run.
func (t *act) tell(now *engine.Snapshot) error {
	role := ""
	if t.s.Actor.Role < t.verb.Role {
		role = fmt.Sprintf("your role (%s) may not: it needs %s", t.s.Actor.Role, t.verb.Role)
	}
	switch {
	case t.json:
		if err := t.emit(t.dryRunJSON(role)); err != nil {
			return err
		}
	default:
		t.tellDryRun(now, role)
	}
	if role != "" || len(t.left) > 0 {
		return errTold()
	}
	return nil
}

func (t *act) tellDryRun(now *engine.Snapshot, role string) {
	t.printf("%s: nothing is done; this is a dry run\n", t.verb.Name)
	if len(t.pis) > 0 {
		tab := table{cols: []column{{title: "WOULD"}, {title: "PI"}, {title: "PORT"}, {title: "STAGE"}, {title: "SERVER", least: 6}, {title: "ASKS"}}}
		guards := t.v.Guards(t.verb.Name)
		for _, p := range t.pis {
			tab.row(t.what(), string(p.Name), p.Port.String(), stageCell(p), or(p.Server, "-"), guards.For(p).Kind.String())
		}
		t.print(&tab)
		if t.verb.Loses != "" {
			t.printf("takes away: %s\n", t.verb.Loses)
		}
		if need := t.needs(); need != "" {
			t.printf("without a terminal it needs %s\n", need)
		}
	}
	if role != "" {
		fmt.Fprintln(t.err, "picloud:", role)
	}
	t.tellLeft(now)
}

// needs is the flag that passes the guard without a terminal.
func (t *act) needs() string {
	switch t.guard.Kind {
	case engine.GuardNone:
		return ""
	case engine.GuardName:
		return "--confirm " + quoted(t.text())
	}
	return "--yes"
}

// text is what has to be typed for a guard by name.
func (t *act) text() string { return engine.GuardText(t.verb.Name, t.cmd.Targets) }

// quoted is a word for a shell.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
