package sshprobe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

var identifications = []struct {
	name, in, want string
	err            error
}{
	{"debian", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", nil},
	{"no carriage return", "SSH-2.0-dropbear_2022.83\n", "SSH-2.0-dropbear_2022.83", nil},
	{"old and new", "SSH-1.99-Cisco-1.25\r\n", "SSH-1.99-Cisco-1.25", nil},
	{"lines before it", "Welcome\r\nto the Pi\r\nSSH-2.0-x\r\n", "SSH-2.0-x", nil},
	{"more behind it", "SSH-2.0-x\r\n\x00\x00\x05", "SSH-2.0-x", nil},
	{"longest", "SSH-2.0-" + strings.Repeat("a", 245) + "\r\n", "SSH-2.0-" + strings.Repeat("a", 245), nil},
	{"too long", "SSH-2.0-" + strings.Repeat("a", 246) + "\r\n", "", ErrNotSSH},
	{"version 1", "SSH-1.5-old\r\n", "", ErrNotSSH},
	{"no software", "SSH-2.0-\r\n", "", ErrNotSSH},
	{"no software but a comment", "SSH-2.0- x\r\n", "", ErrNotSSH},
	{"escape", "SSH-2.0-x \x1b[2J\r\n", "", ErrNotSSH},
	{"not ascii", "SSH-2.0-\xc3\xa9\r\n", "", ErrNotSSH},
	{"http", "HTTP/1.1 400 Bad Request\r\n\r\n", "", io.ErrUnexpectedEOF},
	{"nothing", "", "", io.ErrUnexpectedEOF},
	{"cut off", "SSH-2.0-Open", "", ErrNotSSH},
	{"endless lines", strings.Repeat("\n", 10_000), "", ErrNotSSH},
	{"endless line", strings.Repeat("x", 10_000), "", ErrNotSSH},
}

func TestReadIdentification(t *testing.T) {
	for _, test := range identifications {
		t.Run(test.name, func(t *testing.T) {
			got, err := readIdentification(iotest.OneByteReader(strings.NewReader(test.in)))
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func FuzzReadIdentification(f *testing.F) {
	for _, test := range identifications {
		f.Add([]byte(test.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readIdentification(strings.NewReader(string(b)))
		if (err == nil) != (got != "") || len(got) > 254 || strings.ContainsAny(got, "\x00\x1b\r\n") {
			t.Fatalf("%q %v", got, err)
		}
	})
}

// serve answers each connection with answer and returns where and from whom.
func serve(t *testing.T, answer string) (netip.AddrPort, <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.64.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	from := make(chan string, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from <- c.RemoteAddr().(*net.TCPAddr).IP.String()
			if answer != "" {
				io.WriteString(c, answer)
				c.Close()
			} else {
				t.Cleanup(func() { c.Close() })
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), from
}

func TestProbe(t *testing.T) {
	addr, from := serve(t, "SSH-2.0-test\r\n")
	banner, err := ProbeFrom(t.Context(), netip.MustParseAddr("127.64.0.1"), addr)
	if banner != "SSH-2.0-test" || err != nil {
		t.Errorf("%q, %v", banner, err)
	}
	if src := <-from; src != "127.64.0.1" {
		t.Errorf("from %s", src)
	}
	if banner, err = Probe(t.Context(), addr); banner != "SSH-2.0-test" || err != nil {
		t.Errorf("%q, %v", banner, err)
	}
}

func TestProbeRefusedAndSilent(t *testing.T) {
	l, err := net.Listen("tcp4", "127.64.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	if _, err := Probe(t.Context(), closed); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: %v", err)
	}
	silent, _ := serve(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Probe(ctx, silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent server: %v", err)
	}
}

func target(i int) Target {
	return Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 64, byte(i >> 6), byte(i<<2 | 2)}), 22)}
}

func TestProberSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		reports := map[Target][]time.Duration{}
		begin := time.Now()
		p := NewProber(Config{Every: 10 * time.Second, Parallel: 3,
			probe: func(ctx context.Context, _ netip.Addr, _ netip.AddrPort) (string, error) {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				defer func() { mu.Lock(); running--; mu.Unlock() }()
				select {
				case <-ctx.Done():
					return "", ctx.Err()
				case <-time.After(time.Second):
					return "SSH-2.0-x", nil
				}
			},
			Report: func(r Result) {
				mu.Lock()
				defer mu.Unlock()
				reports[r.Target] = append(reports[r.Target], r.Time.Sub(begin))
			}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		var all []Target
		for i := range 7 {
			all = append(all, target(i))
		}
		p.Set(all)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		mu.Lock()
		for i, tgt := range all {
			first := time.Duration(i/3) * time.Second
			if got := reports[tgt]; len(got) != 2 || got[0] != first || got[1] != first+10*time.Second {
				t.Errorf("target %d probed at %v", i, got)
			}
		}
		if most != 3 {
			t.Errorf("%d at once", most)
		}
		mu.Unlock()

		// A target that goes in mid-probe is not reported; those that stay keep their turn.
		time.Sleep(5500 * time.Millisecond)
		p.Set(all[1:2])
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		if got := reports[all[0]]; len(got) != 2 {
			t.Errorf("a removed target was reported: %v", got)
		}
		if got := reports[all[1]]; len(got) != 4 || got[2] != 20*time.Second {
			t.Errorf("a target that stayed was probed at %v", got)
		}
		mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestProberReal(t *testing.T) {
	addr, _ := serve(t, "SSH-2.0-real\r\n")
	got := make(chan Result, 16)
	p := NewProber(Config{Report: func(r Result) { got <- r }})
	p.Set([]Target{{Addr: addr}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	if r := <-got; r.Banner != "SSH-2.0-real" || r.Err != nil || r.Addr != addr {
		t.Errorf("%+v", r)
	}
	cancel()
	<-done
}
