package mounts

import (
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Client asks the server at a Unix socket.
type Client struct{ Socket string }

// answerTime is long enough for ext4 to replay a large journal.
const answerTime = 5 * time.Minute

// Mount is mount(2) without data: a bind, its remount, or ext4. The error wraps
// the system call's, or ErrRefused.
func (c Client) Mount(source, target, fstype string, flags uintptr) error {
	return c.call(request{Source: source, Target: target, Type: fstype, Flags: flags})
}

// Unmount is umount2(2); the error is as Mount's.
func (c Client) Unmount(target string, flags int) error {
	return c.call(request{Unmount: true, Target: target, Flags: uintptr(flags)})
}

func (c Client) call(r request) error {
	conn, err := net.DialTimeout("unix", c.Socket, askTime)
	if err != nil {
		return fmt.Errorf("mounts: %w (systemctl status picloud-mounts.socket)", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return fmt.Errorf("mounts: ask: %w", err)
	}
	var reply response
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return fmt.Errorf("mounts: no answer: %w", err)
	}
	switch {
	case reply.Error == "":
		return nil
	case reply.Errno == 0:
		return fmt.Errorf("%w: %s", ErrRefused, reply.Error)
	}
	return reply.Errno
}
