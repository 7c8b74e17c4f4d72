package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"net/http"
	"time"

	"picloud/engine"
)

type webhooksOutput struct {
	Body struct {
		Webhooks []webhook `json:"webhooks" nullable:"false" doc:"Oldest first."`
	} `nameHint:"Webhooks"`
}

// webhook is where an account's events are sent to.
type webhook struct {
	ID      string    `json:"id" example:"h3k9d2fa"`
	Account string    `json:"account" example:"acme"`
	URL     string    `json:"url" example:"https://example.org/picloud"`
	Created time.Time `json:"created"`
}

// madeWebhook is a new one, with what is shown only now.
type madeWebhook struct {
	ID      string    `json:"id" example:"h3k9d2fa"`
	Account string    `json:"account" example:"acme"`
	URL     string    `json:"url" example:"https://example.org/picloud"`
	Created time.Time `json:"created"`
	Secret  string    `json:"secret" doc:"Signs what is sent, by Standard Webhooks. It is not shown again." example:"whsec_..."`
}

// ByWebhook is an input that names a webhook.
type ByWebhook struct {
	ID string `path:"webhook" maxLength:"32"`
}

type webhookOutput struct{ Body webhook }

type makeWebhookInput struct {
	Once
	Body newWebhook
}

type newWebhook struct {
	URL     string `json:"url" minLength:"1" maxLength:"2000" doc:"Where events are POSTed to." example:"https://example.org/picloud"`
	Account string `json:"account,omitempty" maxLength:"32" doc:"For staff: whose it is."`
}

type madeWebhookOutput struct{ Body madeWebhook }

