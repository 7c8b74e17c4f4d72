package engine

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Account is a customer: whose servers, keys, webhooks and bills are.
type Account struct {
	Name    string // such as "acme"
	Contact string // for people: an e-mail address, a customer number
	Limit   int    // servers that it may have at once, 0 = no limit
	Created time.Time
	Closed  time.Time // zero = open
}

// APIKey lets a program act for an account, or for one of the staff.
type APIKey struct {
	ID       string // public, such as "k7q2m5x3"
	Account  string // "" = it is an operator's
	Operator string
	ReadOnly bool
	Hash     string // hex of SHA-256 of the secret, which has 160 random bits
	Created  time.Time
	Revoked  time.Time // zero = not
	Used     time.Time // last, to the minute; zero = never
}

// Webhook is where an account's notices are sent to.
type Webhook struct {
	ID      string
	Account string
	URL     string
	Secret  string // signs what is sent (Standard Webhooks): "whsec_" and base64
	Created time.Time
}

// secretBytes make a secret that cannot be guessed, so that its plain hash can
// be kept: there is no dictionary to try.
const secretBytes = 20

var lowBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID makes a public name of eight letters and digits.
func NewID() string {
	b := make([]byte, 5)
	rand.Read(b)
	return lowBase32.EncodeToString(b)
}

// NewSecret makes the secret of an API key, and what is kept of it.
func NewSecret() (secret, hash string) {
	b := make([]byte, secretBytes)
	rand.Read(b)
	secret = lowBase32.EncodeToString(b)
	return secret, hashSecret(secret)
}

// webhookBytes are within what Standard Webhooks asks for, 24 to 64.
const webhookBytes = 32

// NewWebhookSecret makes what a webhook is signed with, in the form of Standard
// Webhooks.
func NewWebhookSecret() string {
	b := make([]byte, webhookBytes)
	rand.Read(b)
	return "whsec_" + base64.StdEncoding.EncodeToString(b)
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Fits tells in constant time whether the secret is the key's.
func (k *APIKey) Fits(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(k.Hash)) == 1
}

// Accounts are the accounts with their keys and webhooks at one moment,
// immutable.
type Accounts struct {
	byName map[string]Account
	keys   map[string]APIKey
	hooks  map[string]Webhook
}

// ByName finds an account.
func (a *Accounts) ByName(name string) (Account, bool) {
	v, ok := a.byName[name]
	return v, ok
}

// Key finds an API key by its ID, revoked ones too.
func (a *Accounts) Key(id string) (APIKey, bool) {
	k, ok := a.keys[id]
	return k, ok
}

// List returns the accounts by name.
func (a *Accounts) List() []Account {
	return slices.SortedFunc(maps.Values(a.byName), func(x, y Account) int { return cmp.Compare(x.Name, y.Name) })
}

// Keys returns the keys of an account, oldest first; "" = all.
func (a *Accounts) Keys(account string) []APIKey {
	var list []APIKey
	for _, k := range a.keys {
		if account == "" || k.Account == account {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(x, y APIKey) int { return cmp.Or(x.Created.Compare(y.Created), cmp.Compare(x.ID, y.ID)) })
	return list
}

// Webhook finds a webhook by its ID.
func (a *Accounts) Webhook(id string) (Webhook, bool) {
	h, ok := a.hooks[id]
	return h, ok
}

// Webhooks returns the webhooks of an account, oldest first; "" = all.
func (a *Accounts) Webhooks(account string) []Webhook {
	var list []Webhook
	for _, h := range a.hooks {
		if account == "" || h.Account == account {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(x, y Webhook) int { return cmp.Or(x.Created.Compare(y.Created), cmp.Compare(x.ID, y.ID)) })
	return list
}

// ActorOf is who a key acts as. A key that is revoked, or of a closed account,
// or of nobody any more, acts as nobody.
func (a *Accounts) ActorOf(k APIKey, staff *Operators) (Actor, bool) {
	role := RoleOperator
	name := k.Account
	if k.Account == "" {
		o, ok := staff.ByName(k.Operator)
		if !ok {
			return Actor{}, false
		}
		name, role = o.Name, o.Role
	} else if acc, ok := a.byName[k.Account]; !ok || !acc.Closed.IsZero() {
		return Actor{}, false
	}
	if k.ReadOnly {
		role = RoleViewer
	}
	return Actor{Name: name, Role: role, Account: k.Account, Source: "api", Key: k.ID}, k.Revoked.IsZero()
}

// AccountVerb is what can be done with accounts.
type AccountVerb string

// The verbs. Accounts and keys are an admin's; webhooks are also the account's
// own.
const (
	AccountAdd    AccountVerb = "account-add"
	AccountClose  AccountVerb = "account-close"
	APIKeyAdd     AccountVerb = "apikey-add"
	APIKeyRevoke  AccountVerb = "apikey-revoke"
	WebhookAdd    AccountVerb = "webhook-add"
	WebhookRemove AccountVerb = "webhook-remove"
)

// AccountCommand is a verb with what it is about: the one of Account, Key and
// Webhook that the verb names, whole; to close, revoke or remove, its name or ID.
type AccountCommand struct {
	Verb    AccountVerb
	Actor   Actor
	Account Account
	Key     APIKey
	Webhook Webhook
	Reason  string
}

// Errors of a command on accounts.
var (
	ErrNoSuchAccount = errors.New("no such account")
	ErrAccountExists = errors.New("there is such an account already")
	ErrAccountClosed = errors.New("the account is closed")
	ErrAccountName   = errors.New("an account's name has 1 to 32 small letters, digits and hyphens, a letter first")
	ErrAccountInUse  = errors.New("the account has servers: release them first")
	ErrNoSuchKey     = errors.New("no such API key")
	ErrNoSuchWebhook = errors.New("no such webhook")
	ErrTooMany       = errors.New("too many")
)

var accountName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// maxWebhooks bounds what one notice of an account has to be sent to.
const maxWebhooks = 10

// printableLine tells whether a text is one line that a terminal can show.
func printableLine(s string) bool { return printable(s) == s }
