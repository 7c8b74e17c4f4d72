//go:build netns

package daemon_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"picloud/engine/config"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
	"picloud/hw/sim/netns"
	"picloud/hw/sim/pi"
	"picloud/netboot/dhcp/wire"
)

const servePis = 5 // the mixture of a rack has all four families in five

// TestServe runs the real program in a network namespace: `picloud serve`
// boots a simulated Pi of each family over real broadcasts on port 67 and TFTP
// on 69, one segment each; reads its configuration again at SIGHUP; and ends
// cleanly at SIGTERM without switching a Pi off. It needs root.
func TestServe(t *testing.T) {
	names := make([]string, servePis)
	for i := range names {
		names[i] = fmt.Sprintf("seg%d", i)
	}
	top, err := netns.NewTopology(names...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	})
	rack := netnsRack(t, top)
	offers := captureOffers(t, top)
	path := netnsConfig(t, top, rack)
	s := startServe(t, top, path)

	pis := map[string]bool{}
	families := map[string]bool{}
	for _, p := range rack.Inventory().Pis {
		pis[p.Name], families[p.Model] = false, true
	}
	if len(families) != 4 {
		t.Fatalf("families %v, want all four", families)
	}
	s.await(t, "every Pi up", 150*time.Second, func(l logLine) bool {
		if strings.HasPrefix(l.Msg, "deploy ok") {
			pis[l.Pi] = true
		}
		if strings.Contains(l.Msg, "stalled") || strings.Contains(l.Msg, "failed") {
			t.Errorf("%s: %s", l.Pi, l.Msg)
		}
		for _, up := range pis {
			if !up {
				return false
			}
		}
		return true
	})
	offers.check(t, top)

	s.signal(t, syscall.SIGHUP)
	s.await(t, "reloaded", 10*time.Second, func(l logLine) bool { return l.Msg == "reloaded" })

	start := time.Now()
	s.signal(t, syscall.SIGTERM)
	if err := s.wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}
	for _, p := range rack.Inventory().Pis {
		sw, err := rack.Switch(p.Switch)
		if err != nil {
			t.Fatal(err)
		}
		if !sw.Delivering(p.Port) {
			t.Errorf("%s has lost its power with the service", p.Name)
		}
	}
}

// netnsRack is a rack whose Pis are in namespaces of their own, and whose
// switches answer in the server's.
func netnsRack(t *testing.T, top *netns.Topology) *sim.Rack {
	t.Helper()
	return netnsRackOf(t, top, servePis)
}

func netnsRackOf(t *testing.T, top *netns.Topology, pis int) *sim.Rack {
	t.Helper()
	rack, err := sim.New(sim.Config{
		Seed: 3, Pis: pis, Speed: 1, Rented: -1, BaseNet: netns.BaseNet(),
		NIC: func(w sim.Wire) (pi.NIC, error) {
			return pi.NewNetNS(top.Segments[w.Index].NS, netns.PiInterface, w.Board.MAC)
		},
		Listen: func() (c net.PacketConn, err error) {
			err = top.Do(func() error {
				c, err = net.ListenPacket("udp4", "127.0.0.1:0")
				return err
			})
			return c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- rack.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("rack: %v", err)
		}
	})
	return rack
}

// netnsConfig writes what staff would: every default, but for what the rack is.
func netnsConfig(t *testing.T, top *netns.Topology, rack *sim.Rack) string {
	t.Helper()
	dir := t.TempDir()
	cfg := demo.Configure(rack.Inventory(), filepath.Join(dir, "state"), 1, demo.ClientPorts{})
	def := config.Default()
	cfg.DHCP, cfg.TFTP, cfg.NFS, cfg.SSH = def.DHCP, def.TFTP, def.NFS, def.SSH
	cfg.SSH.Every = time.Second
	cfg.NFS.Driver = config.NFSDemo
	for i := range cfg.Segments {
		cfg.Segments[i].Interface = top.Segments[i].ServerInterface
	}
	writeCredentials(t, dir, cfg)
	return writeConfig(t, dir, cfg)
}

// logLine is what the test reads of the service's log.
type logLine struct{ Level, Msg, Pi, Err string }

type served struct {
	cmd   *exec.Cmd
	lines chan logLine
}

