package door

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"picloud/engine"
)

// rack behaves as the engine does towards sessions: it publishes to mailboxes,
// checks roles, guards and generations, keeps what was done, and logs it.
type rack struct {
	engine.Viewer // nil: what is not below is not asked for

	mu     sync.Mutex
	snap   *engine.Snapshot
	boxes  map[int]engine.Mailbox[*engine.Snapshot]
	nextID int
	done   []engine.Command // accepted
	asked  []engine.Command // all
	bad    []string         // commands that a console must never send
}

// newRack makes a rack of pis Pis on switches of 48 ports, most of them up.
func newRack(pis int) *rack {
	s := &engine.Snapshot{Gen: 1, At: time.Now(), Rack: "A3", Images: []engine.Image{{Name: "trixie64"}}}
	for i := range pis {
		port := i%48 + 1
		if port == 1 {
			s.Switches = append(s.Switches, engine.SwitchView{
				Name: fmt.Sprintf("sw%d", i/48+1), Ports: 48, Answered: s.At, BudgetWatts: 370,
				Pis: slices.Repeat([]int{-1}, 48),
			})
		}
		sw := &s.Switches[i/48]
		sw.Pis[port-1] = i
		p := engine.PiView{
			Name: engine.PiName(fmt.Sprintf("a3-%04d", i+1)), Gen: uint64(i + 1),
			Port: engine.PortID{Switch: sw.Name, Port: port}, Model: engine.Model4B, Life: engine.LifeReady,
			Power: engine.PowerOn, PowerAt: s.At, Wanted: true, Milliwatts: 2100, HasWatts: true, Link: "up",
			Stage: engine.StageUp, Since: s.At, Root: "r", Former: "f", Image: "trixie64",
		}
		if i%3 == 2 {
			p.Life, p.Server, p.Owner = engine.LifeLive, fmt.Sprintf("web-%d", i), "t-7"
		}
		s.Pis = append(s.Pis, p)
	}
	s.Counts = engine.Counts{Total: pis, Up: pis}
	return &rack{snap: s, boxes: make(map[int]engine.Mailbox[*engine.Snapshot])}
}

func (r *rack) Snapshot() *engine.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snap
}

func (r *rack) Subscribe() (<-chan *engine.Snapshot, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, box := r.nextID, engine.NewMailbox[*engine.Snapshot]()
	r.nextID++
	r.boxes[id] = box
	return box.C(), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.boxes, id)
	}
}

// change publishes a changed copy.
func (r *rack) change(edit func(s *engine.Snapshot)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish(edit)
}

func (r *rack) publish(edit func(s *engine.Snapshot)) {
	s := *r.snap
	s.Gen++
	s.At = time.Now()
	s.Pis, s.Log = slices.Clone(s.Pis), slices.Clone(s.Log)
	edit(&s)
	r.snap = &s
	for _, b := range r.boxes {
		b.Put(&s)
	}
}

func (r *rack) Do(ctx context.Context, cmd engine.Command) (engine.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, cmd)
	verb, ok := engine.FindVerb(cmd.Verb)
	if !ok || len(cmd.Targets) == 0 {
		r.bad = append(r.bad, fmt.Sprintf("%+v", cmd))
		return engine.Result{}, engine.ErrNoSuchVerb
	}
	if cmd.Actor.Role < verb.Role {
		return engine.Result{}, fmt.Errorf("%w: %s", engine.ErrNotAllowed, cmd.Actor.Role)
	}
	var res engine.Result
	for _, t := range cmd.Targets {
		i := slices.IndexFunc(r.snap.Pis, func(p engine.PiView) bool { return p.Name == t.Pi })
		guard := verb.Guards.For(&r.snap.Pis[i])
		if cmd.Passed < guard.Kind || guard.Kind == engine.GuardName && cmd.Typed != engine.GuardText(cmd.Verb, cmd.Targets) {
			r.bad = append(r.bad, fmt.Sprintf("%s %s without its guard", cmd.Verb, t.Pi))
			res.Refused = append(res.Refused, engine.Refused{Pi: t.Pi, Why: engine.ErrGuard})
			continue
		}
		res.Accepted = append(res.Accepted, engine.Accepted{Pi: t.Pi, Job: 1})
	}
	r.done = append(r.done, cmd)
	r.publish(func(s *engine.Snapshot) {
		line := engine.LogLine{ID: int64(s.Gen), Time: time.Now(), Actor: cmd.Actor.Name, Pi: cmd.Targets[0].Pi, Text: string(cmd.Verb)}
		s.Log = append([]engine.LogLine{line}, s.Log[:min(len(s.Log), 29)]...)
	})
	return res, nil
}

func (r *rack) commands() (done, asked []engine.Command, bad []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.done), slices.Clone(r.asked), slices.Clone(r.bad)
}

func (r *rack) viewers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.boxes)
}

func (r *rack) Guards(v engine.VerbName) engine.Guards {
	verb, _ := engine.FindVerb(v)
	return verb.Guards
}

func (r *rack) Boots(context.Context, engine.PiName, int) ([]engine.Boot, error) { return nil, nil }
func (r *rack) Log(context.Context, int64, int) ([]engine.LogLine, error)        { return nil, nil }
func (r *rack) Audit(context.Context, int64, int) ([]engine.AuditRow, error)     { return nil, nil }
