//go:build e2e

package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/demo"
	"picloud/hw/sim"
	"picloud/hw/sim/netns"
	"picloud/hw/sim/pi"
	"picloud/hw/sim/virtualpi"
)

// e2eNeeds are the host's programs, and the Debian package of each.
var e2eNeeds = []struct{ program, from string }{
	{"mmdebstrap", "mmdebstrap"}, {"ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs"},
	{"rpcbind", "rpcbind"}, {"dbus-daemon", "dbus"}, {"ssh", "openssh-client"}, {"ip", "iproute2"},
	{"unshare", "util-linux"}, {"mkfs.btrfs", "btrfs-progs"}, {"apt-get", "apt"}, {"curl", "curl"},
	{"tar", "tar"}, {"mke2fs", "e2fsprogs"}, {"mkfs.vfat", "dosfstools"}, {"mcopy", "mtools"}, {"sfdisk", "fdisk"}, {"xz", "xz-utils"},
}

const (
	e2eServer  = "shop-web"
	e2eAddress = "2001:db8:77::2/64"
	// Emulated, on a machine that does other things, too.
	e2eBoot  = 8 * time.Minute
	e2eCheck = 4 * time.Minute
)

// e2eKind is what the Pis of a rack are.
type e2eKind struct {
	board          string // the model of their boards, in package sim
	pis            int
	model          virtualpi.Model
	emulator, from string  // and its Debian package
	speed          float64 // divides the firmware's own times
	// patience is how much longer everything may take.
	patience time.Duration
	// image makes the file that people have out of Debian in a tarball.
	image func(s *site, tarball string) string
}

// e2eX86 stands in for two Pi 4.
var e2eX86 = e2eKind{
	board: "4B", pis: 2, emulator: "qemu-system-x86_64", from: "qemu-system-x86", speed: 5, patience: 1, image: (*site).cardImage,
}

// TestRealRoots runs the product as its staff does: an image is added, `picloud
// serve` runs on a rack whose Pis are virtual ones, and a real Debian boots from
// the root that was made of the image. Then everything that can be done to a
// root is done to it through the shell, and looked at over SSH from where a
// customer is.
func TestRealRoots(t *testing.T) {
	s := newSite(t, &e2eX86)
	s.addImage()
	s.serve()
	home, spare := s.pis[0], s.pis[1]
	first := s.first(home)
	s.installs(home)

	s.lap("a restart of the service")
	s.restart(home)

	s.reimage(home, first)
	s.undo(home, first)
	s.wants(home, "Hello, world!", "hello")

	s.lap("resize")
	s.picloud("pi", "resize", home, "--size", "7G", "--wait")

	s.lap("move")
	s.picloud("pi", "move", home, "--to", spare, "--confirm", home, "--wait")
	if moved := s.identity(spare); moved != first {
		t.Errorf("after the move the host key is %s, want %s", moved, first)
	}
	s.wants(spare, "first", "cat", "/root/which")

	s.lap("rescue")
	s.picloud("pi", "rescue", spare, "--confirm", spare, "--wait")
	s.rescued(spare)

	s.lap("out of rescue")
	s.picloud("pi", "unrescue", spare, "--confirm", spare, "--wait")
	if back := s.identity(spare); back != first {
		t.Errorf("after the rescue the host key is %s, want %s", back, first)
	}
	s.wants(spare, "mended", "cat", "/root/from-rescue")
	s.lap("done")
}

// first boots the first root, and leaves a file in it. It returns the host key.
func (s *site) first(home string) string {
	s.t.Helper()
	s.lap("the first root")
	s.settled(home)
	key := s.identity(home)
	s.sh(home, "echo first > /root/which")
	return key
}

// reimage wants a root that has nothing of the former, whose host key that is.
func (s *site) reimage(home, former string) {
	s.t.Helper()
	s.lap("reimage")
	s.picloud("pi", "reimage", home, "--confirm", home, "--wait")
	if s.identity(home) == former {
		s.t.Error("the reimaged root has the host key of the former")
	}
	if out, err := s.ssh(home, nil, "cat", "/root/which"); err == nil {
		s.t.Errorf("after the reimage, the former root's file is there: %q", out)
	}
	s.sh(home, "echo second > /root/which")
}

