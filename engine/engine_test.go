package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is an Inventory in memory that keeps what it is given, whole.
type memory struct {
	mu      sync.Mutex
	fail    error
	left    int // saves until it fails for good, -1 = it does not
	armed   *armed
	state   State
	pis     map[PiName]Pi
	volumes map[string]Volume
	jobs    map[int64]Job
	audit   map[int64]AuditRow
	log     []LogLine
	events  []BootLine
	saves   []Changes
	wrong   []string // states that must never be stored
	sold    sold
}

func newMemory() *memory {
	return &memory{
		pis: map[PiName]Pi{}, volumes: map[string]Volume{}, jobs: map[int64]Job{}, audit: map[int64]AuditRow{}, left: -1,
		sold: newSold(),
	}
}

// failAfter lets n more saves succeed, -1 = all.
func (m *memory) failAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = n
}

// armed is what the next save of a job of the verb sets left to.
type armed struct {
	verb VerbName
	left int
}

// failAfterJob lets n more saves succeed after the one that takes the verb's next
// job. The job may be far by the time that the command's answer is read.
func (m *memory) failAfterJob(verb VerbName, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = &armed{verb, n}
}

func (m *memory) Load(context.Context) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	for _, p := range m.pis {
		s.Pis = append(s.Pis, p)
	}
	for _, v := range m.volumes {
		if v.State != VolumeRemoved {
			s.Volumes = append(s.Volumes, v)
		}
	}
	for id, j := range m.jobs {
		s.LastID.Job = max(s.LastID.Job, id)
		if !j.State.Ended() {
			s.Jobs = append(s.Jobs, j)
		}
	}
	for id, a := range m.audit {
		s.LastID.Audit = max(s.LastID.Audit, id)
		if a.Ended.IsZero() {
			s.Open = append(s.Open, a)
		}
	}
	m.sold.load(&s)
	return s, nil
}

func (m *memory) Save(_ context.Context, c Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.left == 0 {
		return errors.New("disk full")
	}
	m.left = max(m.left-1, -1)
	m.saves = append(m.saves, c)
	for _, p := range c.Pis {
		m.pis[p.Name] = p
	}
	for _, n := range c.RemovePis {
		delete(m.pis, n)
	}
	for _, v := range c.Volumes {
		m.volumes[v.Name] = v
	}
	for _, j := range c.Jobs {
		m.jobs[j.ID] = j
	}
	for _, a := range c.Audit {
		m.audit[a.ID] = a
	}
	m.log = append(m.log, c.Log...)
	m.events = append(m.events, c.Events...)
	m.sold.save(&c)
	m.wrong = append(m.wrong, slices.Concat(m.mistakes(), m.sold.mistakes())...)
	if m.armed != nil && slices.ContainsFunc(c.Jobs, func(j Job) bool { return j.Verb == string(m.armed.verb) }) {
		m.left, m.armed = m.armed.left, nil
	}
	return nil
}

// mistakes lists what no stored state may ever hold: a server on two Pis, and
// a root that two have, or that is not its Pi's.
func (m *memory) mistakes() []string {
	var list []string
	server, root := map[string]PiName{}, map[string]PiName{}
	for _, p := range m.pis {
		if other, ok := server[p.Server]; ok && p.Server != "" {
			list = append(list, fmt.Sprintf("%s is on %s and %s", p.Server, other, p.Name))
		}
		server[p.Server] = p.Name
		for _, want := range []Volume{{Name: p.Volume, State: VolumeCurrent}, {Name: p.Former, State: VolumeFormer}} {
			v := m.volumes[want.Name]
			if want.Name == "" {
				continue
			}
			if other, ok := root[v.Name]; ok {
				list = append(list, fmt.Sprintf("%s is of %s and %s", v.Name, other, p.Name))
			}
			if root[v.Name] = p.Name; v.Pi != p.Name || v.State != want.State {
				list = append(list, fmt.Sprintf("%s is the %s root of %s: %+v", want.Name, want.State, p.Name, v))
			}
		}
	}
	return append(list, m.servedMistakes()...)
}

