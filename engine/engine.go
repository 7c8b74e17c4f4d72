package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an Engine is made from.
type Config struct {
	Layout    Layout
	Inventory Inventory
	Power     Power
	Roots     Roots
	Guards    map[VerbName]Guards // overrides of the verb table's
	Limits    Limits
	Hold      time.Duration // how long a cycle keeps the port off
	Starting  int           // how many Pis may be between power-on and kernel at once
	Failures  int           // a batch stops after so many failed jobs
	Keep      time.Duration // how long a former root is kept, 0 = until the next reimage
	Publish   time.Duration // shortest time between two snapshots
	// Stage is told of every change of a Pi's stage, in order, by the engine's
	// own goroutine: it must not block. May be nil.
	Stage func(StageChange)
	// Staff is told after operators have changed, by the engine's own goroutine:
	// it must not block. May be nil.
	Staff func()
	// Served is told how a command on a server was answered, by the engine's own
	// goroutine: it must not block. May be nil.
	Served func(verb ServerVerb, res ServerResult, err error)
	// Webhook says why no notice may be sent to a URL, as far as that can be told at
	// once. It must not block. May be nil.
	Webhook func(*url.URL) error
	// Beat is told that Run's loop has come round and done its work, several times
	// a second and first after the roots are exported, by the engine's own
	// goroutine: it must not block. May be nil.
	Beat func()
	Log  *slog.Logger // nil discards
}

// StageChange is the news that a Pi's stage changed, with the evidence.
type StageChange struct {
	Time      time.Time
	Pi        PiName
	Port      PortID
	Stage     Stage
	Evidence  string
	Diagnosis Diagnosis // when Stage is StageStalled
}

// Defaults of a Config's numbers.
const (
	defaultHold     = 4 * time.Second // HATs hold charge: piman's 1 s is too short for some
	defaultStarting = 16
	defaultFailures = 3
	defaultPublish  = 250 * time.Millisecond
)

func (c Config) withDefaults() Config {
	if c.Hold <= 0 {
		c.Hold = defaultHold
	}
	if c.Starting <= 0 {
		c.Starting = defaultStarting
	}
	if c.Failures <= 0 {
		c.Failures = defaultFailures
	}
	if c.Publish <= 0 {
		c.Publish = defaultPublish
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Viewer is what a console needs of the engine; *Engine is one.
type Viewer interface {
	// Snapshot returns the newest snapshot, never nil after New.
	Snapshot() *Snapshot
	// Subscribe returns a mailbox channel with the newest snapshot, until
	// cancel is called.
	Subscribe() (snapshots <-chan *Snapshot, cancel func())
	// Do carries out a command and returns when its acts are accepted and
	// stored, or refused. Jobs go on after it returns.
	Do(ctx context.Context, cmd Command) (Result, error)
	// Guards returns a verb's guards as the configuration set them.
	Guards(verb VerbName) Guards
	// Boots, Log and Audit page the history out of the store.
	Boots(ctx context.Context, pi PiName, limit int) ([]Boot, error)
	Log(ctx context.Context, before int64, limit int) ([]LogLine, error)
	Audit(ctx context.Context, before int64, limit int) ([]AuditRow, error)
	// Operators are the staff; ChangeOperators is an admin's.
	Operators() *Operators
	ChangeOperators(ctx context.Context, cmd OperatorCommand) error
	// Serve carries out a command on a customer's server, ChangeAccounts one on
	// accounts, and Rules are how servers are ordered: as Desk has them.
	Serve(ctx context.Context, cmd ServerCommand) (ServerResult, error)
	ChangeAccounts(ctx context.Context, cmd AccountCommand) error
	Rules() *Rules
	// Customers are the accounts with their keys and webhooks, for operators.
	Customers(actor Actor) (*Accounts, error)
	// Rented is a server as its owner sees it, for operators; ErrNoSuchServer.
	Rented(actor Actor, name string) (ServerView, error)
	// Sent is what was and is to be sent to a webhook, for operators; see
	// Inventory.Deliveries.
	Sent(ctx context.Context, actor Actor, webhook string, before int64, limit int) ([]Sending, error)
	// Charges are the rows of an account ("" = all) in the ledger before a time,
	// for admins.
	Charges(ctx context.Context, actor Actor, account string, until time.Time) ([]LedgerRow, error)
	// Billed is as Desk has it.
	Billed() time.Time
}

// Engine owns one rack. Make it with New, run it with Run; every other method
// may be called by any goroutine.
type Engine struct {
	cfg       Config
	queue     *queue
	commands  chan commandRequest
	layouts   chan layoutRequest
	steps     chan stepMessage
	staff     chan staffRequest
	serves    chan serveRequest
	customers chan customerRequest
	notes     chan noteRequest
	operators atomic.Pointer[Operators]
	accounts  atomic.Pointer[Accounts]
	rules     atomic.Pointer[Rules]
	desk      desk
	notices   broadcast
	// lastNotice is the number of the newest notice in the store.
	lastNotice atomic.Int64
	used       usedKeys
	stopped    chan struct{}
	published  chan struct{} // closed once the roots in use are exported
	snapshot   atomic.Pointer[Snapshot]
	bootTable  atomic.Pointer[BootTable]
	turned     atomic.Int64 // Unix nanoseconds; see Turned
	viewers    viewers
	state      *rack // owned by Run's goroutine once it runs
}

// New loads what the last process left in the Inventory, joins it with the
// layout and saves the result. Nothing acts before Run.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if cfg.Inventory == nil || cfg.Power == nil || cfg.Roots == nil {
		return nil, errors.New("engine: new: an inventory, power and roots are needed")
	}
	stored, err := cfg.Inventory.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("engine: load the inventory: %w", err)
	}
	e := &Engine{
		cfg:       cfg,
		queue:     newQueue(),
		commands:  make(chan commandRequest),
		layouts:   make(chan layoutRequest),
		steps:     make(chan stepMessage),
		staff:     make(chan staffRequest),
		serves:    make(chan serveRequest),
		customers: make(chan customerRequest),
		notes:     make(chan noteRequest),
		stopped:   make(chan struct{}),
		published: make(chan struct{}),
	}
	e.lastNotice.Store(stored.LastID.Notice)
	e.state = newRack(e, stored)
	e.operators.Store(e.state.operators)
	e.accounts.Store(e.state.accounts)
	e.state.applyLayout(cfg.Layout)
	if err := e.state.flush(ctx); err != nil {
		return nil, fmt.Errorf("engine: save the layout: %w", err)
	}
	e.state.publishBootTable()
	e.state.publishSnapshot()
	return e, nil
}

