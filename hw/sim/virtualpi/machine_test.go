package virtualpi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/hw/sim/pi"
)

func TestCmdline(t *testing.T) {
	for _, tt := range []struct{ served, want string }{
		{"console=serial0,115200 console=tty1 root=/dev/nfs rw", "console=ttyS0,115200 console=tty1 root=/dev/nfs rw"},
		{" quiet \t splash ", "quiet splash"},
		{"", ""},
	} {
		if got := cmdline(tt.served); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.served, got, tt.want)
		}
	}
}

func TestArgs(t *testing.T) {
	l := pi.Loaded{Kernel: []byte("k"), Cmdline: "root=/dev/nfs", Board: pi.Board{MAC: net.HardwareAddr{0xdc, 0xa6, 0x32, 1, 2, 3}}}
	args, err := new(Machine).args(t.TempDir(), l)
	if err != nil || slices.Contains(args, "-initrd") {
		t.Errorf("%v, %v", args, err)
	}
	line := strings.Join(args, " ")
	for _, want := range []string{"-m 1024", "mac=dc:a6:32:01:02:03", "-append root=/dev/nfs", "-no-reboot"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s: no %s", line, want)
		}
	}
	l.Initramfs = []byte("i")
	if args, err = (&Machine{MemoryMB: 512}).args(t.TempDir(), l); err != nil || !slices.Contains(args, "-initrd") || !slices.Contains(args, "512") {
		t.Errorf("%v, %v", args, err)
	}
}

// A kernel for another processor, such as that of a real Pi's image, is told
// apart before anything is made.
func TestNotAKernel(t *testing.T) {
	for _, k := range [][]byte{nil, []byte("stand-in"), make([]byte, 4096)} {
		if err := new(Machine).Boot(t.Context(), pi.Loaded{Kernel: k}); !errors.Is(err, ErrKernel) {
			t.Errorf("%d octets: %v, want %v", len(k), err, ErrKernel)
		}
	}
}

func TestNoEmulator(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	kernel := make([]byte, 4096)
	copy(kernel[0x202:], "HdrS")
	if err := new(Machine).Boot(t.Context(), pi.Loaded{Kernel: kernel}); !errors.Is(err, ErrNoQEMU) || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v, want %v", err, ErrNoQEMU)
	}
}

// A monitor's words as QEMU 7.2 says them.
func TestWatch(t *testing.T) {
	const hello = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}` + "\r\n" + `{"return": {}}` + "\r\n"
	const at = `{"timestamp": {"seconds": 1700000000, "microseconds": 1}, `
	for _, tt := range []struct{ said, want string }{
		{hello, ""},
		{hello + at + `"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}` + "\r\n", guestReset},
		{hello + at + `"event": "NIC_RX_FILTER_CHANGED", "data": {"path": "/x"}}` + "\r\n" + at + `"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}` + "\r\n", "guest-shutdown"},
		{"no JSON", ""},
	} {
		var sent bytes.Buffer
		got := watch(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(tt.said), &sent})
		if got != tt.want || !strings.Contains(sent.String(), "qmp_capabilities") {
			t.Errorf("%q: %q after %q, want %q", tt.said, got, sent.String(), tt.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("exit status 1")
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		reason string
		err    error
		want   error
	}{
		{"power cut", cut, "", errors.New("signal: killed"), context.Canceled},
		{"restarted", t.Context(), guestReset, nil, pi.ErrReset},
		{"ended", t.Context(), "guest-shutdown", nil, nil},
		{"broken", t.Context(), "", failed, failed},
	} {
		if got := outcome(tt.ctx, tt.reason, tt.err, ""); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// QEMU is killed at once when the power goes: here something stands in for it
// that would not end by itself.
func TestPowerCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	err := new(Machine).run(ctx, "/bin/sleep", []string{"60"}, nil)
	if !errors.Is(err, context.Canceled) || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if err := new(Machine).run(t.Context(), "/does/not/exist", nil, nil); err == nil {
		t.Error("started nothing")
	}
}

func TestTail(t *testing.T) {
	w := new(tail)
	for range 100 {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
	}
	_, _ = w.Write([]byte("end"))
	if s := w.String(); len(s) != maxTail || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d octets", len(s))
	}
}
