package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"picloud/engine"
)

// Config is what an API is made from.
type Config struct {
	Desk engine.Desk
	// Base is the path that the hosted-Pi API is under, such as "/beta".
	Base string
	// URL is where clients reach the service, such as "https://api.example.org",
	// for the absolute URLs in answers; "" = where each client's request went.
	URL string
	// Secret is the key of tokens' MACs, which outlives the process.
	Secret []byte
	// Deliveries are what was and is to be sent to a webhook of an account, newest
	// first and older than before (0 = the newest).
	Deliveries func(ctx context.Context, account, webhook string, before int64, limit int) ([]engine.Sending, error)
	// Location is where the rack is, "" = the rack's name.
	Location string
	// Domain is what servers' names are below, "" = nothing.
	Domain  string
	Version string
	// Answered is told of every request: the pattern of its route, "" = there is
	// none, the status, and how long it took. Many may call it at once. May be nil.
	Answered func(route string, status int, took time.Duration)
	Log      *slog.Logger // nil discards
}

// SecretLen is how long Config.Secret is at least, in bytes.
const SecretLen = 32

// ErrConfig means that no API can be made of a Config.
var ErrConfig = errors.New("api: bad configuration")

// API is the HTTP API of one desk. Make it with New.
type API struct {
	cfg     Config
	desk    engine.Desk
	log     *slog.Logger
	mux     *routes
	doc     *huma.OpenAPI
	tokens  *tokens
	guesses *guesses
	streams *streams
	times   times
	pages   pages
}

var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+$`)

// New makes an API. Nothing is served before Handler is.
func New(cfg Config) (*API, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	switch first, _, _ := strings.Cut(strings.TrimPrefix(cfg.Base, "/"), "/"); {
	case cfg.Desk == nil || cfg.Deliveries == nil:
		return nil, fmt.Errorf("%w: a desk and deliveries are needed", ErrConfig)
	case len(cfg.Secret) < SecretLen:
		return nil, fmt.Errorf("%w: the secret of tokens has %d bytes, want %d or more", ErrConfig, len(cfg.Secret), SecretLen)
	case !basePath.MatchString(cfg.Base) || first == ours || first == "docs" || first == "login":
		return nil, fmt.Errorf("%w: base path %q: want one such as /beta", ErrConfig, cfg.Base)
	}
	a := &API{
		cfg: cfg, desk: cfg.Desk, log: cfg.Log, mux: &routes{ServeMux: http.NewServeMux()},
		tokens: newTokens(cfg.Secret), guesses: newGuesses(), streams: newStreams(), times: defaultTimes,
	}
	root := humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "picloud", Version: cfg.Version,
				Description: "Raspberry Pi servers: the hosted-Pi API that clients speak already, and picloud's own under /v1.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: securitySchemes,
			},
			Tags: tags,
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	})
	a.doc = root.OpenAPI()
	a.addDocs(a.newFamily(root, ownErrors))
	a.addHosted(a.newFamily(root, hostedErrors))
	a.addOwn(a.newFamily(root, ownErrors))
	// huma describes its own error type, which this API never sends.
	delete(a.doc.Components.Schemas.Map(), "ErrorModel")
	delete(a.doc.Components.Schemas.Map(), "ErrorDetail")
	return a, a.pages.draw(a.doc)
}

// ours is the first word of the paths of picloud's own API.
const ours = "v1"

// OpenAPI is the document that describes the API.
func (a *API) OpenAPI() *huma.OpenAPI { return a.doc }

// routes is a mux that knows what it was told.
type routes struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc adds a route.
func (r *routes) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.HandleFunc(pattern, h)
}

// need is what an operation wants of who asks for it.
type need uint8

const (
	needStaff  need = iota // a key of staff that may act; so is one that does not say
	needWrite              // a key that may act
	needRead               // any key
	needNobody             // no key at all
)

// needKey finds an operation's need in its Metadata.
const needKey = "need"

// add is how every operation comes into the API: with what it needs of who asks,
// which guard holds it to before the handler runs, with the errors that it may
// answer, and with its place in the document.
func add[I, O any](f *family, op huma.Operation, n need, handle func(context.Context, *caller, *I) (*O, error)) {
	mustReach(reflect.TypeFor[I]())
	op.Metadata = map[string]any{needKey: n}
	op.MaxBodyBytes = maxBody
	f.describe(&op, n, reflect.TypeFor[I]())
	huma.Register(f.group, op, func(ctx context.Context, in *I) (*O, error) {
		c := callerOf(ctx)
		out, err := handle(ctx, c, in)
		if err != nil {
			return nil, f.failure(c, op.OperationID, err)
		}
		return out, nil
	})
}

// mustReach panics of an input that huma would not fill in: it passes embedded
// structs over whose types are not exported, without a word.
func mustReach(input reflect.Type) {
	for i := range input.NumField() {
		f := input.Field(i)
		if !f.IsExported() {
			panic(fmt.Sprintf("api: %s.%s is not exported, and would stay empty", input, f.Name))
		}
		if f.Anonymous {
			mustReach(f.Type)
		}
	}
}

// maxBody is the length of a body that is too long.
const maxBody = 64 << 10

var securitySchemes = map[string]*huma.SecurityScheme{
	"token": {Type: "http", Scheme: "bearer", Description: "A token of POST /login."},
	"key":   {Type: "http", Scheme: "basic", Description: "An API key's ID and secret."},
}

var tags = []*huma.Tag{
	{Name: "Tokens", Description: "A token stands for an API key until it has not been used for five minutes."},
	{Name: "Hosted Pi", Description: `The API that clients of hosted Pis speak already. An error is {"error": "one sentence"}.`},
	{Name: "Servers", Description: "picloud's own view of servers, and what the hosted-Pi API lacks. An error is a problem by RFC 9457, with the sentence in detail."},
	{Name: "Account", Description: "What an account costs, and what it is told of."},
	{Name: "Documentation", Description: "This document."},
}