func (m *memory) Boots(context.Context, PiName, int) ([]Boot, error)    { return nil, nil }
func (m *memory) Log(context.Context, int64, int) ([]LogLine, error)    { return nil, nil }
func (m *memory) Audit(context.Context, int64, int) ([]AuditRow, error) { return nil, nil }
func (m *memory) Jobs(context.Context, int64, int) ([]Job, error)       { return nil, nil }
func (m *memory) volume(name string) VolumeState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.volumes[name].State
}

// bench is an engine on a rack of fake hardware that behaves: a powered Pi
// boots through every stage unless told to stop at one.
type bench struct {
	t       *testing.T
	e       *Engine
	mem     *memory
	mu      sync.Mutex
	on      map[PortID]bool
	up      map[PortID]bool
	noNFS   PiName // it never mounts its root
	stopAt  map[PiName]Stage
	refuse  error // of SetPower
	lie     bool
	calls   []string
	roots   map[string]Person
	exports map[PiName]string
	fails   map[string]error // of a call of Roots, by its first word
	wrong   []string
	boards  *boards // nil: those of the layout, which are never examined
	done    chan error
	cancel  context.CancelFunc
}

func segment(i int) Segment {
	base := netip.AddrFrom4([4]byte{127, 64, byte(i >> 6), byte(i << 2)})
	return Segment{
		Name: fmt.Sprintf("s%d", i), Interface: "lo", Server: base.Next(),
		Addr: netip.PrefixFrom(base.Next().Next(), 30), Port: PortID{fmt.Sprintf("sw%d", i/48+1), i%48 + 1},
	}
}

func layout(n int) Layout {
	l := Layout{Rack: "T", Switches: []Switch{{"sw1", 48}}, Images: []Image{{Name: "base"}, {Name: "other"}}}
	for i := range n {
		l.Pis = append(l.Pis, Pi{
			Name: PiName(fmt.Sprintf("t-%03d", i)), Segment: segment(i), Model: Model4B, MAC: MAC{1, 2, 3, 4, 5, byte(i)},
			Image: "base", Power: true,
		})
	}
	return l
}

func newBench(t *testing.T, n int, change func(*Config)) *bench {
	t.Helper()
	b := rig(t)
	b.start(layout(n), change)
	return b
}

func (b *bench) start(l Layout, change func(*Config)) {
	cfg := Config{Layout: l, Inventory: b.mem, Power: b, Roots: b, Hold: 2 * time.Second}
	if change != nil {
		change(&cfg)
	}
	e, err := New(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.e, b.done = e, make(chan error, 1)
	b.mu.Unlock()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel = cancel
	done := b.done
	go func() { done <- e.Run(ctx) }()
	go b.poll(ctx, e)
}

// engine is the one that runs now, for the boards: they outlive it.
func (b *bench) engine() *Engine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.e
}

func (b *bench) stop() {
	b.t.Helper()
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Errorf("Run: %v", err)
	}
	synctest.Wait()
	b.report()
}

// report tells what must never have happened.
func (b *bench) report() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range [][]string{b.wrong, b.mem.wrong} {
		for _, what := range list {
			b.t.Error(what)
		}
	}
	b.wrong, b.mem.wrong = nil, nil
}

// poll reads all ports each second, as a switch's worker does, and tells of
// the Pis that are up again and again, as the watchers of NFS and SSH do.
func (b *bench) poll(ctx context.Context, e *Engine) {
	for ctx.Err() == nil {
		e.Observe(Observation{Time: time.Now(), Switch: b.reading()})
		b.mu.Lock()
		for port := range b.up {
			client := segment(port.Port - 1).Addr.Addr()
			if port.Port != b.portOf(b.noNFS) {
				e.Observe(Observation{Time: time.Now(), NFS: &NFSSeen{Client: client, Connected: true, Since: time.Unix(900, 0), BytesIn: 100}})
			}
			e.Observe(Observation{Time: time.Now(), SSH: &SSHSeen{Client: client, Banner: "SSH-2.0-test"}})
		}
		b.mu.Unlock()
		_ = sleep(ctx, time.Second)
	}
}

