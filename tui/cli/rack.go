package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// rackCommand is the rack in a few lines.
func (a *app) rackCommand() *cobra.Command {
	return a.leaf("rack", "the rack in a few lines: counts, power, what is wrong", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
		if a.json {
			return a.emit(rackOut(now))
		}
		g := &page{app: a}
		g.title("rack "+now.Rack, a.when(now.At))
		g.fact("pis", countsText(now.Counts))
		g.fact("power", poeText(now.PoE))
		g.fact("jobs", plural(running(now), "job has", "jobs have")+" not ended")
		for i := range now.Switches {
			if sw := &now.Switches[i]; sw.Err != "" {
				g.fact("switch", fmt.Sprintf("%s does not answer (last answer: %s): %s", sw.Name, lately(now.At, sw.Answered), sw.Err))
			}
		}
		for _, w := range now.Warnings {
			g.fact("warning", w)
		}
		g.flush()
		faults := where(now, isFault)
		if len(faults) == 0 {
			return nil
		}
		t := table{cols: []column{{title: "FAULT"}, {title: "PORT"}, {title: "STAGE"}, {title: "AGE", right: true}, {title: "WHY", least: 40}}}
		for _, p := range faults {
			t.row(string(p.Name), p.Port.String(), stageCell(p), ago(now.At, p.Since), noteOf(p))
		}
		a.print(&t)
		return nil
	})
}

func countsText(c engine.Counts) string {
	return fmt.Sprintf("%d: %d up, %d booting, %d off, %d stalled, %d unknown", c.Total, c.Up, c.Booting, c.Off, c.Stalled, c.Unknown)
}

func poeText(p engine.PoE) string {
	s := watts(p.Milliwatts) + " W"
	if p.BudgetWatts > 0 {
		s += fmt.Sprintf(" of %d W", p.BudgetWatts)
	}
	if !p.Complete {
		s += ", without the switches that do not answer"
	}
	return s
}

// running counts the jobs that have not ended.
func running(now *engine.Snapshot) int {
	n := 0
	for i := range now.Jobs {
		if !now.Jobs[i].State.Ended() {
			n++
		}
	}
	return n
}

func rackOut(now *engine.Snapshot) rackJSON {
	c := now.Counts
	out := rackJSON{
		Version: schemaVersion, Rack: now.Rack, At: stamp{now.At},
		Counts: countsJSON{c.Total, c.Up, c.Booting, c.Off, c.Stalled, c.Unknown},
		PoE:    poeJSON{now.PoE.Milliwatts, now.PoE.BudgetWatts * 1000, now.PoE.Complete},
		Silent: []string{}, Warnings: append([]string{}, now.Warnings...), Jobs: running(now), Faults: []faultJSON{},
	}
	for i := range now.Switches {
		if now.Switches[i].Err != "" {
			out.Silent = append(out.Silent, now.Switches[i].Name)
		}
	}
	for _, p := range where(now, isFault) {
		out.Faults = append(out.Faults, faultJSON{string(p.Name), p.Port.String(), p.Stage.String(), lastStage(p), stamp{p.Since}, diagnosisOut(p)})
	}
	return out
}

// switchGroup shows switches.
func (a *app) switchGroup() *cobra.Command {
	g := a.group("switch", "the PoE switches", "")
	g.AddCommand(
		a.leaf("list", "list the switches", noWords, a.switchList),
		a.leaf("show SWITCH...", "tell of switches and each of their ports", switchWords, a.switchShow),
	)
	return g
}

func (a *app) switchList(_ context.Context, now *engine.Snapshot, _ []string) error {
	all := make([]*engine.SwitchView, len(now.Switches))
	for i := range now.Switches {
		all[i] = &now.Switches[i]
	}
	if a.json {
		return a.emit(switchesOut(now, all))
	}
	t := table{cols: []column{
		{title: "SWITCH"}, {title: "PORTS", right: true, rank: 3}, {title: "PIS", right: true}, {title: "W", right: true}, {title: "BUDGET", right: true},
		{title: "ANSWERED", right: true}, {title: "UP", right: true, rank: 2}, {title: "STATE", least: 12}, {title: "DESCRIPTION", rank: 4, least: 12},
	}}
	for _, sw := range all {
		state := cell{"answers", good}
		if sw.Err != "" {
			state = cell{"silent: " + sw.Err, bad}
		}
		t.row(sw.Name, strconv.Itoa(sw.Ports), strconv.Itoa(pisOn(sw)), watts(sw.Milliwatts), budgetText(sw), ago(now.At, sw.Answered), uptimeText(sw), state, sw.Description)
	}
	a.print(&t)
	return nil
}

