package command

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/hw/sim/poeswitch"
)

// A switch on loopback is looked at, and what is printed is a configuration once
// the rack has a name.
func TestDiscover(t *testing.T) {
	sw, err := poeswitch.New(poeswitch.Config{
		Name: "rack-a3", Ports: 3, ReadCommunity: "public", VLAN: func(n int) int { return 100 + n }, IfIndexOffset: 10,
		Timing: poeswitch.Timing{Speed: 50},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sw.Serve(ctx, conn) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, err := range []error{
		sw.Attach(2, poeswitch.Device{Class: 4, Milliwatts: func() int { return 2500 }}), sw.SetLink(2, true),
		sw.Learn(2, net.HardwareAddr{0xb8, 0x27, 0xeb, 1, 2, 3}),
		sw.SetNeighbour(4, &poeswitch.Neighbour{Chassis: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Port: "Te1/7", SysName: "core1", Bridge: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(5 * time.Second); !sw.Delivering(2) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("read_community = \"public\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exit, out, errs := run(t, "switch", "discover", conn.LocalAddr().String(), "--credentials", secret, "--prefix", "a3", "--net", "10.65.0.0/24")
	if exit != 0 || errs != "" {
		t.Fatalf("exit %d: %s\n%s", exit, errs, out)
	}
	for _, want := range []string{
		`"gi1/0/4" leads to "Te1/7" of "core1"`, "delivers power, 2.5 W, class 4", "b8:27:eb:01:02:03, of a block of Raspberry Pis",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q in\n%s", want, out)
		}
	}
	cfg, problems := config.Read("proposal", strings.NewReader("rack = \"A3\"\n"+out), daemon.Known())
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, out)
	}
	two := cfg.Segments[1]
	if len(cfg.Segments) != 3 || cfg.Switches[0].Name != "rack-a3" || cfg.Switches[0].Profile != "cisco-smb" ||
		cfg.Switches[0].CredentialsFile != secret || cfg.Switches[0].Ports != 3 || len(cfg.Switches[0].Overrides) != 3 ||
		cfg.Switches[0].Overrides[1].IfIndex != 12 {
		t.Errorf("%+v\n%+v", cfg.Switches, cfg.Segments)
	}
	if two.Name != "a3-002" || two.Interface != "eth0.102" || two.Address.String() != "10.65.0.5/30" || two.Port != 2 ||
		two.MAC.String() != "b8:27:eb:01:02:03" {
		t.Errorf("%+v", two)
	}
	for args, want := range map[string]string{
		"core1 --credentials " + secret:        "no IP address",
		"127.0.0.1":                            "credentials",
		"127.0.0.1 --credentials /nonexistent": "/nonexistent",
		conn.LocalAddr().String() + " --net nonsense --credentials " + secret:     "--net",
		conn.LocalAddr().String() + " --net 10.0.0.0/30 --credentials " + secret:  "no room",
		conn.LocalAddr().String() + " --profile nonsense --credentials " + secret: "unknown profile",
	} {
		exit, out, errs := run(t, append([]string{"switch", "discover"}, strings.Fields(args)...)...)
		if exit == 0 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q, want %q", args, exit, errs, want)
		}
	}
}
