// Picloud runs a cloud of Raspberry Pis that boot over the network and are
// powered over Ethernet. See README.md, and `picloud help`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/netboot/rootfs/image"
	"picloud/tui"
)

// Exit codes, the same for every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one row of the table that help and dispatch share.
type command struct {
	name string // words, as typed
	args string
	help string
	run  func(ctx context.Context, m *program, args []string) error
}

func commands() []command {
	return []command{
		{"demo", "[flags]", "the console on a simulated rack; --headless runs it without a screen", runDemo},
		{"serve", "--config FILE", "run a real rack, without a screen", runServe},
		{"image add", "NAME FILE --config FILE", "unpack a disk image or tarball and make it boot over the network", runImageAdd},
		{"image list", "--config FILE", "list the images", runImageList},
		{"image show", "NAME --config FILE", "say all that is known of an image", runImageShow},
		{"image remove", "NAME --config FILE", "delete an image that no root was made from", runImageRemove},
		{"config check", "FILE", "say what is wrong in a configuration, - for standard input", runConfigCheck},
		{"config template", "", "print a whole configuration with its defaults", runConfigTemplate},
		{"version", "", "print the version", runVersion},
		{"help", "", "print this", runHelp},
	}
}

// program is what commands use of the world, so that it can be another's.
type program struct {
	in       *os.File
	out, err io.Writer
	env      []string
}

// usageError is a mistake of whoever typed the command.
type usageError struct{ error }

// errQuiet is a failure that has been reported already, errHelp a wish for the
// flags that has been granted.
var (
	errQuiet = errors.New("reported")
	errHelp  = errors.New("helped")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	m := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ()}
	code := m.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func (m *program) run(ctx context.Context, args []string) int {
	err := m.dispatch(ctx, args)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case errors.Is(err, errQuiet):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(m.err, "picloud: %v\ntry: picloud help\n", err)
		return exitUsage
	default:
		fmt.Fprintf(m.err, "picloud: %v\n", err)
		return exitFailed
	}
}

func (m *program) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("what shall it do?")}
	}
	if args[0] == "-h" || args[0] == "--help" {
		args[0] = "help"
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.name {
			return c.run(ctx, m, args[len(words):])
		}
	}
	return usageError{fmt.Errorf("no command %q", strings.Join(args, " "))}
}

// parse reads flags; what is left over is returned.
func (m *program) parse(f *flag.FlagSet, args []string) ([]string, error) {
	f.SetOutput(m.err)
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, errHelp
	} else if err != nil {
		return nil, usageError{errors.New("see the flags above")}
	}
	return f.Args(), nil
}

func (m *program) parseNoArgs(f *flag.FlagSet, args []string) error {
	left, err := m.parse(f, args)
	if err == nil && len(left) > 0 {
		err = usageError{fmt.Errorf("%s takes no argument %q", f.Name(), left[0])}
	}
	return err
}

// faults collects --fault NAME=COUNT.
type faults map[string]int

func (f faults) String() string { return "" }

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

