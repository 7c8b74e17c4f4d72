package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type operatorsJSON struct {
	Version   int            `json:"version" doc:"1"`
	Operators []operatorJSON `json:"operators"`
}

type operatorJSON struct {
	Name  string            `json:"name"`
	Role  string            `json:"role" doc:"viewer, operator, admin"`
	Added stamp             `json:"added"`
	Keys  []operatorKeyJSON `json:"keys"`
}

type operatorKeyJSON struct {
	Type        string  `json:"type" doc:"as ssh-ed25519"`
	Fingerprint string  `json:"fingerprint" doc:"SHA256:..."`
	Comment     *string `json:"comment"`
}

// operatorGroup is the staff: who may come in, and what they may do.
func (a *app) operatorGroup() *cobra.Command {
	g := a.group("operator", "the staff: who may come in over SSH, and their roles",
		"Roles: viewer sees everything; operator acts on Pis; admin changes operators, too.")
	names := words{least: 1, most: -1, of: a.operatorNames}
	g.AddCommand(
		a.leaf("list", "list the operators", noWords, func(context.Context, *engine.Snapshot, []string) error {
			return a.operators(a.v.Operators().List())
		}),
		a.leaf("show NAME...", "tell of operators and their keys", names, func(_ context.Context, _ *engine.Snapshot, args []string) error {
			return a.showOperators(args)
		}),
		a.operatorAdd(), a.operatorSet(), a.operatorRemove(names),
	)
	return g
}

func (a *app) operatorNames(*engine.Snapshot) []string {
	var out []string
	for _, o := range a.v.Operators().List() {
		out = append(out, o.Name)
	}
	return out
}

// operatorFlags are what an operator can be given.
type operatorFlags struct {
	role, reason string
	keys, drop   []string
}

func (f *operatorFlags) define(c *cobra.Command, role string) {
	c.Flags().StringVar(&f.role, "role", role, "viewer, operator or admin")
	Values(c, "role", []string{engine.RoleViewer.String(), engine.RoleOperator.String(), engine.RoleAdmin.String()})
	c.Flags().StringArrayVar(&f.keys, "key", nil, "a public key: the `FILE` that has it, or its one line; may be repeated")
	c.Flags().StringVar(&f.reason, "reason", "", "`TEXT` for the audit")
}

func (a *app) operatorAdd() *cobra.Command {
	var f operatorFlags
	c := a.leaf("add NAME", "let somebody in", words{least: 1, most: 1}, func(ctx context.Context, _ *engine.Snapshot, args []string) error {
		o := engine.Operator{Name: args[0]}
		if err := f.into(&o); err != nil {
			return err
		}
		return a.changeOperator(ctx, engine.OperatorAdd, o, f.reason)
	})
	f.define(c, engine.RoleViewer.String())
	c.Example = "  picloud operator add alice --role operator --key ~/.ssh/id_ed25519.pub"
	return c
}

func (a *app) operatorSet() *cobra.Command {
	var f operatorFlags
	c := a.leaf("set NAME", "give an operator another role, or other keys", words{least: 1, most: 1, of: a.operatorNames},
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			o, err := a.operator(args[0])
			if err != nil {
				return err
			}
			if err := f.into(&o); err != nil {
				return err
			}
			return a.changeOperator(ctx, engine.OperatorSet, o, f.reason)
		})
	f.define(c, "")
	c.Flags().StringArrayVar(&f.drop, "drop-key", nil, "take the key with this `FINGERPRINT` away; may be repeated")
	return c
}

