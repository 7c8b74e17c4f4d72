package report

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// counter is where a test's reports go.
type counter struct {
	mu      sync.Mutex
	taken   []Report
	refused []string
}

const goodToken = "GOODTOKENGOODTOKEN"

func (c *counter) take(_ netip.Addr, token string, r Report) error {
	if token != goodToken {
		return fmt.Errorf("%w: another token", ErrRefused)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = append(c.taken, r)
	return nil
}

func (c *counter) refuse(client netip.Addr, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, fmt.Sprintf("%s: %v", client, why))
}

func (c *counter) count() (taken, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.taken), len(c.refused)
}

// serve runs a server that ends with the test.
func serve(t *testing.T) (*Server, *counter) {
	t.Helper()
	c := &counter{}
	s := New(Config{Take: c.take, Refused: c.refuse})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, c
}

// freePlace is one whose port nothing has now.
func freePlace(t *testing.T, server, client string) Place {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", server+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return Place{Listen: netip.MustParseAddrPort(l.Addr().String()), Client: netip.MustParseAddr(client)}
}

func (p Place) dial(t *testing.T, from string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp4", p.Listen.String())
	if err == nil {
		t.Cleanup(func() { c.Close() })
		err = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return c, err
}

// post is what the shell on the Pi sends, and returns the status.
func (p Place) post(t *testing.T, path, body string) int {
	t.Helper()
	c, err := p.dial(t, p.Client.String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestServer(t *testing.T) {
	s, c := serve(t)
	p := freePlace(t, "127.77.0.1", "127.77.0.2")
	if _, err := p.dial(t, "127.77.0.2"); err == nil {
		t.Error("it listens before anybody is examined")
	}
	s.Follow([]Place{p})
	for _, tc := range []struct {
		path, body string
		want       int
	}{
		{Path(goodToken), whole, http.StatusNoContent},
		{Path("BADTOKENBADTOKENBAD"), whole, http.StatusForbidden},
		{Path("../../etc/passwd"), whole, http.StatusNotFound},
		{"/", whole, http.StatusNotFound},
		{Path(goodToken), "phase=end\nlife=ready\n", http.StatusBadRequest},
		{Path(goodToken), strings.Repeat("x", MaxBytes+1), http.StatusRequestEntityTooLarge},
		{Path(goodToken), whole, http.StatusNoContent},
	} {
		if got := p.post(t, tc.path, tc.body); got != tc.want {
			t.Errorf("POST %s with %.20q: %d, want %d", tc.path, tc.body, got, tc.want)
		}
	}
	if taken, refused := c.count(); taken != 2 || refused != 5 || c.taken[0] != wholeReport {
		t.Errorf("%d taken, %d refused: %q", taken, refused, c.refused)
	}
	s.Follow(nil)
	if _, err := p.dial(t, "127.77.0.2"); err == nil {
		t.Error("it listens after the examination")
	}
}

// Nobody but the Pi is let in, and it takes no more than its share.
func TestServerIsForOnePi(t *testing.T) {
	s, c := serve(t)
	p := freePlace(t, "127.77.1.1", "127.77.1.2")
	s.Follow([]Place{p})
	conn, err := p.dial(t, "127.77.1.3")
	if err == nil {
		fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", Path(goodToken), len(whole), whole)
		if b, err := io.ReadAll(conn); len(b) != 0 {
			t.Errorf("another address was answered %q, %v", b, err)
		}
	}
	if taken, refused := c.count(); taken+refused != 0 {
		t.Errorf("%d taken, %d refused of another address", taken, refused)
	}

	var open []net.Conn
	for range maxConns {
		conn, err := p.dial(t, "127.77.1.2")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		// So that it is accepted before the next one is.
		fmt.Fprint(conn, "POST /report/")
	}
	extra, err := p.dial(t, "127.77.1.2")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(extra); len(b) != 0 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one connection too many: %q, %v", b, err)
	}
	// The slow ones are broken off by the server.
	begin := time.Now()
	for _, conn := range open {
		b, _ := io.ReadAll(conn)
		if took := time.Since(begin); took > 3*readLimit {
			t.Errorf("broken off after %s: %q", took, b)
		}
	}
	if got := p.post(t, Path(goodToken), whole); got != http.StatusNoContent {
		t.Errorf("after the slow ones: %d", got)
	}
}

func TestServerRate(t *testing.T) {
	s, c := serve(t)
	p := freePlace(t, "127.77.2.1", "127.77.2.2")
	s.Follow([]Place{p})
	codes := map[int]int{}
	for range 3 * burst {
		codes[p.post(t, Path(goodToken), whole)]++
	}
	if taken, refused := c.count(); refused != 0 || codes[http.StatusTooManyRequests] == 0 || codes[http.StatusNoContent] < burst || taken != codes[http.StatusNoContent] {
		t.Errorf("%v", codes)
	}
	now := time.Now()
	g := &gate{}
	for range burst {
		if !g.spend(now) {
			t.Fatal("less than a burst")
		}
	}
	if g.spend(now) || !g.spend(now.Add(refill)) || g.spend(now.Add(refill)) {
		t.Error("it is not refilled as it should be")
	}
}

// A port that another has is tried again, and said once.
func TestServerPortTaken(t *testing.T) {
	s, _ := serve(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", "127.77.3.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Place{Listen: netip.MustParseAddrPort(l.Addr().String()), Client: netip.MustParseAddr("127.77.3.2")}
	s.Follow([]Place{p})
	if len(s.gates) != 0 || s.failed[p] == "" {
		t.Errorf("%v, %v", s.gates, s.failed)
	}
	l.Close()
	s.Follow([]Place{p})
	if got := p.post(t, Path(goodToken), whole); got != http.StatusNoContent || len(s.failed) != 0 {
		t.Errorf("%d, %v", got, s.failed)
	}
}

// FuzzServe: whatever comes over a connection is answered or broken off, and is
// taken only as a report.
func FuzzServe(f *testing.F) {
	f.Add([]byte("POST " + Path(goodToken) + " HTTP/1.0\r\nContent-Length: 3\r\n\r\na=b"))
	f.Add([]byte("GET /report/../../ HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST " + Path(goodToken) + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &counter{}
		s := New(Config{Take: c.take, Refused: c.refuse})
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		w := &recorder{header: http.Header{}}
		g := &gate{place: Place{Client: netip.MustParseAddr("127.0.0.2")}}
		s.ServeHTTP(w, r.WithContext(context.WithValue(t.Context(), gateKey{}, net.Listener(g))))
		taken, refused := c.count()
		if taken+refused != 1 || (taken == 1) != (w.code == http.StatusNoContent) {
			t.Fatalf("%q: %d taken, %d refused, status %d", b, taken, refused, w.code)
		}
	})
}

type recorder struct {
	header http.Header
	code   int
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (w *recorder) WriteHeader(code int)        { w.code = code }
