package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Complete answers the scripts that cobra makes for shells, for what needs no
// service: commands, flags, and which words are names of files. args are the
// words of the hidden command that these scripts run.
func Complete(root *cobra.Command, args []string, out io.Writer) {
	if len(args) > 1 {
		(&app{}).complete(root, args[1:], args[0] == cobra.ShellCompRequestCmd, out)
	}
}

// AsksService tells whether only a service knows how the last of the words that
// complete a command of this tree could go on: a name of the rack's.
func AsksService(root *cobra.Command, words []string) bool {
	before, begun := words[:len(words)-1], words[len(words)-1]
	c, _, err := root.Find(before)
	if err != nil || c.HasSubCommands() {
		return false
	}
	if f, _, ok := flagValue(c, before, begun); ok {
		return !namesFile(f) && f.Annotations[fixedValues] == nil
	}
	return c.ValidArgsFunction != nil && !strings.HasPrefix(begun, "-")
}

// complete writes a candidate a line, its meaning after a tab, and last what the
// shell is to do: ":4", no names of files, or ":0", those if there is no
// candidate. It is not cobra's own: that keeps each command's functions for ever
// and writes mistakes to the process's standard error.
func (a *app) complete(root *cobra.Command, args []string, meanings bool, out io.Writer) {
	last := len(args) - 1
	found, directive := a.candidates(root, args[:last], args[last])
	for _, c := range found {
		if !meanings {
			c, _, _ = strings.Cut(c, "\t")
		}
		fmt.Fprintln(out, c)
	}
	fmt.Fprintf(out, ":%d\n", directive)
}

func (a *app) candidates(root *cobra.Command, before []string, begun string) ([]string, cobra.ShellCompDirective) {
	const names, files = cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveDefault
	root.InitDefaultHelpCmd()
	c, rest, err := root.Find(before)
	if err != nil {
		return nil, names
	}
	if f, begun, ok := flagValue(c, before, begun); ok {
		if namesFile(f) {
			return nil, files
		}
		return a.valuesOf(f, begun), names
	}
	if strings.HasPrefix(begun, "-") {
		return flagNames(c, begun), names
	}
	rest = withoutFlags(c, rest)
	if c.Name() == "help" && c.Parent() == root {
		if c, rest, err = root.Find(rest); err != nil || len(rest) > 0 {
			return nil, names
		}
	}
	var out []string
	if len(rest) == 0 {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), begun) {
				out = append(out, sub.Name()+"\t"+sub.Short)
			}
		}
		out = append(out, beginning(c.ValidArgs, begun, nil)...)
	}
	if c.ValidArgsFunction != nil {
		more, _ := c.ValidArgsFunction(c, rest, begun)
		out = append(out, more...)
	}
	if takesFile(c, len(rest)) {
		return out, files
	}
	return out, names
}

// namesFile tells whether a flag is set to the name of a file, as its help says.
func namesFile(f *pflag.Flag) bool {
	value, _ := pflag.UnquoteUsage(f)
	return strings.EqualFold(value, "file") || value == "folder"
}

// takesFile tells whether the word of a command at a place, counted from 0, is
// the name of a file, as its usage says.
func takesFile(c *cobra.Command, at int) bool {
	words := strings.Fields(c.Use)
	return at+1 < len(words) && strings.Trim(words[at+1], "[].") == "FILE"
}

func findFlag(c *cobra.Command, word string) *pflag.Flag {
	name, ok := strings.CutPrefix(word, "--")
	if !ok || name == "" {
		return nil
	}
	if f := c.Flags().Lookup(name); f != nil {
		return f
	}
	return c.InheritedFlags().Lookup(name)
}

// flagValue finds the flag whose value is being typed: "--image tr" or
// "--image=tr".
func flagValue(c *cobra.Command, before []string, begun string) (f *pflag.Flag, value string, ok bool) {
	if name, value, ok := strings.Cut(begun, "="); ok && strings.HasPrefix(begun, "--") {
		f = findFlag(c, name)
		return f, value, f != nil
	}
	if len(before) == 0 {
		return nil, "", false
	}
	f = findFlag(c, before[len(before)-1])
	return f, begun, f != nil && takesValue(f)
}

// fixedValues is the annotation of a flag that takes one of a few words.
const fixedValues = "picloud-values"

// Values says which words a flag of a command takes, for its completion.
func Values(c *cobra.Command, flag string, words []string) {
	f := c.Flags().Lookup(flag)
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[fixedValues] = words
}

// valuesOf are what a flag can be set to.
func (a *app) valuesOf(f *pflag.Flag, begun string) []string {
	if words := f.Annotations[fixedValues]; words != nil {
		return beginning(words, begun, nil)
	}
	of := a.values[f]
	if of == nil || a.v == nil {
		return nil
	}
	return beginning(of(a.v.Snapshot()), begun, nil)
}

func flagNames(c *cobra.Command, begun string) []string {
	c.InitDefaultHelpFlag()
	var out []string
	add := func(f *pflag.Flag) {
		if name := "--" + f.Name; !f.Hidden && !f.Changed && strings.HasPrefix(name, begun) {
			_, usage := pflag.UnquoteUsage(f)
			out = append(out, name+"\t"+usage)
		}
	}
	c.InheritedFlags().VisitAll(add)
	c.NonInheritedFlags().VisitAll(add)
	return out
}

// withoutFlags are the words that are neither flags nor their values.
func withoutFlags(c *cobra.Command, words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "-") {
			out = append(out, w)
			continue
		}
		if f := findFlag(c, w); f != nil && takesValue(f) {
			i++
		}
	}
	return out
}
