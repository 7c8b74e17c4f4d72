package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
)

// monitored is a service of a few simulated Pis; it ends with the test. url is
// where monitoring asks.
func monitored(t *testing.T, pis int) (d *daemon.Daemon, url string) {
	t.Helper()
	d, cfg := simulated(t, pis)
	return d, "http://" + cfg.HTTP.Listen.String()
}

// simulated is monitored with the configuration that it was started with.
func simulated(t *testing.T, pis int) (*daemon.Daemon, *config.Config) {
	t.Helper()
	const speed = 20
	rack, err := sim.New(sim.Config{Seed: 3, Pis: pis, Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	client, err := demo.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := demo.Configure(rack.Inventory(), filepath.Join(dir, "state"), speed, client)
	cfg.Console.Socket = filepath.Join(dir, "socket")
	cfg.HTTP.Listen = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	cfg.API.Listen = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	d, err := daemon.Open(t.Context(), daemon.Options{
		Config: cfg, Speed: speed, Volatile: true, Door: true, Version: "1.2.3", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ports := d.Ports()
	if err := rack.SetPorts(sim.Ports{
		DHCPServer: ports.DHCP, DHCPClient: client.DHCP, TFTP: ports.TFTP, NFS: ports.NFS, SSH: client.SSH,
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- d.Run(ctx) }()
	go func() { ended <- rack.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return d, cfg
}

func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// Simulated Pis boot, and monitoring is told so.
func TestMonitoring(t *testing.T) {
	const pis = 3
	d, url := monitored(t, pis)
	text := ""
	up := fmt.Sprintf("picloud_pis{stage=\"up\"} %d\n", pis)
	for end := time.Now().Add(60 * time.Second); !strings.Contains(text, up); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s\n%s", up, text)
		}
		_, text = ask(t, url+"/metrics")
	}
	if code, body := ask(t, d.APIURL()+"/docs"); code != http.StatusOK {
		t.Errorf("the API: %d\n%s", code, body)
	}
	_, err := d.Engine().Serve(t.Context(), engine.ServerCommand{
		Verb: engine.ServerOrder, Actor: engine.Actor{Name: "test", Role: engine.RoleOperator}, Account: "nobody",
	})
	if !errors.Is(err, engine.ErrNoSuchAccount) {
		t.Error(err)
	}
	_, text = ask(t, url+"/metrics")
	for _, want := range []string{
		"picloud_api_requests_total{code=\"200\",route=\"GET /docs\"} 1\n", "picloud_orders_total{result=\"account\"} 1\n",
		"picloud_servers{state=\"live\"} 0\n", "picloud_accounts{state=\"open\"} 0\n",
		fmt.Sprintf("picloud_boots_ended_total{result=\"up\"} %d\n", pis),
		fmt.Sprintf("picloud_boot_seconds_count %d\n", pis),
		fmt.Sprintf("picloud_jobs_ended_total{result=\"done\",verb=\"deploy\"} %d\n", pis),
		"picloud_switch_up{switch=\"sw1\"} 1\n", "picloud_ready 1\n", "picloud_build_info{", "version=\"1.2.3\"",
		"picloud_backup_timestamp_seconds 0\n", "picloud_sessions{kind=\"console\"} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q", want)
		}
	}
	for _, none := range []string{
		"picloud_dhcp_replies_total{type=\"offer\"} 0\n", "picloud_tftp_bytes_total 0\n", "picloud_store_save_seconds_count 0\n",
		"picloud_observations_total{kind=\"nfs\"} 0\n",
	} {
		if strings.Contains(text, none) {
			t.Errorf("nothing was counted: %s", none)
		}
	}
	for path, want := range map[string]string{
		"/healthz": "ok: engine: its loop came round", "/readyz": "ok: nfs: answers\n",
	} {
		if code, body := ask(t, url+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d\n%s", path, code, body)
		}
	}
}
