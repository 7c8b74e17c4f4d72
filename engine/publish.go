package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// publishBootTable replaces the table that packets are answered from, when it
// would be another.
func (r *rack) publishBootTable() {
	r.stale = false
	old := r.e.bootTable.Load()
	t := &BootTable{
		segments: make(map[string]BootEntry, len(r.order)),
		clients:  make(map[netip.Addr]BootEntry, len(r.order)),
	}
	same := old != nil && len(old.segments) == len(r.order)
	for _, p := range r.order {
		entry := BootEntry{
			Pi: p.Name, Segment: p.Segment, MAC: p.MAC, Model: p.Model, Serial: p.Serial,
			Volume: p.Volume, Image: p.Image, Host: r.person(p).Hostname, Rescue: p.Rescue, Exam: p.Exam, Allowed: p.Exam || p.mayBoot(),
		}
		t.segments[p.Segment.Name] = entry
		t.clients[p.Segment.Addr.Addr()] = entry
		same = same && old.segments[p.Segment.Name] == entry
	}
	if !same {
		r.e.bootTable.Store(t)
	}
}

// publishSnapshot shows the rack as it is now to whoever looks.
func (r *rack) publishSnapshot() {
	r.dirty = false
	s := &Snapshot{
		At: time.Now(), Rack: r.name, Log: r.log, Warnings: r.warnings(), Space: r.space.seen, SpaceAt: r.space.at,
		Dropped: r.dropped,
		Pis:     make([]PiView, len(r.order)), index: make(map[PiName]int, len(r.order)),
	}
	r.gen++
	s.Gen = r.gen
	for i, p := range r.order {
		s.Pis[i] = r.viewPi(p)
		s.index[p.Name] = i
		s.Counts.add(s.Pis[i].Stage)
	}
	r.showServers()
	r.viewSwitches(s)
	r.viewJobs(s)
	for _, img := range r.images {
		s.Images = append(s.Images, img)
	}
	slices.SortFunc(s.Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	r.e.snapshot.Store(s)
	r.e.viewers.put(s)
}

func (c *Counts) add(s Stage) {
	c.Total++
	switch s {
	case StageUp:
		c.Up++
	case StageStalled:
		c.Stalled++
	case StageOff:
		c.Off++
	case StageUnknown:
		c.Unknown++
	default:
		c.Booting++
	}
}

func (r *rack) warnings() []string {
	var w []string
	if r.storeErr != nil {
		w = append(w, fmt.Sprintf("nothing can be stored, so nothing can be done: %v", r.storeErr))
	}
	if r.dropped > 0 {
		w = append(w, fmt.Sprintf("%d observations were dropped in a flood", r.dropped))
	}
	if why := r.noRoom(); why != "" {
		w = append(w, why)
	}
	if why := r.heldOrders(time.Now()); why != "" {
		w = append(w, why)
	}
	if err := r.space.seen.Err; err != "" {
		w = append(w, "the use of the disk cannot be told: "+err)
	}
	if err := r.checkExam(); r.rules.Examine && err != nil {
		w = append(w, fmt.Sprintf("new and returned boards are not ready before they are examined, and none can be: %v", err))
	}
	return append(w, r.health...)
}

func (r *rack) viewSwitches(s *Snapshot) {
	s.PoE.Complete = true
	for _, st := range r.switches {
		v := SwitchView{
			Name: st.Name, Ports: st.Ports, Answered: st.answered, Err: st.err,
			Uptime: st.reading.Uptime, Description: printable(st.reading.Description), BudgetWatts: st.reading.BudgetWatts,
			Pis: make([]int, st.Ports),
		}
		for port := range v.Pis {
			v.Pis[port] = -1
			if p := r.byPort[PortID{st.Name, port + 1}]; p != nil {
				v.Pis[port] = s.index[p.Name]
			}
		}
		for _, port := range st.reading.Ports {
			v.Milliwatts += port.Milliwatts
		}
		if st.answered.IsZero() && st.err == "" {
			v.Err = "not heard yet"
		}
		s.PoE.BudgetWatts += v.BudgetWatts
		if st.silent() {
			s.PoE.Complete = false
		} else {
			s.PoE.Milliwatts += v.Milliwatts
		}
		s.Switches = append(s.Switches, v)
	}
}

// viewPi is the Pi as people see it.
func (r *rack) viewPi(p *piState) PiView {
	v := PiView{
		Name: p.Name, Gen: p.gen, Port: p.Segment.Port, Segment: p.Segment, Model: p.Model, Memory: p.Memory, Serial: p.Serial,
		MAC: p.MAC, Addr: p.Segment.Addr.Addr(), Life: p.Life, Note: p.Note, Server: p.Server,
		PowerAt: p.portAt, Wanted: p.Power, WasOn: p.running, Stage: p.view(), Since: p.since, LastStage: p.before, Diagnosis: p.diag,
		Root: p.Volume, Former: p.Former, Image: p.Image, NFS: p.nfs, NFSAt: p.nfsAt, Seen: p.other, SeenAt: p.otherAt,
	}
	v.Export, v.ExportErr = p.export.text, p.export.err
	v.RootVolume, v.FormerVolume, v.Rescue = r.viewVolume(p.Volume), r.viewVolume(p.Former), p.Rescue
	if p.Rescue {
		v.RescueKeys = r.volumes[p.Volume].RescueKeys
	}
	v.Exam = p.Exam
	v.FormerUntil = r.formerUntil(p)
	if p.other != nil {
		if home := r.homeOf(p.other.MAC, p); home != nil {
			v.SeenIs = home.Name
		}
	}
	if s, ok := r.servers[p.Server]; ok {
		v.Owner, v.Public, v.Gateway = s.Owner, s.Address, s.Gateway
		v.Rent = rentOf(&s)
	}
	v.Free = p.orderable() && r.forSale(p.Spec())
	if v.Stage == StageUnknown {
		v.LastStage = p.stage
		if p.sw != nil && !p.sw.answered.IsZero() {
			v.Since = p.sw.answered
		}
	} else {
		if p.portSeen {
			v.Power = powerView(p.port)
		}
		v.Milliwatts, v.HasWatts = p.port.Milliwatts, p.port.HasWatts
		v.Link = linkWord(p.port)
	}
	if p.job != nil {
		v.Job = r.viewJob(p.job)
	}
	if p.boot != nil {
		b := *p.boot
		b.Events = b.Events[:len(b.Events):len(b.Events)] // appended to, never changed
		v.Boot = &b
	}
	return v
}

// rentOf is the zero Rent for a server of the configuration.
func rentOf(s *Server) Rent {
	if s.Account == "" {
		return Rent{}
	}
	return Rent{State: s.State, DiskGB: s.DiskGB, Price: s.Price, Task: s.Task, SSHPort: s.SSHPort, Created: s.Created, Live: s.Live}
}

func powerView(p PortReading) PowerView {
	switch {
	case p.Delivering:
		return PowerOn
	case p.Enabled:
		return PowerSearching
	default:
		return PowerOff
	}
}

func linkWord(p PortReading) string {
	switch {
	case !p.LinkKnown:
		return ""
	case p.LinkUp:
		return "up"
	default:
		return "down"
	}
}

func (r *rack) viewJobs(s *Snapshot) {
	for _, j := range r.jobs {
		s.Jobs = append(s.Jobs, *r.viewJob(j))
	}
	slices.SortFunc(s.Jobs, func(a, b JobView) int { return cmp.Compare(a.ID, b.ID) })
	s.Jobs = append(s.Jobs, r.ended...)
}

// viewJob is a job with whose server it is about, and why it waits.
func (r *rack) viewJob(j *jobState) *JobView {
	v := j.viewOf()
	v.Owner = r.servers[v.Server].Owner
	if j.State != JobQueued || j.running {
		return v
	}
	switch {
	case j.exporting():
		v.Waits = "its export is being changed"
	case j.boots() && r.slots >= r.e.cfg.Starting:
		v.Waits = fmt.Sprintf("%d Pis are starting, as many as may at once", r.slots)
	}
	return v
}

func (j *jobState) viewOf() *JobView {
	v := &JobView{
		ID: j.ID, Batch: j.Batch, Verb: j.Verb, Pi: j.Pi, To: j.To, Actor: j.Actor, State: j.State,
		StepNo: min(j.Step+1, len(j.Steps)), Steps: len(j.Steps), Percent: int(j.percent.Load()),
		Since: j.Created, Ended: j.Ended, Error: j.Error, Server: j.Server,
	}
	if len(j.Steps) > 0 {
		v.Step = j.Steps[v.StepNo-1].Name
	}
	return v
}
