package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
)

// rackEnv and doorEnv make the test binary the two other processes of
// BenchmarkServiceConsoles: the hardware, and the service that is measured.
const (
	rackEnv = "PICLOUD_TEST_RACK" // a folder, for the configuration and the state
	doorEnv = "PICLOUD_TEST_DOOR" // the configuration file
)

const (
	loadPis     = 1000
	loadPeople  = 50
	loadSpeed   = 20 // of the firmware, so that the rack is up soon
	loadTime    = 20 * time.Second
	loadStarted = 10 * time.Minute // for the rack to come up
)

// rackChild is the hardware: it writes the configuration of the service, and
// runs until its standard input ends.
func rackChild(dir string) error {
	// A rack takes nothing of the service's processor.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 10); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	rack, err := sim.New(sim.Config{Seed: 11, Pis: loadPis, Speed: loadSpeed})
	if err != nil {
		return err
	}
	client, err := demo.FreePorts(ctx)
	if err != nil {
		return err
	}
	cfg := demo.Configure(rack.Inventory(), filepath.Join(dir, "state"), loadSpeed, client)
	cfg.DHCP.Port, cfg.TFTP.Port, cfg.NFS.Port = unusedPort(), unusedPort(), unusedPort()
	cfg.Console = config.Console{
		Socket: filepath.Join(dir, "sock"), Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(unusedPort())),
	}
	cfg.HTTP = config.HTTP{}
	// What the service does of itself is as in a real rack, not hastened.
	def := config.Default()
	cfg.SSH.Every = def.SSH.Every
	for i := range cfg.Switches {
		sw := &cfg.Switches[i]
		sw.Poll = config.DefaultSwitch().Poll
		sw.CredentialsFile = filepath.Join(dir, sw.Name+".secret")
		secret := fmt.Sprintf("read_community = %q\nwrite_community = %q\n", sw.Credentials.ReadCommunity, sw.Credentials.WriteCommunity)
		if err := os.WriteFile(sw.CredentialsFile, []byte(secret), 0o600); err != nil {
			return err
		}
	}
	file, err := os.Create(filepath.Join(dir, "rack.toml"))
	if err != nil {
		return err
	}
	if err := errors.Join(cfg.Encode(file), file.Close()); err != nil {
		return err
	}
	err = rack.SetPorts(sim.Ports{
		DHCPServer: uint16(cfg.DHCP.Port), DHCPClient: client.DHCP, TFTP: uint16(cfg.TFTP.Port), NFS: uint16(cfg.NFS.Port), SSH: client.SSH,
	})
	if err != nil {
		return err
	}
	fmt.Println(readyLine, cfg.Console.Listen)
	return rack.Run(ctx)
}

// readyLine is what a child says when it can be used.
const readyLine = "ready"

// unusedPort is a port that nothing holds now, below those that the system gives
// out by itself.
func unusedPort() int {
	for {
		port := 20000 + rand.IntN(12000)
		tcp, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			continue
		}
		_ = tcp.Close()
		return port
	}
}

// doorChild is the service, until its standard input ends.
func doorChild(path string) error {
	cfg, problems := config.Load(path, daemon.Known())
	if len(problems) > 0 {
		return problems[0]
	}
	daemon.LeanMemory()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	d, err := daemon.Open(ctx, daemon.Options{Config: cfg, Speed: loadSpeed, Door: true})
	if err != nil {
		return err
	}
	fmt.Println(readyLine)
	return d.Run(ctx)
}

// startLoad starts this binary as another process and waits until it is ready.
func startLoad(b *testing.B, variable, value string) (pid int, said string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+value)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), readyLine) {
		b.Fatalf("%s: %q", variable, lines.Text())
	}
	return cmd.Process.Pid, strings.TrimPrefix(lines.Text(), readyLine+" ")
}

// loadBench is the rack, its service and the people at it.
type loadBench struct {
	b      *testing.B
	pid    int // of the service
	addr   string
	admin  *ssh.Client
	people []*watcher
}

// BenchmarkServiceConsoles measures the service of a simulated rack of 1,000
// Pis, which is another process, and the consoles of 120x40 that 50 people have
// open over SSH, each with a key of their own: first with nobody there, then
// with all of them looking (a key in five seconds), then typing (two a second),
// and then with one client suspended. It reports the service's part of one
// core, its resident memory, and how long it takes from a key to its repaint.
func BenchmarkServiceConsoles(b *testing.B) {
	l := newLoad(b)
	l.awaitUp()
	b.Run("nobody", func(b *testing.B) { l.measure(b, nil, time.Second) })
	for range loadPeople {
		l.people = append(l.people, l.newWatcher())
	}
	time.Sleep(3 * time.Second) // the first frames
	b.Run("looking", func(b *testing.B) { l.measure(b, l.people, 5*time.Second) })
	b.Run("typing", func(b *testing.B) { l.measure(b, l.people, 500*time.Millisecond) })
	l.people[0].conn.suspend()
	b.Run("one-suspended", func(b *testing.B) { l.measure(b, l.people[1:], 500*time.Millisecond) })
}

func newLoad(b *testing.B) *loadBench {
	dir := b.TempDir()
	l := &loadBench{b: b}
	_, l.addr = startLoad(b, rackEnv, dir)
	l.pid, _ = startLoad(b, doorEnv, filepath.Join(dir, "rack.toml"))
	nc, err := net.Dial("unix", filepath.Join(dir, "sock"))
	if err != nil {
		b.Fatal(err)
	}
	c, chans, reqs, err := ssh.NewClientConn(nc, "socket", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}) //nolint:gosec // it is this benchmark's own
	if err != nil {
		b.Fatal(err)
	}
	l.admin = ssh.NewClient(c, chans, reqs)
	b.Cleanup(func() { _ = l.admin.Close() })
	return l
}

