// Package systemd is what a service tells the service manager that started it:
// that it is ready, how it is, and that it still works (sd_notify(3)); and its
// log in the form that journald takes (sd-daemon(3)). Without a service manager
// nothing is told.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Variables of sd_notify(3) and sd_watchdog_enabled(3).
const (
	socketVariable = "NOTIFY_SOCKET"
	usecVariable   = "WATCHDOG_USEC"
	pidVariable    = "WATCHDOG_PID"
)

// patience is how long the manager may take to read what it is told.
const patience = 5 * time.Second

// maxStatus is as much of a status as is shown in a line.
const maxStatus = 200

// Service is this process as the service manager has it.
type Service struct {
	socket   string        // empty: there is no manager
	watchdog time.Duration // how long it may be silent; 0 = for ever
	log      *slog.Logger
	beats    chan struct{}
	ready    atomic.Bool
	failed   atomic.Bool

	mu     sync.Mutex
	status string
}

// Take reads from the environment who started this process, and takes it out
// of there, so that the programs it starts do not speak in its name. A nil log
// discards.
func Take(log *slog.Logger) *Service {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Service{socket: os.Getenv(socketVariable), log: log, beats: make(chan struct{}, 1)}
	if s.socket != "" {
		s.watchdog = watchdog(os.Getenv(usecVariable), os.Getenv(pidVariable), os.Getpid())
	}
	for _, name := range []string{socketVariable, usecVariable, pidVariable} {
		_ = os.Unsetenv(name) // it fails for an empty name alone
	}
	return s
}

// watchdog reads sd_watchdog_enabled(3)'s variables; 0 = nobody watches.
func watchdog(usec, pid string, self int) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(time.Hour*24*365/time.Microsecond) {
		return 0
	}
	if pid != "" && pid != strconv.Itoa(self) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// Beat tells that the loop which the service is about has come round. It never
// blocks. The first one makes the service ready, and without more of them the
// manager starts it anew: they are all that feeds the watchdog.
func (s *Service) Beat() {
	select {
	case s.beats <- struct{}{}:
	default:
	}
}

// Run passes the beats on to the manager until ctx ends, and then tells it that
// the service is stopping.
func (s *Service) Run(ctx context.Context) {
	var fed time.Time
	for {
		select {
		case <-ctx.Done():
			s.tell("STOPPING=1")
			return
		case <-s.beats:
		}
		if !s.ready.Load() {
			s.tell("READY=1")
			s.ready.Store(true)
		}
		if now := time.Now(); s.watchdog > 0 && now.Sub(fed) >= s.watchdog/4 {
			s.tell("WATCHDOG=1")
			fed = now
		}
	}
}

// Status says in one line how the service is.
func (s *Service) Status(text string) {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if cut := []rune(text); len(cut) > maxStatus {
		text = string(cut[:maxStatus-1]) + "…"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != s.status {
		s.status = text
		s.tell("STATUS=" + text)
	}
}

// Reloading tells that the configuration is read again. The function that it
// returns tells that this has ended.
func (s *Service) Reloading() (done func()) {
	if !s.ready.Load() {
		return func() {}
	}
	state := "RELOADING=1"
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond))
	}
	s.tell(state)
	return func() { s.tell("READY=1") }
}

func (s *Service) tell(state string) {
	if s.socket == "" {
		return
	}
	if err := s.send(state); err != nil && !s.failed.Swap(true) {
		s.log.Warn("the service manager is not told how the service is", "err", err)
	}
}

func (s *Service) send(state string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	return nil
}
