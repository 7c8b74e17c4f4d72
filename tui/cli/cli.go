package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"picloud/engine"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed, also if only in part
	exitUsage  = 2 // not understood, or not confirmed; nothing was done
)

// Session is one command with whoever gave it. It is all that a command knows
// of its caller: no file and no variable of the process is read for one.
type Session struct {
	Actor engine.Actor
	Args  []string // without the program's name
	// Stdin is read for confirmations on a terminal only, a line at a time that
	// the terminal has echoed and edited. A read must return when the session's
	// context ends.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Width          int            // of the terminal in columns, 0 = no terminal
	TTY            bool           // there is a person who can be asked
	Color          bool           // colour is wanted; used on a terminal only
	Version        string         // of picloud, for the version command; "" = not told
	Zone           *time.Location // of the times in tables; nil = the process's. JSON has UTC
}

// Bounds of a command line from outside.
const (
	maxArgs     = 4096
	maxArgBytes = 256 << 10
)

// Run carries out one command and returns its exit code: 0 done, 1 refused or
// failed, 2 not understood or not confirmed. Errors are on Stderr by then. It
// returns when the command is over or soon after ctx ends.
func Run(ctx context.Context, v engine.Viewer, s Session) (exit int) {
	s = s.filled()
	a := newApp(v, s)
	if err := bounded(s.Args); err != nil {
		return a.report(err)
	}
	root := a.root()
	if n := len(s.Args); n > 1 && (s.Args[0] == cobra.ShellCompRequestCmd || s.Args[0] == cobra.ShellCompNoDescRequestCmd) {
		a.complete(root, s.Args[1:], s.Args[0] == cobra.ShellCompRequestCmd, a.out)
		return exitDone
	}
	root.SetArgs(append([]string{}, s.Args...)) // never nil: that means os.Args
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.out.err
	}
	return a.report(err)
}

// Command is the tree of commands that Run carries out. v may be nil: help,
// completion scripts and manual pages need no service.
func Command(v engine.Viewer, s Session) *cobra.Command {
	s = s.filled()
	a := newApp(v, s)
	return a.root()
}

func newApp(v engine.Viewer, s Session) *app {
	return &app{
		v: v, s: s, out: &sticky{w: s.Stdout}, err: &sticky{w: s.Stderr},
		values: make(map[*pflag.Flag]func(*engine.Snapshot) []string),
	}
}

func (s Session) filled() Session {
	if s.Stdin == nil {
		s.Stdin = strings.NewReader("")
	}
	if s.Stdout == nil {
		s.Stdout = io.Discard
	}
	if s.Stderr == nil {
		s.Stderr = io.Discard
	}
	if s.Zone == nil {
		s.Zone = time.Local
	}
	return s
}

func bounded(args []string) error {
	n := 0
	for _, a := range args {
		n += len(a)
		if strings.IndexByte(a, 0) >= 0 {
			return usagef("", "an argument has a zero byte in it")
		}
	}
	if len(args) > maxArgs || n > maxArgBytes {
		return usagef("name sets or ranges instead of single Pis: picloud pi list --help", "the command line is too long")
	}
	return nil
}

// sticky is a writer that keeps its first error to itself: who has gone must
// not make a library end the process.
type sticky struct {
	w   io.Writer
	err error
}

func (w *sticky) Write(b []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	return len(b), nil
}

// app is one command at work.
type app struct {
	v    engine.Viewer
	s    Session
	out  *sticky
	err  *sticky
	json bool
	// values lists what a flag can be set to, for completion. Cobra's own list
	// is the process's and keeps every flag for ever.
	values map[*pflag.Flag]func(*engine.Snapshot) []string
}

// problem is why a command ended with another code than 0.
type problem struct {
	code int
	err  error  // nil = it has been told already
	hint string // what to do, "" = nothing to say
}

func (p *problem) Error() string {
	if p.err == nil {
		return "some of it was not done"
	}
	return p.err.Error()
}

func (p *problem) Unwrap() error { return p.err }

func usagef(hint, format string, args ...any) error {
	return &problem{exitUsage, fmt.Errorf(format, args...), hint}
}

func failf(hint, format string, args ...any) error {
	return &problem{exitFailed, fmt.Errorf(format, args...), hint}
}

// errTold is a failure whose reasons have been printed.
func errTold() error { return &problem{code: exitFailed} }

// report prints an error and returns its exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	var p *problem
	if !errors.As(err, &p) {
		// Only cobra's own mistakes of whoever typed come here.
		p = &problem{exitUsage, err, "picloud help"}
	}
	if p.err != nil {
		fmt.Fprintf(a.err, "picloud: %s\n", clean(p.err.Error()))
	}
	a.hint(p.hint)
	return p.code
}

// hint prints what to do: a command, or in words.
func (a *app) hint(text string) {
	if strings.HasPrefix(text, "picloud ") || strings.HasPrefix(text, "--") {
		text = "try: " + text
	}
	if text != "" {
		fmt.Fprintln(a.err, clean(text))
	}
}

// asProblem gives an error of a command's own work its exit code.
func asProblem(err error) error {
	var p *problem
	var nt *noTarget
	switch {
	case err == nil || errors.As(err, &p):
		return err
	case errors.As(err, &nt):
		return &problem{exitUsage, err, nt.hint}
	}
	return &problem{exitFailed, err, hintFor(err)}
}

// hints are what to do about the engine's errors.
var hints = []struct {
	is   error
	hint string
}{
	{engine.ErrStale, "look again and repeat it: picloud pi show NAME"},
	{engine.ErrNotAllowed, "have an admin give you the role"},
	{engine.ErrGuard, "repeat it: what it needs has changed, --dry-run tells"},
	{engine.ErrNoneFree, "picloud pi list tells what is free; another --model or --memory may be"},
	{engine.ErrProvisioning, "picloud job list tells how far it is"},
	{engine.ErrAccountInUse, "picloud server list, and picloud server release SERVER"},
	{engine.ErrNoSuchAccount, "picloud account list"},
	{engine.ErrNoSuchServer, "picloud server list"},
	{engine.ErrNoSuchKey, "picloud apikey list"},
	{engine.ErrNoSuchWebhook, "picloud webhook list"},
	{engine.ErrNoSuchOperator, "picloud operator list"},
	{engine.ErrStopped, "the service is stopping; repeat it when it is back"},
}

func hintFor(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	return ""
}

// snapshot is the rack as it is now.
func (a *app) snapshot() (*engine.Snapshot, error) {
	if a.v == nil {
		return nil, failf("picloud serve --config FILE, or picloud demo", "there is no service to ask")
	}
	return a.v.Snapshot(), nil
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

func (a *app) color() bool { return a.s.Color && a.s.TTY }

// print writes a table.
func (a *app) print(t *table) {
	var b strings.Builder
	t.write(&b, a.s.Width, a.color())
	_, _ = io.WriteString(a.out, b.String())
}

// when writes a moment for a table.
func (a *app) when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(a.s.Zone).Format("2006-01-02 15:04:05")
}

// ago writes how long ago a moment is.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return age(now.Truncate(time.Second).Sub(t.Truncate(time.Second)))
}

// lately is ago for running text.
func lately(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return ago(now, t) + " ago"
}
