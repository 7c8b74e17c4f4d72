package tui

import (
	"strconv"

	"picloud/engine"
)

// blockPorts is how many ports of a switch two lines of the faceplate hold: 24
// columns of three characters.
const blockPorts = 48

// block is two lines of the faceplate: up to 48 ports of one switch, odd over
// even.
type block struct {
	sw    int // index into Snapshot.Switches
	first int // port number, 1, 49, ...
	ports int
}

func blocksOf(switches []engine.SwitchView) []block {
	var out []block
	for i := range switches {
		for first := 1; first == 1 || first <= min(switches[i].Ports, maxPort); first += blockPorts {
			out = append(out, block{i, first, max(min(switches[i].Ports-first+1, blockPorts), 0)})
		}
	}
	return out
}

// at finds the Pi at a column of a block's row (0 odd, 1 even).
func (m *Model) at(b block, row, col int) *engine.PiView {
	i := b.first - 1 + 2*col + row
	sw := &m.shown.Switches[b.sw]
	if 2*col+row >= b.ports || i >= len(sw.Pis) {
		return nil
	}
	if j := sw.Pis[i]; j >= 0 && j < len(m.shown.Pis) {
		return &m.shown.Pis[j]
	}
	return nil
}

// facePos is where the selected Pi is on the faceplate.
func (m *Model) facePos() (blockNo, row, col int, ok bool) {
	p := m.pi(m.sel)
	if p == nil {
		return 0, 0, 0, false
	}
	for i, b := range m.blocks {
		n := p.Port.Port - b.first
		if m.shown.Switches[b.sw].Name == p.Port.Switch && n >= 0 && n < b.ports {
			return i, n % 2, n / 2, true
		}
	}
	return 0, 0, 0, false
}

// scrollFace keeps the selected Pi's switch among the visible ones.
func (m *Model) scrollFace() int {
	cur, _, _, ok := m.facePos()
	if !ok {
		cur = -1
	}
	return scroll(m.face, cur, m.lay.faceBlocks, len(m.blocks))
}

// faceMove moves the selection on the faceplate: along a row, or over the rows
// of all switches. Ports without a Pi are stepped over; in another row the
// nearest Pi is taken.
func (m *Model) faceMove(dx, dy int) {
	blockNo, row, col, ok := m.facePos()
	if !ok {
		return
	}
	if dx != 0 {
		for c := col + dx; c >= 0 && c < blockPorts/2; c += dx {
			if p := m.at(m.blocks[blockNo], row, c); p != nil {
				m.selectPi(p.Name)
				return
			}
		}
		return
	}
	line := blockNo*2 + row
	step := 1
	if dy < 0 {
		step = -1
	}
	for left := min(max(dy, -dy), 2*len(m.blocks)); left > 0; left-- {
		next := line + step
		for ; next >= 0 && next < 2*len(m.blocks); next += step {
			if p := m.nearest(m.blocks[next/2], next%2, col); p != nil {
				m.selectPi(p.Name)
				break
			}
		}
		line = next
	}
}

// nearest finds the Pi of a row that is nearest to a column.
func (m *Model) nearest(b block, row, col int) *engine.PiView {
	for d := range blockPorts / 2 {
		for _, c := range [2]int{col - d, col + d} {
			if c < 0 || c >= blockPorts/2 {
				continue
			}
			if p := m.at(b, row, c); p != nil {
				return p
			}
		}
	}
	return nil
}

// faceLeft is the column of the first port's mark; a port takes three columns.
const faceLeft = 7

// markOf is a Pi's one character: its stage's, or "#" if it is marked broken.
func markOf(p *engine.PiView) (byte, style) {
	if p.Life == engine.LifeBroken {
		return '#', strong
	}
	return p.Stage.Mark(), stageStyle(p.Stage)
}

func (m *Model) drawFaceHead(c *canvas) {
	c.set(quiet)
	if n := len(m.blocks); n > m.lay.faceBlocks {
		c.char(' ')
		c.scratch = strconv.AppendInt(c.scratch[:0], int64(m.face+1), 10)
		c.scratch = append(c.scratch, '-')
		c.scratch = strconv.AppendInt(c.scratch, int64(m.face+m.lay.faceBlocks), 10)
		c.scratch = append(c.scratch, '/')
		c.scratch = strconv.AppendInt(c.scratch, int64(n), 10)
		c.bytesCell(c.scratch, faceLeft-2, false)
	}
	for port := 1; port < blockPorts; port += 2 {
		end := faceLeft + 3*(port/2) + 1
		if port < 10 {
			c.padTo(end - 1)
		} else {
			c.padTo(end - 2)
		}
		c.scratch = strconv.AppendInt(c.scratch[:0], int64(port), 10)
		c.bytesCell(c.scratch, len(c.scratch), false)
	}
}

// drawFace draws one line of the faceplate.
func (m *Model) drawFace(c *canvas, blockNo, row int) {
	b := m.blocks[blockNo]
	m.drawFaceLabel(c, b, row)
	focused := m.place() == inFace
	for col := range blockPorts / 2 {
		p := m.at(b, row, col)
		x := faceLeft + 3*col
		if p == nil {
			continue
		}
		glyph, st := markOf(p)
		selected := p.Name == m.sel
		left := m.leftOf(p, selected)
		if left != ' ' {
			c.set(plain)
			c.padTo(x - 1)
			if selected && focused {
				c.set(chosen)
			} else {
				c.set(strong)
			}
			c.char(left)
		} else {
			if c.now >= alarm {
				c.set(plain) // gaps are not reversed
			}
			c.padTo(x)
		}
		if selected && focused {
			st = chosen
		} else if m.pending != nil && m.pending.touches(p.Name) {
			st = ask
		}
		c.set(st)
		c.char(glyph)
		if selected {
			if focused {
				c.set(chosen)
			} else {
				c.set(strong)
			}
			c.char(']')
		}
	}
}

// leftOf is what stands before a Pi's mark.
func (m *Model) leftOf(p *engine.PiView, selected bool) byte {
	switch {
	case m.marks[p.Name]:
		return '*'
	case selected:
		return '['
	}
	return ' '
}

// drawFaceLabel writes the switch's name before its odd ports and, when it is
// silent, how long it has been before its even ones.
func (m *Model) drawFaceLabel(c *canvas, b block, row int) {
	sw := &m.shown.Switches[b.sw]
	c.char(' ')
	switch {
	case row == 0 && b.first == 1:
		c.put(strong, tail(sw.Name, 4, m.canvas.g))
	case row == 0:
		c.set(quiet)
		c.char('+')
		c.scratch = strconv.AppendInt(c.scratch[:0], int64(b.first-1), 10)
		c.bytesCell(c.scratch, len(c.scratch), false)
	case sw.Err != "" && sw.Answered.IsZero():
		c.put(bad, "?")
	case sw.Err != "":
		c.set(bad)
		c.scratch = appendAge(c.scratch[:0], m.stamp().Sub(sw.Answered))
		c.bytesCell(c.scratch, len(c.scratch), false)
	}
	c.set(quiet)
	c.padTo(5)
	c.char("oe"[row])
}

// tail shortens a name to its end, where names of one kind differ.
func tail(s string, width int, g glyphs) string {
	if s = clean(s, false); len(s) <= width || !isPlain(s) {
		return s
	}
	return g.ellipsis + s[len(s)-width+1:]
}

func (p *pending) has(n engine.PiName) bool {
	for _, t := range p.targets {
		if t.Pi == n {
			return true
		}
	}
	return false
}
