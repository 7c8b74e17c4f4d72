package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

type serversJSON struct {
	Version int          `json:"version" doc:"1"`
	Servers []serverJSON `json:"servers"`
}

type serverJSON struct {
	Name    string      `json:"name"`
	Owner   *string     `json:"owner" doc:"the account, of a server that was ordered"`
	Rent    *rentJSON   `json:"rent" doc:"null = it is of the configuration"`
	Pi      string      `json:"pi" doc:"that it is on"`
	Port    string      `json:"port"`
	Stage   string      `json:"stage"`
	Address *string     `json:"address" doc:"its public address, with the length of its prefix"`
	Spec    *specJSON   `json:"board" doc:"that it is on"`
	Image   *string     `json:"image"`
	Root    *volumeJSON `json:"root"`
	Job     *jobJSON    `json:"job" doc:"that has not ended"`
}

type rentJSON struct {
	State   string `json:"state" doc:"provisioning, initialising, live, releasing"`
	DiskGB  int    `json:"disk_gb"`
	Price   string `json:"month_price" doc:"pounds, as 6.25"`
	SSHPort *int   `json:"ssh_port" doc:"of the IPv4 proxy"`
	Task    int64  `json:"task" doc:"job of its order"`
	Created stamp  `json:"created" doc:"when it was ordered"`
	Live    stamp  `json:"live_since"`
}

type specJSON struct {
	Model  int `json:"model" doc:"generation: 3, 4, 5"`
	Memory int `json:"memory_mb"`
	CPU    int `json:"cpu_mhz"`
	NIC    int `json:"nic_mbits"`
}

// serverGroup is what customers have.
func (a *app) serverGroup() *cobra.Command {
	g := a.group("server", "the customers' servers: which Pi each is on, who has it, what it costs", "")
	g.AddCommand(
		a.leaf("list", "list the servers", noWords, func(_ context.Context, now *engine.Snapshot, _ []string) error {
			return a.servers(now, servers(now))
		}),
		a.leaf("show SERVER...", "tell of servers and the Pis they are on", serverWords, a.serverShow),
		a.serverRelease(), a.serverKeys(),
	)
	return g
}

// servers are the Pis with a server, by its name.
func servers(now *engine.Snapshot) []*engine.PiView {
	all := where(now, func(p *engine.PiView) bool { return p.Server != "" })
	slices.SortFunc(all, func(a, b *engine.PiView) int { return strings.Compare(a.Server, b.Server) })
	return all
}

// server is the Pi that has a server of that name.
func (a *app) server(now *engine.Snapshot, name string) (*engine.PiView, error) {
	all := servers(now)
	if i := slices.IndexFunc(all, func(p *engine.PiView) bool { return p.Server == name }); i >= 0 {
		return all[i], nil
	}
	hint := or(meant(name, serverNames(now)), "picloud server list")
	for i := range now.Jobs {
		if j := &now.Jobs[i]; j.Server == name && j.State.Ended() {
			hint = fmt.Sprintf("it had job %d, %s: %s", j.ID, j.Verb, jobProgress(j))
			break
		}
	}
	return nil, usagef(hint, "no Pi has a server %q", clip(name))
}

func (a *app) serverShow(_ context.Context, now *engine.Snapshot, args []string) error {
	var found []*engine.PiView
	for _, name := range args {
		p, err := a.server(now, name)
		if err != nil {
			return err
		}
		found = append(found, p)
	}
	if a.json {
		return a.emit(serversOut(found))
	}
	for _, p := range found {
		a.showServer(now, p)
		a.showPi(now, p)
	}
	return nil
}

func (a *app) showServer(now *engine.Snapshot, p *engine.PiView) {
	g := &page{app: a}
	g.title("server " + p.Server + " of " + or(p.Owner, "nobody told"))
	if p.Rent.State != "" {
		g.fact("state", rentText(p)+", ordered "+a.when(p.Rent.Created)+fmt.Sprintf(" by job %d", p.Rent.Task))
		if !p.Rent.Live.IsZero() {
			g.fact("live", "since "+a.when(p.Rent.Live))
		}
		g.fact("costs", p.Rent.Price.String()+" a month")
	}
	if p.Public.IsValid() || p.Rent.SSHPort > 0 {
		g.fact("address", strings.TrimSpace(publicText(p)+proxyText(p)))
	}
	// Who may log in is the customer's own: the engine says who is told.
	if s, err := a.v.Rented(a.s.Actor, p.Server); err == nil {
		for _, line := range s.Keys {
			if k, err := engine.ParseOperatorKey(line); err == nil {
				kind, comment := keyParts(k)
				g.fact("lets in", strings.TrimSpace(kind+" "+k.Fingerprint+" "+comment))
			}
		}
	}
	g.flush()
}

