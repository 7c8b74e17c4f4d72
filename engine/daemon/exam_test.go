package daemon

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/netboot/dhcp"
	"picloud/netboot/report"
	"picloud/netboot/rootfs/rescue"
)

// TestExamine: what a board boots to be examined is of the image alone, and has a
// token that is another each time.
func TestExamine(t *testing.T) {
	image := DebianFolder(t)
	r, exports := newRoots(t, func(c *config.Config, _ *exporter) {
		c.Images = append(c.Images, config.Image{Name: "debian", Path: image})
		c.Exam.Burn = 30 * time.Second
	})
	pi := somePi("a")
	entry := engine.BootEntry{Pi: "a", Segment: pi.Segment, Model: engine.Model4B, MAC: engine.MAC{2, 0, 0, 0, 0, 1}, Volume: "a-1", Image: "debian", Host: "a", Exam: true}
	if _, err := r.bootFolder(entry); !errors.Is(err, errNoRecord) {
		t.Errorf("boots an examination that was not made: %v", err)
	}
	if err := r.Examine(t.Context(), pi, "debian"); !errors.Is(err, rescue.ErrMissing) {
		t.Errorf("built of nothing: %v", err)
	}
	if err := r.Examine(t.Context(), pi, "../debian"); err == nil {
		t.Error("a name that leads out was taken")
	}

	// The built-in image has no programs, and only simulated Pis boot it.
	tokens := map[string]bool{}
	for range 2 {
		if err := r.Examine(t.Context(), pi, config.BuiltinImage); err != nil {
			t.Fatal(err)
		}
		f, err := r.bootFolder(entry)
		if err != nil {
			t.Fatal(err)
		}
		cmdline, _ := f.Generated("cmdline.txt")
		o, err := report.ParseOrder(cmdline)
		if err != nil || o.Server != netip.MustParseAddrPort("10.64.0.1:10069") || o.Address != pi.Segment.Addr || o.Burn != 30*time.Second {
			t.Errorf("%q: %+v, %v", cmdline, o, err)
		}
		for _, never := range []string{"root=", "nfsroot", "ip=", "init=/sbin"} {
			if strings.Contains(cmdline, never) {
				t.Errorf("%s in %q", never, cmdline)
			}
		}
		tokens[o.Token] = true
		if text, _ := f.Generated("config.txt"); !strings.Contains(text, "initramfs initramfs-exam followkernel") {
			t.Errorf("config.txt: %s", text)
		}
		if got := readBoot(t, f, "initramfs-exam"); !bytes.HasPrefix(got, []byte("\x1f\x8b")) {
			t.Errorf("initramfs: %.10q", got)
		}
		if got := readBoot(t, f, "kernel8.img"); len(got) == 0 {
			t.Error("no kernel")
		}
	}
	if len(tokens) != 2 {
		t.Errorf("tokens %v", tokens)
	}
	info, err := os.Stat(filepath.Join(r.exams.dir, "pi", "a.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	if bases, _ := filepath.Glob(filepath.Join(r.exams.dir, "base", config.BuiltinImage, "*.img")); len(bases) != 1 {
		t.Errorf("bases %v: one is enough for all", bases)
	}
	if len(exports) != 0 {
		t.Errorf("exported: %v", exports)
	}
	for _, bad := range []engine.Segment{{Server: pi.Segment.Server}, {Addr: pi.Segment.Addr}} {
		if err := r.Examine(t.Context(), engine.Pi{Name: "a", Segment: bad}, config.BuiltinImage); err == nil {
			t.Errorf("examined on %+v", bad)
		}
	}
}

// TestReportSeen: what a board says of itself is put in the rack's words, by its
// revision code before its name.
func TestReportSeen(t *testing.T) {
	client := netip.MustParseAddr("10.64.0.2")
	r := report.Report{
		Done: true, Board: "Raspberry Pi 4 Model B Rev 1.5", Revision: 0xc03115, Serial: 0x10000000b0a4d001, MAC: [6]byte{1, 2, 3, 4, 5, 6},
		MemoryKB: 3882152, Cores: 4, Heat: 61234, HasHeat: true, Throttled: 0x50000, HasThrottled: true, Burned: 20 * time.Second,
		Computed: 812, Miscomputed: 1, CheckedMB: 1896, Miswritten: 2, Trouble: "x",
	}
	want := engine.ReportSeen{
		Client: client, Done: true, Board: r.Board, Model: engine.Model4B, Serial: 0xb0a4d001, MAC: engine.MAC(r.MAC), Memory: 3791, Sold: 4096,
		Cores: 4, Heat: 61234, HasHeat: true, Throttled: 0x50000, HasThrottled: true, Burned: 20 * time.Second,
		Computed: 812, Miscomputed: 1, Checked: 1896, Miswritten: 2, Shortcomings: "x",
	}
	if got := reportSeen(client, r); *got != want {
		t.Errorf("%+v, want %+v", *got, want)
	}
	for _, tc := range []struct {
		revision dhcp.Revision
		name     string
		want     engine.Model
	}{
		{0xa020d3, "", engine.Model3BPlus}, {0xa02082, "Raspberry Pi 5", engine.Model3B}, {0xd04170, "", engine.Model5},
		{0, "Raspberry Pi 3 Model B Plus Rev 1.3", engine.Model3BPlus}, {0, "Raspberry Pi 3 Model B Rev 1.2", engine.Model3B},
		{0, "Raspberry Pi 400 Rev 1.0", engine.Model4B}, {0, "Raspberry Pi 5 Model B Rev 1.0", engine.Model5},
		{0, "Raspberry Pi 3 Model B", engine.Model3B}, {0, "Banana Pi 4", ""}, {0, "", ""}, {0x900093, "Raspberry Pi Zero", ""},
	} {
		if got := modelOf(tc.revision, tc.name); got != tc.want {
			t.Errorf("%s %q: %q, want %q", tc.revision, tc.name, got, tc.want)
		}
	}
}
