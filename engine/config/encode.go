package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Template writes the whole file: every key with its meaning and its default,
// commented out, and as settings the few lines that a rack needs. It is itself
// a valid configuration, as Parse has it.
func Template(w io.Writer, known Known) error {
	b := bufio.NewWriter(w)
	for _, t := range schema(known) {
		if len(t.fields) > 0 {
			writeTemplate(b, &t)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("config: write template: %w", err)
	}
	return nil
}

func writeTemplate(b *bufio.Writer, t *table) {
	needed := false
	for _, f := range t.fields {
		needed = needed || f.show
	}
	// An element that a rack can do without is a comment as a whole.
	off := ""
	if t.many && !needed {
		off = "#"
	}
	if t.path != "" {
		b.WriteByte('\n')
	}
	comment(b, t.doc)
	if h := t.header(); h != "" {
		b.WriteString(off + h + "\n")
	}
	owner := t.fresh()
	for _, f := range t.fields {
		value := f.example
		if value == "" {
			value = format(f.ref(owner))
		}
		comment(b, f.doc)
		if !f.show {
			b.WriteByte('#')
		}
		b.WriteString(f.key + " = " + value + "\n")
	}
}

// comment writes lines of "# text"; settings that are commented out have no
// space behind the sign.
func comment(b *bufio.Writer, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

// Encode writes those settings of c that are not the default, in the form that
// Parse reads. Credentials are not written.
func (c *Config) Encode(w io.Writer) error {
	b := bufio.NewWriter(w)
	tables := schema(Known{})
	for n := range tables {
		t := &tables[n]
		if t.path == "switch.port" {
			continue // written below its switch
		}
		t.owners(c, func(i, _ int, owner any) {
			writeSettings(b, t, owner)
			if s, ok := owner.(*Switch); ok {
				writePorts(b, tables, s)
			}
		})
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("config: encode: %w", err)
	}
	return nil
}

func writePorts(b *bufio.Writer, tables []table, s *Switch) {
	for n := range tables {
		if tables[n].path != "switch.port" {
			continue
		}
		for j := range s.Overrides {
			writeSettings(b, &tables[n], &s.Overrides[j])
		}
	}
}

func writeSettings(b *bufio.Writer, t *table, owner any) {
	defaults := t.fresh()
	var settings strings.Builder
	for _, f := range t.fields {
		value := format(f.ref(owner))
		if value != format(f.ref(defaults)) {
			settings.WriteString(f.key + " = " + value + "\n")
		}
	}
	if settings.Len() == 0 && !t.many {
		return
	}
	if h := t.header(); h != "" {
		b.WriteString("\n" + h + "\n")
	}
	b.WriteString(settings.String())
}
