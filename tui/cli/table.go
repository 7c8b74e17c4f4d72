package cli

import "strings"

// look is how a cell is shown where there is colour; the text says it too.
type look uint8

const (
	plain look = iota
	head
	good
	busy
	warn
	bad
)

// sgr are ANSI colours 0-15, so that the terminal's palette decides.
var sgr = [...]string{head: "\x1b[1m", good: "\x1b[32m", busy: "\x1b[36m", warn: "\x1b[33m", bad: "\x1b[1;31m"}

// painted wraps text in its look.
func painted(s string, l look, color bool) string {
	if !color || l == plain || s == "" {
		return s
	}
	return sgr[l] + s + "\x1b[m"
}

// cell is a table's cell; its text is clean.
type cell struct {
	text string
	look look
}

// column describes a table's column.
type column struct {
	title string
	right bool
	least int // may be shortened to so many columns before others go, 0 = never
	rank  int // the higher, the sooner it goes when there is no room; 0 stays
}

// table is text in columns.
type table struct {
	cols []column
	rows [][]cell
}

// row adds a row; what comes from outside is made safe to show here.
func (t *table) row(cells ...any) {
	row := make([]cell, len(t.cols))
	for i, c := range cells {
		switch c := c.(type) {
		case cell:
			row[i] = cell{clean(c.text), c.look}
		case string:
			row[i] = cell{text: clean(c)}
		}
	}
	t.rows = append(t.rows, row)
}

const gap = 2 // columns between columns

// fit picks the columns to show and how wide each is, so that a line has at
// most width columns. A width of 0 is no limit.
func (t *table) fit(width int) []int {
	w := make([]int, len(t.cols))
	total := -gap
	for i, c := range t.cols {
		w[i] = len(c.title)
		empty := true
		for _, r := range t.rows {
			w[i] = max(w[i], columns(r[i].text))
			empty = empty && r[i].text == ""
		}
		if empty && c.rank > 0 {
			w[i] = -1 // nothing in it
			continue
		}
		total += gap + w[i]
	}
	for width > 0 && total > width {
		over := total - width
		i, room := t.longest(w)
		if drop := t.last(w); drop >= 0 && t.slack(w) < over {
			total -= gap + w[drop]
			w[drop] = -1
			continue
		}
		if room == 0 {
			return t.squeeze(w, over)
		}
		w[i] -= min(over, room)
		total -= min(over, room)
	}
	return w
}

// squeeze takes what is over from the columns that may be shortened, further
// than they should be.
func (t *table) squeeze(w []int, over int) []int {
	for i := range w {
		if t.cols[i].least > 0 {
			n := min(max(w[i]-len(t.cols[i].title), 0), over)
			w[i] -= n
			over -= n
		}
	}
	return w
}

// longest is the column that can be shortened most, and by how much.
func (t *table) longest(w []int) (best, room int) {
	for i, c := range t.cols {
		if c.least > 0 && w[i]-max(c.least, len(c.title)) > room {
			best, room = i, w[i]-max(c.least, len(c.title))
		}
	}
	return best, room
}

// slack is how much all columns can be shortened together.
func (t *table) slack(w []int) int {
	n := 0
	for i, c := range t.cols {
		if c.least > 0 {
			n += max(w[i]-max(c.least, len(c.title)), 0)
		}
	}
	return n
}

// last is the column that goes first, -1 = none may.
func (t *table) last(w []int) int {
	best, rank := -1, 0
	for i, c := range t.cols {
		if w[i] >= 0 && c.rank > rank {
			best, rank = i, c.rank
		}
	}
	return best
}

// write draws the table.
func (t *table) write(b *strings.Builder, width int, color bool) {
	w := t.fit(width)
	titles := make([]cell, len(t.cols))
	for i, c := range t.cols {
		titles[i] = cell{c.title, head}
	}
	t.line(b, titles, w, width, color)
	for _, r := range t.rows {
		t.line(b, r, w, width, color)
	}
}

// line draws a row without blanks at its end.
func (t *table) line(b *strings.Builder, row []cell, w []int, width int, color bool) {
	x, blanks := 0, 0
	for i, c := range row {
		if w[i] < 0 {
			continue
		}
		if x > 0 {
			blanks += gap
			x += gap
		}
		n := w[i]
		if width > 0 {
			n = min(n, max(width-x, 0))
		}
		text := cut(c.text, n)
		used := columns(text)
		pad := max(n-used, 0)
		if t.cols[i].right {
			blanks += pad
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", blanks))
			b.WriteString(painted(text, c.look, color))
			blanks = 0
		}
		if !t.cols[i].right {
			blanks += pad
		}
		x += n
	}
	b.WriteByte('\n')
}
