// Package doctor looks for what keeps a rack from working: on the host, in the
// configuration, in the state folder and at the switches, before the service
// runs and while it does. It changes nothing, and says of each thing that is
// not as it should be what to do.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/link"
	"picloud/hw/poe"
	"picloud/hw/volume"
)

// Level says how bad a finding is.
type Level uint8

// The levels, each worse than the one before.
const (
	OK      Level = iota
	Warning       // it works, and soon may not, or not well
	Failure       // some Pi, or the service, does not work
)

var levelWords = [...]string{"ok", "warning", "failure"}

func (l Level) String() string { return levelWords[min(int(l), len(levelWords)-1)] }

// MarshalText is the level's word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that was looked at.
type Finding struct {
	Check   string `json:"check" doc:"its short stable name"`
	Group   string `json:"group" doc:"see doctor --only"`
	Subject string `json:"subject" doc:"what it is about, as sw1/23; empty = the host"`
	Level   Level  `json:"level" doc:"ok, warning, failure"`
	Text    string `json:"text" doc:"what is"`
	Remedy  string `json:"remedy" doc:"what to do: a command or a sentence; empty = nothing"`
}

// Health is the finding as the engine shows it.
func (f Finding) Health() engine.HealthFinding {
	return engine.HealthFinding{Check: f.Check, Subject: f.Subject, Failure: f.Level == Failure, Text: f.Text, Remedy: f.Remedy}
}

func okf(subject, format string, args ...any) Finding {
	return Finding{Subject: subject, Text: fmt.Sprintf(format, args...)}
}

func warnf(subject, remedy, format string, args ...any) Finding {
	return Finding{Subject: subject, Level: Warning, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func failf(subject, remedy, format string, args ...any) Finding {
	return Finding{Subject: subject, Level: Failure, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

// ofError is a finding with an error's text. Errors of this program end with
// what to do in parentheses.
func ofError(level Level, subject string, err error) Finding {
	text, remedy := err.Error(), ""
	var failed *poe.Error
	if errors.As(err, &failed) {
		text, remedy = failed.Err.Error(), failed.Hint
	} else if i := strings.LastIndex(text, " ("); i > 0 && strings.HasSuffix(text, ")") && !strings.Contains(text, "\n") {
		text, remedy = text[:i], text[i+2:len(text)-1]
	}
	return Finding{Subject: subject, Level: level, Text: text, Remedy: remedy}
}

// Switch is what is asked of a switch.
type Switch interface {
	Poll(ctx context.Context) (poe.Reading, error)
	Bridge(ctx context.Context) (poe.Bridge, error)
	Rewrite(ctx context.Context, port int) error
}

// Links is what is asked of the host's interfaces; see package link.
type Links interface {
	Lookup(name string) (link.Interface, error)
	CheckAddress(name string, want netip.Prefix) error
	Neighbours(name string) ([]link.Neighbour, error)
}

// Env is what the checks look at. All but Config may be left out, and what
// needs it is then not checked.
type Env struct {
	Config *config.Config
	File   string // the configuration's, "" = none
	// Pis are the places for Pis with the boards known there: those of the
	// configuration, or of the running service.
	Pis []engine.Pi
	// Service is the process that serves the rack now, 0 = none. In the
	// service itself Inside is set, too: it watches the volumes and the
	// switches' answers already.
	Service int
	Inside  bool
	// WriteTest lets a switch be told what it was told before.
	WriteTest bool

	Database, Backups string // a file and a folder
	Links             Links
	Clock             func() (Clock, error)
	Now               func() time.Time
	// NFS returns the NFS server that the configuration asks for.
	NFS func() (driver string, err error)
	// Portmapper is where rpcbind answers.
	Portmapper string
	// Pool returns the room of the volumes; errors.ErrUnsupported before the
	// service made any.
	Pool func(ctx context.Context) (volume.Pool, error)
	// Switch returns a switch to be asked with a community of SNMP 2c, "" =
	// that of the configuration, and what to call when it is done with.
	Switch func(s config.Switch, community string) (Switch, func(), error)
	// Images are the images that roots can be made from.
	Images func(ctx context.Context) ([]Image, error)
}

// Check is one thing to look at.
type Check struct {
	Name  string
	Group string
	// Service is set if the service looks at it by itself, every few minutes:
	// it is cheap, disturbs nobody, and may change while the service runs.
	Service bool
	Run     func(ctx context.Context, e *Env) []Finding
}

// checks are in the order in which they run and are shown.
var checks = []Check{
	{"clock", "host", true, checkClock},
	{"ports", "host", false, checkPorts},
	{"file-modes", "files", true, checkModes},
	{"free-space", "files", true, checkSpace},
	{"database", "files", false, checkDatabase},
	{"backup", "files", true, checkBackups},
	{"images", "files", true, checkImages},
	{"interfaces", "network", true, checkInterfaces},
	{"neighbours", "network", true, checkNeighbours},
	{"forwarding", "network", true, checkForwarding},
	{"nfs-server", "nfs", true, checkNFS},
	{"rpcbind", "nfs", true, checkPortmapper},
	{"volumes", "volumes", false, checkVolumes},
	{"switches", "switches", true, checkSwitches},
}

// Checks returns all checks.
func Checks() []Check { return slices.Clone(checks) }

// Groups are the groups of checks, in order. "config" is the configuration
// file itself, without which there is nothing else to check.
func Groups() []string {
	groups := []string{groupConfig}
	for _, c := range checks {
		if !slices.Contains(groups, c.Group) {
			groups = append(groups, c.Group)
		}
	}
	return groups
}

const groupConfig = "config"

// longestCheck bounds one check: a switch that answers slowly keeps nobody
// waiting for ever.
const longestCheck = 3 * time.Minute

// Examine runs the checks that want picks and returns what they found. It
// returns early when ctx ends.
func Examine(ctx context.Context, e *Env, want func(Check) bool) Report {
	e = e.filled()
	r := Report{Version: reportVersion, At: e.Now().UTC().Truncate(time.Millisecond), Rack: e.Config.Rack, Serving: e.Service != 0}
	for _, c := range checks {
		if !want(c) || ctx.Err() != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, longestCheck)
		found := c.Run(limited, e)
		cancel()
		if ctx.Err() != nil {
			break // what it found is that it was stopped
		}
		for _, f := range found {
			f.Check, f.Group = cmp.Or(f.Check, c.Name), c.Group
			r.add(f)
		}
	}
	return r
}

func (e *Env) filled() *Env {
	filled := *e
	if filled.Now == nil {
		filled.Now = time.Now
	}
	if filled.Clock == nil {
		filled.Clock = ReadClock
	}
	if filled.Portmapper == "" {
		filled.Portmapper = "127.0.0.1:111"
	}
	return &filled
}

// place is how people name a Pi's switch port.
func place(p *engine.Pi) string { return p.Segment.Port.String() }
