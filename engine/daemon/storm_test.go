//go:build storm

package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
	"picloud/store"
)

// The storm: so many orders at the same moment against so many Pis, while the
// service is killed again and again and customers look at their servers all the
// time.
const (
	stormPis      = 900
	stormOrders   = 1000
	stormAccounts = 10
	stormSpeed    = 20
	stormKill     = 3 * time.Second // at least, and at most three times that
	stormLooks    = 2200            // a second, tried: some are lost with each kill
	stormLookers  = 44
	stormEnd      = 12 * time.Minute
)

// stormKey is a customer's API key, and the token it was given last.
type stormKey struct {
	id, secret string
	mu         sync.Mutex
	token      string
}

type storm struct {
	t       *testing.T
	base    string
	path    string
	state   string
	keys    []*stormKey
	client  *http.Client
	begun   time.Time
	mu      sync.Mutex
	service *exec.Cmd
	kills   atomic.Int64
	away    atomic.Int64 // nanoseconds in which the service did not answer
}

func TestOrderStorm(t *testing.T) {
	s := newStorm(t)
	s.start()
	s.awaitReady()
	s.begun = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), stormEnd)
	defer cancel()
	killing, stop := context.WithCancel(ctx)
	killed := make(chan struct{})
	go func() { defer close(killed); s.killAgainAndAgain(killing) }()
	looks := s.look(ctx)

	begun := time.Now()
	answers := make([]answer, stormOrders)
	var orders sync.WaitGroup
	for i := range stormOrders {
		orders.Go(func() { answers[i] = s.order(ctx, i) })
	}
	orders.Wait()
	accepted := time.Since(begun)
	refused, names := s.sort(answers)
	t.Logf("%d orders answered after %s: %d accepted, %d refused; %d kills so far", stormOrders, accepted.Round(time.Millisecond), len(names), refused, s.kills.Load())
	live := s.awaitLive(ctx, names)
	t.Logf("%d live after %s and %d kills", live, time.Since(begun).Round(time.Second), s.kills.Load())
	stop()
	<-killed
	looks.report(t, time.Duration(s.away.Load()))
	if refused != stormOrders-stormPis || live != stormPis {
		t.Errorf("%d refused and %d live, want %d and %d", refused, live, stormOrders-stormPis, stormPis)
	}
	s.end()
	s.audit(names)
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	dir := t.TempDir()
	s := &storm{t: t, state: filepath.Join(dir, "state")}
	rack, err := sim.New(sim.Config{Seed: 11, Pis: stormPis, Speed: stormSpeed, Rented: -1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := demo.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := demo.Configure(rack.Inventory(), s.state, stormSpeed, client)
	cfg.DHCP.Port, cfg.TFTP.Port, cfg.NFS.Port = freePort(t), freePort(t), freePort(t)
	cfg.Console.Socket = filepath.Join(dir, "sock")
	cfg.HTTP.Listen = netip.AddrPort{}
	cfg.API.Listen = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort(t)))
	s.base = "http://" + cfg.API.Listen.String() + cfg.API.Base
	for i := range cfg.Segments {
		cfg.Segments[i].Image, cfg.Segments[i].Power = "", false
	}
	cfg.Plans, cfg.Orders.Disk = []config.Plan{{Month: 750}}, 0
	cfg.Boot.Limits[engine.StagePower] = 5 * time.Second // the firmware's own 10 s take half a second here
	for stage := engine.StageDHCP; stage <= engine.StageRoot; stage++ {
		cfg.Boot.Limits[stage] = time.Minute // all of this shares one machine
	}
	writeCredentials(t, dir, cfg)
	s.path = writeConfig(t, dir, cfg)
	if err := rack.SetPorts(sim.Ports{
		DHCPServer: uint16(cfg.DHCP.Port), DHCPClient: client.DHCP, TFTP: uint16(cfg.TFTP.Port), NFS: uint16(cfg.NFS.Port), SSH: client.SSH,
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rack.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("rack: %v", err)
		}
	})
	s.client = &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 200, MaxConnsPerHost: 200},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.makeAccounts()
	return s
}

