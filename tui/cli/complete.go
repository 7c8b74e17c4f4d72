package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// complete answers the scripts that cobra makes for shells: a candidate a
// line, its meaning after a tab, and last ":4", which says that there are no
// file names to complete. It is not cobra's own: that keeps each command's
// functions for ever and writes mistakes to the process's standard error.
func (a *app) complete(root *cobra.Command, args []string, meanings bool, out io.Writer) {
	last := len(args) - 1
	for _, c := range a.candidates(root, args[:last], args[last]) {
		if !meanings {
			c, _, _ = strings.Cut(c, "\t")
		}
		fmt.Fprintln(out, c)
	}
	fmt.Fprintf(out, ":%d\n", cobra.ShellCompDirectiveNoFileComp)
}

func (a *app) candidates(root *cobra.Command, before []string, begun string) []string {
	c, rest, err := root.Find(before)
	if err != nil {
		return nil
	}
	if f, begun, ok := flagValue(c, before, begun); ok {
		return a.valuesOf(f, begun)
	}
	if strings.HasPrefix(begun, "-") {
		return flagNames(c, begun)
	}
	rest = withoutFlags(c, rest)
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
	return out
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

// valuesOf are what a flag can be set to.
func (a *app) valuesOf(f *pflag.Flag, begun string) []string {
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
			out = append(out, name+"\t"+f.Usage)
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
