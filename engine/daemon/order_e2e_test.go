//go:build e2e

package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"picloud/engine/config"
)

// e2eMarket has one Pi to sell, which stands in for a Pi 4.
var e2eMarket = e2eKind{board: "4B", pis: 1, emulator: "qemu-system-x86_64", from: "qemu-system-x86", speed: 5, patience: 1}

// TestRealOrder has a customer's program order a server of the hosted-Pi API with
// nothing but curl: a real Debian boots on the Pi that the service picks, with
// the customer's name, keys and address; it is given back, and the bill made.
func TestRealOrder(t *testing.T) {
	s := newSite(t, &e2eMarket)
	s.sells()
	s.addImage()
	s.serve()
	pi := s.pis[0]
	until(t, time.Minute, "the Pi can be ordered", func() bool { return s.show(pi).Life == "ready" })
	s.run(s.program, "account", "add", "acme", "--contact", "ops@acme.example")
	c := &customer{site: s}
	s.must(json.Unmarshal([]byte(s.run(s.program, "apikey", "add", "acme", "--json")), &c.key))
	c.login()
	time.Sleep(s.cfg.Boot.Hold) // a port that was just seen to be off has to rest first

	s.lap("order")
	order := fmt.Sprintf(`{"disk":10,"model":4,"ssh_key":%q,"wait_for_dns":false}`, s.public+"\r\n")
	head := c.ask("POST", "/pi/servers/"+e2eServer, order, 202)
	task := strings.TrimPrefix(head["location"], c.base())
	if !regexp.MustCompile(`^/queue/pi/[0-9]+$`).MatchString(task) {
		t.Fatalf("Location: %s", head["location"])
	}
	c.ask("POST", "/pi/servers/"+e2eServer, order, 409)
	c.ask("DELETE", "/pi/servers/"+e2eServer, "", 409)
	c.follow(task)
	s.settled(pi)
	s.identity(pi)
	s.tellTimes(pi, strings.TrimPrefix(task, "/queue/pi/"))
	if got := c.server(); got.Status != "live" || got.IP != netip.MustParsePrefix(s.address).Addr().StringExpanded() || got.Disk != "10.00" || !got.Power {
		t.Errorf("the server is %+v", got)
	}

	s.lap("other keys")
	c.ask("PUT", "/pi/servers/"+e2eServer+"/ssh-key", `{"ssh_key":""}`, 200)
	until(t, e2eCheck, "nobody is let in any more", func() bool {
		_, err := s.ssh(pi, nil, "true")
		return err != nil && strings.Contains(err.Error(), "Permission denied")
	})
	c.ask("PUT", "/pi/servers/"+e2eServer+"/ssh-key", fmt.Sprintf(`{"ssh_key":%q}`, s.public), 200)
	until(t, e2eCheck, "the customer is let in again", func() bool { _, err := s.ssh(pi, nil, "true"); return err == nil })

	s.lap("release")
	c.ask("DELETE", "/pi/servers/"+e2eServer, "", 204)
	c.ask("GET", "/pi/servers/"+e2eServer, "", 404)
	c.ask("DELETE", "/pi/servers/"+e2eServer, "", 404)
	until(t, time.Minute, "the Pi is given back", func() bool { p := s.show(pi); return p.Life == "ready" && p.Stage == "off" })
	t.Logf("%s", s.run(s.program, "bill", "--month", time.Now().UTC().Format("2006-01")))
	s.lap("done")
}

// sells makes the rack one whose Pis can be ordered.
func (s *site) sells() {
	s.t.Helper()
	s.cfg.Servers = nil
	for i := range s.cfg.Segments {
		s.cfg.Segments[i].Image, s.cfg.Segments[i].Power = "", false
	}
	s.cfg.Orders.Pool, s.cfg.Orders.PoolBits = netip.MustParsePrefix("2001:db8:77::/64"), 64
	s.cfg.Plans = []config.Plan{{Model: 4, Month: 750}}
	s.cfg.API.Listen = netip.MustParseAddrPort("127.0.0.1:8080") // of the server's namespace
	s.address = "2001:db8:77::1/64"
	s.config = writeConfig(s.t, s.dir, s.cfg)
}

