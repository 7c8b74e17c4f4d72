package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/daemon/api"
)

// Over TLS, with HTTP/2: what a client gets is as it is without, a stream too, and
// says that it wants TLS from now on.
func TestOverTLS(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	cfg, trust := api.ServePair(t)
	l, err := api.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, nil, nil)
	serve(t, s.api, l)
	transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	secure := &service{api: s.api, url: l.URL(), over: transport}
	c := secure.client(t, full)
	if !strings.HasPrefix(c.base, "https://") {
		t.Fatal(c.base)
	}
	stream := secure.listen(t, full, "")
	r := c.login().want(http.StatusOK, "GET", "/v1/account", nil)
	if r.http != 2 || r.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("HTTP/%d, headers: %v", r.http, r.header)
	}
	r = c.want(http.StatusAccepted, "POST", "/beta/pi/servers", nil)
	if at := r.header.Get("Location"); !strings.HasPrefix(at, l.URL()+"/beta/queue/pi/") {
		t.Errorf("Location %q", at)
	}
	if e := stream.next(); e.Type != string(engine.NoticeOrdered) {
		t.Errorf("event: %+v", e)
	}
	res, err := http.Get("http://" + strings.TrimPrefix(l.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("in the clear: %s", res.Status)
	}
}

// Clients that are slow to say what they want are hung up on.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	_, full, _ := newAccount(t, 0)
	s := start(t, nil, nil, func(a *api.API) { a.Hasten(time.Second, time.Second, 200*time.Millisecond, time.Second) })
	header, body := s.dial(t), s.dial(t)
	fmt.Fprint(header, "GET /v1/account HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	token := s.client(t, full).login().token
	fmt.Fprintf(body, "POST /v1/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", token)
	for what, c := range map[string]io.Reader{"header": header, "body": body} {
		b, err := io.ReadAll(c)
		if what == "body" && !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || strings.Contains(string(b), " 202 ") || err != nil {
			t.Errorf("a slow %s: %q, %v", what, b, err)
		}
	}
	long := s.dial(t)
	fmt.Fprintf(long, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	line, err := bufio.NewReader(long).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 431 ") {
		t.Errorf("a long header: %q, %v", line, err)
	}
}

// A stop waits for what is being answered, and ends what would not.
func TestStop(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	asked, answer := make(chan bool), make(chan bool)
	s := start(t, &smallDesk{serve: func(engine.ServerCommand) (engine.ServerResult, error) {
		asked <- true
		<-answer
		return engine.ServerResult{Server: "x", Job: 1}, nil
	}}, nil, nil)
	c := s.client(t, full)
	stream := s.listen(t, full, "")
	got := make(chan reply, 1)
	go func() { got <- c.ask("POST", "/v1/servers", nil) }()
	<-asked
	ended := make(chan error, 1)
	go func() { ended <- s.end() }()
	if rest, err := io.ReadAll(stream.body); err != nil || len(rest) > 0 {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
	select {
	case err := <-ended:
		t.Errorf("it has ended: %v", err)
	default:
	}
	answer <- true
	if r := <-got; r.status != http.StatusAccepted {
		t.Errorf("what was being answered: %d %s", r.status, r.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
