package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// views are the commands that only look.
var views = []string{
	"rack", "pi list", "pi list @faults", "pi show a3-001 a3-003 a3-007 a3-008 a3-009", "switch list", "switch show sw1", "job list",
	"job show 3", "boot list a3-001", "boot show a3-003", "image list", "image show bookworm64", "server list", "server show db-1",
	"space", "audit", "log", "version",
}

func TestViewsInColumns(t *testing.T) {
	rackTest(t, func(b *bench) {
		for _, width := range []int{0, 80, 120} {
			var all strings.Builder
			for _, line := range views {
				s := session(split(line)...)
				s.Width, s.TTY = width, width > 0
				r := b.with(s)
				if r.code != 0 || r.err != "" {
					t.Errorf("%s: exit %d: %s", line, r.code, r.err)
				}
				for i, l := range strings.Split(r.out, "\n") {
					if n := columns(l); width > 0 && n > width {
						t.Errorf("%s at %d: line %d is %d wide", line, width, i+1, n)
					}
					if strings.HasSuffix(l, " ") {
						t.Errorf("%s at %d: line %d ends in blanks", line, width, i+1)
					}
				}
				fmt.Fprintf(&all, "$ picloud %s\n%s\n", line, r.out)
			}
			golden(t, fmt.Sprintf("views-%d", width), all.String())
		}
	})
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	rackTest(t, func(b *bench) {
		for width := 40; width < 200; width += 11 {
			for _, line := range views {
				s := session(split(line)...)
				s.Width, s.TTY = width, true
				for l := range strings.SplitSeq(b.with(s).out, "\n") {
					if columns(l) > max(width, 60) {
						t.Fatalf("%s at %d: %q is %d wide", line, width, l, columns(l))
					}
				}
			}
		}
	})
}

func TestColourIsForTerminalsOnly(t *testing.T) {
	rackTest(t, func(b *bench) {
		for _, tc := range []struct{ tty, color, want bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
			s := session("pi", "list")
			s.TTY, s.Color = tc.tty, tc.color
			if got := strings.Contains(b.with(s).out, "\x1b[1;31m! stalled dhcp\x1b[m"); got != tc.want {
				t.Errorf("terminal %t, colour %t: red is %t", tc.tty, tc.color, got)
			}
		}
	})
}

func TestJSON(t *testing.T) {
	rackTest(t, func(b *bench) {
		var all strings.Builder
		for _, line := range []string{
			"rack --json", "pi list a3-003 --json", "pi show a3-007 --json", "switch show sw2 --json", "job show 3 --json", "boot show a3-003 --json",
			"image list --json", "server list --json", "space --json", "audit --limit 2 --json", "log --limit 2 --json", "version --json",
			"pi cycle a3-005 a3-008 --dry-run --json", "pi cycle @booting --yes --json", "pi reimage a3-001 a3-002 --dry-run --json",
		} {
			r := b.run(line)
			fmt.Fprintf(&all, "$ picloud %s\n%s\n", line, r.out)
			if strings.ContainsAny(r.out, "\x1b\x07\u202e") {
				t.Errorf("%s: a control character is printed as it is", line)
			}
		}
		golden(t, "json", all.String())
	})
}

func TestHelp(t *testing.T) {
	rackTest(t, func(b *bench) {
		var all strings.Builder
		for _, line := range []string{"help", "pi --help", "pi reimage --help", "help pi move", "job --help", "audit --help", "help json"} {
			fmt.Fprintf(&all, "$ picloud %s\n%s\n", line, b.must(line))
		}
		golden(t, "help", all.String())
	})
}

