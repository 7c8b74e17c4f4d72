package words

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
		ok   bool
	}{
		{"", nil, true},
		{" \t\r\n ", nil, true},
		{"pi list --json", []string{"pi", "list", "--json"}, true},
		{"  pi   list ", []string{"pi", "list"}, true},
		{`a '' ""`, []string{"a", "", ""}, true},
		{`'a b'c"d e"f`, []string{"a bcd ef"}, true},
		{`a\ b \'`, []string{"a b", "'"}, true},
		{`"a\"b\\c\n\$"`, []string{`a"b\c\n$`}, true},
		{"a\\\nb", []string{"ab"}, true},
		{`$HOME *.go; rm`, []string{"$HOME", "*.go;", "rm"}, true},
		{`'open`, nil, false},
		{`"open`, nil, false},
		{`"open\`, nil, false},
		{`end\`, nil, false},
		{"a\x00b", nil, false},
		{strings.Repeat("x", Max+1), nil, false},
		{strings.Repeat("x ", MaxWords+1), nil, false},
	} {
		got, err := Split(tt.line)
		if (err == nil) != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%.40q: %q, %v", tt.line, got, err)
		}
		if err != nil && !errors.Is(err, ErrSyntax) {
			t.Errorf("%.40q: %v", tt.line, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"pi list --json", `pi cycle a3-001 --reason 'it''s "stuck"'`, `a\`, `"`, "\x00", `'\'' ""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, err := Split(line)
		if err != nil {
			return
		}
		if joined := Join(got); len(joined) <= Max {
			again, err := Split(joined)
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("%q: %q, again %q, %v", line, got, again, err)
			}
		}
	})
}
