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
	e          *Engine
	name       string
	switches   []*switchState
	pis        map[PiName]*piState
	order      []*piState // by name
	byClient   map[netip.Addr]*piState
	bySeg      map[string]*piState
	byPort     map[PortID]*piState
	servers    map[string]Server
	images     map[string]Image
	volumes    map[string]Volume
	jobs       map[int64]*jobState // not ended
	ended      []JobView           // ended lately, newest first
	batches    map[int64]*batch
	open       map[int64]AuditRow // not closed
	log        []LogLine          // newest first, for snapshots
	ids        LastIDs
	changes    Changes
	storeErr   error
	dropped    uint64
	gen        uint64
	dirty      bool      // a snapshot is due
	slots      int       // taken of cfg.Starting
	exporting  int       // runners that change an export
	unswept    bool      // a root may have been given up since the last sweep
	expireNext time.Time // when former roots are looked at again
	sweeping   bool      // a runner removes volumes
	stale      bool      // the boot table is not what the Pis are
	space      space
	health     []string // what the last examination found, as people see it
	operators  *Operators
	accounts   *Accounts
	rules      Rules
	onces      map[onceKey]OnceRow
	clock      *billClock
	ordersNext time.Time // when what orders leave behind is looked at again
	forgetNext time.Time
	failures   bootFailures
	removed    map[PiName]Pi // taken out of the configuration since the start
	runners    runners
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
		open: map[int64]AuditRow{}, removed: map[PiName]Pi{}, onces: map[onceKey]OnceRow{}, space: space{use: map[string]volumeUse{}},
	}
	r.operators = loadOperators(s.Operators)
	r.accounts = newAccounts(&s)
	r.clock = newBillClock(s.Billed)
	if ahead := r.clock.ahead(); ahead > time.Minute {
		e.cfg.Log.Warn("the ledger has rows from the future: servers are charged from there on; set this computer's clock", "newest", s.Billed, "ahead", ahead)
	}
	for _, o := range s.Onces {
		r.onces[onceKey{o.Account, o.Key}] = o
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
		if a.Job == 0 { // nobody is there any more who could tell
			r.closeAudit(a.ID, "not told: the service ended before")
		}
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
	r.layoutImages(l.Images)
	r.setRules(l.Rules)
	known := r.layoutServers(l.Servers)
	keep := make(map[PiName]bool, len(l.Pis))
	for _, p := range l.Pis {
		keep[p.Name] = true
	}
	r.keepOrdered(keep)
	on := r.places(&l, keep)
	for _, p := range l.Pis {
		r.layoutPi(r.firstPlace(r.notMoved(p, keep), on, known), on)
	}
	r.followServers(l.Pis, on, keep)
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

func (r *rack) setRules(rules Rules) {
	r.rules = rules
	r.e.rules.Store(&rules)
}

// layoutServers takes the servers of the configuration, and returns the names of
// all that have a place. One that a customer ordered keeps its name.
func (r *rack) layoutServers(list []Server) map[string]bool {
	known := make(map[string]bool, len(list))
	for _, s := range r.servers {
		known[s.Name] = s.Account != "" && !s.State.Ended()
	}
	for _, s := range list {
		if known[s.Name] && r.servers[s.Name].Account != "" {
			r.logf(SystemActor().Name, "", 0, "the configuration's server %s is left out: %s has one of that name", s.Name, r.servers[s.Name].Account)
			continue
		}
		known[s.Name] = true
		r.saveServer(s)
	}
	return known
}

// keepOrdered keeps the places of customers' servers that the configuration has
// no more: their root stays theirs until the server is moved or released.
func (r *rack) keepOrdered(keep map[PiName]bool) {
	for name, p := range r.pis {
		if s := r.servers[p.Server]; s.Account != "" && !keep[name] {
			keep[name] = true
			r.logf(SystemActor().Name, name, 0, "it is not in the configuration any more, and kept: server %s of %s is on it; move or release that", s.Name, s.Account)
		}
	}
}

// layoutImages keeps only the images that can be cloned now.
func (r *rack) layoutImages(list []Image) {
	images := make(map[string]Image, len(list))
	for _, img := range list {
		have, ok := r.images[img.Name]
		if !ok || have.Label != img.Label {
			have = img
			r.changes.Images = append(r.changes.Images, img)
		}
		images[img.Name] = have
	}
	r.images = images
}

// layoutPi takes a place of the configuration. A board that the store already
// knows (it was adopted, say) stays; the configuration's only fills gaps.
func (r *rack) layoutPi(p Pi, on map[string]PiName) {
	have, ok := r.pis[p.Name]
	if !ok {
		if p.Life == "" {
			p.Life = LifeReady
			if p.MAC == (MAC{}) {
				p.Life = LifeNew
			}
		}
		free := p.Image
		_, back := r.removed[p.Name]
		r.putBack(&p, on)
		have = newPiState(p)
		have.free = free
		if back { // something of its former life may still be exported
			have.export.key = unknownExport
		}
		have.job = r.jobOf(p.Name)
		r.pis[p.Name] = have
		r.savePi(have)
		return
	}
	before := have.Pi
	have.Segment, have.free = p.Segment, p.Image
	if before.Segment != p.Segment {
		r.rewire(have, before.Segment.Port)
	}
	have.Server = cmp.Or(p.Server, have.Server)
	have.Model = cmp.Or(have.Model, p.Model)
	have.Serial = cmp.Or(have.Serial, p.Serial)
	have.MAC = cmp.Or(have.MAC, p.MAC)
	have.Memory = cmp.Or(have.Memory, p.Memory)
	have.Image = cmp.Or(have.Image, p.Image)
	if before != have.Pi {
		r.savePi(have)
	}
}

func (r *rack) dropPi(p *piState) {
	p.gone = true
	delete(r.pis, p.Name)
	r.removed[p.Name] = p.Pi
	r.changes.RemovePis = append(r.changes.RemovePis, p.Name)
	if p.job == nil {
		r.withdraw(p)
	} else if !r.released(p) {
		r.cancelJob(p.job, "its place was taken out of the configuration")
	}
	r.logf(SystemActor().Name, p.Name, 0, "taken out of the configuration; its roots are kept")
}

// putBack gives a place that was taken out, by mistake perhaps, what it had.
// A root goes back only to the customer who had it, and who is at no other place.
func (r *rack) putBack(p *Pi, on map[string]PiName) {
	// A removal that is not stored yet would come after the new row.
	r.changes.RemovePis = slices.DeleteFunc(r.changes.RemovePis, func(n PiName) bool { return n == p.Name })
	was, ok := r.removed[p.Name]
	delete(r.removed, p.Name)
	if ok && was.Server != "" && on[was.Server] == p.Name {
		p.Server = was.Server
	}
	if !ok || was.Server != p.Server {
		return
	}
	p.Life, p.Note, p.Power, p.Rescue = was.Life, was.Note, was.Power, was.Rescue
	p.Volume, p.Image, p.Former, p.FormerImage = was.Volume, was.Image, was.Former, was.FormerImage
	p.MAC, p.Serial, p.Model = cmp.Or(was.MAC, p.MAC), cmp.Or(was.Serial, p.Serial), cmp.Or(was.Model, p.Model)
	p.Memory = cmp.Or(was.Memory, p.Memory)
}

// jobOf finds the job of a place that was taken out while it ran: nothing else
// may begin at the port before it has stopped.
func (r *rack) jobOf(name PiName) *jobState {
	for _, j := range r.jobs {
		if j.Pi == name || j.To == name {
			return j
		}
	}
	return nil
}

// rewire follows a Pi to another port or address. What the former port said is
// no evidence for the new one, and a job decided on the one must not go on at
// the other.
func (r *rack) rewire(p *piState, from PortID) {
	if p.Segment.Port == from {
		return
	}
	p.port, p.portAt, p.portSeen, p.facts.baseKnown = PortReading{}, time.Time{}, false, false
	if p.job != nil && !r.released(p) {
		r.cancelJob(p.job, "its place in the configuration changed")
	}
}

// released tells whether the Pi's job goes on at another Pi only.
func (r *rack) released(p *piState) bool { return p.job.pi == p && r.handedOver(p.job) }

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
	r.stale = true
	r.bump(p)
	if !p.gone {
		r.changes.Pis = append(r.changes.Pis, p.Pi)
	}
}