func runDemo(ctx context.Context, m *program, args []string) error {
	o := demo.Options{Faults: faults{}}
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.Uint64Var(&o.Seed, "seed", 1, "wires the rack: the same seed, the same rack")
	f.IntVar(&o.Pis, "pis", demo.DefaultPis, "how many Pis")
	f.Float64Var(&o.Speed, "speed", demo.DefaultSpeed, "how many times faster than real firmware and switches are")
	f.StringVar(&o.State, "state", "", "keep the database and the roots in this `folder` (default: a temporary one)")
	f.Var(faults(o.Faults), "fault", "give COUNT Pis a fault, as `NAME=COUNT`: "+strings.Join(demo.FaultNames(), " "))
	headless := f.Bool("headless", false, "no screen: print every change of a stage")
	asJSON := f.Bool("json", false, "with --headless: one JSON object a line")
	limit := f.Duration("for", 0, "with --headless: end after this `time` at the latest")
	ascii := f.Bool("ascii", false, "draw with ASCII only")
	logFile := f.String("log", "", "write the service's log to this `file`")
	if err := m.parseNoArgs(f, args); err != nil {
		return err
	}
	if *limit < 0 {
		return usageError{fmt.Errorf("--for %s: want a time above 0", *limit)}
	}
	if (*asJSON || *limit != 0) && !*headless {
		return usageError{errors.New("--json and --for go with --headless")}
	}
	log, closeLog, err := openLog(*logFile)
	if err != nil {
		return err
	}
	defer closeLog()
	o.Log = log
	// A closed window or pipe ends the demo too, and with it its temporary
	// folder; unheard, SIGPIPE would end the program on the spot.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if *headless {
		err = m.headless(ctx, demo.Headless{Options: o, JSON: *asJSON, For: *limit, Out: m.out})
	} else {
		err = m.console(ctx, o, *ascii)
	}
	if errors.Is(err, demo.ErrOptions) {
		return usageError{err}
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

func (m *program) headless(ctx context.Context, h demo.Headless) error {
	summary, err := h.Run(ctx)
	if err != nil {
		return err
	}
	if !summary.AllUp() {
		return errQuiet
	}
	return nil
}

// console runs the demo with the console on the terminal; ending one ends both.
func (m *program) console(ctx context.Context, o demo.Options, ascii bool) error {
	d, err := demo.Open(ctx, o)
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
	err = tui.Run(ctx, tui.Options{
		Viewer: d.Engine(),
		Actor:  engine.Actor{Name: userName(), Role: engine.RoleAdmin, Source: "tty", Key: fmt.Sprintf("uid:%d", os.Getuid())},
		ASCII:  ascii,
	}, m.in, m.out, m.env)
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

func runServe(ctx context.Context, m *program, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	path := f.String("config", "", "the rack's configuration `file`")
	if err := m.parseNoArgs(f, args); err != nil {
		return err
	}
	if *path == "" {
		return usageError{errors.New("serve needs --config FILE; picloud config template prints one")}
	}
	cfg, problems := config.Load(*path, daemon.Known())
	if len(problems) > 0 {
		return m.report(problems)
	}
	log := slog.New(slog.NewJSONHandler(m.err, nil))
	d, err := daemon.Open(ctx, daemon.Options{Config: cfg, Speed: 1, Log: log})
	if err != nil {
		return err
	}
	log.Info("serving", "rack", cfg.Rack, "segments", len(cfg.Segments), "switches", len(cfg.Switches))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go m.reload(ctx, d, *path, log)
	err = d.Run(ctx)
	log.Info("stopped", "err", err)
	return err
}

// reload takes over the configuration again at each SIGHUP. A file with
// mistakes changes nothing.
func (m *program) reload(ctx context.Context, d *daemon.Daemon, path string, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
		case <-ctx.Done():
			return
		}
		cfg, problems := config.Load(path, daemon.Known())
		if len(problems) > 0 {
			for _, p := range problems {
				log.Error("not reloaded", "problem", p.Error())
			}
			continue
		}
		if err := d.Reload(ctx, cfg); err != nil {
			log.Error("reloaded in part", "err", err)
			continue
		}
		log.Info("reloaded", "segments", len(cfg.Segments), "switches", len(cfg.Switches))
	}
}

// report prints every mistake of a configuration.
func (m *program) report(problems []config.Problem) error {
	for _, p := range problems {
		fmt.Fprintln(m.err, p.Error())
	}
	return errQuiet
}

func runConfigCheck(_ context.Context, m *program, args []string) error {
	f := flag.NewFlagSet("config check", flag.ContinueOnError)
	files, err := m.parse(f, args)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return usageError{errors.New("config check takes one FILE, - for standard input")}
	}
	var cfg *config.Config
	var problems []config.Problem
	if files[0] == "-" {
		cfg, problems = config.Read("standard input", m.in, daemon.Known())
	} else {
		cfg, problems = config.Load(filepath.Clean(files[0]), daemon.Known())
	}
	if len(problems) > 0 {
		return m.report(problems)
	}
	_, err = fmt.Fprintf(m.out, "ok: rack %s, %d switches, %d segments\n", cfg.Rack, len(cfg.Switches), len(cfg.Segments))
	return err
}

func runConfigTemplate(_ context.Context, m *program, args []string) error {
	if err := m.parseNoArgs(flag.NewFlagSet("config template", flag.ContinueOnError), args); err != nil {
		return err
	}
	return config.Template(m.out, daemon.Known())
}

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = ""

func runVersion(_ context.Context, m *program, _ []string) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok {
		v = info.Main.Version
	}
	_, err := fmt.Fprintln(m.out, "picloud", v)
	return err
}

