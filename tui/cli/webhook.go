package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type webhooksJSON struct {
	Version  int           `json:"version" doc:"1"`
	Webhooks []webhookJSON `json:"webhooks" doc:"oldest first"`
}

type webhookJSON struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	URL     string `json:"url"`
	Created stamp  `json:"created"`
}

type newWebhookJSON struct {
	Version int         `json:"version" doc:"1"`
	Webhook webhookJSON `json:"webhook"`
	Secret  string      `json:"secret" doc:"that its notices are signed with; it is not shown again"`
}

type deliveriesJSON struct {
	Version    int            `json:"version" doc:"1"`
	Webhook    string         `json:"webhook"`
	Deliveries []deliveryJSON `json:"deliveries" doc:"oldest first"`
}

type deliveryJSON struct {
	Notice   int64   `json:"notice" doc:"its number, the same for every webhook"`
	Time     stamp   `json:"time" doc:"of what it tells"`
	Kind     string  `json:"kind" doc:"as server.live"`
	Server   string  `json:"server"`
	Text     string  `json:"text"`
	State    string  `json:"state" doc:"delivered, waiting, given-up"`
	Attempts int     `json:"attempts"`
	Status   *int    `json:"status" doc:"of HTTP, of the last attempt; null = no answer"`
	Error    *string `json:"error" doc:"why the last attempt failed"`
	Next     stamp   `json:"next" doc:"when it is tried again"`
	Done     stamp   `json:"delivered"`
}

// webhookGroup is where the accounts' notices are sent to.
func (a *app) webhookGroup() *cobra.Command {
	g := a.group("webhook", "where accounts have their notices sent, and what became of each",
		"Notices tell an account's programs what happens to its servers. They are signed\nas Standard Webhooks have it. Operators see webhooks; admins add and remove them.")
	g.AddCommand(
		a.leaf("list [ACCOUNT]", "list the webhooks, all or an account's", words{most: 1, of: a.accountNames}, func(_ context.Context, _ *engine.Snapshot, args []string) error {
			all, name, err := a.accountOrAll(args)
			if err != nil {
				return err
			}
			return a.webhooks(all.Webhooks(name))
		}),
		a.webhookAdd(), a.webhookRemove(), a.webhookLog(),
	)
	return g
}

func (a *app) webhooks(list []engine.Webhook) error {
	if a.json {
		return a.emit(webhooksJSON{schemaVersion, webhooksOut(list)})
	}
	t := table{cols: []column{{title: "WEBHOOK"}, {title: "ACCOUNT"}, {title: "CREATED", rank: 1}, {title: "URL", least: 20}}}
	for _, h := range list {
		t.row(h.ID, h.Account, a.when(h.Created), h.URL)
	}
	a.print(&t)
	return nil
}

func (a *app) webhookAdd() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	c := a.leaf("add ACCOUNT URL", "have an account's notices sent to a URL", words{least: 2, most: 2, of: a.accountNames, first: 1},
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			h := engine.Webhook{ID: engine.NewID(), Account: args[0], URL: args[1], Secret: engine.NewWebhookSecret()}
			if err := a.changeAccounts(ctx, engine.AccountCommand{Verb: engine.WebhookAdd, Webhook: h, Reason: t.reason}); err != nil {
				return err
			}
			secret := h.Secret
			if all, err := a.customers(); err == nil {
				if kept, ok := all.Webhook(h.ID); ok {
					h = kept // with its time
				}
			}
			if a.json {
				return a.emit(newWebhookJSON{schemaVersion, webhookOut(&h), secret})
			}
			a.printf("webhook  %s\nsecret   %s\n", h.ID, secret)
			fmt.Fprintf(a.err, "notices of %s go to %s, signed with the secret, which is not shown again\n", clean(h.Account), clean(h.URL))
			return nil
		})
	c.Long = "Have an account's notices sent to a URL: https at a public address, or any in a\nnetwork of api.private_webhooks. The secret that they are signed with is printed\nthis once."
	t.reasonFlag(c)
	return c
}

func (a *app) webhookRemove() *cobra.Command {
	t := &consent{app: a, needs: engine.RoleAdmin}
	c := a.leaf("remove ID", "send nothing to a webhook any more", words{least: 1, most: 1, of: a.webhookIDs},
		func(ctx context.Context, _ *engine.Snapshot, args []string) error {
			if all, err := a.customers(); err == nil { // else the engine says why
				if _, ok := all.Webhook(args[0]); !ok {
					return usagef(or(meant(args[0], a.webhookIDs(nil)), "picloud webhook list"), "there is no webhook %q", clip(args[0]))
				}
			}
			if err := t.pass("remove "+clip(args[0]), "", "what was on its way to it is dropped"); err != nil {
				return err
			}
			cmd := engine.AccountCommand{Verb: engine.WebhookRemove, Webhook: engine.Webhook{ID: args[0]}, Reason: t.reason}
			if err := a.changeAccounts(ctx, cmd); err != nil {
				return err
			}
			if a.json {
				return a.emit(webhooksJSON{schemaVersion, []webhookJSON{}})
			}
			a.printf("%s: removed\n", clean(args[0]))
			return nil
		})
	t.yesFlags(c)
	return c
}

