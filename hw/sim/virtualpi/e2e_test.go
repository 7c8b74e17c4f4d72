//go:build e2e

package virtualpi

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/hw/sim/netns"
	"picloud/hw/sim/pi"
	"picloud/hw/volume/folder"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/image"
	"picloud/netboot/rootfs/netbootable"
)

// needed are the host's programs, and the Debian package of each.
var needed = []struct{ program, from string }{
	{"mmdebstrap", "mmdebstrap"}, {models[X86].emulator, models[X86].debian}, {"ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs"},
	{"rpcbind", "rpcbind"}, {"dbus-daemon", "dbus"}, {"ssh", "openssh-client"}, {"ssh-keygen", "openssh-client"}, {"ip", "iproute2"}, {"unshare", "util-linux"},
}

const (
	hostName   = "p01"
	exportPath = "/srv/pi/p01"
	// Emulated, on a machine that does other things, too.
	bootLimit     = 5 * time.Minute
	shutdownLimit = 3 * time.Minute
	checksLimit   = 5 * time.Minute
	unitsLimit    = 2 * time.Minute
)

//go:embed testdata/checks.pl
var checks []byte

// hardware is what the machines of the tests differ in.
type hardware struct {
	model Model
	// release is of the image, "" = that of the model.
	release Release
	board   pi.Board
	arch    string // Debian's name for it
	// speed divides the firmware's own times.
	speed float64
	// patience is how much longer everything may take.
	patience time.Duration
	// kernel is the file that is served as such.
	kernel *regexp.Regexp
	// clockless is whether it has no clock that goes on without power.
	clockless bool
	// args are words for the kernel.
	args []string
	// look are further questions to ask in the guest, a line of shell with a line of
	// answer each.
	look []question
	// upgrade puts another kernel in place, as a package does: longer, by octets that
	// nothing looks at. It prints how long.
	upgrade string
}

type question struct{ ask, want string }

func (hw *hardware) recipe() recipe {
	if hw.release != "" {
		return releases[hw.release]
	}
	return recipes[hw.model]
}

// anX86 stands in for a Pi 4.
var anX86 = hardware{
	model: X86,
	board: pi.Board{
		Family: order.Pi4B, Revision: 0xc03112, Serial: 0xb66c4c16,
		MAC: net.HardwareAddr{0xdc, 0xa6, 0x32, 0x01, 0x36, 0xc2},
	},
	arch: "amd64", speed: 20, patience: 1, kernel: regexp.MustCompile(`/kernel8\.img$`),
	look: []question{{"uname -m", "^x86_64$"}},
	upgrade: `
cd /boot/firmware
cp kernel8.img kernel8.img.new
printf upgraded >> kernel8.img.new
mv kernel8.img.new kernel8.img
stat -c %s kernel8.img
`,
}

// TestBoot takes an image of Debian all the way: added as people add one, made
// netbootable, given a name and keys, exported, and booted over the product's
// DHCP, TFTP and boot folder by a virtual Pi. Then it looks around in there over
// SSH, restarts it from within, and pulls the plug.
func TestBoot(t *testing.T) { testBoot(t, &anX86) }

func testBoot(t *testing.T, hw *hardware) {
	for _, n := range append(needed, struct{ program, from string }{models[hw.model].emulator, models[hw.model].debian}) {
		if _, err := exec.LookPath(n.program); err != nil {
			t.Fatalf("%v (apt install %s)", err, n.from)
		}
	}
	watch := newStopwatch(t)
	r := hw.recipe()
	if _, err := os.Stat(r.file(cacheFolder())); err != nil {
		t.Logf("making %s, which takes %s", r.file(cacheFolder()), r.takes)
	}
	tarball, err := r.image(t.Context(), cacheFolder())
	if err != nil {
		t.Fatal(err)
	}
	watch.lap("image at hand")
	g := &guest{t: t, hw: hw, dir: t.TempDir()}
	g.keys()
	g.makeRoot(tarball)
	watch.lap("root made")
	g.plugIn()
	g.serve()
	g.pi.SetPower(true)
	g.await("the kernel served", bootLimit, g.kernelServed)
	watch.lap("kernel served")
	up := g.await("SSH", hw.patience*bootLimit, func(s said) bool { return s.Msg == "up" })
	for _, m := range []struct{ what, text string }{
		{"initramfs started", "Loading, please wait"},
		{"root mounted", "Begin: Running /scripts/nfs-bottom"},
		{"systemd started", "Welcome to "},
	} {
		if at, ok := g.serial.when(m.text); ok {
			watch.lapAt(m.what, at)
		} else {
			t.Errorf("the serial console does not tell: %s", m.what)
		}
	}
	watch.lap("SSH: " + up.Name)
	t.Run("units", g.units)
	watch.lap("all started")
	t.Run("identity", g.identity)
	watch.lap("identity checked")
	t.Run("files", g.files)
	watch.lap("files checked")
	t.Run("reboot", g.reboot)
	watch.lap("restarted")
	t.Run("power cut", g.powerCut)
}

