package command

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon/acts"
	"picloud/tui/cli"
)

// act is what a command has that changes something beside the service: why, for
// the audit, and whether it was said that it is meant.
type act struct {
	verb   string
	reason string
	yes    bool
}

// flags gives a command the flags of an act, and one that asks the flag that
// answers.
func (a *act) flags(c *cobra.Command, asks bool) {
	c.Flags().StringVar(&a.reason, "reason", "", "why, for the audit: `TEXT`")
	if asks {
		c.Flags().BoolVar(&a.yes, "yes", false, "do not ask")
	}
}

// do writes the act down for the service's audit, and does it.
func (a *act) do(p *Program, cfg *config.Config, target string, f func() error) error {
	return acts.Do(cfg.State, acts.Act{
		Actor: userName(), Source: p.shell(), Key: fmt.Sprintf("uid:%d", os.Getuid()), Verb: a.verb, Target: target, Reason: a.reason,
	}, f)
}

// shell is where the act is from, and who became root for it.
func (p *Program) shell() string {
	if name := p.variable("SUDO_USER"); name != "" {
		return "shell, sudo by " + name
	}
	return "shell"
}

// confirm asks the person at the terminal; without one --yes is needed.
func (a *act) confirm(p *Program, question string) error {
	switch {
	case a.yes:
		return nil
	case !term.IsTerminal(p.In.Fd()):
		return cli.Usagef("repeat it with --yes", "%s: not confirmed, nothing was done", a.verb)
	}
	fmt.Fprintf(p.Err, "%s y/N ", question)
	line, _ := bufio.NewReader(p.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return cli.Usagef("", "%s: not confirmed, nothing was done", a.verb)
	}
	return nil
}
