// Package ganesha publishes roots with nfs-ganesha, an NFS server outside the
// kernel, for hosts whose kernel has none. The server is a child process: it is
// started, watched, started again when it fails, and ended with its parent.
// File handles outlive it, so that Pis wait while it is away and then go on.
//
// Exports are added and removed while it runs, over a D-Bus of its own: the
// system's bus is not needed. Only NFS version 3 over TCP is served. Version 4
// would show every Pi, in the pseudo file system above the roots, that there
// are others. There is no lock manager: a Pi mounts with nolock.
//
// # What a Pi can reach
//
// nfs-ganesha 4.3 of Debian 12 opens a name that has slashes in it as a path: to
// LOOKUP "/etc/shadow" it answers with this host's. It also does not look whether
// the file that a handle names is below the export that the handle names. So
//
//   - Pis do not talk to it. They talk to this package, which reads every call
//     before it passes it on, and hangs up on a Pi that sends what no client
//     sends. The server listens at ports of its own, where it knows each Pi by an
//     address in 127.200.0.0/16 that nobody but root can speak from. Those ports
//     are on all addresses: no Bind_addr is set, since it is looked up as a name,
//     which fails where there is no address but loopback. Who comes to them from
//     elsewhere has no such address, and finds no export;
//   - roots that share a file system are refused, unless [Config.AllowShared] is
//     set.
//
// It needs root or the capabilities that [Available] looks for, and Debian's
// nfs-ganesha, nfs-ganesha-vfs, rpcbind, netbase and dbus.
package ganesha

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"picloud/netboot/nfs"
	"picloud/netboot/nfs/internal/record"
)

// Default ports. The portmapper tells clients the second.
const (
	DefaultNFSPort   = 2049
	DefaultMountPort = 20048
)

// Config is a server's settings.
type Config struct {
	State              string // the folder to keep records of the exports in
	NFSPort, MountPort uint16 // 0 means the default
	// AllowShared lets roots share a file system. Whoever is root on one Pi can
	// then read and write the roots of all others, and everything else that is
	// on that file system. It is for a lab whose Pis are all one person's.
	AllowShared bool
	Logger      *slog.Logger // nil discards
}

// Server publishes exports. It implements [nfs.Exporter]. Add and Remove wait
// until [Server.Serve] has the server running.
type Server struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex // held while the server starts
	records *record.Store
	gate    *gate
	inner   [2]uint16     // the running server's ports, by service
	link    *bus          // to the running server; nil while there is none
	up      chan struct{} // closed while there is one
	ended   chan struct{} // closed when Serve has returned
}

var _ nfs.Exporter = (*Server)(nil)

var needed = []struct{ program, from string }{
	{server, "nfs-ganesha nfs-ganesha-vfs"}, {"rpcbind", "rpcbind"}, {"dbus-daemon", "dbus-daemon"}, {"dbus-send", "dbus-bin"},
}

// serviceNames has the ports of services by name (services(5)).
const serviceNames = "/etc/services"

// Available returns nil if this host has the programs, else an error that wraps
// [nfs.ErrUnavailable] and says what to install.
func Available() error {
	for _, n := range needed {
		if _, err := exec.LookPath(n.program); err != nil {
			return fmt.Errorf("ganesha: %w: %w (apt install %s)", nfs.ErrUnavailable, err, n.from)
		}
	}
	if _, err := os.Stat(serviceNames); err != nil {
		return fmt.Errorf("ganesha: %w: %w: without it rpcbind opens no port (apt install netbase)", nfs.ErrUnavailable, err)
	}
	able, err := capabilities()
	if err != nil {
		return fmt.Errorf("ganesha: %w: %w", nfs.ErrUnavailable, err)
	}
	for _, n := range neededCapabilities {
		if able&(1<<n.number) == 0 {
			return fmt.Errorf("ganesha: %w: it needs root, or CAP_%s", nfs.ErrUnavailable, n.name)
		}
	}
	return nil
}

