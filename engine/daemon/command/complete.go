package command

import (
	"bytes"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"picloud/tui/attach"
	"picloud/tui/cli"
)

// isCompletion tells whether it is a shell's script that asks how a line could
// go on.
func isCompletion(args []string) bool {
	return len(args) > 1 && slices.Contains([]string{cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, args[0])
}

// complete answers a shell's script. Names of the rack's come from the service,
// if one runs and knows the user; all else is known here.
func (p *Program) complete(ctx context.Context, root *cobra.Command, args []string) int {
	if cli.AsksService(root, args[1:]) {
		var out bytes.Buffer
		stdio := attach.Stdio{In: bytes.NewReader(nil), Out: &out, Err: &bytes.Buffer{}, Env: p.Env}
		if exit, err := attach.Exec(ctx, p.socket(), args, stdio); err == nil && exit == exitDone {
			_, _ = out.WriteTo(p.Out)
			return exitDone
		}
	}
	cli.Complete(root, args, p.Out)
	return exitDone
}
