// Package knfsd publishes roots with the kernel's NFS server, by exportfs(8),
// one export at a time. The server itself (nfsd, rpc.mountd, rpcbind) is the
// operating system's: a restart of picloud disturbs no running Pi.
//
// A root is bound (mount --bind) at the path that its Pi gives in nfsroot=, so
// that the path stays the same when a reimage puts another folder there.
//
// exportfs reads and writes its whole table, and has the kernel ask rpc.mountd
// again about every client: with a thousand exports, one more takes 60 ms
// instead of 12. What would be faster is to write the kernel's tables past
// exportfs: but rpc.mountd would then not know the exports that it is asked to
// mount, and its own form of those tables differs between releases.
//
// # What others are told
//
// rpc.mountd tells every client that asks (showmount -e, showmount -a) the paths
// and the clients of all exports. Paths should therefore say no more than which
// server it is. No file of another can be had by that.
//
// # What a file handle can reach
//
// Whoever is root on a Pi can make up file handles, and the kernel finds a file
// by its number in the whole file system. If a root is a file system of its
// own, as package hw/volume/lvmthin's are, there is nothing else to find. Else
// the export has subtree_check, so that the kernel looks whether the file is
// below the root: it then keeps the folder's number in the handle, and a file
// that is moved to another folder while a Pi has it open can be lost to it.
package knfsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"picloud/netboot/nfs"
	"picloud/netboot/nfs/internal/record"
)

// Config is a server's settings.
type Config struct {
	State  string       // the folder to keep records of the exports in
	Prefix string       // the folder below which every export's Path is; it is used for nothing else
	Mounts Mounter      // nil mounts in this process's own mount namespace
	Logger *slog.Logger // nil discards
}

// Mounter binds folders, as mount(2) and umount2(2) do; an error wraps the
// system call's. rpc.mountd must see what it mounts, and so must this process.
type Mounter interface {
	Mount(source, target, fstype string, flags uintptr) error
	Unmount(target string, flags int) error
}

// Server publishes exports. It implements [nfs.Exporter].
type Server struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	records *record.Store
	live    map[string]bool // IDs that the kernel was told of since Open or Recover
}

var _ nfs.Exporter = (*Server)(nil)

const threadsFile = "/proc/fs/nfsd/threads"

