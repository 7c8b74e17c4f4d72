package tui

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/bubbles/v2/textinput"
	"github.com/charmbracelet/x/ansi"

	"picloud/engine"
)

// fillPanel makes the lines above the keys: a question, a line of input, the
// result of the last act, or a word on the selected Pi.
func (m *Model) fillPanel() {
	m.cursor.x = -1
	m.panel = m.panel[:0]
	switch {
	case m.pending != nil:
		m.askPanel(m.pending)
	case m.mode == modeFilter:
		m.inputLine("/", m.filter.wrong)
	case m.mode == modeCommand:
		m.inputLine(":", m.inputOn)
	case m.mode == modeArg:
		m.argPanel()
	case m.mode == modeSort:
		m.panel = append(m.panel, m.sortLine())
	case m.flash.text != "":
		m.panel = m.wrapped(m.panel, nil, m.flash.st, m.flash.text)
	case m.place() == inJobs:
		m.jobPanel()
	case m.place() == inAudit:
		m.auditPanel()
	default:
		m.panel = append(m.panel, m.summary())
	}
}

// jobPanel tells what the selected job does, whose it is, why it waits, or why it
// failed.
func (m *Model) jobPanel() {
	j := m.jobs.selected(m.shown.Jobs)
	if j == nil {
		return
	}
	st, text := plain, ""
	switch {
	case j.Error != "":
		st, text = bad, j.Error
	case j.State == engine.JobQueued && j.Waits != "":
		text = "it waits: " + j.Waits
	case j.To != "":
		text = fmt.Sprintf("%s from %s to %s", j.Verb, j.Pi, j.To)
	case j.Server != "":
		text = fmt.Sprintf("%s on %s, by %s", j.Verb, j.Pi, j.Actor)
	default:
		return
	}
	if j.Server != "" {
		text = serverOf(j.Server, j.Owner) + ": " + text
	}
	m.panel = m.wrapped(m.panel, textLine{{st, fmt.Sprintf("job %d: ", j.ID)}}, plain, text)
}

// serverOf names a server and who has it: "web1 of acme".
func serverOf(server, owner string) string {
	if owner == "" {
		return server
	}
	return server + " of " + owner
}

// panelLines bounds how many lines one text of the panel may take.
const panelLines = 4

// wrapped adds a text after a lead, as many lines as it needs up to panelLines;
// the last one is cut.
func (m *Model) wrapped(to []textLine, lead textLine, st style, text string) []textLine {
	indent := 1
	for _, s := range lead {
		indent += ansi.StringWidth(s.s)
	}
	for i, l := range wrapMax(m.clean(text), max(m.lay.w-indent-1, 8), panelLines) {
		line := append(textLine{{plain, " "}}, lead...)
		if i > 0 {
			line = textLine{{plain, strings.Repeat(" ", indent)}}
		}
		to = append(to, append(line, span{st, l}))
	}
	return to
}

// inputLine shows what is typed; before it, if need be, what is wrong with it.
func (m *Model) inputLine(prompt, wrong string) {
	if wrong != "" {
		m.panel = m.wrapped(m.panel, nil, warn, wrong)
	}
	lead := ansi.StringWidth(prompt)
	before, value, x := inputText(&m.input, max(m.lay.w-lead-3, 1))
	m.panel = append(m.panel, textLine{{strong, " " + prompt}, {plain, before + value}})
	m.cursor.x, m.cursor.y = 1+lead+x, len(m.panel)-1
}

// inputText is what is visible of a line of input, split at the cursor's
// column x.
func inputText(in *textinput.Model, width int) (before, after string, x int) {
	r := []rune(in.Value())
	pos := min(in.Position(), len(r))
	before, after = clean(string(r[:pos]), false), clean(string(r[pos:]), false)
	if n := ansi.StringWidth(before); n > width {
		before = ansi.TruncateLeft(before, n-width, "")
	}
	return before, after, ansi.StringWidth(before)
}

func (m *Model) sortLine() textLine {
	l := textLine{{strong, " sort:"}}
	for i, o := range orderings {
		st := plain
		if i == m.order {
			st = strong
		}
		l = append(l, span{plain, "  "}, span{strong, o.key}, span{st, " " + o.name})
	}
	if m.lay.w < nameWidth {
		return l
	}
	return append(l, span{quiet, "  (again: backwards)"})
}

// askPanel names what a running guard would do, to whom, and what is lost.
func (m *Model) askPanel(p *pending) {
	left := p.left(m.now)
	head := fmt.Sprintf(" %s: %d s to answer ", p.verb.Name, left)
	if p.guard.Kind == engine.GuardCountdown {
		head = fmt.Sprintf(" %s in %d s ", p.verb.Name, left)
	}
	m.panel = append(m.panel, textLine{{ask, head}})
	m.panel = append(m.panel, m.askWhat(p, m.lay.h-4-2)...)
	m.askAnswer(p)
}

