package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// followsItself is a client that follows redirects with its token, as the Python
// library of hosted Pis does: the answer to a task that is over is the server.
func (c *client) followsItself() *client {
	f := *c
	h := *c.http
	h.CheckRedirect = nil
	f.http = &h
	return &f
}

// order orders a server and waits until its task is over, as the Go client does:
// by the status and the Location, which it uses as it is.
func (c *client) order(path string, body any) (server string) {
	c.t.Helper()
	queue := c.want(http.StatusAccepted, "POST", path, body).header.Get("Location")
	return c.await(queue)
}

func (c *client) await(queue string) (server string) {
	c.t.Helper()
	if !strings.HasPrefix(queue, c.base) {
		c.t.Fatalf("the task is at %q, which is no absolute URL of %s", queue, c.base)
	}
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		switch r := c.ask("GET", queue, nil); r.status {
		case http.StatusOK:
			if r.header.Get("Location") != "" {
				c.t.Fatal("a Location with 200 ends the Go client's polling")
			}
		case http.StatusSeeOther:
			return r.header.Get("Location")
		default:
			c.t.Fatalf("task: %d %s", r.status, r.body)
		}
	}
	c.t.Fatal("the order is not carried out")
	return ""
}

// piInfo are the members of a server that clients of hosted Pis read, as strictly
// as the strictest of them reads each.
type piInfo struct {
	IP           netip.Addr `json:"ip"`
	Routed       string     `json:"ip_routed"`
	SSHPort      *int       `json:"ssh_port"`
	Disk         string     `json:"disk_size"`
	Initialised  *bool      `json:"initialised_keys"`
	Initialized  *bool      `json:"initialized_keys"`
	Location     string     `json:"location"`
	Model        int        `json:"model"`
	ModelFull    string     `json:"model_full"`
	Memory       int        `json:"memory"`
	CPU          int        `json:"cpu_speed"`
	NIC          int        `json:"nic_speed"`
	Power        *bool      `json:"power"`
	Booting      *bool      `json:"is_booting"`
	BootProgress *string    `json:"boot_progress"`
	Status       string     `json:"status"`
}

func readPi(t *testing.T, body []byte) piInfo {
	t.Helper()
	var p piInfo
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	network, err := netip.ParsePrefix(p.Routed)
	if err != nil || network != network.Masked() || !network.Contains(p.IP) || p.IP.StringExpanded() != p.IP.String() && !strings.Contains(string(body), p.IP.StringExpanded()) {
		t.Errorf("addresses %s and %s: %v", p.IP, p.Routed, err)
	}
	if p.SSHPort == nil || p.Initialised == nil || p.Initialized == nil || p.Power == nil || p.Booting == nil || p.Location == "" {
		t.Errorf("members are missing: %s", body)
	}
	return p
}

// The life of a server through the hosted-Pi API, from the models to the second
// delete.
func TestHostedLife(t *testing.T) {
	_, full, reader := newAccount(t, 0)
	c := newClient(t, full).login()

	var models struct{ Models []spec }
	decode(t, c.want(http.StatusOK, "GET", "/beta/pi/models", nil).body, &models)
	if len(models.Models) < 2 {
		t.Fatalf("models: %+v", models)
	}
	images := c.want(http.StatusOK, "GET", fmt.Sprintf("/beta/pi/images/%d", models.Models[0].Model), nil).object()
	if images["builtin"] != "picloud's built-in demo image" {
		t.Errorf("images: %v", images)
	}
	c.want(http.StatusNotFound, "GET", "/beta/pi/images/77", nil)
	c.want(http.StatusBadRequest, "GET", "/beta/pi/images/four", nil)

	first, second := publicKey("a@example.org"), publicKey("b@example.org")
	queue := c.want(http.StatusAccepted, "POST", "/beta/pi/servers/life", map[string]any{
		"disk": 20, "ssh_key": first + "\r\n" + second, "wait_for_dns": true, "os_image": "builtin",
	}).header.Get("Location")
	if p := readPi(t, c.want(http.StatusOK, "GET", "/beta/pi/servers/life", nil).body); p.Status != "provisioning" && p.Status != "initialising" {
		t.Errorf("just ordered: %+v", p)
	}
	for what, r := range map[string]reply{
		"delete": c.ask("DELETE", "/beta/pi/servers/life", nil), "reboot": c.ask("POST", "/beta/pi/servers/life/reboot", nil),
		"power": c.ask("PUT", "/beta/pi/servers/life/power", `{"power":false}`), "the name again": c.ask("POST", "/beta/pi/servers/life", nil),
		"keys": c.ask("PUT", "/beta/pi/servers/life/ssh-key", `{"ssh_key":""}`),
	} {
		if r.status != http.StatusConflict {
			t.Errorf("%s while it is provisioned: %d %s", what, r.status, r.body)
		}
	}
	if at := c.await(queue); at != c.base+"/beta/pi/servers/life" {
		t.Errorf("the server is at %q", at)
	}
	p := readPi(t, c.followsItself().want(http.StatusOK, "GET", queue, nil).body)
	lowest := models.Models[0]
	if p.Status != "live" || p.Disk != "20.00" || !*p.Initialised || !*p.Initialized || !*p.Power || *p.Booting || p.BootProgress != nil ||
		(spec{p.Model, p.Memory, p.CPU, p.NIC}) != lowest || p.Location != "a3" {
		t.Errorf("live: %+v", p)
	}
	servers := c.want(http.StatusOK, "GET", "/beta/pi/servers", nil).object()["servers"].(map[string]any)
	if brief, ok := servers["life"].(map[string]any); len(servers) != 1 || !ok || brief["model"] != float64(lowest.Model) {
		t.Errorf("servers: %v", servers)
	}

	if got := c.want(http.StatusOK, "GET", "/beta/pi/servers/life/ssh-key", nil).str("ssh_key"); got != first+"\r\n"+second {
		t.Errorf("keys: %q", got)
	}
	if got := c.want(http.StatusOK, "PUT", "/beta/pi/servers/life/ssh-key", map[string]string{"ssh_key": second + "\n"}).str("ssh_key"); got != second {
		t.Errorf("keys set: %q", got)
	}
	if got := newClient(t, reader).want(http.StatusOK, "GET", "/beta/pi/servers/life/ssh-key", nil).str("ssh_key"); got != second {
		t.Errorf("keys then: %q", got)
	}
	c.settle("life")
	if got := c.want(http.StatusOK, "PUT", "/beta/pi/servers/life/ssh-key", `{"ssh_key":""}`).str("ssh_key"); got != "" {
		t.Errorf("keys cleared: %q", got)
	}
	c.settle("life")

	c.want(http.StatusOK, "POST", "/beta/pi/servers/life/reboot", nil)
	if r := c.want(http.StatusConflict, "POST", "/beta/pi/servers/life/reboot", nil); r.sentence() != "The server is already rebooting" {
		t.Errorf("a reboot while it reboots: %s", r.body)
	}
	var said []string
	eventually(t, "rebooted", func() bool {
		p := readPi(t, c.want(http.StatusOK, "GET", "/beta/pi/servers/life", nil).body)
		if *p.Booting != (p.BootProgress != nil) {
			t.Errorf("booting %t, progress %v", *p.Booting, p.BootProgress)
		}
		if p.BootProgress != nil && !slices.Contains(said, *p.BootProgress) {
			said = append(said, *p.BootProgress)
		}
		return len(said) > 0 && *p.Power && !*p.Booting
	})
	for _, power := range []bool{false, false, true, true} {
		c.settle("life")
		if got := c.want(http.StatusOK, "PUT", "/beta/pi/servers/life/power", powerBody{power}).object()["power"]; got != power {
			t.Errorf("power %t: %v", power, got)
		}
		eventually(t, "its power is as asked", func() bool {
			return c.want(http.StatusOK, "GET", "/beta/pi/servers/life", nil).object()["power"] == power
		})
	}
	c.settle("life")

	if r := c.want(http.StatusNoContent, "DELETE", "/beta/pi/servers/life", nil); len(r.body) != 0 {
		t.Errorf("deleted: %q", r.body)
	}
	c.want(http.StatusNotFound, "DELETE", "/beta/pi/servers/life", nil)
	c.want(http.StatusNotFound, "GET", "/beta/pi/servers/life", nil)
	if servers := c.want(http.StatusOK, "GET", "/beta/pi/servers", nil).object()["servers"].(map[string]any); len(servers) != 0 {
		t.Errorf("after the delete: %v", servers)
	}
}

