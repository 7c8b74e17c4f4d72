package ganesha

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"picloud/netboot/nfs"
)

// server is the program that is nfs-ganesha.
const server = "ganesha.nfsd"

const (
	startTimeout = 60 * time.Second // with thousands of exports
	stopTimeout  = 10 * time.Second
	firstPause   = time.Second // before a new start; doubled each time
	longestPause = 30 * time.Second
	steady       = time.Minute // after this, a failure counts as the first again
)

// Serve runs the server until ctx ends, and then returns nil. When the server
// fails it is started again, after a pause that grows to 30 s; Pis wait
// meanwhile. It is an error if one of the ports is taken. Serve is called once.
func (s *Server) Serve(ctx context.Context) error {
	defer close(s.ended)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var gates sync.WaitGroup
	defer gates.Wait()
	defer cancel(nil)
	for what, port := range [...]uint16{serviceNFS: s.cfg.NFSPort, serviceMount: s.cfg.MountPort} {
		l, err := nfs.Listen(ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), port), "")
		if err != nil {
			return fmt.Errorf("ganesha: serve: %w", err)
		}
		gates.Go(func() {
			if err := s.gate.serve(ctx, l, service(what)); err != nil {
				cancel(err)
			}
		})
	}
	s.run(ctx)
	if err := context.Cause(ctx); !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("ganesha: serve: %w", err)
	}
	return nil
}

// run keeps the server running until ctx ends.
func (s *Server) run(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		begin := time.Now()
		err := s.serveOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > steady {
			pause = firstPause
		}
		s.log.Error("nfs-ganesha ended", "err", err, "again in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// serveOnce runs the server, the bus to it and, if nothing answers on its
// port, the portmapper, until one of them ends or ctx does.
func (s *Server) serveOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	dir, err := s.runDir()
	if err != nil {
		cancel()
		return err
	}
	ended := make(chan error, 3)
	running := 0
	start := func(env []string, program string, args ...string) {
		running++
		go func() { ended <- s.child(ctx, env, program, args...) }()
	}
	defer func() {
		if s.down() {
			s.unregister()
		}
		cancel()
		for range running {
			<-ended //nolint:errcheck // that they have ended is all
		}
		_ = os.RemoveAll(dir)
	}()
	if err := s.start(ctx, dir, start, ended); err != nil {
		return err
	}
	s.log.Info("nfs-ganesha is running", "port", s.cfg.NFSPort)
	err = <-ended
	running--
	return err
}

// runDir makes the folder that the bus and the server's configuration are in. A
// socket's path must be short, the state folder's need not be; and one that a
// killed process has left behind is found by its name.
func (s *Server) runDir() (string, error) {
	dir := runPath(s.cfg.State)
	return dir, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
}

func runPath(state string) string {
	sum := sha256.Sum256([]byte(state))
	return filepath.Join("/run", "picloud-ganesha-"+hex.EncodeToString(sum[:6]))
}

// freePorts picks ports on which nothing listens, below those that the kernel
// gives to clients.
func freePorts(ctx context.Context) (ports [2]uint16, err error) {
	for tries := 0; ports[1] == 0; tries++ {
		port := uint16(20100 + rand.IntN(10_000))
		l, err := nfs.Listen(ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), port), "")
		if err != nil && tries >= 100 {
			return ports, fmt.Errorf("no free port: %w", err)
		}
		if err != nil || port == ports[0] {
			continue
		}
		_ = l.Close()
		ports[0], ports[1] = port, ports[0]
	}
	return ports, nil
}

// down takes the running server from those who use it, and reports whether
// there was one.
func (s *Server) down() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return false
	}
	s.link = nil
	s.up = make(chan struct{})
	return true
}

// unregister has the portmapper forget the server.
func (s *Server) unregister() {
	for _, prog := range []uint32{progNFS, progMount} {
		if err := unregister(context.Background(), prog, version3); err != nil {
			s.log.Debug("still in the portmapper", "program", prog, "err", err)
		}
	}
}

// register tells the portmapper of our ports. The server has told it of its own.
func (s *Server) register(ctx context.Context) error {
	return errors.Join(register(ctx, progNFS, version3, s.cfg.NFSPort),
		register(ctx, progMount, version3, s.cfg.MountPort), unregister(ctx, progMount, 1))
}