// portOf is the port of a Pi of layout, 0 = none.
func (b *bench) portOf(pi PiName) (port int) {
	if _, err := fmt.Sscanf(string(pi), "t-%d", &port); err != nil {
		return 0
	}
	return port + 1
}

func (b *bench) reading() *SwitchReading {
	r := &SwitchReading{Switch: "sw1", BudgetWatts: 740}
	for port := 1; port <= 48; port++ {
		r.Ports = append(r.Ports, b.port(PortID{"sw1", port}))
	}
	return r
}

func (b *bench) port(id PortID) PortReading {
	b.mu.Lock()
	defer b.mu.Unlock()
	on := b.on[id]
	if b.boards.missing(id) {
		return PortReading{Port: id.Port, Enabled: on, Detection: map[bool]string{true: detectionSearching, false: "disabled"}[on]}
	}
	return PortReading{Port: id.Port, Enabled: on, Delivering: on, Detection: map[bool]string{true: "deliveringPower", false: "disabled"}[on]}
}

func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

func (b *bench) did(prefix string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, c := range b.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (b *bench) SetPower(ctx context.Context, id PortID, on bool) (PortReading, error) {
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return PortReading{}, err
	}
	b.note("power %s %t", id, on)
	b.mu.Lock()
	refuse, lie, was := b.refuse, b.lie, b.on[id]
	if refuse == nil && !lie && was != on {
		b.on[id] = on
		delete(b.up, id)
	}
	b.mu.Unlock()
	if refuse != nil {
		return PortReading{}, refuse
	}
	if lie {
		return b.port(id), errors.New("said yes and did nothing")
	}
	if on && !was {
		go b.boot(ctx, id)
	}
	return b.port(id), nil
}

// boot sends the evidence of a Pi 4 that boots, up to the stage it stops at.
func (b *bench) boot(ctx context.Context, id PortID) {
	ctx = context.WithoutCancel(ctx)
	if b.boards.boot(b, id) {
		return
	}
	seg := segment(id.Port - 1)
	pi := PiName(fmt.Sprintf("t-%03d", id.Port-1))
	mac := MAC{1, 2, 3, 4, 5, byte(id.Port - 1)}
	client := seg.Addr.Addr()
	for _, step := range []struct {
		stage Stage
		o     Observation
	}{
		{StageDHCP, Observation{DHCP: &DHCPSeen{Segment: seg.Name, Kind: "discover", MAC: mac, Model: Model4B, ROM: true}}},
		{StageDHCP, Observation{DHCP: &DHCPSeen{Segment: seg.Name, Kind: "offer", MAC: mac}}},
		{StageFirmware, Observation{TFTP: &TFTPSeen{Client: client, Kind: "requested", Name: "start4.elf"}}},
		{StageFirmware, Observation{TFTP: &TFTPSeen{Client: client, Kind: "served", Name: "start4.elf", Bytes: 10}}},
		{StageKernel, Observation{TFTP: &TFTPSeen{Client: client, Kind: "served", Name: "kernel8.img", Bytes: 10, Kernel: true}}},
		{StageRoot, Observation{NFS: &NFSSeen{Client: client, Connected: true, Since: time.Unix(900, 0), BytesIn: 100}}},
		{StageUp, Observation{SSH: &SSHSeen{Client: client, Banner: "SSH-2.0-test"}}},
	} {
		_ = sleep(ctx, 500*time.Millisecond)
		b.mu.Lock()
		stop, limited := b.stopAt[pi]
		on := b.on[id]
		b.mu.Unlock()
		if !on || limited && step.stage > stop {
			return
		}
		if step.stage == StageRoot && pi == b.noNFS {
			continue
		}
		step.o.Time = time.Now()
		b.engine().Observe(step.o)
		if step.stage == StageUp {
			b.mu.Lock()
			b.up[id] = true
			b.mu.Unlock()
		}
	}
}