func (l *loadBench) command(line string) []byte {
	l.b.Helper()
	se, err := l.admin.NewSession()
	if err != nil {
		l.b.Fatal(err)
	}
	defer se.Close()
	out, err := se.Output(line)
	if err != nil {
		l.b.Fatalf("%s: %v", line, err)
	}
	return out
}

// awaitUp waits until every Pi is up and every first deployment is over.
func (l *loadBench) awaitUp() {
	l.b.Helper()
	for end := time.Now().Add(loadStarted); ; time.Sleep(2 * time.Second) {
		var rack struct {
			Counts struct{ Up int }
			Jobs   int
		}
		if err := json.Unmarshal(l.command("rack --json"), &rack); err != nil {
			l.b.Fatal(err)
		}
		if rack.Counts.Up == loadPis && rack.Jobs == 0 {
			return
		}
		if time.Now().After(end) {
			l.b.Fatalf("%d of %d Pis are up, %d jobs run", rack.Counts.Up, loadPis, rack.Jobs)
		}
	}
}

func (l *loadBench) measure(b *testing.B, people []*watcher, every time.Duration) {
	for b.Loop() {
		before, began := processorTimeOf(b, l.pid), time.Now()
		end := began.Add(loadTime)
		var wg sync.WaitGroup
		for i, p := range people {
			p.took = nil
			wg.Go(func() { p.work(end, every, rand.New(rand.NewPCG(2, uint64(i)))) })
		}
		wg.Wait()
		time.Sleep(time.Until(end))
		used, wall := processorTimeOf(b, l.pid)-before, time.Since(began)
		b.ReportMetric(100*used.Seconds()/wall.Seconds(), "%core")
		b.ReportMetric(float64(residentOf(b, l.pid))/1e6, "MB")
		reportLatency(b, people)
	}
	b.ReportMetric(0, "ns/op")
}

func reportLatency(b *testing.B, people []*watcher) {
	var all []time.Duration
	for _, p := range people {
		p.mu.Lock()
		all = append(all, p.took...)
		p.mu.Unlock()
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(milliseconds(all[len(all)/2]), "p50-ms")
	b.ReportMetric(milliseconds(all[len(all)*99/100]), "p99-ms")
	b.ReportMetric(milliseconds(all[len(all)-1]), "max-ms")
	b.ReportMetric(float64(len(all)), "keys")
}

// processorTimeOf is what a process has used, of proc_pid_stat(5), whose unit is
// a hundredth of a second.
func processorTimeOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int64
	if fields := strings.Fields(rest); len(fields) > 12 {
		_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	}
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func residentOf(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(text), &total, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// watcher is one person's client at a console.
type watcher struct {
	conn *stoppable
	keys io.Writer
	mu   sync.Mutex
	sent time.Time // of a key whose repaint has not come
	took []time.Duration
}

// Write takes the repaints. One that moves the table's cursor has its mark; what
// else changes on the screen has not.
func (p *watcher) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.sent.IsZero() && bytes.ContainsRune(text, '>') {
		p.took = append(p.took, time.Since(p.sent))
		p.sent = time.Time{}
	}
	return len(text), nil
}

func (l *loadBench) newWatcher() *watcher {
	b := l.b
	b.Helper()
	signer := newSigner(b)
	name := fmt.Sprintf("op%d", len(l.people))
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	l.command(fmt.Sprintf("operator add %s --role %s --key '%s'", name, engine.RoleOperator, key))
	nc, err := net.Dial("tcp", l.addr)
	if err != nil {
		b.Fatal(err)
	}
	p := &watcher{conn: &stoppable{Conn: nc, going: make(chan struct{})}}
	close(p.conn.going)
	c, chans, reqs, err := ssh.NewClientConn(p.conn, l.addr, &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // it is this benchmark's own
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = nc.Close() })
	se, err := ssh.NewClient(c, chans, reqs).NewSession()
	if err != nil {
		b.Fatal(err)
	}
	se.Stdout = p
	if p.keys, err = se.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(se.RequestPty("xterm-256color", 40, 120, ssh.TerminalModes{}), se.Shell()); err != nil {
		b.Fatal(err)
	}
	return p
}

// work moves the cursor down and up, at moments that have nothing to do with the
// server's frames.
func (p *watcher) work(end time.Time, every time.Duration, r *rand.Rand) {
	for i := 0; ; i++ {
		wait := every/2 + time.Duration(r.Int64N(int64(every)))
		if time.Now().Add(wait).After(end) {
			return
		}
		time.Sleep(wait)
		p.mu.Lock()
		p.sent = time.Now()
		p.mu.Unlock()
		_, _ = io.WriteString(p.keys, "jk"[i%2:i%2+1])
	}
}

// stoppable is a connection of a client that can be suspended: it then reads
// nothing any more.
type stoppable struct {
	net.Conn
	mu    sync.Mutex
	going chan struct{} // closed while it goes on
}

func (c *stoppable) suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.going = make(chan struct{})
}

func (c *stoppable) Read(p []byte) (int, error) {
	c.mu.Lock()
	going := c.going
	c.mu.Unlock()
	<-going
	return c.Conn.Read(p)
}