// makeAccounts puts the customers into the store before the service starts.
func (s *storm) makeAccounts() {
	s.t.Helper()
	if err := os.MkdirAll(s.state, 0o700); err != nil {
		s.t.Fatal(err)
	}
	db, err := store.Open(s.t.Context(), daemon.Database(&config.Config{State: s.state}), store.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	var c engine.Changes
	for i := range stormAccounts {
		secret, hash := engine.NewSecret()
		key := &stormKey{id: engine.NewID(), secret: secret}
		s.keys = append(s.keys, key)
		name := fmt.Sprintf("customer-%d", i)
		c.Accounts = append(c.Accounts, engine.Account{Name: name, Created: now})
		c.APIKeys = append(c.APIKeys, engine.APIKey{ID: key.id, Account: name, Hash: hash, Created: now})
	}
	if err := db.Save(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the service: the test's own program, as its child.
func (s *storm) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.service = exec.Command(os.Args[0])
	s.service.Env = append(os.Environ(), serveEnv+"="+s.path)
	s.service.Stderr = os.Stderr
	in, err := s.service.StdinPipe() // the child ends with it
	if err == nil {
		err = s.service.Start()
	}
	if err != nil {
		s.t.Error(err)
	}
	_ = in
}

func (s *storm) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.service.Process.Kill()
	_ = s.service.Wait()
}

// killAgainAndAgain kills the service when it has answered for so long.
func (s *storm) killAgainAndAgain(ctx context.Context) {
	for {
		begun := time.Now()
		if s.answers(ctx); ctx.Err() == nil {
			s.away.Add(int64(time.Since(begun)))
			s.t.Logf("%s: it answers after %s", time.Since(s.begun).Round(time.Second), time.Since(begun).Round(time.Millisecond))
		}
		select {
		case <-time.After(stormKill + rand.N(2*stormKill)):
		case <-ctx.Done():
			return
		}
		s.kill()
		s.kills.Add(1)
		s.start()
	}
}

func (s *storm) end() { s.kill() }

func (s *storm) awaitReady() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if !s.answers(ctx) {
		s.t.Fatal("the service does not answer")
	}
}

// answers waits until the service does.
func (s *storm) answers(ctx context.Context) bool {
	for ctx.Err() == nil {
		if status, _, err := s.ask(ctx, s.keys[0], http.MethodGet, "/pi/models", "", ""); err == nil && status == http.StatusOK {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// ask sends a request, with a token that it gets when it has none.
func (s *storm) ask(ctx context.Context, key *stormKey, method, path, body, once string) (int, http.Header, error) {
	for range 2 {
		token, err := s.login(ctx, key)
		if err != nil {
			return 0, nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if once != "" {
			req.Header.Set("Idempotency-Key", once)
		}
		res, err := s.client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return 0, nil, err
		}
		if res.StatusCode == http.StatusUnauthorized {
			key.mu.Lock()
			key.token = ""
			key.mu.Unlock()
			continue
		}
		res.Header.Set("X-Body", strings.TrimSpace(string(text)))
		return res.StatusCode, res.Header, nil
	}
	return http.StatusUnauthorized, nil, nil
}

func (s *storm) login(ctx context.Context, key *stormKey) (string, error) {
	key.mu.Lock()
	defer key.mu.Unlock()
	if key.token != "" {
		return key.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/login", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(key.id, key.secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		return "", fmt.Errorf("login: %s, %w", res.Status, err)
	}
	key.token = got.Token
	return got.Token, nil
}

type answer struct {
	name   string
	status int
	body   string
}

// order sends an order until it is answered: a customer's program whose answer
// was lost sends it again under the same key.
func (s *storm) order(ctx context.Context, i int) answer {
	name := fmt.Sprintf("storm-%d", i)
	key := s.keys[i%len(s.keys)]
	for ctx.Err() == nil {
		status, head, err := s.ask(ctx, key, http.MethodPost, "/pi/servers/"+name, `{"disk":10}`, "order-"+name)
		if err == nil && status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			return answer{name, status, head.Get("X-Body")}
		}
		time.Sleep(200 * time.Millisecond)
	}
	return answer{name: name}
}

func (s *storm) sort(answers []answer) (refused int, names []string) {
	for _, a := range answers {
		switch a.status {
		case http.StatusAccepted:
			names = append(names, a.name)
		case http.StatusServiceUnavailable:
			refused++
		default:
			s.t.Errorf("%s: %d %s", a.name, a.status, a.body)
		}
	}
	return refused, names
}

// awaitLive polls the servers as clients do, and counts those that get live.
func (s *storm) awaitLive(ctx context.Context, names []string) int {
	waiting := slices.Clone(names)
	for ctx.Err() == nil && len(waiting) > 0 {
		waiting = slices.DeleteFunc(waiting, func(name string) bool {
			var i int
			fmt.Sscanf(name, "storm-%d", &i)
			status, head, err := s.ask(ctx, s.keys[i%len(s.keys)], http.MethodGet, "/pi/servers/"+name, "", "")
			if err == nil && status == http.StatusNotFound {
				s.t.Errorf("%s is gone: %s", name, head.Get("X-Body"))
				return true
			}
			return err == nil && status == http.StatusOK && strings.Contains(head.Get("X-Body"), `"status":"live"`)
		})
		s.t.Logf("%s: %d of %d are live", time.Since(s.begun).Round(time.Second), len(names)-len(waiting), len(names))
		time.Sleep(3 * time.Second)
	}
	return len(names) - len(waiting)
}

// lookTimes are the times that looking at a server took.
type lookTimes struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
	begun  time.Time
}

// look has customers look at their servers, so many times a second in all.
func (s *storm) look(ctx context.Context) *lookTimes {
	l := &lookTimes{begun: time.Now()}
	pace := time.Second * stormLookers / stormLooks
	for n := range stormLookers {
		go func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for i := n; ctx.Err() == nil; i += stormLookers {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				begun := time.Now()
				i %= stormOrders
				status, _, err := s.ask(ctx, s.keys[i%len(s.keys)], http.MethodGet, fmt.Sprintf("/pi/servers/storm-%d", i), "", "")
				l.add(time.Since(begun), err == nil && (status == http.StatusOK || status == http.StatusNotFound))
			}
		}()
	}
	return l
}

