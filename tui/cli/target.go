package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"picloud/engine"
)

// set is a group of Pis with a name, "@free". The stages are sets too.
type set struct {
	name, help string
	has        func(p *engine.PiView) bool
}

// sets lists the groups that are no stage.
var sets = []set{
	{"all", "every Pi", func(*engine.PiView) bool { return true }},
	{"faults", "stalled, unknown, or another board heard", isFault},
	{"free", "nobody has it", func(p *engine.PiView) bool { return p.Server == "" }},
	{"rented", "a customer has it", func(p *engine.PiView) bool { return p.Server != "" }},
	{"busy", "it has a job", func(p *engine.PiView) bool { return p.Job != nil }},
	{"booting", "between power and up", func(p *engine.PiView) bool { return p.Stage.Booting() }},
	{"broken", "marked broken", func(p *engine.PiView) bool { return p.Life == engine.LifeBroken }},
	{"new", "no board is known, or it is not ready yet", func(p *engine.PiView) bool { return p.Life == engine.LifeNew }},
	{"rescue", "it boots the rescue system", func(p *engine.PiView) bool { return p.Rescue }},
	{"exam", "it is under examination", func(p *engine.PiView) bool { return p.Exam }},
}

// isFault tells whether a Pi needs somebody. One marked broken has somebody.
func isFault(p *engine.PiView) bool {
	if p.Life == engine.LifeBroken {
		return false
	}
	return p.Stage == engine.StageStalled || p.Stage == engine.StageUnknown || p.Seen != nil
}

// allStages are the stages in their order.
func allStages() []engine.Stage {
	var out []engine.Stage
	for s := engine.StageOff; s.Meaning() != ""; s++ {
		out = append(out, s)
	}
	return out
}

// setNames are the names of all sets, with "@".
func setNames() []string {
	var out []string
	for _, s := range sets {
		out = append(out, "@"+s.name)
	}
	for _, s := range allStages() {
		out = append(out, "@"+s.String())
	}
	return out
}

const (
	maxPort    = 4096  // bounds port numbers, and so the length of a range
	maxTargets = 10000 // bounds the Pis that one command names
)

// noTarget is a word that names no Pi.
type noTarget struct{ word, why, hint string }

func (e *noTarget) Error() string { return e.why }