// bump gives the Pi a new generation: whoever decided on the former one has to
// look again.
func (r *rack) bump(p *piState) {
	r.gen++
	p.gen = r.gen
	r.dirty = true
}

func (r *rack) saveVolume(v Volume) {
	r.volumes[v.Name] = v
	if v.State == VolumeRemoved {
		delete(r.volumes, v.Name)
		delete(r.space.use, v.Name)
	}
	r.changes.Volumes = append(r.changes.Volumes, v)
}

// markVolume changes what a volume is kept for; one that is not known is none.
func (r *rack) markVolume(name string, s VolumeState) {
	if v, ok := r.volumes[name]; ok && v.State != s {
		v.State, v.Changed = s, time.Now()
		r.saveVolume(v)
	}
}

// flush makes all changes lasting. When the store fails they are kept and
// tried again, and the rack refuses new acts until they are in.
func (r *rack) flush(ctx context.Context) error {
	if r.changes.Empty() {
		r.clock.settle()
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
	if n := len(r.changes.Notices); n > 0 {
		r.e.lastNotice.Store(r.changes.Notices[n-1].ID)
		r.e.notices.tell()
	}
	r.changes = Changes{}
	r.clock.settle()
	return nil
}

var errStore = errors.New("the store did not take it")

// maxUnsaved bounds what is kept in memory while the store fails: beyond it
// the oldest timeline rows go, never what an act depends on. Of a row that
// changed more than once the newest is enough.
const maxUnsaved = 100_000

func (r *rack) boundUnsaved() {
	c := &r.changes
	c.Switches = newest(c.Switches, func(s *Switch) string { return s.Name })
	c.Pis = newest(c.Pis, func(p *Pi) PiName { return p.Name })
	c.Servers = newest(c.Servers, func(s *Server) string { return s.Name })
	c.Images = newest(c.Images, func(i *Image) string { return i.Name })
	c.Volumes = newest(c.Volumes, func(v *Volume) string { return v.Name })
	c.Jobs = newest(c.Jobs, func(j *Job) int64 { return j.ID })
	c.Boots = newest(c.Boots, func(b *Boot) int64 { return b.ID })
	c.Ports = newest(c.Ports, func(p *PortRow) PortID { return p.Port })
	if n := len(r.changes.Events) - maxUnsaved; n > 0 {
		r.changes.Events = slices.Delete(r.changes.Events, 0, n)
	}
	if n := len(r.changes.Log) - maxUnsaved; n > 0 {
		r.changes.Log = slices.Delete(r.changes.Log, 0, n)
	}
}

// newest keeps the last row of each key, in the order of their last changes.
func newest[R any, K comparable](rows []R, key func(*R) K) []R {
	last := make(map[K]int, len(rows))
	for i := range rows {
		last[key(&rows[i])] = i
	}
	if len(last) == len(rows) {
		return rows
	}
	kept := make([]R, 0, len(last))
	for i := range rows {
		if last[key(&rows[i])] == i {
			kept = append(kept, rows[i])
		}
	}
	return kept
}
