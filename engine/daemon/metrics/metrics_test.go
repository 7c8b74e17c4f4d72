package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"picloud/engine"
	"picloud/netboot/dhcp"
	"picloud/netboot/tftp"
)

// evil is what a customer may have written; none of it may be told.
const evil = "evil\"} 1\n\x1b[31m"

// small is a rack of Pis, two of them rented and one free, and two switches, one
// silent.
func small() *engine.Snapshot {
	return &engine.Snapshot{
		At: time.Unix(1000, 0), Rack: "a3", Dropped: 7,
		Switches: []engine.SwitchView{
			{Name: "sw1", Ports: 8, Answered: time.Unix(990, 0), Uptime: time.Hour, Milliwatts: 5100, BudgetWatts: 370, Description: evil},
			{Name: "sw2", Ports: 8, Err: evil},
		},
		Pis: []engine.PiView{
			{
				Name: "a3-001", Port: engine.PortID{Switch: "sw1", Port: 3}, Model: engine.Model4B, Life: engine.LifeLive,
				Stage: engine.StageUp, Milliwatts: 2500, HasWatts: true, Server: evil, Owner: evil, Note: evil,
				NFS:   engine.NFSSeen{Connected: true, Retransmits: 4, BytesIn: 10, BytesOut: 20, RTT: time.Millisecond},
				NFSAt: time.Unix(999, 0),
				Rent:  engine.Rent{State: engine.ServerLive, Price: 850, DiskGB: 20},
			},
			{Name: "a3-002", Port: engine.PortID{Switch: "sw2", Port: 1}, Life: engine.LifeReady, Stage: engine.StageUnknown, HasWatts: true},
			{Name: "a3-003", Port: engine.PortID{Switch: "sw1", Port: 4}, Model: engine.Model3B, Life: engine.LifeReady, Stage: engine.StageOff, Free: true},
			{Name: "a3-004", Port: engine.PortID{Switch: "sw1", Port: 5}, Model: engine.Model3BPlus, Life: engine.LifeReady, Stage: engine.StageOff, Free: true},
			{Name: "a3-005", Port: engine.PortID{Switch: "sw1", Port: 6}, Model: engine.Model5, Life: engine.LifeBroken, Stage: engine.StageOff, Server: evil, Owner: evil},
		},
		Jobs: []engine.JobView{
			{ID: 1, Verb: "cycle", State: engine.JobRunning, Actor: evil},
			{ID: 2, Verb: "cycle", State: engine.JobDone},
		},
		Space:   engine.SpaceSeen{Pool: engine.PoolReading{Size: 100, Used: 91, Metadata: .5, NearlyFull: true}},
		SpaceAt: time.Unix(980, 0),
	}
}

func source(s *engine.Snapshot) Source {
	open := make(chan struct{})
	close(open)
	return Source{
		Snapshot: func() *engine.Snapshot { return s }, Turned: func() time.Time { return time.Unix(1001, 0) },
		Published: open, Sessions: func() (int, int) { return 2, 1 },
		Backup:   func() (time.Time, bool) { return time.Unix(500, 0), true },
		Accounts: func() *engine.Accounts { return &engine.Accounts{} },
		Rules: func() *engine.Rules {
			return &engine.Rules{Plans: []engine.Plan{{Spec: engine.Spec{Model: 3}, Month: 500}, {Spec: engine.Spec{Model: 4}, Month: 750}}}
		},
	}
}

// whole has every family of metrics.
func whole(t testing.TB, s *engine.Snapshot) *Metrics {
	t.Helper()
	m := New("1.2.3")
	if err := m.Follow(source(s)); err != nil {
		t.Fatal(err)
	}
	return m
}

