package engine

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// rack is the state that the loop's goroutine owns. Its methods are called by
// that goroutine only (and by New, before there is one).
type rack struct {
	e        *Engine
	name     string
	switches []*switchState
	pis      map[PiName]*piState
	order    []*piState // by name
	byClient map[netip.Addr]*piState
	bySeg    map[string]*piState
	byPort   map[PortID]*piState
	servers  map[string]Server
	images   map[string]Image
	volumes  map[string]Volume
	jobs     map[int64]*jobState // not ended
	ended    []JobView           // ended lately, newest first
	batches  map[int64]*batch
	open     map[int64]AuditRow // not closed
	log      []LogLine          // newest first, for snapshots
	ids      LastIDs
	changes  Changes
	storeErr error
	dropped  uint64
	gen      uint64
	dirty    bool // a snapshot is due
	slots    int  // taken of cfg.Starting
	runners  runners
}

// switchState is a switch and what it last said.
type switchState struct {
	Switch
	answered time.Time // zero = never
	reading  SwitchReading
	err      string
}

// silent tells whether what is known of the switch's ports is only the past.
func (s *switchState) silent() bool { return s == nil || s.answered.IsZero() || s.err != "" }

// newRack builds the rack from what was stored.
func newRack(e *Engine, s State) *rack {
	r := &rack{
		e: e, ids: s.LastID,
		pis: map[PiName]*piState{}, servers: map[string]Server{}, images: map[string]Image{},
		volumes: map[string]Volume{}, jobs: map[int64]*jobState{}, batches: map[int64]*batch{},
		open: map[int64]AuditRow{},
	}
	for _, p := range s.Pis {
		r.pis[p.Name] = newPiState(p)
	}
	for _, v := range s.Servers {
		r.servers[v.Name] = v
	}
	for _, v := range s.Images {
		r.images[v.Name] = v
	}
	for _, v := range s.Volumes {
		r.volumes[v.Name] = v
	}
	for _, a := range s.Open {
		r.open[a.ID] = a
	}
	for _, j := range s.Jobs {
		r.restoreJob(j)
	}
	return r
}

// applyLayout joins the configuration with what is stored: the configuration
// says where things are, the store what became of them.
func (r *rack) applyLayout(l Layout) {
	r.name = l.Rack
	r.layoutSwitches(l.Switches)
	for _, img := range l.Images {
		if have, ok := r.images[img.Name]; !ok || have.Label != img.Label {
			r.images[img.Name] = img
			r.changes.Images = append(r.changes.Images, img)
		}
	}
	for _, s := range l.Servers {
		r.servers[s.Name] = s
		r.changes.Servers = append(r.changes.Servers, s)
	}
	keep := make(map[PiName]bool, len(l.Pis))
	for _, p := range l.Pis {
		keep[p.Name] = true
		r.layoutPi(p)
	}
	for name, p := range r.pis {
		if !keep[name] {
			r.dropPi(p)
		}
	}
	r.reindex()
	r.dirty = true
}

func (r *rack) layoutSwitches(list []Switch) {
	old := make(map[string]*switchState, len(r.switches))
	for _, s := range r.switches {
		old[s.Name] = s
	}
	r.switches = r.switches[:0:0]
	for _, s := range list {
		st := old[s.Name]
		if st == nil || st.Ports != s.Ports {
			st = &switchState{Switch: s}
			r.changes.Switches = append(r.changes.Switches, s)
		}
		r.switches = append(r.switches, st)
	}
}

