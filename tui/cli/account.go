package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type accountsJSON struct {
	Version  int           `json:"version" doc:"1"`
	Accounts []accountJSON `json:"accounts"`
}

type accountJSON struct {
	Name     string        `json:"name"`
	Contact  *string       `json:"contact"`
	Limit    *int          `json:"limit" doc:"servers that it may have at once; null = no limit"`
	Created  stamp         `json:"created"`
	Closed   stamp         `json:"closed" doc:"null = it is open"`
	Servers  []string      `json:"servers" doc:"that it has or is about to have"`
	Keys     []apiKeyJSON  `json:"api_keys"`
	Webhooks []webhookJSON `json:"webhooks"`
}

// accountGroup is the customers.
func (a *app) accountGroup() *cobra.Command {
	g := a.group("account", "the customers: who has servers, and who pays for them",
		"An account is a customer. Operators see accounts; admins open and close them.")
	names := words{least: 1, most: -1, of: a.accountNames}
	g.AddCommand(
		a.leaf("list", "list the accounts, closed ones too", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
			all, err := a.customers()
			if err != nil {
				return err
			}
			return a.accounts(now, all, all.List())
		}),
		a.leaf("show NAME...", "tell of accounts: their servers, API keys and webhooks", names, a.accountShow),
		a.accountAdd(), a.accountClose(),
	)
	return g
}

// customers are the accounts, if the role may see them.
func (a *app) customers() (*engine.Accounts, error) { return a.v.Customers(a.s.Actor) }

// accountNames are for completion: nobody's, if the role may not see them.
func (a *app) accountNames(*engine.Snapshot) []string {
	all, err := a.customers()
	if err != nil {
		return nil
	}
	var out []string
	for _, acc := range all.List() {
		out = append(out, acc.Name)
	}
	return out
}

// account finds an account.
func (a *app) account(all *engine.Accounts, name string) (engine.Account, error) {
	acc, ok := all.ByName(name)
	if !ok {
		return acc, usagef(or(meant(name, a.accountNames(nil)), "picloud account list"), "there is no account %q", clip(name))
	}
	return acc, nil
}

func (a *app) accountShow(_ context.Context, now *engine.Snapshot, args []string) error {
	all, err := a.customers()
	if err != nil {
		return err
	}
	var list []engine.Account
	for _, name := range args {
		acc, err := a.account(all, name)
		if err != nil {
			return err
		}
		list = append(list, acc)
	}
	if a.json {
		return a.emit(accountsOut(now, all, list))
	}
	g := &page{app: a}
	for _, acc := range list {
		a.accountFacts(g, now, all, &acc)
	}
	g.flush()
	return nil
}

func (a *app) accountFacts(g *page, now *engine.Snapshot, all *engine.Accounts, acc *engine.Account) {
	g.title(acc.Name, accountState(acc))
	g.fact("contact", or(acc.Contact, "-"))
	g.fact("since", a.when(acc.Created))
	if !acc.Closed.IsZero() {
		g.fact("closed", a.when(acc.Closed))
	}
	g.fact("limit", limitText(acc.Limit))
	for _, p := range serversOf(now, acc.Name) {
		g.fact("server", fmt.Sprintf("%s, %s, %s", p.Server, p.Name, rentText(p)))
	}
	for _, k := range all.Keys(acc.Name) {
		g.fact("key", fmt.Sprintf("%s, %s, %s", k.ID, keyMay(&k), a.keyUse(now, &k)))
	}
	for _, h := range all.Webhooks(acc.Name) {
		g.fact("webhook", h.ID+" to "+h.URL)
	}
}

func accountState(acc *engine.Account) string {
	if acc.Closed.IsZero() {
		return "open"
	}
	return "closed"
}

func limitText(n int) string {
	if n == 0 {
		return "no limit"
	}
	return plural(n, "server", "servers")
}

// serversOf are the Pis with a server that the account ordered.
func serversOf(now *engine.Snapshot, account string) []*engine.PiView {
	return slices.DeleteFunc(servers(now), func(p *engine.PiView) bool {
		return p.Owner != account || p.Rent.State == "" || p.Rent.State == engine.ServerReleasing
	})
}

func (a *app) accountAdd() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	var acc engine.Account
	c := a.leaf("add NAME", "open an account", words{least: 1, most: 1}, func(ctx context.Context, now *engine.Snapshot, args []string) error {
		acc.Name = args[0]
		if acc.Limit < 0 {
			return usagef("", "--limit %d: want a number above 0, or 0 for no limit", acc.Limit)
		}
		if err := a.changeAccounts(ctx, engine.AccountCommand{Verb: engine.AccountAdd, Account: acc, Reason: t.reason}); err != nil {
			return err
		}
		return a.accountNow(now, acc.Name)
	})
	c.Flags().StringVar(&acc.Contact, "contact", "", "for people: `TEXT`, such as an e-mail address or a customer number")
	c.Flags().IntVar(&acc.Limit, "limit", 0, "no more than `N` servers at once (default: no limit)")
	t.reasonFlag(c)
	c.Example = "  picloud account add acme --contact ops@acme.example --limit 20\n  picloud apikey add acme"
	return c
}

