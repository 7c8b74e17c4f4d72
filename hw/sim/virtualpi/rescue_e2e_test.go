//go:build e2e

package virtualpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/rootfs/rescue"
)

// TestRescue boots the rescue system of the image, since the server's own root
// cannot start, and mends that root from in there.
func TestRescue(t *testing.T) { testRescue(t, &anX86) }

func testRescue(t *testing.T, hw *hardware) {
	for _, n := range append(needed, struct{ program, from string }{models[hw.model].emulator, models[hw.model].debian}) {
		if _, err := exec.LookPath(n.program); err != nil {
			t.Fatalf("%v (apt install %s)", err, n.from)
		}
	}
	watch := newStopwatch(t)
	tarball, err := ImageOf(t.Context(), hw.model, cacheFolder())
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, hw: hw, dir: t.TempDir()}
	g.keys()
	g.makeRoot(tarball)
	g.must(os.Rename(filepath.Join(g.root, g.vital()), filepath.Join(g.root, g.vital()+".lost")))
	g.plugIn()
	watch.lap("root made and broken")
	size := g.makeRescue()
	watch.lap(fmt.Sprintf("rescue system of %d KB made", size>>10))
	g.serve()
	g.pi.SetPower(true)
	loaded := g.await("the rescue system served", hw.patience*bootLimit, served("initramfs-rescue"))
	if loaded.Size != size {
		t.Errorf("%d octets of the rescue system were served, want %d", loaded.Size, size)
	}
	watch.lap("rescue system served")
	up := g.await("SSH", hw.patience*bootLimit, func(s said) bool { return s.Msg == "up" })
	watch.lap("SSH: " + up.Name)
	t.Run("system", g.rescueSystem)
	t.Run("access", g.rescueAccess)
	t.Run("terminal", g.rescueTerminal)
	t.Run("root", g.rescueRoot)
	watch.lap("looked around")
	t.Run("restart", g.rescueRestart)
	watch.lap("restarted")
	if hw.model == X86 { // a Pi cannot switch itself off
		t.Run("switch off", g.rescueOff)
		watch.lap("switched off")
	}
}

// vital is what nothing in a Debian starts without.
func (g *guest) vital() string {
	if g.hardware().arch == "arm64" {
		return "usr/lib/aarch64-linux-gnu/libc.so.6"
	}
	return "usr/lib/x86_64-linux-gnu/libc.so.6"
}

// makeRescue puts the rescue system where the Pi finds it: the boot folder of
// this test is that of its root.
func (g *guest) makeRescue() int64 {
	g.t.Helper()
	base, err := rescue.Build(g.t.Context(), rescue.Options{Image: g.file("images/debian"), Out: g.file("rescue.img")})
	g.must(err)
	for _, w := range base.Warnings {
		g.t.Logf("warning: %s", w)
	}
	private, public, err := netbootable.NewHostKey(hostName + "-rescue")
	g.must(err)
	seg := g.top.Segments[0]
	whole, err := rescue.Open(base.File, rescue.Person{
		Person: rootfs.Person{
			Hostname: hostName, AuthorizedKeys: []string{g.public},
			Network:   rootfs.Network{Address: netip.MustParsePrefix("2001:db8:77::2/64"), Gateway: netip.MustParseAddr("2001:db8:77::1")},
			Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8::64")},
		},
		Address: netip.PrefixFrom(seg.Pi, seg.Server.Bits()), HostKey: private,
		Root:  rescue.Root{Server: seg.Server.Addr(), Path: exportPath, Version: "3"},
		Clock: time.Now(), Notice: "Staff end the rescue.",
	})
	g.must(err)
	defer whole.Close()
	f, err := os.Create(filepath.Join(g.root, "boot/firmware", base.Boot.Initramfs))
	g.must(err)
	n, err := io.Copy(f, whole)
	g.must(err)
	g.must(f.Close())
	if n != whole.Size() {
		g.t.Errorf("%d octets, and it says %d", n, whole.Size())
	}
	g.boot.HostKeys = []netbootable.HostKey{public}
	g.boot.Boot = netbootable.Boot{
		NFSVersion: "3", Kernel: base.Boot.Kernel, Folders: base.Boot.Folders, ConfigLines: base.Boot.ConfigLines,
		KernelArgs: []string{"panic=10"},
	}
	return n
}

// look runs a line of shell in the guest.
func (g *guest) look(t *testing.T, line string) string {
	t.Helper()
	out, err := g.ssh(t, []byte(line), "sh", "-s")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// rescueSystem checks what it runs on.
func (g *guest) rescueSystem(t *testing.T) {
	facts := []struct{ line, want string }{
		{"uname -n; cat /etc/hostname", hostName + "\n" + hostName},
		{"id -u; pwd; cat /proc/1/comm", "0\n/root\ninit"},
		{"stat -c '%a %u' / /root /root/.ssh /tmp /dev/null /etc/shadow", "755 0\n700 0\n700 0\n1777 0\n666 0\n600 0"},
		{"ip -4 -o addr show dev eth0 | wc -l; ip -6 -o addr show dev eth0 scope global | grep -c 2001:db8:77::2/64", "1\n1"},
		{"ip -6 route show default | cut -d ' ' -f 1-5", "default via 2001:db8:77::1 dev eth0"},
		{"cat /etc/resolv.conf", "nameserver 2001:db8::64"},
		// The signal of Ctrl-C is not ignored by what sshd starts.
		{"echo $((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status) & 2))", "0"},
		// Nothing is left behind as a zombie.
		{"sleep 0.1 & wait; ps -e -o stat= | grep -c '^Z'; true", "0"},
	}
	var script strings.Builder
	for _, f := range facts {
		script.WriteString(f.line + "; echo --\n")
	}
	answers := strings.Split(g.look(t, script.String()), "\n--")
	if len(answers) != len(facts)+1 {
		t.Fatalf("%q", answers)
	}
	for i, f := range facts {
		if got := strings.TrimSpace(answers[i]); got != f.want {
			t.Errorf("%s: %q, want %q", f.line, got, f.want)
		}
	}
	if got := g.look(t, "stat -f -c %T /"); got != "tmpfs" && got != "ramfs" {
		t.Errorf("its own root is on %s, and not in memory", got)
	}
	t.Log(g.look(t, "free -m; cat /run/rescue/modules; date; dmesg | grep -i -E 'initramfs|rescue' || true"))
}

// rescueAccess checks that nobody gets in who may not.
func (g *guest) rescueAccess(t *testing.T) {
	if out, err := g.sshAs(t, "stranger", nil, "true"); err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		t.Errorf("a stranger's key: %q, %v", out, err)
	}
	if got := g.look(t, "ss -H -l -n -t | grep -v ':22 '; true"); got != "" {
		t.Errorf("listens on more than SSH: %s", got)
	}
}

