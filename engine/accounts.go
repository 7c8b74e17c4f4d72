package engine

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"time"
)

func newAccounts(s *State) *Accounts {
	a := &Accounts{byName: map[string]Account{}, keys: map[string]APIKey{}, hooks: map[string]Webhook{}}
	for _, v := range s.Accounts {
		a.byName[v.Name] = v
	}
	for _, v := range s.APIKeys {
		a.keys[v.ID] = v
	}
	for _, v := range s.Webhooks {
		a.hooks[v.ID] = v
	}
	return a
}

func (a *Accounts) clone() *Accounts {
	return &Accounts{byName: maps.Clone(a.byName), keys: maps.Clone(a.keys), hooks: maps.Clone(a.hooks)}
}

func (r *rack) setAccounts(a *Accounts) {
	r.accounts = a
	r.e.accounts.Store(a)
}

// accountVerb is a row of the table of what can be done with accounts.
type accountVerb struct {
	own bool // an account may do it with what is its own
	do  func(r *rack, cmd *AccountCommand, next *Accounts) (target string, err error)
}

func accountVerbs() map[AccountVerb]accountVerb {
	return map[AccountVerb]accountVerb{
		AccountAdd:    {do: (*rack).addAccount},
		AccountClose:  {do: (*rack).closeAccount},
		APIKeyAdd:     {do: (*rack).addAPIKey},
		APIKeyRevoke:  {do: (*rack).revokeAPIKey},
		WebhookAdd:    {do: (*rack).addWebhook, own: true},
		WebhookRemove: {do: (*rack).removeWebhook, own: true},
	}
}

// ChangeAccounts carries out a command on accounts: written down, with its audit
// row, or not done.
func (e *Engine) ChangeAccounts(ctx context.Context, cmd AccountCommand) error {
	_, err := ask(ctx, e, e.customers, cmd)
	return err
}

func (r *rack) changeAccounts(cmd AccountCommand) error {
	verb, ok := accountVerbs()[cmd.Verb]
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoSuchVerb, cmd.Verb)
	}
	own := verb.own && cmd.Actor.Account != ""
	if own && cmd.Actor.Role < RoleOperator || !own && (cmd.Actor.Role < RoleAdmin || cmd.Actor.Account != "") {
		return fmt.Errorf("%s: %s %w", cmd.Verb, cmd.Actor.Role, ErrNotAllowed)
	}
	if own {
		cmd.Webhook.Account = cmd.Actor.Account
		if err := r.openAccount(cmd.Actor.Account); err != nil {
			return fmt.Errorf("%s: %w", cmd.Verb, err)
		}
	}
	if err := r.flush(context.Background()); err != nil {
		return fmt.Errorf("%s: %w (%w)", cmd.Verb, ErrNotWritten, err)
	}
	next := r.accounts.clone()
	target, err := verb.do(r, &cmd, next)
	if err != nil {
		r.changes = Changes{}
		return fmt.Errorf("%s: %w", cmd.Verb, err)
	}
	audit := r.openAuditOf(VerbName(cmd.Verb), Command{Actor: cmd.Actor, Reason: cmd.Reason}, target, 0)
	r.closeAudit(audit, "ok")
	if err := r.flush(context.Background()); err != nil {
		r.changes = Changes{}
		return fmt.Errorf("%s: %w (%w)", cmd.Verb, ErrNotWritten, err)
	}
	r.setAccounts(next)
	r.logf(cmd.Actor.Name, "", 0, "%s %s", cmd.Verb, target)
	return nil
}

func (r *rack) addAccount(cmd *AccountCommand, next *Accounts) (string, error) {
	a := cmd.Account
	_, taken := next.byName[a.Name]
	_, staff := r.operators.ByName(a.Name)
	switch {
	case !accountName.MatchString(a.Name):
		return "", ErrAccountName
	case taken:
		return "", fmt.Errorf("%w: %s", ErrAccountExists, a.Name)
	case staff: // who did what is written down by name
		return "", fmt.Errorf("%w: %s", ErrOperatorExists, a.Name)
	case !printableLine(a.Contact) || a.Limit < 0:
		return "", fmt.Errorf("%w: the contact is one line of at most 200 characters, the limit not below 0", ErrBadOrder)
	}
	a.Created, a.Closed = time.Now(), time.Time{}
	next.byName[a.Name] = a
	r.changes.Accounts = append(r.changes.Accounts, a)
	return a.Name, nil
}