func (a *app) webhookIDs(*engine.Snapshot) []string {
	all, err := a.customers()
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range all.Webhooks("") {
		out = append(out, h.ID)
	}
	return out
}

// Bounds of the deliveries that one command prints.
const (
	deliveryPage = 100
	deliveryMost = 10000
)

func (a *app) webhookLog() *cobra.Command {
	limit := historyFew
	c := a.leaf("log ID", "what was and is to be sent to a webhook, and what became of it", words{least: 1, most: 1, of: a.webhookIDs},
		func(ctx context.Context, now *engine.Snapshot, args []string) error {
			if limit < 1 || limit > deliveryMost {
				return usagef("", "--limit %d: want 1 to %d", limit, deliveryMost)
			}
			list, err := a.deliveries(ctx, args[0], limit)
			if err != nil {
				return a.ordering(err)
			}
			return a.deliveryTable(now, args[0], list)
		})
	c.Flags().IntVar(&limit, "limit", limit, "no more than the newest `N`")
	return c
}

// deliveries are the newest of a webhook, oldest first.
func (a *app) deliveries(ctx context.Context, webhook string, limit int) ([]engine.Sending, error) {
	var out []engine.Sending
	before := int64(0)
	for len(out) < limit {
		rows, err := a.v.Sent(ctx, a.s.Actor, webhook, before, min(deliveryPage, limit-len(out)))
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		out = append(out, rows...)
		before = rows[len(rows)-1].Notice.ID
	}
	slices.Reverse(out)
	return out, nil
}

func (a *app) deliveryTable(now *engine.Snapshot, webhook string, list []engine.Sending) error {
	if a.json {
		out := deliveriesJSON{schemaVersion, webhook, make([]deliveryJSON, len(list))}
		for i := range list {
			out.Deliveries[i] = deliveryOut(&list[i])
		}
		return a.emit(out)
	}
	t := table{cols: []column{
		{title: "NOTICE", right: true}, {title: "TIME", rank: 1}, {title: "KIND"}, {title: "SERVER", least: 8}, {title: "STATE"},
		{title: "TRIES", right: true}, {title: "HTTP", right: true}, {title: "AGAIN IN", right: true, rank: 2}, {title: "ERROR", least: 20},
	}}
	for i := range list {
		d, n := &list[i].Delivery, &list[i].Notice
		status, again := "-", ""
		if d.Status > 0 {
			status = strconv.Itoa(d.Status)
		}
		if !d.Next.IsZero() {
			again = age(d.Next.Sub(now.At))
		}
		state := deliveryState(d)
		t.row(strconv.FormatInt(n.ID, 10), a.when(n.Time), string(n.Kind), n.Server, cell{state, deliveryLooks[state]}, strconv.Itoa(d.Attempts), status, again, d.Error)
	}
	a.print(&t)
	return nil
}

// The states of a delivery.
const (
	deliveryDone    = "delivered"
	deliveryWaiting = "waiting"
	deliveryGivenUp = "given-up"
)

var deliveryLooks = map[string]look{deliveryDone: good, deliveryWaiting: busy, deliveryGivenUp: bad}

func deliveryState(d *engine.Delivery) string {
	switch {
	case !d.Done.IsZero():
		return deliveryDone
	case !d.Next.IsZero():
		return deliveryWaiting
	}
	return deliveryGivenUp
}

func deliveryOut(s *engine.Sending) deliveryJSON {
	d, n := &s.Delivery, &s.Notice
	return deliveryJSON{
		n.ID, stamp{n.Time}, string(n.Kind), n.Server, n.Text, deliveryState(d), d.Attempts, null(d.Status), null(d.Error), stamp{d.Next}, stamp{d.Done},
	}
}

func webhookOut(h *engine.Webhook) webhookJSON {
	return webhookJSON{h.ID, h.Account, h.URL, stamp{h.Created}}
}

func webhooksOut(list []engine.Webhook) []webhookJSON {
	out := make([]webhookJSON, len(list))
	for i := range list {
		out[i] = webhookOut(&list[i])
	}
	return out
}
