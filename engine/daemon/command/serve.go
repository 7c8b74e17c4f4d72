package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/mounts"
	"picloud/engine/daemon/systemd"
	"picloud/tui/cli"
)

func (p *Program) serveCommand() *cobra.Command {
	var path string
	c := local(&cobra.Command{
		Use: "serve", Short: "run a real rack", Args: exactly(),
		Long: "Runs a rack until SIGTERM; SIGHUP reads the configuration again. The log is on\nstandard error. picloud without a command is its console.",
	}, func(ctx context.Context, _ []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		return p.serve(ctx, cfg, path)
	})
	configFlag(c, &path)
	return c
}

// defaultConfig is where the package has the configuration.
const defaultConfig = "/etc/picloud/rack.toml"

// configFlag gives a command the flag that names the configuration.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", defaultConfig, "the rack's configuration `file`")
}

// load reads the configuration; every mistake in it is reported.
func (p *Program) load(path string) (*config.Config, error) {
	if path == "" {
		return nil, cli.Usagef("picloud config template", "--config is empty")
	}
	cfg, problems := config.Load(filepath.Clean(path), daemon.Known())
	if len(problems) > 0 {
		return nil, p.report(problems)
	}
	return cfg, nil
}

// report prints every mistake of a configuration.
func (p *Program) report(problems []config.Problem) error {
	for _, one := range problems {
		fmt.Fprintln(p.Err, one.Error())
	}
	return errQuiet
}

func (p *Program) serve(ctx context.Context, cfg *config.Config, path string) error {
	daemon.LeanMemory()
	log := slog.New(systemd.LogHandler(p.Err))
	service := systemd.Take(log)
	hup := make(chan os.Signal, 1) // now: the signal ends who does not listen for it
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	opts := daemon.Options{Config: cfg, Speed: 1, Log: log, Door: true, Version: p.Version, Beat: service.Beat}
	if socket := p.variable(mountsVariable); socket != "" {
		opts.Mounts = mounts.Client{Socket: socket}
	}
	d, err := daemon.Open(ctx, opts)
	if err != nil {
		service.Status(err.Error())
		return err
	}
	log.Info("serving", "rack", cfg.Rack, "segments", len(cfg.Segments), "switches", len(cfg.Switches), "socket", cfg.Console.Socket)
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { service.Run(ctx) })
	helpers.Go(func() { tellStatus(ctx, d.Engine(), service) })
	helpers.Go(func() { reload(ctx, hup, d, path, service, log) })
	err = d.Run(ctx)
	cancel()
	helpers.Wait()
	if err != nil {
		service.Status(err.Error())
	}
	log.Info("stopped", "err", err)
	return err
}

// tellStatus keeps the service's status line fresh until ctx ends.
func tellStatus(ctx context.Context, v engine.Viewer, service *systemd.Service) {
	snapshots, cancel := v.Subscribe()
	defer cancel()
	for {
		select {
		case s := <-snapshots:
			service.Status(statusLine(s))
		case <-ctx.Done():
			return
		}
	}
}

// statusLine is the rack in a line: how many Pis are how, and what is wrong.
func statusLine(s *engine.Snapshot) string {
	var parts []string
	for _, n := range []struct {
		count int
		what  string
	}{
		{s.Counts.Up, "up"}, {s.Counts.Booting, "booting"}, {s.Counts.Stalled, "stalled"}, {s.Counts.Off, "off"}, {s.Counts.Unknown, "unknown"},
	} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	pis := "Pis"
	if s.Counts.Total == 1 {
		pis = "Pi"
	}
	line := fmt.Sprintf("%d %s", s.Counts.Total, pis)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	for _, w := range s.Warnings {
		line += "; " + w
	}
	return line
}

// reload takes over the configuration again at each SIGHUP, as hup tells them.
// A file with mistakes changes nothing.
func reload(ctx context.Context, hup <-chan os.Signal, d *daemon.Daemon, path string, service *systemd.Service, log *slog.Logger) {
	for {
		select {
		case <-hup:
		case <-ctx.Done():
			return
		}
		done := service.Reloading()
		reloadOnce(ctx, d, path, log)
		done()
	}
}

func reloadOnce(ctx context.Context, d *daemon.Daemon, path string, log *slog.Logger) {
	cfg, problems := config.Load(path, daemon.Known())
	if len(problems) > 0 {
		for _, p := range problems {
			log.Error("not reloaded", "problem", p.Error())
		}
		return
	}
	if err := d.Reload(ctx, cfg); err != nil {
		log.Error("reloaded in part", "err", err)
		return
	}
	log.Info("reloaded", "segments", len(cfg.Segments), "switches", len(cfg.Switches))
}
