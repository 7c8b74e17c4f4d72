package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"picloud/engine"
)

// pass takes the guard before an act: it is passed by a flag, or by a person
// at a terminal, or the act is not sent.
func (t *act) pass(now *engine.Snapshot) error {
	want := t.text()
	switch kind := t.guard.Kind; {
	case t.confirm != "" && t.confirm != want:
		return usagef("", "%s, %s: --confirm %s is not %s; nothing was done", t.what(), t.who(), quoted(clip(t.confirm)), quoted(want))
	case t.confirm != "":
		t.cmd.Passed, t.cmd.Typed = engine.GuardName, want
	case kind == engine.GuardNone:
	case t.yes && kind < engine.GuardName:
		t.cmd.Passed = kind
	case !t.s.TTY:
		return usagef("repeat it with "+t.needs()+", or with --dry-run first", "%s, %s: not confirmed, nothing was done", t.what(), t.who())
	default:
		return t.ask(now)
	}
	return nil
}

// who names the targets shortly.
func (t *act) who() string {
	if len(t.pis) == 1 {
		return clean(string(t.pis[0].Name))
	}
	return plural(len(t.pis), "Pi", "Pis")
}

// ask asks the person at the terminal.
func (t *act) ask(now *engine.Snapshot) error {
	const shown = 10 // Pis by name
	fmt.Fprintf(t.err, "%s: %s\n", t.what(), t.verb.Help)
	for i, p := range t.pis {
		if i == shown {
			fmt.Fprintf(t.err, "  and %d more\n", len(t.pis)-shown)
			break
		}
		whose := "free"
		if p.Server != "" {
			whose = "rented: " + p.Server
		}
		fmt.Fprintf(t.err, "  %s  %s  %s  %s\n", clean(string(p.Name)), clean(p.Port.String()), stageText(p), clean(whose))
	}
	if t.verb.Loses != "" {
		fmt.Fprintf(t.err, "takes away: %s\n", t.verb.Loses)
	}
	t.tellLeft(now)
	want := ""
	if t.guard.Kind == engine.GuardName {
		want = t.text()
	}
	if err := t.answer(string(t.verb.Name), want); err != nil {
		return err
	}
	t.cmd.Passed, t.cmd.Typed = t.guard.Kind, want
	return nil
}

// answer has the person at the terminal say y, or type the text that is wanted;
// anything else means that nothing is done.
func (a *app) answer(what, want string) error {
	accepted := []string{want}
	if want == "" {
		accepted = []string{"y", "Y", "yes", "Yes", "YES"}
		fmt.Fprintf(a.err, "do it? y/N ")
	} else {
		fmt.Fprintf(a.err, "type %s to do it: ", clean(want))
	}
	line, err := a.readLine()
	if err != nil {
		fmt.Fprintln(a.err)
		return usagef("", "%s: stopped, nothing was done", what)
	}
	if answer := strings.TrimSpace(line); !slices.Contains(accepted, answer) {
		return usagef("", "%s: %q is not %q, nothing was done", what, clip(answer), clean(accepted[0]))
	}
	return nil
}

// confirm asks for a y before something that is no verb of a Pi; yes has said it
// already, and without a terminal it must have.
func (a *app) confirm(question string, yes bool) error {
	switch {
	case yes:
		return nil
	case !a.s.TTY:
		return usagef("repeat it with --yes", "%s: not confirmed, nothing was done", question)
	}
	fmt.Fprintf(a.err, "%s? y/N ", question)
	line, err := a.readLine()
	if err != nil {
		fmt.Fprintln(a.err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
		return usagef("", "%s: not confirmed, nothing was done", question)
	}
	return nil
}

var errStopped = errors.New("stopped")

// readLine reads a line from the terminal, byte by byte so that nothing behind
// it is taken. What is too long is no answer to anything.
func (a *app) readLine() (string, error) {
	const longest = 256
	var line []byte
	var b [1]byte
	for {
		if _, err := io.ReadFull(a.s.Stdin, b[:]); err != nil {
			return "", errStopped
		}
		switch c := b[0]; {
		case c == '\r' || c == '\n':
			return string(line), nil
		case c < ' ' || c == 0x7f: // control-C, control-D, escape
			return "", errStopped
		case len(line) == longest:
			return "", errStopped
		default:
			line = append(line, c)
		}
	}
}
