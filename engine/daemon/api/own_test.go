package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// do gives an act and waits until its task is done.
func (c *client) do(server, act string, body any) reply {
	c.t.Helper()
	c.settle(server)
	r := c.want(http.StatusAccepted, "POST", "/v1/servers/"+server+"/"+act, body)
	return c.done(r)
}

// done waits for the task of an accepted request, and returns it.
func (c *client) done(r reply) reply {
	c.t.Helper()
	var task reply
	eventually(c.t, "the task ends", func() bool {
		task = c.want(http.StatusOK, "GET", r.header.Get("Location"), nil)
		return slices.Contains([]string{"done", "failed", "cancelled"}, task.str("state"))
	})
	if task.str("state") != "done" {
		c.t.Fatalf("task: %s", task.body)
	}
	return task
}

type serverView struct {
	ID       string
	Account  string
	Status   string
	Disk     int
	Image    string
	IP       string
	Power    string
	Wanted   string `json:"power_wanted"`
	Stage    string
	Rescue   bool
	Undo     bool      `json:"can_undo"`
	HostKeys []hostKey `json:"host_keys"`
	Keys     []string  `json:"ssh_keys"`
	Price    string    `json:"month_price"`
	Live     time.Time
	Pi       string
}

type hostKey struct{ Type, Fingerprint string }

func (c *client) show(server string) (v serverView) {
	c.t.Helper()
	decode(c.t, c.want(http.StatusOK, "GET", "/v1/servers/"+server, nil).body, &v)
	return v
}

// The life of a server through picloud's own API.
func TestOwnLife(t *testing.T) {
	t.Parallel()
	account, full, _ := newAccount(t, 3)
	c := newClient(t, full)
	first, second := publicKey("one"), publicKey("two")
	c.done(c.want(http.StatusAccepted, "POST", "/v1/servers", map[string]any{"id": "own", "model": 4, "disk": 20, "image": "builtin", "ssh_keys": []string{first}}))
	v := c.show("own")
	if v.Account != account || v.Status != "live" || v.Disk != 20 || v.Power != "on" || v.Wanted != "on" || v.Stage != "up" || v.Price != "10.00" ||
		v.IP == "" || v.Image != "builtin" || !slices.Equal(v.Keys, []string{first}) || len(v.HostKeys) == 0 || v.Undo || v.Rescue || v.Live.IsZero() {
		t.Errorf("live: %+v", v)
	}
	keys := v.HostKeys

	c.do("own", "reimage", map[string]string{"image": "builtin"})
	if v := c.show("own"); !v.Undo || slices.Equal(v.HostKeys, keys) {
		t.Errorf("reimaged: %+v", v)
	}
	c.do("own", "undo", nil)
	if v := c.show("own"); !slices.Equal(v.HostKeys, keys) {
		t.Errorf("undone: %+v, had %+v", v, keys)
	}
	c.do("own", "cycle", nil)
	c.do("own", "off", nil)
	if v := c.show("own"); v.Wanted != "off" {
		t.Errorf("off: %+v", v)
	}
	eventually(t, "it is off", func() bool { return c.show("own").Power == "off" })
	if r := c.want(http.StatusOK, "POST", "/v1/servers/own/off", nil); r.str("server") != "own" || r.header.Get("Location") != "" {
		t.Errorf("off again: %s", r.body)
	}
	c.do("own", "on", nil)
	eventually(t, "it is up", func() bool { return c.show("own").Stage == "up" })

	c.settle("own")
	c.done(c.want(http.StatusAccepted, "PUT", "/v1/servers/own/keys", map[string]any{"ssh_keys": []string{second}}))
	if v := c.show("own"); !slices.Equal(v.Keys, []string{second}) {
		t.Errorf("keys: %+v", v)
	}
	if r := c.want(http.StatusConflict, "POST", "/v1/servers/own/resize", `{"disk":30}`); !strings.Contains(r.sentence(), "no size") {
		t.Errorf("resize where volumes have no size: %s", r.body)
	}

	var list struct{ Servers []serverView }
	decode(t, c.want(http.StatusOK, "GET", "/v1/servers", nil).body, &list)
	if len(list.Servers) != 1 || list.Servers[0].ID != "own" {
		t.Errorf("list: %+v", list)
	}
	mine := c.want(http.StatusOK, "GET", "/v1/account", nil).object()
	if mine["account"] != account || mine["key"] != full.id || mine["read_only"] != false || mine["servers"] != 1.0 || mine["limit"] != 3.0 {
		t.Errorf("account: %v", mine)
	}
	c.settle("own")
	c.want(http.StatusNoContent, "DELETE", "/v1/servers/own", nil)
	c.want(http.StatusNotFound, "GET", "/v1/servers/own", nil)
	c.want(http.StatusNotFound, "DELETE", "/v1/servers/own", nil)
}