// undo wants the first root back, with its files and host key.
func (s *site) undo(home, first string) {
	s.t.Helper()
	s.lap("undo")
	s.picloud("pi", "undo", home, "--confirm", home, "--wait")
	if again := s.identity(home); again != first {
		s.t.Errorf("undo brought host key %s, want %s", again, first)
	}
	s.wants(home, "first", "cat", "/root/which")
}

// site is a rack of virtual Pis with its server.
type site struct {
	t       *testing.T
	kind    *e2eKind
	begin   time.Time
	dir     string
	program string
	config  string
	public  string
	top     *netns.Topology
	cfg     *config.Config
	pis     []string
	addr    map[string]netip.Addr
	serial  map[string]*console
	served  *service
	address string // public, of the server
}

// rackPis is so many that the mixture of a rack has two alike.
const rackPis = 8

func newSite(t *testing.T, kind *e2eKind) *site {
	t.Helper()
	for _, n := range append(e2eNeeds, struct{ program, from string }{kind.emulator, kind.from}) {
		if _, err := exec.LookPath(n.program); err != nil {
			t.Fatalf("%v (apt install %s)", err, n.from)
		}
	}
	s := &site{t: t, kind: kind, begin: time.Now(), dir: t.TempDir(), addr: map[string]netip.Addr{}, serial: map[string]*console{}}
	s.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "customer", "-f", s.file("customer"))
	public, err := os.ReadFile(s.file("customer.pub"))
	s.must(err)
	s.public = strings.TrimSpace(string(public))
	s.program = s.file("picloud")
	s.run("go", "build", "-o", s.program, "picloud")
	s.mountState()

	names := make([]string, rackPis)
	for i := range names {
		names[i] = fmt.Sprintf("seg%d", i)
	}
	s.top, err = netns.NewTopology(names...)
	s.must(err)
	t.Cleanup(func() {
		if err := s.top.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, seg := range s.top.Segments {
		s.inServer("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/"+seg.ServerInterface+"/disable_ipv6")
	}
	s.configure(s.rack())
	return s
}

// mountState makes the state folder a file system that roots are cloned on at
// once, as a server's is.
func (s *site) mountState() {
	s.t.Helper()
	disk, state := s.file("disk"), s.file("state")
	s.must(os.Mkdir(state, 0o700))
	f, err := os.Create(disk)
	s.must(err)
	s.must(f.Truncate(24 << 30))
	s.must(f.Close())
	s.run("mkfs.btrfs", "-q", disk)
	s.run("mount", "-o", "loop", disk, state)
	s.t.Cleanup(func() { s.run("umount", "--lazy", state) })
}

func (s *site) rack() *sim.Rack {
	s.t.Helper()
	rack, err := sim.New(sim.Config{
		Seed: 3, Pis: len(s.top.Segments), Speed: s.kind.speed, Rented: -1, BaseNet: netns.BaseNet(),
		NIC: func(w sim.Wire) (pi.NIC, error) {
			return pi.NewNetNS(s.top.Segments[w.Index].NS, netns.PiInterface, w.Board.MAC)
		},
		Boot: func(w sim.Wire) pi.Boot {
			out := &console{}
			s.serial[w.Name] = out
			machine := &virtualpi.Machine{Model: s.kind.model, NS: s.top.Segments[w.Index].NS, Interface: netns.PiInterface, Serial: out}
			return machine.Boot
		},
		Listen: func() (c net.PacketConn, err error) {
			err = s.top.Do(func() error {
				c, err = net.ListenPacket("udp4", "127.0.0.1:0")
				return err
			})
			return c, err
		},
	})
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rack.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("rack: %v", err)
		}
		for name, out := range s.serial {
			if text := out.end(); s.t.Failed() && text != "" {
				s.t.Logf("the end of %s's serial console:\n%s", name, text)
			}
		}
	})
	return rack
}

