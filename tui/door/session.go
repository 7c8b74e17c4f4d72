package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/tui"
	"picloud/tui/internal/words"
)

// Session is a command that Config.Run carries out.
type Session struct {
	Actor engine.Actor // as the session began
	Args  []string     // the words of the command, at least one
	Env   []string     // TERM, COLORTERM, NO_COLOR, LANG, LC_ALL, LC_CTYPE as far as told

	// Viewer is the engine. It puts the present actor on every command and
	// refuses all of somebody who is no operator any more.
	Viewer engine.Viewer
	// Present says who the actor is now, for acts that do not go through the
	// Viewer. It fails with engine.ErrNotAllowed when they are no operator any
	// more.
	Present func() (engine.Actor, error)

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Width          int  // of the terminal in characters, 0 = there is none
	TTY            bool // a person is there and can be asked
}

// session is one SSH session channel (RFC 4254, section 6).
type session struct {
	c      *conn
	ch     ssh.Channel
	cancel context.CancelCauseFunc
	run    sync.WaitGroup
	sizes  engine.Mailbox[tui.Size]
	actors engine.Mailbox[engine.Actor]
	info   Info // guarded by c.mu

	// What the client said before the session started.
	started bool
	env     map[string]string
	term    *terminal
}

// startTime is how long a session may take to say what it wants.
const startTime = 30 * time.Second

// session serves one channel until the client has closed it.
func (c *conn) session(ctx context.Context, nch ssh.NewChannel) {
	ch, reqs, err := nch.Accept()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	se := &session{
		c: c, ch: ch, cancel: cancel, env: make(map[string]string),
		sizes: engine.NewMailbox[tui.Size](), actors: engine.NewMailbox[engine.Actor](),
	}
	late := time.AfterFunc(startTime, func() { _ = ch.Close() })
	for req := range reqs {
		start, err := se.request(ctx, req)
		if req.WantReply {
			_ = req.Reply(err == nil, nil)
		}
		if start != nil {
			late.Stop()
			se.run.Go(start)
		}
	}
	late.Stop()
	cancel(errGone)
	se.run.Wait()
}

// requests are what a client may ask of a session. Some start it: they return
// what then runs.
var requests = map[string]func(se *session, ctx context.Context, payload []byte) (start func(), err error){
	"pty-req":       (*session).ptyRequest,
	"env":           (*session).envRequest,
	"window-change": (*session).sizeRequest,
	"signal":        (*session).signalRequest,
	"shell":         (*session).shellRequest,
	"exec":          (*session).execRequest,
}

func (se *session) request(ctx context.Context, req *ssh.Request) (start func(), err error) {
	f := requests[req.Type]
	if f == nil {
		return nil, errRequest
	}
	return f(se, ctx, req.Payload)
}

func (se *session) ptyRequest(_ context.Context, payload []byte) (func(), error) {
	term, err := parseTerminal(payload)
	if err != nil || se.started || se.term != nil {
		return nil, errRequest
	}
	se.term = term
	return nil, nil
}

func (se *session) envRequest(_ context.Context, payload []byte) (func(), error) {
	variable, err := parseEnv(payload)
	if err != nil || se.started {
		return nil, errRequest
	}
	name, value, _ := strings.Cut(variable, "=")
	se.env[name] = value
	return nil, nil
}

func (se *session) sizeRequest(_ context.Context, payload []byte) (func(), error) {
	size, err := parseSize(payload)
	if err != nil || se.term == nil {
		return nil, errRequest
	}
	if !se.started {
		se.term.size = size
		return nil, nil
	}
	se.sizes.Put(size)
	return nil, nil
}

// signals are those that ask a session to end (RFC 4254, section 6.9).
var signals = []string{"INT", "TERM", "HUP", "QUIT", "KILL"}

func (se *session) signalRequest(_ context.Context, payload []byte) (func(), error) {
	name, err := parseString(payload)
	if err != nil || !slices.Contains(signals, name) {
		return nil, errRequest
	}
	se.cancel(errSignal)
	return nil, nil
}

func (se *session) shellRequest(ctx context.Context, _ []byte) (func(), error) {
	if se.term == nil {
		return se.start(ctx, []string{"watch"})
	}
	return se.start(ctx, nil)
}

func (se *session) execRequest(ctx context.Context, payload []byte) (func(), error) {
	line, err := parseString(payload)
	if err != nil {
		return nil, err
	}
	args, err := words.Split(line)
	if err != nil {
		return se.startWith(nil, func() int {
			fmt.Fprintf(se.output(se.ch.Stderr()), "picloud: %v\n", err)
			return exitUsage
		})
	}
	if len(args) == 0 {
		return se.shellRequest(ctx, nil)
	}
	return se.start(ctx, args)
}

const (
	exitFailed = 1
	exitUsage  = 2
)

// start begins a command, or without one the console.
func (se *session) start(ctx context.Context, args []string) (func(), error) {
	return se.startWith(args, func() int {
		if args == nil {
			return se.console(ctx)
		}
		return se.command(ctx, args)
	})
}

func (se *session) startWith(args []string, f func() int) (func(), error) {
	if se.started {
		return nil, errRequest
	}
	se.started = true
	return func() { se.carryOut(args, f) }, nil
}

