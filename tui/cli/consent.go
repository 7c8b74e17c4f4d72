package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// consent is what stands before an act that is none on Pis. It is passed as
// their guards are: by a flag, or by a person at the terminal.
type consent struct {
	*app
	needs   engine.Role
	yes     bool
	confirm string
	dryRun  bool
	reason  string
}

func (c *consent) reasonFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for the audit: `TEXT`")
}

// yesFlags are those of an act that asks for "y".
func (c *consent) yesFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.yes, "yes", false, "do not ask")
	c.reasonFlag(cmd)
}

// typedFlags are those of an act that asks for a name.
func (c *consent) typedFlags(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&c.confirm, "confirm", "", "the `TEXT` to type: "+what)
	c.reasonFlag(cmd)
}

func (c *consent) dryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "say what would be done, and do nothing")
}

// may tells whether the role allows it. The engine decides: this only keeps a
// person from being asked for what will be refused.
func (c *consent) may() bool { return c.s.Actor.Role >= c.needs }

// pass asks whether to do what the lines tell. word is what has to be typed,
// "" = y is enough.
func (c *consent) pass(what, word string, tells ...string) error {
	flag, passed := "--yes", c.yes
	if word != "" {
		flag, passed = "--confirm "+quoted(word), c.confirm == word
	}
	switch {
	case passed || !c.may():
		return nil
	case word != "" && c.confirm != "":
		return usagef("", "%s: --confirm %s is not %s; nothing was done", what, quoted(clip(c.confirm)), quoted(word))
	case !c.s.TTY:
		return usagef("repeat it with "+flag, "%s: not confirmed, nothing was done", what)
	}
	fmt.Fprintln(c.err, clean(what))
	for _, line := range tells {
		fmt.Fprintln(c.err, "  "+clean(line))
	}
	return c.answer(strings.Fields(what)[0], word)
}

// dry ends a dry run: what would be done has been told, and whether the role
// allows it has not.
func (c *consent) dry() error {
	if c.may() {
		return nil
	}
	fmt.Fprintf(c.err, "picloud: your role (%s) may not: it needs %s\n", c.s.Actor.Role, c.needs)
	return errTold()
}