func (a *app) operatorRemove(names words) *cobra.Command {
	var reason string
	var yes bool
	c := a.leaf("remove NAME...", "let somebody in no more, end their sessions, and revoke their API keys", names,
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			for _, name := range args {
				if _, err := a.operator(name); err != nil {
					return err
				}
			}
			if err := a.confirm("remove "+clip(clean(strings.Join(args, " "))), yes || a.s.Actor.Role < engine.RoleAdmin); err != nil {
				return err
			}
			for _, name := range args {
				if err := a.changeOperator(ctx, engine.OperatorRemove, engine.Operator{Name: name}, reason); err != nil {
					return err
				}
			}
			return nil
		})
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// into puts what was given into an operator; what was not stays.
func (f *operatorFlags) into(o *engine.Operator) error {
	if f.role != "" {
		role, ok := engine.ParseRole(f.role)
		if !ok {
			return usagef("viewer, operator or admin", "there is no role %q", clip(f.role))
		}
		o.Role = role
	}
	for _, gone := range f.drop {
		before := len(o.Keys)
		o.Keys = slices.DeleteFunc(slices.Clone(o.Keys), func(k engine.OperatorKey) bool { return k.Fingerprint == gone })
		if len(o.Keys) == before {
			return usagef("picloud operator show "+o.Name, "%s has no key %q", o.Name, clip(gone))
		}
	}
	for _, text := range f.keys {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			k, err := engine.ParseOperatorKey(line)
			if err != nil {
				return usagef("a file is read only by picloud on its own computer; over ssh give the line itself", "--key %q: %w", clip(line), err)
			}
			o.Keys = append(o.Keys, k)
		}
	}
	return nil
}

func (a *app) operator(name string) (engine.Operator, error) {
	o, ok := a.v.Operators().ByName(name)
	if !ok {
		return o, usagef(or(meant(name, a.operatorNames(nil)), "picloud operator list"), "there is no operator %q", clip(name))
	}
	return o, nil
}

func (a *app) changeOperator(ctx context.Context, verb engine.OperatorVerb, o engine.Operator, reason string) error {
	err := a.v.ChangeOperators(ctx, engine.OperatorCommand{Verb: verb, Actor: a.s.Actor, Operator: o, Reason: reason})
	switch {
	case errors.Is(err, engine.ErrOperatorName), errors.Is(err, engine.ErrKey):
		return usagef("", "%w", err)
	case errors.Is(err, engine.ErrNoSuchOperator):
		return usagef(or(meant(o.Name, a.operatorNames(nil)), "picloud operator list"), "%w", err)
	case err != nil:
		return err
	}
	if now, ok := a.v.Operators().ByName(o.Name); ok {
		return a.operators([]engine.Operator{now})
	}
	a.printf("%s: removed\n", clean(o.Name))
	return nil
}

func (a *app) operators(list []engine.Operator) error {
	if a.json {
		return a.emit(operatorsOut(list))
	}
	t := table{cols: []column{{title: "NAME"}, {title: "ROLE"}, {title: "KEYS", right: true}, {title: "ADDED"}}}
	for _, o := range list {
		t.row(o.Name, o.Role.String(), strconv.Itoa(len(o.Keys)), a.when(o.Added))
	}
	a.print(&t)
	return nil
}

func (a *app) showOperators(names []string) error {
	var list []engine.Operator
	for _, name := range names {
		o, err := a.operator(name)
		if err != nil {
			return err
		}
		list = append(list, o)
	}
	if a.json {
		return a.emit(operatorsOut(list))
	}
	g := &page{app: a}
	for _, o := range list {
		g.title(o.Name, o.Role.String())
		g.fact("added", a.when(o.Added))
		for _, k := range o.Keys {
			kind, comment := keyParts(k)
			g.fact("key", strings.TrimSpace(kind+" "+k.Fingerprint+" "+comment))
		}
	}
	g.flush()
	return nil
}

// keyParts are the type and the comment of a key.
func keyParts(k engine.OperatorKey) (kind, comment string) {
	w := strings.SplitN(k.Line, " ", 3)
	if len(w) > 2 {
		comment = w[2]
	}
	return w[0], comment
}

func operatorsOut(list []engine.Operator) operatorsJSON {
	out := operatorsJSON{schemaVersion, make([]operatorJSON, len(list))}
	for i, o := range list {
		keys := make([]operatorKeyJSON, len(o.Keys))
		for j, k := range o.Keys {
			kind, comment := keyParts(k)
			keys[j] = operatorKeyJSON{kind, k.Fingerprint, null(comment)}
		}
		out.Operators[i] = operatorJSON{o.Name, o.Role.String(), stamp{o.Added}, keys}
	}
	return out
}
