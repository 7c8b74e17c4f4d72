package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picloud/engine"
)

type listOutput struct {
	Body struct {
		Servers []server `json:"servers" nullable:"false" doc:"By name."`
	} `nameHint:"Servers"`
}

type showOutput struct{ Body server }

// order is what a server should be; what is left out is any.
type order struct {
	ID      string   `json:"id,omitempty" maxLength:"64" doc:"The server's name, which becomes a host name; one is made up if it is left out." example:"web1"`
	Account string   `json:"account,omitempty" maxLength:"32" doc:"For staff: whose it is."`
	Model   int      `json:"model,omitempty" minimum:"1" maximum:"99" doc:"Generation." example:"4"`
	Memory  int      `json:"memory,omitempty" minimum:"1" maximum:"10000000" doc:"MB." example:"4096"`
	CPU     int      `json:"cpu_speed,omitempty" minimum:"1" maximum:"1000000" doc:"MHz." example:"1500"`
	NIC     int      `json:"nic_speed,omitempty" minimum:"1" maximum:"10000000" doc:"Mbit/s." example:"1000"`
	Disk    int      `json:"disk,omitempty" minimum:"10" maximum:"16000" multipleOf:"10" doc:"GB; 10 if it is left out."`
	Image   string   `json:"image,omitempty" maxLength:"128" doc:"The default one if it is left out."`
	Keys    []string `json:"ssh_keys,omitempty" maxItems:"100" doc:"Public keys that may log in as root."`
}

type ownOrderInput struct {
	Once
	Body *order
}

type acceptedTask struct {
	Status   int
	Location string `header:"Location" doc:"With 202: where it can be followed."`
	Body     accepted
}

// accepted is what became of a request: it is done (200), or is being done (202).
type accepted struct {
	Server string `json:"server" example:"web1"`
	Task   int64  `json:"task,omitempty" doc:"With 202: its number." example:"1207"`
}

type taskOutput struct{ Body task }

type bootsOutput struct {
	Body struct {
		Boots []boot `json:"boots" nullable:"false" doc:"Newest first."`
	} `nameHint:"Boots"`
}

type boot struct {
	Started time.Time   `json:"started"`
	Up      *time.Time  `json:"up,omitempty" doc:"When SSH answered."`
	Reached string      `json:"reached" doc:"The furthest stage." example:"up"`
	Cause   string      `json:"cause,omitempty" doc:"Why it came no further."`
	Events  []bootEvent `json:"events" nullable:"false" doc:"What was seen, in order."`
}

type bootEvent struct {
	Time     time.Time `json:"time"`
	Stage    string    `json:"stage" example:"dhcp"`
	Evidence string    `json:"evidence"`
}

func (a *API) addServers(f *family) {
	op := own("Servers", "servers", http.MethodGet, "/servers", "Your servers")
	op.Errors = []int{http.StatusForbidden}
	add(f, op, needRead, a.list)
	add(f, own("Servers", "server", http.MethodGet, "/servers/{id}", "A server"), needRead, a.show)
	op = own("Servers", "boots", http.MethodGet, "/servers/{id}/boots", "The timelines of a server's boots")
	op.Description = "Boots since the server came to the Pi that it is on, ten at most."
	add(f, op, needRead, a.boots)
	op = own("Servers", "order", http.MethodPost, "/servers", "Order a server")
	op.DefaultStatus, op.Errors = http.StatusAccepted, []int{http.StatusConflict}
	add(f, op, needWrite, a.order)
	op = own("Servers", "release", http.MethodDelete, "/servers/{id}", "Give a server back")
	op.Errors = []int{http.StatusConflict}
	add(f, op, needWrite, a.release)
	add(f, own("Servers", "task", http.MethodGet, "/tasks/{task}", "Follow what is done with a server"), needRead, a.task)
}

func (a *API) list(_ context.Context, c *caller, in *OfAccount) (*listOutput, error) {
	account, err := in.of(c)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Servers = []server{}
	for _, s := range a.servers(account) {
		out.Body.Servers = append(out.Body.Servers, a.viewOf(&s))
	}
	return out, nil
}

func (a *API) show(_ context.Context, c *caller, in *ByID) (*showOutput, error) {
	s, err := a.server(c.Account, in.ID)
	if err != nil {
		return nil, err
	}
	return &showOutput{a.viewOf(&s)}, nil
}

// maxBoots is how many of its boots a server shows.
const maxBoots = 10

// boots are those that the server had itself on its Pi: what was there before is
// another customer's.
func (a *API) boots(ctx context.Context, c *caller, in *ByID) (*bootsOutput, error) {
	s, err := a.server(c.Account, in.ID)
	if err != nil {
		return nil, err
	}
	out := &bootsOutput{}
	out.Body.Boots = []boot{}
	if s.Pi == "" {
		return out, nil
	}
	boots, err := a.desk.Boots(ctx, s.Pi, maxBoots)
	if err != nil {
		return nil, err
	}
	for _, b := range boots {
		if !b.Started.Before(s.Placed) {
			out.Body.Boots = append(out.Body.Boots, bootOf(&b))
		}
	}
	return out, nil
}

func bootOf(b *engine.Boot) boot {
	v := boot{Started: b.Started.UTC(), Up: moment(b.Up), Reached: b.Reached.String(), Cause: b.Cause, Events: []bootEvent{}}
	for _, e := range b.Events {
		v.Events = append(v.Events, bootEvent{e.Time.UTC(), e.Stage.String(), e.Evidence})
	}
	return v
}

func (a *API) order(ctx context.Context, c *caller, in *ownOrderInput) (*acceptedTask, error) {
	o := in.Body
	if o == nil {
		o = &order{}
	}
	account, err := (&OfAccount{o.Account}).of(c)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeyList(o.Keys)
	if err != nil {
		return nil, err
	}
	return a.serve(ctx, c, engine.ServerCommand{
		Verb: engine.ServerOrder, Account: account, Server: o.ID, Image: o.Image, DiskGB: o.Disk, Keys: keys,
		Wish: engine.Spec{Model: o.Model, Memory: o.Memory, CPU: o.CPU, NIC: o.NIC},
		Once: in.once(http.MethodPost, "/"+ours+"/servers", o),
	})
}

// serve gives a command to the desk.
func (a *API) serve(ctx context.Context, c *caller, cmd engine.ServerCommand) (*acceptedTask, error) {
	cmd.Actor, cmd.Typed = c.Actor, cmd.Server // a path names the server as a person types it
	done, err := a.desk.Serve(ctx, cmd)
	if err != nil {
		return nil, err
	}
	out := &acceptedTask{Status: http.StatusOK, Body: accepted{done.Server, done.Job}}
	if done.Job != 0 {
		out.Status, out.Location = http.StatusAccepted, c.base+"/"+ours+"/tasks/"+strconv.FormatInt(done.Job, 10)
	}
	return out, nil
}

func (a *API) release(ctx context.Context, c *caller, in *ByID) (*nothing, error) {
	_, err := a.serve(ctx, c, engine.ServerCommand{Verb: engine.ServerRelease, Server: in.ID})
	return &nothing{}, err
}

func (a *API) task(ctx context.Context, c *caller, in *taskInput) (*taskOutput, error) {
	t, err := a.desk.Task(ctx, c.Account, in.Task)
	if err != nil {
		return nil, err
	}
	return &taskOutput{*taskOf(&t.JobView, t.Server, t.Status)}, nil
}

// okResponse describes the 200 of an operation that is done at once, beside the
// 202 of its default.
func okResponse(schema *huma.Schema) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "It is done.", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}}
}
