package daemon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
	"picloud/netboot/rootfs"
)

// serveEnv names the configuration that the test binary serves instead of
// running tests: the process that is killed.
const serveEnv = "PICLOUD_TEST_SERVE"

func TestMain(m *testing.M) {
	for variable, child := range map[string]func(string) error{serveEnv: serveChild, rackEnv: rackChild, doorEnv: doorChild} {
		value := os.Getenv(variable)
		if value == "" {
			continue
		}
		if err := child(value); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childPi is what the child tells of a Pi after each snapshot.
type childPi struct {
	Name, Stage, Root, Former, Server, Step, Cause string
	Job, Size                                      int64
}

// childLine is one line of the child's output: the rack, or an answer.
type childLine struct {
	Pis []childPi
	Err string
}

// serveChild runs what `picloud serve` runs, says what it sees on standard
// output and takes "VERB PI" lines on standard input.
func serveChild(path string) error {
	cfg, problems := config.Load(path, daemon.Known())
	if len(problems) > 0 {
		return problems[0]
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := daemon.Open(ctx, daemon.Options{Config: cfg, Speed: crashSpeed, Log: log})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	lines := make(chan childLine, 100)
	go func() {
		for l := range lines {
			if out.Encode(l) != nil {
				cancel()
			}
		}
	}()
	go func() {
		snapshots, stop := d.Engine().Subscribe()
		defer stop()
		for {
			select {
			case s := <-snapshots:
				lines <- childLine{Pis: childPis(s)}
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			if err := act(ctx, d.Engine(), in.Text()); err != nil {
				lines <- childLine{Err: err.Error()}
			}
		}
		cancel()
	}()
	return d.Run(ctx)
}

func childPis(s *engine.Snapshot) []childPi {
	var list []childPi
	for _, p := range s.Pis {
		c := childPi{
			Name: string(p.Name), Stage: p.Stage.String(), Root: p.Root, Former: p.Former, Server: p.Server,
			Size: p.RootVolume.Use.Size, Cause: p.Diagnosis.Cause,
		}
		if p.Job != nil {
			c.Job, c.Step = p.Job.ID, p.Job.Step
		}
		list = append(list, c)
	}
	return list
}

func act(ctx context.Context, e *engine.Engine, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	name, bytes, _ := strings.Cut(rest, " ")
	size, _ := strconv.ParseInt(bytes, 10, 64)
	p, ok := e.Snapshot().Pi(engine.PiName(name))
	if !ok {
		return fmt.Errorf("no Pi %q", name)
	}
	res, err := e.Do(ctx, engine.Command{
		Verb: engine.VerbName(verb), Actor: engine.Actor{Name: "test", Role: engine.RoleAdmin, Source: "tty"},
		Targets: []engine.Target{{Pi: p.Name, Gen: p.Gen}}, Size: size, Passed: engine.GuardName, Typed: name,
	})
	return errors.Join(err, res.Err())
}

const (
	crashSpeed = 20
	crashPis   = 2
)

// child is a serving process that can be killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    *os.File
	lines chan childLine
	last  []childPi
	// bears is a text of refusals that are not the end of the test.
	bears string
}

func startChild(t *testing.T, path string) *child {
	t.Helper()
	c := &child{t: t, lines: make(chan childLine, 1000)}
	c.cmd = exec.CommandContext(t.Context(), os.Args[0])
	c.cmd.Env = append(os.Environ(), serveEnv+"="+path)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in = in.(*os.File)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			var l childLine
			if json.Unmarshal(scan.Bytes(), &l) == nil {
				c.lines <- l
			}
		}
	}()
	return c
}

// kill ends the process as a power cut would, at once.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	for range c.lines { // drain, so that its reader ends
	}
}

func (c *child) do(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
}

// await reads until the condition holds for the Pis.
func (c *child) await(what string, cond func(pis []childPi) bool) {
	c.t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case l, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("the child ended before: %s", what)
			}
			if l.Err != "" {
				if c.bears == "" || !strings.Contains(l.Err, c.bears) {
					c.t.Fatalf("%s: %s", what, l.Err)
				}
				continue
			}
			c.last = l.Pis
			if cond(l.Pis) {
				return
			}
		case <-limit:
			c.t.Fatalf("never: %s: %+v", what, c.last)
		}
	}
}

func settledUp(pis []childPi) bool {
	for _, p := range pis {
		if p.Stage != "up" || p.Job != 0 {
			return false
		}
	}
	return len(pis) == crashPis
}

// freePort finds a port that the child can have each time it starts.
func freePort(t *testing.T) int {
	t.Helper()
	p, err := demo.FreePortsOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return int(p[0])
}