func cacheFolder() string {
	if dir := os.Getenv("PICLOUD_E2E_CACHE"); dir != "" {
		return dir
	}
	user, err := os.UserCacheDir()
	if err != nil {
		user = os.TempDir()
	}
	return filepath.Join(user, "picloud", "e2e")
}

type stopwatch struct {
	t     *testing.T
	begin time.Time
}

func newStopwatch(t *testing.T) *stopwatch { return &stopwatch{t, time.Now()} }

func (w *stopwatch) lap(what string) { w.lapAt(what, time.Now()) }

func (w *stopwatch) lapAt(what string, at time.Time) {
	w.t.Logf("%4.0f s  %s", at.Sub(w.begin).Seconds(), what)
}

// guest is one virtual Pi with its server.
type guest struct {
	t      *testing.T
	hw     *hardware // x86 if nil
	dir    string
	public string // the customer's key
	root   string
	boot   netbootable.Result
	top    *netns.Topology
	pi     *pi.Pi
	serial transcript
	log    chan said
}

func (g *guest) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) hardware() *hardware {
	if g.hw == nil {
		return &anX86
	}
	return g.hw
}

func (g *guest) file(name string) string { return filepath.Join(g.dir, name) }

// keys makes the customer's key, and one of somebody else.
func (g *guest) keys() {
	g.t.Helper()
	for _, who := range []string{"customer", "stranger"} {
		out, err := exec.CommandContext(g.t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", g.file(who)).CombinedOutput()
		if err != nil {
			g.t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	public, err := os.ReadFile(g.file("customer.pub"))
	g.must(err)
	g.public = strings.TrimSpace(string(public))
}

// makeRoot goes from the file that people have to a root that is one Pi's own.
func (g *guest) makeRoot(tarball string) {
	g.t.Helper()
	ctx := g.t.Context()
	info, err := image.Add(ctx, image.Options{Name: "debian", Dir: g.file("images"), Source: tarball})
	g.must(err)
	r := g.hardware().recipe()
	if info.Boot != cmp.Or(r.boot, defaultBoot) || info.Arch != r.arch || info.Release.Codename != cmp.Or(r.suite, defaultSuite) || len(info.Lost) != 0 {
		g.t.Errorf("image %+v", info)
	}
	volumes, err := folder.Open(g.file("state"), folder.Options{Volatile: true})
	g.must(err)
	volumes.SetImages(map[string]string{"debian": info.Path})
	g.must(volumes.Clone(ctx, "debian", hostName, func(int64, int64) {}))
	g.root, err = volumes.Path(hostName)
	g.must(err)
	g.boot, err = netbootable.Apply(ctx, g.root, netbootable.Options{HostKeys: true, Comment: hostName})
	g.must(err)
	for _, w := range g.boot.Warnings {
		g.t.Logf("warning: %s", w)
	}
	g.must(rootfs.Personalise(g.root, rootfs.Person{
		Hostname: hostName, AuthorizedKeys: []string{g.public}, TimeZone: "Europe/London",
		Network:   rootfs.Network{Address: netip.MustParsePrefix("2001:db8:77::2/64"), Gateway: netip.MustParseAddr("2001:db8:77::1")},
		Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8::64")},
	}))
}

// plugIn lays the cable and puts the Pi on it.
func (g *guest) plugIn() {
	g.t.Helper()
	var err error
	g.top, err = netns.NewTopology("seg0")
	g.must(err)
	g.t.Cleanup(func() {
		if err := g.top.Close(); err != nil {
			g.t.Error(err)
		}
	})
	board := g.hardware().board
	seg := g.top.Segments[0]
	nic, err := pi.NewNetNS(seg.NS, netns.PiInterface, board.MAC)
	g.must(err)
	g.t.Cleanup(nic.Close)
	machine := &Machine{Model: g.hardware().model, NS: seg.NS, Interface: netns.PiInterface, Serial: &g.serial}
	g.pi, err = pi.New(pi.Config{Name: hostName, Board: board, NIC: nic, Speed: g.hardware().speed, Boot: machine.Boot})
	g.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.pi.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
		if g.t.Failed() {
			g.t.Logf("the end of the serial console:\n%s", g.serial.end(16<<10))
		}
	})
}

// serve starts this program again as the service, in the server's namespace. It
// has a /run of its own there, for the port mapper's socket, and processes of its
// own, which end with it.
func (g *guest) serve() {
	g.t.Helper()
	seg := g.top.Segments[0]
	s := site{
		Dir: g.dir, Interface: seg.ServerInterface, Server: seg.Server, Pi: seg.Pi,
		Family: g.pi.Board().Family, MAC: g.pi.Board().MAC.String(),
		Serial: g.pi.Board().SerialText(), Host: hostName, Root: g.root, Export: exportPath, Boot: g.boot.Boot,
		Args: g.hardware().args,
	}
	b, err := json.Marshal(s)
	g.must(err)
	g.must(os.WriteFile(g.file("site.json"), b, 0o600))
	self, err := os.Executable()
	g.must(err)
	cmd := exec.Command("ip", "netns", "exec", g.top.ServerNamespace,
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
		"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$0"`, self)
	cmd.Env = append(os.Environ(), serveEnv+"="+g.file("site.json"))
	cmd.Stderr = os.Stderr
	alive, err := cmd.StdinPipe()
	g.must(err)
	out, err := cmd.StdoutPipe()
	g.must(err)
	g.log = make(chan said, 10000)
	g.must(cmd.Start())
	go func() {
		defer close(g.log)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			var s said
			if json.Unmarshal(scan.Bytes(), &s) != nil {
				s = said{Msg: "raw", Name: scan.Text()}
			}
			g.log <- s
		}
	}()
	g.t.Cleanup(func() {
		alive.Close()
		for l := range g.log {
			if l.Msg == "failed" {
				g.t.Errorf("the service: %+v", l)
			}
		}
		if err := cmd.Wait(); err != nil {
			g.t.Errorf("the service: %v", err)
		}
		if g.t.Failed() {
			text, _ := os.ReadFile(g.file(nfsLogName))
			g.t.Logf("the NFS server:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
}

func served(file string) func(said) bool {
	return func(s said) bool {
		return s.Msg == "tftp" && s.What == "served" && strings.HasSuffix(s.Name, "/"+file)
	}
}

func (g *guest) kernelServed(s said) bool {
	return s.Msg == "tftp" && s.What == "served" && g.hardware().kernel.MatchString(s.Name)
}

// await reads the service's log up to a line.
func (g *guest) await(what string, limit time.Duration, is func(said) bool) said {
	g.t.Helper()
	end := time.After(limit)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case s, ok := <-g.log:
			if !ok {
				g.t.Fatalf("the service ended before: %s", what)
			}
			if s.Msg == "boot folder" {
				g.t.Logf("%s: %s", s.What, s.Name)
			}
			if s.Msg == "failed" || s.Msg == "raw" || s.What == "failed" {
				g.t.Errorf("the service: %+v", s)
			}
			if is(s) {
				return s
			}
		case <-look.C:
			if st := g.pi.State(); st.Stage == pi.StageDead {
				g.t.Fatalf("the Pi is dead before: %s: %s", what, st.Detail)
			}
		case <-end:
			g.t.Fatalf("never: %s; the Pi is %+v, %+v", what, g.pi.State(), g.pi.Counters())
		}
	}
}

// ssh runs a program in the guest, as its customer would: with the key, and the
// host key that was told.
func (g *guest) ssh(t *testing.T, input []byte, command ...string) (string, error) {
	t.Helper()
	return g.sshAs(t, "customer", input, command...)
}

func (g *guest) sshAs(t *testing.T, who string, input []byte, command ...string) (string, error) {
	t.Helper()
	known := ""
	addr := g.top.Segments[0].Pi.String()
	for _, k := range g.boot.HostKeys {
		known += addr + " " + k.Public + "\n"
	}
	g.must(os.WriteFile(g.file("known_hosts"), []byte(known), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), g.hardware().patience*checksLimit)
	defer cancel()
	args := []string{
		"netns", "exec", g.top.ServerNamespace, "ssh", "-F", "none", "-i", g.file(who), "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile=" + g.file("known_hosts"), "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR", "root@" + addr, "--",
	}
	cmd := exec.CommandContext(ctx, "ip", append(args, command...)...)
	cmd.Stdin = bytes.NewReader(input)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ssh %s: %w\n%s", strings.Join(command, " "), err, complaints.String())
	}
	return string(out), err
}

// look is what the guest tells of itself: one line each.
const look = `
cat /proc/sys/kernel/hostname
findmnt -n -o FSTYPE,SOURCE /
findmnt -n -o OPTIONS /
cat /root/.ssh/authorized_keys
cat /etc/machine-id
ip -4 -o address show dev eth0 | tr -s ' '
cat /sys/class/net/eth0/address
grep -c ' / ' /proc/mounts
ip -6 -o address show dev eth0 scope global | tr -s ' '
ip -6 route show default
grep nameserver /etc/resolv.conf
readlink -f /etc/localtime
uname -r
`

// identity checks that the guest is who it was made to be, on the root that it
// was given.
func (g *guest) identity(t *testing.T) {
	begin := time.Now()
	script := look
	for _, q := range g.hardware().look {
		script += q.ask + "\n"
	}
	out, err := g.ssh(t, []byte(script), "sh", "-eu", "-s")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %.1f s:\n%s", time.Since(begin).Seconds(), out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	seg := g.top.Segments[0]
	wanted := []string{
		"^" + hostName + "$",
		`^nfs +` + regexp.QuoteMeta(seg.Server.Addr().String()+":"+exportPath) + "$",
		`^rw,.*vers=3.*hard.*proto=tcp.*addr=` + regexp.QuoteMeta(seg.Server.Addr().String()),
		"^" + regexp.QuoteMeta(g.public) + "$",
		"^[0-9a-f]{32}$",
		regexp.QuoteMeta("inet " + seg.Pi.String() + "/30 "),
		"^" + g.pi.Board().MAC.String() + "$",
		"^1$",
		"inet6 2001:db8:77::2/64 ",
		"^default via 2001:db8:77::1 dev eth0 ",
		"^nameserver 2001:db8::64$",
		"^/usr/share/zoneinfo/Europe/London$",
		"^[56][.]",
	}
	for _, q := range g.hardware().look {
		wanted = append(wanted, q.want)
	}
	for i, want := range wanted {
		if i >= len(lines) || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d does not match %s", i+1, want)
		}
	}
	if _, err := g.sshAs(t, "stranger", nil, "true"); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("a stranger's key: %v, want permission denied", err)
	}
}

// setClock takes the time from the file server, there being no time server here.
const setClock = `
touch /var/tmp/now
date -s "@$(stat -c %Y /var/tmp/now)"
rm /var/tmp/now
`

// files checks the root file system from within, and then from the server that
// it was all written there.
func (g *guest) files(t *testing.T) {
	if g.hardware().clockless {
		if _, err := g.ssh(t, []byte(setClock), "sh", "-eu", "-s"); err != nil {
			t.Fatal(err)
		}
	}
	out, err := g.ssh(t, checks, "perl", "-")
	if err != nil {
		t.Error(err)
	}
	names := regexp.MustCompile(`(?m)^check "([^"]+)"`).FindAllSubmatch(checks, -1)
	results := map[string]string{}
	for line := range strings.Lines(out) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), "\t")
		results[name] = result
	}
	for _, n := range names {
		t.Run(string(n[1]), func(t *testing.T) {
			if got := results[string(n[1])]; got != "ok" {
				t.Errorf("%q", got)
			}
		})
	}
	for name, want := range map[string]unix.Stat_t{
		"owned":  {Mode: unix.S_IFREG | 0o640, Uid: 1234, Gid: 5678},
		"id":     {Mode: unix.S_IFREG | 0o4755},
		"null":   {Mode: unix.S_IFCHR | 0o644, Rdev: unix.Mkdev(1, 3)},
		"fifo":   {Mode: unix.S_IFIFO | 0o644},
		"socket": {Mode: unix.S_IFSOCK | 0o755},
	} {
		var got unix.Stat_t
		err := unix.Lstat(filepath.Join(g.root, "var/tmp/checks", name), &got)
		if err != nil || got.Mode != want.Mode || got.Uid != want.Uid || got.Gid != want.Gid || got.Rdev != want.Rdev {
			t.Errorf("on the server, %s has mode %o, owner %d:%d, device %x, %v", name, got.Mode, got.Uid, got.Gid, got.Rdev, err)
		}
	}
}

