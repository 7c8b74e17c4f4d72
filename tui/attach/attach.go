// Package attach is the other end of a service's Unix socket: it brings the
// service's console to this terminal, or carries out one command there. What it
// does could be done by any SSH client; see package door.
package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// Kinds of failure, for errors.Is. Their texts say what to do.
var (
	// ErrNoService: nothing answers at the socket.
	ErrNoService = errors.New("no service is running")
	// ErrRefused: the service does not know this user, or has no room.
	ErrRefused = errors.New("the service refused")
	// ErrLost: the service went away, or did not answer any more.
	ErrLost = errors.New("the connection to the service was lost")
	// ErrTerminal: the console needs a terminal.
	ErrTerminal = errors.New("the console needs a terminal")
)

// Stdio is what a session is connected with. In and Out that are terminals are
// treated as such.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	Env []string // of this user; TERM, COLORTERM, NO_COLOR, LANG, LC_ALL and LC_CTYPE are sent
}

const (
	dialTime = 5 * time.Second
	askEvery = 5 * time.Second  // whether the service is there
	askTime  = 15 * time.Second // for its answer
	endTime  = 3 * time.Second  // for a command to end after ctx did
)

// client is a connection to the service.
type client struct {
	nc     net.Conn
	ssh    *ssh.Client
	banner string
}

// dial connects and logs in as the user of this process.
func dial(ctx context.Context, socket string) (*client, error) {
	var d net.Dialer
	d.Timeout = dialTime
	nc, err := d.DialContext(ctx, "unix", socket)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("attach: %w: nothing answers at %s; start it with systemctl start picloud, or picloud serve --config FILE (picloud demo needs none)", ErrNoService, socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("attach: %w: you may not open %s: ask for its group, or use sudo", ErrRefused, socket)
	case err != nil:
		return nil, fmt.Errorf("attach: %w", err)
	}
	c := &client{nc: nc}
	if err := c.login(socket); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) login(socket string) error {
	if err := checkServer(c.nc.(*net.UnixConn), socket); err != nil {
		return err
	}
	_ = c.nc.SetDeadline(time.Now().Add(dialTime))
	sc, chans, reqs, err := ssh.NewClientConn(c.nc, socket, &ssh.ClientConfig{
		// Who serves was checked by its uid; whoever could put itself between
		// two ends of a Unix socket could read both ends' memory.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback:  func(text string) error { c.banner += text; return nil },
		ClientVersion:   "SSH-2.0-picloud",
	})
	switch {
	case err != nil && c.banner != "":
		return fmt.Errorf("attach: %w: %s", ErrRefused, oneLine(c.banner))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("attach: %w: it did not answer within %v", ErrLost, dialTime)
	case err != nil:
		return fmt.Errorf("attach: %w: %w", ErrRefused, err)
	}
	_ = c.nc.SetDeadline(time.Time{})
	c.ssh = ssh.NewClient(sc, chans, reqs)
	return nil
}

// checkServer refuses a socket that is served by somebody who is neither root,
// nor this user, nor the owner of the folder that the socket is in: that is not
// the service but somebody who wants to see what is typed.
func checkServer(nc *net.UnixConn, socket string) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(socket), &dir); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Getuid() && cred.Uid != dir.Uid {
		return fmt.Errorf("attach: %w: %s is served by uid %d, which does not own its folder", ErrRefused, socket, cred.Uid)
	}
	return nil
}

// watch ends the connection when the service answers nothing any more. It
// returns when the connection has ended.
func (c *client) watch(ended <-chan struct{}) {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-ended:
			return
		case <-t.C:
		}
		late := time.AfterFunc(askTime, func() { _ = c.nc.Close() })
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return
		}
	}
}

// environment is what is sent of a user's environment.
var environment = []string{"COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE"}

// lookup finds a variable; the last one of a name counts.
func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// session opens a session, runs it and returns its exit status.
func (c *client) session(ctx context.Context, io Stdio, run func(se *ssh.Session) error) (int, error) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { c.watch(ended) })
	defer wg.Wait()
	defer c.ssh.Close()
	defer close(ended)
	se, err := c.ssh.NewSession()
	if err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			return 0, fmt.Errorf("attach: %w: %s", ErrRefused, oneLine(refused.Message))
		}
		return 0, fmt.Errorf("attach: %w: %w", ErrLost, err)
	}
	for _, name := range environment {
		if v, ok := lookup(io.Env, name); ok {
			_ = se.Setenv(name, v) // the service takes what it can use
		}
	}
	se.Stdout, se.Stderr = io.Out, io.Err
	stop := context.AfterFunc(ctx, func() {
		_ = se.Signal(ssh.SIGINT)
		time.AfterFunc(endTime, func() { _ = c.nc.Close() })
	})
	defer stop()
	if err := run(se); err != nil {
		return 0, fmt.Errorf("attach: %w: %w", ErrLost, err)
	}
	return c.wait(ctx, se)
}

func (c *client) wait(ctx context.Context, se *ssh.Session) (int, error) {
	err := se.Wait()
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitStatus(), nil
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	return 0, fmt.Errorf("attach: %w: %w", ErrLost, err)
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}
