package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

var cooked = lineMode{true, true, true, true, true}

func TestLine(t *testing.T) {
	for name, tt := range map[string]struct {
		mode              lineMode
		typed, read, echo string
		interrupts        int
	}{
		"a line":          {cooked, "yes\r", "yes\n", "yes\n", 0},
		"two lines":       {cooked, "a\rb\n", "a\nb\n", "a\nb\n", 0},
		"rubout":          {cooked, "yex\x7fs\r", "yes\n", "yex\b \bs\n", 0},
		"rubout too far":  {cooked, "\x7f\x7fa\r", "a\n", "a\n", 0},
		"rubout of UTF-8": {cooked, "né\x7fe\r", "ne\n", "né\b \be\n", 0},
		"kill":            {cooked, "abc\x15d\r", "d\n", "abc\b \b\b \b\b \bd\n", 0},
		"end":             {cooked, "\x04", "", "", 0},
		"end of a part":   {cooked, "ab\x04\x04", "ab", "ab", 0},
		"interrupt":       {cooked, "ab\x03", "", "ab^C\n", 1},
		"controls go":     {cooked, "a\x1b\x00\x07b\r", "ab\n", "ab\n", 0},
		"unfinished":      {cooked, "ab", "ab", "ab", 0},
		"raw":             {lineMode{}, "a\x7f\x03\r\n\x04", "a\x7f\x03\r\n\x04", "", 0},
		"no echo":         {lineMode{canonical: true, returns: true}, "secret\r", "secret\n", "", 0},
		"too long":        {cooked, strings.Repeat("x", 2*maxLine) + "\r", strings.Repeat("x", maxLine) + "\n", strings.Repeat("x", maxLine) + "\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var echo bytes.Buffer
			interrupts := 0
			l := newLine(tt.mode, &echo, func() { interrupts++ })
			l.pump(iotest.OneByteReader(strings.NewReader(tt.typed)))
			got, err := io.ReadAll(l)
			if err != nil || string(got) != tt.read || echo.String() != tt.echo || interrupts != tt.interrupts {
				t.Errorf("read %.50q, echo %.50q, %d interrupts, %v", got, echo.String(), interrupts, err)
			}
		})
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("yes\r\x7f\x15\x04\x03"), byte(31))
	f.Add([]byte("\xc3\x7f\xa9\r"), byte(3))
	f.Fuzz(func(t *testing.T, typed []byte, bits byte) {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		l := newLine(lineMode{bit(0), bit(1), bit(2), bit(3), bit(4)}, io.Discard, func() {})
		l.pump(bytes.NewReader(typed))
		if len(l.ready) > maxAhead || len(l.typed) > 0 {
			t.Errorf("%d ready, %d typed", len(l.ready), len(l.typed))
		}
		for {
			if n, err := l.Read(make([]byte, 64)); n == 0 || err != nil {
				return
			}
		}
	})
}

func TestOutput(t *testing.T) {
	for _, tt := range []struct {
		parts []string
		crlf  bool
		want  string
	}{
		{[]string{"a\nb\n"}, false, "a\nb\n"},
		{[]string{"a\nb\r\n\n"}, true, "a\r\nb\r\n\r\n"},
		{[]string{"a\r", "\nb", "\n"}, true, "a\r\nb\r\n"},
		{[]string{strings.Repeat("x", chunk-1) + "\n\n"}, true, strings.Repeat("x", chunk-1) + "\r\n\r\n"},
	} {
		var b bytes.Buffer
		o := newOutput(&b, tt.crlf, 1<<40, func() { t.Error("stalled") })
		for _, p := range tt.parts {
			if n, err := io.WriteString(o, p); n != len(p) || err != nil {
				t.Error(n, err)
			}
		}
		if b.String() != tt.want {
			t.Errorf("%.60q", b.String())
		}
	}
}

// TestAsked asks a person on a terminal, who mistypes, answers, and then
// interrupts.
func TestAsked(t *testing.T) {
	w := serve(t, 1, Limits{}, func(ctx context.Context, s Session) int {
		fmt.Fprint(s.Stdout, "sure?\n")
		var answer string
		if _, err := fmt.Fscanln(s.Stdin, &answer); err != nil || answer != "yes" {
			fmt.Fprintf(s.Stderr, "%q %v\n", answer, err)
			return 1
		}
		fmt.Fprint(s.Stdout, "waiting\n")
		<-ctx.Done()
		return 130
	})
	c := w.dial(w.operator("alice", engine.RoleOperator))
	s := open(t, c, 80, 24)
	if err := s.se.Start("pi cycle a3-0001"); err != nil {
		t.Fatal(err)
	}
	s.wants("sure?\r\n")
	s.press("yep\x7fs\r")
	s.wants("yep\b \bs\r\nwaiting\r\n")
	s.press("\x03")
	if code := s.exit(); code != 130 {
		t.Errorf("exit %d, %q", code, s.errs)
	}
	// Without a terminal the client's own input is read, and a signal ends it.
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	se.Stdin = strings.NewReader("yes\n")
	out, err := se.StdoutPipe()
	if err = errors.Join(err, se.Start("pi cycle a3-0001")); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(io.LimitReader(out, 14)); err != nil || string(text) != "sure?\nwaiting\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := se.Signal(ssh.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, se.Wait()); code != 130 {
		t.Errorf("exit %d", code)
	}
}
