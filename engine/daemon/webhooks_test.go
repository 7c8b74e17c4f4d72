package daemon_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/bill"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/engine/daemon/webhook"
	"picloud/hw/sim"
)

// told is what a customer's program was sent.
type told struct {
	id      string
	message webhook.Message
}

// TestACustomerIsToldAndCharged orders a server of a simulated rack and gives it
// back: the customer's program hears of each step, in order, and the statement has
// the seconds in between.
func TestACustomerIsToldAndCharged(t *testing.T) {
	secret := engine.NewWebhookSecret()
	heard := make(chan told, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m, err := signedMessage(r, secret)
		if err != nil {
			t.Error(err)
		}
		heard <- told{r.Header.Get("webhook-id"), m}
	}))
	defer srv.Close()

	e := customersRack(t)
	staff := engine.Actor{Name: "test", Role: engine.RoleAdmin}
	for _, cmd := range []engine.AccountCommand{
		{Verb: engine.AccountAdd, Account: engine.Account{Name: "acme"}},
		{Verb: engine.WebhookAdd, Webhook: engine.Webhook{ID: engine.NewID(), Account: "acme", URL: srv.URL, Secret: secret}},
	} {
		cmd.Actor = staff
		if err := e.ChangeAccounts(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	customer := engine.Actor{Name: "acme", Account: "acme", Role: engine.RoleOperator, Source: "api"}
	soon(t, "a Pi that is ready", func() bool {
		_, err := e.Serve(t.Context(), engine.ServerCommand{Verb: engine.ServerOrder, Actor: customer, Server: "web"})
		if err != nil && !errors.Is(err, engine.ErrNoneFree) {
			t.Fatal(err)
		}
		return err == nil
	})
	var all []told
	until := func(last engine.NoticeKind) {
		t.Helper()
		for late := time.After(2 * time.Minute); len(all) == 0 || all[len(all)-1].message.Type != last; {
			select {
			case m := <-heard:
				all = append(all, m)
			case <-late:
				t.Fatalf("no %s: it was told %v", last, all)
			}
		}
	}
	until(engine.NoticeLive)
	// The ledger's clock is in whole seconds: let it cost one at least.
	begin := ledger(t, e, 1)[0].Time
	soon(t, "a second", func() bool { return e.Billed().After(begin.Add(time.Second)) })
	if _, err := e.Serve(t.Context(), engine.ServerCommand{Verb: engine.ServerRelease, Actor: customer, Server: "web"}); err != nil {
		t.Fatal(err)
	}
	until(engine.NoticeReleased)

	var kinds []engine.NoticeKind
	var ids []string
	for _, m := range all {
		kinds = append(kinds, m.message.Type)
		ids = append(ids, fmt.Sprintf("%20s", m.id)) // so that they sort by number
		if d := m.message.Data; d.Server != "web" || d.Account != "acme" || d.Text == "" {
			t.Errorf("%+v", m)
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != len(all) {
		t.Errorf("out of order, or twice: %v", ids)
	}
	at := -1
	for _, kind := range []engine.NoticeKind{engine.NoticeOrdered, engine.NoticeBooting, engine.NoticeLive, engine.NoticeReleasing, engine.NoticeReleased} {
		i := slices.Index(kinds, kind)
		if i <= at {
			t.Errorf("%s is not where it should be in %v", kind, kinds)
		}
		at = i
	}
	charged(t, e)
}

// charged holds the statement against the ledger's two rows.
func charged(t *testing.T, e *engine.Engine) {
	t.Helper()
	rows := ledger(t, e, 2)
	st, err := bill.Usage(t.Context(), e, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if st.Month != bill.MonthOf(rows[0].Time) {
		t.Skip("a month ended meanwhile")
	}
	seconds := rows[1].Time.Unix() - rows[0].Time.Unix()
	if len(st.Lines) != 1 || st.Over() || seconds < 1 || st.Lines[0].Seconds() != seconds || st.Lines[0].Price != rows[0].Price || rows[0].Price == 0 || st.Lines[0].Server != "web" {
		t.Errorf("%+v of %+v", st, rows)
	}
}

// ledger waits for so many rows of the ledger that is whole.
func ledger(t *testing.T, e *engine.Engine, n int) (rows []engine.LedgerRow) {
	t.Helper()
	soon(t, fmt.Sprint(n, " rows of the ledger"), func() bool {
		var err error
		if rows, err = e.Ledger(t.Context(), "acme", e.Billed()); err != nil {
			t.Fatal(err)
		}
		return len(rows) == n
	})
	return rows
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("no %s", what)
		}
	}
}

// customersRack is the engine of a service over a simulated rack, whose webhooks
// may go to loopback.
func customersRack(t *testing.T) *engine.Engine {
	t.Helper()
	rack, err := sim.New(sim.Config{Seed: 11, Pis: 2, Speed: crashSpeed, Rented: -1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := demo.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := demo.Configure(rack.Inventory(), filepath.Join(t.TempDir(), "state"), crashSpeed, client)
	cfg.API.PrivateWebhooks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	d, err := daemon.Open(t.Context(), daemon.Options{Config: cfg, Speed: crashSpeed})
	if err != nil {
		t.Fatal(err)
	}
	bound := d.Ports()
	err = rack.SetPorts(sim.Ports{DHCPServer: bound.DHCP, DHCPClient: client.DHCP, TFTP: bound.TFTP, NFS: bound.NFS, SSH: client.SSH})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- rack.Run(ctx) }()
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return d.Engine()
}

// signedMessage reads a request as a customer's program does.
func signedMessage(r *http.Request, secret string) (m webhook.Message, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return m, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return m, err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want {
		return m, fmt.Errorf("signature %q, want %q", r.Header.Get("webhook-signature"), want)
	}
	return m, json.Unmarshal(body, &m)
}