// rescueTerminal logs in as a person does, who reads before they type.
func (g *guest) rescueTerminal(t *testing.T) {
	addr := g.top.Segments[0].Pi.String()
	ctx, cancel := context.WithTimeout(t.Context(), checksLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", g.top.ServerNamespace, "ssh", "-F", "none", "-tt", "-i", g.file("customer"),
		"-o", "UserKnownHostsFile="+g.file("known_hosts"), "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "root@"+addr)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	var screen transcript
	cmd.Stdout, cmd.Stderr = &screen, &screen
	keys, err := cmd.StdinPipe()
	g.must(err)
	g.must(cmd.Start())
	prompt := "rescue " + hostName + ":~# "
	typed := make(chan error, 1)
	go func() {
		defer keys.Close()
		typed <- errors.Join(
			screen.await(ctx, prompt, 1),
			// What tells that it runs is the program itself: a Ctrl-C while the
			// shell is still starting one may miss it.
			typeIn(keys, "tty; echo \"term=$TERM\"; sh -c 'echo $((6*7)) then; exec sleep 1000'\n"),
			screen.await(ctx, "42 then", 1),
			typeIn(keys, "\x03"),
			screen.await(ctx, prompt, 2),
			typeIn(keys, "echo still $((6*7)); exit 3\n"),
		)
	}()
	_ = cmd.Wait() // its state is looked at below
	cancel()
	if err := <-typed; err != nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("the shell ended with %v, typing with %v", cmd.ProcessState, err)
	}
	for _, want := range []string{"rescue system of " + hostName, "Staff end the rescue.", "/dev/pts/", "term=xterm-256color", "still 42"} {
		if !strings.Contains(screen.end(1<<20), want) {
			t.Errorf("no %q in:\n%s", want, screen.end(4096))
		}
	}
}

func typeIn(w io.Writer, keys string) error {
	_, err := io.WriteString(w, keys)
	return err
}

// await waits until a text is there so many times.
func (s *transcript) await(ctx context.Context, text string, times int) error {
	for strings.Count(s.end(1<<20), text) < times {
		if ctx.Err() != nil {
			return fmt.Errorf("never %q", text)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// rescueRoot mends the server's root.
func (g *guest) rescueRoot(t *testing.T) {
	g.look(t, "n=0; until grep -q ' /mnt nfs' /proc/mounts; do n=$((n+1)); [ $n -lt 60 ] || { cat /run/rescue/mount; exit 1; }; sleep 1; done")
	if got := g.look(t, "cat /mnt/etc/hostname; server-shell /bin/true 2>&1 || echo it is broken"); !strings.HasPrefix(got, hostName) || !strings.HasSuffix(got, "it is broken") {
		t.Errorf("the broken root: %q", got)
	}
	g.look(t, "mv /mnt/"+g.vital()+".lost /mnt/"+g.vital()+" && echo mended >/mnt/root/note && chown 1234:5678 /mnt/root/note")
	if got := g.look(t, "server-shell sh -c 'cat /root/note; ls -d /proc/1; test -c /dev/null && dpkg --version >/dev/null && echo lives'; grep -c ' /mnt/' /proc/mounts || true"); got != "mended\n/proc/1\nlives\n0" {
		t.Errorf("the mended root: %q", got)
	}
	note, err := os.ReadFile(filepath.Join(g.root, "root/note"))
	if err != nil || string(note) != "mended\n" {
		t.Errorf("on the server: %q, %v", note, err)
	}
	info, err := os.Stat(filepath.Join(g.root, "root/note"))
	if err != nil || time.Since(info.ModTime()).Abs() > time.Hour {
		t.Errorf("written at %v, %v", info.ModTime(), err)
	}
}

// rescueRestart leaves as people do.
func (g *guest) rescueRestart(t *testing.T) {
	_, _ = g.ssh(t, nil, "reboot") // the connection breaks
	g.await("the kernel served again", shutdownLimit, g.kernelServed)
	if c := g.pi.Counters(); c.Resets != 1 {
		t.Errorf("counters %+v", c)
	}
}

// rescueOff switches the machine off from the second boot.
func (g *guest) rescueOff(t *testing.T) {
	begin := time.Now()
	for {
		if _, err := g.ssh(t, nil, "poweroff"); err == nil || strings.Contains(err.Error(), "closed by remote host") {
			break
		} else if time.Since(begin) > g.hardware().patience*bootLimit {
			t.Fatal(err)
		}
	}
	for begin = time.Now(); !strings.Contains(g.serial.end(4096), "reboot: Power down"); time.Sleep(100 * time.Millisecond) {
		if time.Since(begin) > shutdownLimit {
			t.Fatalf("still on: %+v", g.pi.State())
		}
	}
}
