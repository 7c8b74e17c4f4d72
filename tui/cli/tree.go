package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"picloud/engine"
)

// runner is the work of one command; now is the rack when it began.
type runner func(ctx context.Context, now *engine.Snapshot, args []string) error

// root builds the tree: nouns, and below them what can be done.
func (a *app) root() *cobra.Command {
	root := a.group("picloud", "a cloud of Raspberry Pis that boot over the network", "")
	root.Long = "picloud runs a cloud of Raspberry Pis that boot over the network." +
		"\n\nExit status: 0 done, 1 refused or failed (also if only in part), 2 not understood\nor not confirmed."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions = cobra.CompletionOptions{DisableDefaultCmd: true, HiddenDefaultCmd: true}
	root.SetUsageTemplate(usageTemplate)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(strings.NewReader(""))
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON; picloud help json describes it")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &problem{exitUsage, err, cmd.CommandPath() + " --help"}
	})
	root.AddCommand(
		a.piGroup(), a.switchGroup(), a.jobGroup(), a.bootGroup(), a.imageGroup(), a.serverGroup(),
		a.orderCommand(), a.accountGroup(), a.apiKeyGroup(), a.webhookGroup(), a.billCommand(), a.operatorGroup(), a.rackCommand(), a.spaceCommand(), a.watchCommand(), a.logCommand(), a.auditCommand(),
		a.versionCommand(), a.completionCommand(), jsonTopic(),
	)
	root.SetHelpCommand(a.helpCommand(root))
	return root
}

// usageTemplate is the lower part of the help.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:
{{- range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableInheritedFlags}}

Everywhere:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Each command has --help{{if not .HasParent}}; "{{.CommandPath}} help json" describes --json{{end}}.
{{- end}}
`

// group is a noun. Alone it is not understood, and what it has is listed.
func (a *app) group(name, short, long string) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Long: long, Args: cobra.ArbitraryArgs}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		names := subcommands(cmd)
		if len(args) == 0 {
			return usagef(cmd.CommandPath()+" --help", "say what to do: %s, then one of: %s", cmd.CommandPath(), strings.Join(names, " "))
		}
		hint := meant(args[0], names)
		if hint == "" {
			hint = cmd.CommandPath() + " --help"
		}
		return usagef(hint, "there is no command %q", cmd.CommandPath()+" "+clip(args[0]))
	}
	return c
}

func subcommands(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			names = append(names, sub.Name())
		}
	}
	return names
}

// What the words after a command are, for its check and its completion.
type words struct {
	least, most int // most -1 = any number
	of          func(s *engine.Snapshot) []string
	first       int // how many of them are of; 0 = all
}

var (
	noWords     = words{}
	piWords     = words{least: 1, most: -1, of: targetWords}
	anyPiWords  = words{most: -1, of: targetWords}
	onePi       = words{least: 1, most: 1, of: piNames}
	switchWords = words{least: 1, most: -1, of: switchNames}
	imageWords  = words{least: 1, most: -1, of: imageNames}
	serverWords = words{least: 1, most: -1, of: serverNames}
	jobWords    = words{least: 1, most: -1, of: jobNumbers}
)

// leaf is a command that does something.
func (a *app) leaf(use, short string, w words, run runner) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < w.least:
			return usagef(cmd.CommandPath()+" --help", "%s needs %s", cmd.CommandPath(), what(use))
		case w.most >= 0 && len(args) > w.most:
			return usagef(cmd.CommandPath()+" --help", "%s takes no %q", cmd.CommandPath(), clip(args[w.most]))
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		now, err := a.snapshot()
		if err != nil {
			return err
		}
		return asProblem(run(cmd.Context(), now, args))
	}
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if w.of == nil || a.v == nil || w.most >= 0 && len(args) >= w.most || w.first > 0 && len(args) >= w.first {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginning(w.of(a.v.Snapshot()), begun, args), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// what is the first word after a command's name in its usage.
func what(use string) string {
	f := strings.Fields(use)
	if len(f) < 2 {
		return "more"
	}
	word := strings.Trim(f[1], "[].")
	if strings.ContainsRune("AEIO", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// offline is a command that needs no service.
func offline(use, short string, w words, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	c := (&app{}).leaf(use, short, w, nil)
	c.ValidArgsFunction = nil
	c.RunE = func(cmd *cobra.Command, args []string) error { return asProblem(run(cmd, args)) }
	return c
}

// helpCommand replaces cobra's, which ends the process when it cannot write.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	c := offline("help [COMMAND]", "help about a command", words{most: -1}, func(_ *cobra.Command, args []string) error {
		c, rest, err := root.Find(args)
		if err != nil || c == nil || len(rest) > 0 {
			return usagef("picloud help", "there is no command %q", clip(strings.Join(args, " ")))
		}
		c.InitDefaultHelpFlag()
		return c.Help()
	})
	return c
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	c := offline("completion SHELL", "print the script that completes commands in a shell",
		words{least: 1, most: 1}, func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return usagef("picloud completion bash", "no script for %q: bash, zsh, fish", clip(args[0]))
		})
	c.ValidArgs = shells
	c.Long = "SHELL is bash, zsh or fish. Names of Pis are completed by asking the service.\n\n" +
		"  bash: picloud completion bash > /etc/bash_completion.d/picloud\n" +
		"  zsh:  picloud completion zsh > /usr/local/share/zsh/site-functions/_picloud\n" +
		"  fish: picloud completion fish > /etc/fish/completions/picloud.fish"
	return c
}

func (a *app) versionCommand() *cobra.Command {
	return offline("version", "print the version", noWords, func(*cobra.Command, []string) error {
		if a.json {
			return a.emit(versionJSON{Version: schemaVersion, Picloud: or(a.s.Version, "unknown")})
		}
		a.printf("picloud %s\n", clean(or(a.s.Version, "(version not told)")))
		return nil
	})
}

// targetWords are what a PI can be: names, switches and sets.
func targetWords(s *engine.Snapshot) []string {
	return slices.Concat(piNames(s), switchNames(s), setNames())
}

func serverNames(s *engine.Snapshot) []string {
	var out []string
	for _, p := range servers(s) {
		out = append(out, p.Server)
	}
	return out
}

func jobNumbers(s *engine.Snapshot) []string {
	out := make([]string, len(s.Jobs))
	for i := range s.Jobs {
		out[i] = fmt.Sprint(s.Jobs[i].ID)
	}
	return out
}

// beginning are the words that go on from what was begun and are not there yet.
func beginning(all []string, begun string, there []string) []string {
	var out []string
	for _, w := range all {
		if strings.HasPrefix(w, begun) && !slices.Contains(there, w) {
			out = append(out, clean(w))
		}
	}
	return out
}

// completes says what a flag of a command can be set to.
func (a *app) completes(c *cobra.Command, flag string, of func(*engine.Snapshot) []string) {
	a.values[c.Flags().Lookup(flag)] = of
}

// takesValue tells whether the word after a flag is its value.
func takesValue(f *pflag.Flag) bool { return f.NoOptDefVal == "" }