// configure writes what staff would for this rack: one server, on the first Pi.
func (s *site) configure(rack *sim.Rack) {
	s.t.Helper()
	inv := rack.Inventory()
	cfg := demo.Configure(inv, s.file("state"), 1, demo.ClientPorts{})
	def := config.Default()
	cfg.DHCP, cfg.TFTP, cfg.NFS, cfg.SSH, cfg.Volumes, cfg.Boot = def.DHCP, def.TFTP, def.NFS, def.SSH, def.Volumes, def.Boot
	cfg.NFS.Driver, cfg.NFS.Shared = "ganesha", true
	cfg.Volumes.Driver, cfg.Volumes.DiskGB = "btrfs", 5
	cfg.SSH.Every = time.Second
	for stage := range cfg.Boot.Limits {
		cfg.Boot.Limits[stage] = max(cfg.Boot.Limits[stage], s.kind.patience*e2eBoot)
	}
	cfg.Guest.Resolvers, cfg.Guest.TimeZone = []netip.Addr{netip.MustParseAddr("2001:db8::64")}, "Europe/London"
	cfg.Images = []config.Image{{Name: "debian"}}
	var segments []config.Segment
	for at, board := range inv.Pis {
		if board.Model != s.kind.board || len(segments) == s.kind.pis {
			continue
		}
		seg := cfg.Segments[at]
		seg.Interface, seg.Power, seg.Image = s.top.Segments[at].ServerInterface, len(segments) == 0, ""
		if len(segments) == 0 {
			seg.Image = "debian"
		}
		segments = append(segments, seg)
		s.pis = append(s.pis, seg.Name)
		s.addr[seg.Name] = s.top.Segments[at].Pi
	}
	if len(segments) != s.kind.pis {
		s.t.Fatalf("the rack has no %d boards of kind %s", s.kind.pis, s.kind.board)
	}
	cfg.Segments = segments
	cfg.Servers = []config.Server{{
		Name: e2eServer, Owner: "customer 1", Pi: engine.PiName(s.pis[0]), Keys: []string{s.public},
		Address: netip.MustParsePrefix(e2eAddress), Gateway: netip.MustParseAddr("fe80::1"),
	}}
	s.address = e2eAddress
	cfg.Console.Socket = s.file("picloud.sock")
	writeCredentials(s.t, s.dir, cfg)
	s.cfg = cfg
	s.config = writeConfig(s.t, s.dir, cfg)
}

func (s *site) addImage() {
	s.t.Helper()
	cache, err := os.UserCacheDir()
	s.must(err)
	tarball, err := virtualpi.ImageOf(s.t.Context(), s.kind.model, filepath.Join(cache, "picloud", "e2e"))
	s.must(err)
	file := tarball
	if s.kind.image != nil {
		file = s.kind.image(s, tarball)
	}
	digest, _, _ := strings.Cut(s.run("sha256sum", file), " ")
	s.lap("image at hand: " + filepath.Base(file))
	s.t.Logf("%s", s.run(s.program, "image", "add", "debian", file, "--sha256", digest, "--config", s.config))
	s.t.Logf("%s", s.run(s.program, "image", "list", "--config", s.config))
	s.lap("image added")
}