// askWhat tells whom the act is for, what goes where and what is lost, in at
// most so many lines: where there is no room only the first of these are
// wrapped, and the others cut at the end of the line.
func (m *Model) askWhat(p *pending, room int) []textLine {
	type item struct {
		rank       int // in which order they may wrap
		lead       textLine
		st         style
		text       string
		cut, whole []textLine
	}
	items := []item{{rank: 0, st: strong, text: m.goes(p)}, {rank: 3, lead: textLine{{plain, "left out: "}}, text: p.leftOut},
		{rank: 2, lead: textLine{{plain, "loses "}}, text: m.loses(p)}}
	for _, s := range slices.Backward(m.askWho(p)) {
		items = slices.Insert(items, 0, item{rank: 1, st: strong, text: s})
	}
	items = slices.DeleteFunc(items, func(it item) bool { return it.text == "" })
	used := len(items)
	for i := range items {
		it := &items[i]
		it.whole = m.wrapped(nil, it.lead, it.st, it.text)
		it.cut = []textLine{append(append(textLine{{plain, " "}}, it.lead...), span{it.st, it.text})}
	}
	for rank := range 4 {
		for i := range items {
			if more := len(items[i].whole) - 1; items[i].rank == rank && used+more <= room {
				items[i].cut, used = items[i].whole, used+more
			}
		}
	}
	var lines []textLine
	for _, it := range items {
		lines = append(lines, it.cut...)
	}
	return lines[:min(len(lines), max(room, 0))]
}

func (m *Model) loses(p *pending) string {
	s := p.verb.Loses
	if p.args.image != "" {
		s += "; new root from " + p.args.image
	}
	return s
}

func (m *Model) askAnswer(p *pending) {
	switch p.guard.Kind {
	case engine.GuardCountdown:
		m.panel = append(m.panel, textLine{{strong, " any other key stops it"}})
	case engine.GuardYes:
		m.panel = append(m.panel, textLine{{strong, " y"}, {plain, " does it, any other key leaves it alone"}})
	default:
		before, after, x := inputText(&m.input, max(m.lay.w-len(p.want)-20, 1))
		lead := " type " + p.want + " and Enter: "
		m.panel = append(m.panel, textLine{{plain, " type "}, {strong, p.want}, {plain, " and Enter: "}, {strong, before + after}})
		m.cursor.x, m.cursor.y = len(lead)+x, len(m.panel)-1
	}
}

// askLines is how many lines may name targets.
const askLines = 2

// askWho names the targets with their ports, as far as there is room, and who
// has them.
func (m *Model) askWho(p *pending) []string {
	if len(p.targets) == 1 {
		if pi := m.piIn(m.snap, p.targets[0].Pi); pi != nil {
			return []string{m.clean(fmt.Sprintf("%s at %s, %s: %s", pi.Name, pi.Port, nowWord(pi), whose(pi)))}
		}
	}
	var names []string
	rented := 0
	for _, t := range p.targets {
		pi := m.piIn(m.snap, t.Pi)
		if pi == nil {
			continue
		}
		if pi.Server != "" {
			rented++
		}
		names = append(names, m.clean(fmt.Sprintf("%s %s", pi.Name, pi.Port)))
	}
	head := fmt.Sprintf("%d Pis, %d of them rented:", len(p.targets), rented)
	if rented == 0 {
		head = fmt.Sprintf("%d Pis, none rented:", len(p.targets))
	}
	return nameThem(head, names, max(m.lay.w-2, 20), askLines)
}

// nameThem lists names after a head in so many lines, and how many more there
// are. No name is cut: the beginning of one may be the name of another.
func nameThem(head string, names []string, width, rows int) []string {
	for n := min(len(names), rows*width/6); ; n-- {
		items := append([]string{head}, names[:n]...)
		for i := 1; i < len(items)-1; i++ {
			items[i] += ","
		}
		if n < len(names) {
			items = append(items, fmt.Sprintf("and %d more", len(names)-n))
		}
		if lines := fill(items, width); len(lines) <= rows || n == 0 {
			return lines
		}
	}
}

func (m *Model) clean(s string) string { return clean(s, m.canvas.ascii) }

func whose(pi *engine.PiView) string {
	if pi.Server == "" {
		return "nobody has it"
	}
	return "server " + serverOf(pi.Server, pi.Owner)
}