// A server shows its own boots, and none of who had its Pi before.
func TestBootsAreTheServersOwn(t *testing.T) {
	t.Parallel()
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	begun := time.Now()
	c.order("/beta/pi/servers/boots", nil)
	s, ok := rack().Engine().Server("", "boots")
	if !ok {
		t.Fatal("it is not there")
	}
	all, err := rack().Engine().Boots(t.Context(), s.Pi, 100)
	if err != nil || len(all) < 2 {
		t.Fatalf("%s has had %d boots, want some of before too: %v", s.Pi, len(all), err)
	}
	var got struct {
		Boots []struct {
			Started time.Time
			Up      *time.Time
			Reached string
			Events  []struct{ Stage, Evidence string }
		}
	}
	decode(t, c.want(http.StatusOK, "GET", "/v1/servers/boots/boots", nil).body, &got)
	if len(got.Boots) != 1 || got.Boots[0].Started.Before(begun) || got.Boots[0].Up == nil || got.Boots[0].Reached != "up" || len(got.Boots[0].Events) < 4 {
		t.Errorf("%d boots, of %d: %+v", len(got.Boots), len(all), got)
	}
}

func TestMoneyByTheAPI(t *testing.T) {
	t.Parallel()
	account, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	prices := c.want(http.StatusOK, "GET", "/v1/prices", nil).object()
	list, _ := prices["prices"].([]any)
	if prices["currency"] != "GBP" || prices["disk_10gb_month"] != "0.50" || len(list) != 4 || list[0].(map[string]any)["month_price"] != "6.75" {
		t.Errorf("prices: %v", prices)
	}
	c.order("/beta/pi/servers/money", `{"disk":30,"model":4}`)
	// The ledger is whole up to a moment that comes some seconds later.
	eventually(t, "it is charged", func() bool {
		u := c.want(http.StatusOK, "GET", "/v1/usage", nil).object()
		accounts, _ := u["accounts"].([]any)
		if len(accounts) != 1 {
			return false
		}
		of := accounts[0].(map[string]any)
		line := of["lines"].([]any)[0].(map[string]any)
		if of["account"] != account || line["server"] != "money" || line["month_price"] != "10.50" || line["disk_gb"] != 30.0 {
			t.Fatalf("usage: %v", u)
		}
		return true
	})
	month := time.Now().UTC().Format("2006-01")
	if got := c.want(http.StatusOK, "GET", "/v1/usage?month="+month, nil).object(); got["month"] != month {
		t.Errorf("usage of %s: %v", month, got)
	}
	for query, want := range map[string]int{
		"month=2026": http.StatusUnprocessableEntity, "month=2026-13": http.StatusUnprocessableEntity,
		"month=9000-01": http.StatusUnprocessableEntity, "account=other": http.StatusForbidden,
	} {
		c.want(want, "GET", "/v1/usage?"+query, nil)
	}
	other, _, _ := newAccount(t, 0)
	staff := newClient(t, newStaff(t, engine.RoleOperator))
	if got := staff.want(http.StatusOK, "GET", "/v1/usage?account="+other, nil).object(); len(got["accounts"].([]any)) != 0 {
		t.Errorf("usage of one who has nothing: %v", got)
	}
}

