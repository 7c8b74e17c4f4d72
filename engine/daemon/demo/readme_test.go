package demo

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// TestReadmeOrders runs the README's example of an order as it is written there,
// but for the address and the folder.
func TestReadmeOrders(t *testing.T) {
	state := filepath.Join(t.TempDir(), "rack")
	d, err := Open(t.Context(), Options{Seed: 4, Pis: 12, Speed: 40, State: state, API: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	c, err := d.Customer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(c.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if again, err := d.Customer(ctx); err != nil || again != c {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if strings.Contains(c.String(), c.Secret) {
		t.Errorf("it says the secret: %s", c)
	}
	await(t, d.Engine(), "all up", func(s *engine.Snapshot) bool { return s.Counts.Up == 12 })

	limit, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	sh := exec.CommandContext(limit, "bash", "-euo", "pipefail", "-c", readmeBlock(t, d.APIURL()))
	sh.Dir = filepath.Dir(state)
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"HTTP/1.1 202 Accepted", "Location: " + d.APIURL() + "/beta/queue/pi/", `"status":"live"`, `"currency":"GBP"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if list := d.Engine().Servers(customerAccount); len(list) != 0 {
		t.Errorf("servers: %+v", list)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// readmeBlock is the README's block of commands that orders.
func readmeBlock(t *testing.T, url string) string {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "```") {
		if commands, ok := strings.CutPrefix(block, "sh\nweb1="); ok {
			return strings.ReplaceAll("web1="+commands, "http://127.0.0.1:8443", url)
		}
	}
	t.Fatal("the README has no example of an order")
	return ""
}