func runHelp(_ context.Context, m *program, _ []string) error {
	var s strings.Builder
	s.WriteString("picloud runs a cloud of Raspberry Pis that boot over the network.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&s, "  picloud %-30s %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	s.WriteString("\nEach command has -h. Exit status: 0 done, 1 failed, 2 not understood.\n")
	_, err := io.WriteString(m.out, s.String())
	return err
}

// imageFlags are the flags of the image commands, parsed; names are what else
// was given, and the flags may stand before or behind them.
func (m *program) imageFlags(f *flag.FlagSet, args []string, names ...string) (*config.Config, []string, error) {
	path := f.String("config", "", "the rack's configuration `file`")
	var given []string
	for {
		left, err := m.parse(f, args)
		if err != nil {
			return nil, nil, err
		}
		if len(left) == 0 {
			break
		}
		given, args = append(given, left[0]), left[1:]
	}
	if len(given) != len(names) {
		return nil, nil, usageError{fmt.Errorf("%s takes %s", f.Name(), strings.Join(append(names, "--config FILE"), " "))}
	}
	if *path == "" {
		return nil, nil, usageError{fmt.Errorf("%s needs --config FILE, which says where the images are", f.Name())}
	}
	cfg, problems := config.Load(*path, daemon.Known())
	if len(problems) > 0 {
		return nil, nil, m.report(problems)
	}
	return cfg, given, nil
}

func runImageAdd(ctx context.Context, m *program, args []string) error {
	f := flag.NewFlagSet("image add", flag.ContinueOnError)
	var o image.Options
	f.StringVar(&o.SHA256, "sha256", "", "the `digest` that FILE must have")
	f.StringVar(&o.Boot, "boot", "", "a tarball `file` with the boot files, if FILE has none")
	f.StringVar(&o.BootSHA256, "boot-sha256", "", "its `digest`")
	disk := f.Uint("disk-gb", 0, "with volumes on LVM: room for so many `GB` in the image, and so at least in each root (default: volumes.disk_gb, else 8.6)")
	cfg, names, err := m.imageFlags(f, args, "NAME", "FILE")
	if err != nil {
		return err
	}
	o.Name, o.Source = names[0], names[1]
	o.Progress = m.progress("unpacking " + o.Name)
	added, err := daemon.AddImage(ctx, cfg, o, int64(*disk)*1e9)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "%s: %s, %s, %d files, %.1f MB; %d changes make it boot over the network\n",
		added.Name, added.Release.Pretty, added.Arch, added.Files, float64(added.Bytes)/1e6, len(added.Changes))
	for _, w := range added.Warnings {
		fmt.Fprintln(m.out, "note:", w)
	}
	for _, l := range added.Lost {
		fmt.Fprintf(m.out, "lost: %s of %d files, such as %s: %s\n", l.What, l.Count, l.Example, l.Why)
	}
	_, err = fmt.Fprintln(m.out, "a running service takes it up at SIGHUP")
	return err
}

// progress prints per cent on a terminal, and nothing elsewhere.
func (m *program) progress(what string) func(done, total int64) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	last := int64(-1)
	return func(done, total int64) {
		if percent := done * 100 / max(total, 1); percent != last {
			last = percent
			fmt.Fprintf(m.err, "\r%s %d %%", what, percent)
			if done >= total {
				fmt.Fprintln(m.err)
			}
		}
	}
}

func runImageList(ctx context.Context, m *program, args []string) error {
	cfg, _, err := m.imageFlags(flag.NewFlagSet("image list", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	list, err := daemon.Images(ctx, cfg)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tARCH\tRELEASE\tMB\tADDED")
	for _, i := range list {
		added := "-"
		if !i.Added.IsZero() {
			added = i.Added.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%s\n", i.Name, i.Arch, i.Release.Pretty, float64(i.Bytes)/1e6, added)
	}
	return w.Flush()
}

func runImageShow(ctx context.Context, m *program, args []string) error {
	cfg, names, err := m.imageFlags(flag.NewFlagSet("image show", flag.ContinueOnError), args, "NAME")
	if err != nil {
		return err
	}
	info, err := daemon.ImageNamed(ctx, cfg, names[0])
	if err != nil {
		return err
	}
	e := json.NewEncoder(m.out)
	e.SetIndent("", "  ")
	return e.Encode(info)
}

func runImageRemove(ctx context.Context, m *program, args []string) error {
	cfg, names, err := m.imageFlags(flag.NewFlagSet("image remove", flag.ContinueOnError), args, "NAME")
	if err != nil {
		return err
	}
	return daemon.RemoveImage(ctx, cfg, names[0])
}
