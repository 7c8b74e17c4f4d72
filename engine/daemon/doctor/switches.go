package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/poe"
)

// atOnce is how many switches are asked at a time.
const atOnce = 8

// checkSwitches asks each switch, several at a time.
func checkSwitches(ctx context.Context, e *Env) []Finding {
	if e.Switch == nil {
		return nil
	}
	list := e.Config.Switches
	found := make([][]Finding, len(list))
	var wg sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range list {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			found[i] = e.checkSwitch(ctx, list[i])
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

func (e *Env) checkSwitch(ctx context.Context, c config.Switch) []Finding {
	sw, done, err := e.Switch(c, "")
	if err != nil {
		return []Finding{named("switch", ofError(Failure, c.Name, err))}
	}
	defer done()
	r, err := sw.Poll(ctx)
	if err != nil {
		return e.silent(ctx, c, err)
	}
	found := []Finding{named("switch", okf(c.Name, "answers: %s, up %s", orUnknown(r.SysDescr), r.Uptime.Round(time.Second)))}
	found = append(found, e.checkTables(c, r)...)
	found = append(found, e.checkPower(c, r)...)
	found = append(found, e.checkWrite(ctx, c, sw)...)
	b, err := sw.Bridge(ctx)
	if err != nil {
		return append(found, named("vlans", ofError(Warning, c.Name, err)))
	}
	found = append(found, e.checkSTP(c, b, r)...)
	return append(found, e.checkVLANs(c, b)...)
}

func named(check string, f Finding) Finding {
	f.Check = check
	return f
}

func orUnknown(s string) string {
	if s == "" {
		return "a switch without a description"
	}
	return s
}

// silent is the finding on a switch that did not answer. The service is asked
// with the community that may write; if the other is answered, that one is
// wrong.
func (e *Env) silent(ctx context.Context, c config.Switch, err error) []Finding {
	if e.Inside {
		return nil // the service shows it
	}
	read, write := c.Credentials.ReadCommunity, c.Credentials.WriteCommunity
	if c.Version == config.SNMPv2c && errors.Is(err, poe.ErrNoAnswer) && read != "" && read != write {
		if sw, done, err := e.Switch(c, read); err == nil {
			defer done()
			if _, err := sw.Poll(ctx); err == nil {
				return []Finding{named("switch-write", failf(c.Name, "correct write_community in "+c.CredentialsFile+", or let the switch take it",
					"it answers the community for reading, and not the one for writing: no power can be switched"))}
			}
		}
	}
	f := named("switch", ofError(Failure, c.Name, err))
	f.Text = fmt.Sprintf("%s: %s", c.Address, f.Text)
	return []Finding{f}
}

// checkTables: a profile or a map of ports that is not the switch's leaves
// ports unknown.
func (e *Env) checkTables(c config.Switch, r poe.Reading) []Finding {
	pis := e.onSwitch(c.Name)
	var bad, spare []string
	var why error
	watts := false
	for _, p := range r.Ports {
		watts = watts || p.HasWatts
		switch {
		case p.Err == nil:
		case pis[p.Port] != nil:
			bad, why = append(bad, fmt.Sprint(p.Port)), p.Err
		default:
			spare = append(spare, fmt.Sprint(p.Port))
		}
	}
	var found []Finding
	if len(bad) > 0 {
		found = append(found, failf(c.Name, "correct profile, ports or [[switch.port]] of the switch", "the power of ports %s, which have Pis, is not told: %v", ranges(bad), why))
	}
	if len(spare) > 0 {
		found = append(found, warnf(c.Name, "correct ports = of the switch", "it has no power at ports %s", ranges(spare)))
	}
	if p, ok := poe.FindProfile(c.Profile); ok && p.Watts.OID != "" && !watts && len(bad) < len(r.Ports) {
		found = append(found, warnf(c.Name, "profile = \"rfc3621\", or that of its vendor", "it does not tell watts as profile %s has them", c.Profile))
	}
	for i := range found {
		found[i].Check = "switch-tables"
	}
	return found
}

// ranges shortens a list of numbers for people.
func ranges(list []string) string {
	const most = 8
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// onSwitch are the Pis of a switch by port.
func (e *Env) onSwitch(name string) map[int]*engine.Pi {
	pis := make(map[int]*engine.Pi)
	for i := range e.Pis {
		if at := e.Pis[i].Segment.Port; at.Switch == name {
			pis[at.Port] = &e.Pis[i]
		}
	}
	return pis
}

// classWatts is what a switch has to keep for a device of a class (IEEE
// 802.3bt, table 145-11), in tenths of a watt.
var classWatts = [...]int{154, 40, 70, 154, 300, 450, 600, 750, 900}

// nearlySpent is the part of the budget above which a switch may deny power.
const nearlySpent = 90 // per cent

// checkPower compares the budget with what is drawn and with what could be.
func (e *Env) checkPower(c config.Switch, r poe.Reading) []Finding {
	var found []Finding
	budget, used := 0, 0
	for _, p := range r.PSE {
		budget += p.BudgetWatts
		used += p.ConsumptionWatts
		if p.Status == poe.PSEFaulty {
			found = append(found, failf(c.Name, "look at its power supplies", "power supply %d is faulty", p.Group))
		}
	}
	pis := e.onSwitch(c.Name)
	classes := 0
	for _, p := range r.Ports {
		if p.Class >= 0 && p.Class < len(classWatts) && p.On() {
			classes += classWatts[p.Class]
		}
		if pis[p.Port] != nil && (p.Detection == poe.DetectionFault || p.Detection == poe.DetectionOtherFault) {
			found = append(found, failf(fmt.Sprintf("%s/%d", c.Name, p.Port), poe.Hint(poe.ErrFault), "the port says %v", p.Detection))
		}
	}
	const remedy = "move Pis to another switch, power fewer, or give the switch a larger supply"
	switch {
	case budget == 0:
		found = append(found, okf(c.Name, "it does not tell its PoE budget"))
	case used >= budget:
		found = append(found, failf(c.Name, remedy, "%d W are drawn, and its PoE budget is %d W", used, budget))
	case used*100 >= budget*nearlySpent:
		found = append(found, warnf(c.Name, remedy, "%d W of its PoE budget of %d W are drawn", used, budget))
	case classes > budget*10:
		found = append(found, warnf(c.Name, remedy, "%d W are drawn, but its devices may draw %d W by their class, and its PoE budget is %d W", used, classes/10, budget))
	default:
		found = append(found, okf(c.Name, "%d W of %d W are drawn, %d W by class", used, budget, classes/10))
	}
	for i := range found {
		found[i].Check = "poe-budget"
	}
	return found
}

// checkWrite: that a community is answered does not mean that it may write.
// Only a SET tells; it sets a port without a Pi to what it is.
func (e *Env) checkWrite(ctx context.Context, c config.Switch, sw Switch) []Finding {
	const check = "switch-write"
	if p, ok := poe.FindProfile(c.Profile); ok && p.ReadOnly {
		return []Finding{named(check, warnf(c.Name, poe.Hint(poe.ErrReadOnly), "%s switches no power over SNMP", p.Vendor))}
	}
	switch {
	case e.Inside:
		return nil
	case !e.WriteTest:
		return []Finding{named(check, okf(c.Name, "it answers whom it is to obey; --write-test tries whether it does"))}
	}
	pis := e.onSwitch(c.Name)
	var last error
	for port := 1; port <= c.Ports; port++ {
		if pis[port] != nil {
			continue
		}
		err := sw.Rewrite(ctx, port)
		if err == nil {
			return []Finding{named(check, okf(c.Name, "port %d could be set to what it was", port))}
		}
		last = err
		if !errors.Is(err, poe.ErrAnswer) { // no such row: another port may have one
			break
		}
	}
	if last == nil {
		return []Finding{named(check, okf(c.Name, "not tried: each port has a Pi"))}
	}
	return []Finding{named(check, ofError(Failure, c.Name, last))}
}

// checkSTP: a port that does not forward keeps its Pi from booting, and one
// that is no edge port for the first 30 seconds (IEEE 802.1D).
func (e *Env) checkSTP(c config.Switch, b poe.Bridge, r poe.Reading) []Finding {
	pis := e.onSwitch(c.Name)
	up := make(map[int]bool, len(r.Ports))
	for _, p := range r.Ports {
		up[p.Port] = p.Link == poe.LinkUp
	}
	var found []Finding
	var slow, good, untold []string
	for _, p := range b.Ports {
		if pis[p.Port] == nil {
			continue
		}
		number := fmt.Sprint(p.Port)
		edge := p.OperEdge == poe.True || p.AdminEdge == poe.True || p.STPEnabled == poe.False
		switch stuck := up[p.Port] && p.STP != poe.STPForwarding && p.STP != poe.STPUnknown && p.STP != poe.STPDisabled; {
		case stuck:
			remedy := "make it an edge port (PortFast)"
			if p.STP == poe.STPBlocking || p.STP == poe.STPBroken {
				remedy = "look for a loop, or for a switch in the place of the Pi; then make it an edge port (PortFast)"
			}
			found = append(found, failf(fmt.Sprintf("%s/%d", c.Name, p.Port), remedy, "its link is up, and spanning tree is %v: nothing passes", p.STP))
		case edge:
			good = append(good, number)
		case p.AdminEdge == poe.TruthUnknown && p.OperEdge == poe.TruthUnknown:
			untold = append(untold, number)
		default:
			slow = append(slow, number)
		}
	}
	if len(slow) > 0 {
		found = append(found, warnf(c.Name, "make them edge ports (PortFast)", "ports %s are no edge ports of spanning tree: a Pi is heard 30 s late", ranges(slow)))
	}
	if len(untold) > 0 {
		found = append(found, okf(c.Name, "whether ports %s are edge ports is not told", ranges(untold)))
	}
	if len(good) > 0 {
		found = append(found, okf(c.Name, "%d ports with Pis are edge ports", len(good)))
	}
	for i := range found {
		found[i].Check = "spanning-tree"
	}
	return found
}
