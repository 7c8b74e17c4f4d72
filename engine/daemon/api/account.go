package api

import (
	"context"
	"errors"
	"net/http"

	"picloud/engine/bill"
)

type accountOutput struct{ Body accountView }

// accountView is what a key stands for.
type accountView struct {
	Account  string `json:"account,omitempty" doc:"Left out for staff." example:"acme"`
	Operator string `json:"operator,omitempty" doc:"For staff: who."`
	Key      string `json:"key" doc:"The API key's ID." example:"k7q2m5x3"`
	ReadOnly bool   `json:"read_only"`
	Servers  int    `json:"servers" doc:"That there are for this key."`
	Limit    int    `json:"limit,omitempty" doc:"Servers that the account may have at once; left out if there is no limit."`
}

type pricesOutput struct{ Body bill.PricesJSON }

type usageInput struct {
	OfAccount
	Month string `query:"month" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"In UTC; the present one if it is left out." example:"2026-11"`
}

type usageOutput struct{ Body bill.StatementJSON }

func (a *API) addAccount(f *family) {
	add(f, own("Account", "account", http.MethodGet, "/account", "What your key stands for"), needRead, a.account)
	add(f, own("Account", "prices", http.MethodGet, "/prices", "What servers cost"), needRead, a.prices)
	op := own("Account", "usage", http.MethodGet, "/usage", "What your servers cost in a month, to the second")
	op.Errors = []int{http.StatusForbidden}
	add(f, op, needRead, a.usage)
}

func (a *API) account(_ context.Context, c *caller, _ *nothing) (*accountOutput, error) {
	accounts := a.desk.Accounts()
	key, _ := accounts.Key(c.Key)
	v := accountView{Account: c.Account, Key: c.Key, ReadOnly: key.ReadOnly, Servers: len(a.servers(c.Account))}
	if c.staff() {
		v.Operator = c.Name
	} else if acc, ok := accounts.ByName(c.Account); ok {
		v.Limit = acc.Limit
	}
	return &accountOutput{v}, nil
}

func (a *API) prices(context.Context, *caller, *nothing) (*pricesOutput, error) {
	return &pricesOutput{bill.Prices(a.desk.Rules(), a.desk.Snapshot().Specs())}, nil
}

func (a *API) usage(ctx context.Context, c *caller, in *usageInput) (*usageOutput, error) {
	account, err := in.of(c)
	if err != nil {
		return nil, err
	}
	st, err := a.statement(ctx, account, in.Month)
	if errors.Is(err, bill.ErrMonth) || errors.Is(err, bill.ErrNotBegun) {
		return nil, fail(http.StatusUnprocessableEntity, err.Error())
	}
	if err != nil {
		return nil, err
	}
	return &usageOutput{st.JSON()}, nil
}

func (a *API) statement(ctx context.Context, account, month string) (bill.Statement, error) {
	if month == "" {
		return bill.Usage(ctx, a.desk, account)
	}
	m, err := bill.ParseMonth(month)
	if err != nil {
		return bill.Statement{}, err
	}
	return bill.Read(ctx, a.desk, account, m)
}
