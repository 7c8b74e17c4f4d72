package tui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"picloud/engine"
)

// isFault tells whether a Pi needs somebody: it stalled, its switch is silent,
// its root is not exported, or a board that is not its own was heard. One
// marked broken has somebody.
func isFault(p *engine.PiView) bool {
	if p.Life == engine.LifeBroken {
		return false
	}
	return p.Stage == engine.StageStalled || p.Stage == engine.StageUnknown || p.ExportErr != "" || p.Seen != nil
}

// group is a set of Pis with a name, for filters ("@free") and as targets on
// the command line.
type group struct {
	name, help string
	has        func(p *engine.PiView) bool
}

// groups lists the sets that depend on the Pi alone. @marked and @shown depend
// on the screen.
var groups = []group{
	{"faults", "stalled, unknown, not exported, or another board heard", isFault},
	{"free", "nobody has it", func(p *engine.PiView) bool { return p.Server == "" }},
	{"rented", "a customer has it", func(p *engine.PiView) bool { return p.Server != "" }},
	{"busy", "it has a job", func(p *engine.PiView) bool { return p.Job != nil }},
	{"broken", "marked broken", func(p *engine.PiView) bool { return p.Life == engine.LifeBroken }},
	{"new", "no board is known, or it is not ready yet", func(p *engine.PiView) bool { return p.Life == engine.LifeNew }},
	{"rescue", "it boots the small system in memory", func(p *engine.PiView) bool { return p.Rescue }},
	{"exam", "it is under examination", func(p *engine.PiView) bool { return p.Exam }},
	{"full", "its root is nearly full", isFull},
	{"booting", "between power and up", func(p *engine.PiView) bool { return p.Stage.Booting() }},
}

const (
	setMarked = "marked"
	setShown  = "shown"
)

// portField is read as ports, not as text.
const portField = "port"

// fields are what "name:text" looks at; text alone looks at all of them.
var fields = []struct {
	name string
	of   func(p *engine.PiView) string
}{
	{"name", func(p *engine.PiView) string { return string(p.Name) }},
	{portField, func(p *engine.PiView) string { return p.Port.String() }},
	{"owner", func(p *engine.PiView) string { return p.Owner }},
	{"server", func(p *engine.PiView) string { return p.Server }},
	{"image", func(p *engine.PiView) string { return p.Image }},
	{"root", func(p *engine.PiView) string { return p.Root }},
	{"life", func(p *engine.PiView) string { return string(p.Life) }},
	{"model", func(p *engine.PiView) string { return string(p.Model) }},
	{"serial", serial},
	{"mac", func(p *engine.PiView) string { return p.MAC.String() }},
	{"addr", addr},
	{"pwr", func(p *engine.PiView) string { return p.Power.String() }},
	{"fault", func(p *engine.PiView) string { return p.Diagnosis.Fault }},
	{"stage", stageWord},
}

func serial(p *engine.PiView) string {
	if p.Serial == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", p.Serial)
}

func addr(p *engine.PiView) string {
	if !p.Addr.IsValid() {
		return ""
	}
	return p.Addr.String()
}

// stageWord is the stage, and for a stalled or unknown Pi the one before too,
// so that stage:tftp finds those that stalled there.
func stageWord(p *engine.PiView) string {
	if p.Stage == engine.StageStalled || p.Stage == engine.StageUnknown {
		return p.Stage.String() + " " + p.LastStage.String()
	}
	return p.Stage.String()
}

// clause is one word of a filter.
type clause struct {
	not bool
	has func(p *engine.PiView, marked bool) bool
}

// filter is what "/" takes: words that must all hold; "!" before one turns it
// round. The zero filter lets everything through.
type filter struct {
	clauses []clause
	wrong   string // what cannot be understood; such a word matches nothing
}

func (f filter) match(p *engine.PiView, marked bool) bool {
	for _, t := range f.clauses {
		if t.has(p, marked) == t.not {
			return false
		}
	}
	return true
}

// maxClauses bounds a filter's work.
const maxClauses = 16

// parseFilter reads a filter; every string is one. A word is, in this order: a
// set (@marked), a field with text (stage:tftp), a stage (up), a switch (sw2)
// or its ports (sw2/1-12), or text found anywhere in a Pi's fields.
func parseFilter(s string, switches []engine.SwitchView) filter {
	var f filter
	words := strings.Fields(s)
	for _, w := range words[:min(len(words), maxClauses)] {
		not := strings.HasPrefix(w, "!")
		w = strings.TrimPrefix(w, "!")
		if w == "" {
			continue // still being typed
		}
		has, wrong := parseClause(strings.ToLower(w), w, switches)
		if wrong != "" {
			f.wrong = wrong
		}
		f.clauses = append(f.clauses, clause{not, has})
	}
	return f
}

