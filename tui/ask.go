package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// asked is a verb whose argument is being typed, and the Pis that it is for.
type asked struct {
	verb  engine.Verb
	names []engine.PiName
}

// ask opens the line of input for a verb's argument, unless the verb cannot be
// used on any of the Pis anyway.
func (m *Model) ask(v engine.Verb, names []engine.PiName) tea.Cmd {
	if _, why := m.propose(v, names, args{}); why != "" {
		m.say(warn, why)
		return nil
	}
	m.flash = flash{}
	m.asked = asked{v, names}
	m.startInput(modeArg, "")
	return nil
}

// argKey edits the argument. What is wrong with it is said above it, and it
// stays there to be mended.
func (m *Model) argKey(msg tea.KeyPressMsg, k string) tea.Cmd {
	switch k {
	case "esc", "ctrl+c":
		m.mode = modeKeys
	case "tab":
		sc := m.scope()
		word, more := completeWord(m.input.Value(), argumentOf(m.asked.verb).options(sc, m.asked.names))
		m.startInput(modeArg, strings.TrimRight(word, " "))
		m.inputOn = strings.Join(more, " ")
	case "enter":
		return m.endAsk()
	case "backspace":
		if m.input.Value() == "" {
			m.mode = modeKeys
			return nil
		}
		fallthrough
	default:
		m.inputOn = ""
		m.edit(msg)
	}
	return nil
}

// endAsk takes the argument and goes on to the verb's guard.
func (m *Model) endAsk() tea.Cmd {
	a, err := m.typedArgs()
	if err != nil {
		m.inputOn = err.Error()
		return nil
	}
	p, why := m.propose(m.asked.verb, m.asked.names, a)
	if why != "" {
		m.inputOn = why
		return nil
	}
	return m.arm(p)
}

// typedArgs reads the argument as it stands.
func (m *Model) typedArgs() (args, error) {
	var a args
	arg := argumentOf(m.asked.verb)
	if toks := strings.Fields(m.input.Value()); len(toks) > 0 {
		err := arg.read(&a, toks, m.scope())
		return a, err
	}
	if arg.needed {
		return a, fmt.Errorf("say a size, such as 20G or +5G; esc leaves it")
	}
	return a, nil
}

// argPanel asks for the argument and helps to find it.
func (m *Model) argPanel() {
	q := m.asked
	if m.inputOn == "" {
		for _, s := range m.argHints() {
			m.panel = append(m.panel, textLine{{plain, " "}, {plain, s}})
		}
	}
	who := plural(len(q.names), "Pi", "Pis")
	if len(q.names) == 1 {
		who = string(q.names[0])
	}
	m.inputLine(m.clean(fmt.Sprintf("%s %s to: ", q.verb.Name, who)), m.inputOn)
}

func (m *Model) argHints() []string {
	if m.asked.verb.Name == engine.VerbResize {
		return wrap(m.clean(m.sizeHint()), max(m.lay.w-2, 20))
	}
	return m.spareHints()
}

// sizeHint tells what a root has, and what it would have.
func (m *Model) sizeHint() string {
	var has string
	p := m.pi(m.asked.names[0])
	if len(m.asked.names) == 1 && p != nil && !p.RootVolume.UseAt.IsZero() {
		has = fmt.Sprintf("%s: %s used%s; ", p.Name, roomOf(p.RootVolume.Use), m.old(p.RootVolume.UseAt))
	}
	a, err := m.typedArgs()
	if err != nil || p == nil {
		return has + "say 20G, or +5G for so much more"
	}
	if proposed, why := m.propose(m.asked.verb, m.asked.names, a); why == "" {
		return has + "it would have " + bytesIn(proposed.size, 3)
	} else {
		return why
	}
}

// spareHints names the Pis that pass what is typed as a filter and can take the
// server, and why the others cannot.
func (m *Model) spareHints() []string {
	f := parseFilter(m.input.Value(), m.shown.Switches)
	from := m.pi(m.asked.names[0])
	var can, others, not []string // others have a tag
	for i := range m.shown.Pis {
		p := &m.shown.Pis[i]
		if p == from || !f.match(p, m.marks[p.Name]) {
			continue
		}
		switch why, tag := cannotTake(p), spareTag(from, p); {
		case why != "":
			not = append(not, m.clean(fmt.Sprintf("%s (%s)", p.Name, why)))
		case tag != "":
			others = append(others, m.clean(fmt.Sprintf("%s (%s)", p.Name, tag)))
		default:
			can = append(can, m.clean(string(p.Name)))
		}
	}
	can = append(can, others...)
	width := max(m.lay.w-2, 20)
	var lines []string
	switch {
	case m.input.Value() == "" && len(can) == 0:
		lines = []string{"no Pi can take it now"}
	case m.input.Value() == "":
		lines = nameThem("Enter takes a spare; or one of", can, width, 1)
	case len(can) > 0:
		lines = nameThem("can:", can, width, 1)
	}
	if len(not) > 0 && (len(can) == 0 || m.input.Value() != "") {
		lines = append(lines, nameThem("cannot:", not, width, 1)...)
	}
	if len(lines) == 0 {
		lines = []string{"no Pi has that name, port or text"}
	}
	return lines
}

// spareTag says what speaks against a Pi that a server could go to: another
// model, on which its root never booted, or that it stalled.
func spareTag(from, to *engine.PiView) string {
	switch {
	case to.Stage == engine.StageStalled:
		return to.Stage.String()
	case from != nil && from.Model != to.Model:
		return orUnknown(string(to.Model))
	}
	return ""
}

// goes says what an act moves from where to where, "" = nothing moves.
func (m *Model) goes(p *pending) string {
	one := m.piIn(m.snap, p.targets[0].Pi)
	switch {
	case one == nil:
	case p.verb.Name == engine.VerbMove:
		what := "its server"
		if len(p.targets) > 1 {
			what = "each server"
		} else if one.Server != "" {
			what = "server " + one.Server
		}
		return fmt.Sprintf("moves %s%s to %s", what, m.movesFrom(p, one), m.movesTo(p))
	case p.size > 0 && len(p.targets) > 1:
		return "each root grows to " + bytesIn(p.size, 3)
	case p.size > 0 && one.RootVolume.Use.Size == 0:
		return "its root grows to " + bytesIn(p.size, 3)
	case p.size > 0:
		u := one.RootVolume.Use
		return fmt.Sprintf("its root grows from %s to %s (%s used)", bytesIn(u.Size, 3), bytesIn(p.size, 3), bytesIn(u.Used, 1))
	}
	return ""
}

func (m *Model) movesFrom(p *pending, one *engine.PiView) string {
	if len(p.targets) > 1 {
		return ""
	}
	return " from " + string(one.Name)
}

func (m *Model) movesTo(p *pending) string {
	to := m.piIn(m.snap, p.args.to)
	switch {
	case to != nil:
		return fmt.Sprintf("%s at %s (%s, %s)", to.Name, to.Port, orUnknown(string(to.Model)), nowWord(to))
	case len(p.targets) > 1:
		return "a spare of its own"
	}
	return "a spare that is picked then"
}
