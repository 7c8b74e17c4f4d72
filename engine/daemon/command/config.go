package command

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon"
)

func (p *Program) configGroup() *cobra.Command {
	g := &cobra.Command{Use: "config", Short: "the rack's configuration file"}
	var check *cobra.Command
	check = withJSON(local(&cobra.Command{
		Use: "check FILE", Short: "say what is wrong in a configuration, - for standard input", Args: exactly("FILE"),
		Long: "Says what is wrong in a configuration, each with its place and what to do. The\nfiles that it names, such as the switches' secrets, are read too; with - they are\nnot.",
	}, func(_ context.Context, args []string) error { return p.configCheck(args[0], asJSON(check)) }))
	g.AddCommand(
		check,
		local(&cobra.Command{
			Use: "template", Short: "print a whole configuration with its defaults", Args: exactly(),
		}, func(context.Context, []string) error { return config.Template(p.Out, daemon.Known()) }),
	)
	return g
}

func (p *Program) configCheck(file string, inJSON bool) error {
	var cfg *config.Config
	var problems []config.Problem
	if file == "-" {
		cfg, problems = config.Read("standard input", p.In, daemon.Known())
	} else {
		cfg, problems = config.Load(filepath.Clean(file), daemon.Known())
	}
	switch {
	case inJSON:
		if err := p.emit(problemsOut(problems)); err != nil || len(problems) == 0 {
			return err
		}
		return errQuiet
	case len(problems) > 0:
		return p.report(problems)
	}
	_, err := fmt.Fprintf(p.Out, "ok: rack %s, %d switches, %d segments\n", cfg.Rack, len(cfg.Switches), len(cfg.Segments))
	return err
}
