package engine

import (
	"cmp"
	"slices"
)

// Spec is what a customer knows of a board. In a wish, 0 means any.
type Spec struct {
	Model  int // generation: 3, 4 or 5
	Memory int // MB
	CPU    int // MHz
	NIC    int // Mbit/s
}

// boardInfo is what the models differ in beside their boot ROMs. Memory is the
// least that a model was sold with: what is taken until the board has told.
type boardInfo struct {
	generation, cpu, nic, memory int
	watts                        int // it may draw with nothing plugged in
}

// Clock and network speeds are those of the data sheets (raspberrypi.com,
// "Processors" and the product briefs). The 3B+ has a gigabit port behind USB 2.
var boardInfos = map[Model]boardInfo{
	Model3B:     {3, 1200, 100, 1024, 5},
	Model3BPlus: {3, 1400, 1000, 1024, 6},
	Model4B:     {4, 1500, 1000, 1024, 7},
	Model5:      {5, 2400, 1000, 1024, 10},
}

// Spec is what the board in this place is, the zero Spec if its model is not known.
func (p *Pi) Spec() Spec {
	info, ok := boardInfos[p.Model]
	if !ok {
		return Spec{}
	}
	return Spec{Model: info.generation, Memory: cmp.Or(p.Memory, info.memory), CPU: info.cpu, NIC: info.nic}
}

// Spec is what the board is, as for a Pi.
func (p *PiView) Spec() Spec { return (&Pi{Model: p.Model, Memory: p.Memory}).Spec() }

// Meets tells whether a board of this spec is what the wish asks for.
func (s Spec) Meets(wish Spec) bool {
	if s == (Spec{}) {
		return false
	}
	for _, v := range [...][2]int{{wish.Model, s.Model}, {wish.Memory, s.Memory}, {wish.CPU, s.CPU}, {wish.NIC, s.NIC}} {
		if v[0] != 0 && v[0] != v[1] {
			return false
		}
	}
	return true
}

// Compare orders specs from the lowest: by model, memory, clock, network.
func (s Spec) Compare(t Spec) int {
	return cmp.Or(cmp.Compare(s.Model, t.Model), cmp.Compare(s.Memory, t.Memory), cmp.Compare(s.CPU, t.CPU), cmp.Compare(s.NIC, t.NIC))
}

// Specs are those of the boards that the rack has, whoever has them, lowest first.
func (s *Snapshot) Specs() []Spec {
	var list []Spec
	for i := range s.Pis {
		if spec := s.Pis[i].Spec(); spec != (Spec{}) {
			list = append(list, spec)
		}
	}
	slices.SortFunc(list, Spec.Compare)
	return slices.Compact(list)
}