// TestMistakes holds what is not understood to exit status 2, and what cannot
// be found or done to 1.
func TestMistakes(t *testing.T) {
	rackTest(t, func(b *bench) {
		for line, want := range map[string]struct {
			code int
			err  string
		}{
			"":                                         {2, "say what to do"},
			"pi":                                       {2, "say what to do"},
			"p list":                                   {2, "did you mean pi?"},
			"pi lst":                                   {2, "did you mean list?"},
			"pi list --jsn":                            {2, "unknown flag: --jsn"},
			"pi list a3-99":                            {2, `there is no Pi "a3-99"`},
			"pi show":                                  {2, "needs a PI"},
			"pi show a3-1":                             {2, "did you mean a3-001?"},
			"pi show sw1/99":                           {2, "has no port 99"},
			"pi show sw3/1":                            {2, "did you mean sw"},
			"pi show @staled":                          {2, "did you mean @stalled?"},
			"pi reimage a3-005 --image trixi64":        {2, "did you mean trixie64?"},
			"pi reimage a3-005 --image":                {2, "flag needs an argument"},
			"pi cycle a3-005 --timeout 5s":             {2, "goes with --wait"},
			"pi cycle a3-005 --wait --timeout -5s":     {2, "want a time above 0"},
			"pi cycle a3-005 --confirm a3-006":         {2, "--confirm a3-006 is not a3-005"},
			"pi cycle a3-005":                          {2, "repeat it with --yes"},
			"pi cycle a3-005 a3-006":                   {2, "repeat it with --yes"},
			"pi reimage a3-001 --yes":                  {2, "--confirm a3-001"},
			"pi reimage a3-001 a3-005 --yes":           {2, "--confirm 'reimage 2'"},
			"pi reimage a3-001 a3-005 --confirm me":    {2, "is not 'reimage 2'"},
			"pi resize a3-005 --yes":                   {2, "needs --size"},
			"pi resize a3-005 --yes --size 5":          {2, "no size with a unit"},
			"pi resize a3-005 --yes --size +5G":        {2, "present size of a3-005 is not known"},
			"pi resize a3-001 a3-005 --yes --size +5G": {2, "present size of a3-005 is not known"},
			"pi resize a3-001 --yes --size 5G":         {1, "its root has 10.0 GB and cannot shrink"},
			"pi resize a3-001 --size +5G":              {2, "resize to 15.0 GB, a3-001: not confirmed"},
			"pi move a3-001 --to sw1 --yes":            {2, "want one Pi, not 8"},
			"pi move a3-001 a3-002 --to a3-005":        {2, "2 Pis cannot go to one"},
			"pi move a3-001 --to a3-002":               {1, "it has a server, db-1"},
			"pi move a3-005 --to a3-006":               {1, "nobody has it"},
			"pi on a3-005":                             {1, "it is on"},
			"pi undo a3-005 --yes":                     {1, "no former root is kept"},
			"pi cycle a3-009 --yes":                    {1, "picloud switch show sw2"},
			"pi cycle a3-008 --yes":                    {1, "picloud pi ready a3-008"},
			"switch show sw9":                          {2, "did you mean sw1?"},
			"job show x":                               {2, "is no number of a job"},
			"job show 99":                              {1, "there is no job 99"},
			"job cancel 3":                             {1, "job 3 is over: failed"},
			"boot show a3-004":                         {1, "has no boot"},
			"boot list @all":                           {2, "want one Pi, not 9"},
			"image show bookworm":                      {2, "did you mean bookworm64?"},
			"server show web":                          {2, `no Pi has a server "web"`},
			"audit --since yesterday":                  {2, `--since "yesterday": no time`},
			"audit --limit -1":                         {2, "want a number above 0"},
			"version now":                              {2, `takes no "now"`},
			"completion tcsh":                          {2, "bash, zsh, fish"},
			"help nothing":                             {2, "there is no command"},
			"watch --pi a3-99":                         {2, "there is no Pi"},
			"pi cycle a3-005\x1b[2J --yes":             {2, "a3-005?[2J"},
			"pi show " + strings.Repeat("a", 300000):   {2, "too long"},
			"pi show a\x00b":                           {2, "zero byte"},
		} {
			shown := line[:min(len(line), 60)]
			rows := b.inv.auditRows()
			r := b.run(line)
			if r.code != want.code || !strings.Contains(r.err, want.err) {
				t.Errorf("%s: exit %d, want %d with %q:\n%s", shown, r.code, want.code, want.err, r.err)
			}
			if r.out != "" {
				t.Errorf("%s: printed %q", shown, r.out)
			}
			if strings.ContainsAny(r.err, "\x1b\x00") {
				t.Errorf("%s: a control character is printed: %q", shown, r.err)
			}
			if n := b.inv.auditRows(); n != rows {
				t.Errorf("%s: %d acts were written down", shown, n-rows)
			}
		}
	})
}

func TestNoServiceStillHelps(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Run(t.Context(), nil, Session{Args: []string{"pi", "cycle", "--help"}, Stdout: &out}); code != 0 || !strings.Contains(out.String(), "Power-cycle") {
		t.Errorf("help: exit %d\n%s", code, &out)
	}
	if code := Run(t.Context(), nil, Session{Args: []string{"pi", "list"}, Stderr: &errs}); code != 1 || !strings.Contains(errs.String(), "no service") {
		t.Errorf("list: exit %d\n%s", code, &errs)
	}
	if code := Run(t.Context(), nil, Session{}); code != 2 {
		t.Errorf("nothing at all: exit %d", code)
	}
}

// deaf is a caller who has gone.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestACallerWhoHasGoneEndsNothingElse(t *testing.T) {
	rackTest(t, func(b *bench) {
		for _, line := range append(views, "help", "help nothing", "pi --help", "nothing", "completion bash", "__complete pi", "watch") {
			s := session(split(line)...)
			s.Stdout, s.Stderr = deaf{}, deaf{}
			ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
			if code := Run(ctx, b.e, s); code == 0 && !strings.HasPrefix(line, "__") {
				t.Errorf("%s: exit 0", line)
			}
			cancel()
		}
	})
}

