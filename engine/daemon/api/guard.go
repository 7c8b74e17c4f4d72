package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"picloud/engine"
)

// caller is who asks, and as what the service is known to them. The Actor is
// zero where an operation needs nobody.
type caller struct {
	engine.Actor
	from netip.Addr
	base string // scheme and host of absolute URLs
}

// staff tells whether it is one of the staff, to whom all servers are there.
func (c *caller) staff() bool { return c.Account == "" }

type callerKey struct{}

// callerOf finds who asks in a context that guard made.
func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// guard lets a request through to its operation if whoever asks may use that.
// It is the only place that decides so. Which servers there are for them is the
// desk's to say, by the actor.
func (f *family) guard(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	c := &caller{from: remote(r), base: f.api.base(r)}
	n, _ := ctx.Operation().Metadata[needKey].(need)
	if n != needNobody {
		var refused *failure
		if c.Actor, refused = f.api.identify(c.from, r.Header.Get("Authorization")); refused == nil {
			refused = n.refuse(c)
		}
		if refused != nil {
			f.errors.write(w, refused)
			return
		}
	}
	next(huma.WithValue(ctx, callerKey{}, c))
}

// refuse says why an identified caller may not use what needs n, nil = they may.
func (n need) refuse(c *caller) *failure {
	switch {
	case n == needStaff && !c.staff():
		return fail(http.StatusForbidden, "This is for the staff")
	case n != needRead && c.Role < engine.RoleOperator:
		return fail(http.StatusForbidden, "This key may only read")
	}
	return nil
}

// identify finds who a request is from by its Authorization header.
func (a *API) identify(from netip.Addr, header string) (engine.Actor, *failure) {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return a.byToken(from, value)
	case strings.EqualFold(scheme, "Basic"):
		id, secret, ok := basic(header)
		if !ok {
			break
		}
		return a.bySecret(from, id, secret)
	}
	return engine.Actor{}, unauthorised("Send a token: Authorization: Bearer TOKEN, of POST /login")
}

func unauthorised(text string) *failure {
	return fail(http.StatusUnauthorized, text).with("WWW-Authenticate", `Bearer realm="picloud"`)
}

// basic reads the user name and password of a header (RFC 7617).
func basic(header string) (id, secret string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	return r.BasicAuth()
}

// byToken finds whose token it is. One that is none of ours is a guess; one that
// has run out is not.
func (a *API) byToken(from netip.Addr, text string) (engine.Actor, *failure) {
	id, err := a.tokens.check(text)
	if errors.Is(err, errExpired) {
		return engine.Actor{}, unauthorised("The token has expired: get another from POST /login")
	}
	if err != nil {
		if wait := a.guesses.wait(from, ""); wait > 0 {
			return engine.Actor{}, tooMany(wait)
		}
		n := a.guesses.wrong(from, "")
		a.log.Warn("API token refused", "from", from, "wrong", n)
		return engine.Actor{}, unauthorised("The token is not valid: get another from POST /login")
	}
	actor, ok := a.actor(from, id)
	if !ok {
		return engine.Actor{}, unauthorised("The key of this token is not valid any more")
	}
	return actor, nil
}

// bySecret finds who a key and its secret stand for. Wrong ones make the source
// and the key wait; that is said before a secret is looked at.
func (a *API) bySecret(from netip.Addr, id, secret string) (engine.Actor, *failure) {
	key, known := a.desk.Accounts().Key(id)
	shown := "-" // what is no key's ID may be a secret in the wrong place
	if known {
		shown = id
	}
	if !known {
		id = ""
	}
	if wait := a.guesses.wait(from, id); wait > 0 {
		a.log.Debug("API key not looked at", "from", from, "key", shown, "wait", wait)
		return engine.Actor{}, tooMany(wait)
	}
	if fits := key.Fits(secret); !known || !fits {
		n := a.guesses.wrong(from, id)
		a.log.Warn("API key refused", "from", from, "key", shown, "wrong", n)
		return engine.Actor{}, wrongKey()
	}
	actor, ok := a.actor(from, id)
	if !ok {
		a.log.Warn("API key refused", "from", from, "key", shown, "why", "revoked, or its account is closed")
		return engine.Actor{}, wrongKey()
	}
	a.guesses.right(from, id)
	return actor, nil
}

func wrongKey() *failure {
	return fail(http.StatusUnauthorized, "The key or its secret is wrong").with("WWW-Authenticate", `Basic realm="picloud"`)
}

func tooMany(wait time.Duration) *failure {
	seconds := int(math.Ceil(wait.Seconds()))
	return fail(http.StatusTooManyRequests, fmt.Sprintf("Too many wrong secrets: try again in %d s", seconds)).
		with("Retry-After", strconv.Itoa(seconds))
}

// actor is who a key acts as now.
func (a *API) actor(from netip.Addr, id string) (engine.Actor, bool) {
	accounts := a.desk.Accounts()
	key, ok := accounts.Key(id)
	if !ok {
		return engine.Actor{}, false
	}
	actor, ok := accounts.ActorOf(key, a.desk.Operators())
	if !ok {
		return engine.Actor{}, false
	}
	if time.Since(key.Used) >= time.Minute { // it is kept to the minute
		a.desk.KeyUsed(id)
	}
	actor.From = netip.AddrPortFrom(from, 0)
	return actor, true
}

// remote is the address that a request comes from. A proxy on this host says it
// of its clients, in the last of X-Forwarded-For.
func remote(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, _ := netip.ParseAddr(host)
	if said := r.Header.Values("X-Forwarded-For"); len(said) > 0 && peer.IsLoopback() {
		last := said[len(said)-1]
		if i := strings.LastIndexByte(last, ','); i >= 0 {
			last = last[i+1:]
		}
		if client, err := netip.ParseAddr(strings.TrimSpace(last)); err == nil {
			return client.Unmap()
		}
	}
	return peer.Unmap()
}

// base is the scheme and host that the client reached the service by.
func (a *API) base(r *http.Request) string {
	if a.cfg.URL != "" {
		return a.cfg.URL
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr) // HTTP/1.0 names no host
	return scheme + "://" + cmp.Or(r.Host, fmt.Sprint(here))
}
