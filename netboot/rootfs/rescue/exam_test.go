package rescue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/netboot/report"
)

// examined is an image with everything that an examination needs.
func examined() map[string]any {
	m := debian()
	for _, p := range examNeeded {
		if _, ok := m["usr/bin/"+p.name]; !ok {
			m["usr/bin/"+p.name] = object{interpreter: loader, needed: []string{"libc.so.6"}}.bytes()
		}
	}
	return m
}

func buildExam(t *testing.T, image map[string]any) (Result, error) {
	t.Helper()
	return Build(t.Context(), Options{Image: makeImage(t, image), Out: filepath.Join(t.TempDir(), "base"), System: Examination})
}

// An examination has no way in, and nothing of the image decides what runs.
func TestBuildExamination(t *testing.T) {
	r, err := buildExam(t, examined())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	all := unpack(t, b)
	for name, mode := range map[string]uint32{
		"init": unix.S_IFREG | 0o755, "bin": unix.S_IFLNK | 0o777, "usr/bin/bash": unix.S_IFREG | 0o755,
		"usr/lib/picloud/tell": unix.S_IFREG | 0o755, "usr/bin/sha256sum": unix.S_IFREG | 0o755, "usr/sbin/insmod": unix.S_IFLNK | 0o777,
		"dev/console": unix.S_IFCHR | 0o600, libDir + "libc.so.6": unix.S_IFREG | 0o755, "run": unix.S_IFDIR | 0o755,
	} {
		if got, ok := all[name]; !ok || got.mode != mode {
			t.Errorf("%s: mode %o, want %o", name, got.mode, mode)
		}
	}
	for name, u := range all {
		if strings.Contains(name, "ssh") || strings.Contains(name, "passwd") || strings.Contains(name, "shadow") || strings.Contains(name, "/nfs/") ||
			strings.Contains(u.data, "secret") || strings.Contains(u.data, "somebody") {
			t.Errorf("it has %s: %.60q", name, u.data)
		}
	}
	list := strings.Fields(all["usr/lib/modules/"+kernel+"/rescue.load"].data)
	if want := []string{"kernel/drivers/net/macb.ko", "kernel/drivers/net/phy/microchip.ko", "kernel/drivers/usb/lan78xx.ko"}; !slices.Equal(list, want) {
		t.Errorf("modules %q, want %q", list, want)
	}
	if r.Boot.Initramfs != "initramfs-exam" || !slices.Contains(r.Boot.Args, "panic=0") || slices.Contains(r.Boot.Args, "panic=10") || len(r.Warnings) != 0 {
		t.Errorf("%+v", r)
	}
	rescued, _ := buildFrom(t, makeImage(t, examined()))
	if r.Entries >= rescued.Entries {
		t.Errorf("it has %d entries, the rescue system %d", r.Entries, rescued.Entries)
	}
}