// tellTimes logs how long the order took until the Pi had power, and was live.
func (s *site) tellTimes(pi, task string) {
	s.t.Helper()
	var made struct {
		Jobs []struct{ Since, Ended time.Time }
	}
	var ran struct {
		Boots []struct{ Started, Up time.Time }
	}
	s.must(json.Unmarshal([]byte(s.run(s.program, "job", "show", task, "--json")), &made))
	s.must(json.Unmarshal([]byte(s.run(s.program, "boot", "show", pi, "--json")), &ran))
	if len(made.Jobs) != 1 || len(ran.Boots) == 0 {
		s.t.Fatalf("%+v %+v", made, ran)
	}
	order, boot := made.Jobs[0], ran.Boots[0]
	s.t.Logf("order to power: %s; power to SSH: %s; order to live: %s", boot.Started.Sub(order.Since).Round(time.Millisecond),
		boot.Up.Sub(boot.Started).Round(time.Second), order.Ended.Sub(order.Since).Round(time.Second))
}

// customer is a program of somebody who has an API key: curl.
type customer struct {
	*site
	key struct {
		Secret string `json:"secret"`
		Key    struct {
			ID string `json:"id"`
		} `json:"api_key"`
	}
	token string
}

func (c *customer) base() string { return "http://127.0.0.1:8080/beta" }

// curl sends a request from the server's namespace, and returns the status, the
// headers with small letters, and the body.
func (c *customer) curl(args ...string) (status string, head map[string]string, body string) {
	c.t.Helper()
	out := c.inServer(append([]string{"curl", "-sS", "-i", "--max-time", "60"}, args...)...)
	top, body, _ := strings.Cut(strings.ReplaceAll(out, "\r\n", "\n"), "\n\n")
	head = map[string]string{}
	for i, line := range strings.Split(top, "\n") {
		if i == 0 {
			status = strings.Fields(line)[1]
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		head[strings.ToLower(name)] = value
	}
	return status, head, body
}

func (c *customer) login() {
	c.t.Helper()
	_, _, body := c.curl("-u", c.key.Key.ID+":"+c.key.Secret, "-d", "grant_type=client_credentials", "http://127.0.0.1:8080/login")
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Token == "" {
		c.t.Fatalf("login: %v\n%s", err, body)
	}
	c.token = got.Token
}

// ask sends a request and wants a status.
func (c *customer) ask(method, path, body string, want int) map[string]string {
	c.t.Helper()
	args := []string{"-X", method, "-H", "Authorization: Bearer " + c.token}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	status, head, text := c.curl(append(args, c.base()+path)...)
	if status != fmt.Sprint(want) {
		c.t.Errorf("%s %s: %s, want %d\n%s", method, path, status, want, text)
	}
	head["body"] = text
	return head
}

// follow polls a task until it leads to the server.
func (c *customer) follow(task string) {
	c.t.Helper()
	said := ""
	until(c.t, e2eBoot, "the order is done", func() bool {
		status, head, body := c.curl("-H", "Authorization: Bearer "+c.token, c.base()+task)
		if said != body && status == "200" {
			said = body
			c.t.Logf("%s", body)
		}
		if status != "200" && status != "303" {
			c.t.Fatalf("the order fails: %s %s", status, body)
		}
		return status == "303" && head["location"] == c.base()+"/pi/servers/"+e2eServer
	})
}

type soldServer struct {
	IP     string `json:"ip"`
	Disk   string `json:"disk_size"`
	Status string `json:"status"`
	Power  bool   `json:"power"`
}

func (c *customer) server() (got soldServer) {
	c.t.Helper()
	c.must(json.Unmarshal([]byte(c.ask("GET", "/pi/servers/"+e2eServer, "", 200)["body"]), &got))
	return got
}

// until asks again and again until it is so.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
