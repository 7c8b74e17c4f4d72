package door

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a Unix socket, as the kernel knew it
// when it connected.
type Peer struct {
	UID, GID uint32
	PID      int32
}

// peerOf asks the kernel who is at the other end (SO_PEERCRED, unix(7)).
func peerOf(nc *net.UnixConn) (Peer, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("door: peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("door: peer: %w", err)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// ErrInUse is returned for a socket that another service answers on.
var ErrInUse = errors.New("another service answers here")

// ListenUnix listens on a Unix socket with the given mode. A socket that
// nobody answers on any more is replaced; one that somebody answers on, and a
// file that is no socket, are left alone.
//
// Who may do what is decided by uid, whatever the mode; 0666 lets everybody ask,
// 0660 only the socket's group.
func ListenUnix(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("door: listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("door: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("door: %w", err)
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket")
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = nc.Close()
		return ErrInUse
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