func (l *lookTimes) add(took time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.failed++
		return
	}
	l.took = append(l.took, took)
}

func (l *lookTimes) report(t *testing.T, away time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.took)
	n := len(l.took)
	if n == 0 {
		t.Error("nobody could look")
		return
	}
	all := time.Since(l.begun)
	t.Logf("%d looks in %s, %.0f a second, median %s, p99 %s; %d were refused", n, all.Round(time.Second),
		float64(n)/all.Seconds(), l.took[n/2], l.took[n*99/100], l.failed)
	t.Logf("it was away for %s of that: %.0f looks a second while it was there", away.Round(time.Second), float64(n)/(all-away).Seconds())
}

// audit reads the store as the last process left it.
func (s *storm) audit(names []string) {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), daemon.Database(&config.Config{State: s.state}), store.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	st, err := db.Load(s.t.Context())
	rows, lerr := db.Ledger(s.t.Context(), "", time.Now().Add(time.Hour))
	if err := errors.Join(err, lerr); err != nil {
		s.t.Fatal(err)
	}
	onPi, address, paid := map[string]engine.PiName{}, map[int]string{}, map[string]int{}
	for _, p := range st.Pis {
		if other, twice := onPi[p.Server]; twice && p.Server != "" {
			s.t.Errorf("%s is on %s and on %s", p.Server, other, p.Name)
		}
		onPi[p.Server] = p.Name
	}
	for _, v := range st.Servers {
		if other, twice := address[v.Number]; twice && v.Number != 0 {
			s.t.Errorf("number %d is of %s and %s", v.Number, v.Name, other)
		}
		address[v.Number] = v.Name
	}
	for _, row := range rows {
		if row.Kind != engine.LedgerStart || row.Price != 750 {
			s.t.Errorf("ledger: %+v", row)
		}
		paid[row.Server]++
	}
	for _, name := range names {
		if onPi[name] == "" || paid[name] != 1 {
			s.t.Errorf("%s is on %q, and is charged %d times", name, onPi[name], paid[name])
		}
	}
	if len(paid) != len(names) {
		s.t.Errorf("%d servers are charged, of %d", len(paid), len(names))
	}
}