// Staff order for a customer, see all servers, and move one.
func TestStaff(t *testing.T) {
	t.Parallel()
	account, full, _ := newAccount(t, 0)
	staff := newClient(t, newStaff(t, engine.RoleOperator)).login()
	if r := staff.ask("POST", "/v1/servers", `{"id":"nobodys"}`); r.status != http.StatusUnprocessableEntity {
		t.Errorf("an order for no account: %d %s", r.status, r.body)
	}
	if r := staff.ask("POST", "/beta/pi/servers/nobodys", nil); r.status != http.StatusBadRequest {
		t.Errorf("an order for no account: %d %s", r.status, r.body)
	}
	staff.done(staff.want(http.StatusAccepted, "POST", "/v1/servers", map[string]any{"id": "moved", "account": account, "model": 4}))
	was := staff.show("moved")
	staff.do("moved", "move", nil)
	if v := staff.show("moved"); v.Pi == was.Pi || v.IP != was.IP || !slices.Equal(v.HostKeys, was.HostKeys) {
		t.Errorf("moved: %+v, was %+v", v, was)
	}
	var list struct{ Servers []serverView }
	decode(t, staff.want(http.StatusOK, "GET", "/v1/servers?account="+account, nil).body, &list)
	if len(list.Servers) != 1 {
		t.Errorf("servers of %s: %+v", account, list)
	}
	if got := staff.want(http.StatusOK, "GET", "/v1/account", nil).object(); got["account"] != nil || got["operator"] == "" {
		t.Errorf("account: %v", got)
	}
	c := newClient(t, full)
	c.want(http.StatusForbidden, "POST", "/v1/servers/moved/move", nil)
	c.want(http.StatusForbidden, "POST", "/v1/servers", `{"account":"another"}`)
	staff.settle("moved")
	staff.want(http.StatusConflict, "POST", "/v1/servers/moved/move", `{"to":"no-such-pi"}`)
	staff.want(http.StatusNoContent, "DELETE", "/v1/servers/moved", nil)
	if s, ok := rack().Engine().Server("", "moved"); ok {
		t.Errorf("it is there: %+v", s)
	}
}

// The demo's image has nothing that a rescue system could be made of: the task
// fails, and its owner is told at which step: why is staff's to look up.
func TestATaskThatFails(t *testing.T) {
	t.Parallel()
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full)
	c.order("/beta/pi/servers/rescued", nil)
	c.settle("rescued")
	c.want(http.StatusConflict, "POST", "/v1/servers/rescued/unrescue", nil)
	at := c.want(http.StatusAccepted, "POST", "/v1/servers/rescued/rescue", nil).header.Get("Location")
	var task reply
	eventually(t, "it has failed", func() bool { task = c.want(http.StatusOK, "GET", at, nil); return task.str("state") == "failed" })
	if s := task.str("error"); s != "It failed at the step rescue" {
		t.Errorf("the owner is told: %q", s)
	}
	queue := strings.Replace(at, "/v1/tasks/", "/beta/queue/pi/", 1)
	if r := c.want(http.StatusInternalServerError, "GET", queue, nil); r.sentence() != "It failed at the step rescue" {
		t.Errorf("queue: %s", r.body)
	}
}

// An account has no more servers than its limit.
func TestAccountLimit(t *testing.T) {
	_, full, _ := newAccount(t, 1)
	c := newClient(t, full)
	c.order("/beta/pi/servers/limited", nil)
	if r := c.want(http.StatusForbidden, "POST", "/beta/pi/servers", nil); !strings.Contains(r.sentence(), "too many servers") {
		t.Errorf("beyond the limit: %s", r.body)
	}
	c.want(http.StatusForbidden, "POST", "/v1/servers", nil)
}

// A key that is revoked, and one of an account that is closed, act no more, by
// token or by secret.
func TestKeysEnd(t *testing.T) {
	account, full, reader := newAccount(t, 0)
	c, r := newClient(t, full).login(), newClient(t, reader).login()
	c.want(http.StatusOK, "GET", "/v1/account", nil)
	change(t, engine.AccountCommand{Verb: engine.APIKeyRevoke, Key: engine.APIKey{ID: full.id}})
	c.want(http.StatusUnauthorized, "GET", "/v1/account", nil)
	newClient(t, full).want(http.StatusUnauthorized, "GET", "/v1/account", nil)
	r.want(http.StatusOK, "GET", "/v1/account", nil)
	change(t, engine.AccountCommand{Verb: engine.AccountClose, Account: engine.Account{Name: account}})
	r.want(http.StatusUnauthorized, "GET", "/beta/pi/servers", nil)
	newClient(t, reader).want(http.StatusUnauthorized, "GET", "/beta/pi/servers", nil)
}
