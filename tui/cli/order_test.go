package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// step is a line by somebody of a role, and what comes of it.
type step struct {
	role engine.Role
	line string
	code int
	says string // on either stream
}

func (b *bench) walk(steps []step) {
	b.t.Helper()
	for _, c := range steps {
		r := b.runActor(c.role, c.line)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			b.t.Errorf("%s: %s: exit %d, want %d and %q\n%s%s", c.role, c.line, r.code, c.code, c.says, r.out, r.err)
		}
	}
}

// TestAccounts goes through an account's life, and what nobody may do.
func TestAccounts(t *testing.T) {
	const viewer, operator, admin = engine.RoleViewer, engine.RoleOperator, engine.RoleAdmin
	rackTest(t, func(b *bench) {
		b.admin("operator add ann --role operator")
		b.walk([]step{
			{operator, "account add acme", exitFailed, "may not"},
			{admin, "account add Acme", exitUsage, "small letters"},
			{admin, "account add acme --limit -1", exitUsage, "above 0"},
			{admin, "account add acme --contact ops@acme.example --limit 2 --reason signed", exitDone, "ops@acme.example"},
			{admin, "account add acme", exitFailed, "already"},
			{viewer, "account list", exitFailed, "may not"},
			{viewer, "account show acme", exitFailed, "may not"},
			{operator, "account list", exitDone, "acme"},
			{operator, "account show acm", exitUsage, "did you mean acme?"},
			{operator, "account show acme --json", exitDone, `"limit": 2`},
			{viewer, "apikey list", exitFailed, "may not"},
			{operator, "apikey add acme", exitFailed, "may not"},
			{admin, "apikey add", exitUsage, "say whose"},
			{admin, "apikey add acme --staff ann", exitUsage, "say whose"},
			{admin, "apikey add acne", exitUsage, "no such account"},
			{admin, "apikey add --staff nobody", exitUsage, "no such operator"},
			{admin, "apikey add --staff ann --read-only", exitDone, "secret  "},
			{operator, "apikey list", exitDone, "staff: ann"},
			{operator, "apikey list acme", exitDone, "KEY"},
			{operator, "apikey list nobody", exitUsage, "no account"},
			{admin, "apikey revoke nothing --yes", exitUsage, "there is no API key"},
			{admin, "apikey revoke nothing", exitUsage, "there is no API key"},
			{operator, "webhook add acme https://acme.example/", exitFailed, "may not"},
			{admin, "webhook add acme ftp://acme.example/", exitUsage, "http or https"},
			{admin, "webhook add acme", exitUsage, "needs an ACCOUNT"},
			{admin, "webhook add acme https://acme.example/hook", exitDone, "secret   whsec_"},
			{viewer, "webhook list", exitFailed, "may not"},
			{operator, "webhook list acme", exitDone, "https://acme.example/hook"},
			{operator, "webhook log nothing", exitUsage, "no such webhook"},
			{viewer, "bill", exitFailed, "may not"},
			{operator, "bill", exitFailed, "may not"},
			{admin, "bill --month tomorrow", exitUsage, "no month"},
			{admin, "bill --month 2999-01", exitUsage, "has not begun"},
			{admin, "bill --format pdf", exitUsage, "table, csv or json"},
			{admin, "bill nobody", exitUsage, "no account"},
			{admin, "apikey add acme --read-only", exitDone, "secret"},
			{admin, "account close acme", exitUsage, "repeat it with --yes"},
			{operator, "account close acme --yes", exitFailed, "may not"},
			{admin, "account close acme --yes --reason left", exitDone, "closed"},
			{admin, "account close acme --yes", exitFailed, "is closed"},
			{operator, "apikey list acme", exitDone, "of nobody now"},
			{admin, "apikey add acme", exitFailed, "is closed"},
			{operator, "order acme web1", exitFailed, "is closed"},
		})
	})
}