type matcher = func(p *engine.PiView, marked bool) bool

func parseClause(w, asTyped string, switches []engine.SwitchView) (has matcher, wrong string) {
	if name, ok := strings.CutPrefix(w, "@"); ok {
		return parseSet(name)
	}
	if name, text, ok := strings.Cut(w, ":"); ok {
		if name == portField {
			return parsePortField(text, switches)
		}
		for _, f := range fields {
			if f.name == name {
				return func(p *engine.PiView, _ bool) bool { return containsFold(f.of(p), text) }, ""
			}
		}
	}
	if stage, ok := engine.ParseStage(w); ok {
		return func(p *engine.PiView, _ bool) bool { return p.Stage == stage }, ""
	}
	if sw, ports, ok := parsePorts(asTyped, switches); ok {
		return func(p *engine.PiView, _ bool) bool {
			return p.Port.Switch == sw && (ports == nil || slices.Contains(ports, p.Port.Port))
		}, ""
	}
	return func(p *engine.PiView, _ bool) bool {
		for _, f := range fields {
			if containsFold(f.of(p), w) {
				return true
			}
		}
		return false
	}, ""
}

// parsePortField reads what follows "port:": a switch or the beginning of its
// name, ports of one (sw1/3, sw1/3-8), or ports of any (3-8). A number is a
// whole one: sw1/3 is not sw1/30.
func parsePortField(text string, switches []engine.SwitchView) (matcher, string) {
	typed := strings.TrimRight(text, "/,-") // as far as it is typed
	sw, ports, hasPorts := strings.Cut(typed, "/")
	if list, ok := parsePortList(typed); ok && !hasPorts {
		return func(p *engine.PiView, _ bool) bool { return slices.Contains(list, p.Port.Port) }, ""
	}
	if !hasPorts {
		whole := strings.HasSuffix(text, "/")
		return func(p *engine.PiView, _ bool) bool {
			name := strings.ToLower(p.Port.Switch)
			return name == sw || !whole && strings.HasPrefix(name, sw)
		}, ""
	}
	list, ok := parsePortList(ports)
	if !ok {
		return func(*engine.PiView, bool) bool { return false }, "there are no ports " + clip(ports)
	}
	if !slices.ContainsFunc(switches, func(v engine.SwitchView) bool { return strings.EqualFold(v.Name, sw) }) {
		return func(*engine.PiView, bool) bool { return false }, "there is no switch " + clip(sw)
	}
	return func(p *engine.PiView, _ bool) bool {
		return strings.EqualFold(p.Port.Switch, sw) && slices.Contains(list, p.Port.Port)
	}, ""
}

// parseSet finds a set by its beginning, so that a filter narrows while it is
// typed.
func parseSet(name string) (matcher, string) {
	for _, s := range groups {
		if strings.HasPrefix(s.name, name) {
			return func(p *engine.PiView, _ bool) bool { return s.has(p) }, ""
		}
	}
	if strings.HasPrefix(setMarked, name) {
		return func(_ *engine.PiView, marked bool) bool { return marked }, ""
	}
	if stage, ok := engine.ParseStage(name); ok {
		return func(p *engine.PiView, _ bool) bool { return p.Stage == stage }, ""
	}
	return func(*engine.PiView, bool) bool { return false }, "there is no @" + name
}

// containsFold is strings.Contains for a lower-case needle.
func containsFold(s, lower string) bool { return strings.Contains(strings.ToLower(s), lower) }

// maxPort bounds port numbers, and so the length of a range.
const maxPort = 4096

// parsePorts reads "sw1", "sw1/7" or "sw1/1-12,15" for a switch that the rack
// has. ports is nil for a whole switch.
func parsePorts(s string, switches []engine.SwitchView) (sw string, ports []int, ok bool) {
	name, list, has := strings.Cut(s, "/")
	i := slices.IndexFunc(switches, func(v engine.SwitchView) bool { return strings.EqualFold(v.Name, name) })
	if i < 0 {
		return "", nil, false
	}
	if !has {
		return switches[i].Name, nil, true
	}
	if ports, ok = parsePortList(list); !ok {
		return "", nil, false
	}
	return switches[i].Name, ports, true
}

// parsePortList reads "7" or "1-12,15".
func parsePortList(list string) (ports []int, ok bool) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 1 || b < a || b > maxPort || len(ports)+b-a >= maxPort {
			return nil, false
		}
		for n := a; n <= b; n++ {
			ports = append(ports, n)
		}
	}
	return ports, true
}
