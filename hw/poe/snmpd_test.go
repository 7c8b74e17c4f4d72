package poe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// passPersist makes the test binary the helper of snmpd that serves
// POWER-ETHERNET-MIB.
const passPersist = "PICLOUD_TEST_PASS_PERSIST"

func TestMain(m *testing.M) {
	if os.Getenv(passPersist) != "" {
		servePassPersist(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// servePassPersist speaks the pass_persist protocol of snmpd.conf(5) for a
// table of four ports; nothing hangs on the fourth.
func servePassPersist(in io.Reader, out io.Writer) {
	const ports = 4
	admin := [ports + 1]int{0, 1, 1, 2, 1}
	value := func(oid string) (string, bool) {
		var column, port int
		n, err := fmt.Sscanf(oid, ".1.3.6.1.2.1.105.1.1.1.%d.1.%d", &column, &port)
		if n == 2 && err == nil && port >= 1 && port <= ports {
			switch {
			case column == 3:
				return fmt.Sprintf("integer\n%d", admin[port]), true
			case column == 6 && admin[port] == 2:
				return "integer\n1", true
			case column == 6 && port == ports:
				return "integer\n2", true
			case column == 6:
				return "integer\n3", true
			case column == 10:
				return "integer\n5", true
			case column >= 12:
				return "counter\n0", true
			}
		}
		switch oid {
		case ".1.3.6.1.2.1.105.1.3.1.1.2.1":
			return "gauge\n370", true
		case ".1.3.6.1.2.1.105.1.3.1.1.3.1":
			return "integer\n1", true
		case ".1.3.6.1.2.1.105.1.3.1.1.4.1":
			return "gauge\n16", true
		}
		return "", false
	}
	var oids [][]uint32
	add := func(format string, a ...any) {
		oid, err := parseOID(fmt.Sprintf(format, a...))
		if err != nil {
			panic(err)
		}
		oids = append(oids, oid)
	}
	for _, column := range []int{3, 6, 10, 12, 13, 14} {
		for port := 1; port <= ports; port++ {
			add(".1.3.6.1.2.1.105.1.1.1.%d.1.%d", column, port)
		}
	}
	for column := 2; column <= 4; column++ {
		add(".1.3.6.1.2.1.105.1.3.1.1.%d.1", column)
	}
	lines := bufio.NewScanner(in)
	line := func() string { lines.Scan(); return lines.Text() }
	answer := func(oid string) {
		if v, ok := value(oid); ok {
			fmt.Fprintf(out, "%s\n%s\n", oid, v)
			return
		}
		fmt.Fprintln(out, "NONE")
	}
	for lines.Scan() {
		switch lines.Text() {
		case "PING":
			fmt.Fprintln(out, "PONG")
		case "get":
			answer(line())
		case "getnext":
			after, _ := parseOID(line())
			i := slices.IndexFunc(oids, func(o []uint32) bool { return slices.Compare(o, after) > 0 })
			if i < 0 {
				fmt.Fprintln(out, "NONE")
				continue
			}
			answer(formatOID(oids[i]))
		case "set":
			oid, typed := line(), line()
			var port, n int
			if _, err := fmt.Sscanf(oid, ".1.3.6.1.2.1.105.1.1.1.3.1.%d", &port); err != nil || port < 1 || port > ports {
				fmt.Fprintln(out, "not-writable")
				continue
			}
			if _, err := fmt.Sscanf(typed, "integer %d", &n); err != nil || n < 1 || n > 2 {
				fmt.Fprintln(out, "wrong-value")
				continue
			}
			admin[port] = n
			fmt.Fprintln(out, "DONE")
		}
	}
}

// snmpd is a private agent of Net-SNMP on loopback.
type snmpd struct {
	path, dir string
	addr      netip.AddrPort
	cmd       *exec.Cmd
	log       bytes.Buffer
}

const snmpdConf = `rocommunity public 127.0.0.1
rwcommunity private 127.0.0.1
createUser sha SHA "auth-passphrase" AES "priv-passphrase"
createUser sha256 SHA-256 "auth-passphrase" AES "priv-passphrase"
createUser md5des MD5 "auth-passphrase" DES "priv-passphrase"
createUser authonly SHA "auth-passphrase"
createUser reader SHA "auth-passphrase" AES "priv-passphrase"
rwuser sha priv
rwuser sha256 priv
rwuser md5des priv
rwuser authonly auth
rouser reader priv
pass_persist .1.3.6.1.2.1.105 %s
`

// newSNMPD starts one, or skips the test where there is none; in CI there has
// to be one.
func newSNMPD(t *testing.T) *snmpd {
	t.Helper()
	path, err := exec.LookPath("snmpd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/snmpd")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("snmpd is missing, and CI must not skip: apt-get install snmpd")
		}
		t.Skip("snmpd is missing: apt-get install snmpd")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &snmpd{path: path, dir: t.TempDir(), addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	conf := filepath.Join(s.dir, "snmpd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, snmpdConf, self), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *snmpd) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(s.path, "-f", "-C", "-c", filepath.Join(s.dir, "snmpd.conf"), "-Le", "udp:"+s.addr.String())
	s.cmd.Env = append(os.Environ(), passPersist+"=1", "SNMP_PERSISTENT_DIR="+filepath.Join(s.dir, "state"), "SNMPCONFPATH="+s.dir, "MIBS=")
	s.cmd.Stderr = &s.log
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := s.cmd
	t.Cleanup(func() { s.stop(cmd) })
	d := s.driver(t, Config{Community: "public", Timeout: 100 * time.Millisecond})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, err := d.Read(ctx, 1)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.stop(cmd)
			t.Fatalf("snmpd does not answer: %v\n%s", err, s.log.String())
		}
	}
}

func (s *snmpd) stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

// driver is a driver of the agent; the loopback interface is the link of port 1.
func (s *snmpd) driver(t *testing.T, cfg Config) *SNMP {
	t.Helper()
	cfg.Name, cfg.Addr = "snmpd", s.addr
	cfg.Ports = []PortIndex{{Number: 1, IfIndex: 1}, {Number: 2}, {Number: 3}, {Number: 4}}
	orDefault(&cfg.Timeout, 500*time.Millisecond)
	cfg.MinOff, cfg.ReadBack = time.Millisecond, 10*time.Millisecond
	cfg.OnLimit, cfg.OffLimit = 200*time.Millisecond, 200*time.Millisecond
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func user(name, auth, priv string) Config {
	u := User{Name: name, Auth: auth, AuthSecret: "auth-passphrase", Priv: priv}
	if priv != "" {
		u.PrivSecret = "priv-passphrase"
	}
	return Config{Version: V3, User: u}
}

func TestNetSNMP(t *testing.T) {
	agent := newSNMPD(t)
	agent.start(t)
	for name, cfg := range map[string]Config{
		"v2c":               {Community: "private"},
		"v3 SHA AES":        user("sha", "SHA", "AES"),
		"v3 SHA-256 AES":    user("sha256", "SHA-256", "AES"),
		"v3 MD5 DES":        user("md5des", "MD5", "DES"),
		"v3 SHA no privacy": user("authonly", "SHA", ""),
	} {
		t.Run(name, func(t *testing.T) {
			d := agent.driver(t, cfg)
			r, err := d.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p := r.Ports[0]
			if !p.On() || p.Class != 4 || p.Link != LinkUp || p.HasWatts || r.Uptime <= 0 || !strings.Contains(r.SysDescr, "Linux") {
				t.Errorf("reading %+v", r)
			}
			if want := (PSE{1, 370, 16, PSEOn}); len(r.PSE) != 1 || r.PSE[0] != want {
				t.Errorf("PSE %+v, want %+v", r.PSE, want)
			}
			for _, on := range []bool{false, true} {
				if s, err := d.SetPower(t.Context(), 2, on); err != nil || s.On() != on {
					t.Errorf("SetPower(%v): %+v, %v", on, s, err)
				}
			}
			if _, err := d.SetPower(t.Context(), 4, true); !errors.Is(err, ErrNoLoad) {
				t.Errorf("SetPower of an empty port: %v", err)
			}
		})
	}
	for name, test := range map[string]struct {
		cfg  Config
		want error
	}{
		"v2c read only":        {Config{Community: "public"}, ErrRefused},
		"v2c unknown":          {Config{Community: "guess", Retries: -1, Timeout: 100 * time.Millisecond}, ErrNoAnswer},
		"v3 read only":         {user("reader", "SHA", "AES"), ErrRefused},
		"v3 unknown user":      {user("nobody", "SHA", "AES"), ErrAuth},
		"v3 wrong protocol":    {user("sha", "SHA-256", "AES"), ErrAuth},
		"v3 privacy missing":   {user("sha", "SHA", ""), ErrRefused},
		"v3 privacy not there": {user("authonly", "SHA", "AES"), ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := agent.driver(t, test.cfg).SetPower(t.Context(), 2, false)
			if !errors.Is(err, test.want) || s.Err == nil {
				t.Errorf("SetPower: %+v, %v, want %v", s, err, test.want)
			}
			if Hint(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

// TestNetSNMPDiscover finds the ports by walking.
func TestNetSNMPDiscover(t *testing.T) {
	agent := newSNMPD(t)
	agent.start(t)
	d := agent.driver(t, user("sha", "SHA", "AES"))
	found, err := d.Discover(t.Context())
	if err != nil || len(found) != 4 || found[3].Port != 4 || found[3].Group != 1 || found[3].Number != 4 {
		t.Fatalf("Discover: %+v, %v", found, err)
	}
	if entries, err := d.FDB(t.Context()); err != nil || len(entries) != 0 {
		t.Fatalf("FDB of a host without a bridge: %+v, %v", entries, err)
	}
}

// TestNetSNMPRestart restarts the agent, as a switch restarts: the engine's
// boots and time jump, and the same driver goes on.
func TestNetSNMPRestart(t *testing.T) {
	agent := newSNMPD(t)
	agent.start(t)
	d := agent.driver(t, user("sha", "SHA", "AES"))
	first, err := d.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent.stop(agent.cmd)
	gone, err := d.Poll(t.Context())
	if !errors.Is(err, ErrNoAnswer) || !gone.Answered.Equal(first.Answered) || gone.Ports[0].Detection != DetectionUnknown {
		t.Fatalf("Poll of an agent that is gone: %+v, %v", gone, err)
	}
	agent.start(t)
	again, err := d.Poll(t.Context())
	if err != nil || !again.Answered.After(first.Answered) || !again.Ports[0].On() {
		t.Fatalf("Poll after the restart: %+v, %v", again, err)
	}
	if s, err := d.SetPower(t.Context(), 1, false); err != nil || s.On() {
		t.Fatalf("SetPower after the restart: %+v, %v", s, err)
	}
}

// TestNetSNMPRestartUnseen restarts the agent between two polls.
func TestNetSNMPRestartUnseen(t *testing.T) {
	agent := newSNMPD(t)
	agent.start(t)
	d := agent.driver(t, user("sha", "SHA", "AES"))
	if _, err := d.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	agent.stop(agent.cmd)
	agent.start(t)
	if r, err := d.Poll(t.Context()); err != nil || !r.Ports[0].On() {
		t.Fatalf("Poll after the restart: %+v, %v", r, err)
	}
}
