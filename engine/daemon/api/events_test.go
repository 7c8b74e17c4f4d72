package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/daemon/api"
)

// heard is a client of a stream of events.
type heard struct {
	t      testing.TB
	status int
	header http.Header
	body   *bufio.Reader
	close  context.CancelFunc
}

func (s *service) listen(t testing.TB, key credentials, after string) *heard {
	t.Helper()
	h := s.tryListen(t, key, after)
	if h.status != http.StatusOK || h.header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("events: %d %v", h.status, h.header)
	}
	if line, err := h.body.ReadString('\n'); line != ": picloud\n" || err != nil {
		t.Fatalf("the first line is %q, %v", line, err)
	}
	_, _ = h.body.ReadString('\n')
	return h
}

func (s *service) tryListen(t testing.TB, key credentials, after string) *heard {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(key.id, key.secret)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := s.client(t, key).http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return &heard{t, res.StatusCode, res.Header, bufio.NewReader(res.Body), cancel}
}

type sentEvent struct {
	ID      int64
	Account string
	Type    string
	Server  string
	Text    string
	Task    int64
}

// next reads an event, past comments.
func (h *heard) next() sentEvent {
	h.t.Helper()
	var id, kind string
	var e sentEvent
	for {
		line, err := h.body.ReadString('\n')
		if err != nil {
			h.t.Fatal(err)
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				h.t.Fatalf("%q: %v", line, err)
			}
		case "":
			if id == "" {
				continue // of a comment
			}
			if fmt.Sprint(e.ID) != id || e.Type != kind {
				h.t.Errorf("id %s, event %s, data %+v", id, kind, e)
			}
			return e
		}
	}
}

// Events come as they happen, of the own account only, and again from where a
// client left off.
func TestEvents(t *testing.T) {
	t.Parallel()
	account, full, reader := newAccount(t, 0)
	_, other, _ := newAccount(t, 0)
	s := start(t, nil, nil, nil)
	c := s.client(t, full)
	live, others := s.listen(t, reader, ""), s.listen(t, other, "")
	c.order("/beta/pi/servers/heard", nil)
	var all []sentEvent
	for len(all) == 0 || all[len(all)-1].Type != string(engine.NoticeLive) {
		all = append(all, live.next())
	}
	if len(all) < 3 || all[0].Type != string(engine.NoticeOrdered) || all[0].Task == 0 {
		t.Errorf("events: %+v", all)
	}
	for i, e := range all {
		if e.Account != account || e.Server != "heard" || e.Text == "" || i > 0 && e.ID <= all[i-1].ID {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	again := s.listen(t, full, fmt.Sprint(all[0].ID))
	if e := again.next(); e != all[1] {
		t.Errorf("after the first comes %+v, want %+v", e, all[1])
	}
	ahead := s.listen(t, other, "999999999")
	s.client(t, other).order("/beta/pi/servers/heard-too", nil)
	if e := ahead.next(); e.Server != "heard-too" {
		t.Errorf("who had an event that is none any more hears %+v", e)
	}
	if e := others.next(); e.Server != "heard-too" {
		t.Errorf("another account hears %+v", e)
	}
	staff := s.listen(t, newStaff(t, engine.RoleOperator), fmt.Sprint(all[0].ID-1))
	if e := staff.next(); e != all[0] {
		t.Errorf("staff hear %+v", e)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	account, full, _ := newAccount(t, 0)
	s := start(t, nil, nil, func(a *api.API) { a.Hasten(50*time.Millisecond, time.Second, time.Second, time.Second) })
	h := s.listen(t, full, "")
	for range 30 { // longer than the server's own time for a request
		if line, err := h.body.ReadString('\n'); line != ":\n" || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = h.body.ReadString('\n')
	}
	change(t, engine.AccountCommand{Verb: engine.AccountClose, Account: engine.Account{Name: account}})
	eventually(t, "the stream of a closed account ends", func() bool { return s.api.Streams() == 0 })
}

func TestStreamsAreBounded(t *testing.T) {
	account, full, reader := newAccount(t, 0)
	s := start(t, nil, nil, nil)
	var open []*heard
	for i := range api.MaxStreams {
		open = append(open, s.listen(t, []credentials{full, reader}[i%2], ""))
	}
	if h := s.tryListen(t, newKey(t, engine.APIKey{Account: account}), ""); h.status != http.StatusTooManyRequests {
		t.Errorf("one too many: %d", h.status)
	}
	_, other, _ := newAccount(t, 0)
	s.listen(t, other, "")
	open[0].close()
	eventually(t, "there is room again", func() bool { return s.api.Streams() == api.MaxStreams })
	s.listen(t, full, "")
}

// Who does not read what is sent is dropped, and holds up nobody.
func TestSlowListener(t *testing.T) {
	_, full, _ := newAccount(t, 0)
	text := strings.Repeat("x", 199)
	endless := func(after int64, limit int) (list []engine.Notice) {
		for i := range limit {
			list = append(list, engine.Notice{ID: after + int64(i) + 1, Kind: engine.NoticeUp, Server: "x", Text: text})
		}
		return list
	}
	s := start(t, &smallDesk{notices: endless}, nil, func(a *api.API) {
		a.Hasten(time.Second, 100*time.Millisecond, time.Second, time.Second)
	})
	slow := s.dial(t)
	var b bytes.Buffer
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(full.id, full.secret)
	if err := req.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it listens", func() bool { return s.api.Streams() == 1 })
	eventually(t, "it is dropped", func() bool { return s.api.Streams() == 0 })
}