// rentText is what an ordered server is, in a few words: "live, Pi 4 2 GB, 20 GB".
func rentText(p *engine.PiView) string {
	return fmt.Sprintf("%s, %s, %d GB disk", p.Rent.State, specText(p.Spec()), p.Rent.DiskGB)
}

// specText is a board as customers know it.
func specText(s engine.Spec) string {
	if s == (engine.Spec{}) {
		return "Pi of unknown model"
	}
	return fmt.Sprintf("Pi %d %d MB", s.Model, s.Memory)
}

func publicText(p *engine.PiView) string {
	if !p.Public.IsValid() {
		return ""
	}
	return p.Public.String()
}

func proxyText(p *engine.PiView) string {
	if p.Rent.SSHPort == 0 {
		return ""
	}
	return fmt.Sprintf(" (SSH over IPv4: port %d of the proxy)", p.Rent.SSHPort)
}

func ofOwner(owner string) string {
	if owner == "" {
		return ""
	}
	return " of " + owner
}

func (a *app) servers(now *engine.Snapshot, all []*engine.PiView) error {
	if a.json {
		return a.emit(serversOut(all))
	}
	t := table{cols: []column{
		{title: "SERVER", least: 8}, {title: "OWNER", least: 6}, {title: "STATE", rank: 1}, {title: "PI"}, {title: "PORT", rank: 7}, {title: "STAGE"},
		{title: "AGE", right: true, rank: 2}, {title: "BOARD", rank: 4}, {title: "DISK", right: true, rank: 5}, {title: "PRICE", right: true, rank: 3},
		{title: "LIVE SINCE", rank: 8}, {title: "ADDRESS", rank: 6}, {title: "TASK", right: true, rank: 9}, {title: "IMAGE", rank: 10, least: 8},
		{title: "USED", right: true, rank: 11},
	}}
	for _, p := range all {
		used, disk, price, live, task, board := "", "", "", "", "", ""
		if !p.RootVolume.UseAt.IsZero() {
			used = bytesOf(p.RootVolume.Use.Used)
		}
		if r := p.Rent; r.State != "" {
			disk, price, task, board = fmt.Sprintf("%d GB", r.DiskGB), r.Price.String(), jobText(r.Task), specText(p.Spec())
			live = a.when(r.Live)
		}
		t.row(p.Server, p.Owner, rentCell(p), string(p.Name), p.Port.String(), stageCell(p), ago(now.At, p.Since), board, disk, price,
			live, publicText(p), task, p.Image, used)
	}
	a.print(&t)
	return nil
}

var rentLooks = map[engine.ServerState]look{engine.ServerLive: good, engine.ServerProvisioning: busy, engine.ServerInitialising: busy}

func rentCell(p *engine.PiView) cell {
	return cell{string(p.Rent.State), rentLooks[p.Rent.State]}
}

func rentOut(p *engine.PiView) *rentJSON {
	r := p.Rent
	if r.State == "" {
		return nil
	}
	return &rentJSON{string(r.State), r.DiskGB, r.Price.String(), null(r.SSHPort), r.Task, stamp{r.Created}, stamp{r.Live}}
}

func specOut(s engine.Spec) *specJSON {
	if s == (engine.Spec{}) {
		return nil
	}
	return &specJSON{s.Model, s.Memory, s.CPU, s.NIC}
}

func serverOut(p *engine.PiView) serverJSON {
	out := serverJSON{
		Name: p.Server, Owner: null(p.Owner), Rent: rentOut(p), Pi: string(p.Name), Port: p.Port.String(), Stage: p.Stage.String(),
		Address: null(publicText(p)), Spec: specOut(p.Spec()), Image: null(p.Image), Root: volumeOut(p.Root, &p.RootVolume),
	}
	if p.Job != nil {
		j := jobOut(p.Job)
		out.Job = &j
	}
	return out
}

