package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"picloud/engine"
)

// Customer is who can order servers of a demo that has an API.
type Customer struct {
	URL    string `json:"url"` // of the API
	Key    string `json:"key"`
	Secret string `json:"secret"`
	File   string `json:"file"` // what curl -K takes, so that the secret is in no list of processes
}

// String says it to a person, without the secret.
func (c Customer) String() string {
	return fmt.Sprintf("API at %s, documentation too; the key of an account is in %s: curl -K %s %s/v1/account", c.URL, c.File, c.File, c.URL)
}

// customerAccount is whose the API key is.
const customerAccount = "demo"

// Customer makes an account with an API key, or finds those of the state folder.
// The demo has to run.
func (d *Demo) Customer(ctx context.Context) (Customer, error) {
	c := Customer{URL: d.daemon.APIURL(), File: filepath.Join(d.config.State, "curlrc")}
	if known, ok := d.storedCustomer(c.File); ok {
		c.Key, c.Secret = known.Key, known.Secret
		return c, nil
	}
	e, staff := d.Engine(), engine.SystemActor()
	err := e.ChangeAccounts(ctx, engine.AccountCommand{Verb: engine.AccountAdd, Actor: staff, Account: engine.Account{Name: customerAccount}})
	if err != nil && !errors.Is(err, engine.ErrAccountExists) {
		return c, fmt.Errorf("demo: %w", err)
	}
	secret, hash := engine.NewSecret()
	c.Key, c.Secret = engine.NewID(), secret
	key := engine.APIKey{ID: c.Key, Account: customerAccount, Hash: hash}
	if err := e.ChangeAccounts(ctx, engine.AccountCommand{Verb: engine.APIKeyAdd, Actor: staff, Key: key}); err != nil {
		return c, fmt.Errorf("demo: %w", err)
	}
	if err := os.WriteFile(c.File, fmt.Appendf(nil, "user = %q\n", c.Key+":"+c.Secret), 0o600); err != nil {
		return c, fmt.Errorf("demo: %w", err)
	}
	return c, nil
}

var curlUser = regexp.MustCompile(`^user = "([a-z0-9]+):([a-z0-9]+)"\n$`)

// storedCustomer reads the key that an earlier run left, if it is one still.
func (d *Demo) storedCustomer(file string) (Customer, bool) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Customer{}, false
	}
	m := curlUser.FindSubmatch(text)
	if err != nil || m == nil {
		return Customer{}, false
	}
	c := Customer{Key: string(m[1]), Secret: string(m[2])}
	key, ok := d.Engine().Accounts().Key(c.Key)
	return c, ok && key.Revoked.IsZero() && key.Fits(c.Secret)
}
