package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"picloud/engine"
	"picloud/store"
)

// key is under the secret of all webhooks of the tests.
var key = []byte("0123456789abcdef01234567")

var secret = secretPrefix + base64.StdEncoding.EncodeToString(key)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// got is a request that a receiver had.
type got struct {
	at      time.Time
	id      int64 // of the notice
	message Message
}

// receiver is a customer's program: it checks each request as Standard Webhooks
// says, keeps it, and answers as the test wants.
type receiver struct {
	t      testing.TB
	answer http.HandlerFunc // nil: 204
	mu     sync.Mutex
	all    []got
	more   chan struct{} // holds one
}

func newReceiver(t testing.TB, answer http.HandlerFunc) *receiver {
	return &receiver{t: t, answer: answer, more: make(chan struct{}, 1)}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	g, err := received(req)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	r.all = append(r.all, g)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
	if r.answer != nil {
		r.answer(w, req)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func received(req *http.Request) (got, error) {
	g := got{at: time.Now()}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return g, err
	}
	h := req.Header
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Get("webhook-signature") != want {
		return g, fmt.Errorf("signature %q, want %q", h.Get("webhook-signature"), want)
	}
	sent, err := strconv.ParseInt(at, 10, 64)
	if age := g.at.Unix() - sent; err != nil || age < 0 || age > 300 { // the tolerance of Standard Webhooks' libraries
		return g, fmt.Errorf("timestamp %q, %ds old: %w", at, age, err)
	}
	if req.Method != http.MethodPost || h.Get("Content-Type") != "application/json" || !strings.HasPrefix(h.Get("User-Agent"), "picloud/") {
		return g, fmt.Errorf("%s with %v", req.Method, h)
	}
	if g.id, err = strconv.ParseInt(strings.TrimPrefix(id, "msg_"), 10, 64); err != nil {
		return g, err
	}
	return g, json.Unmarshal(body, &g.message)
}

// ids are the notices that it had, in order, again and again if they came so.
func (r *receiver) ids() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []int64
	for _, g := range r.all {
		out = append(out, g.id)
	}
	return out
}

// until waits until it has had n requests.
func (r *receiver) until(n int) []got {
	r.t.Helper()
	for late := time.After(30 * time.Second); ; {
		r.mu.Lock()
		all := slices.Clone(r.all)
		r.mu.Unlock()
		if len(all) >= n {
			return all
		}
		select {
		case <-r.more:
		case <-late:
			r.t.Fatalf("it had %d requests, want %d", len(all), n)
		}
	}
}

// listen serves it over TLS on loopback.
func (r *receiver) listen() *httptest.Server {
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of handshakes that are meant to fail
	s.StartTLS()
	r.t.Cleanup(s.Close)
	return s
}

// box is an outbox in a real store, with what the log says.
type box struct {
	t       testing.TB
	path    string
	store   *store.Store
	last    int64
	noticed chan struct{}
	mu      sync.Mutex
	log     bytes.Buffer
	hooks   []engine.Webhook
}

func newBox(t testing.TB) *box {
	t.Helper()
	b := &box{t: t, path: filepath.Join(t.TempDir(), "picloud.db"), noticed: make(chan struct{})}
	b.open()
	b.save(engine.Changes{Accounts: []engine.Account{{Name: "acme", Created: time.Now()}}})
	t.Cleanup(func() {
		b.close()
		b.noSecrets()
	})
	return b
}

func (b *box) open() {
	b.t.Helper()
	var err error
	if b.store, err = store.Open(b.t.Context(), b.path, store.Options{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) close() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *box) save(c engine.Changes) {
	b.t.Helper()
	if err := b.store.Save(context.WithoutCancel(b.t.Context()), c); err != nil {
		b.t.Fatal(err)
	}
}

// hook adds a webhook to a URL, with a password in it and a token.
func (b *box) hook(id, to string) {
	b.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		b.t.Fatal(err)
	}
	u.User = url.UserPassword("me", "hunter2")
	u.Path += "/in/t0ken"
	h := engine.Webhook{ID: id, Account: "acme", URL: u.String(), Secret: secret, Created: time.Now()}
	b.hooks = append(b.hooks, h)
	b.save(engine.Changes{Webhooks: []engine.Webhook{h}})
}

// tell writes n notices for all webhooks, as the engine does.
func (b *box) tell(n int) {
	b.t.Helper()
	var c engine.Changes
	for range n {
		b.last++
		at := time.Now().Truncate(time.Microsecond)
		c.Notices = append(c.Notices, engine.Notice{
			ID: b.last, Time: at, Account: "acme", Server: "web", Kind: engine.NoticeLive, Text: "SSH answers", Task: 7,
		})
		for _, h := range b.hooks {
			c.Deliveries = append(c.Deliveries, engine.Delivery{Notice: b.last, Webhook: h.ID, Next: at})
		}
	}
	b.save(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.noticed)
	b.noticed = make(chan struct{})
}

func (b *box) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.noticed
}

// Write takes lines of the log.
func (b *box) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(line)
}

func (b *box) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// noSecrets holds what was logged, and what customers are told, to have nothing
// in it that is a secret.
func (b *box) noSecrets() {
	for _, s := range []string{"hunter2", "t0ken", secret, strings.TrimPrefix(secret, secretPrefix), string(key)} {
		if log := b.logged(); strings.Contains(log, s) {
			b.t.Errorf("the log has %q in it:\n%s", s, log)
		}
	}
}

// sender makes one that trusts the receivers' certificates.
func (b *box) sender(allow []netip.Prefix) *Sender {
	return New(Config{
		Outbox: b.store, Noticed: b.wait, Allow: allow, Roots: trusted(), Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// trusted are the certificates that httptest has.
var trusted = sync.OnceValue(func() *x509.CertPool {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
})

// run runs a sender until stop is called, or the test ends.
func (b *box) run(s *Sender) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the sender: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// delivery is what the store has of one.
func (b *box) delivery(hook string, notice int64) engine.Delivery {
	b.t.Helper()
	list, err := b.store.Deliveries(context.WithoutCancel(b.t.Context()), "acme", hook, notice+1, 1)
	if err != nil || len(list) != 1 || list[0].Notice.ID != notice {
		b.t.Fatalf("delivery of %d to %s: %+v, %v", notice, hook, list, err)
	}
	return list[0].Delivery
}

// settled waits until a delivery was tried so often.
func (b *box) settled(hook string, notice int64, attempts int) engine.Delivery {
	b.t.Helper()
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); {
		if d := b.delivery(hook, notice); d.Attempts >= attempts {
			return d
		}
		pause(b.t.Context(), 5*time.Millisecond)
	}
	b.t.Fatalf("%s was not told %d in time:\n%s", hook, notice, b.logged())
	return engine.Delivery{}
}

// waiting are the deliveries that are first of those that are not over.
func (b *box) waiting() []engine.Sending {
	b.t.Helper()
	list, err := b.store.FirstDeliveries(context.WithoutCancel(b.t.Context()), "")
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// anyDue tells whether anything is to be tried now.
func (b *box) anyDue() bool {
	return slices.ContainsFunc(b.waiting(), func(s engine.Sending) bool { return due(&s.Delivery, time.Now()) == 0 })
}

// deadPort is a loopback address that nobody listens at.
func deadPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
