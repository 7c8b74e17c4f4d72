package tui

import (
	"fmt"
	"slices"
	"strings"

	"picloud/engine"
)

// invocation is a parsed ":" line: a verb with its targets, or a word of the
// console's own.
type invocation struct {
	word    string // of the console's own; "" = verb
	rest    string // what follows word
	verb    engine.Verb
	targets []engine.PiName
	args
}

// words are the console's own commands.
var words = []struct{ name, help string }{
	{"rack", "go to the rack"},
	{"pis", "go to the list of Pis"},
	{"jobs", "go to the jobs"},
	{"log", "go to the log"},
	{"audit", "go to the audit"},
	{"filter", "filter TEXT: as / does"},
	{"help", "all keys and verbs"},
	{"q", "leave the console"},
	{"quit", "the same"},
}

// scope is what a command line may refer to.
type scope struct {
	snap   *engine.Snapshot
	marked []engine.PiName
	shown  []engine.PiName
	here   []engine.PiName // targets when none are named
}

// parseCommand reads a ":" line:
//
//	VERB [TARGET ...] [IMAGE | SIZE | REASON]
//	move [TARGET [PI]]
//
// A target is a Pi's name, a port (sw1/3), ports (sw1/1-12,15), a switch (sw1),
// @marked, @shown, a set (@faults) or a stage (@stalled). With nothing after
// the verb the marked or selected Pis are meant. Words that are no target are
// only taken as a reason once a target was named, so that a mistyped name never
// turns into a reason for the wrong Pi.
func parseCommand(line string, sc scope) (invocation, error) {
	toks := strings.Fields(line)
	if len(toks) > 0 && toks[0] == "mark" {
		toks = toks[1:]
	}
	if len(toks) == 0 {
		return invocation{}, fmt.Errorf("say what to do, such as: cycle a3-023")
	}
	for _, w := range words {
		if w.name == toks[0] {
			return invocation{word: w.name, rest: strings.Join(toks[1:], " ")}, nil
		}
	}
	verb, ok := engine.FindVerb(engine.VerbName(toks[0]))
	if !ok {
		return invocation{}, fmt.Errorf("%q is no verb: %s", clip(toks[0]), verbNames())
	}
	inv := invocation{verb: verb}
	arg := argumentOf(verb)
	rest, err := inv.takeTargets(toks[1:], arg, sc)
	if err != nil {
		return invocation{}, err
	}
	if len(rest) > 0 {
		if err := arg.read(&inv.args, rest, sc); err != nil {
			return invocation{}, err
		}
	}
	if len(inv.targets) == 0 {
		return invocation{}, fmt.Errorf("%s: no Pi is selected", verb.Name)
	}
	return inv, nil
}

// takeTargets reads targets until the first word that is none.
func (inv *invocation) takeTargets(toks []string, arg argument, sc scope) (rest []string, err error) {
	if len(toks) == 0 {
		inv.targets = sc.here
		return nil, nil
	}
	for i, tok := range toks {
		if arg.targets > 0 && i == arg.targets {
			return toks[i:], nil
		}
		names, ok, err := sc.resolve(tok)
		if err != nil {
			return nil, err
		}
		if !ok {
			if i == 0 {
				return inv.noTarget(toks, arg, sc)
			}
			return toks[i:], nil
		}
		for _, n := range names {
			if !slices.Contains(inv.targets, n) {
				inv.targets = append(inv.targets, n)
			}
		}
	}
	return nil, nil
}

// noTarget decides what a line means whose first word is no target: only an
// argument that is beyond doubt.
func (inv *invocation) noTarget(toks []string, arg argument, sc scope) ([]string, error) {
	if arg.alone != nil && arg.alone(toks, sc) {
		inv.targets = sc.here
		return toks, nil
	}
	return nil, fmt.Errorf("there is no Pi, port or set %q", clip(toks[0]))
}

func (sc scope) hasImage(name string) bool {
	return slices.ContainsFunc(sc.snap.Images, func(i engine.Image) bool { return i.Name == name })
}

func (sc scope) pi(name engine.PiName) *engine.PiView {
	for i := range sc.snap.Pis {
		if sc.snap.Pis[i].Name == name {
			return &sc.snap.Pis[i]
		}
	}
	return nil
}

