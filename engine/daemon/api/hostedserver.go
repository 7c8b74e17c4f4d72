package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"picloud/engine"
)

// hostedOrder is what is asked for; what is left out is any, and the lowest spec
// that fits is given.
type hostedOrder struct {
	Disk       int    `json:"disk,omitempty" minimum:"10" maximum:"16000" multipleOf:"10" doc:"GB; 10 if it is left out."`
	Model      int    `json:"model,omitempty" minimum:"1" maximum:"99" doc:"Generation." example:"4"`
	Memory     int    `json:"memory,omitempty" minimum:"1" maximum:"10000000" doc:"MB." example:"4096"`
	CPU        int    `json:"cpu_speed,omitempty" minimum:"1" maximum:"1000000" doc:"MHz." example:"1500"`
	NIC        int    `json:"nic_speed,omitempty" minimum:"1" maximum:"10000000" doc:"Mbit/s." example:"1000"`
	Image      string `json:"os_image,omitempty" maxLength:"128" doc:"One of /pi/images; the default one if it is left out."`
	Keys       string `json:"ssh_key,omitempty" doc:"Public keys that may log in as root, apart by CR LF or LF."`
	WaitForDNS bool   `json:"wait_for_dns,omitempty" doc:"Taken as false: this service answers no DNS itself."`
}

func (o *hostedOrder) command() (engine.ServerCommand, error) {
	if o == nil {
		o = &hostedOrder{}
	}
	keys, err := engine.ParseKeys(o.Keys)
	return engine.ServerCommand{
		Verb: engine.ServerOrder, DiskGB: o.Disk, Image: o.Image, Keys: keys,
		Wish: engine.Spec{Model: o.Model, Memory: o.Memory, CPU: o.CPU, NIC: o.NIC},
	}, err
}

// OrderInput is the input of an order.
type OrderInput struct {
	Once
	Body *hostedOrder
}

type namedOrderInput struct {
	ID string `path:"id" maxLength:"64" doc:"The server's name, which becomes a host name: small letters, digits and hyphens." example:"web1"`
	OrderInput
}

type acceptedOutput struct {
	Location string `header:"Location" doc:"Where the order can be followed."`
}

type taskInput struct {
	Task int64 `path:"task" minimum:"1"`
}

type queueOutput struct {
	Status   int
	Location string `header:"Location" doc:"With 303: the server."`
	Body     struct {
		Status string `json:"status" doc:"How far it has come." example:"Booting Raspberry Pi"`
	} `nameHint:"QueueStatus"`
}

// orderErrors are what an order may be refused with beside what all may.
var orderErrors = []int{http.StatusForbidden, http.StatusConflict}

func (a *API) addHostedServers(f *family) {
	op := a.hosted("hosted-order", http.MethodPost, "/pi/servers", "Order a server, which gets a name")
	op.DefaultStatus, op.Errors = http.StatusAccepted, orderErrors
	add(f, op, needWrite, func(ctx context.Context, c *caller, in *OrderInput) (*acceptedOutput, error) {
		return a.hostedPost(ctx, c, "", in)
	})
	op = a.hosted("hosted-order-named", http.MethodPost, "/pi/servers/{id}", "Order a server")
	op.DefaultStatus, op.Errors = http.StatusAccepted, orderErrors
	add(f, op, needWrite, func(ctx context.Context, c *caller, in *namedOrderInput) (*acceptedOutput, error) {
		return a.hostedPost(ctx, c, in.ID, &in.OrderInput)
	})
	op = a.hosted("hosted-queue", http.MethodGet, "/queue/pi/{task}", "Follow an order")
	op.Description = "200 while it is worked on, 303 to the server when it is there, 500 with the reason when it has failed."
	op.Responses = map[string]*huma.Response{"303": {
		Description: "The server is there.",
		Headers:     map[string]*huma.Header{"Location": {Schema: &huma.Schema{Type: huma.TypeString, Format: "uri"}, Description: "The server."}},
	}}
	add(f, op, needRead, a.queue)
	op = a.hosted("hosted-release", http.MethodDelete, "/pi/servers/{id}", "Give a server back")
	op.Errors = []int{http.StatusConflict}
	add(f, op, needWrite, a.hostedDelete)
}

func (a *API) hostedPost(ctx context.Context, c *caller, id string, in *OrderInput) (*acceptedOutput, error) {
	cmd, err := in.Body.command()
	if err != nil {
		return nil, err
	}
	cmd.Server, cmd.Once = id, in.once(http.MethodPost, a.cfg.Base+"/pi/servers/"+id, in.Body)
	done, err := a.serve(ctx, c, cmd)
	if err != nil {
		return nil, err
	}
	return &acceptedOutput{Location: c.base + a.cfg.Base + "/queue/pi/" + strconv.FormatInt(done.Body.Task, 10)}, nil
}

// queue tells how an order goes. A client follows the 303 or reads its Location,
// so that it is absolute; one that sees a 500 gives up.
func (a *API) queue(ctx context.Context, c *caller, in *taskInput) (*queueOutput, error) {
	t, err := a.desk.Task(ctx, c.Account, in.Task)
	if err != nil {
		return nil, err
	}
	out := &queueOutput{Status: http.StatusOK}
	switch t.State {
	case engine.JobDone:
		out.Status, out.Location = http.StatusSeeOther, c.base+a.cfg.Base+"/pi/servers/"+t.Server
	case engine.JobFailed, engine.JobCancelled:
		return nil, fail(http.StatusInternalServerError, whyFailed(&t.JobView))
	}
	out.Body.Status = t.Status
	return out, nil
}

func (a *API) hostedDelete(ctx context.Context, c *caller, in *ByID) (*nothing, error) {
	_, err := a.serve(ctx, c, engine.ServerCommand{Verb: engine.ServerRelease, Server: in.ID})
	return &nothing{}, err
}
