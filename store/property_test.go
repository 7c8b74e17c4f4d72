package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"picloud/engine"
)

// model is an Inventory as simple as can be: what the store has to be like.
type model struct {
	pis     map[engine.PiName]engine.Pi
	servers map[string]engine.Server
	images  map[string]engine.Image
	volumes map[string]engine.Volume
	jobs    map[int64]engine.Job
	boots   map[int64]engine.Boot
	audit   map[int64]engine.AuditRow
	log     map[int64]engine.LogLine
	ports   map[engine.PortID]engine.PortRow
	staff   map[string]engine.Operator
	last    engine.LastIDs
	sold
}

func newModel() *model {
	return &model{
		pis: map[engine.PiName]engine.Pi{}, servers: map[string]engine.Server{}, images: map[string]engine.Image{},
		volumes: map[string]engine.Volume{}, jobs: map[int64]engine.Job{}, boots: map[int64]engine.Boot{},
		audit: map[int64]engine.AuditRow{}, log: map[int64]engine.LogLine{}, ports: map[engine.PortID]engine.PortRow{},
		staff: map[string]engine.Operator{}, sold: newSold(),
	}
}

func putAll[K comparable, V any](to map[K]V, from []V, key func(V) K) {
	for _, v := range from {
		to[key(v)] = v
	}
}

func (m *model) save(c engine.Changes) {
	putAll(m.pis, c.Pis, func(p engine.Pi) engine.PiName { return p.Name })
	for _, name := range c.RemovePis {
		delete(m.pis, name)
	}
	putAll(m.servers, c.Servers, func(s engine.Server) string { return s.Name })
	putAll(m.images, c.Images, func(i engine.Image) string { return i.Name })
	putAll(m.volumes, c.Volumes, func(v engine.Volume) string { return v.Name })
	putAll(m.jobs, c.Jobs, func(j engine.Job) int64 { return j.ID })
	for _, b := range c.Boots {
		b.Events = m.boots[b.ID].Events
		m.boots[b.ID] = b
	}
	for _, e := range c.Events {
		b := m.boots[e.Boot]
		b.Events = append(slices.Clip(b.Events), e.BootEvent)
		m.boots[e.Boot] = b
	}
	putAll(m.audit, c.Audit, func(a engine.AuditRow) int64 { return a.ID })
	putAll(m.log, c.Log, func(l engine.LogLine) int64 { return l.ID })
	putAll(m.ports, c.Ports, func(p engine.PortRow) engine.PortID { return p.Port })
	putAll(m.staff, c.Operators, func(o engine.Operator) string { return o.Name })
	for _, name := range c.RemoveOperators {
		delete(m.staff, name)
	}
	m.sold.save(c)
}

func byKey[K cmp.Ordered, V any](from map[K]V, keep func(V) bool) []V {
	var list []V
	for _, k := range slices.Sorted(maps.Keys(from)) {
		if keep(from[k]) {
			list = append(list, from[k])
		}
	}
	return list
}

func anyOf[V any](V) bool { return true }

func newestFirst[V any](list []V) []V { slices.Reverse(list); return list }

func (m *model) state() engine.State {
	st := engine.State{
		Pis: byKey(m.pis, anyOf), Servers: byKey(m.servers, func(s engine.Server) bool { return !s.State.Ended() || s.Number != 0 }), Images: byKey(m.images, anyOf),
		Volumes: byKey(m.volumes, func(v engine.Volume) bool { return v.State != engine.VolumeRemoved }),
		Jobs:    byKey(m.jobs, func(j engine.Job) bool { return !j.State.Ended() }),
		Open:    byKey(m.audit, func(a engine.AuditRow) bool { return a.Ended.IsZero() }),
		LastID:  m.last, Operators: byKey(m.staff, anyOf),
	}
	m.sold.state(&st)
	return st
}

// compare reads everything back.
func (m *model) compare(ctx context.Context, t *rapid.T, s *Store) {
	check := func(what string, want, got any) {
		if diff := gocmp.Diff(want, got, equal); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("state", m.state(), must(s.Load(ctx)))
	check("jobs", newestFirst(byKey(m.jobs, anyOf)), must(s.Jobs(ctx, 0, MaxPage)))
	check("audit", newestFirst(byKey(m.audit, anyOf)), must(s.Audit(ctx, 0, MaxPage)))
	check("log", newestFirst(byKey(m.log, anyOf)), must(s.Log(ctx, 0, MaxPage)))
	for name := range m.pis {
		of := func(b engine.Boot) bool { return b.Pi == name }
		check("boots", newestFirst(byKey(m.boots, of)), must(s.Boots(ctx, name, MaxPage)))
	}
	ports := slices.SortedFunc(maps.Values(m.ports), func(a, b engine.PortRow) int {
		return cmp.Or(strings.Compare(a.Port.Switch, b.Port.Switch), cmp.Compare(a.Port.Port, b.Port.Port))
	})
	check("ports", ports, must(s.Ports(ctx)))
	for id := range m.jobs {
		check("job", m.jobs[id], must(s.Job(ctx, id)))
	}
	m.sold.compare(ctx, s, check)
}

// gen draws the parts of Changes. Names come from few, so that rows are often
// replaced; texts are any bytes.
type gen struct{ *rapid.T }

func (g gen) text() string { return string(rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(g.T, "text")) }
func (g gen) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c d", "é", "%", "'"}).Draw(g.T, "name")
}
func (g gen) number() int    { return rapid.Int().Draw(g.T, "number") }
func (g gen) count() int     { return rapid.IntRange(0, 1<<40).Draw(g.T, "count") }
func (g gen) uint32() uint32 { return rapid.Uint32().Draw(g.T, "uint32") }
func (g gen) bool() bool     { return rapid.Bool().Draw(g.T, "bool") }

