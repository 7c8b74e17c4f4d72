package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// piGroup is what can be done with Pis: what is seen of them, and a command
// for every row of the engine's verb table.
func (a *app) piGroup() *cobra.Command {
	g := a.group("pi", "the Pis: see them and act on them", "")
	list := a.leaf("list [PI...]", "list Pis, all or those named", anyPiWords, a.piList)
	list.Long = "List Pis, all or those named.\n\n" + targetHelp() + stageLegend()
	show := a.leaf("show PI...", "tell all that is known of Pis, and why one is stuck", piWords, a.piShow)
	show.Long = "Tell all that is known of Pis: stage, power, board, root, and the timeline of\nthe boot, with the reason and what to do if it is stuck.\n\n" +
		targetHelp()
	g.AddCommand(list, show)
	for _, v := range engine.Verbs() {
		g.AddCommand(a.verbCommand(v))
	}
	return g
}

func stageLegend() string {
	var b strings.Builder
	b.WriteString("\n\nStages:\n")
	for _, s := range allStages() {
		fmt.Fprintf(&b, "  %c %-8s %s\n", s.Mark(), s, s.Meaning())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// chosen are the Pis that were named, all if none were.
func chosen(now *engine.Snapshot, args []string) ([]*engine.PiView, error) {
	if len(args) == 0 {
		return where(now, func(*engine.PiView) bool { return true }), nil
	}
	return resolve(now, args)
}

func (a *app) piList(_ context.Context, now *engine.Snapshot, args []string) error {
	pis, err := chosen(now, args)
	if err != nil {
		return err
	}
	if a.json {
		out := pisJSON{schemaVersion, make([]piJSON, len(pis))}
		for i, p := range pis {
			out.Pis[i] = piOut(p)
			if out.Pis[i].Boot != nil {
				out.Pis[i].Boot.Events = nil
			}
		}
		return a.emit(out)
	}
	t := table{cols: []column{
		{title: "PI"}, {title: "PORT", rank: 1}, {title: "PWR", right: true, rank: 6}, {title: "W", right: true, rank: 8},
		{title: "STAGE"}, {title: "AGE", right: true, rank: 2}, {title: "LIFE", rank: 7}, {title: "OWNER", rank: 5, least: 5},
		{title: "IMAGE", rank: 9, least: 8}, {title: "SERVER", rank: 10, least: 6}, {title: "MODEL", rank: 11}, {title: "ADDRESS", rank: 12},
		{title: "MAC", rank: 14}, {title: "SERIAL", rank: 13}, {title: "ROOT", rank: 15}, {title: "NOTE", rank: 4, least: 32},
	}}
	for _, p := range pis {
		t.row(string(p.Name), p.Port.String(), p.Power.String(), wattsText(p), stageCell(p), ago(now.At, p.Since), string(p.Life),
			p.Owner, p.Image, p.Server, string(p.Model), addrText(p), p.MAC.String(), serialText(p.Serial), p.Root, noteOf(p))
	}
	a.print(&t)
	return nil
}

func wattsText(p *engine.PiView) string {
	switch {
	case p.Power == engine.PowerUnknown:
		return "?"
	case !p.HasWatts:
		return "-"
	}
	return watts(p.Milliwatts)
}

func addrText(p *engine.PiView) string {
	if !p.Addr.IsValid() {
		return ""
	}
	return p.Addr.String()
}

// stageText is a Pi's stage as its mark and a word: ". up", "! stalled tftp".
func stageText(p *engine.PiView) string {
	s := string(p.Stage.Mark()) + " " + p.Stage.String()
	switch {
	case p.Life == engine.LifeBroken && !p.Stage.Booting():
		return "# broken"
	case p.Stage == engine.StageStalled:
		return s + " " + p.LastStage.String()
	}
	return s
}

func stageCell(p *engine.PiView) cell {
	l := plain
	switch {
	case p.Stage == engine.StageStalled:
		l = bad
	case p.Stage == engine.StageUnknown || p.Life == engine.LifeBroken:
		l = warn
	case p.Stage == engine.StageUp:
		l = good
	case p.Stage.Booting():
		l = busy
	}
	return cell{stageText(p), l}
}

// noteOf is what somebody should know of a Pi: its job, or what is wrong.
func noteOf(p *engine.PiView) string {
	switch {
	case p.Job != nil:
		return fmt.Sprintf("job %d: %s %s", p.Job.ID, p.Job.Verb, stepText(p.Job))
	case p.Life == engine.LifeBroken:
		return p.Note
	case p.Stage == engine.StageStalled:
		return p.Diagnosis.Cause
	case p.SeenIs != "":
		return fmt.Sprintf("the board of %s was heard here: moved?", p.SeenIs)
	case p.Seen != nil:
		return "another board was heard: " + p.Seen.MAC.String()
	case p.Stage == engine.StageUnknown:
		return "switch " + p.Port.Switch + " does not answer"
	case p.ExportErr != "":
		return "root not exported: " + p.ExportErr
	case p.Exam:
		return "under examination"
	case p.Rescue:
		return "rescue system"
	}
	return ""
}

func (a *app) piShow(ctx context.Context, now *engine.Snapshot, args []string) error {
	pis, err := resolve(now, args)
	if err != nil {
		return err
	}
	if a.json {
		out := pisJSON{schemaVersion, make([]piJSON, len(pis))}
		for i, p := range pis {
			out.Pis[i] = piOut(p)
		}
		return a.emit(out)
	}
	for i, p := range pis {
		if i > 0 {
			a.printf("\n")
		}
		a.showPi(now, p)
	}
	return nil
}

// page prints named facts, each wrapped under itself.
type page struct {
	*app
	b strings.Builder
}

const labelWidth = 9

func (g *page) title(parts ...string) {
	g.b.WriteString(painted(clean(strings.Join(parts, "  ")), head, g.color()))
	g.b.WriteByte('\n')
}

func (g *page) fact(name, text string) { g.hang(fmt.Sprintf("  %-*s", labelWidth, name), text, plain) }

func (g *page) hang(lead, text string, l look) {
	width := 0
	if g.s.Width > 0 {
		width = max(g.s.Width-columns(lead), 20)
	}
	for i, line := range wrap(clean(text), width) {
		if i > 0 {
			lead = strings.Repeat(" ", columns(lead))
		}
		g.b.WriteString(strings.TrimRight(lead+painted(line, l, g.color()), " "))
		g.b.WriteByte('\n')
	}
}

func (g *page) flush() { g.printf("%s", g.b.String()) }

func (a *app) showPi(now *engine.Snapshot, p *engine.PiView) {
	g := &page{app: a}
	g.title(string(p.Name), p.Port.String())
	g.hang(fmt.Sprintf("  %-*s", labelWidth, "stage"), stageFact(now, p), stageCell(p).look)
	if p.Stage == engine.StageStalled && p.Diagnosis.Cause != "" {
		g.fact("stuck", p.Diagnosis.Cause+" ("+p.Diagnosis.Fault+")")
		if p.Diagnosis.Hint != "" {
			g.fact("do", p.Diagnosis.Hint)
		}
	}
	g.fact("power", powerFact(now, p))
	g.fact("life", lifeFact(p))
	g.fact("board", boardFact(p))
	if p.SeenIs != "" {
		g.fact("heard", fmt.Sprintf("the board of %s, %s, %s ago: moved here? picloud pi adopt %s takes it as this Pi",
			p.SeenIs, p.Seen.MAC, ago(now.At, p.SeenAt), p.Name))
	} else if p.Seen != nil {
		g.fact("heard", fmt.Sprintf("another board, Pi %s %s, %s ago; picloud pi adopt %s takes it as this Pi",
			or(string(p.Seen.Model), "of unknown model"), p.Seen.MAC, ago(now.At, p.SeenAt), p.Name))
	}
	g.fact("network", networkFact(p))
	g.roots(now, p)
	g.fact("nfs", nfsFact(now, p))
	if p.Job != nil {
		g.fact("job", fmt.Sprintf("%d %s, %s, by %s", p.Job.ID, p.Job.Verb, jobProgress(p.Job), p.Job.Actor))
	}
	if p.Boot != nil {
		g.timeline(p.Boot)
	}
	g.flush()
}

func stageFact(now *engine.Snapshot, p *engine.PiView) string {
	s := stageText(p)
	if p.Life == engine.LifeBroken && !p.Stage.Booting() {
		s += ", " + p.Stage.String()
	}
	if !p.Since.IsZero() {
		s += " for " + ago(now.At, p.Since)
	}
	if p.Stage == engine.StageUnknown {
		s += ", was " + p.LastStage.String()
	}
	return s + ": " + p.Stage.Meaning()
}

// fresh is how old news may be before it is told how old they are.
const fresh = 10 * time.Second

func told(now *engine.Snapshot, at time.Time) string {
	switch {
	case at.IsZero():
		return " (never told)"
	case now.At.Sub(at) <= fresh:
		return ""
	}
	return " (told " + ago(now.At, at) + " ago)"
}

func powerFact(now *engine.Snapshot, p *engine.PiView) string {
	s := powerWord(p.Power)
	if p.Power == engine.PowerSearching {
		s = "on, but nothing draws any"
	}
	if p.HasWatts && p.Power == engine.PowerOn {
		s += ", " + watts(p.Milliwatts) + " W"
	}
	if p.Power == engine.PowerOff && p.Wanted {
		s += ", should be on"
	} else if p.Power == engine.PowerOn && !p.Wanted {
		s += ", should be off"
	}
	if p.Link != "" {
		s += ", link " + p.Link
	}
	return s + told(now, p.PowerAt)
}

func lifeFact(p *engine.PiView) string {
	s := string(p.Life)
	switch {
	case p.Server == "":
		s += ", nobody has it"
	case p.Owner == "":
		s += ", server " + p.Server
	default:
		s += ", server " + p.Server + " of " + p.Owner
	}
	if p.Note != "" {
		s += ": " + p.Note
	}
	return s
}

func boardFact(p *engine.PiView) string {
	s := "Pi " + or(string(p.Model), "of unknown model")
	if p.Serial != 0 {
		s += ", serial " + serialText(p.Serial)
	}
	if mac := p.MAC.String(); mac != "" {
		s += ", " + mac
	}
	if p.Memory != 0 {
		s += fmt.Sprintf(", %d MB", p.Memory)
	}
	return s
}

func networkFact(p *engine.PiView) string {
	s := or(addrText(p), "no address")
	if p.Segment.Server.IsValid() {
		s += ", server " + p.Segment.Server.String()
	}
	if p.Segment.Interface != "" {
		s += " on " + p.Segment.Interface
	}
	return s
}

// roots tells of the root, the former one, and how they are exported.
func (g *page) roots(now *engine.Snapshot, p *engine.PiView) {
	s := "none: it gets no boot files"
	if p.Root != "" {
		s = p.Root
		if p.Image != "" {
			s += " from " + p.Image
		}
		s += useText(now, &p.RootVolume)
	}
	g.fact("root", s)
	if p.Former != "" {
		s := p.Former + useText(now, &p.FormerVolume) + "; picloud pi undo " + string(p.Name) + " brings it back"
		if !p.FormerUntil.IsZero() {
			s += ", until " + g.when(p.FormerUntil)
		}
		g.fact("former", s)
	}
	switch {
	case p.ExportErr != "":
		g.fact("export", "none: "+p.ExportErr)
	case p.Export != "":
		g.fact("export", p.Export)
	}
	keys := p.RootVolume.HostKeys
	if p.Exam {
		g.fact("exam", "under way: it runs a system in memory that reports; then it is ready, or broken")
	}
	if p.Rescue {
		g.fact("rescue", "it boots the rescue system; picloud pi unrescue "+string(p.Name)+" ends that")
		keys = p.RescueKeys
	}
	for _, k := range keys {
		g.fact("ssh key", k.Type+" "+k.Fingerprint)
	}
}

func useText(now *engine.Snapshot, v *engine.VolumeView) string {
	switch {
	case v.UseAt.IsZero():
		return ""
	case v.Use.Size > 0:
		return ", " + bytesOf(v.Use.Used) + " of " + bytesOf(v.Use.Size) + " used"
	}
	return ", " + bytesOf(v.Use.Used) + " used"
}

func nfsFact(now *engine.Snapshot, p *engine.PiView) string {
	n := p.NFS
	switch {
	case n.Refused != "":
		return "mount refused: " + n.Refused
	case p.NFSAt.IsZero():
		return "nothing seen"
	case !n.Connected:
		return "not connected, last seen " + ago(now.At, p.NFSAt) + " ago"
	}
	return fmt.Sprintf("connected, read %s, wrote %s, rtt %.1f ms, %s%s", bytesOf(int64(n.BytesOut)), bytesOf(int64(n.BytesIn)),
		n.RTT.Seconds()*1000, plural(int(n.Retransmits), "retransmit", "retransmits"), told(now, p.NFSAt))
}

// timeline tells a boot's evidence.
func (g *page) timeline(b *engine.Boot) {
	g.fact("boot", fmt.Sprintf("%d, %s", b.ID, g.bootText(b)))
	for _, e := range b.Events {
		g.hang(fmt.Sprintf("  %*s %-8s", labelWidth-1, plus(e.Time.Sub(b.Started)), e.Stage), e.Evidence, plain)
	}
}

// bootText says in a line how a boot went.
func (a *app) bootText(b *engine.Boot) string {
	s := a.when(b.Started)
	switch {
	case b.Cause != "":
		return s + ", stalled in " + b.Reached.String()
	case !b.Up.IsZero():
		return fmt.Sprintf("%s, up in %.1f s", s, b.Up.Sub(b.Started).Seconds())
	}
	return s + ", reached " + b.Reached.String()
}

// plus writes the time since a boot began.
func plus(d time.Duration) string {
	if d >= 1000*time.Second {
		return "+" + age(d)
	}
	return fmt.Sprintf("+%.1fs", d.Seconds())
}

// dryRunJSON is the dry run as an object.
func (t *act) dryRunJSON(role string) actJSON {
	out := t.actJSON()
	out.DryRun, out.Error = true, null(role)
	for _, p := range t.pis {
		out.Accepted = append(out.Accepted, acceptedJSON{Pi: string(p.Name), Port: p.Port.String()})
	}
	return out
}

// resultJSON is what became of an act as an object.
func (t *act) resultJSON(now *engine.Snapshot, accepted []engine.Accepted, ended []engine.JobView) actJSON {
	out := t.actJSON()
	for _, acc := range accepted {
		port := ""
		if p, ok := now.Pi(acc.Pi); ok {
			port = p.Port.String()
		}
		out.Accepted = append(out.Accepted, acceptedJSON{string(acc.Pi), port, null(acc.Job)})
	}
	for i := range ended {
		out.Jobs = append(out.Jobs, jobOut(&ended[i]))
	}
	return out
}

func (t *act) actJSON() actJSON {
	out := actJSON{
		Version: schemaVersion, Verb: string(t.verb.Name), DryRun: t.dryRun, Guard: t.guard.Kind.String(),
		Accepted: []acceptedJSON{}, Refused: []refusedJSON{}, Jobs: []jobJSON{},
	}
	if t.guard.Kind == engine.GuardName {
		out.Confirm = null(t.text())
	}
	for _, r := range t.left {
		out.Refused = append(out.Refused, refusedJSON{string(r.pi), refusalKind(r.err), r.err.Error()})
	}
	return out
}

// refusalKinds are the stable names of the engine's refusals.
var refusalKinds = []struct {
	is   error
	name string
}{
	{engine.ErrNotNow, "not-now"}, {engine.ErrStale, "stale"}, {engine.ErrGuard, "guard"},
	{engine.ErrNotAllowed, "not-allowed"}, {engine.ErrNoSuchPi, "no-such-pi"},
}

func refusalKind(err error) string {
	for _, k := range refusalKinds {
		if errors.Is(err, k.is) {
			return k.name
		}
	}
	return "other"
}
