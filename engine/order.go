package engine

import (
	"context"
	"errors"
	"time"
)

// ServerState is how far a customer's server has come.
type ServerState string

// A server of the configuration has no state: it is staff's to look after.
const (
	ServerProvisioning ServerState = "provisioning" // its root is made
	ServerInitialising ServerState = "initialising" // it boots for the first time
	ServerLive         ServerState = "live"
	ServerReleasing    ServerState = "releasing" // given back: nobody's any more
	ServerReleased     ServerState = "released"
	ServerFailed       ServerState = "failed" // the order could not be carried out
)

// Ended tells whether the server is no more: its name is free.
func (s ServerState) Ended() bool { return s == ServerReleased || s == ServerFailed }

// Gone tells whether the server has been given back or is no more: it is nobody's.
func (s ServerState) Gone() bool { return s == ServerReleasing || s.Ended() }

// ServerVerb is what can be done with a server. Those that are a Pi's verb are
// carried out on the Pi that has it.
type ServerVerb string

// The verbs on servers.
const (
	ServerOrder    ServerVerb = "order"
	ServerRelease  ServerVerb = "release"
	ServerKeys     ServerVerb = "keys" // who may log in
	ServerOn       ServerVerb = "on"
	ServerOff      ServerVerb = "off"
	ServerCycle    ServerVerb = "cycle"
	ServerReimage  ServerVerb = "reimage"
	ServerUndo     ServerVerb = "undo"
	ServerRescue   ServerVerb = "rescue"
	ServerUnrescue ServerVerb = "unrescue"
	ServerResize   ServerVerb = "resize"
	ServerMove     ServerVerb = "move" // staff only
)

// ServerCommand is a verb on a server by its name. The actor's account decides
// which servers there are for them; staff name the account of an order.
type ServerCommand struct {
	Verb    ServerVerb
	Actor   Actor
	Account string // order: whose it is, when the actor has no account
	Server  string // order: "" = a name is made up
	Wish    Spec   // order
	Image   string // order, reimage: "" = the default, the one it has
	DiskGB  int    // order, resize: a multiple of 10, 0 = 10
	Keys    []string
	To      PiName // move
	Reason  string
	Typed   string // by staff, where the verb asks for it: the server's name
	// Once makes a command that is sent again the same one. Key "" = it is not.
	Once Once
}

// Once is a caller's own name for a command (the Idempotency-Key of HTTP), with a
// digest of what it asked for.
type Once struct {
	Key    string
	Digest string
}

// OnceRow is what a command came to that may be sent again.
type OnceRow struct {
	Account string // or "staff:" and the operator's name
	Once
	Verb   ServerVerb
	Server string
	Job    int64
	Time   time.Time
}

// ServerResult is what became of a command: the server, and the job that carries
// it out, 0 = it is over.
type ServerResult struct {
	Server   string
	Job      int64
	Repeated bool // it had been given before, under its Once
}

// Errors of a command on a server, for errors.Is. Others that it may have are
// ErrNotAllowed, ErrNotNow, ErrAccountClosed, ErrNoSuchAccount, ErrTooMany and
// ErrStopped.
var (
	ErrBadOrder     = errors.New("bad order") // what is wrong follows: the caller's mistake
	ErrNoSuchServer = errors.New("no such server")
	ErrServerTaken  = errors.New("the name is taken")
	ErrNoneFree     = errors.New("no such Pi is free")
	ErrProvisioning = errors.New("it is not provisioned yet")
	ErrRebooting    = errors.New("it is already rebooting")
	ErrOnceDiffers  = errors.New("the same idempotency key came with another request")
	ErrNoSuchTask   = errors.New("no such task")
	ErrNotWritten   = errors.New("nothing is done that could not be written down")
)

// ServerView is a server as its owner may see it, immutable.
type ServerView struct {
	Server
	Pi        PiName // "" = it has none any more
	Gen       uint64
	Model     Model
	Board     Spec
	Power     PowerView
	Wanted    bool // what the port should be
	Stage     Stage
	Since     time.Time // in this stage
	Diagnosis Diagnosis // when stalled
	Root      VolumeView
	Former    bool // undo has something to bring back
	Rescue    bool
	HostKeys  []HostKey // that it shows now
	Job       *JobView  // not ended job, nil = none
}

// TaskView is how far a job on a server has come, in words for its owner.
type TaskView struct {
	JobView
	Account string
	Server  string
	Status  string
}

// Desk is what an order API needs of the engine; *Engine is one. A server is
// there for its account as soon as Serve has returned.
type Desk interface {
	// Serve carries out a command on a server: it returns when it is written
	// down, and its job goes on after. See the errors above.
	Serve(ctx context.Context, cmd ServerCommand) (ServerResult, error)
	// Server finds a server that has not ended. account "" = anybody's.
	Server(account, name string) (ServerView, bool)
	// Servers lists those that have not ended, by name.
	Servers(account string) []ServerView
	// Task finds a job on a server of the account; ErrNoSuchTask.
	Task(ctx context.Context, account string, id int64) (TaskView, error)
	// Rules are how servers are ordered now.
	Rules() *Rules
	// Accounts are the customers; ChangeAccounts carries out a command on them.
	Accounts() *Accounts
	ChangeAccounts(ctx context.Context, cmd AccountCommand) error
	// KeyUsed takes note that a key was used.
	KeyUsed(id string)
	// Operators are the staff.
	Operators() *Operators
	// Snapshot is the rack.
	Snapshot() *Snapshot
	// Notices are those of an account after a number, oldest first.
	Notices(ctx context.Context, account string, after int64, limit int) ([]Notice, error)
	// LastNotice is the number of the newest notice, of whichever account: where
	// who listens from now on begins.
	LastNotice() int64
	// Noticed is closed when there are newer notices than when it was asked for.
	Noticed() <-chan struct{}
	// Ledger returns the rows of an account up to a time, oldest first. account
	// "" = all.
	Ledger(ctx context.Context, account string, until time.Time) ([]LedgerRow, error)
	// Billed is the time before which the ledger has all its rows. No row to come
	// is before it, so that what is counted up to it stays.
	Billed() time.Time
	// Boots returns the boots of a Pi, newest first; see Inventory.
	Boots(ctx context.Context, pi PiName, limit int) ([]Boot, error)
}
