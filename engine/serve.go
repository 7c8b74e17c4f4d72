package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// serverVerb is a row of the table of what can be done with a server.
type serverVerb struct {
	staff bool     // customers may not
	typed bool     // staff have to type the server's name
	pi    VerbName // carried out on its Pi by this verb
	do    func(*rack, *ServerCommand) (ServerResult, error)
}

func serverVerbs() map[ServerVerb]serverVerb {
	onPi := (*rack).serveOnPi
	return map[ServerVerb]serverVerb{
		ServerOrder:    {do: (*rack).placeOrder},
		ServerRelease:  {do: (*rack).release, typed: true},
		ServerKeys:     {do: (*rack).rekey},
		ServerOn:       {do: onPi, pi: VerbOn},
		ServerOff:      {do: onPi, pi: VerbOff},
		ServerCycle:    {do: onPi, pi: VerbCycle},
		ServerReimage:  {do: onPi, pi: VerbReimage, typed: true},
		ServerUndo:     {do: onPi, pi: VerbUndo, typed: true},
		ServerRescue:   {do: onPi, pi: VerbRescue},
		ServerUnrescue: {do: onPi, pi: VerbUnrescue},
		ServerResize:   {do: onPi, pi: VerbResize},
		ServerMove:     {do: onPi, pi: VerbMove, typed: true, staff: true},
	}
}

// Serve carries out a command on a server; see Desk.
func (e *Engine) Serve(ctx context.Context, cmd ServerCommand) (ServerResult, error) {
	return ask(ctx, e, e.serves, cmd)
}

// serve checks who asks, and whether they have asked before, and has the verb
// carried out. What it writes down goes into the store as one: an order never
// has a Pi and no server, or a server and no job.
func (r *rack) serve(cmd ServerCommand) (ServerResult, error) {
	verb, ok := serverVerbs()[cmd.Verb]
	if !ok {
		return ServerResult{}, fmt.Errorf("%w: %q", ErrNoSuchVerb, cmd.Verb)
	}
	if err := r.mayServe(&cmd, verb); err != nil {
		return ServerResult{}, fmt.Errorf("%s: %w", cmd.said(), err)
	}
	if was, ok := r.onces[cmd.onceKey()]; ok && cmd.Once.Key != "" {
		if was.Digest != cmd.Once.Digest || was.Verb != cmd.Verb {
			return ServerResult{}, ErrOnceDiffers
		}
		return ServerResult{Server: was.Server, Job: was.Job, Repeated: true}, nil
	}
	if err := r.flush(context.Background()); err != nil {
		return ServerResult{}, fmt.Errorf("%s: %w (%w)", cmd.Verb, ErrNotWritten, err)
	}
	res, err := verb.do(r, &cmd)
	if err != nil {
		return ServerResult{}, fmt.Errorf("%s: %w", cmd.said(), err)
	}
	r.showServer(res.Server)
	return res, nil
}

func (r *rack) mayServe(cmd *ServerCommand, verb serverVerb) error {
	customer := cmd.Actor.Account != ""
	switch {
	case cmd.Actor.Role < RoleOperator || customer && verb.staff:
		return fmt.Errorf("%s %w", cmd.Actor.Role, ErrNotAllowed)
	case !customer && verb.typed && cmd.Typed != cmd.Server:
		return fmt.Errorf("%w: type %q", ErrGuard, cmd.Server)
	case customer:
		return r.openAccount(cmd.Actor.Account)
	}
	return nil
}

// openAccount says why an account may do nothing.
func (r *rack) openAccount(name string) error {
	switch acc, ok := r.accounts.ByName(name); {
	case !ok:
		return fmt.Errorf("%w: %q", ErrNoSuchAccount, printable(name))
	case !acc.Closed.IsZero():
		return ErrAccountClosed
	}
	return nil
}

type onceKey struct{ account, key string }

// onceKey is whose name for a command it is: two customers may choose the same.
func (c *ServerCommand) onceKey() onceKey {
	return onceKey{cmp.Or(c.Actor.Account, "staff:"+c.Actor.Name), c.Once.Key}
}

// said is the verb with the server, if it has a name yet.
func (c *ServerCommand) said() string { return trimmed(string(c.Verb) + " " + printable(c.Server)) }

// remember writes down what a command came to, with what it did.
func (r *rack) remember(cmd *ServerCommand, res ServerResult) {
	if cmd.Once.Key == "" {
		return
	}
	key := cmd.onceKey()
	row := OnceRow{Account: key.account, Once: cmd.Once, Verb: cmd.Verb, Server: res.Server, Job: res.Job, Time: time.Now()}
	r.onces[key] = row
	r.changes.Onces = append(r.changes.Onces, row)
}

// forget takes back what remember did, for a command that was not carried out: it
// must not be stored with what comes later.
func (r *rack) forget(cmd *ServerCommand) {
	key := cmd.onceKey()
	delete(r.onces, key)
	r.changes.Onces = slices.DeleteFunc(r.changes.Onces, func(o OnceRow) bool { return onceKey{o.Account, o.Key} == key })
}

// own finds a server of the actor's account, with its Pi. One that was given
// back is there no more, though its Pi may still be being released.
func (r *rack) own(cmd *ServerCommand) (Server, *piState, error) {
	s, ok := r.servers[cmd.Server]
	p := r.placeOf(cmd.Server)
	if !ok || p == nil || s.State.Gone() ||
		cmd.Actor.Account != "" && s.Account != cmd.Actor.Account {
		return Server{}, nil, fmt.Errorf("%w: %q", ErrNoSuchServer, printable(cmd.Server))
	}
	if s.State == ServerProvisioning || s.State == ServerInitialising {
		return s, p, ErrProvisioning
	}
	return s, p, nil
}