func (b *bench) Clone(ctx context.Context, image, volume string, size int64, progress func(done, total int64)) error {
	b.note("clone %s %s %d", image, volume, size)
	for i := range int64(4) {
		progress(i, 4)
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roots[volume] = Person{}
	return nil
}

func (b *bench) Personalise(_ context.Context, volume string, who Person) ([]HostKey, error) {
	b.note("personalise %s %s", volume, who.Hostname)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roots[volume] = who
	return []HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:" + volume}}, nil
}

func (b *bench) Grow(_ context.Context, volume string, size int64) error {
	b.note("grow %s %d", volume, size)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fails["grow"]
}

func (b *bench) Keys(_ context.Context, volume string, keys []string) error {
	b.note("keys %s %d", volume, len(keys))
	b.mu.Lock()
	defer b.mu.Unlock()
	who, ok := b.roots[volume]
	if !ok {
		return errors.New("no such root")
	}
	who.Keys = keys
	b.roots[volume] = who
	return b.fails["keys"]
}

func (b *bench) Rescue(_ context.Context, pi Pi, image string, who Person) ([]HostKey, error) {
	b.note("rescue %s %s %s", pi.Name, image, who.Hostname)
	return []HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:rescue"}}, nil
}

// Publish has done its work before it takes its time: who is stopped within it
// does not know that it did.
func (b *bench) Publish(ctx context.Context, pi Pi, volume string) (string, error) {
	b.note("publish %s %s", pi.Name, volume)
	b.mu.Lock()
	err := b.fails["publish"]
	if err == nil {
		b.exports[pi.Name] = volume
	}
	if _, ok := b.roots[volume]; !ok {
		b.wrong = append(b.wrong, fmt.Sprintf("%s is exported to %s and is not there", volume, pi.Name))
	}
	for other, v := range b.exports {
		if v == volume && other != pi.Name {
			b.wrong = append(b.wrong, fmt.Sprintf("%s is exported to %s and to %s", volume, other, pi.Name))
		}
	}
	b.mu.Unlock()
	return "export of " + volume, errors.Join(err, sleep(ctx, 20*time.Millisecond))
}

func (b *bench) Withdraw(ctx context.Context, pi Pi) error {
	b.note("withdraw %s", pi.Name)
	b.mu.Lock()
	delete(b.exports, pi.Name)
	b.mu.Unlock()
	return sleep(ctx, 20*time.Millisecond)
}

func (b *bench) Remove(_ context.Context, volume string) error {
	b.note("remove %s", volume)
	b.mu.Lock()
	defer b.mu.Unlock()
	for pi, v := range b.exports {
		if v == volume {
			b.wrong = append(b.wrong, fmt.Sprintf("%s is removed and exported to %s", volume, pi))
		}
	}
	delete(b.roots, volume)
	return nil
}

func (b *bench) pi(name PiName) PiView {
	b.t.Helper()
	v, ok := b.e.Snapshot().Pi(name)
	if !ok {
		b.t.Fatalf("no Pi %s", name)
	}
	return *v
}

// await advances time until the condition holds.
func (b *bench) await(what string, cond func() bool) {
	b.t.Helper()
	for range 4000 {
		synctest.Wait()
		if cond() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("never: %s\n%s", what, b.dump())
}

func (b *bench) dump() string {
	var s strings.Builder
	for _, p := range b.e.Snapshot().Pis {
		fmt.Fprintf(&s, "%s %s since %s: %s %+v\n", p.Name, p.Stage, p.Since.Format(time.TimeOnly), p.Diagnosis.Cause, p.Job)
	}
	for _, l := range b.e.Snapshot().Log {
		fmt.Fprintf(&s, "  %s %s %s %s\n", l.Time.Format(time.TimeOnly), l.Actor, l.Pi, l.Text)
	}
	return s.String()
}

func (b *bench) awaitAll(s Stage) {
	b.t.Helper()
	b.await("all "+s.String(), func() bool {
		for _, p := range b.e.Snapshot().Pis {
			if p.Stage != s || p.Job != nil {
				return false
			}
		}
		return true
	})
}

var alice = Actor{Name: "alice", Role: RoleOperator, Source: "tty"}

func (b *bench) act(verb VerbName, pi PiName, passed GuardKind, typed string) error {
	b.t.Helper()
	res, err := b.e.Do(b.t.Context(), Command{
		Verb: verb, Actor: alice, Targets: []Target{{pi, b.pi(pi).Gen}}, Passed: passed, Typed: typed,
	})
	return errors.Join(err, res.Err())
}

func TestRackBootsFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, nil)
		b.awaitAll(StageUp)
		for _, p := range b.e.Snapshot().Pis {
			if p.Root == "" || b.mem.volume(p.Root) != VolumeCurrent {
				t.Errorf("%s: root %q is %q in the store", p.Name, p.Root, b.mem.volume(p.Root))
			}
			if p.Boot == nil || p.Boot.Reached != StageUp || len(p.Boot.Events) < 6 {
				t.Errorf("%s: boot %+v", p.Name, p.Boot)
			}
		}
		for _, row := range b.mem.audit {
			if row.Ended.IsZero() || !strings.HasPrefix(row.Result, "ok") {
				t.Errorf("audit row left %+v", row)
			}
		}
		b.stop()
	})
}

func TestStartingIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 12, func(c *Config) { c.Starting = 3 })
		most := 0
		b.await("all up", func() bool {
			busy := 0
			for _, p := range b.e.Snapshot().Pis {
				if p.Stage.Booting() && p.Stage < StageKernel {
					busy++
				}
			}
			most = max(most, busy)
			return b.e.Snapshot().Counts.Up == 12
		})
		if most == 0 || most > 3 {
			t.Errorf("%d Pis were between power and kernel at once, want 1 to 3", most)
		}
		b.stop()
	})
}

func TestReimageAndUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		first := b.pi("t-000").Root
		if err := b.act(VerbReimage, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("job", func() bool { return b.pi("t-000").Job != nil })
		b.awaitAll(StageUp)
		second := b.pi("t-000")
		if second.Root == first || second.Former != first {
			t.Fatalf("root %q, former %q, want a new root and former %q", second.Root, second.Former, first)
		}
		if got := b.mem.volume(first); got != VolumeFormer {
			t.Errorf("former root is %q in the store", got)
		}
		if err := b.act(VerbUndo, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("undone", func() bool { return b.pi("t-000").Root == first && b.pi("t-000").Job == nil })
		if got := b.pi("t-000").Former; got != second.Root {
			t.Errorf("after undo the former root is %q, want %q", got, second.Root)
		}
		// A third root lets go of the one before last.
		if err := b.act(VerbReimage, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("third", func() bool { return b.pi("t-000").Root != first && b.pi("t-000").Job == nil })
		if b.did("remove "+second.Root) != 1 || b.mem.volume(second.Root) != VolumeRemoved {
			t.Errorf("the root before the former was not removed: %v", b.calls)
		}
		b.stop()
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3, nil)
		b.awaitAll(StageUp)
		stale := Target{"t-000", b.pi("t-000").Gen}
		if err := b.act(VerbOff, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("off", func() bool { return b.pi("t-000").Stage == StageOff && b.pi("t-000").Job == nil })
		for _, tc := range []struct {
			name string
			cmd  Command
			want error
		}{
			{"stale", Command{Verb: VerbOn, Actor: alice, Targets: []Target{stale}}, ErrStale},
			{"viewer", Command{Verb: VerbOn, Actor: Actor{Name: "v"}, Targets: []Target{{"t-000", b.pi("t-000").Gen}}}, ErrNotAllowed},
			{"no guard", Command{Verb: VerbCycle, Actor: alice, Targets: []Target{{"t-001", b.pi("t-001").Gen}}}, ErrGuard},
			{"already on", Command{Verb: VerbOn, Actor: alice, Targets: []Target{{"t-001", b.pi("t-001").Gen}}}, ErrNotNow},
			{"no former", Command{Verb: VerbUndo, Actor: alice, Passed: GuardName, Targets: []Target{{"t-001", b.pi("t-001").Gen}}}, ErrNotNow},
			{"no such Pi", Command{Verb: VerbOn, Actor: alice, Targets: []Target{{"x", 0}}}, ErrNoSuchPi},
			{"no such verb", Command{Verb: "dance", Actor: alice}, ErrNoSuchVerb},
			{"nothing to cancel", Command{Verb: VerbCancel, Actor: alice, Targets: []Target{{"t-001", b.pi("t-001").Gen}}}, ErrNotNow},
		} {
			before := len(b.calls)
			res, err := b.e.Do(t.Context(), tc.cmd)
			if got := errors.Join(err, res.Err()); !errors.Is(got, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
			}
			time.Sleep(5 * time.Second)
			if len(b.calls) != before {
				t.Errorf("%s: refused, but did %v", tc.name, b.calls[before:])
			}
		}
		b.stop()
	})
}

func TestRentedPiNeedsItsGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layout(1)
		l.Servers = []Server{{Name: "web", Owner: "t-014", Keys: []string{"ssh-ed25519 AAAA"}}}
		l.Pis[0].Server, l.Pis[0].Life = "web", LifeLive
		b := rig(t)
		b.start(l, nil)
		b.awaitAll(StageUp)
		if got := b.roots[b.pi("t-000").Root]; got.Hostname != "web" || len(got.Keys) != 1 {
			t.Errorf("personal part %+v", got)
		}
		for _, tc := range []struct {
			verb   VerbName
			passed GuardKind
			typed  string
			ok     bool
		}{
			{VerbCycle, GuardCountdown, "", false},
			{VerbReimage, GuardYes, "", false},
			{VerbReimage, GuardName, "t-00", false},
			{VerbReimage, GuardName, "t-000", true},
		} {
			err := b.act(tc.verb, "t-000", tc.passed, tc.typed)
			if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrGuard) {
				t.Errorf("%s passed %s typed %q: %v", tc.verb, tc.passed, tc.typed, err)
			}
		}
		b.stop()
	})
}

func TestStallsNameTheirCause(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stop  Stage
		extra func(b *bench, seg Segment)
		fault string
	}{
		{"silent", StagePower, nil, "no-netboot"},
		{"offer ignored", StageDHCP, nil, "offer-ignored"},
		{"firmware", StageFirmware, nil, "firmware-hang"},
		{"kernel", StageKernel, nil, "kernel-hang"},
		{"refused", StageKernel, func(b *bench, s Segment) {
			b.e.Observe(Observation{Time: time.Now(), NFS: &NFSSeen{Client: s.Addr.Addr(), Refused: "no such export"}})
		}, "nfs-refused"},
		{"no ssh", StageRoot, nil, "no-ssh"},
		{"other board", StagePower, func(b *bench, s Segment) {
			b.e.Observe(Observation{Time: time.Now(), DHCP: &DHCPSeen{Segment: s.Name, Kind: "unknown", MAC: MAC{9}, Model: Model5}})
		}, "swapped"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rig(t)
				b.stallAt("t-000", tc.stop)
				b.start(layout(1), nil)
				if tc.extra != nil {
					time.Sleep(10 * time.Second)
					tc.extra(b, segment(0))
				}
				b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled && b.pi("t-000").Job == nil })
				d := b.pi("t-000").Diagnosis
				if d.Fault != tc.fault || d.Cause == "" || d.Hint == "" {
					t.Errorf("diagnosis %+v, want %s", d, tc.fault)
				}
				b.mu.Lock()
				delete(b.stopAt, "t-000")
				b.mu.Unlock()
				if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
					t.Fatal(err)
				}
				b.await("job", func() bool { return b.pi("t-000").Job != nil })
				b.awaitAll(StageUp)
				b.stop()
			})
		})
	}
}

func TestSwitchThatLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rig(t)
		b.lie = true
		b.start(layout(1), nil)
		b.await("stalled", func() bool { return b.pi("t-000").Stage == StageStalled })
		time.Sleep(20 * time.Second) // polls that say "off" must not hide it
		if d := b.pi("t-000").Diagnosis; d.Fault != FaultPower || !strings.Contains(d.Cause, "did nothing") {
			t.Errorf("diagnosis %+v", d)
		}
		b.mu.Lock()
		b.lie = false
		b.mu.Unlock()
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("job", func() bool { return b.pi("t-000").Job != nil })
		b.awaitAll(StageUp)
		b.stop()
	})
}

func TestBootLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		client := segment(0).Addr.Addr()
		b.mu.Lock()
		clear(b.up)
		b.mu.Unlock()
		for range 6 {
			b.e.Observe(Observation{Time: time.Now(), DHCP: &DHCPSeen{Segment: "s0", Kind: "discover", Model: Model4B, ROM: true}})
			time.Sleep(time.Second)
			b.e.Observe(Observation{Time: time.Now(), TFTP: &TFTPSeen{Client: client, Kind: "served", Name: "start4.elf"}})
			time.Sleep(time.Second)
		}
		if p := b.pi("t-000"); p.Stage != StageStalled || p.Diagnosis.Fault != FaultBootLoop {
			t.Errorf("after six resets: %s %+v", p.Stage, p.Diagnosis)
		}
		b.stop()
	})
}

func TestSilentSwitchIsUnknownWithItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.awaitAll(StageUp)
		gen := b.pi("t-001").Gen
		answered := b.e.Snapshot().Switches[0].Answered
		b.e.Observe(Observation{Time: time.Now(), Switch: &SwitchReading{Switch: "sw1", Err: "timeout"}})
		synctest.Wait()
		time.Sleep(300 * time.Millisecond)
		p := b.pi("t-001")
		if p.Stage != StageUnknown || p.Power != PowerUnknown || p.LastStage != StageUp || p.Gen == gen || p.Since.Before(answered) {
			t.Errorf("after a time-out: %s power %s last %s since %s", p.Stage, p.Power, p.LastStage, p.Since)
		}
		if err := b.act(VerbCycle, "t-001", GuardCountdown, ""); !errors.Is(err, ErrNotNow) {
			t.Errorf("cycle on a silent switch: %v", err)
		}
		b.awaitAll(StageUp) // the next poll is answered
		b.stop()
	})
}

func TestDeadPeersConnectionIsNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mu.Lock()
		b.stopAt["t-000"] = StageKernel
		b.mu.Unlock()
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		for range 200 { // the file server still shows the connection of before the cycle
			b.e.Observe(Observation{Time: time.Now(), NFS: &NFSSeen{Client: segment(0).Addr.Addr(), Connected: true, Since: time.Unix(900, 0), BytesIn: 100}})
			time.Sleep(100 * time.Millisecond)
		}
		if s := b.pi("t-000").Stage; s != StageKernel {
			t.Errorf("stage %s, want kernel: the connection is a dead peer's", s)
		}
		b.e.Observe(Observation{Time: time.Now(), NFS: &NFSSeen{Client: segment(0).Addr.Addr(), Connected: true, Since: time.Unix(901, 0), BytesIn: 7}})
		time.Sleep(time.Second)
		if s := b.pi("t-000").Stage; s != StageRoot {
			t.Errorf("stage %s, want nfs: a new connection", s)
		}
		b.stop()
	})
}

func TestNothingActsThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.awaitAll(StageUp)
		b.mem.mu.Lock()
		b.mem.fail = errors.New("disk full")
		b.mem.mu.Unlock()
		before := len(b.calls)
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("cycle with a full disk: %v", err)
		}
		time.Sleep(10 * time.Second)
		if len(b.calls) != before {
			t.Errorf("acted: %v", b.calls[before:])
		}
		if w := b.e.Snapshot().Warnings; len(w) == 0 || !strings.Contains(w[0], "disk full") {
			t.Errorf("warnings %q", w)
		}
		b.mem.mu.Lock()
		b.mem.fail = nil
		b.mem.mu.Unlock()
		time.Sleep(10 * time.Second)
		if w := b.e.Snapshot().Warnings; len(w) != 0 {
			t.Errorf("warnings stay: %q", w)
		}
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
			t.Errorf("after the disk is free again: %v", err)
		}
		b.stop()
	})
}

