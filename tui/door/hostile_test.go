package door

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
	"picloud/tui"
)

func noise(r *rand.Rand, n int, without string) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		if c := byte(r.Uint32()); strings.IndexByte(without, c) < 0 {
			b = append(b, c)
		}
	}
	return b
}

// TestNoiseBeforeLogin writes a megabyte of anything to the port.
func TestNoiseBeforeLogin(t *testing.T) {
	w := serve(t, 1, Limits{Burst: 1000}, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		nc, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		if i%2 == 1 {
			_, _ = io.WriteString(nc, "SSH-2.0-noise\r\n")
		}
		_, _ = nc.Write(noise(r, 1<<16, ""))
		_, _ = io.Copy(io.Discard, nc)
		nc.Close()
	}
	w.dial(w.operator("alice", engine.RoleOperator))
}

// TestNoiseAsKeys types a megabyte of anything into a console, without the
// keys that leave it, while its terminal changes its size. Whatever the console
// does of it has passed its guard.
func TestNoiseAsKeys(t *testing.T) {
	w := serve(t, 60, Limits{Input: 1 << 30}, nil)
	s := w.console(w.dial(w.operator("alice", engine.RoleAdmin)))
	r := rand.New(rand.NewPCG(3, 4))
	total := 1 << 20
	if testing.Short() {
		total = 1 << 17
	}
	for sent := 0; sent < total; sent += 8192 {
		if _, err := s.keys.Write(noise(r, 8192, "\x03q")); err != nil {
			t.Fatalf("the console ended after %d bytes: %v, stderr %q, log %s", sent, err, s.errs, w.log)
		}
		if err := s.se.WindowChange(r.IntN(1<<r.IntN(31)), r.IntN(1<<r.IntN(31))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.se.WindowChange(24, 80); err != nil {
		t.Fatal(err)
	}
	before := len(s.out.String())
	s.press("\x1b\x1b\x1b1")
	if !eventually(func() bool { return len(s.out.String()) > before }) {
		t.Error("it draws no more")
	}
	done, asked, bad := w.rack.commands()
	t.Logf("%d commands, %d accepted", len(asked), len(done))
	for _, b := range bad {
		t.Error(b)
	}
	if strings.Contains(w.log.String(), "panic") {
		t.Errorf("log: %s", w.log)
	}
}

// TestNoiseThatLeaves types anything at all, into one console after another.
func TestNoiseThatLeaves(t *testing.T) {
	w := serve(t, 10, Limits{Input: 1 << 30, PerOperator: 20}, nil)
	key := w.operator("alice", engine.RoleAdmin)
	c := w.dial(key)
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		s := open(t, c, 80, 24)
		if err := s.se.Shell(); err != nil {
			t.Fatal(err)
		}
		_, _ = s.keys.Write(noise(r, 4096, ""))
		_, _ = s.keys.Write(bytes.Repeat([]byte("\x1b\x03"), 20))
		s.exit()
	}
	if _, _, bad := w.rack.commands(); len(bad) > 0 || strings.Contains(w.log.String(), "panic") {
		t.Errorf("%v, log: %s", bad, w.log)
	}
}

// TestNoiseInSessions sends requests of anything on channels of anything.
func TestNoiseInSessions(t *testing.T) {
	w := serve(t, 10, Limits{}, nil)
	c := w.dial(w.operator("alice", engine.RoleAdmin))
	r := rand.New(rand.NewPCG(7, 8))
	for range 50 {
		ch, reqs, err := c.OpenChannel("session", noise(r, r.IntN(50), ""))
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		go io.Copy(io.Discard, ch)
		for range 20 {
			var kinds []string
			for kind := range requests {
				kinds = append(kinds, kind)
			}
			kind := kinds[r.IntN(len(kinds))]
			if kind == "shell" {
				continue
			}
			if _, err := ch.SendRequest(kind, r.IntN(2) == 0, noise(r, r.IntN(60), "")); err != nil {
				break // a request ended it
			}
		}
		ch.Close()
	}
	if strings.Contains(w.log.String(), "panic") {
		t.Errorf("log: %s", w.log)
	}
}

func TestClamp(t *testing.T) {
	for _, tt := range []struct {
		w, h uint32
		want tui.Size
	}{{0, 0, defaultSize}, {1, 1, tui.Size{Width: 1, Height: 1}}, {1<<32 - 1, 1<<32 - 1, tui.Size{Width: maxWidth, Height: maxHeight}}, {0, 50, tui.Size{Width: 80, Height: 50}}} {
		if got := clamp(tt.w, tt.h); got != tt.want {
			t.Errorf("%d %d: %v", tt.w, tt.h, got)
		}
	}
}

// openSSHModes are the modes that OpenSSH 9.2 sends from a Debian terminal,
// shortened; ours turn everything off.
const openSSHModes = "\x81\x00\x00\x96\x00\x80\x00\x00\x96\x00\x01\x00\x00\x00\x03\x24\x00\x00\x00\x01\x32\x00\x00\x00\x01\x33\x00\x00\x00\x01\x35\x00\x00\x00\x01\x48\x00\x00\x00\x01\x00"

func TestModes(t *testing.T) {
	all := lineMode{true, true, true, true, true}
	for text, want := range map[string]lineMode{
		"":                         all,
		"\x00":                     all,
		openSSHModes[10:]:          all,
		"\x35\x00\x00\x00\x00\x00": {true, false, true, true, true},
		"\x24\x00\x00\x00\x00\x32\x00\x00\x00\x00\x33\x00\x00\x00\x00\x35\x00\x00\x00\x00\x48\x00\x00\x00\x00": {},
		"\x35\x00\x00":                         all,
		"\xff\x00\x00\x00\x00\x35\x00\x00\x00": all,
	} {
		if got := parseModes([]byte(text)); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(ssh.Marshal(struct {
		T          string
		A, B, C, D uint32
		M          string
	}{"xterm", 80, 24, 0, 0, openSSHModes}))
	f.Add(ssh.Marshal(struct{ N, V string }{"LANG", "C.UTF-8"}))
	f.Add(ssh.Marshal(struct{ A, B, C, D uint32 }{1 << 31, 0, 7, 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if term, err := parseTerminal(b); err == nil {
			if term.size.Width < 1 || term.size.Width > maxWidth || term.size.Height < 1 || term.size.Height > maxHeight || len(term.name) > maxTerm {
				t.Errorf("%+v", term)
			}
		}
		if v, err := parseEnv(b); err == nil && (len(v) > 200 || strings.ContainsAny(v, "\x00\x1b\n")) {
			t.Errorf("%q", v)
		}
		_, _ = parseSize(b)
		_, _ = parseString(b)
	})
}