func TestCompletion(t *testing.T) {
	rackTest(t, func(b *bench) {
		for _, tc := range []struct {
			args []string
			want string
		}{
			{[]string{"pi", "cycle", "a3-00"}, "a3-001 a3-002 a3-003 a3-004 a3-005 a3-006 a3-007 a3-008 a3-009"},
			{[]string{"pi", "cycle", "--yes", "a3-001", "a3-002", "@st"}, "@stalled"},
			{[]string{"pi", "show", "sw"}, "sw1 sw2"},
			{[]string{"pi", "reimage", "a3-001", "--image", ""}, "bookworm64 trixie64"},
			{[]string{"pi", "reimage", "a3-001", "--image=tr"}, "trixie64"},
			{[]string{"pi", "move", "a3-001", "--to", "a3-009"}, "a3-009"},
			{[]string{"pi", "move", "--reason", "x", "a3-001", "--wa"}, "--wait"},
			{[]string{"pi", "re"}, "ready reimage rescue resize"},
			{[]string{"job", "show", ""}, "1 2 3 4 5 6"},
			{[]string{"image", "show", "b"}, "bookworm64"},
			{[]string{"server", "show", "d"}, "db-1"},
			{[]string{"switch", "show", "sw1", ""}, "sw2"},
			{[]string{"boot", "show", "a3-001", ""}, ""},
			{[]string{"completion", ""}, "bash zsh fish"},
			{[]string{"nothing", ""}, ""},
			{[]string{"sw"}, "switch"},
			{[]string{"pi", "list", "--js"}, "--json"},
		} {
			out := b.with(session(append([]string{cobra.ShellCompNoDescRequestCmd}, tc.args...)...)).out
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if lines[len(lines)-1] != ":4" {
				t.Errorf("%q: no directive at the end:\n%s", tc.args, out)
			}
			if got := lines[:len(lines)-1]; !sameWords(got, strings.Fields(tc.want)) {
				t.Errorf("%q: %q, want %q", tc.args, got, tc.want)
			}
		}
		if out := b.run("__complete pi cyc").out; out != "cycle\tpower-cycle: off, hold, on, then watch it boot\n:4\n" {
			t.Errorf("with meanings: %q", out)
		}
	})
}

func sameWords(a, b []string) bool {
	seen := map[string]int{}
	for _, s := range a {
		seen[s]++
	}
	for _, s := range b {
		seen[s]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "__start_picloud", "zsh": "#compdef picloud", "fish": "complete -c picloud"} {
		var out bytes.Buffer
		if code := Run(t.Context(), nil, Session{Args: []string{"completion", shell}, Stdout: &out}); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, %d bytes", shell, code, out.Len())
		}
	}
}

func TestHistory(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.must("pi cycle a3-005 --yes --wait --reason kernel~upgrade")
		time.Sleep(time.Hour)
		b.must("pi cycle a3-006 --yes --wait")
		for line, want := range map[string]int{
			"audit":                        8,
			"audit --since 61m":            2,
			"audit --since 30m":            1,
			"audit --since 2000-01-01":     8,
			"audit --since 1d --limit 3":   3,
			"audit --actor alice":          2,
			"audit --actor - --pi sw1/1-2": 2,
			"audit --pi a3-005":            2,
			"audit --pi gone-1":            0,
			"audit --pi @booting":          0,
			"log --actor alice":            4,
			"log --actor alice --limit 1":  1,
		} {
			if got := strings.Count(b.must(line), "\n") - 1; got != want {
				t.Errorf("%s: %d rows, want %d\n%s", line, got, want, b.must(line))
			}
		}
		if out := b.must("audit --actor alice --limit 2"); !strings.Contains(out, "kernel upgrade") || strings.Index(out, "a3-005") > strings.Index(out, "a3-006") {
			t.Errorf("the audit:\n%s", out)
		}
	})
}

// TestSinceOfALateRow finds acts behind one that began before them and was told
// after them.
func TestSinceOfALateRow(t *testing.T) {
	rackTest(t, func(b *bench) {
		began := time.Now()
		time.Sleep(time.Hour)
		b.must("pi cycle a3-005 --yes --wait --reason meanwhile")
		if _, err := b.e.Note(b.t.Context(), engine.AuditRow{Time: began, Actor: "root", Verb: "image-add", Target: "trixie", Result: "ok"}); err != nil {
			t.Fatal(err)
		}
		if out := b.must("audit --since 30m"); !strings.Contains(out, "meanwhile") || strings.Contains(out, "image-add") {
			t.Error(out)
		}
		if out := b.must("audit --since 90m"); !strings.Contains(out, "meanwhile") || !strings.Contains(out, "image-add") {
			t.Error(out)
		}
	})
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"90s": "2026-11-23T11:58:30Z", "24h": "2026-11-22T12:00:00Z", "7d": "2026-11-16T12:00:00Z", "2026-11-01": "2026-11-01T00:00:00Z",
		"2026-11-01T10:30": "2026-11-01T10:30:00Z", "2026-11-01 10:30:05": "2026-11-01T10:30:05Z", "2026-11-01T10:30:00+02:00": "2026-11-01T08:30:00Z",
		"": "", "d": "", "-5h": "", "-1d": "", "99999999d": "", "noon": "",
	} {
		got, err := parseSince(s, now, time.UTC)
		if (err == nil) != (want != "") || err == nil && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v %v, want %q", s, got, err, want)
		}
	}
}

var _ engine.Viewer = (*engine.Engine)(nil)