// carryOut runs a session from its begin to its exit status.
func (se *session) carryOut(args []string, f func() int) {
	began := time.Now()
	what := "console"
	if args != nil {
		what = printable(words.Join(args), 200)
	}
	se.enter(args, began)
	se.c.log.Info("session begins", "what", what)
	code := se.guarded(f)
	se.leave()
	se.exit(code)
	se.c.log.Info("session ends", "what", what, "exit", code, "after", time.Since(began).Round(time.Millisecond))
}

// guarded keeps a mistake in what a session shows to that session.
func (se *session) guarded(f func() int) (code int) {
	defer func() {
		if r := recover(); r != nil {
			se.c.s.log.Error("door: panic", "in", "session", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			code = exitFailed
		}
	}()
	return f()
}

func (se *session) enter(args []string, began time.Time) {
	se.c.mu.Lock()
	defer se.c.mu.Unlock()
	se.info = Info{Actor: se.c.actor, Command: args, Since: began}
	se.c.sessions[se] = struct{}{}
}

func (se *session) leave() {
	se.c.mu.Lock()
	defer se.c.mu.Unlock()
	delete(se.c.sessions, se)
	se.c.last = time.Now()
}

// exit tells the exit status and closes the channel; the client then closes its
// side.
func (se *session) exit(code int) {
	late := time.AfterFunc(se.c.s.cfg.Limits.Stall, func() { se.c.drop(errStalled) })
	defer late.Stop()
	_, _ = se.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
	_ = se.ch.Close()
}

// environ is the session's environment.
func (se *session) environ() []string {
	var out []string
	for _, name := range environment {
		if v, ok := se.env[name]; ok {
			out = append(out, name+"="+v)
		}
	}
	if se.term != nil {
		out = append(out, "TERM="+se.term.name)
	}
	return out
}

// viewer is the engine as this session may use it.
func (se *session) viewer() engine.Viewer { return &viewer{se.c.s.cfg.Viewer, se.c} }

// goodbye is what a person is told of why their session ended, "" = nothing.
func goodbye(ctx context.Context) string {
	cause := context.Cause(ctx)
	switch {
	case cause == nil, errors.Is(cause, errGone), errors.Is(cause, errEOF), errors.Is(cause, errSignal),
		errors.Is(cause, errStalled), errors.Is(cause, errSilent):
		return ""
	case errors.Is(cause, errRevoked):
		return errRevoked.Error()
	}
	return errStopping.Error()
}

// command carries out a command.
func (se *session) command(ctx context.Context, args []string) int {
	actor, err := se.c.present()
	if err != nil {
		return exitFailed
	}
	s := Session{
		Actor: actor, Args: args, Env: se.environ(), Viewer: se.viewer(), Present: se.c.present,
		Stdin: se.ch, Stdout: se.output(se.ch), Stderr: se.output(se.ch.Stderr()),
	}
	if se.term != nil {
		s.TTY, s.Width = se.env[nobody] == "", se.term.size.Width
		line := newLine(se.term.mode, s.Stdout, func() { se.cancel(errSignal) })
		s.Stdin = line
		defer context.AfterFunc(ctx, line.close)() // nobody waits for an answer any more
		se.run.Go(func() { line.pump(se.input(ctx)) })
	}
	code := se.c.s.cfg.Run(ctx, s)
	if text := goodbye(ctx); text != "" {
		fmt.Fprintf(s.Stderr, "picloud: %s\n", text)
		return max(code, exitFailed)
	}
	return code
}

// console shows the console until the person leaves it.
func (se *session) console(ctx context.Context) int {
	actor, err := se.c.present()
	if err != nil {
		return exitFailed
	}
	limits := se.c.s.cfg.Limits
	opts := tui.Options{
		Viewer: se.viewer(), Actor: actor, Idle: limits.Idle, Leave: max(limits.Leave, 0),
		Width: se.term.size.Width, Height: se.term.size.Height, Sizes: se.sizes.C(), Actors: se.actors.C(),
	}
	se.term.mode.newlines = true // as Bubble Tea expects of a stream
	in := se.input(ctx)
	in.ended = func() { se.cancel(errEOF) }
	err = tui.Run(ctx, opts, in, se.output(se.ch), se.environ())
	stderr := se.output(se.ch.Stderr())
	switch text := goodbye(ctx); {
	case text != "":
		fmt.Fprintf(stderr, "picloud: %s\n", text)
		return exitFailed
	case errors.Is(err, tui.ErrTerminal):
		fmt.Fprintf(stderr, "picloud: a terminal of the kind %q cannot show the console; watch prints what happens, pi list the Pis\n", se.term.name)
		return exitFailed
	case err != nil:
		se.c.log.Error("door: console", "err", err)
		fmt.Fprintf(stderr, "picloud: the console ended: %v\n", err)
		return exitFailed
	}
	return 0
}

func (se *session) output(w io.Writer) *output {
	return newOutput(w, se.term != nil && se.term.mode.newlines, se.c.s.cfg.Limits.Stall, func() { se.c.drop(errStalled) })
}

func (se *session) input(ctx context.Context) *input {
	return newInput(ctx, se.ch, se.c.s.cfg.Limits.Input)
}
