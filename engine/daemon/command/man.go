package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"picloud/tui/cli"
)

func (p *Program) manCommand(root *cobra.Command) *cobra.Command {
	return local(&cobra.Command{
		Use: "man", Short: "print the manual page", Args: exactly(),
	}, func(context.Context, []string) error { return cli.Man(p.Out, root, time.Now()) })
}