// cardImage makes what Raspberry Pi OS is published as: the image of a card with
// a FAT and an ext4 partition, packed with xz.
func (s *site) cardImage(tarball string) string {
	s.t.Helper()
	root, fat, ext, card := s.file("card.root"), s.file("card.fat"), s.file("card.ext4"), s.file("card.img")
	s.must(os.Mkdir(root, 0o755))
	s.run("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", root, "-xpf", tarball)
	boot := filepath.Join(root, "boot/firmware")
	s.must(errors.Join(os.WriteFile(fat, nil, 0o600), os.Truncate(fat, cardBoot)))
	s.run("mkfs.vfat", "-n", "bootfs", fat)
	files, err := filepath.Glob(filepath.Join(boot, "*"))
	s.must(err)
	s.run("mcopy", append(append([]string{"-s", "-m", "-i", fat}, files...), "::")...)
	s.must(errors.Join(os.RemoveAll(boot), os.Mkdir(boot, 0o755)))
	s.run("mke2fs", "-q", "-t", "ext4", "-d", root, ext, fmt.Sprint(int64(cardRoot)>>10))
	// A table for MBR, as those images have it.
	s.must(errors.Join(os.WriteFile(card, nil, 0o600), os.Truncate(card, cardStart+cardBoot+cardRoot)))
	s.run("sh", "-c", fmt.Sprintf(`printf 'label: dos\nstart=%d, size=%d, type=c\nstart=%d, type=83\n' | sfdisk -q "$0"`,
		cardStart/512, cardBoot/512, (cardStart+cardBoot)/512), card)
	s.run("dd", "if="+fat, "of="+card, "bs=1M", "conv=notrunc,sparse", fmt.Sprint("seek=", cardStart>>20))
	s.run("dd", "if="+ext, "of="+card, "bs=1M", "conv=notrunc,sparse", fmt.Sprint("seek=", (cardStart+cardBoot)>>20))
	s.run("xz", "-0", "-T0", card)
	s.must(errors.Join(os.RemoveAll(root), os.Remove(fat), os.Remove(ext)))
	return card + ".xz"
}

// The partitions of a card, in bytes.
const (
	cardStart = 4 << 20
	cardBoot  = 256 << 20
	cardRoot  = 1 << 30
)