func budgetText(sw *engine.SwitchView) string {
	if sw.BudgetWatts == 0 {
		return "-"
	}
	return strconv.Itoa(sw.BudgetWatts)
}

func uptimeText(sw *engine.SwitchView) string {
	if sw.Answered.IsZero() {
		return "-"
	}
	return age(sw.Uptime)
}

func pisOn(sw *engine.SwitchView) int {
	n := 0
	for _, i := range sw.Pis {
		if i >= 0 {
			n++
		}
	}
	return n
}

func (a *app) switchShow(_ context.Context, now *engine.Snapshot, args []string) error {
	var found []*engine.SwitchView
	for _, name := range args {
		sw := findSwitch(now, name)
		if sw == nil {
			return unknownSwitch(now, name)
		}
		if !slices.Contains(found, sw) {
			found = append(found, sw)
		}
	}
	if a.json {
		return a.emit(switchesOut(now, found))
	}
	for i, sw := range found {
		if i > 0 {
			a.printf("\n")
		}
		a.showSwitch(now, sw)
	}
	return nil
}

func (a *app) showSwitch(now *engine.Snapshot, sw *engine.SwitchView) {
	g := &page{app: a}
	g.title(sw.Name)
	if sw.Err != "" {
		g.fact("silent", "it does not answer: "+sw.Err)
	}
	g.fact("answered", lately(now.At, sw.Answered)+", up "+uptimeText(sw))
	g.fact("power", watts(sw.Milliwatts)+" W of "+budgetText(sw)+" W")
	if sw.Description != "" {
		g.fact("is", sw.Description)
	}
	g.flush()
	t := table{cols: []column{{title: "PORT", right: true}, {title: "PI"}, {title: "PWR", right: true}, {title: "W", right: true}, {title: "STAGE"}, {title: "AGE", right: true}, {title: "NOTE", least: 32}}}
	for port, i := range sw.Pis {
		if i < 0 || i >= len(now.Pis) {
			t.row(strconv.Itoa(port+1), "-")
			continue
		}
		p := &now.Pis[i]
		t.row(strconv.Itoa(port+1), string(p.Name), p.Power.String(), wattsText(p), stageCell(p), ago(now.At, p.Since), noteOf(p))
	}
	a.print(&t)
}

func switchesOut(now *engine.Snapshot, all []*engine.SwitchView) switchesJSON {
	out := switchesJSON{schemaVersion, make([]switchJSON, len(all))}
	for i, sw := range all {
		s := switchJSON{
			Name: sw.Name, Answered: stamp{sw.Answered}, Error: null(sw.Err), Description: sw.Description,
			Milliwatts: sw.Milliwatts, Budget: sw.BudgetWatts * 1000, Ports: make([]portJSON, len(sw.Pis)),
		}
		if !sw.Answered.IsZero() {
			up := int64(sw.Uptime.Seconds())
			s.Uptime = &up
		}
		for port, i := range sw.Pis {
			s.Ports[port].Port = port + 1
			if i >= 0 && i < len(now.Pis) {
				p := &now.Pis[i]
				s.Ports[port] = portJSON{port + 1, null(string(p.Name)), null(powerWord(p.Power)), wattsOut(p), null(p.Stage.String())}
			}
		}
		out.Switches[i] = s
	}
	return out
}

// imageGroup shows images.
func (a *app) imageGroup() *cobra.Command {
	g := a.group("image", "the images that roots are made from", "")
	g.AddCommand(
		a.leaf("list", "list the images", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
			return a.images(now, now.Images)
		}),
		a.leaf("show IMAGE...", "tell of images and who has them", imageWords, func(_ context.Context, now *engine.Snapshot, args []string) error {
			var found []engine.Image
			for _, name := range args {
				i := slices.IndexFunc(now.Images, func(m engine.Image) bool { return m.Name == name })
				if i < 0 {
					return usagef(or(meant(name, imageNames(now)), "picloud image list"), "there is no image %q", clip(name))
				}
				found = append(found, now.Images[i])
			}
			return a.showImages(now, found)
		}),
	)
	return g
}

func usersOf(now *engine.Snapshot, image string) []string {
	out := []string{}
	for i := range now.Pis {
		if now.Pis[i].Image == image && now.Pis[i].Root != "" {
			out = append(out, string(now.Pis[i].Name))
		}
	}
	return out
}

