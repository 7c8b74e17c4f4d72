package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"
)

// loginInput is an OAuth 2 client credentials grant (RFC 6749, section 4.4).
type loginInput struct {
	Authorization string `header:"Authorization" hidden:"true"`
	RawBody       []byte `contentType:"application/x-www-form-urlencoded"`
}

type loginOutput struct{ Body issued }

type issued struct {
	AccessToken string `json:"access_token" doc:"What to send as Authorization: Bearer."`
	TokenType   string `json:"token_type" enum:"bearer"`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds that the token lives after its last use." example:"300"`
}

// addLogin adds the token service where clients look for it: some are told its
// whole URL, some only of a host, and some of the API's base.
func (a *API) addLogin(f *family) {
	for id, path := range map[string]string{"login": "/login", "hosted-login": a.cfg.Base + "/login"} {
		add(f, huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{"Tokens"},
			Summary:     "Get a token",
			Description: "Send the API key by HTTP Basic, and the form grant_type=client_credentials.",
			Security:    []map[string][]string{{"key": {}}},
			Errors:      append([]int{http.StatusUnauthorized, http.StatusTooManyRequests}, bodyErrors...),
		}, needNobody, a.login)
		// huma knows the form as bytes.
		a.doc.Paths[path].Post.RequestBody.Content["application/x-www-form-urlencoded"].Schema = &huma.Schema{
			Type: huma.TypeObject, Required: []string{"grant_type"},
			Properties: map[string]*huma.Schema{"grant_type": {Type: huma.TypeString, Enum: []any{"client_credentials"}}},
		}
	}
}

func (a *API) login(_ context.Context, c *caller, in *loginInput) (*loginOutput, error) {
	id, secret, ok := basic(in.Authorization)
	if !ok {
		return nil, fail(http.StatusUnauthorized, "Send the API key by HTTP Basic").with("WWW-Authenticate", `Basic realm="picloud"`)
	}
	form, err := url.ParseQuery(string(in.RawBody))
	if err != nil || form.Get("grant_type") != "client_credentials" {
		return nil, fail(http.StatusBadRequest, "Send the form grant_type=client_credentials")
	}
	if _, refused := a.bySecret(c.from, id, secret); refused != nil {
		return nil, refused
	}
	return &loginOutput{issued{a.tokens.issue(id), "bearer", int(tokenLife.Seconds())}}, nil
}
