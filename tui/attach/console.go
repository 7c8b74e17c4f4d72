package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/charmbracelet/x/term"
	"github.com/muesli/cancelreader"
	"golang.org/x/crypto/ssh"

	"picloud/tui/internal/words"
)

// noModes tell the service to leave lines to this terminal (RFC 4254, section
// 8): it echoes and edits them, and turns ctrl-c into a signal.
var noModes = ssh.TerminalModes{ssh.ECHO: 0, ssh.ICANON: 0, ssh.ISIG: 0, ssh.ICRNL: 0, ssh.ONLCR: 0}

// nobody is the variable that tells the service that nobody can be asked
// although a terminal shows what it writes.
const nobody = "PICLOUD_NOBODY"

// Console shows the service's console on this terminal until the person leaves
// it, the service ends or ctx does, and returns the exit status. The rack runs
// on. It fails with ErrNoService, ErrRefused, ErrTerminal or ErrLost, or with
// ctx's cause.
func Console(ctx context.Context, socket string, s Stdio) (exit int, err error) {
	in, inOK := terminal(s.In)
	out, outOK := terminal(s.Out)
	if !inOK || !outOK {
		return 0, fmt.Errorf("attach: %w: watch prints what happens, pi list the Pis", ErrTerminal)
	}
	c, err := dial(ctx, socket)
	if err != nil {
		return 0, err
	}
	old, err := term.MakeRaw(in.Fd())
	if err != nil {
		c.ssh.Close()
		return 0, fmt.Errorf("attach: raw mode: %w", err)
	}
	defer func() {
		if errors.Is(err, ErrLost) {
			_, _ = io.WriteString(out, resetScreen)
		}
		_ = term.Restore(in.Fd(), old)
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{})
	defer close(ended)
	return c.session(ctx, s, func(se *ssh.Session) error {
		keys, err := start(se, s.Env, out, ssh.TerminalModes{}, se.Shell)
		if err != nil {
			return err
		}
		return errors.Join(
			forward(&wg, ended, in, keys),
			follow(&wg, ended, se, out),
		)
	})
}

// resetScreen undoes what a console that could not say goodbye has set: the
// other screen, the hidden cursor, pasting, focus and mouse reports, colours.
const resetScreen = "\x1b[?1049l\x1b[?25h\x1b[?2004l\x1b[?1004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[m"

// Exec carries out a command and returns its exit status. What In has is sent
// from a terminal only, for questions: a loop that reads names from its standard
// input and calls picloud for each must not lose them. When ctx ends the command
// is interrupted; what it has begun goes on. Errors are as those of Console.
func Exec(ctx context.Context, socket string, args []string, s Stdio) (exit int, err error) {
	c, err := dial(ctx, socket)
	if err != nil {
		return 0, err
	}
	in, inOK := terminal(s.In)
	out, outOK := terminal(s.Out)
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{})
	defer close(ended)
	return c.session(ctx, s, func(se *ssh.Session) error {
		begin := func() error { return se.Start(words.Join(args)) }
		switch {
		case !outOK:
			return begin()
		case !inOK:
			_ = se.Setenv(nobody, "1")
			keys, err := start(se, s.Env, out, noModes, begin)
			if err != nil {
				return err
			}
			return keys.Close()
		}
		keys, err := start(se, s.Env, out, noModes, begin)
		if err != nil {
			return err
		}
		return forward(&wg, ended, in, keys)
	})
}

func terminal(v any) (*os.File, bool) {
	f, ok := v.(*os.File)
	return f, ok && term.IsTerminal(f.Fd())
}

// start begins a session with a terminal.
func start(se *ssh.Session, env []string, out *os.File, modes ssh.TerminalModes, begin func() error) (io.WriteCloser, error) {
	width, height, err := term.GetSize(out.Fd())
	if err != nil {
		return nil, err
	}
	name, _ := lookup(env, "TERM")
	if name == "" {
		name = "dumb"
	}
	if err := se.RequestPty(strings.ToValidUTF8(name, ""), height, width, modes); err != nil {
		return nil, err
	}
	keys, err := se.StdinPipe()
	if err != nil {
		return nil, err
	}
	return keys, begin()
}

// forward sends what is typed, until ended is closed. What is typed later is
// left for whoever reads the terminal next.
func forward(wg *sync.WaitGroup, ended <-chan struct{}, in *os.File, keys io.WriteCloser) error {
	r, err := cancelreader.NewReader(in)
	if err != nil {
		return err
	}
	wg.Go(func() {
		<-ended
		r.Cancel()
	})
	wg.Go(func() {
		defer r.Close()
		_, err := io.Copy(keys, r)
		if !errors.Is(err, cancelreader.ErrCanceled) {
			_ = keys.Close()
		}
	})
	return nil
}

// follow tells the service the terminal's size whenever it changes.
func follow(wg *sync.WaitGroup, ended <-chan struct{}, se *ssh.Session, out *os.File) error {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	wg.Go(func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-ended:
				return
			case <-changed:
			}
			if width, height, err := term.GetSize(out.Fd()); err == nil {
				_ = se.WindowChange(height, width)
			}
		}
	})
	return nil
}
