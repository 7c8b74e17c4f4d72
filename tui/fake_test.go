package tui

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"picloud/engine"
)

// epoch is when the tests take place.
var epoch = time.Date(2026, 11, 23, 14, 2, 30, 0, time.UTC)

// fakeRack behaves as the engine does towards a console: it publishes
// snapshots to mailboxes, refuses stale generations, keeps commands, and pages
// its log and boots.
type fakeRack struct {
	engine.Viewer // nil: what is not below is not asked for

	mu     sync.Mutex
	snap   *engine.Snapshot
	boxes  map[int]engine.Mailbox[*engine.Snapshot]
	nextID int
	cmds   []engine.Command
	log    []engine.LogLine  // newest first
	audit  []engine.AuditRow // newest first
	boots  map[engine.PiName][]engine.Boot
	guards map[engine.VerbName]engine.Guards
	fail   error // what Do, Boots and Log return
}

func newFake(s *engine.Snapshot) *fakeRack {
	f := &fakeRack{snap: s, boxes: map[int]engine.Mailbox[*engine.Snapshot]{}, boots: map[engine.PiName][]engine.Boot{}}
	f.log = slices.Clone(s.Log)
	f.audit = auditOf(s.Log)
	return f
}

func (f *fakeRack) Snapshot() *engine.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap
}

func (f *fakeRack) Subscribe() (<-chan *engine.Snapshot, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, box := f.nextID, engine.NewMailbox[*engine.Snapshot]()
	f.nextID++
	f.boxes[id] = box
	return box.C(), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.boxes, id)
	}
}

// change publishes a changed copy of the snapshot.
func (f *fakeRack) change(edit func(s *engine.Snapshot)) *engine.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := *f.snap
	s.Gen++
	s.Pis = slices.Clone(s.Pis)
	s.Switches = slices.Clone(s.Switches)
	s.Log = slices.Clone(s.Log)
	edit(&s)
	count(&s)
	f.snap = &s
	for _, b := range f.boxes {
		b.Put(&s)
	}
	return &s
}

func (f *fakeRack) Do(ctx context.Context, cmd engine.Command) (engine.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cmds = append(f.cmds, cmd)
	if f.fail != nil {
		return engine.Result{}, f.fail
	}
	var res engine.Result
	for i, t := range cmd.Targets {
		j := slices.IndexFunc(f.snap.Pis, func(p engine.PiView) bool { return p.Name == t.Pi })
		switch {
		case j < 0:
			res.Refused = append(res.Refused, engine.Refused{Pi: t.Pi, Why: engine.ErrNoSuchPi})
		case f.snap.Pis[j].Gen != t.Gen:
			res.Refused = append(res.Refused, engine.Refused{Pi: t.Pi, Why: engine.ErrStale})
		default:
			res.Accepted = append(res.Accepted, engine.Accepted{Pi: t.Pi, Job: int64(8900 + i)})
		}
	}
	return res, nil
}

func (f *fakeRack) commands() []engine.Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.cmds)
}

func (f *fakeRack) Guards(v engine.VerbName) engine.Guards {
	if g, ok := f.guards[v]; ok {
		return g
	}
	verb, _ := engine.FindVerb(v)
	return verb.Guards
}

func (f *fakeRack) Boots(_ context.Context, pi engine.PiName, limit int) ([]engine.Boot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.boots[pi]
	return b[:min(len(b), limit)], f.fail
}

func (f *fakeRack) Log(_ context.Context, before int64, limit int) ([]engine.LogLine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []engine.LogLine
	for _, l := range f.log {
		if (before == 0 || l.ID < before) && len(out) < limit {
			out = append(out, l)
		}
	}
	return out, f.fail
}

