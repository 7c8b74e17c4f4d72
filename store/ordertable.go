package store

import "picloud/engine"

// The tables of orders.

var accounts = newTable("account", "accounts", "name",
	"contact max_servers created closed", accountRow)

func accountRow(a *engine.Account) []any {
	return []any{
		text[string]{&a.Name}, text[string]{&a.Contact}, number[int]{&a.Limit}, moment{&a.Created}, moment{&a.Closed},
	}
}

var apiKeys = newTable("api key", "api_keys", "id",
	"account operator read_only hash created revoked used", apiKeyRow)

func apiKeyRow(k *engine.APIKey) []any {
	return []any{
		text[string]{&k.ID}, optional{&k.Account}, text[string]{&k.Operator}, flag{&k.ReadOnly},
		text[string]{&k.Hash}, moment{&k.Created}, moment{&k.Revoked}, moment{&k.Used},
	}
}

var webhooks = newTable("webhook", "webhooks", "id",
	"account url secret created", webhookRow)

func webhookRow(h *engine.Webhook) []any {
	return []any{
		text[string]{&h.ID}, text[string]{&h.Account}, text[string]{&h.URL}, text[string]{&h.Secret}, moment{&h.Created},
	}
}

var onces = newTable("idempotency key", "onces", "account key",
	"digest verb server job time", onceRow)

func onceRow(o *engine.OnceRow) []any {
	return []any{
		text[string]{&o.Account}, text[string]{&o.Key}, text[string]{&o.Digest}, text[engine.ServerVerb]{&o.Verb},
		text[string]{&o.Server}, number[int64]{&o.Job}, moment{&o.Time},
	}
}

var ledger = newTable("ledger row", "ledger", "id",
	"time kind account server task model memory cpu nic disk_gb price reason", ledgerRow)

func ledgerRow(l *engine.LedgerRow) []any {
	return append([]any{
		number[int64]{&l.ID}, moment{&l.Time}, text[engine.LedgerKind]{&l.Kind},
		text[string]{&l.Account}, text[string]{&l.Server}, number[int64]{&l.Task},
	}, append(specRow(&l.Spec), number[int]{&l.DiskGB}, number[engine.Pence]{&l.Price}, text[string]{&l.Reason})...)
}

var notices = newTable("notice", "notices", "id",
	"time account server kind text task", noticeRow)

func noticeRow(n *engine.Notice) []any {
	return []any{
		number[int64]{&n.ID}, moment{&n.Time}, text[string]{&n.Account}, text[string]{&n.Server},
		text[engine.NoticeKind]{&n.Kind}, text[string]{&n.Text}, number[int64]{&n.Task},
	}
}

var deliveries = newTable("delivery", "deliveries", "notice webhook",
	"attempts next status error done", deliveryRow)

func deliveryRow(d *engine.Delivery) []any {
	return []any{
		number[int64]{&d.Notice}, text[string]{&d.Webhook}, number[int]{&d.Attempts}, moment{&d.Next},
		number[int]{&d.Status}, text[string]{&d.Error}, moment{&d.Done},
	}
}
