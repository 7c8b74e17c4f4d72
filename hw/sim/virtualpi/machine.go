package virtualpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"picloud/hw/sim/pi"
)

var (
	// ErrNoQEMU means that the emulator is not installed.
	ErrNoQEMU = errors.New("no emulator")
	// ErrKernel means that what was served is nothing that the machine can run.
	ErrKernel = errors.New("not a kernel for this machine")
	// ErrModel means that there is no such machine.
	ErrModel = errors.New("no such machine")
)

const (
	// exitDelay is how long QEMU's output may stay open after it has ended.
	exitDelay = 2 * time.Second
)

// Machine is what is behind the firmware of one virtual Pi.
type Machine struct {
	// Model is the kind of machine; the zero value is [X86].
	Model Model
	// NS is the Pi's network namespace, and Interface its end of the cable there.
	NS        netns.NsHandle
	Interface string
	// MemoryMB is the guest's memory in MiB, 1024 if 0. A Pi3B has no other.
	MemoryMB int
	// Serial gets what the guest writes to its serial console, of one boot after
	// the other. Nil discards.
	Serial io.Writer
}

// Boot is a [pi.Boot]: it runs what was loaded until the power goes, which ends
// the emulator at once, or until the guest restarts or ends. Errors: pi.ErrReset
// when the guest has restarted, [ErrModel], [ErrNoQEMU], [ErrKernel], or what the
// network namespace or QEMU said.
func (m *Machine) Boot(ctx context.Context, l pi.Loaded) error {
	if err := m.boot(ctx, l); err != nil {
		return fmt.Errorf("virtualpi: boot: %w", err)
	}
	return nil
}

func (m *Machine) boot(ctx context.Context, l pi.Loaded) (err error) {
	kind, ok := models[m.Model]
	if !ok {
		return fmt.Errorf("%w: %q", ErrModel, m.Model)
	}
	if !kind.isKernel(l.Kernel) {
		return fmt.Errorf("%w: %d octets without %s", ErrKernel, len(l.Kernel), kind.format)
	}
	program, err := exec.LookPath(kind.emulator)
	if err != nil {
		return fmt.Errorf("%w (apt install %s): %w", ErrNoQEMU, kind.debian, err)
	}
	dir, err := os.MkdirTemp("", "picloud-virtualpi-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := join(m.NS, m.Interface)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	args, err := m.args(&kind, dir, l)
	if err != nil {
		return err
	}
	return m.run(ctx, program, args, c.tap)
}

// File descriptors that QEMU inherits.
const (
	fdTap = 3 + iota
	fdMonitor
)

// args writes what was loaded into the folder and returns QEMU's arguments.
func (m *Machine) args(kind *model, dir string, l pi.Loaded) ([]string, error) {
	args := []string{
		"-nodefaults", "-display", "none", "-no-reboot", "-sandbox", "on",
		"-chardev", "stdio,id=console,signal=off",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fdMonitor), "-mon", "chardev=monitor,mode=control",
		"-netdev", fmt.Sprintf("tap,id=net,fd=%d", fdTap),
		"-append", kind.cmdline(l.Cmdline),
	}
	args = append(args, kind.hardware(l.Board, m.MemoryMB, "console", "net")...)
	for _, f := range []struct {
		option  string
		content []byte
		wanted  bool
	}{
		{"-kernel", l.Kernel, true},
		{"-initrd", l.Initramfs, len(l.Initramfs) > 0},
		{"-dtb", l.DeviceTree, kind.deviceTree},
	} {
		if !f.wanted {
			continue
		}
		name := filepath.Join(dir, f.option[1:])
		if err := os.WriteFile(name, f.content, 0o600); err != nil {
			return nil, err
		}
		args = append(args, f.option, name)
	}
	return args, nil
}

// run runs QEMU on a thread of its own, with which it would end.
func (m *Machine) run(ctx context.Context, program string, args []string, tap *os.File) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = exitDelay
	cmd.ExtraFiles = []*os.File{tap, theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	complaints := new(tail)
	cmd.Stdout, cmd.Stderr = m.Serial, complaints
	reason := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for Pdeathsig
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		theirs.Close()
		if err != nil {
			ours.Close()
			ended <- err
			return
		}
		ended <- cmd.Wait()
	}()
	go func() { reason <- watch(ours) }()
	err = <-ended
	// QEMU's end of the monitor is closed by now.
	return outcome(ctx, <-reason, err, complaints.String())
}

// outcome tells how the guest's life has ended.
func outcome(ctx context.Context, reason string, err error, complaints string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("QEMU: %w: %s", err, strings.TrimSpace(complaints))
	case reason == guestReset:
		return pi.ErrReset
	}
	return nil
}

// socketPair makes a connection whose other end a child can inherit.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	own := os.NewFile(uintptr(fds[0]), "monitor")
	defer own.Close()
	theirs := os.NewFile(uintptr(fds[1]), "monitor")
	conn, err := net.FileConn(own)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// tail keeps the last octets written to it.
type tail []byte

const maxTail = 4096

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-maxTail):]
	return len(p), nil
}

func (t *tail) String() string { return string(*t) }
