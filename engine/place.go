package engine

// The configuration names a server's first place. From then on the store knows
// where it is, since it may have moved: putting it where the file says after
// every restart would have two Pis write to one root.

// places are where the servers are, by what is stored. One whose place was
// taken out is there again when the place is.
func (r *rack) places(l *Layout, keep map[PiName]bool) map[string]PiName {
	on := make(map[string]PiName, len(r.servers))
	for _, s := range l.Servers {
		for name, was := range r.removed {
			if was.Server == s.Name && keep[name] {
				on[s.Name] = name
			}
		}
	}
	for _, p := range r.pis {
		if p.Server != "" {
			on[p.Server] = p.Name
		}
	}
	return on
}

// firstPlace takes from a place of the configuration the server that is
// elsewhere, or that would take the Pi from the one that is there.
func (r *rack) firstPlace(p Pi, on map[string]PiName, known map[string]bool) Pi {
	if p.Server == "" {
		return p
	}
	other, rooted := r.removed[p.Name].Server, false
	if have := r.pis[p.Name]; have != nil {
		other, rooted = have.Server, have.Volume != ""
	}
	coming := r.jobOf(p.Name)
	switch there := on[p.Server]; {
	case coming != nil && coming.To == p.Name && coming.Pi != there && !r.handedOver(coming):
		r.logf(SystemActor().Name, p.Name, coming.ID, "its server in the configuration, %s, has no place: the server of %s moves here", p.Server, coming.Pi)
	case there != "" && there != p.Name:
		r.logf(SystemActor().Name, p.Name, 0, "its server in the configuration, %s, is on %s and stays there; move takes it elsewhere", p.Server, there)
	case other != "" && other != p.Server && (known[other] || rooted): // a root stays its owner's
		r.logf(SystemActor().Name, p.Name, 0, "its server in the configuration, %s, has no place: %s is here", p.Server, other)
	default:
		return p
	}
	p.Server = ""
	switch p.Life {
	case LifeAllocated, LifeDeploying, LifeLive, LifeReleasing:
		p.Life = "" // it followed from the server
	}
	return p
}

// followServers hands the roots of places that were taken out of the
// configuration over to where it says that their servers are.
func (r *rack) followServers(list []Pi, on map[string]PiName, keep map[PiName]bool) {
	for i := range list {
		from, to := r.pis[on[list[i].Server]], r.pis[list[i].Name]
		if from == nil || keep[from.Name] || to.Rented() || to.job != nil || from.job != nil || from.Volume == "" {
			continue
		}
		r.handOver(from, to)
		why := systemCommand("the place of its server was taken out of the configuration")
		r.newJob(VerbCycle, to, why.Actor.Name, 0, r.openAudit(VerbCycle, why, to, r.ids.Job+1))
		r.logf(why.Actor.Name, to.Name, 0, "%s follows the configuration from %s", to.Server, from.Name)
	}
}
