package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
)

// watching runs watch while f acts, and returns what it printed.
func watching(b *bench, line string, f func()) ran {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	s := session(split(line)...)
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	code := make(chan int)
	go func() { code <- Run(ctx, b.e, s) }()
	time.Sleep(time.Second)
	f()
	time.Sleep(2 * time.Second)
	stop()
	return ran{<-code, out.String(), errs.String()}
}

func TestWatch(t *testing.T) {
	rackTest(t, func(b *bench) {
		r := watching(b, "watch", func() {
			b.must("pi cycle a3-005 --yes --wait")
			b.must("pi cycle a3-003 --yes")
			time.Sleep(2 * time.Minute)
			b.must("pi off a3-006 --yes --wait")
		})
		if r.code != 0 || r.err != "" {
			t.Errorf("exit %d: %s", r.code, r.err)
		}
		golden(t, "watch", r.out)
	})
}

func TestWatchOnePiAsJSON(t *testing.T) {
	rackTest(t, func(b *bench) {
		r := watching(b, "watch --pi a3-005 --json", func() {
			b.must("pi cycle a3-006 --yes --wait")
			b.must("pi cycle a3-005 --yes --wait")
		})
		golden(t, "watch-json", r.out)
		for line := range strings.Lines(r.out) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if e["version"] != float64(1) || e["event"] != "start" && e["pi"] != "a3-005" {
				t.Errorf("%s", line)
			}
		}
	})
}

// TestWatchReadSlowlyMissesNoLine stalls the reader while more happens than a
// snapshot keeps of the log.
func TestWatchReadSlowlyMissesNoLine(t *testing.T) {
	rackTest(t, func(b *bench) {
		ctx, stop := context.WithCancel(b.t.Context())
		out, in := io.Pipe()
		s := session("watch")
		s.Stdout = in
		code := make(chan int)
		go func() { code <- Run(ctx, b.e, s) }()
		synctest.Wait() // it stands in the write of its first line
		for range 80 {
			b.must("pi ready a3-008 --wait")
			b.must("pi broken a3-008 --yes --wait")
		}
		var mu sync.Mutex
		var got bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			buf := make([]byte, 4096)
			for {
				n, err := out.Read(buf)
				mu.Lock()
				got.Write(buf[:n])
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		time.Sleep(5 * time.Second)
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit %d", c)
		}
		in.Close()
		<-read
		if n := strings.Count(got.String(), "ready ok in"); n != 80 {
			t.Errorf("%d of 80 acts were told", n)
		}
	})
}

func TestWatchTellsASilentSwitch(t *testing.T) {
	rackTest(t, func(b *bench) {
		r := watching(b, "watch --pi a3-005", func() {
			b.e.Observe(engine.Observation{Time: time.Now(), Switch: &engine.SwitchReading{Switch: "sw1", Err: "no answer within 2s"}})
			time.Sleep(500 * time.Millisecond)
		})
		if !strings.Contains(r.out, "a3-005 sw1/5 ? unknown: the switch has not answered") || !strings.Contains(r.out, "a3-005 sw1/5 . up:") {
			t.Errorf("printed:\n%s", r.out)
		}
	})
}