// summary is a word on the selected Pi, or what is wrong with the service
// where there is no legend to say it.
func (m *Model) summary() textLine {
	if m.lay.h < fullHeight && len(m.shown.Warnings) > 0 {
		return m.warningLine()
	}
	if m.view == viewJobs && m.detail == nil {
		return nil // see jobPanel
	}
	p := m.pi(m.sel)
	if p == nil {
		return nil
	}
	who := span{strong, " " + string(p.Name) + " "}
	switch {
	case p.Stage == engine.StageStalled && p.Diagnosis.Cause != "":
		return textLine{who, {bad, "stalled in " + p.LastStage.String() + ": "}, {plain, p.Diagnosis.Cause}}
	case p.Stage == engine.StageStalled:
		return textLine{who, {bad, "stalled in " + p.LastStage.String()}}
	case p.Stage == engine.StageUnknown:
		return textLine{who, {warn, "unknown: switch " + p.Port.Switch + " does not answer"}}
	case p.ExportErr != "":
		return textLine{who, {bad, "its root is not exported: "}, {plain, p.ExportErr}}
	case p.Exam:
		return textLine{who, {busy, "under examination: "}, {plain, "it runs a small system in memory that reports"}}
	case p.Rescue:
		return textLine{who, {warn, "in rescue: "}, {plain, "it boots a small system in memory; :unrescue ends it"}}
	case p.SeenIs != "":
		return textLine{who, {warn, fmt.Sprintf("the board of %s was heard here: ", p.SeenIs)}, {plain, "moved? :adopt takes it"}}
	case p.Seen != nil:
		return textLine{who, {warn, "another board was heard: "}, {plain, seenBoard(p.Seen) + "; swapped? :adopt takes it"}}
	case p.Life == engine.LifeBroken:
		return textLine{who, {strong, "broken: "}, {plain, p.Note}}
	case p.Life == engine.LifeReleasing && p.Job == nil:
		return textLine{who, {busy, "releasing: "}, {plain, "its server was given back; what is left to do is tried again"}}
	}
	return nil
}

// warningLine tells what is wrong with the service itself.
func (m *Model) warningLine() textLine {
	w := m.shown.Warnings
	l := textLine{{bad, " service: "}, {plain, w[0]}}
	if len(w) > 1 {
		l = append(l, span{plain, fmt.Sprintf(" (and %d more; ? shows all)", len(w)-1)})
	}
	return l
}

// hint is a key with a word for the footer.
type hint struct {
	first int // the lower, the longer it stays
	key   string
	word  string
	st    style
}

// fillHints makes the last line: the keys of this place that fit, and who acts.
func (m *Model) fillHints() {
	who, whoSt := m.whoLine()
	room := m.lay.w - len(who) - 1 // the last gap is the one before who
	all := m.hintsHere()
	for hintsWidth(all) > room && len(all) > 0 {
		worst := 0
		for i := range all {
			if all[i].first >= all[worst].first {
				worst = i
			}
		}
		all = append(all[:worst], all[worst+1:]...)
	}
	m.hints = append(m.hints[:0], span{plain, " "})
	for _, h := range all {
		m.hints = append(m.hints, span{strong, h.key}, span{h.st, " " + h.word + "  "})
	}
	pad := max(m.lay.w-1-hintsWidth(all)-len(who)-1, 0)
	m.hints = append(m.hints, span{plain, strings.Repeat(" ", pad)}, span{whoSt, who})
}

func (m *Model) whoLine() (string, style) {
	name := clip(clean(m.opts.Actor.Name, true))
	if m.opts.ReadOnly || m.idle || m.opts.Actor.Role < engine.RoleOperator {
		return name + " RO", warn
	}
	return name + " RW", plain
}

func hintsWidth(hints []hint) int {
	n := 0
	for _, h := range hints {
		n += len(h.key) + len(h.word) + 3
	}
	return n
}

// How much sooner hints go when there is no room: on the page of one Pi those
// for verbs that it cannot have, in lists those after the first few of the
// table of verbs.
const (
	unusable = 10
	seldom   = 10
	everyday = 4
)

// hintsHere are the footer's keys in this place, verbs first. A verb that
// cannot be used on the selected Pi stays where it is, but quiet; the help says
// why.
func (m *Model) hintsHere() []hint {
	var out []hint
	at := m.place()
	if at == inTable || at == inFace || at == inDetail || at == inJobs {
		for i, v := range engine.Verbs() {
			if v.Key == "" || at == inJobs && v.Name != engine.VerbCancel || at != inJobs && v.Name == engine.VerbCancel {
				continue
			}
			if v.Name == engine.VerbUndo && at != inDetail {
				continue // it is in the help, and in the reimage's own line
			}
			h := hint{1 + i/2, v.Key, string(v.Name), plain}
			if m.readOnly(v) != "" || m.cannot(v) != "" {
				h.st = quiet
				if at == inDetail {
					h.first += unusable
				}
			}
			if at != inDetail && i >= everyday {
				h.first += seldom
			}
			out = append(out, h)
		}
	}
	if m.idle && !m.opts.ReadOnly {
		out = []hint{{0, "r", "act again", plain}}
	}
	for _, b := range m.bindings {
		if b.hint != "" && b.where&at != 0 {
			out = append(out, hint{b.first, b.label, b.hint, plain})
		}
	}
	return out
}

// cannot says why a verb cannot be used on the Pi that a key would act on.
func (m *Model) cannot(v engine.Verb) string {
	name := m.sel
	switch {
	case m.detail != nil:
		name = m.detail.pi
	case m.place() == inJobs:
		j := m.jobs.selected(m.shown.Jobs)
		if j == nil {
			return "no job is selected"
		}
		name = j.Pi
	case len(m.marks) > 0:
		return ""
	}
	p := m.pi(name)
	if p == nil {
		return "no Pi is selected"
	}
	return m.refusal(v, p)
}
