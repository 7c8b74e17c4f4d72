package cli

import (
	"strings"
	"testing"

	"picloud/engine"
)

const exampleKey = "ssh-ed25519~AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51~alice@laptop"

// TestOperators goes through an operator's life, and what nobody may do.
func TestOperators(t *testing.T) {
	rackTest(t, func(b *bench) {
		for _, c := range []struct {
			role engine.Role
			line string
			code int
			says string // on either stream
		}{
			{engine.RoleViewer, "operator add eve --role admin", exitFailed, "may not"},
			{engine.RoleOperator, "operator add eve --role admin", exitFailed, "may not"},
			{engine.RoleAdmin, "operator add Eve", exitUsage, "small letters"},
			{engine.RoleAdmin, "operator add eve --role boss", exitUsage, `no role "boss"`},
			{engine.RoleAdmin, "operator add eve --key /etc/shadow", exitUsage, "not an SSH public key"},
			{engine.RoleAdmin, "operator add ann --role operator --key " + exampleKey, exitDone, "ann"},
			{engine.RoleAdmin, "operator add ann", exitFailed, "already"},
			{engine.RoleAdmin, "operator add eve --key " + exampleKey, exitFailed, "another operator's"},
			{engine.RoleViewer, "operator list", exitDone, "operator"},
			{engine.RoleViewer, "operator show ann", exitDone, "alice@laptop"},
			{engine.RoleViewer, "operator show an --json", exitUsage, "ann"},
			{engine.RoleViewer, "operator show ann --json", exitDone, `"comment": "alice@laptop"`},
			{engine.RoleAdmin, "operator set ann --drop-key SHA256:none", exitUsage, "has no key"},
			{engine.RoleAdmin, "operator set ann --role viewer --reason left~the~shift", exitDone, "viewer"},
			{engine.RoleOperator, "operator remove ann", exitFailed, "may not"},
			{engine.RoleAdmin, "operator remove nobody", exitUsage, `there is no operator "nobody"`},
			{engine.RoleAdmin, "operator remove ann", exitUsage, "not confirmed"},
			{engine.RoleAdmin, "operator remove ann --yes", exitDone, "removed"},
			{engine.RoleViewer, "audit", exitDone, "left the shift"},
		} {
			r := b.runActor(c.role, c.line)
			if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
				t.Errorf("%s: %s: exit %d, want %d and %q\n%s%s", c.role, c.line, r.code, c.code, c.says, r.out, r.err)
			}
		}
		if list := b.e.Operators().List(); len(list) != 0 {
			t.Errorf("operators %+v", list)
		}
	})
}