// neededCapabilities are those that the server acts with (capabilities(7)): it
// reads and writes any user's files as that user, opens them by handle, and has
// ports below 1024; and it is root, whom only CAP_KILL can end.
var neededCapabilities = []struct {
	name   string
	number uint
}{
	{"CHOWN", unix.CAP_CHOWN}, {"DAC_OVERRIDE", unix.CAP_DAC_OVERRIDE}, {"DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH},
	{"FOWNER", unix.CAP_FOWNER}, {"FSETID", unix.CAP_FSETID}, {"SETGID", unix.CAP_SETGID}, {"SETUID", unix.CAP_SETUID},
	{"NET_BIND_SERVICE", unix.CAP_NET_BIND_SERVICE}, {"MKNOD", unix.CAP_MKNOD}, {"KILL", unix.CAP_KILL},
}

// capabilities are those of this process, a bit each.
func capabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, os.NewSyscallError("capget", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

// New returns a server with the exports that its records say, which does not
// run yet.
func New(cfg Config) (*Server, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(cfg.State)
	if err != nil {
		return nil, fmt.Errorf("ganesha: %w", err)
	}
	cfg.State = abs
	cfg.NFSPort, cfg.MountPort = cmp.Or(cfg.NFSPort, DefaultNFSPort), cmp.Or(cfg.MountPort, DefaultMountPort)
	records, err := record.Open(filepath.Join(cfg.State, "exports"))
	if err != nil {
		return nil, fmt.Errorf("ganesha: %w", err)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, records: records, up: make(chan struct{}), ended: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.gate = newGate(s.log, s.portOf, s.exported)
	for _, r := range records.All() {
		if _, err := s.gate.alias(r.Client); err != nil { // may connect before the server runs
			return nil, fmt.Errorf("ganesha: %w", err)
		}
	}
	return s, nil
}

// Ready waits until the server runs. Errors: [nfs.ErrClosed], ctx's cause.
func (s *Server) Ready(ctx context.Context) error {
	unlock, err := s.lockRunning(ctx)
	if err != nil {
		return fmt.Errorf("ganesha: wait for the server: %w", err)
	}
	unlock()
	return nil
}

// portOf waits until the server runs and returns its own port for a service.
func (s *Server) portOf(ctx context.Context, what service) (uint16, error) {
	unlock, err := s.lockRunning(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return s.inner[what], nil
}

// exported reports whether a path is that of an export to a client.
func (s *Server) exported(path string, client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records.All() {
		if r.Path == path && r.Client == client {
			return true
		}
	}
	return false
}

// lockRunning takes s.mu while the server runs.
func (s *Server) lockRunning(ctx context.Context) (unlock func(), err error) {
	for {
		s.mu.Lock()
		if s.link != nil {
			return s.mu.Unlock, nil
		}
		up := s.up
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ended:
			return nil, nfs.ErrClosed
		case <-up:
		}
	}
}

// Add implements [nfs.Exporter]. Of two exports with one path or one folder,
// even to two clients, the second gives [nfs.ErrConflict].
func (s *Server) Add(ctx context.Context, e nfs.Export) error {
	if err := s.add(ctx, e); err != nil {
		return fmt.Errorf("ganesha: add export %.40q: %w", e.ID, err)
	}
	return nil
}

func (s *Server) add(ctx context.Context, e nfs.Export) error {
	if err := s.check(e); err != nil {
		return err
	}
	unlock, err := s.lockRunning(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.records.Conflict(e); err != nil {
		return err
	}
	if old, ok := s.records.Get(e.ID); ok {
		if same, err := s.same(ctx, old, e); err != nil || same {
			return err
		}
		if err := s.link.removeExport(ctx, old.Number); err != nil {
			return err
		}
	}
	r, err := s.records.Put(e)
	if err != nil {
		return err
	}
	return s.publish(ctx, r)
}

// same reports whether an export is published already. A folder that has
// another one in its place, under the same name, is published anew.
func (s *Server) same(ctx context.Context, old record.Record, e nfs.Export) (bool, error) {
	if old.Export != e {
		return false, nil
	}
	published, err := s.link.exports(ctx)
	return published[old.Number], err
}

func (s *Server) publish(ctx context.Context, r record.Record) error {
	alias, err := s.gate.alias(r.Client)
	if err != nil {
		return err
	}
	name := filepath.Join(s.link.dir, fmt.Sprintf("export-%d.conf", r.Number))
	if err := os.WriteFile(name, []byte(exportBlock(r, alias)), 0o600); err != nil {
		return err
	}
	return errors.Join(s.link.addExport(ctx, name, r.Number), os.Remove(name))
}

// check refuses what cannot be published.
func (s *Server) check(e nfs.Export) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if strings.ContainsFunc(e.Dir, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }) {
		return fmt.Errorf("%w: dir %.80q: no quotes, backslashes or control characters", nfs.ErrInvalidExport, e.Dir)
	}
	info, err := os.Stat(e.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %w", e.Dir, syscall.ENOTDIR)
	}
	on, err := nfs.FileSystemOf(e.Dir)
	if err != nil {
		return err
	}
	if on.Subvolume {
		return fmt.Errorf("%w: %s is a btrfs subvolume, which nfs-ganesha does not find (use the kernel's server, or other volumes)", nfs.ErrNotSupported, e.Dir)
	}
	if !on.Whole && !s.cfg.AllowShared {
		return fmt.Errorf("%w: %s shares its file system, and nfs-ganesha would let its Pi read all of that (keep volumes on LVM, use the kernel's server, or allow it in a lab)",
			nfs.ErrNotSupported, e.Dir)
	}
	return nil
}

// Remove implements [nfs.Exporter].
func (s *Server) Remove(ctx context.Context, id string) error {
	if err := s.remove(ctx, id); err != nil {
		return fmt.Errorf("ganesha: remove export %.40q: %w", id, err)
	}
	return nil
}

func (s *Server) remove(ctx context.Context, id string) error {
	unlock, err := s.lockRunning(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, ok := s.records.Get(id)
	if !ok {
		return nil
	}
	if err := s.link.removeExport(ctx, r.Number); err != nil {
		return err
	}
	return s.records.Delete(id)
}

// List implements [nfs.Exporter]. It asks the running server; while there is
// none, it returns what the next one will serve.
func (s *Server) List(ctx context.Context) ([]nfs.Export, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return s.records.Exports(), nil
	}
	published, err := s.link.exports(ctx)
	if err != nil {
		return nil, fmt.Errorf("ganesha: list exports: %w", err)
	}
	list := []nfs.Export{}
	for _, r := range s.records.All() {
		if published[r.Number] {
			list = append(list, r.Export)
		}
	}
	return list, nil
}

// mainConfig is the server's configuration, with the exports that it begins
// with: a Pi that asks before its export is there would be told that its files
// are gone.
func (s *Server) mainConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, `NFS_CORE_PARAM {
	Protocols = 3;
	NFS_Port = %d;
	MNT_Port = %d;
	Enable_UDP = false;
	Enable_NLM = false;
	Enable_RQUOTA = false;
	mount_path_pseudo = true;
}
NFS_KRB5 { Active_krb5 = false; }
`, s.inner[serviceNFS], s.inner[serviceMount])
	for _, r := range s.records.All() {
		alias, err := s.gate.alias(r.Client)
		if err := errors.Join(err, s.check(r.Export)); err != nil {
			s.log.Error("export left out", "id", r.ID, "err", err)
			continue
		}
		b.WriteString(exportBlock(r, alias))
	}
	return b.String()
}

// exportBlock is one export's configuration. Ports above 1023 are refused, so
// that on this host only root speaks for a Pi.
func exportBlock(r record.Record, client netip.Addr) string {
	access := "RW"
	if r.ReadOnly {
		access = "RO"
	}
	return fmt.Sprintf(`EXPORT {
	Export_Id = %d;
	Path = "%s";
	Pseudo = "%s";
	Filesystem_Id = 112.%d;
	Access_Type = NONE;
	Squash = No_Root_Squash;
	SecType = sys;
	Protocols = 3;
	Transports = TCP;
	PrivilegedPort = true;
	FSAL { Name = VFS; }
	CLIENT { Clients = %s; Access_Type = %s; Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP; PrivilegedPort = true; }
}
`, r.Number, r.Dir, r.Path, r.Number, client, access)
}
