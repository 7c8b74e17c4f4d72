package store

import (
	"database/sql/driver"
	"fmt"
	"strings"

	"picloud/engine"
)

// table is a table as Save and the reads use it. Its columns stand here once,
// in the order in which row gives a row's values, so that writing and reading
// cannot disagree.
type table[R any] struct {
	noun   string // of a row, in errors
	name   string
	keys   int            // the first columns are the key
	all    []string       // columns
	row    func(*R) []any // pointers into a row, both to write from and to scan into
	insert string         // for rows only ever appended: a key given twice is an error
	upsert string         // inserts a row or replaces the one with its key
}

// newTable takes the columns as words.
func newTable[R any](noun, name, key, columns string, row func(*R) []any) table[R] {
	keys, rest := strings.Fields(key), strings.Fields(columns)
	t := table[R]{noun: noun, name: name, keys: len(keys), all: append(keys, rest...), row: row}
	t.insert = "INSERT INTO " + name + " (" + strings.Join(t.all, ", ") + ") VALUES (?" +
		strings.Repeat(", ?", len(t.all)-1) + ")"
	set := make([]string, len(rest))
	for i, c := range rest {
		set[i] = c + " = excluded." + c
	}
	// Not INSERT OR REPLACE: that deletes the row first, and its children with it.
	t.upsert = t.insert + " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
	return t
}

// sel is a SELECT of all columns, ended by tail.
func (t table[R]) sel(tail string) string {
	return "SELECT " + strings.Join(t.all, ", ") + " FROM " + t.name + " " + tail
}

// of gives the columns with the table's alias, for joins.
func (t table[R]) of(alias string) string {
	return alias + "." + strings.Join(t.all, ", "+alias+".")
}

// names a row in an error, by its key: "boot event 12/3".
func (t table[R]) title(args []any) string {
	key := make([]string, t.keys)
	for i := range key {
		v, err := args[i].(driver.Valuer).Value()
		key[i] = fmt.Sprint(v)
		if err != nil || v == "" {
			key[i] = "?"
		}
	}
	return t.noun + " " + strings.Join(key, "/")
}

var switches = newTable("switch", "switches", "name",
	"ports", switchRow)

func switchRow(s *engine.Switch) []any { return []any{text[string]{&s.Name}, number[int]{&s.Ports}} }

var ports = newTable("port", "ports", "switch port",
	"at enabled delivering detection denied overload short milliwatts has_watts link_known link_up stp", portRow)

func portRow(p *engine.PortRow) []any {
	r := &p.Reading
	return []any{
		text[string]{&p.Port.Switch}, number[int]{&p.Port.Port}, moment{&p.At},
		flag{&r.Enabled}, flag{&r.Delivering}, text[string]{&r.Detection},
		number[uint32]{&r.Denied}, number[uint32]{&r.Overload}, number[uint32]{&r.Short},
		number[int]{&r.Milliwatts}, flag{&r.HasWatts}, flag{&r.LinkKnown}, flag{&r.LinkUp}, text[string]{&r.STP},
	}
}

var servers = newTable("server", "servers", "name",
	"owner address gateway disk account state wish_model wish_memory wish_cpu wish_nic image disk_gb "+
		"number ssh_port price task placed created live ended note", serverRow)

func serverRow(s *engine.Server) []any {
	return append([]any{
		text[string]{&s.Name}, text[string]{&s.Owner}, prefix{&s.Address}, addr{&s.Gateway}, number[int64]{&s.Disk},
		optional{&s.Account}, text[engine.ServerState]{&s.State},
	}, append(specRow(&s.Wish),
		text[string]{&s.Image}, number[int]{&s.DiskGB}, number[int]{&s.Number}, number[int]{&s.SSHPort},
		number[engine.Pence]{&s.Price}, number[int64]{&s.Task}, moment{&s.Placed}, moment{&s.Created},
		moment{&s.Live}, moment{&s.Ended}, text[string]{&s.Note})...)
}

func specRow(s *engine.Spec) []any {
	return []any{number[int]{&s.Model}, number[int]{&s.Memory}, number[int]{&s.CPU}, number[int]{&s.NIC}}
}

var serverKeys = newTable("server key", "server_keys", "server seq",
	"line", serverKeyRow)

// serverKey is one line of a server's or an operator's keys.
type serverKey struct {
	server string
	seq    int
	line   string
}

func serverKeyRow(k *serverKey) []any {
	return []any{text[string]{&k.server}, number[int]{&k.seq}, text[string]{&k.line}}
}

var operators = newTable("operator", "operators", "name",
	"role added", operatorRow)

func operatorRow(o *engine.Operator) []any {
	return []any{text[string]{&o.Name}, role{&o.Role}, moment{&o.Added}}
}

var operatorKeys = newTable("operator key", "operator_keys", "operator seq",
	"line", serverKeyRow) // the same columns

var images = newTable("image", "images", "name",
	"label added", imageRow)

