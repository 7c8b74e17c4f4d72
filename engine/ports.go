package engine

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrNotFound is returned by Inventory reads for a row that is not there.
var ErrNotFound = errors.New("not found")

// State is everything an Inventory holds that the engine needs at its start.
// Ended jobs, old boots, log and audit stay in the store and are paged.
type State struct {
	Pis     []Pi
	Servers []Server // without those that have ended and hold no number
	Images  []Image
	Volumes []Volume   // without removed ones
	Jobs    []Job      // not ended
	Open    []AuditRow // not ended
	// Operators have no Fingerprint of their keys when they are loaded.
	Operators []Operator
	Accounts  []Account
	APIKeys   []APIKey
	Webhooks  []Webhook
	Onces     []OnceRow
	LastID    LastIDs
	Billed    time.Time // of the newest row of the ledger
}

// LastIDs are the highest numbers ever given, so that none is given twice.
type LastIDs struct{ Job, Boot, Audit, Log, Ledger, Notice int64 }

// Changes is what one turn of the loop has to make lasting. An Inventory saves
// all of it or nothing. Rows are whole and replace the row with their key.
type Changes struct {
	Switches []Switch
	Pis      []Pi
	// RemovePis are places that the configuration no longer has.
	RemovePis []PiName
	Servers   []Server
	Images    []Image
	Volumes   []Volume
	Jobs      []Job
	Boots     []Boot     // without Events
	Events    []BootLine // appended
	Audit     []AuditRow // by ID: an open row is inserted, then closed once
	Log       []LogLine  // appended
	Ports     []PortRow  // last reading of a port, for the time after a restart
	Operators []Operator
	// RemoveOperators are names of operators who are none any more.
	RemoveOperators []string
	Accounts        []Account
	APIKeys         []APIKey
	Webhooks        []Webhook
	// RemoveWebhooks are IDs of webhooks that are no more; what was on its way to
	// them is dropped.
	RemoveWebhooks []string
	Onces          []OnceRow
	// ForgetOnces removes those that are older.
	ForgetOnces time.Time
	Ledger      []LedgerRow // appended
	Notices     []Notice    // appended
	Deliveries  []Delivery  // inserted
}

// Empty tells whether there is nothing to save.
func (c *Changes) Empty() bool {
	return len(c.Switches)+len(c.Pis)+len(c.RemovePis)+len(c.Servers)+len(c.Images)+len(c.Volumes)+
		len(c.Jobs)+len(c.Boots)+len(c.Events)+len(c.Audit)+len(c.Log)+len(c.Ports)+
		len(c.Operators)+len(c.RemoveOperators)+len(c.Accounts)+len(c.APIKeys)+len(c.Webhooks)+len(c.RemoveWebhooks)+
		len(c.Onces)+len(c.Ledger)+len(c.Notices)+len(c.Deliveries) == 0 && c.ForgetOnces.IsZero()
}

// BootLine is a BootEvent on its way to the store.
type BootLine struct {
	Boot int64
	Seq  int
	BootEvent
}

// PortRow is a port's last change of state, with its time.
type PortRow struct {
	Port    PortID
	Reading PortReading
	At      time.Time
}

// Inventory keeps what must last. Save is only ever called by one goroutine;
// the reads may be called by many at once.
type Inventory interface {
	// Load reads the state left by the last process.
	Load(ctx context.Context) (State, error)
	// Save makes the changes lasting in one transaction, in the order of the
	// fields of Changes. After an error nothing of them is stored.
	Save(ctx context.Context, c Changes) error
	// Boots returns a Pi's boots, newest first, with their events.
	Boots(ctx context.Context, pi PiName, limit int) ([]Boot, error)
	// Log returns lines older than before (0 = the newest), newest first.
	Log(ctx context.Context, before int64, limit int) ([]LogLine, error)
	// Audit returns rows older than before (0 = the newest), newest first.
	Audit(ctx context.Context, before int64, limit int) ([]AuditRow, error)
	// Jobs returns jobs older than before (0 = the newest), newest first.
	Jobs(ctx context.Context, before int64, limit int) ([]Job, error)
	// Job returns a job, ErrNotFound if there is none of that number.
	Job(ctx context.Context, id int64) (Job, error)
	// Notices returns those of an account ("" = all) after a number, oldest first.
	Notices(ctx context.Context, account string, after int64, limit int) ([]Notice, error)
	// Deliveries returns what was and is to be sent to a webhook of an account,
	// newest notice first and older than before (0 = the newest).
	Deliveries(ctx context.Context, account, webhook string, before int64, limit int) ([]Sending, error)
	// Ledger returns all rows of an account ("" = all) before a time, oldest first.
	Ledger(ctx context.Context, account string, before time.Time) ([]LedgerRow, error)
}

// Power switches ports. Implementations serialise writes per switch and read
// back before they return: no error means the port now is as asked.
type Power interface {
	SetPower(ctx context.Context, port PortID, on bool) (PortReading, error)
}

// Roots makes, publishes and removes the roots that Pis boot from. Every call
// is idempotent, since a step is run again after a crash.
type Roots interface {
	// Clone makes volume from image with room for size bytes (0: as much as
	// the image has), whole or not at all. progress may be nil.
	Clone(ctx context.Context, image, volume string, size int64, progress func(done, total int64)) error
	// Personalise writes what is the own of whoever has the Pi, and returns
	// the SSH host keys that the root has.
	Personalise(ctx context.Context, volume string, who Person) ([]HostKey, error)
	// Keys makes keys those that may log in to a root, also while it runs, and
	// changes nothing else in it.
	Keys(ctx context.Context, volume string, keys []string) error
	// Publish exports volume to the Pi's address and withdraws any other
	// export of that Pi. It returns the export as people know it.
	Publish(ctx context.Context, pi Pi, volume string) (export string, err error)
	// Withdraw ends every export of the Pi.
	Withdraw(ctx context.Context, pi Pi) error
	// Grow gives a volume room for size bytes, also while its Pi runs. One
	// that has just as much is no error.
	Grow(ctx context.Context, volume string, size int64) error
	// Rescue makes what the Pi boots in rescue mode: a small system in memory
	// that lets who in and has volume mounted. image is what it is built from.
	// It returns the SSH host keys that the small system shows.
	Rescue(ctx context.Context, pi Pi, image string, who Person) ([]HostKey, error)
	// Examine makes what the Pi boots to be examined, built from image: a small
	// system in memory that reports, and that nobody can enter. What was made
	// before counts no more: of its system no report is taken.
	Examine(ctx context.Context, pi Pi, image string) error
	// Remove deletes a volume; one that is not there is no error.
	Remove(ctx context.Context, volume string) error
}

// Person is the personal part of a root.
type Person struct {
	Hostname string
	Keys     []string
	Address  netip.Prefix // public IPv6 address, zero = none
	Gateway  netip.Addr
}
