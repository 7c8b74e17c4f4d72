package engine

import (
	"context"
	"fmt"
	"time"
)

// mayKnow says why an actor may not be told what is the customers'. A customer
// is told by Desk of what is their own, and of nothing here.
func mayKnow(actor Actor, what string, needs Role) error {
	if actor.Role < needs || actor.Account != "" {
		return fmt.Errorf("%s: %s %w (needs %s)", what, actor.Role, ErrNotAllowed, needs)
	}
	return nil
}

// Customers are the accounts; see Viewer.
func (e *Engine) Customers(actor Actor) (*Accounts, error) {
	if err := mayKnow(actor, "accounts", RoleOperator); err != nil {
		return nil, err
	}
	return e.Accounts(), nil
}

// Rented is a customer's server; see Viewer.
func (e *Engine) Rented(actor Actor, name string) (ServerView, error) {
	if err := mayKnow(actor, "customers' servers", RoleOperator); err != nil {
		return ServerView{}, err
	}
	s, ok := e.Server("", name)
	if !ok || s.Account == "" {
		return ServerView{}, fmt.Errorf("%w: %q", ErrNoSuchServer, printable(name))
	}
	return s, nil
}

// Sent pages what went to a webhook out of the store; see Viewer.
func (e *Engine) Sent(ctx context.Context, actor Actor, webhook string, before int64, limit int) ([]Sending, error) {
	if err := mayKnow(actor, "webhooks", RoleOperator); err != nil {
		return nil, err
	}
	h, ok := e.Accounts().Webhook(webhook)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoSuchWebhook, printable(webhook))
	}
	return e.cfg.Inventory.Deliveries(ctx, h.Account, h.ID, before, limit)
}

// Charges are rows of the ledger; see Viewer.
func (e *Engine) Charges(ctx context.Context, actor Actor, account string, until time.Time) ([]LedgerRow, error) {
	if err := mayKnow(actor, "the ledger", RoleAdmin); err != nil {
		return nil, err
	}
	return e.Ledger(ctx, account, until)
}