// targetHelp says what a PI can be; it is the same every time.
var targetHelp = sync.OnceValue(func() string {
	var b strings.Builder
	b.WriteString(`PI is any number of
  a3-023               a name
  a3-0[01-12]          names with a range of numbers
  sw1/3, sw1/1-12,15   what is at these ports
  sw1                  all of a switch
  @stalled             a set, one of
`)
	for _, line := range wrap(strings.Join(setNames(), " "), 55) {
		b.WriteString("                       " + line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
})

// resolve turns words into Pis, each once, in the order they were named:
//
//	a3-023             a Pi
//	sw1/3              the Pi at a port
//	sw1/1-12,15        the Pis at ports; ports without one are passed over
//	sw1                all Pis of a switch
//	a3-0[01-12]        names with a range of numbers; each must exist
//	@stalled           a set: a stage or one of sets
//
// A set or range of ports with nobody in it gives nothing; a name, port or
// switch that the rack does not have is a *noTarget.
func resolve(s *engine.Snapshot, words []string) ([]*engine.PiView, error) {
	var out []*engine.PiView
	seen := make(map[engine.PiName]bool)
	for _, w := range words {
		found, err := resolveWord(s, w)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if !seen[p.Name] {
				seen[p.Name] = true
				out = append(out, p)
			}
		}
		if len(out) > maxTargets {
			return nil, &noTarget{word: w, why: fmt.Sprintf("more than %d Pis are named", maxTargets)}
		}
	}
	return out, nil
}

func resolveWord(s *engine.Snapshot, w string) ([]*engine.PiView, error) {
	if name, ok := strings.CutPrefix(w, "@"); ok {
		return resolveSet(s, name)
	}
	if p, ok := s.Pi(engine.PiName(w)); ok {
		return []*engine.PiView{p}, nil
	}
	if head, rest, ok := strings.Cut(w, "["); ok {
		return resolveNames(s, w, head, rest)
	}
	return resolvePorts(s, w)
}

func resolveSet(s *engine.Snapshot, name string) ([]*engine.PiView, error) {
	if i := slices.IndexFunc(sets, func(t set) bool { return t.name == name }); i >= 0 {
		return where(s, sets[i].has), nil
	}
	if stage, ok := engine.ParseStage(name); ok {
		return where(s, func(p *engine.PiView) bool { return p.Stage == stage }), nil
	}
	hint := meant("@"+name, setNames())
	if hint == "" {
		hint = "the sets are " + strings.Join(setNames(), " ")
	}
	return nil, &noTarget{"@" + name, fmt.Sprintf("there is no set @%s", clip(name)), hint}
}

func where(s *engine.Snapshot, has func(p *engine.PiView) bool) []*engine.PiView {
	var out []*engine.PiView
	for i := range s.Pis {
		if has(&s.Pis[i]) {
			out = append(out, &s.Pis[i])
		}
	}
	return out
}

// resolveNames reads "a3-0[01-12]": numbers as wide as the range's first.
func resolveNames(s *engine.Snapshot, w, head, rest string) ([]*engine.PiView, error) {
	list, tail, ok := strings.Cut(rest, "]")
	if !ok || list == "" || strings.ContainsAny(tail, "[]") {
		return nil, &noTarget{w, fmt.Sprintf("%q is no range of names", clip(w)), "such as a3-0[01-12] or a3-00[1,3,5]"}
	}
	var out []*engine.PiView
	for part := range strings.SplitSeq(list, ",") {
		from, to, ok := numbers(part)
		if !ok || len(out)+to-from >= maxPort {
			return nil, &noTarget{w, fmt.Sprintf("%q is no range of names", clip(w)), "such as a3-0[01-12] or a3-00[1,3,5]"}
		}
		first, _, _ := strings.Cut(part, "-")
		for n := from; n <= to; n++ {
			name := fmt.Sprintf("%s%0*d%s", head, len(first), n, tail)
			p, ok := s.Pi(engine.PiName(name))
			if !ok {
				return nil, unknownPi(s, name)
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// numbers reads "7" or "1-12".
func numbers(s string) (from, to int, ok bool) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	from, err1 := digits(a)
	to, err2 := digits(b)
	return from, to, err1 == nil && err2 == nil && from <= to && to <= maxPort
}

// digits is strconv.Atoi without signs and of a bounded length.
func digits(s string) (int, error) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(s)
}

// resolvePorts reads "sw1", "sw1/7" or "sw1/1-12,15".
func resolvePorts(s *engine.Snapshot, w string) ([]*engine.PiView, error) {
	name, list, has := strings.Cut(w, "/")
	sw := findSwitch(s, name)
	switch {
	case sw == nil && has:
		return nil, unknownSwitch(s, name)
	case sw == nil:
		return nil, unknownPi(s, w)
	case !has:
		return where(s, func(p *engine.PiView) bool { return p.Port.Switch == sw.Name }), nil
	}
	wanted := make(map[int]bool)
	single := true
	for part := range strings.SplitSeq(list, ",") {
		from, to, ok := numbers(part)
		if !ok || from < 1 {
			return nil, &noTarget{w, fmt.Sprintf("%q is no port", clip(w)), "such as " + clean(sw.Name) + "/3 or " + clean(sw.Name) + "/1-12,15"}
		}
		if to > sw.Ports {
			return nil, &noTarget{w, fmt.Sprintf("%s has no port %d", clean(sw.Name), to), fmt.Sprintf("its ports are 1 to %d", sw.Ports)}
		}
		single = single && from == to
		for n := from; n <= to; n++ {
			wanted[n] = true
		}
	}
	found := where(s, func(p *engine.PiView) bool { return p.Port.Switch == sw.Name && wanted[p.Port.Port] })
	if single && len(found) < len(wanted) {
		return nil, &noTarget{w, fmt.Sprintf("there is no Pi at %s", clip(w)), "picloud switch show " + clean(sw.Name) + " tells which port has one"}
	}
	return found, nil
}

func findSwitch(s *engine.Snapshot, name string) *engine.SwitchView {
	i := slices.IndexFunc(s.Switches, func(v engine.SwitchView) bool { return strings.EqualFold(v.Name, name) })
	if i < 0 {
		return nil
	}
	return &s.Switches[i]
}

func unknownPi(s *engine.Snapshot, name string) error {
	hint := meant(name, append(piNames(s), switchNames(s)...))
	if hint == "" {
		hint = "picloud pi list names them all"
	}
	return &noTarget{name, fmt.Sprintf("there is no Pi %q", clip(name)), hint}
}

func unknownSwitch(s *engine.Snapshot, name string) error {
	hint := meant(name, switchNames(s))
	if hint == "" {
		hint = "switches: " + clean(strings.Join(switchNames(s), " "))
	}
	return &noTarget{name, fmt.Sprintf("there is no switch %q", clip(name)), hint}
}

func piNames(s *engine.Snapshot) []string {
	out := make([]string, len(s.Pis))
	for i := range s.Pis {
		out[i] = string(s.Pis[i].Name)
	}
	return out
}

func switchNames(s *engine.Snapshot) []string {
	out := make([]string, len(s.Switches))
	for i := range s.Switches {
		out[i] = s.Switches[i].Name
	}
	return out
}

func imageNames(s *engine.Snapshot) []string {
	out := make([]string, len(s.Images))
	for i := range s.Images {
		out[i] = s.Images[i].Name
	}
	return out
}
