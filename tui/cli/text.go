package cli

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

// clean makes a string from outside safe to show on one line, as the console
// does: control and escape characters, and those that hide or reorder text,
// become "?"; combining marks are dropped.
func clean(s string) string {
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
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isPlain tells whether s is printable ASCII only: a byte is then a column.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func columns(s string) int {
	if isPlain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// cut shortens clean text to n columns; "~" says that there was more.
func cut(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	return ansi.Truncate(s, n, "~")
}

// clip shortens a word that is shown back to the person who typed it.
func clip(s string) string { return cut(clean(s), 40) }

// wrap breaks text into lines of at most width columns at spaces; a longer
// word has a line of its own. A width of 0 leaves the text in one line.
func wrap(s string, width int) []string {
	if width <= 0 || columns(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && columns(line)+1+columns(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// age writes a duration in at most four characters, as the console does.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(min(int(d/(24*time.Hour)), 999)) + "d"
}

// watts writes milliwatts as watts with one decimal.
func watts(milliwatts int) string {
	if milliwatts >= 99950 {
		return strconv.Itoa((milliwatts + 500) / 1000)
	}
	return strconv.FormatFloat(float64(milliwatts)/1000, 'f', 1, 64)
}

// bytesOf writes a byte count with a decimal unit.
func bytesOf(n int64) string {
	const units = "kMGTP"
	if n < 1000 {
		return strconv.FormatInt(max(n, 0), 10) + " B"
	}
	f, i := float64(n)/1000, 0
	for f >= 999.95 && i < len(units)-1 {
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

// or is s, or what stands for nothing.
func or(s, nothing string) string {
	if s == "" {
		return nothing
	}
	return s
}
