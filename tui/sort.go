package tui

import (
	"cmp"
	"slices"
	"strings"

	"picloud/engine"
)

// ordering is a way to sort the table; its key picks it in the sort line.
type ordering struct {
	key  string
	name string
	cmp  func(m *Model, a, b *engine.PiView) int
}

// orderings lists the ways to sort; the first is where a console starts. Ties
// are broken by name.
var orderings = []ordering{
	{"n", "name", func(_ *Model, a, b *engine.PiView) int { return 0 }},
	{"p", "port", comparePorts},
	{"t", "stage", func(_ *Model, a, b *engine.PiView) int { return cmp.Compare(urgency(a), urgency(b)) }},
	{"a", "age", func(_ *Model, a, b *engine.PiView) int { return b.Since.Compare(a.Since) }},
	{"w", "watts", func(_ *Model, a, b *engine.PiView) int { return cmp.Compare(b.Milliwatts, a.Milliwatts) }},
	{"u", "use", func(_ *Model, a, b *engine.PiView) int { return cmp.Compare(useOrder(b), useOrder(a)) }},
	{"o", "owner", func(_ *Model, a, b *engine.PiView) int { return strings.Compare(a.Owner, b.Owner) }},
	{"i", "image", func(_ *Model, a, b *engine.PiView) int { return strings.Compare(a.Image, b.Image) }},
}

func comparePorts(m *Model, a, b *engine.PiView) int {
	return cmp.Or(cmp.Compare(m.switchIndex(a.Port.Switch), m.switchIndex(b.Port.Switch)),
		cmp.Compare(a.Port.Port, b.Port.Port))
}

// useOrder puts the fullest roots first; those without a limit come after, the
// largest first, and those that are not known last.
func useOrder(p *engine.PiView) float64 {
	u := p.RootVolume.Use
	switch {
	case p.RootVolume.UseAt.IsZero():
		return -1
	case u.Size > 0:
		return 1 + float64(u.Used)/float64(u.Size)
	}
	return float64(u.Used) / (1 << 63)
}

// urgency puts what needs a person first, then what moves, then what is at
// rest.
func urgency(p *engine.PiView) int {
	switch {
	case p.Stage == engine.StageStalled:
		return 0
	case p.Stage == engine.StageUnknown:
		return 1
	case p.Stage.Booting():
		return 2 + int(p.Stage)
	case p.Stage == engine.StageUp:
		return 100
	}
	return 101
}

// sortRows orders m.rows.
func (m *Model) sortRows() {
	pis := m.shown.Pis
	by := orderings[m.order].cmp
	slices.SortStableFunc(m.rows, func(i, j int) int {
		a, b := &pis[i], &pis[j]
		c := cmp.Or(by(m, a, b), strings.Compare(string(a.Name), string(b.Name)))
		if m.reversed {
			return -c
		}
		return c
	})
}