// serve starts the product in the server's namespace, with a /run of its own for
// the port mapper's socket.
func (s *site) serve() {
	s.t.Helper()
	v := &service{}
	v.cmd = exec.Command("ip", "netns", "exec", s.top.ServerNamespace, "unshare", "--mount", "--propagation", "private",
		"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$0" serve --config "$1"`, s.program, s.config)
	out, err := v.cmd.StderrPipe()
	s.must(err)
	s.must(v.cmd.Start())
	go v.read(out)
	s.served = v
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the end of the service's log:\n%s", v.log.end())
		}
		if s.served != v {
			return
		}
		s.must(v.cmd.Process.Signal(syscall.SIGTERM))
		if err := v.cmd.Wait(); err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
	end := time.Now().Add(time.Minute)
	for {
		if _, err := s.command(s.program, "pi", "list"); err == nil {
			return
		} else if time.Now().After(end) {
			s.t.Fatalf("the service does not answer: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// service is a process of picloud serve. What it logs is told when the test
// fails: it may go on for a moment after the test has ended.
type service struct {
	cmd *exec.Cmd
	log console
}

func (v *service) read(out io.Reader) { _, _ = io.Copy(&v.log, out) }

// settled waits until the Pi is up and has no job.
func (s *site) settled(name string) {
	s.t.Helper()
	end := time.Now().Add(s.kind.patience * e2eBoot)
	for {
		p := s.show(name)
		if p.Stage == "up" && p.Job == nil {
			return
		}
		if p.Stage == "stalled" || time.Now().After(end) {
			s.t.Fatalf("%s is not up: %+v", name, p)
		}
		time.Sleep(time.Second)
	}
}

// shown is what a script reads of a Pi.
type shown struct {
	Stage   string          `json:"stage"`
	Life    string          `json:"life"`
	Rescue  bool            `json:"rescue"`
	Job     json.RawMessage `json:"job"`
	Rescuer []shownKey      `json:"rescue_ssh_host_keys"`
	Root    struct {
		HostKeys []shownKey `json:"ssh_host_keys"`
	} `json:"root"`
}

type shownKey struct {
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
}

func (s *site) show(name string) shown {
	s.t.Helper()
	var list struct{ Pis []shown }
	out := s.run(s.program, "pi", "show", name, "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Pis) != 1 {
		s.t.Fatalf("pi show %s --json: %v\n%s", name, err, out)
	}
	if bytes.Equal(list.Pis[0].Job, []byte("null")) {
		list.Pis[0].Job = nil
	}
	return list.Pis[0]
}

// identity checks that whoever answers is the customer's server, as it was
// ordered, and returns the fingerprint of its host key, which the product told
// before.
func (s *site) identity(name string) string {
	s.t.Helper()
	look := `
cat /proc/sys/kernel/hostname
findmnt -n -o FSTYPE,OPTIONS /
ip -4 -o address show dev eth0 | tr -s ' '
ip -6 -o address show dev eth0 scope global | tr -s ' '
ip -6 route show default
grep nameserver /etc/resolv.conf
readlink -f /etc/localtime
cat /root/.ssh/authorized_keys
` + fmt.Sprintf("timeout %d", 180*s.kind.patience) + ` systemctl is-system-running --wait || systemctl list-units --failed --plain --no-legend
`
	out := s.sh(name, look)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{
		"^" + e2eServer + "$",
		`^nfs +rw,`,
		regexp.QuoteMeta("inet " + s.addr[name].String() + "/30 "),
		regexp.QuoteMeta("inet6 " + s.address + " "),
		"^default via fe80::1 dev eth0 ",
		"^nameserver 2001:db8::64$",
		"^/usr/share/zoneinfo/Europe/London$",
		"^" + regexp.QuoteMeta(s.public) + "$",
		"^running$",
	} {
		if i >= len(lines) || !regexp.MustCompile(want).MatchString(lines[i]) {
			s.t.Errorf("%s: line %d does not match %s:\n%s", name, i+1, want, out)
		}
	}
	told := s.show(name).Root.HostKeys
	public := netip.MustParsePrefix(s.address).Addr().String()
	if by4, by6 := s.hostKey(s.addr[name].String(), told), s.hostKey(public, told); by4 != by6 {
		s.t.Errorf("%s answers at its own address with %s, at its public one with %s", name, by4, by6)
	}
	return s.hostKey(s.addr[name].String(), told)
}

// hostKey asks the server for its key, and wants it to be the one that was told.
func (s *site) hostKey(addr string, told []shownKey) string {
	s.t.Helper()
	keys := s.keyscan(addr)
	cmd := exec.Command("ssh-keygen", "-lf", "-")
	cmd.Stdin = strings.NewReader(keys)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("ssh-keygen -lf: %v: %s", err, keys)
	}
	for _, k := range told {
		if k.Type == "ssh-ed25519" && strings.Contains(string(out), k.Fingerprint) {
			return k.Fingerprint
		}
	}
	s.t.Errorf("%s: the host key is %s, told was %+v", addr, out, told)
	return ""
}

// keyscan asks for the host key until it is told: a guest that has just begun on
// a busy machine drops a connection now and then.
func (s *site) keyscan(addr string) string {
	s.t.Helper()
	end := time.Now().Add(s.kind.patience * e2eCheck)
	for {
		out, err := s.command("ip", "netns", "exec", s.top.ServerNamespace, "ssh-keyscan", "-T", "60", "-t", "ed25519", addr)
		if err == nil && strings.TrimSpace(out) != "" {
			return out
		}
		if time.Now().After(end) {
			s.t.Fatalf("no host key of %s: %q, %v", addr, out, err)
		}
		time.Sleep(time.Second)
	}
}

// installs installs a real package with apt in the guest.
func (s *site) installs(name string) {
	s.t.Helper()
	dir := s.file("deb")
	s.must(os.Mkdir(dir, 0o755))
	cmd := exec.Command("apt-get", "download", "hello")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("apt-get download hello: %v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		s.t.Fatalf("packages %v, %v", debs, err)
	}
	deb, err := os.ReadFile(debs[0])
	s.must(err)
	if out, err := s.ssh(name, deb, "cat > /var/tmp/hello.deb && DEBIAN_FRONTEND=noninteractive apt-get install -y /var/tmp/hello.deb && dpkg --verify hello && hello"); err != nil || !strings.Contains(out, "Hello, world!") {
		s.t.Errorf("apt-get install: %v\n%s", err, out)
	}
}

// restart kills the service while the Pi writes to its root, and starts it
// again: the Pi waits, and loses nothing.
func (s *site) restart(name string) {
	s.t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		out, err := s.ssh(name, nil, `for i in $(seq 40); do echo $i >> /root/written && sync /root/written || exit 1; sleep 0.5; done; wc -l < /root/written`)
		if err != nil || strings.TrimSpace(out) != "40" {
			s.t.Errorf("the Pi wrote through the restart: %q, %v", out, err)
		}
	})
	time.Sleep(5 * time.Second)
	old := s.served
	s.must(old.cmd.Process.Kill())
	_ = old.cmd.Wait()
	s.serve()
	wg.Wait()
	s.settled(name)
}

// rescued looks round in the rescue system.
func (s *site) rescued(name string) {
	s.t.Helper()
	p := s.show(name)
	if !p.Rescue {
		s.t.Errorf("pi show does not tell that it is in rescue: %+v", p)
	}
	s.hostKey(s.addr[name].String(), p.Rescuer)
	s.wants(name, "first", "cat", "/mnt/root/which")
	out := s.sh(name, "stat -f -c %T /; echo mended > /mnt/root/from-rescue; chroot /mnt hello")
	if !regexp.MustCompile(`^(tmpfs|ramfs|rootfs)\n`).MatchString(out) || !strings.Contains(out, "Hello, world!") {
		s.t.Errorf("in the rescue system: %s", out)
	}
}

func (s *site) wants(name, want string, command ...string) {
	s.t.Helper()
	out, err := s.ssh(name, nil, command...)
	if err != nil || strings.TrimSpace(out) != want {
		s.t.Errorf("%s: %s says %q, %v, want %q", name, strings.Join(command, " "), out, err, want)
	}
}

func (s *site) sh(name, script string) string {
	s.t.Helper()
	out, err := s.ssh(name, []byte(script), "sh", "-s")
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// ssh runs a program in the guest as its customer would.
func (s *site) ssh(name string, input []byte, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), s.kind.patience*e2eCheck)
	defer cancel()
	args := []string{
		"netns", "exec", s.top.ServerNamespace, "ssh", "-F", "none", "-i", s.file("customer"), "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=no",
		"-o", "BatchMode=yes", "-o", "ConnectTimeout=180", "-o", "LogLevel=ERROR", "root@" + s.addr[name].String(), "--",
	}
	cmd := exec.CommandContext(ctx, "ip", append(args, command...)...)
	cmd.Stdin = bytes.NewReader(input)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ssh: %w: %s", err, complaints.String())
	}
	return string(out), err
}

// picloud runs a verb, and wants it done.
func (s *site) picloud(args ...string) {
	s.t.Helper()
	args = append(args, "--yes", "--timeout", (s.kind.patience * e2eBoot).String())
	s.t.Logf("picloud %s:\n%s", strings.Join(args, " "), s.run(s.program, args...))
}

func (s *site) inServer(args ...string) string {
	s.t.Helper()
	return s.run("ip", append([]string{"netns", "exec", s.top.ServerNamespace}, args...)...)
}

func (s *site) run(program string, args ...string) string {
	s.t.Helper()
	out, err := s.command(program, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) command(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PICLOUD_SOCKET="+s.file("picloud.sock"))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out, complaints.String())
	}
	return string(out), err
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) lap(what string) {
	s.t.Logf("%4.0f s  %s", time.Since(s.begin).Seconds(), what)
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// console keeps what a guest has said.
type console struct {
	mu sync.Mutex
	b  []byte
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b = append(c.b, p...)
	c.b = c.b[max(0, len(c.b)-16<<10):]
	return len(p), nil
}

func (c *console) end() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.b)
}
