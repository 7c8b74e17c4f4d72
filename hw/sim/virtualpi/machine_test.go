package virtualpi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/hw/sim/pi"
)

func TestCmdline(t *testing.T) {
	for _, tt := range []struct {
		kind         Model
		served, want string
	}{
		{X86, "console=serial0,115200 console=tty1 root=/dev/nfs rw", "console=ttyS0,115200 console=tty1 root=/dev/nfs rw"},
		{Pi3B, "console=serial0,115200 console=tty1 root=/dev/nfs rw", "console=ttyS1,115200 console=tty1 root=/dev/nfs rw"},
		{X86, " quiet \t splash ", "quiet splash"},
		{X86, "", ""},
	} {
		m := models[tt.kind]
		if got := m.cmdline(tt.served); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.served, got, tt.want)
		}
	}
}

// kernels begin as one for each machine does.
var kernels = map[Model][]byte{
	X86:  slices.Concat(make([]byte, 0x202), []byte("HdrS"), make([]byte, 99)),
	Pi3B: slices.Concat(make([]byte, 56), []byte("ARM\x64"), make([]byte, 99)),
}

func TestArgs(t *testing.T) {
	for _, tt := range []struct {
		m               Machine
		l               pi.Loaded
		want, otherwise string // words that are among the arguments, and that are not
	}{
		{Machine{}, pi.Loaded{}, "-m 1024|virtio-net-pci,romfile=,netdev=net,mac=dc:a6:32:01:02:03|-append root=/dev/nfs|-serial chardev:console|-no-reboot", "-initrd|-dtb|-M|-serial null"},
		{Machine{MemoryMB: 512}, pi.Loaded{Initramfs: []byte("i"), DeviceTree: []byte("d")}, "-initrd|-m 512", "-dtb"},
		{
			Machine{Model: Pi3B}, pi.Loaded{Initramfs: []byte("i"), DeviceTree: []byte("d")},
			"-M raspi3b|-m 1024|-initrd|-dtb|usb-net,netdev=net,mac=dc:a6:32:01:02:03|-serial null -serial chardev:console", "virtio",
		},
	} {
		tt.l.Kernel, tt.l.Cmdline = []byte("k"), "root=/dev/nfs"
		tt.l.Board.MAC = net.HardwareAddr{0xdc, 0xa6, 0x32, 1, 2, 3}
		kind, dir := models[tt.m.Model], t.TempDir()
		args, err := tt.m.args(&kind, dir, tt.l)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Join(args, " ")
		for _, want := range strings.Split(tt.want, "|") {
			if !strings.Contains(line, want) {
				t.Errorf("%s: no %s", line, want)
			}
		}
		for _, other := range strings.Split(tt.otherwise, "|") {
			if strings.Contains(line, other) {
				t.Errorf("%s: %s", line, other)
			}
		}
		for option, content := range map[string][]byte{"-kernel": tt.l.Kernel, "-initrd": tt.l.Initramfs, "-dtb": tt.l.DeviceTree} {
			if i := slices.Index(args, option); i >= 0 {
				if b, err := os.ReadFile(args[i+1]); err != nil || !bytes.Equal(b, content) {
					t.Errorf("%s: %q, %v", option, b, err)
				}
			}
		}
	}
}

// A kernel for another processor, such as that of a real Pi's image, is told
// apart before anything is made.
func TestNotAKernel(t *testing.T) {
	for _, tt := range []struct {
		kind Model
		k    []byte
	}{{X86, nil}, {X86, []byte("stand-in")}, {X86, kernels[Pi3B]}, {Pi3B, nil}, {Pi3B, []byte("stand-in")}, {Pi3B, kernels[X86]}} {
		if err := (&Machine{Model: tt.kind}).Boot(t.Context(), pi.Loaded{Kernel: tt.k}); !errors.Is(err, ErrKernel) {
			t.Errorf("%q: %d octets: %v, want %v", tt.kind, len(tt.k), err, ErrKernel)
		}
	}
	if err := (&Machine{Model: "pdp11"}).Boot(t.Context(), pi.Loaded{}); !errors.Is(err, ErrModel) {
		t.Errorf("%v, want %v", err, ErrModel)
	}
	if _, err := ImageOf(t.Context(), "pdp11", t.TempDir()); !errors.Is(err, ErrModel) {
		t.Errorf("%v, want %v", err, ErrModel)
	}
}

func TestNoEmulator(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for kind, debian := range map[Model]string{X86: "qemu-system-x86", Pi3B: "qemu-system-arm"} {
		err := (&Machine{Model: kind}).Boot(t.Context(), pi.Loaded{Kernel: kernels[kind]})
		if !errors.Is(err, ErrNoQEMU) || !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), debian) {
			t.Errorf("%v, want %v", err, ErrNoQEMU)
		}
	}
}

// Each machine has an image of its own, and another when its recipe changes.
func TestImageFiles(t *testing.T) {
	seen := map[string]Model{}
	for kind := range models {
		r, ok := recipes[kind]
		if !ok {
			t.Errorf("no recipe for %q", kind)
		}
		changed := r
		changed.options = append(slices.Clone(r.options), "--other")
		for _, name := range []string{r.file("/c"), changed.file("/c")} {
			if other, ok := seen[name]; ok || !strings.HasPrefix(name, "/c/image-"+r.arch+"-") {
				t.Errorf("%q: %s, as %q", kind, name, other)
			}
			seen[name] = kind
		}
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