// TestSecretsAreShownOnce looks for what must be nowhere but on standard output.
func TestSecretsAreShownOnce(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.admin("account add acme")
		var secrets, ids []string
		for _, line := range []string{"apikey add acme --reason for~the~shop", "webhook add acme https://acme.example/"} {
			r := b.runActor(engine.RoleAdmin, line)
			f := strings.Fields(r.out)
			if r.code != 0 || len(f) != 4 || strings.Contains(r.err, f[3]) {
				t.Fatalf("%s: exit %d\n%s%s", line, r.code, r.out, r.err)
			}
			ids, secrets = append(ids, f[1]), append(secrets, f[3])
		}
		var key newAPIKeyJSON
		if err := json.Unmarshal([]byte(b.runActor(engine.RoleAdmin, "apikey add acme --json --read-only").out), &key); err != nil || !key.Key.ReadOnly || len(key.Secret) != 32 {
			t.Fatalf("%+v, %v", key, err)
		}
		ids, secrets = append(ids, key.Key.ID), append(secrets, key.Secret)
		all := b.e.Accounts()
		for i, id := range []string{ids[0], ids[2]} {
			if k, _ := all.Key(id); !k.Fits(secrets[i*2]) || k.Fits("x"+secrets[i*2]) {
				t.Errorf("key %s: the secret is another", id)
			}
		}
		if h, _ := all.Webhook(ids[1]); h.Secret != secrets[1] {
			t.Errorf("webhook: the secret is another")
		}
		b.inv.mu.Lock()
		kept := fmt.Sprintf("%+v %+v", b.inv.audit, b.inv.log)
		b.inv.mu.Unlock()
		for _, line := range []string{"apikey list", "apikey list --json", "webhook list --json", "account show acme", "account show acme --json", "audit --json", "log --json"} {
			kept += b.must(line)
		}
		for _, secret := range secrets {
			if strings.Contains(kept, secret) {
				t.Errorf("%s is told or written down", secret)
			}
		}
		if !strings.Contains(kept, ids[0]+" of acme") || !strings.Contains(kept, "for the shop") {
			t.Error("the audit does not tell of the key")
		}
		if r := b.runActor(engine.RoleAdmin, "apikey revoke "+ids[0]+" --yes"); r.code != 0 || !strings.Contains(r.out, "revoked") {
			t.Errorf("revoke: exit %d\n%s%s", r.code, r.out, r.err)
		}
		b.e.KeyUsed(ids[2])
		time.Sleep(2 * time.Minute)
		if out := b.must("apikey list acme"); !strings.Contains(out, "never") || !strings.Contains(out, "1m ago") {
			t.Errorf("when they were used:\n%s", out)
		}
	})
}

// TestAnOrdersLife orders a server, looks at it by every view, and gives it back.
func TestAnOrdersLife(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.admin("account add acme --contact ops@acme.example")
		b.admin("webhook add acme https://acme.example/hook")
		hook := b.e.Accounts().Webhooks("acme")[0].ID
		var all strings.Builder
		show := func(role engine.Role, line string, width int) {
			s := session(split(line)...)
			s.Actor.Role, s.Width, s.TTY = role, width, width > 0
			r := b.with(s)
			for i, l := range strings.Split(r.out, "\n") {
				if width > 0 && columns(l) > width {
					t.Errorf("%s at %d: line %d is %d wide", line, width, i+1, columns(l))
				}
			}
			text := strings.ReplaceAll(r.out+r.err, hook, "HOOK-ID.")
			fmt.Fprintf(&all, "$ picloud %s\n%s", strings.ReplaceAll(line, hook, "HOOK-ID."), text)
			if r.code != 0 {
				fmt.Fprintf(&all, "exit %d\n", r.code)
			}
			all.WriteString("\n")
		}
		show(engine.RoleOperator, "order acme web1 --model 4 --disk 20 --dry-run", 0)
		show(engine.RoleOperator, "order acme web1 --model 4 --disk 20 --dry-run --json", 0)
		show(engine.RoleOperator, "order acme web1 --model 4 --disk 20 --wait --reason phone --key "+exampleKey, 0)
		show(engine.RoleOperator, "server list", 80)
		show(engine.RoleViewer, "server list", 200)
		show(engine.RoleOperator, "server show web1", 80)
		show(engine.RoleViewer, "server show web1 --json", 0)
		show(engine.RoleOperator, "account show acme", 80)
		show(engine.RoleOperator, "account list", 80)
		show(engine.RoleOperator, "job list", 120)
		show(engine.RoleOperator, "server keys web1 --none --yes --wait", 0)
		time.Sleep(time.Hour)
		show(engine.RoleOperator, "server release web1 --dry-run", 0)
		show(engine.RoleOperator, "server release web1", 0)
		show(engine.RoleOperator, "server release web1 --confirm web1 --wait", 0)
		show(engine.RoleOperator, "server show web1", 80)
		show(engine.RoleAdmin, "bill", 120)
		show(engine.RoleAdmin, "bill acme --json", 0)
		show(engine.RoleAdmin, "bill --format csv", 0)
		show(engine.RoleOperator, "webhook log "+hook, 120)
		show(engine.RoleOperator, "webhook log "+hook+" --limit 1 --json", 0)
		show(engine.RoleOperator, "audit --actor alice", 120)
		golden(t, "order", strings.ReplaceAll(all.String(), "\r", ""))
	})
}