// start starts the programs and waits until the server answers. While there is no
// link nobody changes the records, so that s.mu need not be held all that time:
// whoever waits for the server can give up.
func (s *Server) start(ctx context.Context, dir string, start func(env []string, program string, args ...string), ended chan error) error {
	ports, err := freePorts(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.inner = ports
	text := s.mainConfig()
	s.mu.Unlock()
	link := newBus(dir)
	config := filepath.Join(dir, "ganesha.conf")
	if err := errors.Join(link.writeConfig(), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return err
	}
	if !answers(ctx, portmapAddress) {
		if err := os.MkdirAll("/run/rpcbind", 0o755); err != nil {
			return err
		}
		start(nil, portmapper)
	}
	start(nil, busDaemon, "--config-file="+link.config, "--nofork", "--nopidfile")
	until := func(what string, ok func() bool) error {
		deadline := time.After(startTimeout)
		for !ok() {
			select {
			case err := <-ended:
				ended <- err // for whoever waits for all
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-deadline:
				return fmt.Errorf("%s does not answer after %v", what, startTimeout)
			case <-time.After(20 * time.Millisecond):
			}
		}
		return nil
	}
	if err := until("rpcbind", func() bool { return answers(ctx, portmapAddress) }); err != nil {
		return err
	}
	if err := until("dbus-daemon", func() bool { _, err := os.Stat(link.socket); return err == nil }); err != nil {
		return err
	}
	start([]string{"DBUS_SYSTEM_BUS_ADDRESS=" + link.address()}, server,
		"-F", "-L", "STDERR", "-N", "EVENT", "-f", config, "-p", filepath.Join(dir, "pid"))
	err = until("nfs-ganesha", func() bool {
		_, err := link.exports(ctx)
		return err == nil && answers(ctx, fmt.Sprintf("127.0.0.1:%d", ports[serviceNFS])) && answers(ctx, fmt.Sprintf("127.0.0.1:%d", ports[serviceMount]))
	})
	if err != nil {
		return err
	}
	if err := s.register(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = link
	close(s.up)
	return nil
}

func answers(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

const portmapper = "rpcbind"

// minded runs the portmapper until it ends or the standard input does, whose
// other end is ours: a program that changes its user, as this one does, is not
// told any more when its parent dies (PR_SET_PDEATHSIG, prctl(2)).
const minded = `exec 3<&0
rpcbind -f & pid=$!
{ read -r _ <&3; kill $pid; } 2>/dev/null & minder=$!
wait $pid; status=$?
kill $minder 2>/dev/null
exit $status`

// child runs a program until it ends or ctx does. It never outlives this
// process.
func (s *Server) child(ctx context.Context, env []string, program string, args ...string) error {
	end := syscall.SIGTERM
	if program == server {
		// It takes seconds to end by itself, while its Pis wait. What it has
		// answered is with the kernel, and what it has not is sent again.
		end = syscall.SIGKILL
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cancel := func() error { return cmd.Process.Signal(end) }
	if program == portmapper {
		cmd = exec.CommandContext(ctx, "sh", "-c", minded)
		alive, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		cancel = alive.Close
		defer alive.Close()
	}
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = cancel
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: end}
	if os.Geteuid() != 0 && program != busDaemon {
		// The portmapper runs for root alone, and the server could not act as another
		// user and then as itself again: it would lose its capabilities
		// (capabilities(7), effect of user ID changes). As root they have ours and no
		// more.
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	// The signal comes when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	last := s.copyLog(ctx, program, out)
	if err = cmd.Wait(); err == nil {
		err = errors.New("it ended")
	}
	return fmt.Errorf("%s: %w: %s", program, err, last)
}

// copyLog puts a program's messages into our log, and returns the last that
// was bad.
func (s *Server) copyLog(ctx context.Context, program string, from io.Reader) (last string) {
	lines := bufio.NewReaderSize(from, 4096)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return last
		}
		text := message(string(line))
		switch {
		case slices.ContainsFunc(harmless, func(h string) bool { return strings.Contains(text, h) }):
			s.log.Debug(text, "program", program)
		case strings.Contains(text, ":FATAL :"), strings.Contains(text, ":MAJ :"), strings.Contains(text, ":CRIT :"), program != server:
			last = text
			if ctx.Err() == nil {
				s.log.Warn(text, "program", program)
			}
		default:
			s.log.Debug(text, "program", program)
		}
	}
}

// harmless is what is complained of at each start: Kerberos, which is not used,
// and a limit that a small bus does not need.
var harmless = []string{"gssd_refresh_krb5_machine_credential", "Failed to set fd limit"}

// message cuts time, host and process off a line of the server's log:
// "23/11/2026 09:43:35 : epoch 6b040ac7 : vm : nfs-ganesha-24603[main] main :NFS STARTUP :WARN :text".
func message(line string) string {
	if parts := strings.SplitN(line, " : ", 4); len(parts) == 4 {
		line = parts[3]
	}
	return strings.ToValidUTF8(line, "?")
}