// units waits until systemd has started everything, and wants nothing failed.
func (g *guest) units(t *testing.T) {
	limit := g.hardware().patience * unitsLimit
	script := fmt.Sprintf("timeout %.0f systemctl is-system-running --wait || true; systemctl list-units --failed --plain --no-legend", limit.Seconds())
	out, err := g.ssh(t, []byte(script), "sh", "-s")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(out) != "running" {
		t.Errorf("systemd says: %s", out)
		journal, err := g.ssh(t, nil, "journalctl", "--no-pager", "-b", "-p", "warning", "-n", "40")
		t.Logf("%s %v", journal, err)
	}
}

// reboot restarts the guest from within: its root stays until the last, the boot
// ROM begins again, and what it gets is the kernel that the customer has put
// there.
func (g *guest) reboot(t *testing.T) {
	size, err := g.ssh(t, []byte(g.hardware().upgrade), "sh", "-eu", "-s")
	if err != nil {
		t.Fatal(err)
	}
	// The connection breaks sooner or later than the command ends.
	_, _ = g.ssh(t, nil, "systemctl", "reboot")
	again := g.await("the kernel served again", g.hardware().patience*shutdownLimit, g.kernelServed)
	if fmt.Sprint(again.Size) != strings.TrimSpace(size) {
		t.Errorf("a kernel of %d octets was served, want the new one of %s", again.Size, size)
	}
	if c := g.pi.Counters(); c.Resets != 1 || c.Boots != 1 {
		t.Errorf("counters %+v", c)
	}
}

