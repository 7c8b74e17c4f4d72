package api

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"picloud/engine"
)

// addHosted adds the hosted-Pi API, in the shapes that its clients send and take.
func (a *API) addHosted(f *family) {
	a.addLogin(f)
	a.addHostedReads(f)
	a.addHostedServers(f)
	a.addHostedActs(f)
}

// hosted is an operation of the hosted-Pi API.
func (a *API) hosted(id, method, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: a.cfg.Base + path, Summary: summary, Tags: []string{"Hosted Pi"}}
}

type nothing struct{}

type modelsOutput struct {
	Body struct {
		Models []spec `json:"models" nullable:"false"`
	} `nameHint:"Models"`
}

// spec is a kind of board.
type spec struct {
	Model  int `json:"model" doc:"Generation." example:"4"`
	Memory int `json:"memory" doc:"MB." example:"4096"`
	CPU    int `json:"cpu_speed" doc:"MHz." example:"1500"`
	NIC    int `json:"nic_speed" doc:"Mbit/s." example:"1000"`
}

func specOf(s engine.Spec) spec { return spec{s.Model, s.Memory, s.CPU, s.NIC} }

type imagesInput struct {
	Model int `path:"model" doc:"Generation." example:"4"`
}

type imagesOutput struct {
	Body map[string]string `doc:"Labels by the images' IDs." example:"{\"rpi-bookworm-arm64\":\"Raspberry Pi OS Bookworm (64 bit)\"}"`
}

type hostedListOutput struct {
	Body struct {
		Servers map[string]hostedBrief `json:"servers" nullable:"false"`
	} `nameHint:"HostedServers"`
}

// hostedBrief is a server in the list.
type hostedBrief struct {
	Model  int `json:"model" example:"4"`
	Memory int `json:"memory" doc:"MB." example:"4096"`
	CPU    int `json:"cpu_speed" doc:"MHz." example:"1500"`
}

func (a *API) addHostedReads(f *family) {
	add(f, a.hosted("hosted-models", http.MethodGet, "/pi/models", "The kinds of Pi that there are"), needRead, a.models)
	add(f, a.hosted("hosted-images", http.MethodGet, "/pi/images/{model}", "The images for a model"), needRead, a.images)
	add(f, a.hosted("hosted-list", http.MethodGet, "/pi/servers", "Your servers"), needRead, a.hostedList)
	add(f, a.hosted("hosted-show", http.MethodGet, "/pi/servers/{id}", "A server"), needRead, a.hostedShow)
	add(f, a.hosted("hosted-keys", http.MethodGet, "/pi/servers/{id}/ssh-key", "Who may log in to a server"), needRead, a.hostedKeys)
}

func (a *API) models(context.Context, *caller, *nothing) (*modelsOutput, error) {
	out := &modelsOutput{}
	out.Body.Models = []spec{}
	for _, s := range a.desk.Snapshot().Specs() {
		out.Body.Models = append(out.Body.Models, specOf(s))
	}
	return out, nil
}

// images are the same for all models that there are.
func (a *API) images(_ context.Context, _ *caller, in *imagesInput) (*imagesOutput, error) {
	snap := a.desk.Snapshot()
	for _, s := range snap.Specs() {
		if s.Model != in.Model {
			continue
		}
		out := &imagesOutput{Body: map[string]string{}}
		for _, i := range snap.Images {
			out.Body[i.Name] = cmp.Or(i.Label, i.Name)
		}
		return out, nil
	}
	return nil, fail(http.StatusNotFound, "There is no model "+strconv.Itoa(in.Model)+" here")
}

func (a *API) hostedList(_ context.Context, c *caller, _ *nothing) (*hostedListOutput, error) {
	out := &hostedListOutput{}
	out.Body.Servers = map[string]hostedBrief{}
	for _, s := range a.servers(c.Account) {
		b := boardOf(&s)
		out.Body.Servers[s.Name] = hostedBrief{b.Model, b.Memory, b.CPU}
	}
	return out, nil
}

// ByID is an input that names a server.
type ByID struct {
	ID string `path:"id" maxLength:"64" doc:"The server's name." example:"web1"`
}

type hostedOutput struct{ Body hostedServer }

func (a *API) hostedShow(_ context.Context, c *caller, in *ByID) (*hostedOutput, error) {
	s, err := a.server(c.Account, in.ID)
	if err != nil {
		return nil, err
	}
	return &hostedOutput{hostedView(&s, cmp.Or(a.cfg.Location, a.desk.Snapshot().Rack))}, nil
}

// hostedKeys is the body of both ways of ssh-key.
type keysBody struct {
	Keys string `json:"ssh_key" doc:"Public keys, apart by CR LF or LF: all of root's authorized_keys."`
}

type keysOutput struct{ Body keysBody }

func (a *API) hostedKeys(_ context.Context, c *caller, in *ByID) (*keysOutput, error) {
	s, err := a.server(c.Account, in.ID)
	if err != nil {
		return nil, err
	}
	return &keysOutput{keysBody{strings.Join(s.Keys, "\r\n")}}, nil
}

// servers are those of an account ("" = all) that are somebody's.
func (a *API) servers(account string) []engine.ServerView {
	list := a.desk.Servers(account)
	kept := make([]engine.ServerView, 0, len(list))
	for _, s := range list {
		if !s.State.Gone() {
			kept = append(kept, s)
		}
	}
	return kept
}

// server finds one of them.
func (a *API) server(account, name string) (engine.ServerView, error) {
	s, ok := a.desk.Server(account, name)
	if !ok || s.State.Gone() {
		return engine.ServerView{}, engine.ErrNoSuchServer
	}
	return s, nil
}