func imageRow(i *engine.Image) []any {
	return []any{text[string]{&i.Name}, text[string]{&i.Label}, moment{&i.Added}}
}

var pis = newTable("pi", "pis", "name",
	"segment interface server_addr addr switch port model serial mac life note server power volume former image former_image rescue memory exam", piRow)

func piRow(p *engine.Pi) []any {
	s := &p.Segment
	return []any{
		text[engine.PiName]{&p.Name},
		text[string]{&s.Name}, text[string]{&s.Interface}, addr{&s.Server}, prefix{&s.Addr},
		optional{&s.Port.Switch}, number[int]{&s.Port.Port},
		text[engine.Model]{&p.Model}, number[uint32]{&p.Serial}, mac{&p.MAC},
		text[engine.Life]{&p.Life}, text[string]{&p.Note}, optional{&p.Server}, flag{&p.Power},
		text[string]{&p.Volume}, text[string]{&p.Former}, text[string]{&p.Image}, text[string]{&p.FormerImage},
		flag{&p.Rescue}, number[int]{&p.Memory}, flag{&p.Exam},
	}
}

var volumes = newTable("volume", "volumes", "name",
	"pi image state created changed size server", volumeRow)

func volumeRow(v *engine.Volume) []any {
	return []any{
		text[string]{&v.Name}, text[engine.PiName]{&v.Pi}, text[string]{&v.Image},
		text[engine.VolumeState]{&v.State}, moment{&v.Created}, moment{&v.Changed}, number[int64]{&v.Size},
		text[string]{&v.Server},
	}
}

var hostKeys = newTable("host key", "host_keys", "volume system seq",
	"type fingerprint", hostKeyRow)

// Whose SSH server a host key is of.
const (
	ofRoot   = "root"
	ofRescue = "rescue"
)

// hostKey is a volume's key with its place.
type hostKey struct {
	volume string
	system string
	seq    int
	engine.HostKey
}

func hostKeyRow(k *hostKey) []any {
	return []any{
		text[string]{&k.volume}, text[string]{&k.system}, number[int]{&k.seq},
		text[string]{&k.Type}, text[string]{&k.Fingerprint},
	}
}

var jobs = newTable("job", "jobs", "id",
	"batch audit verb pi actor image volume state step error created started ended dest size server", jobRow)

func jobRow(j *engine.Job) []any {
	return []any{
		number[int64]{&j.ID}, number[int64]{&j.Batch}, number[int64]{&j.Audit}, text[string]{&j.Verb},
		text[engine.PiName]{&j.Pi}, text[string]{&j.Actor}, text[string]{&j.Image}, text[string]{&j.Volume},
		text[engine.JobState]{&j.State}, number[int]{&j.Step}, text[string]{&j.Error},
		moment{&j.Created}, moment{&j.Started}, moment{&j.Ended}, text[engine.PiName]{&j.To}, number[int64]{&j.Size},
		text[string]{&j.Server},
	}
}

var steps = newTable("step", "steps", "job seq",
	"name state detail started ended", stepRow)

// jobStep is a step with its place.
type jobStep struct {
	job int64
	seq int
	engine.Step
}

func stepRow(s *jobStep) []any {
	return []any{
		number[int64]{&s.job}, number[int]{&s.seq}, text[string]{&s.Name},
		text[engine.StepState]{&s.State}, text[string]{&s.Detail}, moment{&s.Started}, moment{&s.Ended},
	}
}

var boots = newTable("boot", "boots", "id",
	"pi started reached up cause", bootRow)

func bootRow(b *engine.Boot) []any {
	return []any{
		number[int64]{&b.ID}, text[engine.PiName]{&b.Pi}, moment{&b.Started},
		stage{&b.Reached}, moment{&b.Up}, text[string]{&b.Cause},
	}
}

var bootEvents = newTable("boot event", "boot_events", "boot seq",
	"time stage evidence", eventRow)

func eventRow(e *engine.BootLine) []any {
	return []any{
		number[int64]{&e.Boot}, number[int]{&e.Seq},
		moment{&e.Time}, stage{&e.Stage}, text[string]{&e.Evidence},
	}
}

var audit = newTable("audit row", "audit", "id",
	"time actor source key verb target reason job result ended", auditRow)

func auditRow(a *engine.AuditRow) []any {
	return []any{
		number[int64]{&a.ID}, moment{&a.Time}, text[string]{&a.Actor}, text[string]{&a.Source},
		text[string]{&a.Key}, text[string]{&a.Verb}, text[string]{&a.Target}, text[string]{&a.Reason},
		number[int64]{&a.Job}, text[string]{&a.Result}, moment{&a.Ended},
	}
}

var logLines = newTable("log line", "log", "id",
	"time actor pi job text", logRow)

func logRow(l *engine.LogLine) []any {
	return []any{
		number[int64]{&l.ID}, moment{&l.Time}, text[string]{&l.Actor},
		text[engine.PiName]{&l.Pi}, number[int64]{&l.Job}, text[string]{&l.Text},
	}
}
