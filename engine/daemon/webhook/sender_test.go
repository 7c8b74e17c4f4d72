package webhook

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

func TestNoticesComeSignedAndInOrder(t *testing.T) {
	b := newBox(t)
	r := newReceiver(t, nil)
	b.hook("hook", r.listen().URL)
	b.tell(3)
	b.run(b.sender(loopback))
	r.until(3)
	b.tell(20) // while it runs
	all := r.until(23)
	if diff := cmp.Diff(numbers(23), r.ids()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := Message{engine.NoticeLive, all[0].message.Timestamp, Data{"web", "acme", "SSH answers", 7}}
	if diff := cmp.Diff(want, all[0].message); diff != "" || time.Since(want.Timestamp) > time.Minute {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := b.settled("hook", 23, 1); d.Status != 204 || d.Error != "" || d.Done.IsZero() || !d.Next.IsZero() {
		t.Errorf("%+v", d)
	}
	if w := b.waiting(); len(w) > 0 {
		t.Errorf("it waits: %+v", w)
	}
}

func numbers(n int64) []int64 {
	var out []int64
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

// firsts are the notices in the order of their first arrival. A request that was
// cut off at its end may be read by its server after those that followed.
func firsts(ids []int64) []int64 {
	var out []int64
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// lie answers a connection with bytes of the test's own.
func lie(f func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		f(c)
	}
}

func says(text string) http.HandlerFunc {
	return lie(func(c net.Conn) { fmt.Fprint(c, text) })
}

// hang answers nothing until who asked has gone.
func hang(c net.Conn) { _, _ = bufio.NewReader(c).ReadByte() }

// TestAnswers has servers that do what servers do, and what they should not. Each
// is told of in a sentence that has no word of theirs.
func TestAnswers(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	to := elsewhere.listen().URL
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			fmt.Fprint(w, "s3cret of an inner server")
		}
	}
	slow := map[string]answering{
		"hangs": {lie(hang), 0, "no answer in time"},
		"drips": {lie(func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}), 0, "no answer in time"},
		"drips its body": {lie(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			hang(c)
		}), 200, ""},
	}
	quick := map[string]answering{
		"200": {status(200), 200, ""},
		"201": {status(201), 201, ""},
		"299": {status(299), 299, ""},
		"400": {status(400), 400, "it answered 400 Bad Request"},
		"401": {status(401), 401, "it answered 401 Unauthorized"},
		"404": {status(404), 404, "it answered 404 Not Found"},
		"429": {status(429), 429, "it answered 429 Too Many Requests"},
		"500": {status(500), 500, "it answered 500 Internal Server Error"},
		"503": {status(503), 503, "it answered 503 Service Unavailable"},
		"999": {says("HTTP/1.1 999 pwned\r\n\r\n"), 999, "it answered 999"},
		"302": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }, 302, "it answered 302 Found: redirects are not followed"},
		"307": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }, 307, "it answered 307 Temporary Redirect: redirects are not followed"},
		"308": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusPermanentRedirect) }, 308, "it answered 308 Permanent Redirect: redirects are not followed"},
		"a large body": {func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, 200, ""},
		"a body cut short":     {says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"), 200, ""},
		"no answer":            {says(""), 0, "it closed the connection without an answer"},
		"half an answer":       {says("HTTP/1.1 2"), 0, "its answer is not HTTP"},
		"another protocol":     {says("220 mail.example ESMTP s3cret\r\n"), 0, "its answer is not HTTP"},
		"a large header":       {says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), 0, "its answer is not HTTP"},
		"many headers":         {says("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1<<16) + "\r\n"), 0, "its answer is not HTTP"},
		"early hints for ever": {says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1<<16)), 0, "its answer is not HTTP"},
		"a status below zero":  {says("HTTP/1.1 -200 OK\r\n\r\n"), 0, "its answer is not HTTP"},
		"a length below zero":  {says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 0, "its answer is not HTTP"},
	}
	// Each list has a store and a sender of its own.
	t.Run("slow", func(t *testing.T) { tryAnswers(t, 3*time.Second, slow) })
	t.Run("quick", func(t *testing.T) { tryAnswers(t, requestTimeout, quick) })
	if n := len(elsewhere.ids()); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// answering is how a server answers, and what is told of it.
type answering struct {
	answer http.HandlerFunc
	status int
	why    string
}

