// Package command is the program picloud as it is typed: which commands there
// are, and which of them run here and which in the service that runs already.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/tui/attach"
	"picloud/tui/cli"
)

// Program is what commands use of the world.
type Program struct {
	In       *os.File
	Out, Err io.Writer
	Env      []string
	Version  string
}

// Exit codes, the same for every command.
const (
	exitDone   = 0
	exitFailed = 1
)

// socketVariable names the Unix socket of the service, if it is not where the
// default configuration has it.
const socketVariable = "PICLOUD_SOCKET"

// errQuiet is a failure that has been reported already.
var errQuiet = errors.New("reported")

// Run carries out what was typed and returns the exit code: 0 done, 1 refused or
// failed, 2 not understood or not confirmed.
func (p *Program) Run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return p.console(ctx)
	}
	root := p.tree()
	if isCompletion(args) {
		return p.complete(ctx, root, args)
	}
	if !p.runsHere(root, args) {
		return p.remote(ctx, args)
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, errQuiet) {
		return exitFailed
	}
	return cli.Report(p.Err, err)
}

// tree is all commands: those of the service, and with them those that run here.
func (p *Program) tree() *cobra.Command {
	root := cli.Command(nil, cli.Session{Stdout: p.Out, Stderr: p.Err, Version: p.Version})
	root.Long += "\n\nWithout a command: the console of the service that runs on this computer, at\n" +
		"$" + socketVariable + " or " + config.DefaultSocket + "."
	root.AddCommand(p.demoCommand(), p.serveCommand(), p.mountsCommand(), p.configGroup(), p.backupCommand(), p.restoreCommand(), p.metricsGroup(), p.doctorCommand(), p.manCommand(root))
	p.addImageCommands(find(root, "image"))
	find(root, "switch").AddCommand(p.discoverCommand())
	cli.Describe(root, described)
	return root
}

// find returns a command of the tree that is there by the program's own making.
func find(root *cobra.Command, path ...string) *cobra.Command {
	c, _, err := root.Find(path)
	if err != nil {
		panic(err)
	}
	return c
}

// here marks commands that run in this process.
const here = "here"

// local makes a command run here. An error of its work is a failure; cobra's own
// are mistakes of whoever typed.
func local(c *cobra.Command, run func(ctx context.Context, args []string) error) *cobra.Command {
	c.Annotations = map[string]string{here: "yes"}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := refuseJSON(c); err != nil {
			return err
		}
		err := run(c.Context(), args)
		if errors.Is(err, errQuiet) {
			return err
		}
		return cli.Failed(err)
	}
	return c
}

// offline are commands that need nobody.
var offline = []string{"help", "completion", "version"}

// runsHere tells whether the service is not asked: for help, for a command that
// runs here, and for a noun without a verb.
func (p *Program) runsHere(root *cobra.Command, args []string) bool {
	for _, a := range args {
		if a == "--" {
			break
		}
		if a == "--help" || a == "-h" {
			return true
		}
	}
	c, _, err := root.Find(args)
	return err != nil || c.Annotations[here] != "" || c.HasSubCommands() || slices.Contains(offline, c.Name())
}

func (p *Program) socket() string { return cmp.Or(p.variable(socketVariable), config.DefaultSocket) }

// variable is a variable of the environment, "" if it is not set.
func (p *Program) variable(name string) string {
	for _, v := range slices.Backward(p.Env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return value
		}
	}
	return ""
}

func (p *Program) stdio() attach.Stdio {
	return attach.Stdio{In: p.In, Out: p.Out, Err: p.Err, Env: p.Env}
}

func (p *Program) console(ctx context.Context) int {
	exit, err := attach.Console(ctx, p.socket(), p.stdio())
	return p.attached(exit, err)
}

func (p *Program) remote(ctx context.Context, args []string) int {
	args, err := withKeys(args)
	if err != nil {
		fmt.Fprintf(p.Err, "picloud: %v\n", err)
		return exitFailed
	}
	exit, err := attach.Exec(ctx, p.socket(), args, p.stdio())
	return p.attached(exit, err)
}

func (p *Program) attached(exit int, err error) int {
	switch {
	case err == nil:
		return exit
	case errors.Is(err, context.Canceled):
		return exitFailed // whoever sent the signal knows
	}
	fmt.Fprintf(p.Err, "picloud: %s\n", strings.TrimPrefix(err.Error(), "attach: "))
	return exitFailed
}

// exactly makes a command take so many words, and say which.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return cli.Usagef(c.CommandPath()+" --help", "%s takes no %q", c.CommandPath(), args[0])
		}
		return cli.Usagef(c.CommandPath()+" --help", "%s takes %s", c.CommandPath(), strings.Join(names, " "))
	}
}
