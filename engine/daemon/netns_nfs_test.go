//go:build netns

package daemon_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/sim"
	"picloud/hw/sim/netns"
	"picloud/hw/sim/pi"
)

// onGanesha makes a rack's roots writable, on nfs-ganesha and btrfs.
func onGanesha(t *testing.T, path string, change func(*config.Config)) *config.Config {
	t.Helper()
	cfg := loadConfig(t, path)
	cfg.NFS.Driver, cfg.NFS.Shared = "ganesha", true
	cfg.Volumes.Driver, cfg.Volumes.DiskGB = "btrfs", 1
	change(cfg)
	rewriteConfig(t, path, cfg)
	return cfg
}

// loadConfig reads what netnsConfig wrote, without the program's checks.
func loadConfig(t *testing.T, path string) *config.Config {
	t.Helper()
	cfg, problems := config.Load(path, config.Known{})
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return cfg
}

func rewriteConfig(t *testing.T, path string, cfg *config.Config) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cfg.Encode(f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// mountBtrfs puts a file system of btrfs at a folder.
func mountBtrfs(t *testing.T, at string) {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.MkdirAll(at, 0o700), os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 4<<30)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.btrfs", "-q", disk}, {"mount", "-o", "loop", disk, at}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-R", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// readyz is what the service in the server's namespace says of itself.
func readyz(t *testing.T, top *netns.Topology, at netip.AddrPort) string {
	t.Helper()
	var text []byte
	err := top.Do(func() error {
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /readyz HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		text, err = io.ReadAll(conn)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestServeGanesha boots simulated Pis from nfs-ganesha and btrfs, through the
// program, and looks at what the Pi has on its disk. Then one Pi is taken out of
// the configuration while the program is away: its export goes with it.
func TestServeGanesha(t *testing.T) {
	top, rack, path := smallRack(t)
	cfg := onGanesha(t, path, func(cfg *config.Config) {
		mountBtrfs(t, cfg.State)
		cfg.HTTP.Listen = netip.MustParseAddrPort("127.0.0.1:9468")
		cfg.Servers = []config.Server{{
			Name: "shop", Owner: "customer 1", Pi: engine.PiName(cfg.Segments[0].Name), Address: netip.MustParsePrefix("2001:db8:77::2/64"),
		}}
	})
	enableIPv6(t, top)
	s := startServe(t, top, path)
	up := map[string]bool{}
	driver := false
	s.await(t, "both Pis up", 120*time.Second, func(l logLine) bool {
		if strings.HasPrefix(l.Msg, "deploy ok") {
			up[l.Pi] = true
		}
		if strings.Contains(l.Msg, "stalled") || strings.Contains(l.Msg, "failed") || l.Level == "ERROR" {
			t.Errorf("%s: %s", l.Pi, l.Msg)
		}
		driver = driver || l.Msg == "nfs: nfs-ganesha"
		return len(up) == len(rack.Inventory().Pis)
	})
	if text := readyz(t, top, cfg.HTTP.Listen); !strings.Contains(text, "200 OK") || !strings.Contains(text, "ok: nfs: answers\n") {
		t.Errorf("readyz: %s", text)
	}
	device := cfg.Segments[0].Interface
	for _, tt := range [][2]string{
		{"-6 route show proto 80", "2001:db8:77::2 dev " + device},
		{"-6 address show dev " + device, "inet6 fe80::1/64 scope link nodad"},
	} {
		args := append([]string{"-n", top.ServerNamespace}, strings.Fields(tt[0])...)
		out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt[1]) {
			t.Errorf("ip %s: no %q in %s (%v)", tt[0], tt[1], out, err)
		}
	}
	if !driver {
		t.Error("it does not say which NFS server it uses")
	}
	stop := func() {
		t.Helper()
		s.signal(t, syscall.SIGTERM)
		if err := s.wait(); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	}
	stop()

	gone := cfg.Segments[1]
	cfg.Segments = cfg.Segments[:1]
	rewriteConfig(t, path, cfg)
	s = startServe(t, top, path)
	s.await(t, "the export of "+gone.Name+" withdrawn", 60*time.Second, func(l logLine) bool {
		return strings.HasPrefix(l.Msg, "withdrawing an export") && l.Pi == gone.Name
	})
	home, err := rack.Pi(cfg.Segments[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); home.Counters().Reconnects == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not find its root again: %+v", cfg.Segments[0].Name, home.State())
		}
	}
	if c := home.Counters(); home.State().Stage != pi.StageUp || c.Mounts != 1 {
		t.Errorf("%s lost its root with the service: %+v %+v", cfg.Segments[0].Name, home.State(), c)
	}
	stop()
	records, err := filepath.Glob(filepath.Join(cfg.State, "nfs", "ganesha", "exports", "*.json"))
	if err != nil || len(records) != 1 {
		t.Errorf("exports %v, %v", records, err)
	}
}

// enableIPv6 gives the server's side what the topology leaves out.
func enableIPv6(t *testing.T, top *netns.Topology) {
	t.Helper()
	for _, seg := range top.Segments {
		out, err := exec.CommandContext(t.Context(), "ip", "netns", "exec", top.ServerNamespace, "sh", "-c",
			"echo 0 >/proc/sys/net/ipv6/conf/"+seg.ServerInterface+"/disable_ipv6").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// smallRack is two Pis, of which each has a namespace of its own.
func smallRack(t *testing.T) (*netns.Topology, *sim.Rack, string) {
	t.Helper()
	top, err := netns.NewTopology("seg0", "seg1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	})
	rack := netnsRackOf(t, top, len(top.Segments))
	return top, rack, netnsConfig(t, top, rack)
}

// TestServeRefusesNFS wants to be told what to install, and nothing running,
// when the NFS server that the configuration wants is not there.
func TestServeRefusesNFS(t *testing.T) {
	top, _, path := smallRack(t)
	remedy := "systemctl enable --now nfs-server"
	if _, err := exec.LookPath("exportfs"); err != nil {
		remedy = "apt install nfs-kernel-server" // which starts it, too
	}
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{"kernel", func(c *config.Config) { c.NFS.Driver = "kernel" }, []string{"knfsd", "NFS server is not available", remedy}},
		{"shared", func(c *config.Config) { c.NFS.Driver = "ganesha" }, []string{"shared = true", "lvm"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat("/proc/fs/nfsd/threads"); err == nil && tt.name == "kernel" {
				t.Skip("this kernel has an NFS server")
			}
			cfg := loadConfig(t, path)
			tt.change(cfg)
			rewriteConfig(t, path, cfg)
			s := startServe(t, top, path)
			var said []string
			for l := range s.lines {
				said = append(said, l.Msg)
			}
			var exit *exec.ExitError
			if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("exit %v, want status 1", err)
			}
			for _, want := range tt.want {
				if text := strings.Join(said, "\n"); !strings.Contains(text, want) {
					t.Errorf("no %q in: %s", want, text)
				}
			}
		})
	}
}
