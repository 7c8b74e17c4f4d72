package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
	"picloud/engine/daemon/demo"
	"picloud/tui"
	"picloud/tui/cli"
)

// faults collects --fault NAME=COUNT.
type faults map[string]int

func (f faults) String() string { return "" }

// Type is pflag.Value's.
func (f faults) Type() string { return "NAME=COUNT" }

// Set is pflag.Value's.
func (f faults) Set(s string) error {
	name, count, ok := strings.Cut(s, "=")
	n := 1
	if ok {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 0 {
			return fmt.Errorf("%q: want NAME=COUNT, such as no-link=2", s)
		}
	}
	f[name] += n
	return nil
}

type demoFlags struct {
	demo.Options
	headless, json, ascii bool
	limit                 time.Duration
	log, api              string
}

func (p *Program) demoCommand() *cobra.Command {
	o := demoFlags{Options: demo.Options{Faults: faults{}}}
	c := local(&cobra.Command{
		Use: "demo", Short: "the console on a simulated rack", Args: exactly(),
	}, func(ctx context.Context, _ []string) error { return p.demo(ctx, &o) })
	f := c.Flags()
	f.Uint64Var(&o.Seed, "seed", 1, "wires the rack: the same seed, the same rack")
	f.IntVar(&o.Pis, "pis", demo.DefaultPis, "how many Pis")
	f.Float64Var(&o.Speed, "speed", demo.DefaultSpeed, "how many times faster than real firmware and switches are")
	f.StringVar(&o.State, "state", "", "keep the database and the roots in this `folder` (default: a temporary one)")
	f.IntVar(&o.New, "new", 0, "so many of the Pis have boards that nobody has typed in: they are examined first")
	f.Var(faults(o.Faults), "fault", "give COUNT Pis a fault: "+strings.Join(demo.FaultNames(), " ")+
		"; or COUNT of the new ones, for the examination to find: "+strings.Join(demo.ExamFaultNames(), " "))
	cli.Values(c, "fault", demo.FaultNames())
	f.StringVar(&o.api, "api", "", "let servers be ordered at this `address`, such as 127.0.0.1:8443; the key for it is\nput into the state folder")
	f.BoolVar(&o.headless, "headless", false, "no screen: print every change of a stage")
	f.BoolVar(&o.json, "json", false, "with --headless: one JSON object a line")
	f.DurationVar(&o.limit, "for", 0, "with --headless: end after this `time` at the latest")
	f.BoolVar(&o.ascii, "ascii", false, "draw with ASCII only")
	f.StringVar(&o.log, "log", "", "write the service's log to this `file`")
	return c
}

func (p *Program) demo(ctx context.Context, o *demoFlags) error {
	if o.limit < 0 {
		return cli.Usagef("", "--for %s: want a time above 0", o.limit)
	}
	if (o.json || o.limit != 0) && !o.headless {
		return cli.Usagef("picloud demo --headless", "--json and --for go with --headless")
	}
	if o.api != "" {
		var err error
		if o.API, err = netip.ParseAddrPort(o.api); err != nil {
			return cli.Usagef("--api 127.0.0.1:8443", "--api %q: want an address and a port", o.api)
		}
	}
	log, closeLog, err := openLog(o.log)
	if err != nil {
		return err
	}
	defer closeLog()
	o.Log = log
	// A closed window or pipe ends the demo too, and with it its temporary
	// folder; unheard, SIGPIPE would end the program on the spot.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if o.headless {
		err = p.demoHeadless(ctx, o)
	} else {
		err = p.demoConsole(ctx, o)
	}
	if errors.Is(err, demo.ErrOptions) {
		return cli.Usagef("picloud demo --help", "%w", err)
	}
	return err
}

// openLog opens the log of a program that has the terminal for itself.
func openLog(path string) (*slog.Logger, func(), error) {
	if path == "" {
		return slog.New(slog.DiscardHandler), func() {}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(file, nil)), func() { _ = file.Close() }, nil
}

func (p *Program) demoHeadless(ctx context.Context, o *demoFlags) error {
	h := demo.Headless{Options: o.Options, JSON: o.json, For: o.limit, Out: p.Out}
	summary, err := h.Run(ctx)
	if err != nil {
		return err
	}
	if !summary.AllUp() {
		return errQuiet
	}
	return nil
}

// demoConsole runs the demo with the console on the terminal; ending one ends
// both.
func (p *Program) demoConsole(ctx context.Context, o *demoFlags) error {
	d, err := demo.Open(ctx, o.Options)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx)
		cancel()
	}()
	if o.API.IsValid() {
		// It stays on the terminal when the console goes.
		c, err := d.Customer(ctx)
		if err != nil {
			cancel()
			return errors.Join(err, <-ended)
		}
		fmt.Fprintln(p.Out, c)
	}
	err = tui.Run(ctx, tui.Options{
		Viewer: d.Engine(),
		Actor:  engine.Actor{Name: userName(), Role: engine.RoleAdmin, Source: "tty", Key: fmt.Sprintf("uid:%d", os.Getuid())},
		ASCII:  o.ascii,
	}, p.In, p.Out, p.Env)
	cancel()
	if rackErr := <-ended; rackErr != nil {
		return rackErr
	}
	return err
}

// userName is who has the terminal: the user the system knows, not what the
// environment says.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid" + strconv.Itoa(os.Getuid())
}
