package daemon_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/tui/cli"
)

// guarded is a command that not everybody may give.
type guarded struct {
	needs engine.Role
	line  string
	// allowed is how it is tried by who may: the line itself if it only looks, or
	// what keeps it from doing anything. "" = it is tried by nobody who may.
	allowed string
}

const (
	looks = " "
	dry   = " --dry-run"
)

// guardedOf are all commands that not everybody may give, but those on Pis and
// their jobs, with an API key and a webhook by their IDs.
func guardedOf(key, hook string) []guarded {
	return []guarded{
		{engine.RoleAdmin, "operator add eve --role admin", ""},
		{engine.RoleAdmin, "operator set viewer --role admin", ""},
		{engine.RoleAdmin, "operator remove admin", ""},
		{engine.RoleAdmin, "account add eve", ""},
		{engine.RoleAdmin, "account close acme --yes", ""},
		{engine.RoleAdmin, "apikey add acme", ""},
		{engine.RoleAdmin, "apikey add --staff viewer", ""},
		{engine.RoleAdmin, "apikey revoke " + key + " --yes", ""},
		{engine.RoleAdmin, "webhook add acme https://eve.example/", ""},
		{engine.RoleAdmin, "webhook remove " + hook + " --yes", ""},
		{engine.RoleAdmin, "bill", looks},
		{engine.RoleAdmin, "bill acme --json", looks},
		{engine.RoleOperator, "account list", looks},
		{engine.RoleOperator, "account show acme --json", looks},
		{engine.RoleOperator, "apikey list", looks},
		{engine.RoleOperator, "webhook list", looks},
		{engine.RoleOperator, "webhook log " + hook, looks},
		{engine.RoleOperator, "order acme web2", dry},
		{engine.RoleOperator, "server release web1 --confirm web1", dry},
		{engine.RoleOperator, "server keys web1 --none --yes", dry},
	}
}

// everybodys are the commands that everybody may give who came in.
var everybodys = []string{
	"pi list", "pi show", "switch list", "switch show", "job list", "job show", "job wait", "boot list", "boot show", "image list", "image show",
	"server list", "server show", "operator list", "operator show", "rack", "space", "watch", "log", "audit", "version", "completion", "help", "json",
}

// office opens the doors of a rack that has a customer with a server.
func office(t *testing.T) *doors {
	t.Helper()
	s := openDoors(t)
	s.heard()
	c := s.dial(engine.RoleAdmin)
	for _, line := range []string{"account add acme", "apikey add acme", "webhook add acme https://acme.example/", "order acme web1 --wait"} {
		if exit, out := s.exec(c, line); exit != 0 {
			s.t.Fatalf("%s: exit %d, %s", line, exit, out)
		}
	}
	return s
}

// TestCustomersEveryRoleEveryDoor tries all that there is to see and to do of
// customers and staff in every role by every door: it is the role alone that
// decides, and what is refused leaves nothing behind.
func TestCustomersEveryRoleEveryDoor(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	s := office(t)
	t.Run("doors", func(t *testing.T) {
		for _, e := range entrances {
			for role := engine.RoleViewer; role <= engine.RoleAdmin; role++ {
				t.Run(e.name+" "+role.String(), func(t *testing.T) {
					t.Parallel()
					if e.name == "socket" && os.Getuid() != 0 {
						t.Skip("only root can be somebody else; CI runs it as root, too")
					}
					c, err := e.dial(s, role)
					if err != nil {
						t.Fatal(err)
					}
					s.tryGuarded(t, c, role)
				})
			}
		}
	})
	for _, who := range []string{"viewer", "operator"} {
		if rows := s.acts(who); len(rows) > 0 {
			t.Errorf("the acts of %s are written down: %+v", who, rows)
		}
	}
	if list := s.d.Engine().Accounts().List(); len(list) != 1 || !list[0].Closed.IsZero() || len(s.d.Engine().Accounts().Keys("")) != 1 {
		t.Errorf("accounts %+v", list)
	}
	if v, ok := s.d.Engine().Server("acme", "web1"); !ok || v.State != engine.ServerLive {
		t.Errorf("its server: %+v", v)
	}
}

func (s *doors) tryGuarded(t *testing.T, c *ssh.Client, role engine.Role) {
	t.Helper()
	all := s.d.Engine().Accounts()
	for _, g := range guardedOf(all.Keys("acme")[0].ID, all.Webhooks("acme")[0].ID) {
		if role < g.needs {
			if exit, out := s.exec(c, g.line); exit != 1 || !strings.Contains(out, "may not") {
				t.Errorf("%q: exit %d, %s", g.line, exit, out)
			}
		} else if g.allowed != "" {
			if exit, out := s.exec(c, g.line+g.allowed); exit != 0 || !allowed(out) {
				t.Errorf("%q: exit %d, %s", g.line+g.allowed, exit, out)
			}
		}
	}
	if exit, out := s.exec(c, "server list --json"); exit != 0 || !strings.Contains(out, "web1") {
		t.Errorf("it cannot even look: exit %d, %s", exit, out)
	}
}

// TestEveryCommandIsTried fails when a command comes that is in none of the
// lists: those of verbs on Pis, of everybody and of this file.
func TestEveryCommandIsTried(t *testing.T) {
	known := append([]string{"job cancel"}, everybodys...)
	for _, v := range engine.Verbs() {
		known = append(known, "pi "+string(v.Name))
	}
	for _, g := range guardedOf("KEY", "HOOK") {
		words := strings.Fields(g.line)
		known = append(known, words[0], strings.Join(words[:min(len(words), 2)], " "))
	}
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			name := strings.TrimSpace(path + " " + sub.Name())
			if sub.HasSubCommands() {
				walk(sub, name)
			} else if !slices.Contains(known, name) {
				t.Errorf("%s is tried in no role", name)
			}
		}
	}
	walk(cli.Command(nil, cli.Session{}), "")
}
