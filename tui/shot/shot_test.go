package shot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

// check reads the picture as XML and returns its text.
func check(t *testing.T, svg []byte) string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	var text strings.Builder
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, svg)
		}
		if c, ok := tok.(xml.CharData); ok {
			text.Write(c)
		}
	}
}

func TestSVG(t *testing.T) {
	tests := []struct {
		name, frame string
		want        []string
		not         []string
	}{
		{"plain", "hello", []string{`x="14.0" y="43.5" textLength="42.0"`, ">hello</text>"}, []string{"font-weight"}},
		{"colour", "a\x1b[32mb\x1b[mc", []string{`fill="#99cc99">b<`, ">a<", ">c<"}, nil},
		{"bright", "\x1b[91mx", []string{`fill="#ff8f91">x<`}, nil},
		{"bold faint", "\x1b[1mx\x1b[0;2my", []string{`font-weight="bold">x<`, `opacity="0.55">y<`}, nil},
		{"reverse", "\x1b[7mx", []string{`height="18.0" fill="#d3d7cf"`, `fill="#16191f">x<`}, nil},
		{"reverse colour", "\x1b[1;31;7m!", []string{`height="18.0" fill="#f2777a"`}, nil},
		{"256 colours", "\x1b[38;5;2mx\x1b[38;5;200my", []string{`fill="#99cc99">x<`, ">y<"}, nil},
		{"true colour", "\x1b[38;2;1;31;7mx", []string{">x<"}, []string{"font-weight"}},
		{"over lines", "\x1b[31ma\nb", []string{`fill="#f2777a">a<`, `fill="#f2777a">b<`}, nil},
		{"escaped", "<&>\"", []string{"&lt;&amp;&gt;"}, nil},
		{"clipped", "0123456789abcdef\n2\n3\n4", []string{">0123456789<", ">3<"}, []string{"a", "4<"}[1:]},
		{"wide", "漢x", []string{`textLength="25.2"`}, nil},
		{"other sequences", "\x1b[2J\x1b]0;title\aab\x1b[1;1H", []string{">ab<"}, []string{"title"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(SVG(tt.frame, 10, 3))
			check(t, []byte(got))
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in\n%s", w, got)
				}
			}
			for _, w := range tt.not {
				if strings.Contains(got, w) {
					t.Errorf("%q in\n%s", w, got)
				}
			}
		})
	}
}

func FuzzSVG(f *testing.F) {
	f.Add("\x1b[1;31;7m!\x1b[m ok\nnext", 80, 24)
	f.Add("\x1b[38;5\x1b[38;2;m\xff\x00", 3, -1)
	f.Fuzz(func(t *testing.T, frame string, w, h int) {
		check(t, SVG(frame, w, min(h, 60)))
	})
}

var (
	in  = flag.String("in", "", "frame to draw, as tmux capture-pane -e -p prints it")
	out = flag.String("out", "", "picture to write")
	w   = flag.Int("w", 80, "columns of the frame")
	h   = flag.Int("h", 24, "lines of the frame")
)

// TestDraw draws a picture when it is given -in and -out.
func TestDraw(t *testing.T) {
	if *in == "" || *out == "" {
		t.Skip("no -in and -out")
	}
	frame, err := os.ReadFile(*in)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*out, SVG(string(frame), *w, *h), 0o644); err != nil {
		t.Fatal(err)
	}
}