type spec struct {
	Model  int `json:"model"`
	Memory int `json:"memory"`
	CPU    int `json:"cpu_speed"`
	NIC    int `json:"nic_speed"`
}

type powerBody struct {
	Power bool `json:"power"`
}

func decode(t testing.TB, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}

// settle waits until nothing is done with a server.
func (c *client) settle(name string) {
	c.t.Helper()
	eventually(c.t, name+" has no job", func() bool {
		s, ok := rack().Engine().Server("", name)
		return !ok || s.Job == nil
	})
}

// Orders without a name, without a body and with members that are null, as an
// early client sends them.
func TestHostedOrdersWithLittle(t *testing.T) {
	t.Parallel()
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full).login()
	for _, body := range []any{nil, "{}", `{"disk":10,"model":null,"os_image":null}`} {
		at := c.order("/beta/pi/servers", body)
		name := at[strings.LastIndex(at, "/")+1:]
		if !regexp.MustCompile(`^[a-z0-9-]{3,63}$`).MatchString(name) {
			t.Errorf("it is called %q", name)
		}
		p := readPi(t, c.want(http.StatusOK, "GET", at, nil).body)
		if p.Disk != "10.00" || *p.Initialised || p.Status != "live" {
			t.Errorf("%v: %+v", body, p)
		}
		c.settle(name)
		c.want(http.StatusNoContent, "DELETE", "/beta/pi/servers/"+name, nil)
	}
}

// Each wish gets the lowest board that it allows.
func TestHostedOrdersBySpec(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	c := newClient(t, full).login()
	for i, w := range []struct{ wish, want spec }{
		{spec{Model: 4}, spec{4, 1024, 1500, 1000}},
		{spec{NIC: 1000}, spec{3, 1024, 1400, 1000}},
		{spec{CPU: 2400}, spec{5, 1024, 2400, 1000}},
	} {
		body := map[string]int{}
		for name, v := range map[string]int{"model": w.wish.Model, "memory": w.wish.Memory, "cpu_speed": w.wish.CPU, "nic_speed": w.wish.NIC} {
			if v != 0 {
				body[name] = v
			}
		}
		name := fmt.Sprintf("spec-%d", i)
		p := readPi(t, c.want(http.StatusOK, "GET", c.order("/beta/pi/servers/"+name, body), nil).body)
		if got := (spec{p.Model, p.Memory, p.CPU, p.NIC}); got != w.want {
			t.Errorf("%+v gets %+v, want %+v", w.wish, got, w.want)
		}
		c.settle(name)
		c.want(http.StatusNoContent, "DELETE", "/beta/pi/servers/"+name, nil)
	}
	if r := c.want(http.StatusBadRequest, "POST", "/beta/pi/servers/spec-x", `{"memory":3000}`); !strings.Contains(r.sentence(), "no board like that") {
		t.Errorf("a board that there is none of: %s", r.body)
	}
}