func (g gen) time() time.Time {
	return time.UnixMicro(rapid.Int64Range(-1<<53, 1<<53).Draw(g.T, "time")).UTC()
}

func (g gen) maybeTime() time.Time {
	if g.bool() {
		return time.Time{}
	}
	return g.time()
}

func (g gen) addr() netip.Addr {
	switch rapid.IntRange(0, 3).Draw(g.T, "family") {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(g.T, "v4")))
	case 2:
		return netip.MustParseAddr("fe80::1%eth0.101")
	}
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(g.T, "v6")))
}

func (g gen) prefix() netip.Prefix {
	a := g.addr().WithZone("")
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(g.T, "bits"))
}

func (g gen) stage() engine.Stage {
	return engine.Stage(rapid.IntRange(0, int(engine.StageUnknown)).Draw(g.T, "stage"))
}

func pick[T any](g gen, from ...T) T { return rapid.SampledFrom(from).Draw(g.T, "pick") }

// some draws a short list.
func some[T any](g gen, one func() T) []T {
	var list []T
	for range rapid.IntRange(0, 3).Draw(g.T, "n") {
		list = append(list, one())
	}
	return list
}

func (g gen) pi(m *model) engine.Pi {
	server := ""
	if names := slices.Sorted(maps.Keys(m.servers)); len(names) > 0 && g.bool() {
		server = pick(g, names...)
	}
	return engine.Pi{
		Name: engine.PiName(g.name()),
		Segment: engine.Segment{
			Name: g.text(), Interface: g.text(), Server: g.addr(), Addr: g.prefix(),
			Port: engine.PortID{Switch: pick(g, "", "sw1", "sw2"), Port: g.count()},
		},
		Model: engine.Model(g.text()), Serial: g.uint32(),
		MAC: engine.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(g.T, "mac")),
		Life: pick(g, engine.LifeNew, engine.LifeReady, engine.LifeAllocated, engine.LifeDeploying,
			engine.LifeLive, engine.LifeReleasing, engine.LifeBroken),
		Note: g.text(), Server: server, Power: g.bool(), Volume: g.text(), Former: g.text(),
		Image: g.text(), FormerImage: g.text(), Rescue: g.bool(), Memory: g.count(), Exam: g.bool(),
	}
}

func (g gen) operator() engine.Operator {
	return engine.Operator{
		Name: g.name(), Role: pick(g, engine.RoleViewer, engine.RoleOperator, engine.RoleAdmin), Added: g.maybeTime(),
		Keys: some(g, func() engine.OperatorKey { return engine.OperatorKey{Line: g.text()} }),
	}
}

func (g gen) image() engine.Image {
	return engine.Image{Name: g.name(), Label: g.text(), Added: g.maybeTime()}
}

func (g gen) volume() engine.Volume {
	return engine.Volume{
		Name: g.name(), Pi: engine.PiName(g.text()), Image: g.text(), Created: g.maybeTime(), Changed: g.maybeTime(),
		State: pick(g, engine.VolumeMaking, engine.VolumeCurrent, engine.VolumeFormer, engine.VolumeRemoved),
		Size:  int64(g.number()), HostKeys: some(g, g.hostKey), RescueKeys: some(g, g.hostKey), Server: g.text(),
	}
}

func (g gen) hostKey() engine.HostKey { return engine.HostKey{Type: g.text(), Fingerprint: g.text()} }

// id is a new number, with gaps, or one that was given before.
func (g gen) id(last *int64) int64 {
	if *last > 0 && g.bool() {
		return rapid.Int64Range(1, *last).Draw(g.T, "old id")
	}
	return g.newID(last)
}

func (g gen) newID(last *int64) int64 {
	*last += rapid.Int64Range(1, 3).Draw(g.T, "gap")
	return *last
}

func (g gen) job(m *model) engine.Job {
	return engine.Job{
		ID: g.id(&m.last.Job), Batch: int64(g.number()), Audit: int64(g.number()), Verb: g.text(),
		Pi: engine.PiName(g.text()), Actor: g.text(), Image: g.text(), Volume: g.text(),
		To: engine.PiName(g.text()), Size: int64(g.number()), Server: g.text(),
		State: pick(g, engine.JobQueued, engine.JobRunning, engine.JobDone, engine.JobFailed, engine.JobCancelled),
		Step:  g.count(), Error: g.text(), Created: g.time(), Started: g.maybeTime(), Ended: g.maybeTime(),
		Steps: some(g, func() engine.Step {
			return engine.Step{
				Name: g.text(), Detail: g.text(), Started: g.maybeTime(), Ended: g.maybeTime(),
				State: pick(g, engine.StepWaiting, engine.StepRunning, engine.StepDone, engine.StepFailed),
			}
		}),
	}
}

