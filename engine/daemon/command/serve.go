package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon"
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
	log := slog.New(slog.NewJSONHandler(p.Err, nil))
	d, err := daemon.Open(ctx, daemon.Options{Config: cfg, Speed: 1, Log: log, Door: true, Version: p.Version})
	if err != nil {
		return err
	}
	log.Info("serving", "rack", cfg.Rack, "segments", len(cfg.Segments), "switches", len(cfg.Switches), "socket", cfg.Console.Socket)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go reload(ctx, d, path, log)
	err = d.Run(ctx)
	log.Info("stopped", "err", err)
	return err
}

// reload takes over the configuration again at each SIGHUP. A file with
// mistakes changes nothing.
func reload(ctx context.Context, d *daemon.Daemon, path string, log *slog.Logger) {
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
