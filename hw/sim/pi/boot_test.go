package pi

import (
	"bufio"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/google/go-cmp/cmp"

	"picloud/netboot/bootfs/order"
)

type fsT = billy.Filesystem

// start runs a Pi with power until the test ends.
func start(t *testing.T, cfg Config) *Pi {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p.SetPower(true)
	return p
}

// await waits until the Pi is in one of the stages.
func await(t *testing.T, p *Pi, stages ...string) State {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		if s := p.State(); slices.Contains(stages, s.Stage) {
			return s
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("Pi is %+v, want %v; counters %+v", p.State(), stages, p.Counters())
	return State{}
}

func testBoard(f order.Family) Board {
	b, err := NewBoard(f, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		panic(err)
	}
	return b
}

func TestBootsOfEachFamily(t *testing.T) {
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(f)
			s.boot(f, b.SerialText()+"/")
			p := start(t, s.config(b, ""))
			if got := await(t, p, StageUp, StageDead); got != (State{StageUp, "a3-001"}) {
				t.Fatalf("state %+v, counters %+v\n%s", got, p.Counters(), strings.Join(s.requests(), "\n"))
			}
			if got := readBanner(t, s); got != banners["trixie"] {
				t.Errorf("banner %q", got)
			}
			t.Logf("%d requests, %+v", len(s.requests()), p.Counters())
		})
	}
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rrqs)
}

func readBanner(t *testing.T, s *server) string {
	t.Helper()
	c, err := net.Dial("tcp4", netip.AddrPortFrom(s.pi, 40022).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

var (
	_ = hex.EncodeToString
	_ = cmp.Diff
	_ = runtime.NumGoroutine
)