func serversOut(all []*engine.PiView) serversJSON {
	out := serversJSON{schemaVersion, make([]serverJSON, len(all))}
	for i, p := range all {
		out.Servers[i] = serverOut(p)
	}
	return out
}

// serverRelease gives a server back.
func (a *app) serverRelease() *cobra.Command {
	t := &serverAct{consent: consent{app: a, needs: engine.RoleOperator}, cmd: engine.ServerCommand{Verb: engine.ServerRelease}}
	c := a.leaf("release SERVER", "give a server back: it costs nothing any more, and its Pi is free", words{least: 1, most: 1, of: rentedNames},
		func(ctx context.Context, now *engine.Snapshot, args []string) error {
			p, err := a.rented(now, args[0])
			if err != nil {
				return err
			}
			t.cmd.Server, t.cmd.Typed = p.Server, p.Server
			what := "release " + p.Server + ofOwner(p.Owner)
			tells := []string{
				fmt.Sprintf("%s at %s, %s, %s a month", p.Name, p.Port, rentText(p), p.Rent.Price),
				"takes away: the server" + keptText(a.v.Rules().Keep),
			}
			return t.run(ctx, now, what, p.Server, tells)
		})
	c.Long = "Give a server back, as its customer can. It costs nothing from that moment on; its\nroot is kept for as long as the configuration says, its Pi is examined if that is\nconfigured, and is free again. There is no way back."
	t.typedFlags(c, "the server's name")
	t.dryRunFlag(c)
	t.waitFlags(c)
	return c
}

// keptText is what becomes of a released server's root.
func keptText(keep time.Duration) string {
	if keep <= 0 {
		return " and its root"
	}
	return "; its root is kept for " + age(keep)
}

// rented is the Pi with a server that was ordered.
func (a *app) rented(now *engine.Snapshot, name string) (*engine.PiView, error) {
	p, err := a.server(now, name)
	if err != nil {
		return nil, err
	}
	if p.Rent.State == "" {
		return nil, failf("", "%s is of the configuration: it goes with its [[server]]", clip(name))
	}
	return p, nil
}

func rentedNames(now *engine.Snapshot) []string {
	var out []string
	for _, p := range servers(now) {
		if p.Rent.State != "" {
			out = append(out, p.Server)
		}
	}
	return out
}

// serverKeys changes who may log in to a server.
func (a *app) serverKeys() *cobra.Command {
	t := &serverAct{consent: consent{app: a, needs: engine.RoleOperator}, cmd: engine.ServerCommand{Verb: engine.ServerKeys}}
	var keys []string
	var none bool
	c := a.leaf("keys SERVER", "say by which SSH keys root may log in to a server, also while it runs", words{least: 1, most: 1, of: rentedNames},
		func(ctx context.Context, now *engine.Snapshot, args []string) error {
			p, err := a.server(now, args[0])
			if err != nil {
				return err
			}
			if none == (len(keys) > 0) {
				return usagef("picloud server keys --help", "say which: --key FILE, or --none")
			}
			if t.cmd.Keys, err = loginKeys(keys); err != nil {
				return err
			}
			t.cmd.Server = p.Server
			what := "keys of " + p.Server + ofOwner(p.Owner)
			return t.run(ctx, now, what, "", []string{"in the place of those that it has: " + plural(len(t.cmd.Keys), "key", "keys")})
		})
	c.Long = "Say by which SSH keys root may log in to a server, also while it runs: those given\ntake the place of those that it has."
	keyFlag(c, &keys)
	c.Flags().BoolVar(&none, "none", false, "nobody may")
	t.yesFlags(c)
	t.dryRunFlag(c)
	t.waitFlags(c)
	return c
}

func keyFlag(c *cobra.Command, keys *[]string) {
	c.Flags().StringArrayVar(keys, "key", nil, "a public key: the `FILE` that has it, or its one line; may be repeated")
}

// loginKeys reads what --key was given.
func loginKeys(texts []string) ([]string, error) {
	var keys []string
	for _, text := range texts {
		list, err := engine.ParseKeys(text)
		if err != nil {
			return nil, usagef("a file is read only by picloud on its own computer; over ssh give the line itself", "--key %q: %w", clip(text), err)
		}
		keys = append(keys, list...)
	}
	return keys, nil
}
