package tui

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// maxForeign bounds a string from outside before any work is done on it.
const maxForeign = 2048

// isPlain tells whether s is printable ASCII only: a byte is then a column.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clean makes a string from outside safe to show on one line. Control and
// escape characters, and those that hide or reorder text, become "?", so that
// a technician sees that something was there; combining marks are dropped.
func clean(s string, ascii bool) string {
	if len(s) > maxForeign {
		s = s[:maxForeign]
	}
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case unicode.In(r, unicode.Mn, unicode.Me):
		case r == utf8.RuneError || !unicode.IsPrint(r) || ascii && r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// wrap breaks text into lines of at most width columns, at spaces only: a name
// such as "a3-023" stays whole as long as it fits.
func wrap(s string, width int) []string { return fill(strings.Fields(s), width) }

// wrapMax is wrap with at most rows lines; what is left over stays on the last
// one, to be cut where it is drawn.
func wrapMax(s string, width, rows int) []string {
	lines := wrap(s, width)
	if len(lines) > rows {
		lines[rows-1] = strings.Join(lines[rows-1:], " ")
		lines = lines[:rows]
	}
	return lines
}

// fill puts items into lines of at most width columns. Only one that is wider
// than a line is broken.
func fill(items []string, width int) []string {
	if width < 1 {
		return nil
	}
	var lines []string
	var line strings.Builder
	used := 0
	for _, item := range items {
		n := ansi.StringWidth(item)
		if used > 0 && used+1+n > width {
			lines, used = append(lines, line.String()), 0
			line.Reset()
		}
		for ; used == 0 && n > width; n = ansi.StringWidth(item) {
			head := ansi.Truncate(item, width, "")
			if head == "" {
				return lines // a character wider than the line
			}
			lines, item = append(lines, head), item[len(head):]
		}
		if used > 0 {
			line.WriteByte(' ')
			used++
		}
		line.WriteString(item)
		used += n
	}
	if used > 0 {
		lines = append(lines, line.String())
	}
	return lines
}

// appendAge writes a duration in at most four characters, in the largest unit
// that it has one of.
func appendAge(b []byte, d time.Duration) []byte {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return append(strconv.AppendInt(b, int64(d/time.Second), 10), 's')
	case d < time.Hour:
		return append(strconv.AppendInt(b, int64(d/time.Minute), 10), 'm')
	case d < 24*time.Hour:
		return append(strconv.AppendInt(b, int64(d/time.Hour), 10), 'h')
	}
	return append(strconv.AppendInt(b, min(int64(d/(24*time.Hour)), 999), 10), 'd')
}

func age(d time.Duration) string { return string(appendAge(nil, d)) }

// appendWatts writes milliwatts as watts with one decimal.
func appendWatts(b []byte, milliwatts int) []byte {
	if milliwatts >= 99950 {
		return strconv.AppendInt(b, int64((milliwatts+500)/1000), 10)
	}
	return strconv.AppendFloat(b, float64(milliwatts)/1000, 'f', 1, 64)
}

// bytesOf writes a byte count with a unit.
func bytesOf(n uint64) string {
	const units = "kMGTP"
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	f, i := float64(n)/1000, 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i:i+1] + "B"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
