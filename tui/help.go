package tui

import (
	"fmt"
	"strings"

	"picloud/engine"
)

// help is the page of all keys, made from the tables that the keys come from.
type help struct {
	top   int
	lines []textLine
}

// fillHelp makes the help for the place that it was opened in.
func (m *Model) fillHelp() {
	h := m.help
	m.help = nil // the place beneath is the one that is explained
	at := m.place()
	g := &page{m: m, width: m.lay.w, lines: h.lines[:0]}
	for _, w := range m.shown.Warnings {
		g.hang(span{bad, " service: "}, 10, plain, w)
	}
	m.helpVerbs(g)
	g.head("keys here")
	for _, b := range m.bindings {
		if b.where&at != 0 {
			g.hang(span{strong, fmt.Sprintf("  %-10s", b.label)}, 12, plain, b.help)
		}
	}
	m.helpTexts(g)
	m.help = h
	h.lines = g.lines
	h.top = max(min(h.top, len(h.lines)-(m.lay.bodyRows-1)), 0)
}

// helpVerbs lists the verbs with their guards for the Pi that they would act
// on, and why they cannot be used on it.
func (m *Model) helpVerbs(g *page) {
	name := m.sel
	if m.detail != nil {
		name = m.detail.pi
	}
	p := m.pi(name)
	title := "verbs"
	switch {
	case m.place()&(inTable|inFace) != 0 && len(m.marks) > 0:
		title = "verbs, on " + plural(len(m.marks), "marked Pi", "marked Pis")
		p = nil
	case p != nil:
		title = "verbs, on " + string(p.Name)
	}
	g.lines = append(g.lines, textLine{{strong, " " + title}})
	for _, v := range engine.Verbs() {
		key := v.Key
		if key == "" {
			key = ":"
		}
		lead := fmt.Sprintf("  %-2s%-9s", key, v.Name)
		text := v.Help
		st := plain
		why := m.readOnly(v)
		if why == "" && p != nil {
			why = m.refusal(v, p)
		}
		if why != "" {
			st = quiet
			text += " (not now: " + why + ")"
		} else if p != nil {
			text += guardWord(m.opts.Viewer.Guards(v.Name).For(p))
		}
		g.hang(span{strong, lead}, len(lead), st, text)
	}
}

// guardWord says what stands before the act.
func guardWord(g engine.Guard) string {
	switch g.Kind {
	case engine.GuardCountdown:
		return " (after " + g.Delay.String() + "; any other key stops it)"
	case engine.GuardYes:
		return " (asks for y)"
	case engine.GuardName:
		return " (asks for the name)"
	}
	return ""
}

func (m *Model) helpTexts(g *page) {
	g.head("marks on the faceplate")
	for _, s := range legendOrder {
		g.add(span{stageText(s), fmt.Sprintf("  %c %-8s", s.Mark(), s)}, span{plain, s.Meaning()})
	}
	g.add(span{strong, "  # broken  "}, span{plain, "marked broken: nobody gets it"})
	g.hang(span{plain, "  [ ]       "}, 12, plain, "the selected Pi; * before a mark: marked by you")
	g.head("marks in the table")
	g.hang(span{strong, "  up R      "}, 12, plain, "in rescue: a small system in memory, with its root mounted")
	g.hang(span{strong, "  kernel E  "}, 12, plain, "under examination: a small system in memory that works it hard and reports")
	g.hang(span{strong, "  USE       "}, 12, plain, "how full its root is, or what is in one without a limit; ? in the unit's place: told long ago")
	g.hang(span{strong, "  disk 61%  "}, 12, plain, "in the first line: how full the disk of all roots is; ! nearly full, no new root is made; meta: of an LVM pool its metadata, when that is fuller")
	g.head("filter: words that must all hold, ! before one turns it round")
	g.hang(span{strong, "  up tftp   "}, 12, plain, "a stage: "+stageNames())
	g.hang(span{strong, "  sw2       "}, 12, plain, "a switch, or its ports: sw2/7 sw2/1-12,15")
	for _, s := range groups {
		g.hang(span{strong, fmt.Sprintf("  @%-9s", s.name)}, 12, plain, s.help)
	}
	g.hang(span{strong, "  @marked   "}, 12, plain, "marked by you")
	g.hang(span{strong, "  port:sw2/3-8 "}, 15, plain, "just these ports; port:3-8 those of every switch")
	g.hang(span{strong, "  stage:tftp "}, 13, plain, "one of "+fieldNames()+" has the text")
	g.hang(span{strong, "  text      "}, 12, plain, "any of those has the text")
	g.head(": line")
	g.hang(span{plain, "  "}, 2, plain, "VERB [TARGET ...] [IMAGE, SIZE or REASON], move [TARGET [PI]]: a target is a name, sw1/3, sw1/1-12, a switch, @marked, @shown, another set, or @ with a stage. Without one the marked or selected Pis are meant. tab completes.")
	g.hang(span{plain, "  "}, 2, plain, "SIZE is 20G, 20 GB or 1.5T, or +5G for so much more; units are decimal. The keys of move and resize ask for theirs.")
	for _, w := range words {
		g.hang(span{strong, fmt.Sprintf("  %-10s", w.name)}, 12, plain, w.help)
	}
}

func stageNames() string {
	var b []string
	for s := engine.StageOff; s.String() != "invalid"; s++ {
		b = append(b, s.String())
	}
	return strings.Join(b, " ")
}

func fieldNames() string {
	var b []string
	for _, f := range fields {
		b = append(b, f.name)
	}
	return strings.Join(b, " ")
}
