package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Man writes the manual page picloud(1) of a tree of commands, such as
// Command's or one with more added, in the man macros of groff. date is the
// page's.
func Man(w io.Writer, root *cobra.Command, date time.Time) error {
	b := bufio.NewWriter(w)
	name := root.Name()
	fmt.Fprintf(b, ".TH %s 1 %s %s \"User Commands\"\n", strings.ToUpper(name), date.UTC().Format(time.DateOnly), name)
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", name, roff(root.Short))
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIFLAG\\fR...]\n", name)
	fmt.Fprintf(b, ".SH DESCRIPTION\n%s", paragraphs(root.Long))
	b.WriteString(".SH COMMANDS\n")
	manCommands(b, root)
	b.WriteString(".SH FLAGS OF EVERY COMMAND\n")
	manFlags(b, root.PersistentFlags())
	for _, c := range root.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(b, ".SH %s\n%s", strings.ToUpper(roff(c.Short)), paragraphs(c.Long))
		}
	}
	return b.Flush()
}

func manCommands(b *bufio.Writer, c *cobra.Command) {
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if sub.HasAvailableSubCommands() {
			manCommands(b, sub)
			continue
		}
		long := sub.Long
		if long == "" {
			long = upperFirst(sub.Short) + "."
		}
		fmt.Fprintf(b, ".SS %s\n%s", roff(strings.TrimSuffix(sub.UseLine(), " [flags]")), paragraphs(long))
		manFlags(b, sub.LocalNonPersistentFlags())
		if sub.Example != "" {
			fmt.Fprintf(b, ".PP\n%s", paragraphs(sub.Example))
		}
	}
}

func manFlags(b *bufio.Writer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n\\fB\\-\\-%s\\fR", roff(f.Name))
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(b, "\n%s\n", roffLine(usage))
	})
}

// paragraphs writes text whose indented lines are to stay as they are.
func paragraphs(text string) string {
	var b strings.Builder
	asIs := false
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented != asIs && line != "" {
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[indented])
			asIs = indented
		}
		if line == "" && !asIs {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roffLine(line) + "\n")
	}
	if asIs {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff escapes text for groff: backslashes, and hyphens that are to be typed.
func roff(s string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s) }

// roffLine is a line of text that does not begin a request.
func roffLine(s string) string {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + roff(s)
	}
	return roff(s)
}
