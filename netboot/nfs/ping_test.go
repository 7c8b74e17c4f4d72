package nfs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// answerOnce takes one connection and writes to it.
func answerOnce(t *testing.T, text []byte) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write(text)
		_, _ = io.Copy(io.Discard, c)
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestPingAnswers tells a server from what is none. Real ones answer in the tests
// of the service.
func TestPingAnswers(t *testing.T) {
	record := func(all ...uint32) []byte { return append(words(lastPart|uint32(4*len(all))), words(all...)...) }
	for name, c := range map[string]struct {
		answer []byte
		want   error
	}{
		"success":              {record(pingXID, 1, 0, 0, 0, 0), nil},
		"with a verifier":      {record(pingXID, 1, 0, 1, 5, 0, 0, 0), nil},
		"another version":      {record(pingXID, 1, 0, 0, 0, 2, 4, 4), ErrNotNFS},
		"another call's":       {record(1, 1, 0, 0, 0, 0), ErrNotNFS},
		"denied":               {record(pingXID, 1, 1, 0, 0, 0), ErrNotNFS},
		"cut off":              {record(pingXID, 1, 0, 0), ErrNotNFS},
		"a verifier cut off":   {record(pingXID, 1, 0, 1, 400, 0), ErrNotNFS},
		"a verifier of all":    {record(pingXID, 1, 0, 1, 1<<32-1, 0), ErrNotNFS},
		"an SSH server":        {[]byte("SSH-2.0-OpenSSH_9.2\r\n"), ErrNotNFS},
		"one that is too long": {words(1<<31 | 1<<30), ErrNotNFS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := Ping(ctx, answerOnce(t, c.answer)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestPingNobody gives up on a port without a server, and in time on one whose
// server says nothing.
func TestPingNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Ping(ctx, answerOnce(t, nil)); err == nil || ctx.Err() == nil {
		t.Errorf("of one that says nothing: %v", err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close()
	if err := Ping(t.Context(), at); err == nil {
		t.Error("nobody is there, and answers")
	}
}