func scrape(t testing.TB, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestRack(t *testing.T) {
	s := small()
	code, text := scrape(t, whole(t, s).Handler(source(s), nil), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, want := range []string{
		`picloud_pis{stage="up"} 1`,
		`picloud_pis{stage="stalled"} 0`,
		`picloud_pis_by_life{life="live"} 1`,
		`picloud_pi_info{model="4B",pi="a3-001",port="3",switch="sw1"} 1`,
		`picloud_pi_stage{pi="a3-002",stage="unknown"} 1`,
		`picloud_pi_nfs_rtt_seconds{pi="a3-001"} 0.001`,
		`picloud_nfs_retransmits_total{pi="a3-001"} 4`,
		`picloud_poe_watts{port="3",switch="sw1"} 2.5`,
		`picloud_switch_up{switch="sw2"} 0`,
		`picloud_switch_answered_timestamp_seconds{switch="sw1"} 990`,
		`picloud_switch_poe_budget_watts{switch="sw1"} 370`,
		`picloud_jobs{state="running",verb="cycle"} 1`,
		`picloud_servers{state="live"} 1`,
		`picloud_servers{state="configured"} 1`,
		`picloud_servers{state="releasing"} 0`,
		`picloud_servers_month_gbp 8.5`,
		`picloud_pis_for_order{memory_mb="1024",model="3"} 2`,
		`picloud_pis_for_order{memory_mb="1024",model="4"} 0`,
		`picloud_accounts{state="open"} 0`,
		`picloud_orders_total{result="none_free"} 0`,
		`picloud_notices_total{kind="server.failed"} 0`,
		`picloud_pool_nearly_full 1`,
		`picloud_observations_dropped_total 7`,
		`picloud_sessions{kind="console"} 2`,
		`picloud_backup_timestamp_seconds 500`,
		`picloud_ready 1`,
		`version="1.2.3"`,
		`go_goroutines `,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, no := range []string{
		"evil", `picloud_poe_watts{port="1",switch="sw2"}`, `picloud_switch_poe_watts{switch="sw2"}`,
		`picloud_pis_for_order{memory_mb="1024",model="5"}`,
		`state="done"`, `picloud_switch_answered_timestamp_seconds{switch="sw2"}`,
	} {
		if strings.Contains(text, no) {
			t.Errorf("tells %s", no)
		}
	}
}

// TestNames: the names and helps follow Prometheus' own rules.
func TestNames(t *testing.T) {
	problems, err := testutil.GatherAndLint(whole(t, small()).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFiles: the dashboard is JSON, and every metric that it and the alerts name
// is told, with the labels that they name.
func TestFiles(t *testing.T) {
	m := whole(t, small())
	m.Answered("", 404, 0) // its labels are there with the first request
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known, labels := map[string]bool{"up": true}, map[string]bool{"job": true, "le": true}
	for _, f := range families {
		known[f.GetName()] = true
		if len(f.GetMetric()) > 0 && f.GetMetric()[0].GetHistogram() != nil {
			known[f.GetName()+"_bucket"] = true
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
	}
	var board struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(Dashboard(), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID != "picloud" || len(board.Panels) < 10 {
		t.Errorf("dashboard %q of %d panels", board.UID, len(board.Panels))
	}
	name := regexp.MustCompile(`\b(?:picloud|process|go)_[a-z0-9_]+`)
	label := regexp.MustCompile(`([a-z_]+)!?=~?"|\{\{ ?(?:\$labels\.)?([a-z_]+) ?\}\}`)
	check := func(where, text string) {
		for _, n := range name.FindAllString(text, -1) {
			if !known[n] {
				t.Errorf("%s names %s, which is not told", where, n)
			}
		}
		for _, l := range label.FindAllStringSubmatch(text, -1) {
			if n := l[1] + l[2]; !labels[n] {
				t.Errorf("%s names the label %s, which nothing has", where, n)
			}
		}
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: its number is there twice, or it shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
	check("alerts", string(Alerts()))
}

// promtool finds Prometheus' checker, Debian's package prometheus; in CI it has
// to be there.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("promtool is not installed: apt-get install prometheus")
	}
	if err != nil {
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	return path
}

func TestPromtoolTakesTheAlerts(t *testing.T) {
	tool := promtool(t)
	file := filepath.Join(t.TempDir(), "alerts.yml")
	if err := os.WriteFile(file, Alerts(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestAlertsFire runs testdata/alerts_test.yml: each alert comes when it should
// and not before.
func TestAlertsFire(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), promtool(t), "test", "rules", "testdata/alerts_test.yml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestPromtoolTakesTheMetrics: Prometheus' own reading of the text.
func TestPromtoolTakesTheMetrics(t *testing.T) {
	tool := promtool(t)
	s := small()
	_, text := scrape(t, whole(t, s).Handler(source(s), nil), "/metrics")
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	// The names of Go's own collectors are not ours to choose.
	var ours strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "picloud_") {
			ours.WriteString(line)
		}
	}
	cmd.Stdin = strings.NewReader(ours.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestServersAreCounted(t *testing.T) {
	m := New("")
	for _, e := range []dhcp.Event{
		{Kind: dhcp.KindDiscover}, {Kind: dhcp.KindDiscover}, {Kind: dhcp.KindOffer}, {Kind: dhcp.KindUnknownPi},
		{Kind: dhcp.KindIgnored, Reason: dhcp.ReasonFlood, Count: 40},
		{Kind: dhcp.KindFailed, Reason: dhcp.ReasonBusy}, {Kind: dhcp.KindFailed, Reason: evil}, {Kind: 99},
	} {
		m.DHCP(e)
	}
	for _, e := range []tftp.Event{
		{Kind: tftp.Started, Name: evil}, {Kind: tftp.Served, Name: evil, Bytes: 100}, {Kind: tftp.NotFound, Name: evil},
		{Kind: tftp.Failed, Bytes: 5, Err: fmt.Errorf("%s: %w", evil, tftp.ErrNoAnswer)},
		{Kind: tftp.Refused, Err: errors.New(evil)}, {Kind: evil},
	} {
		m.TFTP(e)
	}
	for _, o := range []engine.Observation{{DHCP: &engine.DHCPSeen{}}, {Switch: &engine.SwitchReading{}}, {}} {
		m.Observed(o)
	}
	for what, got := range map[string]struct{ have, want float64 }{
		"discover":     {testutil.ToFloat64(m.dhcp.requests.WithLabelValues("discover")), 2},
		"unknown":      {testutil.ToFloat64(m.dhcp.requests.WithLabelValues("unknown_pi")), 1},
		"flood":        {testutil.ToFloat64(m.dhcp.requests.WithLabelValues("ignored")), 40},
		"offer":        {testutil.ToFloat64(m.dhcp.replies.WithLabelValues("offer")), 1},
		"busy":         {testutil.ToFloat64(m.dhcp.failures.WithLabelValues("busy")), 1},
		"other":        {testutil.ToFloat64(m.dhcp.failures.WithLabelValues("other")), 1},
		"served":       {testutil.ToFloat64(m.tftp.requests.WithLabelValues("served")), 1},
		"bytes":        {testutil.ToFloat64(m.tftp.bytes), 105},
		"no answer":    {testutil.ToFloat64(m.tftp.errors.WithLabelValues("no_answer")), 1},
		"other error":  {testutil.ToFloat64(m.tftp.errors.WithLabelValues("other")), 1},
		"observations": {testutil.ToFloat64(m.seen.WithLabelValues("dhcp")), 1},
	} {
		if got.have != got.want {
			t.Errorf("%s: %v, want %v", what, got.have, got.want)
		}
	}
	if text := gathered(t, m); strings.Contains(text, "evil") {
		t.Errorf("tells what came from the network:\n%s", text)
	}
}

func gathered(t *testing.T, m *Metrics) string {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// keeper takes changes, or does not.
type keeper struct {
	engine.Inventory
	err error
}

func (k *keeper) Save(context.Context, engine.Changes) error { return k.err }

func TestStoredIsCounted(t *testing.T) {
	m, k := New(""), &keeper{}
	inv := m.Inventory(k)
	begin := time.Unix(1000, 0)
	boot := func(id int64, up time.Duration) engine.Boot {
		b := engine.Boot{ID: id, Pi: "a3-001", Started: begin}
		if up > 0 {
			b.Up = begin.Add(up)
		}
		return b
	}
	save := func(c engine.Changes) {
		t.Helper()
		if err := inv.Save(t.Context(), c); !errors.Is(err, k.err) {
			t.Fatal(err)
		}
	}
	// A Pi that was on when the service started has not booted.
	save(engine.Changes{
		Boots:  []engine.Boot{boot(1, 0)},
		Events: []engine.BootLine{{Boot: 1, BootEvent: engine.BootEvent{Evidence: engine.FoundOn}}},
	})
	save(engine.Changes{Boots: []engine.Boot{boot(1, time.Second)}})
	if n := testutil.ToFloat64(m.boots.started); n != 0 {
		t.Errorf("%v started before any did", n)
	}
	// One that never comes up, and one that does, and is stored again.
	save(engine.Changes{Boots: []engine.Boot{boot(2, 0)}})
	save(engine.Changes{Boots: []engine.Boot{boot(3, 0), boot(3, 42*time.Second)}})
	save(engine.Changes{Boots: []engine.Boot{boot(3, 42*time.Second)}})
	// A store that fails is given the same again.
	k.err = errors.New("disk full")
	end := engine.Job{ID: 9, Verb: "cycle", State: engine.JobDone, Created: begin, Ended: begin.Add(time.Minute)}
	save(engine.Changes{Boots: []engine.Boot{boot(4, 0)}, Jobs: []engine.Job{end}})
	if m.store.takes() == nil {
		t.Error("the store is said to take what it does not")
	}
	k.err = nil
	save(engine.Changes{Boots: []engine.Boot{boot(4, 0)}, Jobs: []engine.Job{{ID: 9, Verb: "cycle", State: engine.JobRunning}, end, end}})
	if err := m.store.takes(); err != nil {
		t.Error(err)
	}
	save(engine.Changes{RemovePis: []engine.PiName{"a3-001"}})
	for what, got := range map[string]struct{ have, want float64 }{
		"started":  {testutil.ToFloat64(m.boots.started), 3},
		"up":       {testutil.ToFloat64(m.boots.ended.WithLabelValues("up")), 1},
		"given up": {testutil.ToFloat64(m.boots.ended.WithLabelValues("given_up")), 1},
		"jobs":     {testutil.ToFloat64(m.jobs.ended.WithLabelValues("cycle", "done")), 1},
		"errors":   {testutil.ToFloat64(m.store.errors), 1},
		"kept":     {float64(len(m.boots.last)), 0},
	} {
		if got.have != got.want {
			t.Errorf("%s: %v, want %v", what, got.have, got.want)
		}
	}
	if text := gathered(t, m); !strings.Contains(text, `sample_sum:42 `) {
		t.Error("no boot of 42 s in the histogram")
	}
}

func TestOrdersAreCounted(t *testing.T) {
	m := New("")
	order := func(res engine.ServerResult, err error) { m.Served(engine.ServerOrder, res, err) }
	order(engine.ServerResult{Server: evil, Job: 1}, nil)
	order(engine.ServerResult{Server: evil, Job: 1, Repeated: true}, nil)
	for _, err := range []error{engine.ErrNoneFree, engine.ErrBadOrder, engine.ErrNotAllowed, engine.ErrTooMany, errors.New(evil)} {
		order(engine.ServerResult{}, fmt.Errorf("order %s: %w", evil, err))
	}
	m.Served(engine.ServerRelease, engine.ServerResult{}, nil)
	_ = m.Inventory(&keeper{}).Save(t.Context(), engine.Changes{Notices: []engine.Notice{
		{ID: 1, Kind: engine.NoticeOrdered, Server: evil, Account: evil, Text: evil}, {ID: 2, Kind: engine.NoticeFailed},
	}})
	_ = m.Inventory(&keeper{err: errors.New("disk full")}).Save(t.Context(), engine.Changes{Notices: []engine.Notice{{ID: 3, Kind: engine.NoticeFailed}}})
	m.Answered("GET /v1/servers/{id}", 200, 30*time.Millisecond)
	m.Answered("", 404, time.Millisecond)
	for what, got := range map[string]struct{ have, want float64 }{
		"taken":     {testutil.ToFloat64(m.orders.orders.WithLabelValues("taken")), 1},
		"repeated":  {testutil.ToFloat64(m.orders.orders.WithLabelValues("repeated")), 1},
		"none free": {testutil.ToFloat64(m.orders.orders.WithLabelValues("none_free")), 1},
		"limit":     {testutil.ToFloat64(m.orders.orders.WithLabelValues("limit")), 1},
		"other":     {testutil.ToFloat64(m.orders.orders.WithLabelValues("other")), 1},
		"ordered":   {testutil.ToFloat64(m.orders.notices.WithLabelValues("server.ordered")), 1},
		"failed":    {testutil.ToFloat64(m.orders.notices.WithLabelValues("server.failed")), 1},
		"answered":  {testutil.ToFloat64(m.api.requests.WithLabelValues("GET /v1/servers/{id}", "200")), 1},
		"no route":  {testutil.ToFloat64(m.api.requests.WithLabelValues("none", "404")), 1},
	} {
		if got.have != got.want {
			t.Errorf("%s: %v, want %v", what, got.have, got.want)
		}
	}
	if text := gathered(t, m); strings.Contains(text, "evil") {
		t.Errorf("tells what customers wrote:\n%s", text)
	}
}

// A switch that falls silent and answers again makes no Pi stall twice.
func TestStallsAreCountedOnce(t *testing.T) {
	m := New("")
	stalled := engine.StageChange{Pi: "a3-001", Stage: engine.StageStalled, Diagnosis: engine.Diagnosis{Fault: engine.FaultBootLoop}}
	count := func() float64 { return testutil.ToFloat64(m.boots.stalled.WithLabelValues(engine.FaultBootLoop)) }
	for _, stage := range []engine.StageChange{stalled, {Pi: "a3-001", Stage: engine.StageUnknown}, stalled} {
		m.Stage(stage)
	}
	if count() != 1 {
		t.Errorf("%v stalls, want 1", count())
	}
	m.Stage(engine.StageChange{Pi: "a3-001", Stage: engine.StageDHCP})
	m.Stage(stalled)
	if count() != 2 {
		t.Errorf("%v stalls, want 2", count())
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := New(""), small()
		published := make(chan struct{})
		var turned time.Time
		src := source(s)
		src.Published, src.Turned = published, func() time.Time { return turned }
		h := m.Handler(src, nil)
		expect := func(path string, code int, line string) {
			t.Helper()
			got, text := scrape(t, h, path)
			if got != code || !strings.Contains(text, line) {
				t.Errorf("%s: %d, want %d with %q:\n%s", path, got, code, line, text)
			}
		}
		expect("/healthz", 200, "ok: engine: starting")
		expect("/readyz", 503, "not ok: roots: those in use are not exported yet")
		close(published)
		turned = time.Now()
		expect("/healthz", 200, "ok: engine: its loop came round 0s ago")
		expect("/readyz", 200, "ok: switches: 1 of 2 answer")
		time.Sleep(stuck)
		expect("/healthz", 503, "not ok: engine")
		expect("/readyz", 503, "not ok: engine")
		turned = time.Now()
		_ = m.Inventory(&keeper{err: errors.New("disk full")}).Save(t.Context(), engine.Changes{})
		expect("/readyz", 503, "not ok: store: nothing can be stored: disk full")
		expect("/healthz", 200, "ok")
		_ = m.Inventory(&keeper{}).Save(t.Context(), engine.Changes{})
		var served error
		src.NFS = func() error { return served }
		h = m.Handler(src, nil)
		expect("/readyz", 200, "ok: nfs: answers")
		served = errors.New("connection refused")
		expect("/readyz", 503, "not ok: nfs: connection refused")
		served = nil
		s.Switches[0].Err = "no answer"
		expect("/readyz", 503, "not ok: switches: 0 of 2 answer")
		expect("/", 200, "/metrics")
		expect("/nothing", 404, "")
	})
}

// TestServe asks over a socket: requests end with the context, and a header
// without end is refused.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := small()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, whole(t, s).Handler(source(s), nil), nil) }()
	ask := func(method string, change func(*http.Request)) (int, string) {
		t.Helper()
		// A connection that is closed on what is still being sent may lose the answer.
		const cut = 0
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return cut, err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return cut, err.Error()
		}
		return res.StatusCode, string(body)
	}
	if code, text := ask(http.MethodGet, func(*http.Request) {}); code != 200 || !strings.Contains(text, "picloud_pis") {
		t.Errorf("%d: %.200s", code, text)
	}
	if code, _ := ask(http.MethodPost, func(*http.Request) {}); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
	long := strings.Repeat("x", 64<<10)
	if code, _ := ask(http.MethodGet, func(r *http.Request) { r.Header.Set("X-Long", long) }); code != http.StatusRequestHeaderFieldsTooLarge && code != 0 {
		t.Errorf("a header of 64 KiB: %d", code)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// BenchmarkScrape is a rack of a thousand Pis.
func BenchmarkScrape(b *testing.B) {
	s := small()
	one := s.Pis[0]
	s.Pis = nil
	for i := range 1000 {
		one.Name, one.Port = engine.PiName(fmt.Sprintf("a3-%03d", i)), engine.PortID{Switch: fmt.Sprintf("sw%d", i/48), Port: i%48 + 1}
		s.Pis = append(s.Pis, one)
	}
	h := whole(b, s).Handler(source(s), nil)
	b.ReportAllocs()
	for b.Loop() {
		if code, text := scrape(b, h, "/metrics"); code != 200 {
			b.Fatal(text)
		}
	}
}