func (a *app) images(now *engine.Snapshot, all []engine.Image) error {
	if a.json {
		return a.emit(imagesOut(now, all))
	}
	t := table{cols: []column{{title: "IMAGE"}, {title: "PIS", right: true}, {title: "ADDED"}, {title: "LABEL", least: 12}}}
	for _, m := range all {
		t.row(m.Name, strconv.Itoa(len(usersOf(now, m.Name))), a.when(m.Added), m.Label)
	}
	a.print(&t)
	return nil
}

func (a *app) showImages(now *engine.Snapshot, all []engine.Image) error {
	if a.json {
		return a.emit(imagesOut(now, all))
	}
	g := &page{app: a}
	for _, m := range all {
		users := usersOf(now, m.Name)
		g.title(m.Name)
		g.fact("label", or(m.Label, "-"))
		g.fact("added", a.when(m.Added))
		g.fact("pis", strings.TrimSpace(fmt.Sprintf("%d %s", len(users), strings.Join(users, " "))))
	}
	g.flush()
	return nil
}

func imagesOut(now *engine.Snapshot, all []engine.Image) imagesJSON {
	out := imagesJSON{schemaVersion, make([]imageJSON, len(all))}
	for i, m := range all {
		out.Images[i] = imageJSON{m.Name, m.Label, stamp{m.Added}, usersOf(now, m.Name)}
	}
	return out
}

// spaceCommand shows the room that roots take.
func (a *app) spaceCommand() *cobra.Command {
	return a.leaf("space", "how much room the roots take", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
		if a.json {
			return a.emit(spaceOut(now))
		}
		s := now.Space
		g := &page{app: a}
		g.title("space", a.when(now.SpaceAt))
		switch {
		case now.SpaceAt.IsZero():
			g.fact("pool", "nobody has looked at it yet")
		default:
			g.fact("pool", poolText(s))
		}
		if s.Err != "" {
			g.fact("error", s.Err)
		}
		g.flush()
		t := table{cols: []column{{title: "PI"}, {title: "ROOT", least: 8}, {title: "USED", right: true}, {title: "SIZE", right: true}, {title: "FORMER", rank: 2, least: 8}, {title: "USED", right: true, rank: 2}, {title: "KEPT UNTIL", rank: 3}}}
		for _, p := range where(now, func(p *engine.PiView) bool { return p.Root != "" || p.Former != "" }) {
			until := ""
			if !p.FormerUntil.IsZero() {
				until = a.when(p.FormerUntil)
			}
			t.row(string(p.Name), p.Root, usedText(&p.RootVolume), sizeText(&p.RootVolume), p.Former, formerUsed(p), until)
		}
		a.print(&t)
		return nil
	})
}

func poolText(s engine.SpaceSeen) string {
	text := fmt.Sprintf("%s of %s used, kept by %s", bytesOf(s.Pool.Used), bytesOf(s.Pool.Size), or(s.Driver, "an unknown driver"))
	if s.Pool.Metadata > 0 {
		text += fmt.Sprintf(", metadata %.0f %%", s.Pool.Metadata*100)
	}
	if s.Pool.NearlyFull {
		text += "; nearly full: no new root is made"
	}
	return text
}

func usedText(v *engine.VolumeView) string {
	if v.UseAt.IsZero() {
		return "-"
	}
	return bytesOf(v.Use.Used)
}

func formerUsed(p *engine.PiView) string {
	if p.Former == "" {
		return ""
	}
	return usedText(&p.FormerVolume)
}

func sizeText(v *engine.VolumeView) string {
	if v.Use.Size <= 0 {
		return "-"
	}
	return bytesOf(v.Use.Size)
}

func spaceOut(now *engine.Snapshot) spaceJSON {
	s := now.Space
	out := spaceJSON{
		Version: schemaVersion, At: stamp{now.SpaceAt}, Error: null(s.Err), Driver: s.Driver, Copies: s.Copies, Quota: s.Quota,
		Size: s.Pool.Size, Used: s.Pool.Used, Metadata: s.Pool.Metadata, Full: s.Pool.NearlyFull, Roots: []rootUseJSON{},
	}
	for i := range now.Pis {
		if p := &now.Pis[i]; p.Root != "" || p.Former != "" {
			out.Roots = append(out.Roots, rootUseJSON{string(p.Name), volumeOut(p.Root, &p.RootVolume), volumeOut(p.Former, &p.FormerVolume), stamp{p.FormerUntil}})
		}
	}
	return out
}
