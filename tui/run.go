package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"
)

// ErrTerminal is returned for a terminal that cannot show the console.
var ErrTerminal = errors.New("no terminal for the console")

// framesPerSecond is how often the screen may change. A key waits for the next
// frame, so at 10 a second the slowest repaints took 100 ms; a frame in which
// nothing changed costs next to nothing.
const framesPerSecond = 30

// Run shows the console on a terminal until the person leaves it or ctx ends;
// both return nil. env is the environment of the terminal's user, which over
// SSH is not the server's. It returns ErrTerminal, with what to do, for a
// terminal that cannot show it. A read of an input that is no file may still be
// under way when Run returns; it is the caller's to end.
func Run(ctx context.Context, opts Options, input io.Reader, output io.Writer, env []string) error {
	if err := checkTerminal(output, env); err != nil {
		return err
	}
	opts.ASCII = opts.ASCII || !utf8Locale(env)
	m := New(ctx, opts)
	defer m.Close()
	options := programOptions(m.live, opts, output, env)
	file, own := input.(term.File)
	if own {
		options = append(options, tea.WithInput(file)) // to be set to raw mode
	} else {
		options = append(options, tea.WithInput(nil))
	}
	p := tea.NewProgram(m, options...)
	if !own && input != nil {
		go feed(m.live, p, input, env)
	}
	_, err := p.Run()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("tui: run: %w", err)
	}
	return nil
}

func programOptions(ctx context.Context, opts Options, output io.Writer, env []string) []tea.ProgramOption {
	out := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithOutput(output), tea.WithEnvironment(env),
		tea.WithFPS(framesPerSecond), tea.WithoutSignalHandler(),
	}
	if opts.Width > 0 && opts.Height > 0 {
		out = append(out, tea.WithWindowSize(opts.Width, opts.Height))
	}
	switch v, _ := lookup(env, "NO_COLOR"); {
	case v != "": // https://no-color.org: present and not empty, whatever its value
		out = append(out, tea.WithColorProfile(colorprofile.ASCII))
	case !isTerminalFile(output): // a session's stream, which cannot be asked
		out = append(out, tea.WithColorProfile(colorprofile.Env(env)))
	}
	return out
}

// checkTerminal refuses what cannot move its cursor.
func checkTerminal(output io.Writer, env []string) error {
	name, _ := lookup(env, "TERM")
	if name == "" || name == "dumb" {
		return fmt.Errorf("tui: %w: TERM=%q cannot show it; use --headless", ErrTerminal, name)
	}
	if _, ok := output.(term.File); ok && !isTerminalFile(output) {
		return fmt.Errorf("tui: %w: the output is not a terminal; use --headless", ErrTerminal)
	}
	return nil
}

func isTerminalFile(output io.Writer) bool {
	f, ok := output.(term.File)
	return ok && term.IsTerminal(f.Fd())
}

// utf8Locale tells whether the user's locale shows UTF-8.
func utf8Locale(env []string) bool {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v, _ := lookup(env, name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// lookup finds a variable; the last one of a name counts.
func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}