// TestResumesAtEveryStep stops the engine within and between all steps of a
// reimage, starts another on the same store, and wants the same end each time.
func TestResumesAtEveryStep(t *testing.T) {
	for delay := 50 * time.Millisecond; delay < 9*time.Second; delay += 170 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 1, nil)
			b.awaitAll(StageUp)
			first := b.pi("t-000").Root
			if err := b.act(VerbReimage, "t-000", GuardCountdown, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(delay)
			b.stop()
			b.start(layout(1), nil)
			b.await("done", func() bool {
				p := b.pi("t-000")
				return p.Stage == StageUp && p.Job == nil && p.Former == first
			})
			if got := b.mem.volume(b.pi("t-000").Root); got != VolumeCurrent {
				t.Errorf("after %s: root is %q", delay, got)
			}
			for _, row := range b.mem.audit {
				if row.Ended.IsZero() {
					t.Errorf("after %s: audit row open: %+v", delay, row)
				}
			}
			b.stop()
		})
	}
}

func TestBatchStopsAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, func(c *Config) { c.Starting, c.Failures = 2, 2 })
		b.awaitAll(StageUp)
		b.mu.Lock()
		b.refuse = errors.New("not writable")
		b.mu.Unlock()
		cmd := Command{Verb: VerbCycle, Actor: alice, Passed: GuardCountdown}
		for _, p := range b.e.Snapshot().Pis {
			cmd.Targets = append(cmd.Targets, Target{p.Name, p.Gen})
		}
		res, err := b.e.Do(t.Context(), cmd)
		if err != nil || len(res.Accepted) != 20 {
			t.Fatal(res, err)
		}
		b.await("batch over", func() bool {
			return !slices.ContainsFunc(b.e.Snapshot().Pis, func(p PiView) bool { return p.Job != nil })
		})
		if n := b.did("power"); n > 20+3 {
			t.Errorf("%d writes to a switch that refuses them", n-20)
		}
		b.stop()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, func(c *Config) { c.Hold = time.Minute })
		b.awaitAll(StageUp)
		if err := b.act(VerbCycle, "t-000", GuardCountdown, ""); err != nil {
			t.Fatal(err)
		}
		b.await("hold", func() bool { j := b.pi("t-000").Job; return j != nil && j.Step == stepHold })
		start := time.Now()
		if err := b.act(VerbCancel, "t-000", GuardNone, ""); err != nil {
			t.Fatal(err)
		}
		b.await("cancelled", func() bool { return b.pi("t-000").Job == nil })
		if time.Since(start) > 2*time.Second {
			t.Errorf("cancel of a hold took %s", time.Since(start))
		}
		if j := b.e.Snapshot().Jobs[0]; j.State != JobCancelled || !strings.Contains(j.Error, stepHold) {
			t.Errorf("job %+v", j)
		}
		b.stop()
	})
}

func TestMailboxNeverBlocks(t *testing.T) {
	box := NewMailbox[int]()
	for i := range 1000 {
		box.Put(i)
	}
	if got := <-box.C(); got != 999 {
		t.Errorf("got %d, want the newest", got)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\x1b[2Jb": "a?[2Jb", "nul\x00": "nul?", "ü ok": "ü ok", "\xff": "?", "\u009b31m": "?31m",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got := []rune(printable(strings.Repeat("x", 5000))); len(got) != 200 {
		t.Errorf("a long text stays %d long", len(got))
	}
}

func BenchmarkSnapshot960(b *testing.B) {
	e, err := New(b.Context(), Config{Layout: layout(960), Inventory: newMemory(), Power: &bench{}, Roots: &bench{}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.state.publishSnapshot()
	}
}