// resolve turns one word into Pis. It is not ok for a word that looks like no
// target; it is an error for one that looks like a target and names nothing.
func (sc scope) resolve(tok string) (names []engine.PiName, ok bool, err error) {
	if name, isSet := strings.CutPrefix(tok, "@"); isSet {
		names, err = sc.resolveSet(name)
		return names, true, err
	}
	if p := sc.pi(engine.PiName(tok)); p != nil {
		return []engine.PiName{p.Name}, true, nil
	}
	sw, ports, ok := parsePorts(tok, sc.snap.Switches)
	if !ok {
		return nil, false, nil
	}
	names = sc.where(func(p *engine.PiView) bool {
		return p.Port.Switch == sw && (ports == nil || slices.Contains(ports, p.Port.Port))
	})
	if len(names) == 0 {
		return nil, true, fmt.Errorf("there is no Pi at %s", clip(tok))
	}
	return names, true, nil
}

func (sc scope) resolveSet(name string) ([]engine.PiName, error) {
	var names []engine.PiName
	stage, isStage := engine.ParseStage(name)
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
	switch {
	case name == setMarked:
		names = sc.marked
	case name == setShown:
		names = sc.shown
	case i >= 0:
		names = sc.where(groups[i].has)
	case isStage:
		names = sc.where(func(p *engine.PiView) bool { return p.Stage == stage })
	default:
		return nil, fmt.Errorf("there is no @%s: %s", clip(name), strings.Join(setNames(), " "))
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("@%s is nobody just now", name)
	}
	return names, nil
}

func (sc scope) where(has func(p *engine.PiView) bool) []engine.PiName {
	var names []engine.PiName
	for i := range sc.snap.Pis {
		if has(&sc.snap.Pis[i]) {
			names = append(names, sc.snap.Pis[i].Name)
		}
	}
	return names
}

func setNames() []string {
	out := []string{"@" + setMarked, "@" + setShown}
	for _, s := range groups {
		out = append(out, "@"+s.name)
	}
	return append(out, "@stalled", "@up", "@off")
}

func verbNames() string {
	var b []string
	for _, v := range engine.Verbs() {
		b = append(b, string(v.Name))
	}
	return strings.Join(b, " ")
}

// clip shortens a word that is shown back to the person who typed it.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}

// complete extends the last word of a command line as far as it is certain and
// returns the ways it could go on.
func complete(line string, sc scope) (string, []string) {
	cut := strings.LastIndexByte(line, ' ') + 1
	head, last := line[:cut], line[cut:]
	word, more := completeWord(last, candidates(strings.Fields(head), sc))
	return head + word, more
}

// completeWord extends a word towards the candidates that begin with it.
func completeWord(word string, candidates []string) (string, []string) {
	var hits []string
	for _, c := range candidates {
		if strings.HasPrefix(c, word) && c != word {
			hits = append(hits, c)
		}
	}
	switch len(hits) {
	case 0:
		return word, nil
	case 1:
		if strings.HasSuffix(hits[0], "/") {
			return hits[0], nil // the port's number follows
		}
		return hits[0] + " ", nil
	}
	common := hits[0]
	for _, h := range hits[1:] {
		n := 0
		for n < len(common) && n < len(h) && common[n] == h[n] {
			n++
		}
		common = common[:n]
	}
	return common, hits
}

func candidates(before []string, sc scope) []string {
	var out []string
	if len(before) > 0 && before[0] == "mark" {
		before = before[1:]
	}
	if len(before) == 0 {
		for _, v := range engine.Verbs() {
			out = append(out, string(v.Name))
		}
		for _, w := range words {
			out = append(out, w.name)
		}
		return out
	}
	verb, isVerb := engine.FindVerb(engine.VerbName(before[0]))
	arg := argumentOf(verb)
	if n := len(before) - 1; !isVerb || arg.targets == 0 || n < arg.targets {
		out = targetNames(sc)
	}
	if isVerb && arg.options != nil && (arg.targets == 0 || len(before) > arg.targets) {
		var inv invocation
		_, _ = inv.takeTargets(before[1:], arg, sc)
		out = append(out, arg.options(sc, inv.targets)...)
	}
	return out
}

// targetNames are the words that name targets.
func targetNames(sc scope) []string {
	var out []string
	for i := range sc.snap.Pis {
		out = append(out, string(sc.snap.Pis[i].Name))
	}
	for i := range sc.snap.Switches {
		out = append(out, sc.snap.Switches[i].Name+"/")
	}
	return append(out, setNames()...)
}