// placeOf is the Pi that a server is on, nil if it is on none.
func (r *rack) placeOf(server string) *piState {
	for _, p := range r.order {
		if p.Server == server && server != "" {
			return p
		}
	}
	return nil
}

// serveOnPi has a verb carried out on the server's Pi, as staff would.
func (r *rack) serveOnPi(cmd *ServerCommand) (ServerResult, error) {
	s, p, err := r.own(cmd)
	if err != nil {
		return ServerResult{}, err
	}
	verb := serverVerbs()[cmd.Verb].pi
	res := ServerResult{Server: s.Name}
	if done := cmd.Verb == ServerOn && p.isOn() || cmd.Verb == ServerOff && p.isOff(); done && p.job == nil {
		return res, nil
	}
	if j := p.job; j != nil && VerbName(j.Verb) == VerbCycle {
		return res, ErrRebooting
	}
	if err := p.idle(); err != nil {
		return res, err
	}
	onPi := Command{
		Verb: verb, Actor: cmd.Actor, Targets: []Target{{Pi: p.Name, Gen: p.gen}}, Image: cmd.Image, To: cmd.To,
		Passed: GuardName, Typed: string(p.Name), Reason: trimmed("server " + s.Name + " " + cmd.Reason),
	}
	if verb == VerbResize {
		if err := checkDisk(cmd.DiskGB); err != nil {
			return res, err
		}
		onPi.Size = int64(cmd.DiskGB) * gigabyte
	}
	if cmd.Image != "" && !r.hasImage(cmd.Image) {
		return res, fmt.Errorf("%w: there is no image %q", ErrBadOrder, printable(cmd.Image))
	}
	did, err := r.carryOut(onPi, func(did Result) {
		if len(did.Accepted) > 0 {
			res.Job = did.Accepted[0].Job
			r.remember(cmd, res)
		}
	})
	if err == nil {
		err = did.Err()
	}
	if err != nil {
		r.forget(cmd)
		if errors.Is(err, errStore) {
			err = fmt.Errorf("%w (%w)", ErrNotWritten, err)
		}
	}
	return res, err
}

// idle says why nothing can be begun on the Pi.
func (p *piState) idle() error {
	if p.job == nil {
		return nil
	}
	return fmt.Errorf("%w: job %d (%s) is not over", ErrNotNow, p.job.ID, p.job.Verb)
}

func (p *piState) isOn() bool  { return p.Power && p.portSeen && p.port.Enabled && !p.sw.silent() }
func (p *piState) isOff() bool { return !p.Power && p.portSeen && !p.port.Enabled && !p.sw.silent() }

// rekey changes who may log in, in the root that is there and in those to come.
func (r *rack) rekey(cmd *ServerCommand) (ServerResult, error) {
	s, p, err := r.own(cmd)
	if err != nil {
		return ServerResult{}, err
	}
	if err := p.idle(); err != nil {
		return ServerResult{}, err
	}
	if err := checkLoginKeys(cmd.Keys); err != nil {
		return ServerResult{}, err
	}
	undo := r.takeBack(p, s.Name)
	s.Keys = cmd.Keys
	r.saveServer(s)
	audit := r.openAudit(verbRekey, r.serverAct(cmd, fmt.Sprintf("server %s, %d keys", s.Name, len(cmd.Keys))), p, r.ids.Job+1)
	job := r.newJob(verbRekey, p, cmd.Actor.Name, 0, audit)
	job.Volume = p.Volume
	r.saveJob(job)
	return r.written(cmd, ServerResult{Server: s.Name, Job: job.ID}, undo)
}

// written stores what a command on a server did, with what it came to. When the
// store does not take it, it is taken back: nothing of it may be done when the
// store recovers.
func (r *rack) written(cmd *ServerCommand, res ServerResult, undo func()) (ServerResult, error) {
	r.remember(cmd, res)
	if err := r.flush(context.Background()); err != nil {
		r.forget(cmd)
		undo()
		return ServerResult{}, fmt.Errorf("%w (%w)", ErrNotWritten, err)
	}
	return res, nil
}

// takeBack remembers a Pi and a server as they are, before a command changes
// them. It is called when all that came before is stored: what is not by the
// time of the undo is the command's own.
func (r *rack) takeBack(p *piState, server string) func() {
	pi, job := p.Pi, p.job
	was, had := r.servers[server]
	return func() {
		r.changes = Changes{}
		if j := p.job; j != nil && j != job {
			delete(r.jobs, j.ID)
			delete(r.batches, j.Batch)
			delete(r.open, j.Audit)
			if v := r.volumes[j.Volume]; v.State == VolumeMaking {
				delete(r.volumes, v.Name)
			}
		}
		p.Pi, p.job = pi, job
		if delete(r.servers, server); had {
			r.servers[server] = was
		}
		r.stale = true
		r.bump(p)
	}
}

func (r *rack) saveServer(s Server) {
	r.servers[s.Name] = s
	r.changes.Servers = append(r.changes.Servers, s)
	r.dirty = true
}

// serverAct is the command as the audit has it.
func (r *rack) serverAct(cmd *ServerCommand, what string) Command {
	return Command{Actor: cmd.Actor, Reason: trimmed(what + " " + cmd.Reason)}
}