func (r *rack) closeAccount(cmd *AccountCommand, next *Accounts) (string, error) {
	a, ok := next.byName[cmd.Account.Name]
	switch {
	case !ok:
		return "", fmt.Errorf("%w: %q", ErrNoSuchAccount, printable(cmd.Account.Name))
	case !a.Closed.IsZero():
		return "", ErrAccountClosed
	case r.serversOf(a.Name) > 0:
		return "", fmt.Errorf("%w (%d)", ErrAccountInUse, r.serversOf(a.Name))
	}
	a.Closed = time.Now()
	next.byName[a.Name] = a
	r.changes.Accounts = append(r.changes.Accounts, a)
	return a.Name, nil
}

func (r *rack) addAPIKey(cmd *AccountCommand, next *Accounts) (string, error) {
	k := cmd.Key
	if k.Account != "" {
		if err := r.openAccount(k.Account); err != nil {
			return "", err
		}
	} else if _, ok := r.operators.ByName(k.Operator); !ok {
		return "", fmt.Errorf("%w: %q", ErrNoSuchOperator, printable(k.Operator))
	}
	if _, taken := next.keys[k.ID]; taken || len(k.ID) < 8 || len(k.Hash) != 64 {
		return "", fmt.Errorf("%w: a new key has an ID and the hash of its secret", ErrBadOrder)
	}
	k.Created, k.Revoked, k.Used = time.Now(), time.Time{}, time.Time{}
	next.keys[k.ID] = k
	r.changes.APIKeys = append(r.changes.APIKeys, k)
	return trimmed(k.ID + " of " + k.Account + k.Operator), nil
}

func (r *rack) revokeAPIKey(cmd *AccountCommand, next *Accounts) (string, error) {
	k, ok := next.keys[cmd.Key.ID]
	if !ok || !k.Revoked.IsZero() {
		return "", fmt.Errorf("%w: %q", ErrNoSuchKey, printable(cmd.Key.ID))
	}
	k.Revoked = time.Now()
	next.keys[k.ID] = k
	r.changes.APIKeys = append(r.changes.APIKeys, k)
	return trimmed(k.ID + " of " + k.Account + k.Operator), nil
}

func (r *rack) addWebhook(cmd *AccountCommand, next *Accounts) (string, error) {
	h := cmd.Webhook
	if err := r.openAccount(h.Account); err != nil {
		return "", err
	}
	u, err := url.Parse(h.URL)
	_, taken := next.hooks[h.ID]
	var refused error
	if err == nil && r.e.cfg.Webhook != nil {
		refused = r.e.cfg.Webhook(u)
	}
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || !printableLine(h.URL):
		return "", fmt.Errorf("%w: a webhook's URL is http or https, with a host, without a password", ErrBadOrder)
	case refused != nil:
		return "", fmt.Errorf("%w: %w", ErrBadOrder, refused)
	case len(next.Webhooks(h.Account)) >= maxWebhooks:
		return "", fmt.Errorf("%w webhooks: an account may have %d", ErrTooMany, maxWebhooks)
	case taken || len(h.ID) < 8 || h.Secret == "":
		return "", fmt.Errorf("%w: a new webhook has an ID and a secret", ErrBadOrder)
	}
	h.Created = time.Now()
	next.hooks[h.ID] = h
	r.changes.Webhooks = append(r.changes.Webhooks, h)
	return h.ID + " of " + h.Account + " to " + u.Host, nil
}

func (r *rack) removeWebhook(cmd *AccountCommand, next *Accounts) (string, error) {
	h, ok := next.hooks[cmd.Webhook.ID]
	if !ok || cmd.Actor.Account != "" && h.Account != cmd.Actor.Account {
		return "", fmt.Errorf("%w: %q", ErrNoSuchWebhook, printable(cmd.Webhook.ID))
	}
	delete(next.hooks, h.ID)
	r.changes.RemoveWebhooks = append(r.changes.RemoveWebhooks, h.ID)
	return h.ID + " of " + h.Account, nil
}