// tryAnswers tells a notice to a webhook for each server.
func tryAnswers(t *testing.T, timeout time.Duration, cases map[string]answering) {
	b := newBox(t)
	servers := map[string]*receiver{}
	for name, c := range cases {
		servers[name] = newReceiver(t, c.answer)
		b.hook(name, servers[name].listen().URL)
	}
	b.tell(1)
	s := b.sender(loopback)
	s.client.timeout = timeout
	stop := b.run(s)
	for name, c := range cases {
		d := b.settled(name, 1, 1)
		if d.Status != c.status || d.Error != c.why || d.Done.IsZero() != (c.why != "") || d.Next.IsZero() != (c.why == "") {
			t.Errorf("%s: %+v", name, d)
		}
		all := servers[name].until(1)
		soonest, latest := all[0].at.Add(4500*time.Millisecond), time.Now().Add(5500*time.Millisecond)
		if d.Attempts == 1 && c.why != "" && (d.Next.Before(soonest) || d.Next.After(latest)) {
			t.Errorf("%s: it is tried again at %s, not from %s to %s", name, d.Next, soonest, latest)
		}
	}
	stop()
	for name, r := range servers { // the last try may have been cut short
		if sent, tries := len(r.ids()), b.delivery(name, 1).Attempts; sent < tries || sent > tries+1 {
			t.Errorf("%s: it was sent %d times in %d tries", name, sent, tries)
		}
	}
	for line := range strings.Lines(b.logged()) {
		// What is no HTTP is told to staff as net/http tells it.
		if strings.Contains(line, "s3cret") && !strings.Contains(line, "malformed HTTP") {
			t.Errorf("the log has of a body: %s", line)
		}
	}
}

// TestNoAnswerAtAll has what is wrong before there is HTTP.
func TestNoAnswerAtAll(t *testing.T) {
	b := newBox(t)
	bare, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	go func() {
		for {
			c, err := bare.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
			c.Close()
		}
	}()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // the kernel takes connections, nobody takes them from it
	stranger := newReceiver(t, nil).listen()
	_, port, _ := net.SplitHostPort(stranger.Listener.Addr().String())
	want := map[string]string{}
	for name, tc := range map[string]struct{ url, why string }{
		"refused":    {"https://" + deadPort(t), "no connection: connection refused"},
		"no TLS":     {"https://" + bare.Addr().String(), "its answer is not HTTP"},
		"silent":     {"https://" + silent.Addr().String(), "no answer in time"},
		"other name": {"https://localhost:" + port, "its certificate is not good: x509: certificate is valid for example.com, *.example.com, not localhost"},
		"no host":    {"https:///in", "its URL cannot be used"},
		"no scheme":  {"gopher://127.0.0.1:70", "its URL cannot be used"},
		"a file":     {"file:///etc/passwd", "its URL cannot be used"},
		"a bad port": {"https://127.0.0.1:99999", "its URL cannot be used"},
	} {
		b.hook(name, tc.url)
		want[name] = tc.why
	}
	b.tell(1)
	s := b.sender(loopback)
	s.client.timeout = 3 * time.Second
	b.run(s)
	for name, why := range want {
		if d := b.settled(name, 1, 1); !strings.HasPrefix(d.Error, why) || d.Status != 0 || d.Next.IsZero() {
			t.Errorf("%s: %+v", name, d)
		}
	}
	strange := newClient(loopback, nil, "") // trusts whom the system does
	to := engine.Sending{Webhook: engine.Webhook{URL: stranger.URL, Secret: secret}}
	if a := strange.send(t.Context(), &to); !strings.HasPrefix(a.why, "its certificate is not good: x509: certificate signed by unknown authority") {
		t.Errorf("not trusted: %+v", a)
	}
}

// TestOneDeadWebhookDelaysNoOther has one that hangs with a backlog, and one that
// answers slowly: the third has all it is told at once, in order.
func TestOneDeadWebhookDelaysNoOther(t *testing.T) {
	b := newBox(t)
	dead := newReceiver(t, lie(hang))
	b.hook("dead", dead.listen().URL)
	b.tell(500)
	slow := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { time.Sleep(20 * time.Millisecond) })
	good := newReceiver(t, nil)
	b.hook("slow", slow.listen().URL)
	b.hook("good", good.listen().URL)
	begun := time.Now()
	stop := b.run(b.sender(loopback)) // whose time-out is 15 s
	dead.until(1)
	b.tell(100)
	good.until(100)
	slow.until(3)
	if took := time.Since(begun); took >= requestTimeout {
		t.Errorf("it took %s, as long as the dead one's time-out", took)
	}
	for _, r := range []*receiver{good, slow} {
		ids := r.ids()
		if !slices.IsSorted(ids) || ids[0] != 501 || len(ids) != len(slices.Compact(slices.Clone(ids))) {
			t.Errorf("out of order: %v", ids)
		}
	}
	if ids := dead.ids(); !slices.Equal(ids, []int64{1}) {
		t.Errorf("the dead one was told %v", ids)
	}
	stop()
	// What was under way is as it was, and not one try nearer to being given up.
	if d := b.delivery("dead", 1); d.Attempts != 0 || d.Next.IsZero() {
		t.Errorf("%+v", d)
	}
}

