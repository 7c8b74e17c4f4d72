package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type apiKeysJSON struct {
	Version int          `json:"version" doc:"1"`
	Keys    []apiKeyJSON `json:"api_keys" doc:"oldest first, revoked ones too"`
}

type apiKeyJSON struct {
	ID       string  `json:"id" doc:"the user name of a login"`
	Account  *string `json:"account"`
	Operator *string `json:"operator" doc:"of a key of the staff"`
	ReadOnly bool    `json:"read_only"`
	Created  stamp   `json:"created"`
	Used     stamp   `json:"last_used" doc:"to the minute; null = never"`
	Revoked  stamp   `json:"revoked" doc:"null = it is not"`
}

type newAPIKeyJSON struct {
	Version int        `json:"version" doc:"1"`
	Key     apiKeyJSON `json:"api_key"`
	Secret  string     `json:"secret" doc:"the password of a login; it is not shown again"`
}

// apiKeyGroup is what lets programs in.
func (a *app) apiKeyGroup() *cobra.Command {
	g := a.group("apikey", "the keys that let programs order and look after servers",
		"A program logs in with a key's ID as the user and its secret as the password.\nOnly a hash of the secret is kept. Operators see keys; admins give and take them.")
	g.AddCommand(
		a.leaf("list [ACCOUNT]", "list the keys, all or an account's, and when each was used last", words{most: 1, of: a.accountNames}, a.apiKeyList),
		a.apiKeyAdd(), a.apiKeyRevoke(),
	)
	return g
}

// accountOrAll is the account that was named, "" = none was.
func (a *app) accountOrAll(args []string) (all *engine.Accounts, name string, err error) {
	all, err = a.customers()
	if err != nil || len(args) == 0 {
		return all, "", err
	}
	acc, err := a.account(all, args[0])
	return all, acc.Name, err
}

func (a *app) apiKeyList(_ context.Context, now *engine.Snapshot, args []string) error {
	all, name, err := a.accountOrAll(args)
	if err != nil {
		return err
	}
	return a.apiKeys(now, all, all.Keys(name))
}

func (a *app) apiKeys(now *engine.Snapshot, all *engine.Accounts, list []engine.APIKey) error {
	if a.json {
		return a.emit(apiKeysJSON{schemaVersion, apiKeysOut(list)})
	}
	t := table{cols: []column{{title: "KEY"}, {title: "OF", least: 8}, {title: "MAY"}, {title: "STATE"}, {title: "LAST USED"}, {title: "CREATED", rank: 1}}}
	for _, k := range list {
		state := cell{"lets in", good}
		switch _, acts := all.ActorOf(k, a.v.Operators()); {
		case !k.Revoked.IsZero():
			state = cell{"revoked", plain}
		case !acts:
			state = cell{"of nobody now", plain}
		}
		t.row(k.ID, keyOf(&k), keyMay(&k), state, usedAgo(now, k.Used), a.when(k.Created))
	}
	a.print(&t)
	return nil
}

// keyOf is whose a key is.
func keyOf(k *engine.APIKey) string {
	if k.Account == "" {
		return "staff: " + k.Operator
	}
	return k.Account
}

func keyMay(k *engine.APIKey) string {
	if k.ReadOnly {
		return "read"
	}
	return "act"
}

func (a *app) apiKeyAdd() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	var staff string
	var readOnly bool
	c := a.leaf("add [ACCOUNT]", "make a key for an account, or for one of the staff", words{most: 1, of: a.accountNames},
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			key := engine.APIKey{ID: engine.NewID(), Operator: staff, ReadOnly: readOnly}
			switch {
			case (len(args) == 0) == (staff == ""):
				return usagef("picloud apikey add --help", "say whose it is: an ACCOUNT, or --staff OPERATOR")
			case staff == "":
				key.Account = args[0]
			}
			return a.addAPIKey(ctx, key, t.reason)
		})
	c.Long = "Make a key for an account, or with --staff for one of the staff, whose role it\nthen has. Its secret is printed this once; only a hash of it is kept."
	c.Flags().BoolVar(&readOnly, "read-only", false, "it may look and do nothing")
	c.Flags().StringVar(&staff, "staff", "", "it is of this `OPERATOR`")
	a.completes(c, "staff", a.operatorNames)
	t.reasonFlag(c)
	return c
}

// addAPIKey makes the secret here: what goes on to be stored, logged and written
// into the audit is its hash at most.
func (a *app) addAPIKey(ctx context.Context, key engine.APIKey, reason string) error {
	secret, hash := engine.NewSecret()
	key.Hash = hash
	if err := a.changeAccounts(ctx, engine.AccountCommand{Verb: engine.APIKeyAdd, Key: key, Reason: reason}); err != nil {
		return err
	}
	if all, err := a.customers(); err == nil {
		if k, ok := all.Key(key.ID); ok {
			key = k // with its time
		}
	}
	if a.json {
		return a.emit(newAPIKeyJSON{schemaVersion, apiKeyOut(&key), secret})
	}
	a.printf("key     %s\nsecret  %s\n", key.ID, secret)
	fmt.Fprintf(a.err, "of %s, may %s; the secret is not shown again\n", clean(keyOf(&key)), keyMay(&key))
	return nil
}

func (a *app) apiKeyRevoke() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	c := a.leaf("revoke ID", "let nobody in with a key any more", words{least: 1, most: 1, of: a.apiKeyIDs},
		func(ctx context.Context, now *engine.Snapshot, args []string) error {
			tells := "no program gets in with it any more"
			if all, err := a.customers(); err == nil { // else the engine says why
				k, ok := all.Key(args[0])
				if !ok {
					return usagef(or(meant(args[0], a.apiKeyIDs(nil)), "picloud apikey list"), "there is no API key %q", clip(args[0]))
				}
				tells = fmt.Sprintf("of %s, %s: %s", keyOf(&k), a.keyUse(now, &k), tells)
			}
			if err := t.pass("revoke "+clip(args[0]), "", tells); err != nil {
				return err
			}
			cmd := engine.AccountCommand{Verb: engine.APIKeyRevoke, Key: engine.APIKey{ID: args[0]}, Reason: t.reason}
			if err := a.changeAccounts(ctx, cmd); err != nil {
				return err
			}
			all, err := a.customers()
			if err != nil {
				return err
			}
			k, _ := all.Key(args[0])
			return a.apiKeys(now, all, []engine.APIKey{k})
		})
	t.yesFlags(c)
	return c
}

// apiKeyIDs are of the keys that let in.
func (a *app) apiKeyIDs(*engine.Snapshot) []string {
	all, err := a.customers()
	if err != nil {
		return nil
	}
	var out []string
	for _, k := range all.Keys("") {
		if k.Revoked.IsZero() {
			out = append(out, k.ID)
		}
	}
	return out
}

func apiKeyOut(k *engine.APIKey) apiKeyJSON {
	return apiKeyJSON{k.ID, null(k.Account), null(k.Operator), k.ReadOnly, stamp{k.Created}, stamp{k.Used}, stamp{k.Revoked}}
}

func apiKeysOut(list []engine.APIKey) []apiKeyJSON {
	out := make([]apiKeyJSON, len(list))
	for i := range list {
		out[i] = apiKeyOut(&list[i])
	}
	return out
}
