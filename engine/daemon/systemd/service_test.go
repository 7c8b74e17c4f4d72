package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
type manager struct {
	conn *net.UnixConn
	t    *testing.T
}

func newManager(t *testing.T, watchdog time.Duration) (*Service, manager) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv(socketVariable, path)
	t.Setenv(usecVariable, strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv(pidVariable, strconv.Itoa(os.Getpid()))
	s := Take(nil)
	for _, name := range []string{socketVariable, usecVariable, pidVariable} {
		if v, ok := os.LookupEnv(name); ok {
			t.Errorf("programs that are started have %s=%s", name, v)
		}
	}
	return s, manager{c, t}
}

// next is the next datagram, or nothing within the time.
func (m manager) next(wait time.Duration) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buf[:n])
}

func (m manager) want(want string) {
	m.t.Helper()
	if got := m.next(10 * time.Second); got != want {
		m.t.Fatalf("told %q, want %q", got, want)
	}
}

const silence = 50 * time.Millisecond

func TestService(t *testing.T) {
	s, m := newManager(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()

	if got := m.next(silence); got != "" {
		t.Fatalf("told %q before the loop has turned", got)
	}
	s.Reloading()()
	s.Status("2 Pis:\n 1 up")
	m.want("STATUS=2 Pis: 1 up") // and nothing of the reload: it is not ready
	s.Status("2 Pis: 1 up")
	s.Beat()
	m.want("READY=1")
	m.want("WATCHDOG=1")
	for range 100 {
		s.Beat()
	}
	if got := m.next(silence); got != "" {
		t.Fatalf("told %q within a quarter of the watchdog's time", got)
	}
	done := s.Reloading()
	if got := m.next(10 * time.Second); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Fatalf("told %q at a reload", got)
	}
	done()
	m.want("READY=1")
	cancel()
	m.want("STOPPING=1")
	<-ended
}

// TestWatchdog wants the watchdog fed by each beat that is due, and by nothing
// else.
func TestWatchdog(t *testing.T) {
	s, m := newManager(t, 4*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	s.Beat()
	m.want("READY=1")
	m.want("WATCHDOG=1")
	for range 3 {
		if got := m.next(silence); got != "" {
			t.Fatalf("told %q without a beat", got)
		}
		s.Beat()
		m.want("WATCHDOG=1")
	}
	cancel()
	<-ended
}

func TestWatchdogVariables(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", "7", 30 * time.Second},
		{"30000000", "", 30 * time.Second},
		{"30000000", "8", 0},
		{"", "7", 0},
		{"0", "7", 0},
		{"-5", "7", 0},
		{"9223372036854775807", "7", 0},
		{"soon", "7", 0},
	} {
		if got := watchdog(tt.usec, tt.pid, 7); got != tt.want {
			t.Errorf("usec %q, pid %q: %v, want %v", tt.usec, tt.pid, got, tt.want)
		}
	}
}

// TestNobody wants a service without a manager, or whose manager is gone, to
// work all the same.
func TestNobody(t *testing.T) {
	for _, socket := range []string{"", filepath.Join(t.TempDir(), "gone")} {
		t.Setenv(socketVariable, socket)
		s := Take(nil)
		s.Beat()
		s.Beat() // nobody listens yet: it does not wait
		s.Status("well")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Run(ctx)
	}
}

func TestLongStatus(t *testing.T) {
	s, m := newManager(t, 0)
	s.Status(strings.Repeat("é", 300) + "\xff")
	m.want("STATUS=" + strings.Repeat("é", maxStatus-1) + "…")
}