// TestOrdersThatCannotBe holds what is refused to its exit status.
func TestOrdersThatCannotBe(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.admin("account add acme --limit 1")
		rows := b.inv.auditRows()
		b.walk([]step{
			{engine.RoleViewer, "order acme", exitFailed, "may not"},
			{engine.RoleViewer, "order acme --dry-run", exitFailed, "may not"},
			{engine.RoleViewer, "server release db-1 --confirm db-1", exitFailed, "of the configuration"},
			{engine.RoleOperator, "order", exitUsage, "needs an ACCOUNT"},
			{engine.RoleOperator, "order acme web1 web2", exitUsage, `takes no "web2"`},
			{engine.RoleOperator, "order nobody", exitUsage, "picloud account list"},
			{engine.RoleOperator, "order acne --dry-run", exitUsage, "did you mean acme?"},
			{engine.RoleOperator, "order acme Web", exitUsage, "small letters"},
			{engine.RoleOperator, "order acme web1 --disk 15", exitUsage, "multiple of 10"},
			{engine.RoleOperator, "order acme web1 --disk many", exitUsage, "invalid argument"},
			{engine.RoleOperator, "order acme web1 --model 3", exitUsage, "no board like that"},
			{engine.RoleOperator, "order acme web1 --model 3 --dry-run", exitUsage, "no board like that"},
			{engine.RoleOperator, "order acme web1 --image trixi64 --dry-run", exitUsage, "did you mean trixie64?"},
			{engine.RoleOperator, "order acme web1 --image trixi", exitUsage, "no image"},
			{engine.RoleOperator, "order acme web1 --key /etc/passwd", exitUsage, "not an SSH public key"},
			{engine.RoleOperator, "order acme web1 --timeout 5s", exitUsage, "goes with --wait"},
			{engine.RoleOperator, "order acme db-1", exitFailed, "name is taken"},
			{engine.RoleOperator, "server keys web-1", exitUsage, "say which"},
			{engine.RoleOperator, "server keys web-1 --none", exitUsage, "repeat it with --yes"},
			{engine.RoleOperator, "server release web1 --confirm web1", exitUsage, "did you mean web-1?"},
		})
		if n := b.inv.auditRows(); n != rows {
			t.Errorf("%d acts were written down", n-rows)
		}
		b.mu.Lock()
		for port := range benchPorts {
			b.stopAt[port+1] = engine.StageDHCP
		}
		b.mu.Unlock()
		b.walk([]step{
			{engine.RoleOperator, "order acme web1 --wait", exitFailed, "it stalled at dhcp"},
			{engine.RoleOperator, "server show web1", exitUsage, "provision: failed after"},
			{engine.RoleOperator, "pi list @broken", exitDone, "stalled at dhcp"},
		})
	})
}

// TestConsent answers in every way what stands before acts that are none on Pis.
func TestConsent(t *testing.T) {
	for _, tc := range []struct {
		line, typed string
		code        int
		says        string
	}{
		{"account close acme", "y\n", exitFailed, "the account has servers"},
		{"account close acme", "n\n", exitUsage, "nothing was done"},
		{"account close acme", "", exitUsage, "stopped"},
		{"account close other", "yes\r", exitDone, "do it? y/N"},
		{"server release web1", "web1\n", exitDone, "type web1 to do it: "},
		{"server release web1", "y\n", exitUsage, "nothing was done"},
		{"server release web1 --confirm web2", "web1\n", exitUsage, "--confirm web2 is not web1"},
		{"server release web1 --confirm web1", "", exitDone, ""},
		{"server keys web1 --none", "y\n", exitDone, "in the place of those that it has: 0 keys"},
	} {
		t.Run(tc.line+" "+tc.typed, func(t *testing.T) {
			rackTest(t, func(b *bench) {
				b.admin("account add acme")
				b.admin("account add other")
				b.admin("order acme web1 --wait")
				rows := b.inv.auditRows()
				s := session(split(tc.line)...)
				s.Actor.Role, s.TTY, s.Stdin = engine.RoleAdmin, true, strings.NewReader(tc.typed)
				r := b.with(s)
				if r.code != tc.code || !strings.Contains(r.err, tc.says) {
					t.Errorf("exit %d, want %d with %q\n%s%s", r.code, tc.code, tc.says, r.out, r.err)
				}
				if done := b.inv.auditRows() > rows; done != (tc.code == exitDone) {
					t.Errorf("it was written down: %t", done)
				}
			})
		})
	}
}

func TestOrdersAreCompleted(t *testing.T) {
	rackTest(t, func(b *bench) {
		b.admin("account add acme")
		b.admin("account add other")
		b.admin("apikey add acme")
		id := b.e.Accounts().Keys("acme")[0].ID
		for line, want := range map[string]string{
			"order ": "acme other", "order acme ": "", "order acme x --image ": "bookworm64 trixie64", "account close o": "other",
			"apikey revoke ": id, "bill --format ": "table csv json", "server release ": "",
		} {
			args := append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)
			out := b.with(session(args...)).out
			got := strings.Fields(strings.TrimSuffix(out, ":4\n"))
			if !sameWords(got, strings.Fields(want)) {
				t.Errorf("%q: %q, want %q", line, got, want)
			}
			s := session(args...)
			s.Actor.Role = engine.RoleViewer
			if out := b.with(s).out; strings.Contains(out, "acme") || strings.Contains(out, id) {
				t.Errorf("%q: a viewer is told of customers: %q", line, out)
			}
		}
	})
}
