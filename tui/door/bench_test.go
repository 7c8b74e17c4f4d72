package door

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"picloud/engine"
)

const (
	benchSessions = 50
	benchPis      = 1000
	benchTime     = 10 * time.Second
)

// BenchmarkConsoles has 50 people at consoles of 120x40 on a rack of 1,000 Pis,
// of which 20 change four times a second. They press a key every five seconds,
// or all of them two a second. The clients are another process. It reports this
// process's part of one core, its resident memory, and how long it takes from a
// key to its repaint.
func BenchmarkConsoles(b *testing.B) {
	for name, every := range map[string]time.Duration{"looking": 5 * time.Second, "typing": 500 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			w := serve(b, benchPis, Limits{PerOperator: benchSessions, Burst: 200, PerSource: 64, Pending: 64}, nil)
			w.people.uids[uint32(os.Getuid())] = engine.Actor{Name: "hands", Role: engine.RoleOperator}
			for b.Loop() {
				w.measure(b, every)
			}
		})
	}
}

func (w *world) measure(b *testing.B, every time.Duration) {
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestBenchClients$")
	cmd.Env = append(os.Environ(), "DOOR_CLIENTS="+w.socket, "DOOR_EVERY="+every.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(prefix string) string {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return text
			}
		}
		b.Fatalf("the clients ended: %v", cmd.Wait())
		return ""
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { w.rack.live(stop) })
	next("ready")
	runtime.GC()
	before, began := processorTime(), time.Now()
	var took struct{ P50, P99, Max time.Duration }
	if err := json.Unmarshal([]byte(next("result ")), &took); err != nil {
		b.Fatal(err)
	}
	used, wall := processorTime()-before, time.Since(began)
	memory := resident(b)
	close(stop)
	wg.Wait()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(100*used.Seconds()/wall.Seconds(), "%core")
	b.ReportMetric(float64(memory)/1e6, "MB")
	b.ReportMetric(float64(took.P50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took.P99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took.Max.Microseconds())/1000, "max-ms")
	b.ReportMetric(0, "ns/op")
}

// live changes 20 Pis four times a second.
func (r *rack) live(stop <-chan struct{}) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	random := rand.New(rand.NewPCG(1, 1))
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		r.change(func(s *engine.Snapshot) {
			for range 20 {
				p := &s.Pis[random.IntN(len(s.Pis))]
				p.Stage, p.Since, p.Milliwatts = engine.Stage(random.IntN(7)), time.Now(), 1000+random.IntN(3000)
			}
		})
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is this process's memory in bytes.
func resident(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(text), &total, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestBenchClients is BenchmarkConsoles' other process.
func TestBenchClients(t *testing.T) {
	socket := os.Getenv("DOOR_CLIENTS")
	if socket == "" {
		t.Skip("part of BenchmarkConsoles")
	}
	every, err := time.ParseDuration(os.Getenv("DOOR_EVERY"))
	if err != nil {
		t.Fatal(err)
	}
	var people []*person
	for range benchSessions {
		people = append(people, newPerson(t, socket))
	}
	time.Sleep(2 * time.Second)
	fmt.Println("\nready")
	var wg sync.WaitGroup
	end := time.Now().Add(benchTime)
	for i, p := range people {
		wg.Go(func() { p.work(end, every, rand.New(rand.NewPCG(2, uint64(i)))) })
	}
	wg.Wait()
	var all []time.Duration
	for _, p := range people {
		all = append(all, p.took...)
	}
	slices.Sort(all)
	text, err := json.Marshal(map[string]time.Duration{"P50": all[len(all)/2], "P99": all[len(all)*99/100], "Max": all[len(all)-1]})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nresult %s\n", text)
}

// person is one client at a console.
type person struct {
	keys io.Writer
	mu   sync.Mutex
	sent time.Time // of a key whose repaint has not come
	took []time.Duration
}

// Write takes the repaints. One that moves the table's cursor has its mark; what
// else changes on the screen has not.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.sent.IsZero() && bytes.ContainsRune(b, '>') {
		p.took = append(p.took, time.Since(p.sent))
		p.sent = time.Time{}
	}
	return len(b), nil
}

func newPerson(t *testing.T, socket string) *person {
	t.Helper()
	c := dialSocket(t, socket)
	se, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{}
	se.Stdout = p
	if p.keys, err = se.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := se.RequestPty("xterm-256color", 40, 120, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := se.Shell(); err != nil {
		t.Fatal(err)
	}
	return p
}

// work moves the cursor down and up, at moments that have nothing to do with the
// server's frames.
func (p *person) work(end time.Time, every time.Duration, r *rand.Rand) {
	for i := 0; time.Now().Before(end); i++ {
		time.Sleep(every/2 + time.Duration(r.Int64N(int64(every))))
		p.mu.Lock()
		p.sent = time.Now()
		p.mu.Unlock()
		_, _ = io.WriteString(p.keys, "jk"[i%2:i%2+1])
	}
}