// Observe hands over a piece of evidence. It never blocks; when a flood fills
// the queue the observation is dropped, counted, and the count is shown.
func (e *Engine) Observe(o Observation) { e.queue.put(o) }

// Snapshot returns the newest snapshot.
func (e *Engine) Snapshot() *Snapshot { return e.snapshot.Load() }

// BootTable returns the newest boot table.
func (e *Engine) BootTable() *BootTable { return e.bootTable.Load() }

// Subscribe returns a channel that always holds the newest snapshot not yet
// taken, until cancel is called.
func (e *Engine) Subscribe() (<-chan *Snapshot, func()) { return e.viewers.add(e.Snapshot) }

// Guards returns the verb's guards.
func (e *Engine) Guards(verb VerbName) Guards {
	if g, ok := e.cfg.Guards[verb]; ok {
		return g
	}
	v, _ := FindVerb(verb)
	return v.Guards
}

// Boots returns a Pi's boots, newest first.
func (e *Engine) Boots(ctx context.Context, pi PiName, limit int) ([]Boot, error) {
	return e.cfg.Inventory.Boots(ctx, pi, limit)
}

// Log returns log lines older than before (0: the newest), newest first.
func (e *Engine) Log(ctx context.Context, before int64, limit int) ([]LogLine, error) {
	return e.cfg.Inventory.Log(ctx, before, limit)
}

// Audit returns audit rows older than before (0: the newest), newest first.
func (e *Engine) Audit(ctx context.Context, before int64, limit int) ([]AuditRow, error) {
	return e.cfg.Inventory.Audit(ctx, before, limit)
}

// Do carries out a command; see Viewer.
func (e *Engine) Do(ctx context.Context, cmd Command) (Result, error) {
	return ask(ctx, e, e.commands, cmd)
}

// Published is closed once Run has exported the roots that may be in use: a
// file server that answers before would tell running Pis that theirs is gone.
func (e *Engine) Published() <-chan struct{} { return e.published }

// Turned returns when Run's loop last came round, which it does at least every
// second unless it is stuck; zero before Run has exported the roots.
func (e *Engine) Turned() time.Time {
	if ns := e.turned.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Relayout replaces the layout while the rack runs: places are added, changed
// or taken away; what is stored of those that stay is kept.
func (e *Engine) Relayout(ctx context.Context, l Layout) error {
	_, err := ask(ctx, e, e.layouts, l)
	return err
}

type answer[R any] struct {
	result R
	err    error
}

// request is a value for the loop and the way back.
type request[T, R any] struct {
	value T
	reply chan answer[R] // holds one: the loop never waits for the asker
}

type (
	commandRequest = request[Command, Result]
	layoutRequest  = request[Layout, struct{}]
	staffRequest   = request[OperatorCommand, struct{}]

	serveRequest    = request[ServerCommand, ServerResult]
	customerRequest = request[AccountCommand, struct{}]
	noteRequest     = request[AuditRow, int64]
)

func ask[T, R any](ctx context.Context, e *Engine, to chan request[T, R], value T) (R, error) {
	var none R
	req := request[T, R]{value, make(chan answer[R], 1)}
	select {
	case to <- req:
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-e.stopped:
		return none, ErrStopped
	}
	select {
	case a := <-req.reply:
		return a.result, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-e.stopped:
		return none, ErrStopped
	}
}

// viewers are the subscribers of snapshots.
type viewers struct {
	mu    sync.Mutex
	next  int
	boxes map[int]Mailbox[*Snapshot]
}

func (v *viewers) add(newest func() *Snapshot) (<-chan *Snapshot, func()) {
	box := NewMailbox[*Snapshot]()
	v.mu.Lock()
	defer v.mu.Unlock()
	box.Put(newest()) // under the lock: the next one must not slip through between
	if v.boxes == nil {
		v.boxes = make(map[int]Mailbox[*Snapshot])
	}
	id := v.next
	v.next++
	v.boxes[id] = box
	return box.C(), func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.boxes, id)
	}
}

func (v *viewers) put(s *Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, box := range v.boxes {
		box.Put(s)
	}
}