// Available returns nil if the kernel's server is running on this host, else an
// error that wraps [nfs.ErrUnavailable] and says what to do.
func Available() error {
	for _, program := range []string{"exportfs", "rpc.mountd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("knfsd: %w: %w (apt install nfs-kernel-server)", nfs.ErrUnavailable, err)
		}
	}
	b, err := os.ReadFile(threadsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("knfsd: %w: the kernel has no nfsd, or it is not loaded (systemctl enable --now nfs-server; if that fails, use nfs-ganesha)", nfs.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("knfsd: %w: %w", nfs.ErrUnavailable, err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || n < 1 {
		return fmt.Errorf("knfsd: %w: it has no threads (systemctl enable --now nfs-server)", nfs.ErrUnavailable)
	}
	return nil
}

// Open returns a server with the exports that its records say. Call
// [Server.Recover] before any other method.
func Open(cfg Config) (*Server, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if !path.IsAbs(cfg.Prefix) || path.Clean(cfg.Prefix) != cfg.Prefix || cfg.Prefix == "/" {
		return nil, fmt.Errorf("knfsd: open: prefix %q: want an absolute, clean path below /", cfg.Prefix)
	}
	records, err := record.Open(cfg.State)
	if err != nil {
		return nil, fmt.Errorf("knfsd: open: %w", err)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, records: records, live: map[string]bool{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.Mounts == nil {
		s.cfg.Mounts = ownMounts{}
	}
	return s, nil
}

// Recover makes the kernel's table what the records say: it publishes what is
// missing, as after a restart of the host, and withdraws what is below the
// prefix and has no record. Exports that are right are left alone, and with
// them the Pis that use them.
func (s *Server) Recover(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	table, err := readTable(ctx)
	if err != nil {
		return fmt.Errorf("knfsd: recover: %w", err)
	}
	var errs []error
	for _, t := range table {
		if !s.below(t.path) || s.wanted(t) {
			continue
		}
		s.log.Warn("withdrawing an export that has no record", "path", t.path, "client", t.client)
		errs = append(errs, s.withdraw(ctx, t.client, t.path))
	}
	for _, r := range s.records.All() {
		right := false
		for _, t := range table {
			right = right || t.path == r.Path && t.client == r.Client.String()
		}
		if right && s.bound(r.Export) {
			s.live[r.ID] = true
			continue
		}
		if err := s.publish(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("export %q: %w", r.ID, err))
		}
	}
	if err := errors.Join(append(errs, s.unbindOrphans())...); err != nil {
		return fmt.Errorf("knfsd: recover: %w", err)
	}
	return nil
}

func (s *Server) wanted(t entry) bool {
	for _, r := range s.records.All() {
		if r.Path == t.path && r.Client.String() == t.client {
			return true
		}
	}
	return false
}

func (s *Server) below(p string) bool { return strings.HasPrefix(p, s.cfg.Prefix+"/") }

// Add implements [nfs.Exporter]. Of two exports with one path or one folder,
// even to two clients, the second gives [nfs.ErrConflict]; a path that is not below the
// prefix, [nfs.ErrInvalidExport].
func (s *Server) Add(ctx context.Context, e nfs.Export) error {
	if err := s.add(ctx, e); err != nil {
		return fmt.Errorf("knfsd: add export %.40q: %w", e.ID, err)
	}
	return nil
}

func (s *Server) add(ctx context.Context, e nfs.Export) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if !s.below(e.Path) {
		return fmt.Errorf("%w: path %.80q: want one below %s", nfs.ErrInvalidExport, e.Path, s.cfg.Prefix)
	}
	info, err := os.Stat(e.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %w", e.Dir, syscall.ENOTDIR)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.records.Conflict(e); err != nil {
		return err
	}
	if old, ok := s.records.Get(e.ID); ok {
		if old.Export == e && s.live[e.ID] && s.bound(e) {
			return nil
		}
		if err := s.retract(ctx, old.Export); err != nil {
			return err
		}
	}
	r, err := s.records.Put(e)
	if err != nil {
		return err
	}
	return s.publish(ctx, r)
}

// publish binds the folder and tells the kernel.
func (s *Server) publish(ctx context.Context, r record.Record) error {
	if err := s.bind(r.Export); err != nil {
		return err
	}
	options, err := options(r)
	if err != nil {
		return err
	}
	if err := exportfs(ctx, "-o", options, r.Client.String()+":"+r.Path); err != nil {
		return err
	}
	s.live[r.ID] = true
	return nil
}

// options are the export's, as exports(5) has them.
func options(r record.Record) (string, error) {
	on, err := nfs.FileSystemOf(r.Dir)
	if err != nil {
		return "", err
	}
	access, subtree, fsid := "rw", "no_subtree_check", uuid(r.FSID())
	if r.ReadOnly {
		access = "ro"
	}
	if !on.Whole {
		subtree = "subtree_check"
		if on.Kind == nfs.Btrfs {
			// A handle has 64 bytes, too few for a UUID and btrfs's two numbers.
			fsid = strconv.FormatUint(uint64(r.Number), 10)
		}
	}
	return strings.Join([]string{access, "sync", "no_root_squash", subtree, "fsid=" + fsid}, ","), nil
}

func uuid(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Remove implements [nfs.Exporter].
func (s *Server) Remove(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records.Get(id)
	if !ok {
		return nil
	}
	err := s.retract(ctx, r.Export)
	if err == nil {
		err = s.records.Delete(id)
	}
	if err != nil {
		return fmt.Errorf("knfsd: remove export %.40q: %w", id, err)
	}
	return nil
}

func (s *Server) retract(ctx context.Context, e nfs.Export) error {
	delete(s.live, e.ID)
	return s.withdraw(ctx, e.Client.String(), e.Path)
}

// withdraw takes an export out of the kernel's table and unbinds its folder.
func (s *Server) withdraw(ctx context.Context, client, path string) error {
	err := exportfs(ctx, "-u", client+":"+path)
	var failed *failure
	if errors.As(err, &failed) && strings.Contains(failed.said, "Could not find") {
		err = nil // it is not there
	}
	if err != nil {
		return err
	}
	return s.unbind(ctx, path)
}

// List implements [nfs.Exporter]. It asks the kernel's side: an export that
// somebody has withdrawn by hand is not in it.
func (s *Server) List(ctx context.Context) ([]nfs.Export, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	table, err := readTable(ctx)
	if err != nil {
		return nil, fmt.Errorf("knfsd: list exports: %w", err)
	}
	there := make(map[entry]bool, len(table))
	for _, t := range table {
		there[t] = true
	}
	list := []nfs.Export{}
	for _, e := range s.records.Exports() {
		if there[entry{e.Path, e.Client.String()}] {
			list = append(list, e)
		}
	}
	return list, nil
}

// entry is one line of the table of exports.
type entry struct{ path, client string }

func readTable(ctx context.Context) ([]entry, error) {
	out, err := run(ctx, "exportfs", "-s")
	if err != nil {
		return nil, err
	}
	return parseTable(out), nil
}

// parseTable reads what exportfs -s prints: a path, white space, a client and
// its options in brackets. Lines that are not of an export like ours are left
// out: such a client is a name, a network or a wildcard.
func parseTable(out []byte) []entry {
	var table []entry
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) != 2 {
			continue
		}
		client, _, ok := strings.Cut(words[1], "(")
		if _, err := netip.ParseAddr(client); !ok || err != nil {
			continue
		}
		table = append(table, entry{words[0], client})
	}
	return table
}

// exportfs runs exportfs. It may warn and yet succeed, and fail and yet leave
// with 0, so that an error it prints counts.
func exportfs(ctx context.Context, args ...string) error {
	_, err := run(ctx, "exportfs", args...)
	return err
}

// failure is what a program said before it failed.
type failure struct {
	program, said string
	err           error
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %v: %s", f.program, f.err, f.said) }
func (f *failure) Unwrap() error { return f.err }

const maxOutput = 16 << 20

// run runs a program without a shell and returns what it printed. It is given
// time to end by itself when ctx ends: half a table is of no use.
func run(ctx context.Context, program string, args ...string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil && out.Len() > maxOutput {
		err = errors.New("too much output")
	}
	if err != nil {
		said := strings.Join(strings.Fields(complaints.String()), " ")
		return nil, &failure{program, said[:min(len(said), 1024)], err}
	}
	return out.Bytes(), nil
}

// unbindOrphans unbinds what is bound below the prefix and has no record.
func (s *Server) unbindOrphans() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, r := range s.records.All() {
		wanted[r.Path] = true
	}
	var errs []error
	for _, at := range mountPoints(b) {
		if s.below(at) && !wanted[at] {
			s.log.Warn("unbinding a folder that has no record", "path", at)
			errs = append(errs, s.unbind(context.Background(), at))
		}
	}
	return errors.Join(errs...)
}

// mountPoints are the fifth words of /proc/self/mountinfo's lines (proc(5)).
// White space in them is written in octal: such are none of ours.
func mountPoints(b []byte) []string {
	var all []string
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 4 && !strings.Contains(words[4], `\`) {
			all = append(all, filepath.Clean(words[4]))
		}
	}
	return all
}