func (g gen) boot(m *model) engine.Boot {
	return engine.Boot{
		ID: g.id(&m.last.Boot), Pi: engine.PiName(g.name()), Started: g.time(), Reached: g.stage(),
		Up: g.maybeTime(), Cause: g.text(),
	}
}

// events appends to boots that are stored or saved by the same Changes. A list
// of Changes may name a boot that is not there only by its own mistake.
func (g gen) events(m *model, boots []engine.Boot) []engine.BootLine {
	next := map[int64]int{}
	for id, b := range m.boots {
		next[id] = len(b.Events)
	}
	for _, b := range boots {
		next[b.ID] = len(m.boots[b.ID].Events)
	}
	ids := slices.Sorted(maps.Keys(next))
	if len(ids) == 0 {
		return nil
	}
	return some(g, func() engine.BootLine {
		id := pick(g, ids...)
		next[id]++
		return engine.BootLine{Boot: id, Seq: next[id] - 1, BootEvent: engine.BootEvent{
			Time: g.time(), Stage: g.stage(), Evidence: g.text(),
		}}
	})
}

// auditRow opens a row, writes one already closed, or closes an open one.
func (g gen) auditRow(m *model, used map[int64]bool) engine.AuditRow {
	row := engine.AuditRow{}
	open := byKey(m.audit, func(a engine.AuditRow) bool { return a.Ended.IsZero() && !used[a.ID] })
	if closing := len(open) > 0 && g.bool(); closing {
		row = pick(g, open...)
	} else {
		row = engine.AuditRow{
			ID: g.newID(&m.last.Audit), Time: g.time(), Actor: g.text(), Source: g.text(), Key: g.text(),
			Verb: g.text(), Target: g.text(), Reason: g.text(), Job: int64(g.number()),
		}
		if g.bool() {
			used[row.ID] = true
			return row
		}
	}
	used[row.ID] = true
	row.Result, row.Ended = "x"+g.text(), g.time()
	return row
}

func (g gen) port() engine.PortRow {
	port := engine.PortID{Switch: pick(g, "sw1", "sw2"), Port: rapid.IntRange(1, 4).Draw(g.T, "port")}
	return engine.PortRow{Port: port, At: g.time(), Reading: engine.PortReading{
		Port: port.Port, Enabled: g.bool(), Delivering: g.bool(), Detection: g.text(), Denied: g.uint32(),
		Overload: g.uint32(), Short: g.uint32(), Milliwatts: g.number(), HasWatts: g.bool(), LinkKnown: g.bool(),
		LinkUp: g.bool(), STP: g.text(),
	}}
}

func (g gen) changes(m *model) engine.Changes {
	used := map[int64]bool{}
	c := engine.Changes{
		Switches: []engine.Switch{{Name: "sw1", Ports: g.count()}, {Name: "sw2", Ports: g.count()}},
		Pis:      some(g, func() engine.Pi { return g.pi(m) }), RemovePis: some(g, func() engine.PiName { return engine.PiName(g.name()) }),
		Images: some(g, g.image), Volumes: some(g, g.volume),
		Jobs:  some(g, func() engine.Job { return g.job(m) }),
		Boots: some(g, func() engine.Boot { return g.boot(m) }),
		Audit: some(g, func() engine.AuditRow { return g.auditRow(m, used) }),
		Log: some(g, func() engine.LogLine {
			return engine.LogLine{
				ID: g.newID(&m.last.Log), Time: g.time(), Actor: g.text(), Pi: engine.PiName(g.text()),
				Job: int64(g.number()), Text: g.text(),
			}
		}),
		Ports: some(g, g.port), Operators: some(g, g.operator), RemoveOperators: some(g, g.name),
	}
	c.Events = g.events(m, c.Boots)
	g.onePiEach(m, &c)
	g.orders(m, &c)
	return c
}

// Whatever is saved, in whatever order, is what comes back, before and after a
// restart.
func TestSaveLoadRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := 0
	empty := emptyDatabase(t)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			rt.Fatal(err)
		}
		open := func() *Store {
			s, err := Open(t.Context(), path, Options{})
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()
		m := newModel()
		for range rapid.IntRange(1, 4).Draw(rt, "saves") {
			c := gen{rt}.changes(m)
			if err := s.Save(t.Context(), c); err != nil {
				rt.Fatal(err)
			}
			m.save(c)
			gen{rt}.deliver(t.Context(), m, s)
			m.compare(t.Context(), rt, s)
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		s = open()
		m.compare(t.Context(), rt, s)
	})
}

// emptyDatabase is made once: making one is most of the time of a check.
func emptyDatabase(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "picloud.db")
	openAt(t, path, Options{}).Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
