package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"picloud/engine"
)

// Bounds of one request.
const (
	requestTimeout = 15 * time.Second
	dialTimeout    = 5 * time.Second
	maxHeader      = 16 << 10 // bytes of an answer's header
	maxBody        = 4 << 10  // bytes of an answer that are read, to use the connection again
	idleTimeout    = 30 * time.Second
)

// answer is what came of a request.
type answer struct {
	status int
	why    string        // it was not taken; "" = it was
	later  time.Duration // it asks not to be tried before
	cause  error         // for staff; may be nil
}

// client sends requests to where they may go.
type client struct {
	secure, plain *http.Client
	agent         string
	timeout       time.Duration
}

// newClient makes a client. roots are whom it trusts, nil = whom the system does.
func newClient(allow []netip.Prefix, roots *x509.CertPool, version string) *client {
	g := &guard{allow: allow, own: net.InterfaceAddrs}
	return &client{
		secure: httpClient(g, true, roots), plain: httpClient(g, false, nil),
		agent: "picloud/" + version, timeout: requestTimeout,
	}
}

func httpClient(g *guard, secure bool, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: g.control(secure)}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // not even from the environment: the address has to be the target's
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost:    1,
			MaxIdleConns:           maxSending,
			IdleConnTimeout:        idleTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close ends the connections that are kept.
func (c *client) close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

// send sends a notice to a webhook, and waits for its answer.
func (c *client) send(ctx context.Context, s *engine.Sending) answer {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, s)
	if err != nil {
		return answer{why: why(err), cause: err}
	}
	via := c.secure
	if req.URL.Scheme == "http" {
		via = c.plain
	}
	res, err := via.Do(req)
	if err != nil {
		return answer{why: why(err), cause: bare(err)}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxBody) // what it says makes no difference
	a := answer{status: res.StatusCode}
	if a.status < 200 || a.status > 299 {
		a.why, a.later = answered(a.status), retryAfter(res)
	}
	return a
}

var errURL = errors.New("its URL cannot be used")

func (c *client) request(ctx context.Context, s *engine.Sending) (*http.Request, error) {
	text, err := body(&s.Notice)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Webhook.URL, bytes.NewReader(text))
	if err != nil || req.URL.Scheme != "https" && req.URL.Scheme != "http" || req.URL.Hostname() == "" {
		return nil, errURL // never with the text
	}
	now, id := time.Now(), MessageID(&s.Notice)
	signature, err := sign(s.Webhook.Secret, id, now, text)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": c.agent,
		"Webhook-Id": id, "Webhook-Timestamp": strconv.FormatInt(now.Unix(), 10), "Webhook-Signature": signature,
	} {
		req.Header.Set(name, value)
	}
	return req, nil
}

// retryAfter is how long an overloaded server asks to be left alone (RFC 9110,
// section 10.2.3), in seconds; a date is not looked at.
func retryAfter(res *http.Response) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	n, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// hostOf is as much of a webhook's URL as a log may have.
func hostOf(s *engine.Sending) string {
	u, err := url.Parse(s.Webhook.URL)
	if err != nil {
		return "?"
	}
	return u.Hostname()
}
