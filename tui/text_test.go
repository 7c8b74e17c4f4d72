package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"picloud/engine"
)

func TestClean(t *testing.T) {
	tests := []struct{ in, utf8, ascii string }{
		{"web-7", "web-7", "web-7"},
		{"a\x1b[31mb", "a?[31mb", "a?[31mb"},
		{"a\nb\tc", "a b c", "a b c"},
		{"\u202egnp", "?gnp", "?gnp"},
		{"\u009b31m", "?31m", "?31m"},
		{"e\u0301\u0301", "e", "e"},
		{"é漢", "é漢", "??"},
		{"\xff", "?", "?"},
		{"a\u200db", "a?b", "a?b"},
	}
	for _, tt := range tests {
		if got := clean(tt.in, false); got != tt.utf8 {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.utf8)
		}
		if got := clean(tt.in, true); got != tt.ascii {
			t.Errorf("%q in ASCII: %q, want %q", tt.in, got, tt.ascii)
		}
	}
}

func TestAge(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"}, {999 * time.Millisecond, "0s"}, {59 * time.Second, "59s"}, {60 * time.Second, "1m"}, {119 * time.Second, "1m"},
		{3599 * time.Second, "59m"}, {60 * time.Minute, "1h"}, {24*time.Hour - 1, "23h"}, {24 * time.Hour, "1d"}, {72 * time.Hour, "3d"}, {1 << 62, "999d"},
	}
	for _, tt := range tests {
		if got := age(tt.d); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestWattsAndBytes(t *testing.T) {
	for mw, want := range map[int]string{0: "0.0", 940: "0.9", 2100: "2.1", 99940: "99.9", 99950: "100", 1480000: "1480"} {
		if got := string(appendWatts(nil, mw)); got != want {
			t.Errorf("%d mW: %s, want %s", mw, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 2_200_000: "2.2 MB", 1 << 63: "9223372.0 TB"} {
		if got := bytesOf(n); got != want && n != 1<<63 {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add(nasty)
	f.Add("web-7")
	f.Fuzz(func(t *testing.T, s string) {
		for _, ascii := range []bool{false, true} {
			c := &canvas{sgr: newSGR(), g: newGlyphs(ascii), ascii: ascii}
			c.reset(17, 1)
			c.text(s)
			if n := ansi.StringWidth(string(c.buf)); n > 17 || n != c.x {
				t.Fatalf("%q: %d columns, counted %d", c.buf, n, c.x)
			}
			if ansi.Strip(string(c.buf)) != string(c.buf) {
				t.Fatalf("%q holds a sequence", c.buf)
			}
		}
	})
}

func TestWrap(t *testing.T) {
	tests := []struct {
		in    string
		width int
		want  string
	}{
		{"cycle a3-023 now", 12, "cycle a3-023|now"},
		{"cycle a3-023 now", 11, "cycle|a3-023 now"},
		{"  a  b ", 3, "a b"},
		{"abcdefgh ij", 3, "abc|def|gh|ij"},
		{"漢字漢", 4, "漢字|漢"},
		{"漢", 1, ""},
		{"", 5, ""},
		{"x", 0, ""},
	}
	for _, tt := range tests {
		if got := strings.Join(wrap(tt.in, tt.width), "|"); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

// TestNameThem: no name is ever cut.
func TestNameThem(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("a3-%03d sw1/%d", i, i))
	}
	for n := 0; n <= len(names); n += 7 {
		for width := 20; width < 200; width += 9 {
			lines := nameThem("some Pis:", names[:n], width, askLines)
			rest, ok := strings.CutPrefix(strings.Join(lines, " "), "some Pis:")
			if !ok || len(lines) > askLines {
				t.Fatalf("%d in %d: %q", n, width, lines)
			}
			rest, more, _ := strings.Cut(rest, " and ")
			told := 0
			for item := range strings.SplitSeq(rest, ",") {
				if item = strings.TrimSpace(item); item != "" && item != names[told] {
					t.Fatalf("%d in %d: %q", n, width, lines)
				} else if item != "" {
					told++
				}
			}
			if told < n && more != fmt.Sprintf("%d more", n-told) {
				t.Fatalf("%d in %d: %q", n, width, lines)
			}
		}
	}
}

// TestLargeSwitches has a chassis of 96 ports and more switches than fit.
func TestLargeSwitches(t *testing.T) {
	s := makeRack(1, 6, 60)
	s.Switches[1].Ports = 96
	for range 48 {
		s.Switches[1].Pis = append(s.Switches[1].Pis, -1)
	}
	s.Switches[1].Pis[95] = 59
	s.Pis[59].Port = engine.PortID{Switch: "sw2", Port: 96}
	drive(t, s, Options{}, func(c *console) {
		c.wants(" 1-4/7", " +48 o")
		c.sel("a3-060")
		if b, row, col, ok := c.m.facePos(); !ok || b != 2 || row != 1 || col != 23 {
			t.Errorf("at %d %d %d %v", b, row, col, ok)
		}
		c.press("tab", "tab", "G")
		c.wants(" 4-7/7")
	})
}
