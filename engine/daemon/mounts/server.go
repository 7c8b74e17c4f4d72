// Package mounts lets a service that has a mount namespace of its own mount
// file systems in the host's, where the kernel's NFS server finds them and
// where they stay when the service is restarted (mount_namespaces(7)). A small
// program in the host's namespace does it, over a Unix socket, and only below
// the folders that it was told.
package mounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRefused means that what was asked for is not what the server is there for.
var ErrRefused = errors.New("mounts: refused")

// Server mounts what it is asked to.
type Server struct {
	// Beneath are the folders below which it mounts, and out of which it binds.
	Beneath []string
	// Devices is the folder that devices are in, "" = /dev.
	Devices string
	Log     *slog.Logger // nil discards
}

// request is one call: a line of JSON, answered by another.
type request struct {
	Unmount bool    `json:"unmount,omitempty"`
	Source  string  `json:"source,omitempty"`
	Target  string  `json:"target"`
	Type    string  `json:"type,omitempty"`
	Flags   uintptr `json:"flags"`
}

type response struct {
	Error string        `json:"error,omitempty"` // empty: done
	Errno syscall.Errno `json:"errno,omitempty"` // 0: it was refused
}

// Bounds of a call.
const (
	maxRequest = 16 << 10
	askTime    = 10 * time.Second
	maxClients = 64
)

// Serve answers calls until ctx ends, and then returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	slots := make(chan struct{}, maxClients)
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("mounts: serve: %w", err)
		}
		slots <- struct{}{}
		clients.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			s.answer(c)
		})
	}
}

func (s *Server) answer(c net.Conn) {
	if err := c.SetDeadline(time.Now().Add(askTime)); err != nil {
		return
	}
	var r request
	if err := json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&r); err != nil {
		return
	}
	err := s.do(r)
	var reply response
	if err != nil {
		reply.Error = err.Error()
		errors.As(err, &reply.Errno)
		if s.Log != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINVAL) {
			s.Log.Warn("not done", "target", r.Target, "unmount", r.Unmount, "err", err)
		}
	}
	if err := c.SetDeadline(time.Now().Add(askTime)); err != nil {
		return
	}
	_ = json.NewEncoder(c).Encode(reply) // who does not wait for it needs none
}

func (s *Server) do(r request) error {
	if r.Unmount {
		return s.unmount(r.Target, r.Flags)
	}
	return s.mount(r)
}

// Flags of mount(2) and umount2(2) that make sense here. Programs and devices
// in a customer's root mean nothing on this host, so that both flags are set on
// every file system; a folder is bound first and then gets them (mount(8)).
const (
	harmless     = unix.MS_NODEV | unix.MS_NOSUID
	mountFlags   = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NOATIME | harmless
	unmountFlags = unix.MNT_DETACH | unix.UMOUNT_NOFOLLOW
)

func (s *Server) mount(r request) error {
	bind := r.Flags&unix.MS_BIND != 0
	again := r.Flags&unix.MS_REMOUNT != 0
	switch {
	case r.Flags&^mountFlags != 0, again && !bind:
		return fmt.Errorf("%w: flags %#x", ErrRefused, r.Flags)
	case (again || !bind) && r.Flags&harmless != harmless:
		return fmt.Errorf("%w: without nodev and nosuid", ErrRefused)
	case bind == (r.Type != ""), !bind && r.Type != "ext4":
		return fmt.Errorf("%w: a file system of type %.20q", ErrRefused, r.Type)
	}
	source := ""
	switch {
	case again:
	case bind:
		from, err := s.open(r.Source)
		if err != nil {
			return err
		}
		defer unix.Close(from)
		source = byDescriptor(from)
	default:
		if err := s.device(r.Source); err != nil {
			return err
		}
		source = r.Source
	}
	at, err := s.open(r.Target)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return unix.Mount(source, byDescriptor(at), r.Type, r.Flags, "")
}

func (s *Server) unmount(target string, flags uintptr) error {
	if flags&^unmountFlags != 0 {
		return fmt.Errorf("%w: flags %#x", ErrRefused, flags)
	}
	folder, name := filepath.Split(target)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%w: path %.200q", ErrRefused, target)
	}
	in, err := s.open(filepath.Clean(folder))
	if err != nil {
		return err
	}
	defer unix.Close(in)
	return unix.Unmount(byDescriptor(in)+"/"+name, int(flags)|unix.UMOUNT_NOFOLLOW)
}

// device checks that a path is a block device among the host's devices.
func (s *Server) device(path string) error {
	devices := s.Devices
	if devices == "" {
		devices = "/dev"
	}
	if filepath.Clean(path) != path || !strings.HasPrefix(path, devices+"/") {
		return fmt.Errorf("%w: device %.200q", ErrRefused, path)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return unix.ENOTBLK
	}
	return nil
}

// open opens a folder that is one of those told, or below it with no link on
// the way: what is asked for is what is opened, whatever happens meanwhile.
func (s *Server) open(path string) (int, error) {
	for _, top := range s.Beneath {
		below, err := filepath.Rel(top, path)
		if err != nil || !filepath.IsLocal(below) || !filepath.IsAbs(path) || filepath.Clean(path) != path {
			continue
		}
		root, err := unix.Open(top, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(root)
		return unix.Openat2(root, below, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
	}
	return -1, fmt.Errorf("%w: path %.200q", ErrRefused, path)
}

// byDescriptor is the name of an open folder (proc(5)).
func byDescriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