// powerCut takes the power away while the kernel boots: nothing may be left of
// the guest at once.
func (g *guest) powerCut(t *testing.T) {
	begin := time.Now()
	g.pi.SetPower(false)
	for g.pi.State().Stage != pi.StageOff {
		if time.Since(begin) > 3*time.Second {
			t.Fatalf("state %+v", g.pi.State())
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("off after %v", time.Since(begin))
	err := in(g.top.Segments[0].NS, func() error {
		var errs []error
		for _, name := range []string{bridgeName, tapName} {
			if _, err := net.InterfaceByName(name); err == nil {
				errs = append(errs, fmt.Errorf("%s is left", name))
			}
		}
		ifi, err := net.InterfaceByName(netns.PiInterface)
		if err == nil && ifi.HardwareAddr.String() != g.pi.Board().MAC.String() {
			err = fmt.Errorf("%s has %v", netns.PiInterface, ifi.HardwareAddr)
		}
		return errors.Join(append(errs, err)...)
	})
	if err != nil {
		t.Error(err)
	}
}

// transcript keeps what the guest has said, and when.
type transcript struct {
	mu     sync.Mutex
	b      []byte
	stamps []stamp
}

// stamp is when there were so many octets.
type stamp struct {
	octets int
	at     time.Time
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p...)
	s.stamps = append(s.stamps, stamp{len(s.b), time.Now()})
	return len(p), nil
}

func (s *transcript) end(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.b[max(0, len(s.b)-n):])
}

// when tells when a text was said first.
func (s *transcript) when(text string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := bytes.Index(s.b, []byte(text))
	if i < 0 {
		return time.Time{}, false
	}
	n, _ := slices.BinarySearchFunc(s.stamps, i+len(text), func(s stamp, octets int) int { return s.octets - octets })
	return s.stamps[n].at, true
}