// crashRack makes a simulated rack that outlives the serving process, and the
// configuration file of that process.
func crashRack(t *testing.T, changes ...func(*config.Config)) (path, state string) {
	t.Helper()
	dir := t.TempDir()
	state = filepath.Join(dir, "state")
	rack, err := sim.New(sim.Config{Seed: 7, Pis: crashPis, Speed: crashSpeed, Rented: -1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := demo.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := demo.Configure(rack.Inventory(), state, crashSpeed, client)
	cfg.DHCP.Port, cfg.TFTP.Port, cfg.NFS.Port = freePort(t), freePort(t), freePort(t)
	cfg.Images = []config.Image{{Name: "slow", Path: slowImage(t, dir)}}
	for i := range cfg.Segments {
		cfg.Segments[i].Image = "slow"
	}
	for _, change := range changes {
		change(cfg)
	}
	writeCredentials(t, dir, cfg)
	path = writeConfig(t, dir, cfg)
	err = rack.SetPorts(sim.Ports{
		DHCPServer: uint16(cfg.DHCP.Port), DHCPClient: client.DHCP, TFTP: uint16(cfg.TFTP.Port),
		NFS: uint16(cfg.NFS.Port), SSH: client.SSH,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rack.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("rack: %v", err)
		}
	})
	return path, state
}

// writeCredentials puts what the simulated switches want to be shown into files.
func writeCredentials(t *testing.T, dir string, cfg *config.Config) {
	t.Helper()
	for i := range cfg.Switches {
		sw := &cfg.Switches[i]
		sw.CredentialsFile = filepath.Join(dir, sw.Name+".secret")
		secret := fmt.Sprintf("read_community = %q\nwrite_community = %q\n", sw.Credentials.ReadCommunity, sw.Credentials.WriteCommunity)
		if err := os.WriteFile(sw.CredentialsFile, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func writeConfig(t *testing.T, dir string, cfg *config.Config) string {
	t.Helper()
	path := filepath.Join(dir, "rack.toml")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cfg.Encode(file), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// slowImage is the built-in image with enough beside it that a clone can be
// killed in its middle.
func slowImage(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(dir, "image")
	if err := rootfs.Builtin(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for i := range 48 {
		if err := os.WriteFile(filepath.Join(image, "usr", fmt.Sprintf("block%d", i)), block, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// TestKernelThatConfigNames boots Pis whose kernel is named as Debian's are, by its
// version: it is a kernel too, and what follows it is looked at.
func TestKernelThatConfigNames(t *testing.T) {
	if testing.Short() {
		t.Skip("a service with a simulated rack")
	}
	image := daemon.DebianFolder(t)
	builtin := filepath.Join(image, "usr/lib/modules/6.1.0-1-arm64/modules.builtin")
	// An initramfs knows no ports but the usual ones, which the demo's server has not.
	if err := os.WriteFile(builtin, []byte("kernel/fs/nfs/nfs.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	path, _ := crashRack(t, func(c *config.Config) { c.Images[0].Path = image })
	c := startChild(t, path)
	defer c.kill()
	c.await("both up", settledUp)
}

// TestKilledInMidReimage kills the serving process at moments spread over a
// reimage, within and between its steps, and starts it again: each time the
// job ends, the Pi runs on its new root, and the former one is whole.
func TestKilledInMidReimage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	path, state := crashRack(t)
	c := startChild(t, path)
	defer func() { c.kill() }()
	c.await("both up", settledUp)
	name := c.last[0].Name

	for round, delay := range []time.Duration{10, 40, 90, 160, 260, 400, 700, 1200} {
		former := c.last[0].Root
		marker := filepath.Join(state, "volumes", former, "root", "marker")
		if err := os.WriteFile(marker, []byte(former), 0o600); err != nil {
			t.Fatal(err)
		}
		c.do("reimage " + name)
		c.await("the job", func(pis []childPi) bool { return pis[0].Job != 0 || pis[0].Root != former })
		time.Sleep(delay * time.Millisecond)
		c.kill()

		c = startChild(t, path)
		c.await(fmt.Sprintf("round %d: reimaged and up", round), func(pis []childPi) bool {
			return settledUp(pis) && pis[0].Root != former && pis[0].Former == former
		})
		if got, err := os.ReadFile(marker); err != nil || string(got) != former {
			t.Errorf("round %d: the former root lost a file: %q, %v", round, got, err)
		}
		host, err := os.ReadFile(filepath.Join(state, "volumes", c.last[0].Root, "etc", "hostname"))
		if err != nil || strings.TrimSpace(string(host)) != name {
			t.Errorf("round %d: host name %q, %v", round, host, err)
		}
		if n := volumes(t, state, name); n > 2 {
			t.Errorf("round %d: %d roots of %s are kept, want the present and the former", round, n, name)
		}
	}
}

func volumes(t *testing.T, state, name string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.Contains(e.Name(), name+"-") {
			n++
		}
	}
	return n
}
