package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// treeFunc is a Tree that is a function.
type treeFunc func(Request) (File, error)

func (f treeFunc) Open(_ context.Context, r Request) (File, error) { return f(r) }

// A Pi that has more transfers than it may has been restarted: the oldest gives
// way.
func TestOldestTransferOfAClientGivesWay(t *testing.T) {
	file := content(3000)
	r := newRig(t, map[string][]byte{"f": file}, func(c *Config) { c.MaxPerClient = 2 })
	var cs []*client
	for i := range 3 {
		c := r.pi()
		c.ask("f", "octet")
		c.wantPacket(data(1, file[:512]))
		cs = append(cs, c)
		if i < 2 {
			continue
		}
		if e := r.want(Replaced); e.Client != addrPort(cs[0].udp.LocalAddr()) {
			t.Errorf("%s gave way, want %s", e.Client, cs[0].udp.LocalAddr())
		}
	}
	for _, c := range cs[1:] {
		c.ack(1)
		c.wantPacket(data(2, file[512:1024]))
	}
	// Other clients are not concerned.
	other := r.client("127.64.0.6", 0, "127.64.0.5")
	other.ask("f", "octet")
	if got := other.rest(512); !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
}

// Sixty Pis with one slot: all wait for their turn, and none fails.
func TestRequestsWaitForTheirTurn(t *testing.T) {
	const pis = 60
	file := content(2000)
	r := newRig(t, map[string][]byte{"bootcode.bin": file}, func(c *Config) {
		c.MaxTransfers = 30 // and 30 wait
		c.MaxWait = patience
	})
	var wg sync.WaitGroup
	for i := range pis {
		c := r.client(fmt.Sprintf("127.64.0.%d", 4*i+2), 49152, fmt.Sprintf("127.64.0.%d", 4*i+1))
		wg.Go(func() {
			c.ask("bootcode.bin", "octet")
			if got, err := c.download(512); err != nil || !bytes.Equal(got, file) {
				t.Errorf("Pi %d: %d octets, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
	for range pis {
		r.want(Served)
	}
}

// What exceeds even the places to wait is dropped in silence, so that the client
// asks again; and a wait that takes too long ends likewise.
func TestBusy(t *testing.T) {
	file := content(2000)
	r := newRig(t, map[string][]byte{"f": file}, func(c *Config) {
		c.MaxTransfers = 1
		c.MaxWait = 30 * time.Millisecond
	})
	first := r.client("127.64.0.2", 0, "127.64.0.1")
	first.ask("f", "octet")
	first.wantPacket(data(1, file[:512]))
	second := r.client("127.64.0.6", 0, "127.64.0.5")
	third := r.client("127.64.0.10", 0, "127.64.0.9")
	second.ask("f", "octet")
	third.ask("f", "octet")
	for range 2 {
		if e := r.want(Refused); !errors.Is(e.Err, ErrBusy) {
			t.Errorf("event %+v", e)
		}
	}
	second.silence(5 * time.Millisecond)
	third.silence(5 * time.Millisecond)
	first.send(first.tid, earlyTerminate)
	r.want(EarlyTerminate)
	second.ask("f", "octet")
	if got := second.rest(512); !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
}

// A flood of requests from one Pi is bounded, and harms nobody else.
func TestFloodOfRequests(t *testing.T) {
	file := content(2000)
	r := newTreeRig(t, &memTree{files: map[string][]byte{"f": file}, gate: make(chan struct{})}, nil)
	for range 200 {
		r.pi().ask("f", "octet")
	}
	other := r.client("127.64.0.6", 0, "127.64.0.5")
	other.ask("f", "octet")
	for !slices.ContainsFunc(r.tree.requests(), func(q Request) bool { return q.Client.Addr() == other.udpAddr() }) {
		other.silence(time.Millisecond)
	}
	close(r.tree.gate)
	if got := other.rest(512); !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
}
