package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"picloud/engine"
)

const (
	// maxStreams is how many streams of events a key's owner may have at once.
	maxStreams = 8
	// breath is the least time between two readings of the events: what comes
	// meanwhile is sent together.
	breath = 100 * time.Millisecond
	// maxEvents is how many events are read at a time.
	maxEvents = 200
)

// event is a notice as it is sent.
type event struct {
	ID      int64     `json:"id" example:"4711"`
	Time    time.Time `json:"time"`
	Account string    `json:"account" example:"acme"`
	Type    string    `json:"type" example:"server.live"`
	Server  string    `json:"server" example:"web1"`
	Text    string    `json:"text" doc:"The same in a sentence."`
	Task    int64     `json:"task,omitempty" doc:"What it belongs to."`
}

func eventOf(n *engine.Notice) event {
	return event{n.ID, n.Time.UTC(), n.Account, string(n.Kind), n.Server, n.Text, n.Task}
}

type eventsInput struct {
	OfAccount
	LastEventID string `header:"Last-Event-ID" maxLength:"19" pattern:"^[0-9]+$" patternDescription:"the id of an event" doc:"Begin after this event; with what happens from now on if it is left out."`
}

// streams counts the streams that are open, and ends them.
type streams struct {
	mu      sync.Mutex
	open    map[string]int
	stopped chan struct{}
	stop    sync.Once
}

func newStreams() *streams { return &streams{open: map[string]int{}, stopped: make(chan struct{})} }

// enter opens a stream of an owner, unless there are enough.
func (s *streams) enter(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[owner] >= maxStreams {
		return false
	}
	s.open[owner]++
	return true
}

func (s *streams) leave(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[owner]--; s.open[owner] == 0 {
		delete(s.open, owner)
	}
}

// end ends all streams, now and later.
func (s *streams) end() { s.stop.Do(func() { close(s.stopped) }) }

func (a *API) addEvents(f *family) {
	op := own("Account", "events", http.MethodGet, "/events", "Hear what happens to your servers")
	op.Description = fmt.Sprintf("Server-sent events, until you hang up. Each has an id, a type and data in JSON, as webhooks get it. "+
		"A comment is sent every %d seconds. Who reconnects with Last-Event-ID misses nothing that is kept. An account has %d streams at most.",
		int(a.times.beat.Seconds()), maxStreams)
	op.Errors = []int{http.StatusForbidden, http.StatusServiceUnavailable}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of events.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	add(f, op, needRead, a.events)
}

// events answers with a stream. Its owner is counted until the stream ends.
func (a *API) events(_ context.Context, c *caller, in *eventsInput) (*huma.StreamResponse, error) {
	account, err := in.of(c)
	if err != nil {
		return nil, err
	}
	after := a.desk.LastNotice()
	if in.LastEventID != "" {
		last, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil {
			return nil, fail(http.StatusUnprocessableEntity, "Last-Event-ID: no such event")
		}
		after = min(after, last) // an event that has not been is one of another database
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		owner := c.Account + "/" + c.Name
		_, w := humago.Unwrap(ctx)
		if !a.streams.enter(owner) {
			ownErrors.write(w, fail(http.StatusTooManyRequests, "Too many streams are open").with("Retry-After", "15"))
			return
		}
		defer a.streams.leave(owner)
		s := &stream{api: a, caller: c, account: account, after: after, w: w, control: http.NewResponseController(w)}
		why := s.run(ctx.Context())
		a.log.Debug("API stream ended", "account", c.Account, "from", c.from, "why", why)
	}}, nil
}

// stream is one client that listens.
type stream struct {
	api     *API
	caller  *caller
	account string // "" = all
	after   int64  // the last event sent
	w       http.ResponseWriter
	control *http.ResponseController
}

// run sends events until the client goes, is too slow, or may not listen any
// more, or the service stops: the error says which.
func (s *stream) run(ctx context.Context) error {
	if err := s.control.SetReadDeadline(time.Time{}); err != nil { // nothing is read any more
		return err
	}
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	s.w.WriteHeader(http.StatusOK)
	if err := s.send([]byte(": picloud\n\n")); err != nil {
		return err
	}
	for {
		more := s.api.desk.Noticed() // before the reading, so that none slips between
		notices, err := s.api.desk.Notices(ctx, s.account, s.after, maxEvents)
		if err != nil {
			return err
		}
		if err := s.sendAll(notices); err != nil {
			return err
		}
		if len(notices) == maxEvents {
			continue
		}
		if err := s.wait(ctx, more); err != nil {
			return err
		}
	}
}

func (s *stream) sendAll(notices []engine.Notice) error {
	var out []byte
	for i := range notices {
		n := &notices[i]
		data, err := json.Marshal(eventOf(n))
		if err != nil {
			return err
		}
		out = fmt.Appendf(out, "id: %d\nevent: %s\ndata: %s\n\n", n.ID, n.Kind, data)
		s.after = n.ID
	}
	if out == nil {
		return nil
	}
	return s.send(out)
}

func (s *stream) send(b []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.api.times.slow)); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

var (
	errStopping = errors.New("the service is being stopped")
	errNoMore   = errors.New("the key is not valid any more")
)

// wait waits for more events, with heartbeats, and no shorter than a breath.
func (s *stream) wait(ctx context.Context, more <-chan struct{}) error {
	short := time.NewTimer(breath)
	defer short.Stop()
	select {
	case <-short.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.api.streams.stopped:
		return errStopping
	}
	beat := time.NewTicker(s.api.times.beat)
	defer beat.Stop()
	for {
		select {
		case <-more:
			return s.still()
		case <-beat.C:
			if err := s.still(); err != nil {
				return err
			}
			if err := s.send([]byte(":\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.api.streams.stopped:
			return errStopping
		}
	}
}

// still tells whether the caller's key is still good.
func (s *stream) still() error {
	if _, ok := s.api.actor(s.caller.from, s.caller.Key); !ok {
		return errNoMore
	}
	return nil
}