// TestOneAtATime has a webhook with much to be told.
func TestOneAtATime(t *testing.T) {
	b := newBox(t)
	var now, most atomic.Int32
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		if n > most.Load() {
			most.Store(n)
		}
		time.Sleep(time.Millisecond)
	})
	b.hook("hook", r.listen().URL)
	b.run(b.sender(loopback))
	for range 10 {
		b.tell(10)
	}
	r.until(100)
	if n := most.Load(); n != 1 {
		t.Errorf("%d at once", n)
	}
	if diff := cmp.Diff(numbers(100), r.ids()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestGoneIsGivenUpAtOnce and what follows is sent.
func TestGoneIsGivenUpAtOnce(t *testing.T) {
	b := newBox(t)
	var n atomic.Int32
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusGone)
		}
	})
	b.hook("hook", r.listen().URL)
	b.tell(2)
	b.run(b.sender(loopback))
	r.until(2)
	if d := b.settled("hook", 1, 1); d.Status != 410 || d.Error != "it answered 410 Gone" || !d.Next.IsZero() || !d.Done.IsZero() {
		t.Errorf("%+v", d)
	}
	if d := b.settled("hook", 2, 1); d.Status != 200 || d.Done.IsZero() {
		t.Errorf("%+v", d)
	}
	if log := b.logged(); !strings.Contains(log, "level=WARN msg=\"webhook given up") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestAWebhookThatIsRemoved while it is sent to, is sent to no more.
func TestAWebhookThatIsRemoved(t *testing.T) {
	b := newBox(t)
	begun, go1 := make(chan struct{}, 10), make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-go1 })
	b.hook("hook", r.listen().URL)
	other := newReceiver(t, nil)
	b.tell(3)
	b.run(b.sender(loopback))
	<-begun
	b.save(engine.Changes{RemoveWebhooks: []string{"hook"}})
	close(go1)
	b.hooks = nil
	b.hook("other", other.listen().URL)
	b.tell(1)
	other.until(1)
	b.settled("other", 4, 1)
	if diff := cmp.Diff([]int64{1}, r.ids()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if log := b.logged(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestRestartsForgetNothing ends the sender and the store at any moment, again
// and again, with a receiver that fails now and then: all comes, in order.
func TestRestartsForgetNothing(t *testing.T) {
	b := newBox(t)
	const notices = 200
	var n atomic.Int32
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%37 == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	b.hook("hook", r.listen().URL)
	for told, rounds := 0, 0; told < notices || len(b.waiting()) > 0; rounds++ {
		if told < notices {
			b.tell(20)
			told += 20
		}
		before := len(r.ids())
		stop := b.run(b.sender(loopback))
		for len(r.ids()) < before+1+rounds%7 && b.anyDue() {
			pause(t.Context(), time.Millisecond)
		}
		stop()
		b.close()
		b.open()
		for _, w := range b.waiting() { // as if its delay were over
			d := w.Delivery
			d.Next = time.Now()
			if err := b.store.SaveDelivery(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(numbers(notices), firsts(r.ids())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for id := range int64(notices) {
		if d := b.delivery("hook", id+1); d.Done.IsZero() || d.Error != "" {
			t.Errorf("%+v", d)
		}
	}
}

func TestResultsAreTold(t *testing.T) {
	for code, want := range map[int]Result{200: Taken, 500: Failed, 410: GivenUp} {
		b := newBox(t)
		b.hook("hook", newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }).listen().URL)
		told := make(chan Result, 10)
		s := b.sender(loopback)
		s.cfg.Tried = func(r Result) { told <- r }
		b.tell(1)
		b.run(s)
		if got := <-told; got != want || !slices.Contains(Results(), got) {
			t.Errorf("%d is told as %s", code, got)
		}
	}
}
