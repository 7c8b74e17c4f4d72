package daemon_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
)

// Free Pis of the rack below: one for each door, and one that nobody may act on.
const doorPis = 7

// doors is a service with its door open, and an operator of each role.
type doors struct {
	t      *testing.T
	d      *daemon.Daemon
	cfg    *config.Config
	tcp    string
	socket string
	keys   map[engine.Role]ssh.Signer
	pis    []string
}

func openDoors(t *testing.T) *doors {
	t.Helper()
	rack, err := sim.New(sim.Config{Seed: 7, Pis: doorPis, Speed: crashSpeed, Rented: -1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := demo.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	openToOthers(t, dir)
	cfg := demo.Configure(rack.Inventory(), filepath.Join(dir, "state"), crashSpeed, client)
	for i := range cfg.Segments {
		cfg.Segments[i].Power, cfg.Segments[i].Image = false, ""
	}
	cfg.HTTP = config.HTTP{}
	port := freePort(t)
	cfg.Console = config.Console{
		Socket: filepath.Join(dir, "sock"), Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)),
	}
	for role, user := range localUsers {
		cfg.Locals = append(cfg.Locals, config.Local{User: user.name, Operator: role.String()})
	}
	d, err := daemon.Open(t.Context(), daemon.Options{Config: cfg, Speed: crashSpeed, Door: true})
	if err != nil {
		t.Fatal(err)
	}
	bound := d.Ports()
	err = rack.SetPorts(sim.Ports{DHCPServer: bound.DHCP, DHCPClient: client.DHCP, TFTP: bound.TFTP, NFS: bound.NFS, SSH: client.SSH})
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() { running <- rack.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-running; err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s := &doors{
		t: t, d: d, cfg: cfg, tcp: cfg.Console.Listen.String(), socket: cfg.Console.Socket, keys: map[engine.Role]ssh.Signer{},
	}
	for _, seg := range cfg.Segments {
		s.pis = append(s.pis, seg.Name)
	}
	for role := engine.RoleViewer; role <= engine.RoleAdmin; role++ {
		s.operator(role)
	}
	return s
}

// operator makes one of a role, by that role's name.
func (s *doors) operator(role engine.Role) {
	s.t.Helper()
	signer := newSigner(s.t)
	s.keys[role] = signer
	err := s.d.Engine().ChangeOperators(s.t.Context(), engine.OperatorCommand{
		Verb: engine.OperatorAdd, Actor: engine.Actor{Name: "test", Role: engine.RoleAdmin},
		Operator: engine.Operator{
			Name: role.String(), Role: role, Keys: []engine.OperatorKey{{Line: string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// dial comes in over SSH with the key of a role.
func (s *doors) dial(role engine.Role) *ssh.Client {
	s.t.Helper()
	c, err := s.dialKey(s.keys[role])
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *doors) dialKey(key ssh.Signer) (*ssh.Client, error) {
	c, err := ssh.Dial("tcp", s.tcp, &ssh.ClientConfig{
		User: "anybody", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second, //nolint:gosec // it is this test's own
	})
	if err == nil {
		s.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// exec runs a command over SSH.
func (s *doors) exec(c *ssh.Client, line string) (exit int, out string) {
	s.t.Helper()
	session, err := c.NewSession()
	if err != nil {
		s.t.Fatal(err)
	}
	defer session.Close()
	var o, e bytes.Buffer
	session.Stdout, session.Stderr = &o, &e
	err = session.Run(line)
	var failed *ssh.ExitError
	if err != nil && !errors.As(err, &failed) {
		s.t.Fatalf("%s: %v", line, err)
	}
	if failed != nil {
		exit = failed.ExitStatus()
	}
	return exit, o.String() + e.String()
}

// heard waits until every switch has answered.
func (s *doors) heard() {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s.d.Engine().Snapshot().PoE.Complete {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("the switches do not answer")
		}
	}
}

// acts are the audit rows of somebody.
func (s *doors) acts(actor string) []engine.AuditRow {
	s.t.Helper()
	rows, err := s.d.Engine().Audit(s.t.Context(), 0, 10000)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []engine.AuditRow
	for _, r := range rows {
		if r.Actor == actor {
			list = append(list, r)
		}
	}
	return list
}

// TestARoleTakenIsGone lowers and removes an operator whose session is open.
func TestARoleTakenIsGone(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	s := openDoors(t)
	admin, operator := s.dial(engine.RoleAdmin), s.dial(engine.RoleOperator)
	on := "pi on " + s.pis[0] + " --reason test"
	s.heard()
	if exit, out := s.exec(operator, on); exit != 0 {
		t.Fatalf("an operator's %q: exit %d, %s", on, exit, out)
	}
	if rows := s.acts("operator"); len(rows) != 1 || rows[0].Verb != "on" || rows[0].Reason != "test" || !strings.HasPrefix(rows[0].Key, "SHA256:") {
		t.Errorf("audit %+v", rows)
	}
	if exit, out := s.exec(admin, "operator set operator --role viewer"); exit != 0 {
		t.Fatalf("exit %d, %s", exit, out)
	}
	if exit, out := s.exec(operator, "pi broken "+s.pis[0]+" --yes --confirm "+s.pis[0]); exit != 1 || !strings.Contains(out, "may not") {
		t.Errorf("a role that was taken: exit %d, %s", exit, out)
	}
	if exit, out := s.exec(admin, "operator remove operator --yes"); exit != 0 {
		t.Fatalf("exit %d, %s", exit, out)
	}
	gone := make(chan error, 1)
	go func() { gone <- operator.Wait() }()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the session of a removed operator goes on")
	}
	if _, err := net.Dial("unix", s.socket); err != nil {
		t.Errorf("the socket: %v", err)
	}
}