type deliveriesInput struct {
	ByWebhook
	Before int64 `query:"before" minimum:"0" doc:"Only of events older than this one."`
	Limit  int   `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type deliveriesOutput struct {
	Body struct {
		Deliveries []delivery `json:"deliveries" nullable:"false" doc:"Newest event first."`
	} `nameHint:"Deliveries"`
}

// delivery is an event on its way to a webhook.
type delivery struct {
	Event    event      `json:"event"`
	Attempts int        `json:"attempts"`
	Status   int        `json:"status,omitempty" doc:"HTTP status of the last attempt; left out if there was no answer."`
	Error    string     `json:"error,omitempty" doc:"Why the last attempt failed."`
	Next     *time.Time `json:"next,omitempty" doc:"When it is tried again; left out if it is over."`
	Done     *time.Time `json:"done,omitempty" doc:"When it was taken."`
}

func (a *API) addWebhooks(f *family) {
	op := own("Account", "webhooks", http.MethodGet, "/webhooks", "Your webhooks")
	op.Errors = []int{http.StatusForbidden}
	add(f, op, needRead, a.webhooks)
	op = own("Account", "add-webhook", http.MethodPost, "/webhooks", "Have events sent to a URL")
	op.DefaultStatus, op.Errors = http.StatusCreated, []int{http.StatusConflict}
	add(f, op, needWrite, a.addWebhook)
	add(f, own("Account", "webhook", http.MethodGet, "/webhooks/{webhook}", "A webhook"), needRead, a.webhook)
	add(f, own("Account", "remove-webhook", http.MethodDelete, "/webhooks/{webhook}", "Send no more to a webhook"), needWrite, a.removeWebhook)
	add(f, own("Account", "deliveries", http.MethodGet, "/webhooks/{webhook}/deliveries", "What was sent to a webhook"), needRead, a.deliveries)
}

func webhookOf(h *engine.Webhook) webhook { return webhook{h.ID, h.Account, h.URL, h.Created.UTC()} }

func madeWebhookOf(h *engine.Webhook) madeWebhook {
	return madeWebhook{h.ID, h.Account, h.URL, h.Created.UTC(), h.Secret}
}

func (a *API) webhooks(_ context.Context, c *caller, in *OfAccount) (*webhooksOutput, error) {
	account, err := in.of(c)
	if err != nil {
		return nil, err
	}
	out := &webhooksOutput{}
	out.Body.Webhooks = []webhook{}
	for _, h := range a.desk.Accounts().Webhooks(account) {
		out.Body.Webhooks = append(out.Body.Webhooks, webhookOf(&h))
	}
	return out, nil
}

// hook finds one of the webhooks that there are for the caller.
func (a *API) hook(c *caller, id string) (*engine.Webhook, error) {
	for _, h := range a.desk.Accounts().Webhooks(c.Account) {
		if h.ID == id {
			return &h, nil
		}
	}
	return nil, engine.ErrNoSuchWebhook
}

func (a *API) webhook(_ context.Context, c *caller, in *ByWebhook) (*webhookOutput, error) {
	h, err := a.hook(c, in.ID)
	if err != nil {
		return nil, err
	}
	return &webhookOutput{webhookOf(h)}, nil
}

// addWebhook makes a webhook. With an idempotency key its ID and secret follow
// from that, so that a repeat finds the one that is there and shows it again.
func (a *API) addWebhook(ctx context.Context, c *caller, in *makeWebhookInput) (*madeWebhookOutput, error) {
	account, err := (&OfAccount{in.Body.Account}).of(c)
	if err != nil {
		return nil, err
	}
	h := engine.Webhook{ID: engine.NewID(), Account: account, URL: in.Body.URL, Created: time.Now()}
	h.Secret = webhookSecret(a.derive(h.ID, engine.NewID()+engine.NewID()+engine.NewID()+engine.NewID()+engine.NewID()))
	if in.IdempotencyKey != "" {
		seed := account + "\n" + in.IdempotencyKey
		h.ID = lowBase32.EncodeToString(a.derive("webhook id", seed))[:len(h.ID)]
		h.Secret = webhookSecret(a.derive("webhook secret", seed))
		if have, err := a.hook(&caller{Actor: engine.Actor{Account: account}}, h.ID); err == nil {
			if have.URL != h.URL {
				return nil, engine.ErrOnceDiffers
			}
			return &madeWebhookOutput{madeWebhookOf(have)}, nil
		}
	}
	if err := a.desk.ChangeAccounts(ctx, engine.AccountCommand{Verb: engine.WebhookAdd, Actor: c.Actor, Webhook: h}); err != nil {
		return nil, err
	}
	return &madeWebhookOutput{madeWebhookOf(&h)}, nil
}

func (a *API) removeWebhook(ctx context.Context, c *caller, in *ByWebhook) (*nothing, error) {
	h, err := a.hook(c, in.ID)
	if err != nil {
		return nil, err
	}
	return &nothing{}, a.desk.ChangeAccounts(ctx, engine.AccountCommand{
		Verb: engine.WebhookRemove, Actor: c.Actor, Webhook: engine.Webhook{ID: h.ID, Account: h.Account},
	})
}

func (a *API) deliveries(ctx context.Context, c *caller, in *deliveriesInput) (*deliveriesOutput, error) {
	h, err := a.hook(c, in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := a.cfg.Deliveries(ctx, h.Account, h.ID, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &deliveriesOutput{}
	out.Body.Deliveries = []delivery{}
	for _, r := range rows {
		d := r.Delivery
		out.Body.Deliveries = append(out.Body.Deliveries, delivery{
			Event: eventOf(&r.Notice), Attempts: d.Attempts, Status: d.Status, Error: d.Error, Next: moment(d.Next), Done: moment(d.Done),
		})
	}
	return out, nil
}

var lowBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// derive makes 32 bytes that nobody can guess who has not the service's secret.
func (a *API) derive(what, seed string) []byte {
	h := hmac.New(sha256.New, a.cfg.Secret)
	h.Write([]byte(what + "\n" + seed))
	return h.Sum(nil)
}

// webhookSecret is a secret as Standard Webhooks has it: 24 to 64 bytes in base64.
func webhookSecret(b []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(b[:24]) }
