package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/tui/cli"
	"picloud/tui/door"
)

// entrance is how people and scripts reach the engine: one door on a Unix
// socket and, if the configuration says so, on TCP.
type entrance struct {
	server    *door.Server
	listeners []net.Listener
}

// openDoor binds the door's sockets. Everybody may knock at the Unix socket:
// who they are is told by the kernel, and what they may do by their role.
func (d *Daemon) openDoor() (err error) {
	cfg := d.opts.Config
	key, made, err := door.HostKey(filepath.Join(cfg.State, "host_ed25519"))
	if err != nil {
		return err
	}
	d.entrance = &entrance{}
	d.entrance.server, err = door.New(door.Config{
		HostKey: key, Viewer: d.engine, Operator: d.operatorByKey, Local: d.localActor, Log: d.opts.Log,
		Run: func(ctx context.Context, s door.Session) int {
			return cli.Run(ctx, s.Viewer, cli.Session{
				Actor: s.Actor, Args: s.Args, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
				Version: d.opts.Version, Width: s.Width, TTY: s.TTY, Color: s.TTY && !slices.ContainsFunc(s.Env, isNoColor),
			})
		},
	})
	if err != nil {
		return err
	}
	if err := makeSocketFolder(cfg.Console.Socket); err != nil {
		return err
	}
	unix, err := door.ListenUnix(cfg.Console.Socket, 0o666)
	if err != nil {
		return err
	}
	d.keep(unix)
	if cfg.Console.Listen.IsValid() {
		tcp, err := net.Listen("tcp", cfg.Console.Listen.String())
		if err != nil {
			return fmt.Errorf("console over SSH: %w", err)
		}
		d.keep(tcp)
		d.opts.Log.Info("console over SSH", "listen", tcp.Addr(), "host_key", ssh.FingerprintSHA256(key.PublicKey()), "new", made)
	}
	return nil
}

// serve answers at the door until ctx ends. Without one it waits.
func (e *entrance) serve(ctx context.Context) error {
	if e == nil {
		<-ctx.Done()
		return nil
	}
	return e.server.Serve(ctx, e.listeners...)
}

// recheck lets changes of operators take effect on those who are in.
func (e *entrance) recheck() {
	if e != nil {
		e.server.Recheck()
	}
}

// bell is rung by who must not wait, and heard once however often it rang.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// recheck asks again who everybody at the door is, whenever operators have
// changed.
func (d *Daemon) recheck(ctx context.Context) error {
	for {
		select {
		case <-d.staff:
			d.entrance.recheck()
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *Daemon) keep(l net.Listener) {
	d.entrance.listeners = append(d.entrance.listeners, l)
	d.close = append(d.close, func() { _ = l.Close() })
}

// makeSocketFolder makes the folder of the socket if its own parent is there,
// such as /run/picloud; what is above it is the system's.
func makeSocketFolder(socket string) error {
	err := os.Mkdir(filepath.Dir(socket), 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("folder of console.socket: %w", err)
	}
	return nil
}

// isNoColor tells the variable that asks for none (no-color.org).
func isNoColor(v string) bool {
	return len(v) > len("NO_COLOR=") && v[:len("NO_COLOR=")] == "NO_COLOR="
}

// operatorByKey says whose public key it is.
func (d *Daemon) operatorByKey(key ssh.PublicKey) (engine.Actor, bool) {
	o, ok := d.engine.Operators().ByKey(ssh.FingerprintSHA256(key))
	return engine.Actor{Name: o.Name, Role: o.Role}, ok
}

// localActor says who the process at the other end of the socket is: root and
// the service's own user are admins, others are who the configuration says.
func (d *Daemon) localActor(p door.Peer) (engine.Actor, bool) {
	name := userName(p.UID)
	if p.UID == 0 || int(p.UID) == os.Getuid() {
		return engine.Actor{Name: name, Role: engine.RoleAdmin}, true
	}
	for _, l := range *d.locals.Load() {
		if l.User == name {
			o, ok := d.engine.Operators().ByName(l.Operator)
			return engine.Actor{Name: o.Name, Role: o.Role}, ok
		}
	}
	return engine.Actor{}, false
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid" + id
}