func TestBuildExaminationRefuses(t *testing.T) {
	for says, change := range map[string]func(map[string]any){
		"bash (install bash in the image)":    func(m map[string]any) { delete(m, "usr/bin/bash") },
		"cmp (install diffutils in the image": func(m map[string]any) { delete(m, "usr/bin/cmp") },
		"/bin/bash":                           func(m map[string]any) { delete(m, "bin") },
		"insmod (install kmod in the image)":  func(m map[string]any) { delete(m, "usr/sbin/insmod") },
	} {
		m := examined()
		change(m)
		if _, err := buildExam(t, m); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, err := Build(t.Context(), Options{Image: makeImage(t, examined()), System: "other"}); !errors.Is(err, ErrSystem) {
		t.Errorf("another system: %v", err)
	}
}

// What simulated boards boot has our own files, whatever the image lacks.
func TestBuildBare(t *testing.T) {
	out := filepath.Join(t.TempDir(), "base")
	r, err := Build(t.Context(), Options{Image: makeImage(t, map[string]any{"etc/hostname": "pi", "boot/firmware/kernel8.img": "kernel"}), Out: out, System: Examination, Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if all := unpack(t, b); !strings.Contains(all["init"].data, "examination") || len(all) > 20 || r.Boot.Initramfs != "initramfs-exam" {
		t.Errorf("%d entries, %+v", len(all), r)
	}
}

// script is what the examination's /init is made of, but for where it begins,
// with its own files in a folder, and with what a test puts in the place of the
// rest of the machine.
func script(t *testing.T, instead string) (dir, text string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range examEmbedded {
		b, err := files.ReadFile("files/" + f.from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f.path)), b, 0o700)
		}
		if err == nil && f.path == "init" {
			head, _, ok := strings.Cut(string(b), "# Here it begins.\n")
			if !ok {
				t.Fatal("it has no beginning")
			}
			text = strings.NewReplacer("/usr/lib/picloud", dir, "STATE=/run/exam", "STATE="+dir, "BURNING=/run/burn", "BURNING="+dir).Replace(head)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, text + "\n" + instead + "\n"
}

func bash(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-s")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// machine stands for a small one: what is mounted is a folder.
const machine = `
mount() { :; }
umount() { :; }
meminfo() { echo 65536; }
tell() { :; }
heat() { :; }
throttled() { :; }
CORES=2 BURN=1
`

// TestBurn works the host hard, for a second, with nothing wrong and with what
// would be wrong.
func TestBurn(t *testing.T) {
	for name, tc := range map[string]struct {
		instead string
		want    []string
	}{
		"sound":     {"", []string{" miscomputed=0 ", " miswritten=0\n"}},
		"processor": {`sha256sum() { command sha256sum; echo $RANDOM$RANDOM; }`, []string{" miswritten=0\n"}},
		"memory":    {`cat() { [[ $# -eq 0 ]] && command cat || { command cat "$@" | tr a b; }; }`, []string{" miscomputed=0 "}},
		"no core":   {`compute() { [[ $1 == 0 ]] || exit 1; echo "5 0" >"$STATE/computed.$1"; }`, []string{" computed=5 ", "trouble=core 1 did not come to its end"}},
		"no check":  {`rm() { return 1; }`, []string{" checked=0 ", "trouble=the check of the memory did not come to its end"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, text := script(t, machine+tc.instead)
			out := bash(t, text+"burn\nprintf '%s ' \"${RESULT[@]}\" | tr -s ' ' ' '; echo\n")
			last := strings.TrimRight(out[strings.LastIndex(out, "phase=end"):], " \n") + "\n"
			for _, want := range tc.want {
				if !strings.Contains(last, want) {
					t.Errorf("%s: no %q in %q", name, want, last)
				}
			}
			var computed, miscomputed, checked, miswritten, burned int
			if _, err := fmt.Sscanf(last, "phase=end burned=%d computed=%d miscomputed=%d checked=%d miswritten=%d", &burned, &computed, &miscomputed, &checked, &miswritten); err != nil {
				t.Errorf("%s: %q: %v", name, last, err)
			}
			if name == "sound" && (burned < 1 || computed < 2 || checked < 8) || name == "processor" && miscomputed == 0 || name == "memory" && miswritten == 0 {
				t.Errorf("%s: %q", name, last)
			}
		})
	}
}

// TestTell has the script talk to the file server's own part.
func TestTell(t *testing.T) {
	var mu sync.Mutex
	var got []report.Report
	const token = "TOKENTOKENTOKENTOKEN"
	s := report.New(report.Config{Take: func(_ netip.Addr, said string, r report.Report) error {
		if said != token {
			return fmt.Errorf("%w: not that token", report.ErrRefused)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
		return nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	o := report.Order{Server: at, Address: netip.MustParsePrefix("127.0.0.1/8"), Token: token, Burn: 20e9}
	dir, text := script(t, fmt.Sprintf("HOST=%s PORT=%d TOKEN=%s", at.Addr(), at.Port(), token))
	for name, content := range map[string]string{
		"cmdline":    "console=tty1 " + strings.Join(o.Args(), " ") + " panic=0\n",
		"tree/model": "Raspberry Pi 4 Model B Rev 1.5\x00", "tree/serial-number": "10000000b0a4d001\x00", "tree/system/linux,revision": "\x00\xc0\x31\x15",
		"net/eth0/address": "dc:a6:32:01:02:03\n", "thermal/thermal_zone0/temp": "61234\n", "thermal/thermal_zone1/temp": "50000\n",
		"devices/platform/soc/soc:firmware/get_throttled": "50000\n", "meminfo": "MemTotal:        3882152 kB\nMemAvailable:    3700000 kB\n",
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text = strings.NewReplacer(
		"/proc/cmdline", dir+"/cmdline", "/proc/device-tree", dir+"/tree", "/proc/meminfo", dir+"/meminfo",
		"/sys/class/net", dir+"/net", "/sys/class/thermal", dir+"/thermal", "/sys/devices", dir+"/devices",
	).Replace(text)
	const look = "HOST= PORT= TOKEN=; orders; look; CORES=4; HEAT= THROTTLED= DEAF=; heat; throttled\n"
	const say = "tell phase=end burned=21 computed=800 checked=1900 miswritten=3 && echo told; true\n"
	if out := bash(t, text+look+say); !strings.Contains(out, "does not take the report: no connection to 127.0.0.1 port") || strings.Contains(out, "told") {
		t.Errorf("to nobody: %s", out)
	}
	s.Follow([]report.Place{{Listen: at, Client: netip.MustParseAddr("127.0.0.1")}})
	if out := bash(t, text+look+say); out != "told\n" {
		t.Errorf("%q", out)
	}
	if out := bash(t, text+look+"TOKEN=OTHERTOKENOTHERTOKEN\n"+say); !strings.Contains(out, "does not take the report: 403 Forbidden it does not count: not that token") {
		t.Errorf("with another token: %q", out)
	}
	want := report.Report{
		Done: true, Board: "Raspberry Pi 4 Model B Rev 1.5", Revision: 0xc03115, Serial: 0x10000000b0a4d001, MAC: [6]byte{0xdc, 0xa6, 0x32, 1, 2, 3},
		MemoryKB: 3882152, Cores: 4, Heat: 61234, HasHeat: true, Throttled: 0x50000, HasThrottled: true,
		Burned: 21e9, Computed: 800, CheckedMB: 1900, Miswritten: 3,
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
