package api_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

func TestWebhooks(t *testing.T) {
	account, full, reader := newAccount(t, 0)
	c := newClient(t, full)
	made := c.want(http.StatusCreated, "POST", "/v1/webhooks", `{"url":"https://example.org/hook"}`)
	id, secret := made.str("id"), made.str("secret")
	secrets.Store(secret, "webhook")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(raw) < 24 || !strings.HasPrefix(secret, "whsec_") || made.str("account") != account || made.str("url") != "https://example.org/hook" {
		t.Errorf("made: %s", made.body)
	}
	for _, path := range []string{"/v1/webhooks", "/v1/webhooks/" + id} {
		r := newClient(t, reader).want(http.StatusOK, "GET", path, nil)
		if !strings.Contains(string(r.body), id) || strings.Contains(string(r.body), secret) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	for _, url := range []string{"ftp://example.org", "example.org", "https://", "https://u:p@example.org", "javascript:alert(1)"} {
		if r := c.ask("POST", "/v1/webhooks", map[string]string{"url": url}); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", url, r.status, r.body)
		}
	}
	staff := newClient(t, newStaff(t, engine.RoleOperator))
	staff.want(http.StatusOK, "GET", "/v1/webhooks?account="+account, nil)
	c.want(http.StatusNoContent, "DELETE", "/v1/webhooks/"+id, nil)
	c.want(http.StatusNotFound, "DELETE", "/v1/webhooks/"+id, nil)
}

// A request for a webhook that is sent again is answered by the one that it
// made, also by a service that has been started anew.
func TestIdempotentWebhooks(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	first := start(t, nil, nil, nil).client(t, full)
	body := `{"url":"https://example.org/a"}`
	made := first.want(http.StatusCreated, "POST", "/v1/webhooks", body, "Idempotency-Key", "hook-1")
	again := start(t, nil, nil, nil).client(t, full)
	if r := again.want(http.StatusCreated, "POST", "/v1/webhooks", body, "Idempotency-Key", "hook-1"); r.str("id") != made.str("id") || r.str("secret") != made.str("secret") {
		t.Errorf("%s, then %s", made.body, r.body)
	}
	again.want(http.StatusUnprocessableEntity, "POST", "/v1/webhooks", `{"url":"https://example.org/b"}`, "Idempotency-Key", "hook-1")
	another := again.want(http.StatusCreated, "POST", "/v1/webhooks", body, "Idempotency-Key", "hook-2")
	if another.str("id") == made.str("id") || another.str("secret") == made.str("secret") {
		t.Errorf("two are one: %s", another.body)
	}
	_, others, _ := newAccount(t, 0)
	if r := start(t, nil, nil, nil).client(t, others).want(http.StatusCreated, "POST", "/v1/webhooks", body, "Idempotency-Key", "hook-1"); r.str("secret") == made.str("secret") {
		t.Error("two accounts have one secret")
	}
}

// The log of deliveries is of the webhook and its account, and paged.
func TestDeliveries(t *testing.T) {
	account, full, _ := newAccount(t, 0)
	var asked []any
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.FixedZone("", 3600))
	s := start(t, nil, func(cfg *apiConfig) {
		cfg.Deliveries = func(_ context.Context, account, webhook string, before int64, limit int) ([]engine.Sending, error) {
			asked = []any{account, webhook, before, limit}
			return []engine.Sending{
				{Notice: engine.Notice{ID: 9, Kind: engine.NoticeLive, Server: "web", Time: at}, Delivery: engine.Delivery{Attempts: 2, Status: 500, Error: "it said 500", Next: at}},
				{Notice: engine.Notice{ID: 8, Kind: engine.NoticeOrdered, Server: "web"}, Delivery: engine.Delivery{Attempts: 1, Status: 204, Done: at}},
			}, nil
		}
	}, nil)
	c := s.client(t, full)
	id := c.want(http.StatusCreated, "POST", "/v1/webhooks", `{"url":"https://example.org/hook"}`).str("id")
	r := c.want(http.StatusOK, "GET", "/v1/webhooks/"+id+"/deliveries?before=10&limit=2", nil)
	if len(asked) != 4 || asked[0] != account || asked[1] != id || asked[2] != int64(10) || asked[3] != 2 {
		t.Errorf("asked for %v", asked)
	}
	for _, want := range []string{`"attempts":2,"status":500,"error":"it said 500","next":"2026-11-29T11:00:00Z"`, `"status":204,"done":"2026-11-29T11:00:00Z"`} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("no %s in %s", want, r.body)
		}
	}
	c.want(http.StatusNotFound, "GET", "/v1/webhooks/nothing/deliveries", nil)
	c.want(http.StatusUnprocessableEntity, "GET", "/v1/webhooks/"+id+"/deliveries?limit=0", nil)
}

// What is to be sent by the rack's own store is there as soon as it has happened.
func TestDeliveriesOfTheRack(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	id := c.want(http.StatusCreated, "POST", "/v1/webhooks", `{"url":"https://example.invalid/hook"}`).str("id")
	c.order("/beta/pi/servers/delivered", nil)
	r := c.want(http.StatusOK, "GET", "/v1/webhooks/"+id+"/deliveries", nil)
	for _, kind := range []engine.NoticeKind{engine.NoticeOrdered, engine.NoticeLive} {
		if !strings.Contains(string(r.body), `"type":"`+string(kind)+`"`) {
			t.Errorf("no %s in %s", kind, r.body)
		}
	}
}