func (f *fakeRack) Audit(_ context.Context, before int64, limit int) ([]engine.AuditRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []engine.AuditRow
	for _, r := range f.audit {
		if (before == 0 || r.ID < before) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, f.fail
}

// auditOf makes acts of lines of the log; the newest is not over.
func auditOf(lines []engine.LogLine) []engine.AuditRow {
	var out []engine.AuditRow
	for i, l := range lines {
		r := engine.AuditRow{
			ID: l.ID, Time: l.Time, Actor: l.Actor, Source: "ssh 192.0.2.7:50022", Key: "SHA256:Fcp8Spl1tta5iemcfZ3H5HpIoP0bguIfsf3joeSmSsQ",
			Verb: string(engine.Verbs()[i%len(engine.Verbs())].Name), Target: string(l.Pi), Reason: "ticket 4711: " + l.Text, Job: l.Job,
		}
		if i > 0 {
			r.Result, r.Ended = []string{"ok in 6.1s", "failed: " + l.Text}[i%2], l.Time.Add(6*time.Second)
		}
		out = append(out, r)
	}
	return out
}

// count adds up a snapshot's counts.
func count(s *engine.Snapshot) {
	s.Counts = engine.Counts{Total: len(s.Pis)}
	s.PoE = engine.PoE{BudgetWatts: 370 * len(s.Switches), Complete: true}
	for i := range s.Pis {
		p := &s.Pis[i]
		s.PoE.Milliwatts += p.Milliwatts
		switch p.Stage {
		case engine.StageUp:
			s.Counts.Up++
		case engine.StageOff:
			s.Counts.Off++
		case engine.StageStalled:
			s.Counts.Stalled++
		case engine.StageUnknown:
			s.Counts.Unknown++
		default:
			s.Counts.Booting++
		}
	}
	for i := range s.Switches {
		s.PoE.Complete = s.PoE.Complete && s.Switches[i].Err == ""
	}
}

// makeRack makes a rack of switches with pis Pis in all, the same for the same
// seed: most are up, a third is rented.
func makeRack(seed uint64, switches, pis int) *engine.Snapshot {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &engine.Snapshot{Gen: 1, At: epoch, Rack: "A3", Images: []engine.Image{{Name: "bookworm64"}, {Name: "trixie64"}}}
	for i := range switches {
		sw := engine.SwitchView{Name: fmt.Sprintf("sw%d", i+1), Ports: 48, Answered: epoch.Add(-time.Second), BudgetWatts: 370, Uptime: 90 * time.Hour, Milliwatts: 100000}
		for range 48 {
			sw.Pis = append(sw.Pis, -1)
		}
		s.Switches = append(s.Switches, sw)
	}
	ports := r.Perm(48 * switches)[:min(pis, 48*switches)]
	slices.Sort(ports)
	for i, port := range ports {
		s.Pis = append(s.Pis, makePi(r, i, port))
		s.Switches[port/48].Pis[port%48] = i
	}
	for i := range min(30, 30*len(s.Pis)) {
		p := s.Pis[r.IntN(len(s.Pis))]
		s.Log = append(s.Log, engine.LogLine{ID: int64(1000 - i), Time: epoch.Add(-time.Duration(i) * 40 * time.Second),
			Actor: []string{"-", "alice", "api"}[r.IntN(3)], Pi: p.Name, Job: int64(8812-i) * int64(r.IntN(2)),
			Text: []string{"cycle: ok 6.1s (off 4.0s, link, dhcp)", "tftp: 9f3c11d2/start4.elf not found (served 0 of 5)", "up in 38.2s"}[r.IntN(3)]})
	}
	s.Space = engine.SpaceSeen{Driver: "lvm", Quota: true, Pool: engine.PoolReading{Size: 2e12, Used: 122e10, Metadata: 0.12}}
	s.SpaceAt = epoch.Add(-5 * time.Second)
	count(s)
	return s
}

func makePi(r *rand.Rand, i, port int) engine.PiView {
	name := engine.PiName(fmt.Sprintf("a3-%03d", i+1))
	base := uint32(127<<24|64<<16) + uint32(4*i)
	at := func(n uint32) netip.Addr {
		n += base
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	p := engine.PiView{
		Name: name, Gen: uint64(100 + i), Port: engine.PortID{Switch: fmt.Sprintf("sw%d", port/48+1), Port: port%48 + 1},
		Model: []engine.Model{engine.Model3B, engine.Model3BPlus, engine.Model4B, engine.Model5}[r.IntN(4)],
		MAC:   engine.MAC{0xdc, 0xa6, 0x32, 0, byte(i >> 8), byte(i)}, Serial: r.Uint32(), Addr: at(2),
		Segment: engine.Segment{Name: "v" + string(name[3:]), Interface: "lo", Server: at(1)},
		Life:    engine.LifeReady, Power: engine.PowerOn, PowerAt: epoch.Add(-time.Second), Wanted: true,
		Milliwatts: 2000 + r.IntN(1500), HasWatts: true, Link: "up", Stage: engine.StageUp,
		Since: epoch.Add(-time.Duration(r.IntN(50)+2) * time.Hour), Root: "pi-" + string(name[3:]) + "-1",
		Image: []string{"bookworm64", "trixie64"}[r.IntN(2)],
	}
	if i%3 == 0 {
		p.Life, p.Server, p.Owner = engine.LifeLive, fmt.Sprintf("web-%d", i), fmt.Sprintf("t-%03d", r.IntN(200))
	}
	setStage(r, &p)
	setStorage(&p, i)
	return p
}

// setStorage gives a Pi volumes on an LVM pool.
func setStorage(p *engine.PiView, i int) {
	p.RootVolume = engine.VolumeView{Created: epoch.Add(-3 * time.Hour), Changed: epoch.Add(-3 * time.Hour), UseAt: epoch.Add(-12 * time.Second),
		Use:      engine.VolumeUse{Size: 10e9, Used: int64(i*37%97) * 1e8},
		HostKeys: []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:BfRCQzVGq5BAMeAW4EjxcUwJ8DPUCSMsx5XUx1mnQ0A"}}}
	p.Export = p.Segment.Server.String() + ":/srv/picloud/" + string(p.Name)
}

func setStage(r *rand.Rand, p *engine.PiView) {
	start := epoch.Add(-time.Duration(r.IntN(90)+5) * time.Second)
	p.Boot = &engine.Boot{ID: int64(p.Gen), Pi: p.Name, Started: start, Reached: engine.StageUp, Events: []engine.BootEvent{
		{Time: start, Stage: engine.StagePower, Evidence: "the switch delivers 0.9 W"},
		{Time: start.Add(2100 * time.Millisecond), Stage: engine.StageDHCP, Evidence: "DISCOVER 1"},
		{Time: start.Add(4300 * time.Millisecond), Stage: engine.StageFirmware, Evidence: "start4.elf asked for, 2.2 MB"},
	}}
	switch n := r.IntN(100); {
	case n < 80:
		p.Boot.Up = start.Add(38 * time.Second)
		p.NFS, p.NFSAt = engine.NFSSeen{Connected: true, BytesIn: 1 << 20, BytesOut: 300 << 20, RTT: 400 * time.Microsecond}, epoch.Add(-2*time.Second)
	case n < 88:
		p.Stage, p.Power, p.Milliwatts, p.HasWatts, p.Wanted = engine.StageOff, engine.PowerOff, 0, false, false
	case n < 96:
		p.Stage, p.Since = engine.Stage(1+r.IntN(5)), start
		p.Boot.Reached = p.Stage
	case n < 98:
		p.Stage, p.LastStage, p.Since = engine.StageStalled, engine.StageFirmware, start
		p.Diagnosis = engine.Diagnosis{At: engine.StageFirmware, Fault: "file-missing",
			Cause: "start4.elf was asked for 5 times and is not in its boot folder", Hint: "reimage it, or copy start4.elf to /boot/firmware of its root"}
		p.Boot.Cause = p.Diagnosis.Cause
	case n < 99:
		p.Stage, p.LastStage, p.Power, p.Since = engine.StageUnknown, engine.StageUp, engine.PowerUnknown, start
	default:
		p.Life, p.Note, p.Stage, p.Power, p.Server, p.Owner = engine.LifeBroken, "fan is dead", engine.StageOff, engine.PowerOff, "", ""
	}
}