func startServe(t *testing.T, top *netns.Topology, path string) *served {
	t.Helper()
	program := filepath.Join(t.TempDir(), "picloud")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "picloud").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s := &served{lines: make(chan logLine, 10000)}
	// A /run of its own, for the portmapper's socket.
	s.start(t, exec.CommandContext(t.Context(), "ip", "netns", "exec", top.ServerNamespace, "unshare", "--mount", "--propagation", "private",
		"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$0" serve --config "$1"`, program, path))
	return s
}

func (s *served) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	s.cmd = cmd
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(out)
}

func (s *served) read(out io.Reader) {
	defer close(s.lines)
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		var l logLine
		if json.Unmarshal(scan.Bytes(), &l) != nil {
			l = logLine{Level: "RAW", Msg: scan.Text()}
		}
		s.lines <- l
	}
}

func (s *served) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (s *served) wait() error {
	for range s.lines {
	}
	return s.cmd.Wait()
}

func (s *served) await(t *testing.T, what string, limit time.Duration, cond func(logLine) bool) {
	t.Helper()
	end := time.After(limit)
	var seen []logLine
	for {
		select {
		case l, ok := <-s.lines:
			if !ok {
				t.Fatalf("the service ended before: %s: %v", what, seen)
			}
			seen = append(seen, l)
			if cond(l) {
				return
			}
		case <-end:
			t.Fatalf("never: %s: %v", what, seen)
		}
	}
}

// offerCapture keeps the frames from port 67 that left on each segment.
type offerCapture struct {
	mu     sync.Mutex
	frames map[string][][]byte // by the server's interface
}

func captureOffers(t *testing.T, top *netns.Topology) *offerCapture {
	t.Helper()
	c := &offerCapture{frames: map[string][][]byte{}}
	for _, seg := range top.Segments {
		var conn *packet.Conn
		err := top.Do(func() error {
			ifi, err := net.InterfaceByName(seg.ServerInterface)
			if err != nil {
				return err
			}
			conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.read(conn, seg.ServerInterface)
		}()
		t.Cleanup(func() {
			_ = conn.Close()
			<-done
		})
	}
	return c
}

// Offsets in an Ethernet frame with an IPv4 header without options.
const (
	offIPSource = 14 + 12
	offIPDest   = 14 + 16
	offUDPPort  = 14 + 20
	offBOOTP    = 14 + 20 + 8
)

func (c *offerCapture) read(conn *packet.Conn, device string) {
	buf := make([]byte, 2000)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		f := buf[:n]
		if n > offBOOTP+240 && f[12] == 8 && f[13] == 0 && f[23] == 17 && f[offUDPPort] == 0 && f[offUDPPort+1] == 67 {
			c.mu.Lock()
			c.frames[device] = append(c.frames[device], bytes.Clone(f))
			c.mu.Unlock()
		}
	}
}

// check wants at least one OFFER on each segment, all with the bytes that the
// boot ROMs need and the segment's own server address as source.
func (c *offerCapture) check(t *testing.T, top *netns.Topology) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seg := range top.Segments {
		offers := 0
		for _, f := range c.frames[seg.ServerInterface] {
			opts := dhcpOptions(f[offBOOTP+240:])
			if len(opts[53]) != 1 || opts[53][0] != 2 {
				continue
			}
			offers++
			server := seg.Server.Addr().AsSlice()
			text := []byte(seg.Server.Addr().String())
			for what, pair := range map[string][2][]byte{
				"source address":     {f[offIPSource : offIPSource+4], server},
				"destination":        {f[offIPDest : offIPDest+4], {255, 255, 255, 255}},
				"yiaddr":             {f[offBOOTP+16 : offBOOTP+20], seg.Pi.AsSlice()},
				"siaddr":             {f[offBOOTP+20 : offBOOTP+24], server},
				"54 server":          {opts[54], server},
				"66 TFTP server":     {opts[66], text},
				"60 vendor class":    {opts[60], []byte("PXEClient")},
				"43 vendor options":  {opts[43], []byte(wire.VendorOptions)},
				"97 length of GUID":  {{byte(len(opts[97]))}, {17}},
				"1 network mask /30": {opts[1], {255, 255, 255, 252}},
			} {
				if !bytes.Equal(pair[0], pair[1]) {
					t.Errorf("%s: OFFER's %s is % x, want % x", seg.Name, what, pair[0], pair[1])
				}
			}
		}
		if offers == 0 {
			t.Errorf("%s: no OFFER was captured", seg.Name)
		}
	}
}

func dhcpOptions(b []byte) map[byte][]byte {
	opts := map[byte][]byte{}
	for len(b) > 2 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		n := int(b[1])
		if len(b) < 2+n {
			break
		}
		opts[b[0]] = b[2 : 2+n]
		b = b[2+n:]
	}
	return opts
}

// TestServeRefuses wants a clear error, and nothing running, when the network
// is not as the configuration says.
func TestServeRefuses(t *testing.T) {
	top, err := netns.NewTopology("seg0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = top.Close() })
	rack, err := sim.New(sim.Config{Pis: 1, BaseNet: netip.MustParseAddr("10.78.0.0")})
	if err != nil {
		t.Fatal(err)
	}
	defer rack.Close()
	s := startServe(t, top, netnsConfig(t, top, rack))
	var said []string
	for l := range s.lines {
		said = append(said, l.Msg)
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("exit %v, want status 1", err)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "10.78.0.1") {
		t.Errorf("it does not name the address that is missing: %s", text)
	}
}
