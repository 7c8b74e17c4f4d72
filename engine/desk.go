package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// desk is what callers of an order API read: values that the loop replaces and
// never changes, so that a read waits for nothing.
type desk struct {
	servers sync.Map // name → *ServerView, of those that have not ended
	tasks   sync.Map // job → *TaskView, of those that run and the latest that ended
	ended   []int64  // in tasks, oldest first; the loop's own
}

// keptTasks are how many ended tasks are answered for without the store.
const keptTasks = 4096

// Server finds a server; see Desk.
func (e *Engine) Server(account, name string) (ServerView, bool) {
	v, ok := e.desk.servers.Load(name)
	if !ok {
		return ServerView{}, false
	}
	s := v.(*ServerView)
	if account != "" && s.Account != account {
		return ServerView{}, false
	}
	return *s, true
}

// Servers lists servers; see Desk.
func (e *Engine) Servers(account string) []ServerView {
	var list []ServerView
	e.desk.servers.Range(func(_, v any) bool {
		if s := v.(*ServerView); account == "" || s.Account == account {
			list = append(list, *s)
		}
		return true
	})
	slices.SortFunc(list, func(a, b ServerView) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Task finds a job on a server; see Desk.
func (e *Engine) Task(ctx context.Context, account string, id int64) (TaskView, error) {
	if v, ok := e.desk.tasks.Load(id); ok {
		t := v.(*TaskView)
		if account != "" && t.Account != account {
			return TaskView{}, ErrNoSuchTask
		}
		return *t, nil
	}
	j, err := e.cfg.Inventory.Job(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return TaskView{}, ErrNoSuchTask
	}
	if err != nil {
		return TaskView{}, err
	}
	owner := e.ownerOf(&j)
	if j.Server == "" || account != "" && owner != account {
		return TaskView{}, ErrNoSuchTask
	}
	s := jobState{Job: j}
	s.percent.Store(-1)
	return taskView(*s.viewOf(), owner), nil
}

// ownerOf is the account that an old job was for: the actor, or whose the server
// is now, if it is still the same. An actor from before there was an account of
// that name was one of the staff.
func (e *Engine) ownerOf(j *Job) string {
	if acc, ok := e.Accounts().ByName(j.Actor); ok && !j.Created.Before(acc.Created) {
		return j.Actor
	}
	s, _ := e.Server("", j.Server)
	if s.Task > j.ID {
		return "" // the server of that name is a later one
	}
	return s.Account
}

// Rules are how servers are ordered now.
func (e *Engine) Rules() *Rules { return e.rules.Load() }

// Accounts are the customers as they are now.
func (e *Engine) Accounts() *Accounts { return e.accounts.Load() }

// words are what a task's owner is told, by the step that runs. What is not here
// is told as Provisioning is.
var words = map[string]string{
	stepClone: "Installing operating system", stepPersonalise: "Installing operating system",
	stepRest: "Installing operating system", stepMoveIn: "Installing operating system", stepPublish: "Installing operating system",
	stepPowerOn: "Booting Raspberry Pi", stepBoot: "Booting Raspberry Pi", stepGoLive: "Booting Raspberry Pi",
}

func taskView(j JobView, account string) TaskView {
	t := TaskView{JobView: j, Account: account, Server: j.Server, Status: cmp.Or(words[j.Step], "Provisioning")}
	switch {
	case j.State == JobDone:
		t.Status = "Done"
	case j.State.Ended():
		t.Status = "Failed"
		if account != "" { // why names the rack's own parts
			t.Error = "it could not be carried out"
		}
	case VerbName(j.Verb) != verbProvision:
		t.Status = strings.ToUpper(j.Verb[:1]) + j.Verb[1:]
	}
	return t
}

// showServer puts a server on the desk as it is now, or takes it off.
func (r *rack) showServer(name string) {
	s, ok := r.servers[name]
	p := r.placeOf(name)
	if !ok || p == nil || s.State.Gone() {
		r.e.desk.servers.Delete(name)
	} else {
		r.show(s, p)
	}
	if p != nil && p.job != nil {
		r.showTask(p.job)
	}
}

func (r *rack) show(s Server, p *piState) {
	v := &ServerView{
		Server: s, Pi: p.Name, Gen: p.gen, Model: p.Model, Board: p.Spec(), Wanted: p.Power, Stage: p.view(), Since: p.since,
		Diagnosis: p.diag, Root: r.viewVolume(p.Volume), Former: p.Former != "", Rescue: p.Rescue,
	}
	if p.portSeen && !p.sw.silent() {
		v.Power = powerView(p.port)
	}
	if v.HostKeys = v.Root.HostKeys; p.Rescue {
		v.HostKeys = r.volumes[p.Volume].RescueKeys
	}
	if p.job != nil {
		v.Job = r.viewJob(p.job)
	}
	r.e.desk.servers.Store(s.Name, v)
}

// showServers puts all servers on the desk that are on a Pi, with every snapshot.
func (r *rack) showServers() {
	on := make(map[string]bool, len(r.order))
	for _, p := range r.order {
		s, ok := r.servers[p.Server]
		if !ok || s.State.Gone() {
			continue
		}
		on[s.Name] = true
		r.show(s, p)
		if p.job != nil {
			r.showTask(p.job)
		}
	}
	r.e.desk.servers.Range(func(name, _ any) bool {
		if !on[name.(string)] {
			r.e.desk.servers.Delete(name)
		}
		return true
	})
}

// showTask puts a job on the desk that is for somebody's server.
func (r *rack) showTask(j *jobState) {
	if j.Server == "" && j.pi.Server == "" {
		return
	}
	v := r.viewJob(j)
	v.Server = cmp.Or(j.Server, j.pi.Server)
	t := taskView(*v, r.servers[v.Server].Account)
	d := &r.e.desk
	d.tasks.Store(j.ID, &t)
	if !j.State.Ended() {
		return
	}
	if d.ended = append(d.ended, j.ID); len(d.ended) > keptTasks { // the one that ended longest ago
		d.tasks.Delete(d.ended[0])
		d.ended = d.ended[1:]
	}
}

// KeyUsed takes note that an API key was used. It never blocks for long: the
// loop takes the times over now and then.
func (e *Engine) KeyUsed(id string) {
	e.used.mu.Lock()
	defer e.used.mu.Unlock()
	if e.used.at == nil {
		e.used.at = map[string]time.Time{}
	}
	e.used.at[id] = time.Now().Truncate(time.Minute)
}

// usedKeys are the keys that were used since the loop last looked.
type usedKeys struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (u *usedKeys) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// noteKeys writes down when keys were used last, to the minute.
func (r *rack) noteKeys() {
	used := r.e.used.take()
	if len(used) == 0 {
		return
	}
	var changed bool
	list := r.accounts.clone()
	for id, at := range used {
		if k, ok := list.keys[id]; ok && at.After(k.Used) {
			k.Used, changed = at, true
			list.keys[id] = k
			r.changes.APIKeys = append(r.changes.APIKeys, k)
		}
	}
	if changed {
		r.setAccounts(list)
	}
}

// broadcast lets any number of callers wait for the next time something happens.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
