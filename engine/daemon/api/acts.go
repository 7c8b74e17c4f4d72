package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"picloud/engine"
)

// act is a verb on a server that needs no more said than which.
type act struct {
	verb    engine.ServerVerb
	path    string
	summary string
	about   string
}

var plainActs = []act{
	{engine.ServerOn, "on", "Switch a server on", ""},
	{engine.ServerOff, "off", "Switch a server off", "What it has not written is lost."},
	{engine.ServerCycle, "cycle", "Power-cycle a server", "What it has not written is lost."},
	{engine.ServerUndo, "undo", "Bring back the root from before the last reimage", "The present root is kept in its place."},
	{engine.ServerRescue, "rescue", "Boot the rescue system", "A small system in memory, with SSH, your keys and the root at /mnt."},
	{engine.ServerUnrescue, "unrescue", "Boot a server's own root again", ""},
}

type reimageInput struct {
	ActInput
	Body *struct {
		Image string `json:"image,omitempty" maxLength:"128" doc:"The one that it has if it is left out."`
	} `nameHint:"Reimage"`
}

type resizeInput struct {
	ActInput
	Body struct {
		Disk int `json:"disk" minimum:"10" maximum:"16000" multipleOf:"10" doc:"GB; no less than now." example:"20"`
	} `nameHint:"Resize"`
}

type moveInput struct {
	ActInput
	Body *struct {
		To string `json:"to,omitempty" maxLength:"64" doc:"The Pi that it goes to; a spare if it is left out."`
	} `nameHint:"Move"`
}

type keyListInput struct {
	ByID
	Body struct {
		Keys []string `json:"ssh_keys" nullable:"false" maxItems:"100" doc:"Public keys that may log in as root: these, and no others."`
	} `nameHint:"Keys"`
}

func (a *API) addActs(f *family) {
	for _, one := range plainActs {
		add(f, a.actOperation(string(one.verb), one.path, one.summary, one.about), needWrite, func(ctx context.Context, c *caller, in *ActInput) (*acceptedTask, error) {
			return a.act(ctx, c, in, nil, engine.ServerCommand{Verb: one.verb})
		})
	}
	op := a.actOperation("reimage", "reimage", "Give a server a fresh root", "The present root is kept for some days: undo brings it back.")
	add(f, op, needWrite, func(ctx context.Context, c *caller, in *reimageInput) (*acceptedTask, error) {
		cmd := engine.ServerCommand{Verb: engine.ServerReimage}
		if in.Body != nil {
			cmd.Image = in.Body.Image
		}
		return a.act(ctx, c, &in.ActInput, in.Body, cmd)
	})
	op = a.actOperation("resize", "resize", "Let a server's root grow", "It may run meanwhile; a root cannot shrink again.")
	add(f, op, needWrite, func(ctx context.Context, c *caller, in *resizeInput) (*acceptedTask, error) {
		return a.act(ctx, c, &in.ActInput, in.Body, engine.ServerCommand{Verb: engine.ServerResize, DiskGB: in.Body.Disk})
	})
	op = a.actOperation("move", "move", "Move a server to another Pi", "For staff. Root, addresses and host keys go along.")
	add(f, op, needStaff, func(ctx context.Context, c *caller, in *moveInput) (*acceptedTask, error) {
		cmd := engine.ServerCommand{Verb: engine.ServerMove}
		if in.Body != nil {
			cmd.To = engine.PiName(in.Body.To)
		}
		return a.act(ctx, c, &in.ActInput, in.Body, cmd)
	})
	op = a.actOperation("keys", "keys", "Say who may log in to a server", "")
	op.Method = http.MethodPut
	add(f, op, needWrite, a.setKeys)
}

// actOperation answers 202 with a task to follow, or 200 when it is over at once.
func (a *API) actOperation(id, path, summary, about string) huma.Operation {
	op := own("Servers", id, http.MethodPost, "/servers/{id}/"+path, summary)
	op.Description, op.DefaultStatus = about, http.StatusAccepted
	op.Errors = []int{http.StatusConflict}
	op.Responses = okResponse(a.doc.Components.Schemas.Schema(reflect.TypeFor[accepted](), true, ""))
	return op
}

func (a *API) act(ctx context.Context, c *caller, in *ActInput, body any, cmd engine.ServerCommand) (*acceptedTask, error) {
	cmd.Server = in.ID
	cmd.Once = in.once(http.MethodPost, "/"+ours+"/servers/"+in.ID+"/"+string(cmd.Verb), body)
	return a.serve(ctx, c, cmd)
}

func (a *API) setKeys(ctx context.Context, c *caller, in *keyListInput) (*acceptedTask, error) {
	keys, err := parseKeyList(in.Body.Keys)
	if err != nil {
		return nil, err
	}
	return a.serve(ctx, c, engine.ServerCommand{Verb: engine.ServerKeys, Server: in.ID, Keys: keys})
}

// parseKeyList reads a list of keys. Each member is one key, so that none has a
// line break.
func parseKeyList(list []string) ([]string, error) {
	for _, k := range list {
		if strings.ContainsAny(k, "\r\n") {
			return nil, engine.ErrKey
		}
	}
	return engine.ParseKeys(strings.Join(list, "\n"))
}
