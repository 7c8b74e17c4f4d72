package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"picloud/engine"
)

// Outbox has the notices that are to be sent; *store.Store is one.
type Outbox interface {
	// FirstDeliveries returns of each webhook, or of one (not ""), the delivery of
	// the oldest notice that is not over, due or not.
	FirstDeliveries(ctx context.Context, webhook string) ([]engine.Sending, error)
	// SaveDelivery writes what became of one: engine.ErrNotFound when its webhook
	// was removed meanwhile.
	SaveDelivery(ctx context.Context, d engine.Delivery) error
}

// Config is what a Sender is made from.
type Config struct {
	Outbox Outbox
	// Noticed returns what is closed when there are newer notices in the outbox
	// than when it was asked for.
	Noticed func() <-chan struct{}
	// Allow are networks of other than public addresses that webhooks may be at.
	Allow []netip.Prefix
	// Roots are whom to trust, nil = whom the system does.
	Roots   *x509.CertPool
	Version string // of picloud, which it says it is
	// Tried is told how each try ended, by many goroutines; it must not block. May
	// be nil.
	Tried func(Result)
	Log   *slog.Logger // nil discards
}

// Result is how a try ended.
type Result string

// It was taken, will be tried again, or was given up.
const (
	Taken   Result = "taken"
	Failed  Result = "failed"
	GivenUp Result = "given-up"
)

// Results are all of them.
func Results() []Result { return []Result{Taken, Failed, GivenUp} }

const (
	// maxSending is how many webhooks are sent to at once: each has a socket.
	maxSending = 256
	// gather is how long notices are waited for that come together.
	gather = 20 * time.Millisecond
	// storeAgain is how long a store that fails is left alone.
	storeAgain = 5 * time.Second
)

// Sender sends what is in an outbox. Make it with New, and Run it.
type Sender struct {
	cfg    Config
	client *client
	jitter func() float64
	slots  chan struct{}
	freed  chan struct{} // holds one: a worker has ended
	wg     sync.WaitGroup

	mu    sync.Mutex
	busy  map[string]bool      // webhooks that have a worker
	holds map[string]time.Time // webhooks that are left alone until then
}

// New makes a Sender. Nothing is sent before Run.
func New(cfg Config) *Sender {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Tried == nil {
		cfg.Tried = func(Result) {}
	}
	return &Sender{
		cfg: cfg, client: newClient(cfg.Allow, cfg.Roots, cfg.Version), jitter: rand.Float64,
		slots: make(chan struct{}, maxSending), freed: make(chan struct{}, 1),
		busy: map[string]bool{}, holds: map[string]time.Time{},
	}
}

// Run sends until ctx ends, and returns nil when all that it began has ended. A
// request that is under way then is given up, and sent again by the next Run.
func (s *Sender) Run(ctx context.Context) error {
	defer s.client.close()
	defer s.wg.Wait()
	for ctx.Err() == nil {
		noticed := s.cfg.Noticed() // before the look: what comes after it is not missed
		s.wait(ctx, noticed, s.look(ctx))
		pause(ctx, gather)
	}
	return nil
}

// wait waits for something to do: a notice, a worker that ended, or the time.
func (s *Sender) wait(ctx context.Context, noticed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-noticed:
	case <-s.freed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// look gives each webhook that has something due a worker, and returns how long it
// is until the next has.
func (s *Sender) look(ctx context.Context) time.Duration {
	first, err := s.cfg.Outbox.FirstDeliveries(ctx, "")
	if err != nil {
		s.complain(ctx, "webhooks: the outbox cannot be read", err)
		return storeAgain
	}
	next := furthest
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range first {
		hook := first[i].Webhook.ID
		if s.busy[hook] {
			continue // its worker tells when it ends
		}
		if wait := max(due(&first[i].Delivery, now), s.holds[hook].Sub(now)); wait > 0 {
			next = min(next, wait)
			continue
		}
		delete(s.holds, hook)
		s.busy[hook] = true
		s.wg.Go(func() { s.work(ctx, first[i]) })
	}
	return next
}

// work sends a webhook what it has due, one after the other.
func (s *Sender) work(ctx context.Context, first engine.Sending) {
	defer s.leave(first.Webhook.ID)
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return
	}
	for next := &first; next != nil; {
		if !s.try(ctx, next) {
			return
		}
		next = s.following(ctx, first.Webhook.ID)
	}
}

// following is what a webhook has due next, nil = nothing.
func (s *Sender) following(ctx context.Context, hook string) *engine.Sending {
	list, err := s.cfg.Outbox.FirstDeliveries(ctx, hook)
	if err != nil || len(list) != 1 || due(&list[0].Delivery, time.Now()) > 0 {
		return nil // the next look tells of an error
	}
	return &list[0]
}

func (s *Sender) leave(hook string) {
	s.mu.Lock()
	delete(s.busy, hook)
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// try sends once and writes down what came of it. It tells whether the delivery is
// over, so that the next may follow.
func (s *Sender) try(ctx context.Context, next *engine.Sending) bool {
	a := s.client.send(ctx, next)
	if a.why != "" && ctx.Err() != nil {
		return false // it was cut short, and is as it was
	}
	d := after(next, a, time.Now(), s.jitter())
	// What was taken is written down even at the end: it must not be sent twice for
	// that.
	err := s.cfg.Outbox.SaveDelivery(context.WithoutCancel(ctx), d)
	if errors.Is(err, engine.ErrNotFound) {
		return true // it was removed meanwhile; it has no next
	}
	s.tell(next, &d, &a)
	if err != nil {
		s.complain(ctx, "webhooks: what was sent cannot be written down: it will be sent again", err, "webhook", d.Webhook, "notice", d.Notice)
		s.hold(d.Webhook)
		return false
	}
	return d.Next.IsZero()
}

// hold leaves a webhook alone for a while: what could not be written down is due
// for ever, and must not be sent in a circle.
func (s *Sender) hold(hook string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds[hook] = time.Now().Add(storeAgain)
}

// tell logs a try, with the host alone of the URL.
func (s *Sender) tell(next *engine.Sending, d *engine.Delivery, a *answer) {
	log := s.cfg.Log.With("webhook", d.Webhook, "account", next.Webhook.Account, "host", hostOf(next), "notice", d.Notice, "attempt", d.Attempts)
	switch {
	case a.why == "":
		s.cfg.Tried(Taken)
		log.Debug("webhook taken", "status", a.status)
	case d.Next.IsZero():
		s.cfg.Tried(GivenUp)
		log.Warn("webhook given up: its notice is not told", "why", a.why, "cause", a.cause)
	default:
		s.cfg.Tried(Failed)
		log.Info("webhook not taken", "why", a.why, "cause", a.cause, "again", d.Next.UTC())
	}
}

// complain tells of the store's trouble, but not of the end's.
func (s *Sender) complain(ctx context.Context, what string, err error, args ...any) {
	if ctx.Err() == nil {
		s.cfg.Log.Error(what, append(args, "err", err)...)
	}
}
