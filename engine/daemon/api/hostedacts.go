package api

import (
	"context"
	"net/http"
	"strings"

	"picloud/engine"
)

func (a *API) addHostedActs(f *family) {
	op := a.hosted("hosted-set-keys", http.MethodPut, "/pi/servers/{id}/ssh-key", "Say who may log in to a server")
	op.Errors = []int{http.StatusConflict}
	add(f, op, needWrite, a.hostedSetKeys)
	op = a.hosted("hosted-power", http.MethodPut, "/pi/servers/{id}/power", "Switch a server's power")
	op.Errors = []int{http.StatusConflict}
	add(f, op, needWrite, a.hostedPower)
	op = a.hosted("hosted-reboot", http.MethodPost, "/pi/servers/{id}/reboot", "Power-cycle a server")
	op.DefaultStatus, op.Errors = http.StatusOK, []int{http.StatusConflict}
	add(f, op, needWrite, a.hostedReboot)
}

type setKeysInput struct {
	ByID
	Body keysBody
}

func (a *API) hostedSetKeys(ctx context.Context, c *caller, in *setKeysInput) (*keysOutput, error) {
	keys, err := engine.ParseKeys(in.Body.Keys)
	if err != nil {
		return nil, err
	}
	_, err = a.serve(ctx, c, engine.ServerCommand{Verb: engine.ServerKeys, Server: in.ID, Keys: keys})
	return &keysOutput{keysBody{strings.Join(keys, "\r\n")}}, err
}

type powerBody struct {
	Power bool `json:"power"`
}

type powerInput struct {
	ByID
	Body powerBody
}

type powerOutput struct{ Body powerBody }

// hostedPower makes the power what it should be; the desk knows what it is.
func (a *API) hostedPower(ctx context.Context, c *caller, in *powerInput) (*powerOutput, error) {
	verb := engine.ServerOff
	if in.Body.Power {
		verb = engine.ServerOn
	}
	_, err := a.serve(ctx, c, engine.ServerCommand{Verb: verb, Server: in.ID})
	return &powerOutput{in.Body}, err
}

// ActInput is the input of an act on a server that needs no more said.
type ActInput struct {
	ByID
	Once
}

type doneOutput struct {
	Body struct {
		Status string `json:"status" enum:"rebooting"`
	} `nameHint:"Rebooting"`
}

func (a *API) hostedReboot(ctx context.Context, c *caller, in *ActInput) (*doneOutput, error) {
	_, err := a.serve(ctx, c, engine.ServerCommand{
		Verb: engine.ServerCycle, Server: in.ID, Once: in.once(http.MethodPost, a.cfg.Base+"/pi/servers/"+in.ID+"/reboot", nil),
	})
	out := &doneOutput{}
	out.Body.Status = "rebooting"
	return out, err
}
