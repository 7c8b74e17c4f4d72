package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

// outbox has webhooks a1, a2 and b1, each with notices on their way.
func outbox(t testing.TB, s *Store, notices int) {
	t.Helper()
	c := engine.Changes{Accounts: []engine.Account{{Name: "a", Created: at(0)}, {Name: "b", Created: at(0)}}}
	hooks := map[string][]string{"a": {"a1", "a2"}, "b": {"b1"}}
	for account, ids := range hooks {
		for _, id := range ids {
			c.Webhooks = append(c.Webhooks, engine.Webhook{ID: id, Account: account, URL: "https://" + id, Secret: "whsec_", Created: at(0)})
		}
	}
	for id := range int64(notices) {
		n := engine.Notice{ID: id + 1, Time: at(int(id)), Account: "a", Server: "web", Kind: engine.NoticeUp, Text: "up"}
		if id%2 == 1 {
			n.Account = "b"
		}
		c.Notices = append(c.Notices, n)
		for _, hook := range hooks[n.Account] {
			c.Deliveries = append(c.Deliveries, engine.Delivery{Notice: n.ID, Webhook: hook, Next: n.Time})
		}
	}
	save(t, s, c)
}

// first lists the first deliveries as webhook:notice@attempts.
func first(t testing.TB, s *Store, webhook string) string {
	t.Helper()
	list, err := s.FirstDeliveries(t.Context(), webhook)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range list {
		d := l.Delivery
		if l.Notice.ID != d.Notice || l.Webhook.ID != d.Webhook || l.Notice.Account != l.Webhook.Account || l.Webhook.URL != "https://"+d.Webhook {
			t.Errorf("they do not belong together: %+v", l)
		}
		out = append(out, fmt.Sprintf("%s:%d@%d", d.Webhook, d.Notice, d.Attempts))
	}
	return strings.Join(out, " ")
}

func TestFirstDeliveries(t *testing.T) {
	s := openNew(t, Options{})
	if got := first(t, s, ""); got != "" {
		t.Errorf("of nothing: %s", got)
	}
	outbox(t, s, 6)
	for _, step := range []struct {
		d       engine.Delivery
		all, a1 string
	}{
		{engine.Delivery{}, "a1:1@0 a2:1@0 b1:2@0", "a1:1@0"},
		// It stays the first until it is over, whenever it is tried again.
		{engine.Delivery{Notice: 1, Webhook: "a1", Attempts: 1, Next: at(9000), Status: 500, Error: "no"}, "a1:1@1 a2:1@0 b1:2@0", "a1:1@1"},
		{engine.Delivery{Notice: 1, Webhook: "a2", Attempts: 1, Status: 204, Done: at(10)}, "a1:1@1 b1:2@0 a2:3@0", "a1:1@1"},
		{engine.Delivery{Notice: 1, Webhook: "a1", Attempts: 2, Error: "given up"}, "b1:2@0 a1:3@0 a2:3@0", "a1:3@0"},
		{engine.Delivery{Notice: 3, Webhook: "a1", Attempts: 1, Done: at(11)}, "b1:2@0 a2:3@0 a1:5@0", "a1:5@0"},
		{engine.Delivery{Notice: 5, Webhook: "a1", Attempts: 1, Done: at(12)}, "b1:2@0 a2:3@0", ""},
	} {
		if step.d.Notice != 0 {
			if err := s.SaveDelivery(t.Context(), step.d); err != nil {
				t.Fatal(err)
			}
		}
		if all, a1 := first(t, s, ""), first(t, s, "a1"); all != step.all || a1 != step.a1 {
			t.Errorf("after %+v:\n got %q, %q\nwant %q, %q", step.d, all, a1, step.all, step.a1)
		}
	}
	save(t, s, engine.Changes{RemoveWebhooks: []string{"b1"}})
	if got := first(t, s, ""); got != "a2:3@0" {
		t.Errorf("without b1: %s", got)
	}
	if err := s.SaveDelivery(t.Context(), engine.Delivery{Notice: 2, Webhook: "b1", Done: at(13)}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a delivery to a webhook that was removed: %v", err)
	}
}

// TestFirstDeliveriesComeWhole compares all columns.
func TestFirstDeliveriesComeWhole(t *testing.T) {
	s := openNew(t, Options{})
	outbox(t, s, 1)
	want := engine.Sending{
		Delivery: engine.Delivery{Notice: 1, Webhook: "a1", Attempts: 3, Next: at(77), Status: 503, Error: "busy"},
		Notice:   engine.Notice{ID: 1, Time: at(0), Account: "a", Server: "web", Kind: engine.NoticeUp, Text: "up"},
		Webhook:  engine.Webhook{ID: "a1", Account: "a", URL: "https://a1", Secret: "whsec_", Created: at(0)},
	}
	if err := s.SaveDelivery(t.Context(), want.Delivery); err != nil {
		t.Fatal(err)
	}
	got, err := s.FirstDeliveries(t.Context(), "a1")
	if diff := cmp.Diff([]engine.Sending{want}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestFirstDeliveriesReadNoBacklog holds the plan to the index of what waits: ten
// thousand waiting notices cost no more than one.
func TestFirstDeliveriesReadNoBacklog(t *testing.T) {
	s := openNew(t, Options{})
	outbox(t, s, 1)
	plan, err := query(t.Context(), s.read, func(p *planLine) []any { return []any{&p.id, &p.parent, &p.unused, &p.detail} },
		"EXPLAIN QUERY PLAN "+firstDeliveries, "")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(plan)
	for _, want := range []string{
		"SCAN h", "SEARCH deliveries USING INDEX deliveries_waiting (webhook=?)", "SEARCH d USING PRIMARY KEY (notice=? AND webhook=?)",
		"SEARCH n USING INTEGER PRIMARY KEY (rowid=?)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan is %s\nwithout %s", got, want)
		}
	}
}

func BenchmarkFirstDeliveries(b *testing.B) {
	for _, notices := range []int{10, 10_000} {
		b.Run(fmt.Sprint(notices), func(b *testing.B) {
			s := openNew(b, Options{KeepNotices: 1 << 20})
			outbox(b, s, notices)
			for b.Loop() {
				if first(b, s, "") != "a1:1@0 a2:1@0 b1:2@0" {
					b.Fatal("another")
				}
			}
		})
	}
}
