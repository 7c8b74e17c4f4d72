package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/engine/config"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
)

// run types a command with no service at the socket.
func run(t *testing.T, args ...string) (exit int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	p := Program{
		In: os.Stdin, Out: &o, Err: &e, Version: "1.2.3",
		Env: []string{socketVariable + "=" + filepath.Join(t.TempDir(), "none")},
	}
	exit = p.Run(t.Context(), args)
	return exit, o.String(), e.String()
}

// Each mistake has its exit code and a line that says what to do; none is a
// panic, and help is never one.
func TestRun(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "rack.toml")
	if err := os.WriteFile(bad, []byte("rack = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := goodConfig(t)
	for _, c := range []struct {
		args string
		exit int
		out  string // in standard output
		err  string // in standard error
	}{
		{"help", 0, "restore", ""},
		{"--help", 0, "picloud COMMAND", ""},
		{"pi --help", 0, "reimage", ""},
		{"pi reimage --help", 0, "--confirm", ""},
		{"image --help", 0, "remove", ""},
		{"demo -h", 0, "--headless", ""},
		{"version", 0, "picloud 1.2.3", ""},
		{"config template", 0, "[[segment]]", ""},
		{"metrics dashboard --json", 0, `"uid": "picloud"`, ""},
		{"metrics dashboard", 0, `"uid": "picloud"`, ""},
		{"metrics alerts", 0, "PicloudPiStalled", ""},
		{"completion bash", 0, "complete", ""},
		{"man", 0, ".TH PICLOUD", ""},
		{"", 1, "", "the console needs a terminal"},
		{"pi list", 1, "", "no service is running"},
		{"pi cycle a3-001 --yes", 1, "", "no service is running"},
		{"image list", 1, "", "no service is running"},
		{"bogus", 2, "", `no command "picloud bogus"`},
		{"pi", 2, "", "say what to do"},
		{"serve extra", 2, "", `takes no "extra"`},
		{"serve --config " + bad, 1, "", "rack.toml:1"},
		{"serve --bogus", 2, "", "--bogus"},
		{"config check", 2, "", "FILE"},
		{"config check " + bad, 1, "", "rack.toml:1"},
		{"config check --json " + bad, 1, `"line": 1,`, ""},
		{"config check --json " + good, 0, `"ok": true`, ""},
		{"image list --json --config " + good, 0, `"images": []`, ""},
		{"serve --json", 2, "", "prints no JSON"},
		{"switch discover 127.0.0.1 --credentials x --json", 2, "", "prints no JSON"},
		{"help json", 0, "newest_good_backup", ""},
		{"help json", 0, "\ndoctor\n", ""},
		{"config check /nonexistent", 1, "", "nonexistent"},
		{"demo --for 3s", 2, "", "--headless"},
		{"demo --for -3s --headless", 2, "", "above 0"},
		{"demo --pis -1 --headless", 2, "", "demo"},
		{"demo --api here --headless", 2, "", "want an address and a port"},
		{"demo --api 0.0.0.0:8443 --headless", 2, "", "want a loopback address"},
		{"demo --fault nonsense --headless", 2, "", "nonsense"},
		{"image add one", 2, "", "NAME FILE"},
		{"image remove one --config " + good, 2, "", "--yes"},
		{"image remove one --yes --config " + good, 1, "", "no such image"},
		{"restore /nonexistent --config " + good, 1, "", "nonexistent"},
		{"backup --config " + bad, 2, "", "FILE"},
		{"doctor --config " + bad, 1, "rack.toml:1", ""},
		{"doctor --json --config " + bad, 1, `"failures": `, ""},
		{"doctor --config /nonexistent", 1, "picloud config template", ""},
		{"doctor --only nonsense", 2, "", "one of config, host"},
		{"doctor sw1", 2, "", `takes no "sw1"`},
		{"operator add eve --key /nonexistent", 1, "", "read the key"},
	} {
		t.Run(c.args, func(t *testing.T) {
			exit, out, errs := run(t, strings.Fields(c.args)...)
			if exit != c.exit || !strings.Contains(out, c.out) || !strings.Contains(errs, c.err) {
				t.Errorf("exit %d, want %d\n%s\n%s", exit, c.exit, out, errs)
			}
		})
	}
}

// goodConfig is the file of a configuration without mistakes.
func goodConfig(t *testing.T) string {
	t.Helper()
	rack, err := sim.New(sim.Config{Pis: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer rack.Close()
	dir := t.TempDir()
	cfg := demo.Configure(rack.Inventory(), filepath.Join(dir, "state"), 1, demo.ClientPorts{DHCP: 1068, SSH: 1022})
	for i := range cfg.Switches {
		sw := &cfg.Switches[i]
		sw.CredentialsFile = filepath.Join(dir, sw.Name+".secret")
		secret := fmt.Sprintf("read_community = %q\nwrite_community = %q\n", sw.Credentials.ReadCommunity, sw.Credentials.WriteCommunity)
		if err := os.WriteFile(sw.CredentialsFile, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "rack.toml")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cfg.Encode(file), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysAreReadHere(t *testing.T) {
	dir := t.TempDir()
	pub, private := filepath.Join(dir, "id.pub"), filepath.Join(dir, "id")
	for name, text := range map[string]string{pub: "ssh-ed25519 AAAA alice\n", private: "-----BEGIN OPENSSH PRIVATE KEY-----\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want string // joined; "" = refused
	}{
		{[]string{"operator", "add", "alice", "--key", pub}, "operator add alice --key ssh-ed25519 AAAA alice\n"},
		{[]string{"operator", "add", "alice", "--key=" + pub}, "operator add alice --key=ssh-ed25519 AAAA alice\n"},
		{[]string{"operator", "add", "alice", "--key", "ssh-ed25519 AAAA"}, "operator add alice --key ssh-ed25519 AAAA"},
		{[]string{"operator", "add", "alice", "--key", private}, ""},
		{[]string{"operator", "add", "alice", "--key", dir}, ""},
		{[]string{"order", "acme", "--key", pub}, "order acme --key ssh-ed25519 AAAA alice\n"},
		{[]string{"--json", "server", "keys", "web1", "--key=" + pub}, "--json server keys web1 --key=ssh-ed25519 AAAA alice\n"},
		{[]string{"server", "keys", "web1", "--key", private}, ""},
		{[]string{"pi", "list", "--key", private}, "pi list --key " + private},
	} {
		got, err := withKeys(c.args)
		if strings.Join(got, " ") != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.args, got, err)
		}
	}
}

// The socket of the default configuration is where the program looks.
func TestSocket(t *testing.T) {
	if got := (&Program{}).socket(); got != config.DefaultSocket {
		t.Errorf("socket %q", got)
	}
	if got := (&Program{Env: []string{socketVariable + "=/a", socketVariable + "=/b"}}).socket(); got != "/b" {
		t.Errorf("socket %q, want the last one", got)
	}
}
