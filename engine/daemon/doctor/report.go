package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"picloud/engine/config"
)

// reportVersion grows when a field goes or changes its meaning.
const reportVersion = 1

// Report is what an examination found. Its JSON is for scripts.
type Report struct {
	Version  int       `json:"version" doc:"1"`
	At       time.Time `json:"at"`
	Rack     string    `json:"rack"`
	Serving  bool      `json:"serving" doc:"the service was running"`
	OK       int       `json:"ok" doc:"how many findings"`
	Warnings int       `json:"warnings"`
	Failures int       `json:"failures"`
	Worst    Level     `json:"worst" doc:"ok, warning, failure"`
	Findings []Finding `json:"findings"`
}

func (r *Report) add(f Finding) {
	f.Subject, f.Text, f.Remedy = clean(f.Subject), clean(f.Text), clean(f.Remedy)
	switch f.Level {
	case OK:
		r.OK++
	case Warning:
		r.Warnings++
	default:
		r.Failures++
	}
	r.Worst = max(r.Worst, f.Level)
	r.Findings = append(r.Findings, f)
}

// Mistakes is the report on a configuration that cannot be read or is wrong.
func Mistakes(problems []config.Problem, at time.Time) Report {
	r := Report{Version: reportVersion, At: at.UTC().Truncate(time.Millisecond)}
	for _, p := range problems {
		subject := p.File
		if p.Line > 0 {
			subject = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
		}
		r.add(Finding{Check: "config", Group: groupConfig, Subject: subject, Level: Failure, Text: p.Message, Remedy: p.Remedy})
	}
	return r
}

// Prepend puts the good news of the configuration before the rest.
func (r *Report) Prepend(c *config.Config, file string) {
	f := okf(file, "%s, %s, no mistakes", plural(len(c.Switches), "switch", "switches"), plural(len(c.Segments), "segment", "segments"))
	f.Check, f.Group = "config", groupConfig
	rest := r.Findings
	r.Findings = nil
	r.add(f)
	r.Findings = append(r.Findings, rest...)
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// WriteText writes the report for people: a line for each finding, and below
// it what to do.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		text := f.Text
		if f.Subject != "" {
			text = f.Subject + ": " + text
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Level, f.Check, text)
		if f.Remedy != "" && f.Level > OK {
			fmt.Fprintf(t, "\t\t  try: %s\n", f.Remedy)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d ok, %s, %s\n", r.OK, plural(r.Warnings, "warning", "warnings"), plural(r.Failures, "failure", "failures"))
	return err
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// longestText bounds what a finding says.
const longestText = 500

// clean makes text safe to show: names of processes and what switches say
// come from others.
func clean(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return '?'
		}
		return c
	}, s)
	if r := []rune(s); len(r) > longestText {
		s = string(r[:longestText-1]) + "…"
	}
	return s
}
