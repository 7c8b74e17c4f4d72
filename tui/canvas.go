package tui

import (
	"github.com/charmbracelet/x/ansi"
)

// span is a piece of text with one style; a textLine is a line of them.
type (
	span struct {
		st style
		s  string
	}
	textLine []span
)

// canvas writes a frame from its first line to its last. It clips: no line
// gets wider than limit and no frame higher than h, whatever is written. The
// buffer is used again for the next frame.
type canvas struct {
	buf     []byte
	scratch []byte // for numbers on their way into a cell
	noted   []byte // for a row's note
	sgr     sgr
	g       glyphs
	ascii   bool
	w, h    int
	x, y    int // where the next character goes
	limit   int // the column that is written no more
	now     style
}

func (c *canvas) reset(w, h int) {
	c.buf = c.buf[:0]
	c.w, c.h, c.x, c.y, c.limit, c.now = min(w, maxWidth), h, 0, 0, min(w, maxWidth), plain
}

// set changes the style of what follows.
func (c *canvas) set(st style) {
	if st == c.now || c.y >= c.h {
		return
	}
	if c.now != plain {
		c.buf = append(c.buf, sgrReset...)
	}
	c.buf = append(c.buf, c.sgr[st]...)
	c.now = st
}

// text writes s, cleaned, as far as there is room.
func (c *canvas) text(s string) { c.textMax(s, c.limit-c.x) }

// put writes a piece of text in a style.
func (c *canvas) put(st style, s string) {
	c.set(st)
	c.text(s)
}

func (c *canvas) line(l textLine) {
	for _, s := range l {
		c.put(s.st, s.s)
	}
}

// textMax writes at most width columns of s and returns how many it wrote.
func (c *canvas) textMax(s string, width int) int {
	width = min(width, c.limit-c.x)
	if width <= 0 || c.y >= c.h {
		return 0
	}
	if s = clean(s, c.ascii); isPlain(s) {
		if len(s) > width {
			c.buf = append(c.buf, s[:width-1]...)
			c.buf = append(c.buf, c.g.ellipsis...)
			c.x += width
			return width
		}
		c.buf = append(c.buf, s...)
		c.x += len(s)
		return len(s)
	}
	n := ansi.StringWidth(s)
	if n > width {
		s = ansi.Truncate(s, width, c.g.ellipsis)
		n = ansi.StringWidth(s)
	}
	c.buf = append(c.buf, s...)
	c.x += n
	return n
}

// char writes one ASCII character.
func (c *canvas) char(b byte) {
	if c.x < c.limit && c.y < c.h {
		c.buf = append(c.buf, b)
		c.x++
	}
}

// glyph writes one character of the console's own.
func (c *canvas) glyph(s string) {
	if c.x < c.limit && c.y < c.h {
		c.buf = append(c.buf, s...)
		c.x++
	}
}

// cell writes s into a column of a table.
func (c *canvas) cell(s string, width int, right bool) {
	width = min(width, c.limit-c.x)
	end := c.x + width
	if right && isPlain(s) && len(s) < width {
		c.padTo(end - len(s))
	}
	c.textMax(s, width)
	c.padTo(end)
}

// bytesCell is cell for ASCII made by the console itself.
func (c *canvas) bytesCell(s []byte, width int, right bool) {
	width = min(width, c.limit-c.x)
	if width <= 0 || c.y >= c.h {
		return
	}
	end := c.x + width
	if len(s) > width {
		s = s[:width]
	}
	if right {
		c.padTo(end - len(s))
	}
	c.buf = append(c.buf, s...)
	c.x += len(s)
	c.padTo(end)
}

func (c *canvas) padTo(x int) {
	for x = min(x, c.limit); c.x < x && c.y < c.h; c.x++ {
		c.buf = append(c.buf, ' ')
	}
}

// barTo draws a rule up to column x.
func (c *canvas) barTo(x int) {
	n := min(x, c.limit) - c.x
	if n <= 0 || c.y >= c.h {
		return
	}
	c.buf = append(c.buf, c.g.rule[:n*c.g.ruleUnit]...)
	c.x += n
}

// rule draws a line across the area with a label on the left and one on the
// right.
func (c *canvas) rule(st style, left, right string) {
	c.set(quiet)
	c.barTo(c.x + 2)
	if left != "" {
		c.char(' ')
		c.set(st)
		c.textMax(left, c.limit-c.x-2)
		c.set(quiet)
		c.char(' ')
	}
	if right == "" || c.limit-c.x < len(right)+6 {
		c.barTo(c.limit)
		return
	}
	c.barTo(c.limit - len(right) - 5)
	c.char(' ')
	c.put(plain, right)
	c.set(quiet)
	c.char(' ')
	c.barTo(c.limit)
}

// end finishes the line.
func (c *canvas) end() {
	c.set(plain)
	if c.y < c.h-1 {
		c.buf = append(c.buf, '\n')
	}
	c.y++
	c.x, c.limit = 0, c.w
}
