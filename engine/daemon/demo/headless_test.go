package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// Every Pi that the summary counts has its line, the last one too.
func TestHeadlessWritesWhatItCounts(t *testing.T) {
	var out bytes.Buffer
	h := Headless{Options: Options{Seed: 3, Pis: 4, Speed: 20}, JSON: true, For: time.Minute, Out: &out}
	sum, err := h.Run(t.Context())
	if err != nil || !sum.AllUp() {
		t.Fatalf("%+v, %v\n%s", sum, err, out.String())
	}
	last := map[string]string{}
	for dec := json.NewDecoder(&out); dec.More(); {
		var l line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Pi != "" {
			last[l.Pi] = l.Stage
		}
	}
	for pi, stage := range last {
		if stage != "up" {
			t.Errorf("the last line of %s says %s", pi, stage)
		}
	}
	if len(last) != sum.Pis {
		t.Errorf("%d Pis have lines, want %d", len(last), sum.Pis)
	}
}

// A headless run with an API says first where it is and with which key, and goes
// on when every Pi is up.
func TestHeadlessWithAnAPI(t *testing.T) {
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := Headless{Options: Options{Seed: 3, Pis: 3, Speed: 40, API: netip.MustParseAddrPort("127.0.0.1:0")}, JSON: true, Out: write}
	done := make(chan error, 1)
	go func() {
		_, err := h.Run(ctx)
		done <- err
		write.Close()
	}()
	lines := json.NewDecoder(read)
	var first struct{ API Customer }
	if err := lines.Decode(&first); err != nil || first.API.URL == "" || first.API.Secret == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	up := map[string]bool{}
	for len(up) < 3 {
		var l line
		if err := lines.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Stage == "up" {
			up[l.Pi] = true
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, first.API.URL+"/v1/account", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(first.API.Key, first.API.Secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