func (a *app) accountClose() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	c := a.leaf("close NAME", "close an account: its keys let nobody in any more", words{least: 1, most: 1, of: a.accountNames},
		func(ctx context.Context, now *engine.Snapshot, args []string) error {
			if err := t.pass("close "+clip(args[0]), "", "its API keys let nobody in any more, and it cannot be opened again"); err != nil {
				return err
			}
			cmd := engine.AccountCommand{Verb: engine.AccountClose, Account: engine.Account{Name: args[0]}, Reason: t.reason}
			if err := a.changeAccounts(ctx, cmd); err != nil {
				return err
			}
			return a.accountNow(now, args[0])
		})
	c.Long = "Close an account. Its API keys let nobody in any more; what it owes stays in the\nledger. One that has servers cannot be closed: release them first."
	t.yesFlags(c)
	return c
}

// changeAccounts sends a command on accounts.
func (a *app) changeAccounts(ctx context.Context, cmd engine.AccountCommand) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	cmd.Actor = a.s.Actor
	return a.ordering(a.v.ChangeAccounts(ctx, cmd))
}

// mistakes are the errors of orders and accounts that are of what was typed.
var mistakes = []error{
	engine.ErrBadOrder, engine.ErrAccountName, engine.ErrNoSuchAccount, engine.ErrNoSuchServer, engine.ErrNoSuchKey,
	engine.ErrNoSuchWebhook, engine.ErrNoSuchOperator,
}

// ordering gives an error of orders or accounts its exit code.
func (a *app) ordering(err error) error {
	for _, m := range mistakes {
		if errors.Is(err, m) {
			return usagef(hintFor(err), "%w", err)
		}
	}
	return err
}

// accountNow tells of an account as it is after a change.
func (a *app) accountNow(now *engine.Snapshot, name string) error {
	all, err := a.customers()
	if err != nil {
		return err
	}
	acc, err := a.account(all, name)
	if err != nil {
		return err
	}
	return a.accounts(now, all, []engine.Account{acc})
}

func (a *app) accounts(now *engine.Snapshot, all *engine.Accounts, list []engine.Account) error {
	if a.json {
		return a.emit(accountsOut(now, all, list))
	}
	t := table{cols: []column{
		{title: "ACCOUNT"}, {title: "STATE"}, {title: "SERVERS", right: true}, {title: "LIMIT", right: true, rank: 2}, {title: "KEYS", right: true},
		{title: "WEBHOOKS", right: true, rank: 1}, {title: "CREATED", rank: 3}, {title: "CONTACT", least: 12},
	}}
	for _, acc := range list {
		limit := "-"
		if acc.Limit > 0 {
			limit = strconv.Itoa(acc.Limit)
		}
		keys := slices.DeleteFunc(all.Keys(acc.Name), func(k engine.APIKey) bool { return !k.Revoked.IsZero() })
		t.row(acc.Name, accountState(&acc), strconv.Itoa(len(serversOf(now, acc.Name))), limit, strconv.Itoa(len(keys)),
			strconv.Itoa(len(all.Webhooks(acc.Name))), a.when(acc.Created), acc.Contact)
	}
	a.print(&t)
	return nil
}

func accountsOut(now *engine.Snapshot, all *engine.Accounts, list []engine.Account) accountsJSON {
	out := accountsJSON{schemaVersion, make([]accountJSON, len(list))}
	for i, acc := range list {
		row := accountJSON{
			Name: acc.Name, Contact: null(acc.Contact), Limit: null(acc.Limit), Created: stamp{acc.Created}, Closed: stamp{acc.Closed},
			Servers: []string{}, Keys: apiKeysOut(all.Keys(acc.Name)), Webhooks: webhooksOut(all.Webhooks(acc.Name)),
		}
		for _, p := range serversOf(now, acc.Name) {
			row.Servers = append(row.Servers, p.Server)
		}
		out.Accounts[i] = row
	}
	return out
}

// keyUse says in a few words whether a key is used.
func (a *app) keyUse(now *engine.Snapshot, k *engine.APIKey) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked " + a.when(k.Revoked)
	case k.Used.IsZero():
		return "never used"
	}
	return "last used " + usedAgo(now, k.Used)
}

// usedAgo is lately for a time that is kept to the minute.
func usedAgo(now *engine.Snapshot, t time.Time) string {
	if !t.IsZero() && now.At.Sub(t) < time.Minute {
		return "just now"
	}
	return lately(now.At, t)
}
