package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// addOwn adds picloud's own API.
func (a *API) addOwn(f *family) {
	a.addServers(f)
	a.addActs(f)
	a.addAccount(f)
	a.addWebhooks(f)
	a.addEvents(f)
}

// own is an operation of picloud's API.
func own(tag, id, method, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: "/" + ours + path, Summary: summary, Tags: []string{tag}}
}

// OfAccount is an input by which staff, to whom all accounts are there, choose one.
type OfAccount struct {
	Account string `query:"account" maxLength:"32" doc:"For staff: only of this account."`
}

// of is the account that is meant; "" = all.
func (in *OfAccount) of(c *caller) (string, error) {
	if c.staff() {
		return in.Account, nil
	}
	if in.Account != "" && in.Account != c.Account {
		return "", fail(http.StatusForbidden, "Your key is of another account")
	}
	return c.Account, nil
}
