// Package shot turns a terminal frame into an SVG picture, for documents. The
// frame is text with SGR sequences (ECMA-48, section 8.3.117), as
// "tmux capture-pane -e -p" prints it.
package shot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The geometry of the picture, in pixels.
const (
	cellW, cellH = 8.4, 18.0
	fontSize     = 14
	margin       = 14.0
	titleBar     = 30.0
)

// maxCells bounds the picture in each direction.
const maxCells = 1000

// palette holds the colours of ANSI 0-15 on a dark terminal.
var palette = [16]string{
	"#1b1f27", "#f2777a", "#99cc99", "#ffcc66", "#6699cc", "#cc99cc", "#66cccc", "#d3d7cf",
	"#7c828d", "#ff8f91", "#b5e8b5", "#ffe08a", "#8ab8e6", "#e0b3e0", "#8ae6e6", "#ffffff",
}

const (
	foreground = "#d3d7cf"
	background = "#16191f"
)

// look is how a cell is drawn. Colours are -1 for the terminal's own.
type look struct {
	fg, bg                                  int
	bold, faint, italic, underline, reverse bool
}

var normal = look{fg: -1, bg: -1}

type cell struct {
	text string
	look look
	wide bool // its right half is the next cell
}

// SVG draws the first h lines and w columns of a frame as a terminal window.
// Sequences other than SGR are left out. The result is the same for the same
// frame.
func SVG(frame string, w, h int) []byte {
	w, h = min(max(w, 1), maxCells), min(max(h, 1), maxCells)
	width, height := float64(w)*cellW+2*margin, float64(h)*cellH+margin+titleBar
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" rx="8" fill="%s"/>`+"\n", width, height, background)
	for i, c := range [...]string{"#f2777a", "#ffcc66", "#99cc99"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="15" r="5.5" fill="%s"/>`+"\n", 20+18*i, c)
	}
	fmt.Fprintf(&b, `<g font-family="ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace" font-size="%d" fill="%s" xml:space="preserve">`+"\n", fontSize, foreground)
	now := normal
	lines := strings.Split(strings.ReplaceAll(frame, "\r", ""), "\n")
	for y := range min(h, len(lines)) {
		var cells []cell
		cells, now = parse(lines[y], w, now)
		draw(&b, cells, y)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

// parse reads a line into at most w cells, from the look that the line before
// left behind.
func parse(line string, w int, now look) ([]cell, look) {
	var cells []cell
	p := ansi.NewParser()
	var state byte
	for len(line) > 0 {
		seq, width, n, next := ansi.DecodeSequence(line, state, p)
		if n == 0 {
			break
		}
		state, line = next, line[n:]
		switch {
		case width > 0 && len(cells)+width <= w:
			cells = append(cells, cell{seq, now, width > 1})
			for range width - 1 {
				cells = append(cells, cell{"", now, false})
			}
		case width == 0 && ansi.Cmd(p.Command()) == 'm' && strings.HasPrefix(seq, "\x1b["):
			now = now.sgr(seq)
		}
	}
	return cells, now
}

// sgr applies the parameters of one "CSI ... m".
func (l look) sgr(seq string) look {
	params := strings.FieldsFunc(strings.TrimSuffix(strings.TrimPrefix(seq, "\x1b["), "m"), func(r rune) bool { return r == ';' || r == ':' })
	if len(params) == 0 {
		return normal
	}
	for i := 0; i < len(params); i++ {
		n, err := strconv.Atoi(params[i])
		if err != nil {
			continue
		}
		if n == 38 || n == 48 {
			var colour int
			colour, i = extended(params, i)
			if n == 38 {
				l.fg = colour
			} else {
				l.bg = colour
			}
			continue
		}
		l = l.one(n)
	}
	return l
}

// extended reads "38;5;N". Only the 16 colours of the palette are kept, others
// become the terminal's own.
func extended(params []string, i int) (colour, last int) {
	if i+2 < len(params) && params[i+1] == "5" {
		if n, err := strconv.Atoi(params[i+2]); err == nil && n >= 0 && n < len(palette) {
			return n, i + 2
		}
		return -1, i + 2
	}
	if i+1 < len(params) && params[i+1] == "2" {
		return -1, i + 4
	}
	return -1, i
}

// one applies a parameter that stands alone.
func (l look) one(n int) look {
	switch {
	case n == 0:
		return normal
	case n == 1:
		l.bold = true
	case n == 2:
		l.faint = true
	case n == 3:
		l.italic = true
	case n == 4:
		l.underline = true
	case n == 7:
		l.reverse = true
	case n == 22:
		l.bold, l.faint = false, false
	case n == 23:
		l.italic = false
	case n == 24:
		l.underline = false
	case n == 27:
		l.reverse = false
	case n >= 30 && n <= 37:
		l.fg = n - 30
	case n == 39:
		l.fg = -1
	case n >= 40 && n <= 47:
		l.bg = n - 40
	case n == 49:
		l.bg = -1
	case n >= 90 && n <= 97:
		l.fg = n - 90 + 8
	case n >= 100 && n <= 107:
		l.bg = n - 100 + 8
	}
	return l
}

// colours are the cell's colours with reverse applied; bg is "" for none.
func (l look) colours() (fg, bg string) {
	fg, bg = foreground, ""
	if l.fg >= 0 {
		fg = palette[l.fg]
	}
	if l.bg >= 0 {
		bg = palette[l.bg]
	}
	if l.reverse {
		if bg == "" {
			bg = background
		}
		fg, bg = bg, fg
	}
	return fg, bg
}

// draw writes a line: the backgrounds, then the text, in runs of one look.
// Each run says how long it is, so that columns stay in line in any font.
func draw(b *bytes.Buffer, cells []cell, y int) {
	top := titleBar + float64(y)*cellH
	for x := 0; x < len(cells); {
		end := x
		var text strings.Builder
		for end < len(cells) && cells[end].look == cells[x].look {
			text.WriteString(cells[end].text)
			end++
		}
		run(b, cells[x].look, text.String(), x, end-x, top)
		x = end
	}
}

func run(b *bytes.Buffer, l look, text string, x, n int, top float64) {
	fg, bg := l.colours()
	left, width := margin+float64(x)*cellW, float64(n)*cellW
	if bg != "" {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, top, width, cellH, bg)
	}
	if strings.TrimSpace(text) == "" && !l.underline {
		return
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs"`, left, top+13.5, width)
	if fg != foreground {
		fmt.Fprintf(b, ` fill="%s"`, fg)
	}
	for _, a := range [...]struct {
		on  bool
		svg string
	}{{l.bold, ` font-weight="bold"`}, {l.faint, ` opacity="0.55"`}, {l.italic, ` font-style="italic"`}, {l.underline, ` text-decoration="underline"`}} {
		if a.on {
			b.WriteString(a.svg)
		}
	}
	b.WriteByte('>')
	// EscapeText replaces what XML does not allow.
	_ = xml.EscapeText(b, []byte(strings.ToValidUTF8(text, "?")))
	b.WriteString("</text>\n")
}
