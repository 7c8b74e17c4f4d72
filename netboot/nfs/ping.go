package nfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrNotNFS means that what answers at a port is no NFS server.
var ErrNotNFS = errors.New("what answers is no NFS server")

// A call of NFS version 3's NULL procedure, which does nothing (RFC 5531,
// section 9, and RFC 1813, section 3.3.0), and what is expected of its answer.
var (
	nullCall  = words(pingXID, 0, 2, 100003, 3, 0, 0, 0, 0, 0) // call, RPC 2, NFS 3, NULL, no credentials, no verifier
	nullReply = words(pingXID, 1, 0)                           // reply, accepted
)

const (
	pingXID     = 0x70696e67
	lastPart    = 1 << 31 // of a record (RFC 5531, section 11)
	longestPing = 1 << 10
)

func words(all ...uint32) []byte {
	var p []byte
	for _, w := range all {
		p = binary.BigEndian.AppendUint32(p, w)
	}
	return p
}

// Ping asks an NFS server whether it is there, until ctx ends. It says nothing
// of its exports.
func Ping(ctx context.Context, server netip.AddrPort) error {
	if err := ping(ctx, server); err != nil {
		return fmt.Errorf("nfs: ask %s: %w", server, err)
	}
	return nil
}

func ping(ctx context.Context, server netip.AddrPort) error {
	conn, err := dialAsRoot(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(append(words(lastPart|uint32(len(nullCall))), nullCall...)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:]) &^ lastPart
	if n > longestPing {
		return ErrNotNFS
	}
	reply := make([]byte, n)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	return checkNull(reply)
}

// dialAsRoot connects from a port that only root may use, since servers may
// listen to no other; who may not use one connects from any.
func dialAsRoot(ctx context.Context, server netip.AddrPort) (net.Conn, error) {
	const first, count, tries = 512, 512, 16
	for range tries {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: first + rand.IntN(count)}}
		conn, err := d.DialContext(ctx, "tcp", server.String())
		switch {
		case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
			continue
		case !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM):
			return conn, err
		}
		break
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", server.String())
}

// checkNull wants an accepted call that succeeded: the status is behind the
// server's verifier.
func checkNull(reply []byte) error {
	rest, ok := bytes.CutPrefix(reply, nullReply)
	if !ok || len(rest) < 12 {
		return ErrNotNFS
	}
	verifier := (uint64(binary.BigEndian.Uint32(rest[4:])) + 3) &^ 3
	if uint64(len(rest)) < 12+verifier {
		return ErrNotNFS
	}
	if status := binary.BigEndian.Uint32(rest[8+verifier:]); status != 0 {
		return fmt.Errorf("%w: it refuses version 3 (status %d)", ErrNotNFS, status)
	}
	return nil
}
