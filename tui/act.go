package tui

import (
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// pending is a verb whose guard runs.
type pending struct {
	serial   int
	verb     engine.Verb
	guard    engine.Guard
	targets  []engine.Target
	args     args
	size     int64  // of resize, in bytes
	key      string // that started it, "" = a ":" line
	deadline time.Time
	want     string // what has to be typed for a GuardName
	leftOut  string // who was left out, and why
}

// readOnly says why this console may not act, "" = it may.
func (m *Model) readOnly(v engine.Verb) string {
	switch {
	case m.opts.ReadOnly:
		return "this console was opened read-only"
	case m.opts.Actor.Role < v.Role:
		return "your role (" + m.opts.Actor.Role.String() + ") may not"
	case m.idle:
		return "read-only after " + age(m.opts.Idle) + " without a key; r to act again"
	}
	return ""
}

// targets are the Pis that a verb's key acts on.
func (m *Model) targets() (names []engine.PiName, why string) {
	switch m.place() {
	case inDetail:
		return []engine.PiName{m.detail.pi}, ""
	case inJobs:
		if j := m.jobs.selected(m.shown.Jobs); j != nil {
			return []engine.PiName{j.Pi}, ""
		}
		return nil, "no job is selected"
	case inLog:
		return nil, "a log line is no selection; tab or 1 goes to the Pis"
	case inAudit:
		return nil, "an act of the past is no selection; 1 goes to the Pis"
	}
	if m.anchor != "" {
		m.rangeMark()
	}
	if len(m.marks) > 0 {
		if n := m.hiddenMarks(); n > 0 {
			return nil, fmt.Sprintf("%s not shown: esc drops the filter, and then the marks", plural(n, "marked Pi is", "marked Pis are"))
		}
		return m.marked(), ""
	}
	if m.sel == "" {
		return nil, "no Pi is selected"
	}
	return []engine.PiName{m.sel}, ""
}

// hiddenMarks counts the marked Pis that the filter hides: nobody acts on what
// they do not see.
func (m *Model) hiddenMarks() int {
	n := len(m.marked())
	for _, i := range m.rows {
		if m.marks[m.shown.Pis[i].Name] {
			n--
		}
	}
	return n
}

// marked are the marked Pis in the snapshot's order.
func (m *Model) marked() []engine.PiName {
	var names []engine.PiName
	for i := range m.shown.Pis {
		if n := m.shown.Pis[i].Name; m.marks[n] {
			names = append(names, n)
		}
	}
	return names
}

func (m *Model) scope() scope {
	here, _ := m.targets()
	sc := scope{snap: m.shown, marked: m.marked(), here: here}
	for _, i := range m.rows {
		sc.shown = append(sc.shown, m.shown.Pis[i].Name)
	}
	return sc
}

func (m *Model) verbKey(v engine.Verb, key string) tea.Cmd {
	names, why := m.targets()
	switch arg := argumentOf(v); {
	case why != "":
		m.say(warn, string(v.Name)+": "+why)
		return nil
	case arg.asks && (arg.targets != 1 || len(names) == 1):
		return m.ask(v, names)
	}
	return m.start(v, names, key, args{})
}

// start puts the verb's guard before its act.
func (m *Model) start(v engine.Verb, names []engine.PiName, key string, a args) tea.Cmd {
	p, why := m.propose(v, names, a)
	if why != "" {
		m.say(warn, why)
		return nil
	}
	p.key = key
	m.flash = flash{}
	return m.arm(p)
}

// propose makes an act with the strongest guard of its targets'. Pis that the
// verb cannot be used on now are left out and named; if that is all of them it
// says why.
func (m *Model) propose(v engine.Verb, names []engine.PiName, a args) (p *pending, why string) {
	if why := m.readOnly(v); why != "" {
		return nil, string(v.Name) + ": " + why
	}
	arg, sc := argumentOf(v), scope{snap: m.shown}
	if arg.closed != nil && arg.closed(sc) != "" {
		return nil, string(v.Name) + ": " + arg.closed(sc)
	}
	p = &pending{verb: v, args: a}
	guards := m.opts.Viewer.Guards(v.Name)
	for _, n := range names {
		pi := m.pi(n)
		why := "it is gone"
		if pi != nil {
			why = m.refusal(v, pi)
		}
		if why == "" && arg.refuse != nil && a != (args{}) {
			why = arg.refuse(a, pi, sc)
		}
		if why != "" {
			p.leaveOut(n, why)
			continue
		}
		p.targets = append(p.targets, engine.Target{Pi: n, Gen: pi.Gen})
		p.guard = stronger(p.guard, guards.For(pi))
	}
	switch {
	case len(p.targets) == 0:
		return nil, fmt.Sprintf("%s: not %s", v.Name, p.leftOut)
	case len(p.targets) > 1 && a.to != "":
		return nil, fmt.Sprintf("%s: %s cannot all go to %s; without it each goes to a spare", v.Name, p.who(), a.to)
	case len(p.targets) > 1 && a.size.more:
		return nil, fmt.Sprintf("%s: %s have sizes of their own: say a whole size, or one Pi", v.Name, p.who())
	}
	if a.size.bytes > 0 {
		p.size, _ = a.size.of(m.pi(p.targets[0].Pi))
	}
	return p, ""
}

// refusal says why a verb cannot be used on a Pi now, "" = it can.
func (m *Model) refusal(v engine.Verb, pi *engine.PiView) string {
	if newest := m.piIn(m.snap, pi.Name); newest == nil || newest.Gen != pi.Gen {
		return "it changed since the display was frozen; f thaws it"
	}
	if v.Refuse == nil {
		return ""
	}
	return v.Refuse(pi)
}

func (p *pending) leaveOut(n engine.PiName, why string) {
	if p.leftOut != "" {
		p.leftOut += "; "
	}
	if len(p.leftOut) < 300 {
		p.leftOut += string(n) + ": " + why
	}
}

// stronger is the stronger guard of two; of two count-downs the longer.
func stronger(a, b engine.Guard) engine.Guard {
	switch {
	case a.Kind != b.Kind && a.Kind > b.Kind, a.Kind == b.Kind && a.Delay >= b.Delay:
		return a
	}
	return b
}

// arm starts the guard, or acts at once if there is none.
func (m *Model) arm(p *pending) tea.Cmd {
	m.serial++
	p.serial = m.serial
	m.mode = modeKeys
	switch {
	case p.guard.Kind == engine.GuardNone, p.guard.Kind == engine.GuardCountdown && p.guard.Delay <= 0:
		return m.act(p, "")
	case p.guard.Kind == engine.GuardCountdown:
		p.deadline = m.now.Add(p.guard.Delay)
	case p.guard.Kind == engine.GuardName:
		p.want = string(p.targets[0].Pi)
		if len(p.targets) > 1 {
			p.want = fmt.Sprintf("%s %d", p.verb.Name, len(p.targets))
		}
		m.input.SetValue("")
		p.deadline = m.now.Add(answerTime)
	default:
		p.deadline = m.now.Add(answerTime)
	}
	m.pending = p
	return m.waitGuard()
}

// waitGuard waits until the guard's next full second, or its end.
func (m *Model) waitGuard() tea.Cmd {
	left := m.pending.deadline.Sub(m.now)
	next := left % time.Second
	if next <= 0 {
		next = min(left, time.Second)
	}
	return m.after(next, guardMsg{m.pending.serial})
}

// guardTick moves a guard's clock on; at its end a count-down acts and a
// question falls.
func (m *Model) guardTick(serial int) tea.Cmd {
	p := m.pending
	if p == nil || p.serial != serial {
		return nil // it was stopped, and perhaps another one started
	}
	if m.now.Before(p.deadline) {
		return m.waitGuard()
	}
	if p.guard.Kind != engine.GuardCountdown {
		m.disarm("no answer within " + age(answerTime))
		m.deafFor(lateDeaf) // who is still typing the name means no key by it
		return nil
	}
	m.deafFor(actedDeaf)
	return m.act(p, "")
}

// guardKey takes a key while a guard runs.
func (m *Model) guardKey(msg tea.KeyPressMsg, k string, deaf bool) tea.Cmd {
	p := m.pending
	switch p.guard.Kind {
	case engine.GuardCountdown:
		if k == p.key {
			return nil
		}
	case engine.GuardYes:
		if deaf && k == "y" {
			return nil
		}
		if k == "y" {
			m.deafFor(actedDeaf)
			return m.act(p, "")
		}
	case engine.GuardName:
		return m.nameKey(msg, k, deaf)
	}
	m.disarm("stopped")
	return nil
}

// nameKey takes a key of a typed confirmation.
func (m *Model) nameKey(msg tea.KeyPressMsg, k string, deaf bool) tea.Cmd {
	p := m.pending
	switch {
	case k == "enter" && m.input.Value() == p.want && !deaf:
		return m.act(p, p.want)
	case k == "enter":
		m.disarm(fmt.Sprintf("%q is not %q", clip(m.input.Value()), p.want))
	case deaf:
	case msg.Key().Text != "" || k == "backspace" || k == "delete" || k == "left" || k == "right" || k == "ctrl+u" || k == "ctrl+w":
		m.edit(msg)
		p.deadline = m.now.Add(answerTime)
	default:
		m.disarm("stopped")
	}
	return nil
}

// disarm drops the running guard: nothing is done.
func (m *Model) disarm(why string) {
	p := m.pending
	m.pending = nil
	m.say(warn, fmt.Sprintf("%s: %s; nothing was done to %s", p.verb.Name, why, p.who()))
}

// touches tells whether a Pi is a target or where one goes.
func (p *pending) touches(n engine.PiName) bool { return p.has(n) || n != "" && n == p.args.to }

// who names the targets shortly.
func (p *pending) who() string {
	if len(p.targets) == 1 {
		return string(p.targets[0].Pi)
	}
	return fmt.Sprintf("the %d Pis", len(p.targets))
}

// checkPending drops a guard whose Pi is no longer as it was when the key was
// pressed.
func (m *Model) checkPending() {
	if m.pending == nil {
		return
	}
	for _, t := range m.pending.targets {
		switch pi := m.piIn(m.snap, t.Pi); {
		case pi == nil:
			m.disarm(string(t.Pi) + " is gone")
			return
		case pi.Gen != t.Gen:
			m.disarm(fmt.Sprintf("%s changed meanwhile (now %s)", t.Pi, nowWord(pi)))
			return
		}
	}
	if to := m.pending.args.to; to != "" {
		if pi := m.piIn(m.snap, to); pi == nil {
			m.disarm(string(to) + " is gone")
		} else if why := cannotTake(pi); why != "" {
			m.disarm(string(to) + " cannot take it any more: " + why)
		}
	}
}

// nowWord says in a word what a Pi is doing.
func nowWord(pi *engine.PiView) string {
	if pi.Job != nil {
		return fmt.Sprintf("job %d, %s", pi.Job.ID, pi.Job.Verb)
	}
	return pi.Stage.String()
}

// act sends the command.
func (m *Model) act(p *pending, typed string) tea.Cmd {
	m.pending = nil
	text := fmt.Sprintf("%s %s: sent", p.verb.Name, p.who())
	if p.leftOut != "" {
		text += "; left out " + p.leftOut
	}
	m.say(plain, text)
	return m.send(engine.Command{
		Verb: p.verb.Name, Actor: m.opts.Actor, Targets: p.targets,
		Image: p.args.image, To: p.args.to, Size: p.size, Passed: p.guard.Kind, Typed: typed, Reason: p.args.reason,
	})
}

// done shows what the engine said.
func (m *Model) done(msg doneMsg) {
	for _, a := range msg.res.Accepted {
		if a.Job != 0 && len(m.mine) < maxMine {
			m.mine[a.Job] = true
		}
	}
	what := string(msg.verb)
	if msg.one != "" {
		what += " " + string(msg.one)
	}
	var said []string
	if n := len(msg.res.Accepted); n == 1 && msg.res.Accepted[0].Job != 0 {
		said = append(said, fmt.Sprintf("job %d", msg.res.Accepted[0].Job))
	} else if n == 1 {
		said = append(said, "done")
	} else if n > 1 {
		clear(m.marks) // done with: the next key means what the cursor is on
		m.fillRows()
		said = append(said, fmt.Sprintf("%d accepted", n))
	}
	st := plain
	if err := errors.Join(msg.err, refusedErr(msg.err, msg.res)); err != nil {
		st = bad
		said = append(said, "refused: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(said) == 0 {
		said = append(said, "nothing was done")
	}
	m.say(st, what+": "+strings.Join(said, "; "))
	m.followJobs() // it may be over already
}

// maxMine bounds how many jobs a console follows to their end.
const maxMine = 1000

// followJobs tells when a job failed that this console began: who pressed the
// key is still looking there, not at the log.
func (m *Model) followJobs() {
	if len(m.mine) == 0 {
		return
	}
	var failed []string
	for i := range m.snap.Jobs {
		j := &m.snap.Jobs[i]
		if !m.mine[j.ID] || !j.State.Ended() {
			continue
		}
		delete(m.mine, j.ID)
		if j.State == engine.JobFailed {
			failed = append(failed, fmt.Sprintf("%s %s failed: %s", j.Verb, j.Pi, j.Error))
		}
	}
	switch {
	case len(failed) == 1:
		m.say(bad, failed[0])
	case len(failed) > 1:
		m.say(bad, fmt.Sprintf("%s (and %d more failed; 3 shows the jobs)", failed[0], len(failed)-1))
	}
}

// refusedErr is the result's refusals, unless the error tells them already.
func refusedErr(err error, res engine.Result) error {
	if err != nil {
		return nil
	}
	return res.Err()
}