// layoutPi takes a place of the configuration. A board that the store already
// knows (it was adopted, say) stays; the configuration's only fills gaps.
func (r *rack) layoutPi(p Pi) {
	have, ok := r.pis[p.Name]
	if !ok {
		if p.Life == "" {
			p.Life = LifeReady
			if p.MAC == (MAC{}) {
				p.Life = LifeNew
			}
		}
		have = newPiState(p)
		r.pis[p.Name] = have
		r.savePi(have)
		return
	}
	before := have.Pi
	have.Segment = p.Segment
	have.Server = cmp.Or(p.Server, have.Server)
	have.Model = cmp.Or(have.Model, p.Model)
	have.Serial = cmp.Or(have.Serial, p.Serial)
	have.MAC = cmp.Or(have.MAC, p.MAC)
	have.Image = cmp.Or(have.Image, p.Image)
	if before != have.Pi {
		r.savePi(have)
	}
}

func (r *rack) dropPi(p *piState) {
	if p.job != nil {
		r.cancelJob(p.job, "its place was taken out of the configuration")
	}
	delete(r.pis, p.Name)
	r.changes.RemovePis = append(r.changes.RemovePis, p.Name)
	r.logf(SystemActor().Name, p.Name, 0, "taken out of the configuration; its roots are kept")
}

// reindex rebuilds the look-ups after the layout changed.
func (r *rack) reindex() {
	r.order = r.order[:0:0]
	r.byClient = make(map[netip.Addr]*piState, len(r.pis))
	r.bySeg = make(map[string]*piState, len(r.pis))
	r.byPort = make(map[PortID]*piState, len(r.pis))
	switches := make(map[string]*switchState, len(r.switches))
	for _, s := range r.switches {
		switches[s.Name] = s
	}
	for _, p := range r.pis {
		r.order = append(r.order, p)
		r.byClient[p.Segment.Addr.Addr()] = p
		r.bySeg[p.Segment.Name] = p
		r.byPort[p.Segment.Port] = p
		p.sw = switches[p.Segment.Port.Switch]
	}
	slices.SortFunc(r.order, func(a, b *piState) int { return cmp.Compare(a.Name, b.Name) })
}

// savePi marks a Pi's row for the store, and the boot table for renewal.
func (r *rack) savePi(p *piState) {
	r.changes.Pis = append(r.changes.Pis, p.Pi)
	r.bump(p)
}

// bump gives the Pi a new generation: whoever decided on the former one has to
// look again.
func (r *rack) bump(p *piState) {
	r.gen++
	p.gen = r.gen
	r.dirty = true
}

func (r *rack) saveVolume(v Volume) {
	v.Changed = time.Now()
	r.volumes[v.Name] = v
	if v.State == VolumeRemoved {
		delete(r.volumes, v.Name)
	}
	r.changes.Volumes = append(r.changes.Volumes, v)
}

// markVolume changes what a volume is kept for; one that is not known is none.
func (r *rack) markVolume(name string, s VolumeState) {
	if v, ok := r.volumes[name]; ok && v.State != s {
		v.State = s
		r.saveVolume(v)
	}
}

// flush makes all changes lasting. When the store fails they are kept and
// tried again, and the rack refuses new acts until they are in.
func (r *rack) flush(ctx context.Context) error {
	if r.changes.Empty() {
		return nil
	}
	// A cancelled context must not lose the last changes of a clean stop.
	err := r.e.cfg.Inventory.Save(context.WithoutCancel(ctx), r.changes)
	if (err == nil) != (r.storeErr == nil) {
		r.dirty = true
	}
	r.storeErr = err
	if err != nil {
		r.boundUnsaved()
		return errors.Join(errStore, err)
	}
	r.changes = Changes{}
	return nil
}

var errStore = errors.New("the store did not take it")

// maxUnsaved bounds what is kept in memory while the store fails: beyond it
// the oldest timeline rows go, never what an act depends on.
const maxUnsaved = 100_000

func (r *rack) boundUnsaved() {
	if n := len(r.changes.Events) - maxUnsaved; n > 0 {
		r.changes.Events = slices.Delete(r.changes.Events, 0, n)
	}
	if n := len(r.changes.Log) - maxUnsaved; n > 0 {
		r.changes.Log = slices.Delete(r.changes.Log, 0, n)
	}
}
