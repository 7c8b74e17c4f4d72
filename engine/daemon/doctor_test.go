package daemon

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/doctor"
)

// freeUDP returns a port that nobody has a moment later.
func freeUDP(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// The doctor knows a service that runs by its socket, and finds its ports with
// it; and the service shows what it finds when it examines itself, until it is
// mended.
func TestDoctorOfService(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Rack, cfg.State = "A3", filepath.Join(dir, "state")
	cfg.Console = config.Console{Socket: filepath.Join(dir, "sock")}
	cfg.HTTP.Listen = netip.AddrPort{}
	cfg.DHCP.Port, cfg.DHCP.ClientPort, cfg.DHCP.Reply, cfg.DHCP.Device = freeUDP(t), freeUDP(t), config.ReplyUnicast, "lo"
	cfg.TFTP.Port, cfg.NFS.Port, cfg.NFS.Driver = freeUDP(t), 0, config.NFSDemo
	cfg.Switches = []config.Switch{deaf("sw1")}
	cfg.Segments = []config.Segment{{Name: "a3-001", Interface: "lo", Address: netip.MustParsePrefix("127.64.0.1/30"), Switch: "sw1", Port: 1}}
	cfg.Images = []config.Image{{Name: config.BuiltinImage}}
	d, err := Open(t.Context(), Options{Config: cfg, Speed: 1, Volatile: true, Door: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	env, done, err := DoctorEnv(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	r := doctor.Examine(t.Context(), env, func(c doctor.Check) bool { return c.Group != "switches" })
	held := 0
	for _, f := range r.Findings {
		if f.Check == "ports" && strings.HasPrefix(f.Text, "picloud has it for ") {
			held++
		}
		if f.Level == doctor.Failure {
			t.Errorf("%+v", f)
		}
	}
	if held != 2 || !r.Serving {
		t.Errorf("the service has %d of its ports, serving %v: %+v", held, r.Serving, r.Findings)
	}

	key := filepath.Join(cfg.State, "host_ed25519")
	for _, c := range []struct {
		mode  os.FileMode
		shown bool
	}{{0o644, true}, {0o600, false}} {
		if err := os.Chmod(key, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := d.examineOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitWarnings(t, d.engine, func(w []string) bool {
			return c.shown == slices.ContainsFunc(w, func(line string) bool {
				return strings.Contains(line, "others may read") && strings.Contains(line, "chmod 600")
			})
		})
	}
}

func awaitWarnings(t *testing.T, e *engine.Engine, want func([]string) bool) {
	t.Helper()
	snapshots, cancel := e.Subscribe()
	defer cancel()
	late := time.After(20 * time.Second)
	for {
		select {
		case s := <-snapshots:
			if want(s.Warnings) {
				return
			}
		case <-late:
			t.Fatalf("warnings %q", e.Snapshot().Warnings)
		}
	}
}
