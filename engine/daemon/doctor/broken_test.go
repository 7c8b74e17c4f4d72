package doctor_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/doctor"
	"picloud/hw/sim/poeswitch"
	"picloud/hw/volume"
	"picloud/netboot/rootfs"
	"picloud/store"
	"picloud/tui/door"
)

// rack is a healthy rack of two Pis at a simulated switch, for tests to break.
type rack struct {
	t    *testing.T
	sim  poeswitch.Config
	cfg  *config.Config
	file string
	// power is what each Pi draws, in milliwatts.
	power atomic.Int64
	// after breaks what is there only when all runs.
	after func(sw *poeswitch.Switch)
	env   func(*doctor.Env)
}

const (
	ports = 4
	pis   = 2 // at the first ports
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port that nobody has a moment later.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "0.0.0.0:0")
	must(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func newRack(t *testing.T) *rack {
	t.Helper()
	dir := t.TempDir()
	r := &rack{t: t, file: filepath.Join(dir, "rack.toml"), env: func(*doctor.Env) {}, after: func(*poeswitch.Switch) {}}
	r.power.Store(2500)
	r.sim = poeswitch.Config{
		Name: "sw1", Ports: ports, BudgetWatts: 60, ReadCommunity: "public", WriteCommunity: "private",
		VLAN: func(port int) int { return 100 + port }, Timing: poeswitch.Timing{Speed: 100},
	}
	c := config.Default()
	r.cfg = c
	c.Rack, c.State = "A3", filepath.Join(dir, "state")
	c.DHCP.Port, c.TFTP.Port, c.NFS.Port, c.HTTP.Listen = freePort(t), freePort(t), 0, netip.AddrPort{}
	c.NFS.Driver, c.Console.Socket = config.NFSDemo, filepath.Join(dir, "sock")
	sw := config.DefaultSwitch()
	sw.Name, sw.Profile, sw.Ports = "sw1", "cisco-smb", ports
	sw.Timeout, sw.Retries, sw.CredentialsFile = 300*time.Millisecond, 1, filepath.Join(dir, "sw1.secret")
	sw.Credentials = config.Credentials{ReadCommunity: "public", WriteCommunity: "private"}
	c.Switches = []config.Switch{sw}
	c.Images = []config.Image{{Name: config.BuiltinImage}}
	for n := 1; n <= pis; n++ {
		c.Segments = append(c.Segments, config.Segment{
			Name: fmt.Sprintf("a3-%d", n), Interface: "lo", Address: netip.MustParsePrefix(fmt.Sprintf("127.64.0.%d/30", 4*n+1)),
			Switch: "sw1", Port: n, Model: engine.Model4B, MAC: engine.MAC{0xdc, 0xa6, 0x32, 0, 0, byte(n)}, Image: config.BuiltinImage,
		})
	}
	r.makeState()
	return r
}

// makeState makes what a service has in its state folder after a day.
func (r *rack) makeState() {
	t := r.t
	must(t, os.WriteFile(r.file, []byte("rack = \"A3\"\n"), 0o644))
	must(t, os.WriteFile(r.cfg.Switches[0].CredentialsFile, []byte("community = \"private\"\n"), 0o640))
	must(t, os.MkdirAll(filepath.Join(r.cfg.State, "images"), 0o700))
	must(t, os.Mkdir(filepath.Join(r.cfg.State, "volumes"), 0o700))
	must(t, rootfs.Builtin(t.Context(), r.image()))
	_, _, err := door.HostKey(r.state("host_ed25519"))
	must(t, err)
	s, err := store.Open(t.Context(), daemon.Database(r.cfg), store.Options{})
	must(t, err)
	_, err = s.Rotate(t.Context(), daemon.BackupFolder(r.cfg), time.Now(), 3)
	must(t, err)
	must(t, s.Close())
}

func (r *rack) state(name string) string { return filepath.Join(r.cfg.State, name) }
func (r *rack) image(name ...string) string {
	return filepath.Join(append([]string{r.state("images"), config.BuiltinImage}, name...)...)
}

// start plugs the Pis into the simulated switch, and waits until they are up.
func (r *rack) start() *poeswitch.Switch {
	t := r.t
	sw, err := poeswitch.New(r.sim)
	must(t, err)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	if !r.cfg.Switches[0].Address.IsValid() {
		r.cfg.Switches[0].Address = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sw.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	for n := 1; n <= pis; n++ {
		must(t, sw.Attach(n, poeswitch.Device{Class: 1, Milliwatts: func() int { return int(r.power.Load()) }}))
	}
	for n := 1; n <= pis; n++ {
		for deadline := time.Now().Add(10 * time.Second); !sw.Delivering(n); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("port %d gets no power", n)
			}
		}
	}
	r.after(sw)
	for n := 1; n <= pis; n++ {
		must(t, sw.SetLink(n, true))
	}
	return sw
}

// examine lets the doctor see all of it.
func (r *rack) examine() doctor.Report {
	t := r.t
	t.Helper()
	r.start()
	env, done, err := daemon.DoctorEnv(r.cfg, r.file)
	must(t, err)
	defer done()
	env.Clock = func() (doctor.Clock, error) { return doctor.Clock{Synchronised: true}, nil }
	if r.cfg.NFS.Driver == config.NFSDemo {
		env.NFS = nil // it is no server for a rack, and would be said to be none
	}
	r.env(env)
	// With another server the portmapper's port is looked at, which is the
	// host's and no test's.
	return doctor.Examine(t.Context(), env, func(c doctor.Check) bool { return c.Name != "ports" || r.cfg.NFS.Driver == config.NFSDemo })
}

func TestHealthy(t *testing.T) {
	r := newRack(t)
	r.env = func(e *doctor.Env) { e.WriteTest = true }
	report := r.examine()
	groups := map[string]bool{}
	for _, f := range report.Findings {
		groups[f.Group] = true
		if f.Level != doctor.OK || f.Remedy != "" || f.Text == "" {
			t.Errorf("of a healthy rack: %+v", f)
		}
	}
	if report.Worst != doctor.OK || report.OK != len(report.Findings) || !groups["switches"] || !groups["files"] {
		t.Errorf("%+v", report)
	}
}

// breakages are what goes wrong in racks, each done to a healthy one.
var breakages = []struct {
	name    string
	do      func(r *rack)
	check   string
	level   doctor.Level
	subject string // in it
	text    string // in it
	remedy  string // in it
	alone   bool   // it changes the process
}{
	{"a program has the port of DHCP", func(r *rack) {
		c, err := net.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", r.cfg.DHCP.Port))
		must(r.t, err)
		r.t.Cleanup(func() { _ = c.Close() })
	}, "ports", doctor.Failure, "udp ", fmt.Sprintf("(process %d", os.Getpid()), fmt.Sprint(os.Getpid()), false},
	{"no such interface", func(r *rack) { r.cfg.Segments[1].Interface = "gone0.102" },
		"interfaces", doctor.Failure, "segment a3-2", "no such interface", "ip link", false},
	{"the switch does not answer", func(r *rack) {
		r.cfg.Switches[0].Address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort(r.t)))
	}, "switch", doctor.Failure, "sw1", "no answer", "SNMP is enabled", false},
	{"the switch does not take the community for writing", func(r *rack) { r.cfg.Switches[0].Credentials.WriteCommunity = "secret" },
		"switch-write", doctor.Failure, "sw1", "not the one for writing", "write_community", false},
	{"the switch lets the community only read", func(r *rack) {
		r.cfg.Switches[0].Credentials.WriteCommunity = "public"
		r.env = func(e *doctor.Env) { e.WriteTest = true }
	}, "switch-write", doctor.Failure, "sw1", "NoAccess", "write access", false},
	{"spanning tree holds a port", func(r *rack) {
		r.after = func(sw *poeswitch.Switch) {
			must(r.t, sw.SetSTP(2, poeswitch.STP{ForwardDelay: 1000 * time.Hour}))
		}
	}, "spanning-tree", doctor.Failure, "sw1/2", "listening", "edge port", false},
	{"a port is no edge port", func(r *rack) {
		r.after = func(sw *poeswitch.Switch) { must(r.t, sw.SetSTP(2, poeswitch.STP{ForwardDelay: 1})) }
	}, "spanning-tree", doctor.Warning, "sw1", "ports 2 are no edge ports", "PortFast", false},
	{"more power is drawn than there is", func(r *rack) {
		r.sim.BudgetWatts = 20
		r.after = func(*poeswitch.Switch) { r.power.Store(12_000) }
	}, "poe-budget", doctor.Failure, "sw1", "24 W are drawn", "supply", false},
	{"more power may be drawn than there is", func(r *rack) { r.sim.BudgetWatts = 7 },
		"poe-budget", doctor.Warning, "sw1", "8 W by their class", "supply", false},
	{"a port is shorted", func(r *rack) {
		r.after = func(sw *poeswitch.Switch) {
			must(r.t, sw.SetFault(1, poeswitch.Short))
			for sw.Delivering(1) {
				time.Sleep(time.Millisecond)
			}
		}
	}, "poe-budget", doctor.Failure, "sw1/1", "fault", "unplug", false},
	{"two Pis share a VLAN", func(r *rack) { r.sim.VLAN = func(int) int { return 1 } },
		"vlans", doctor.Failure, "sw1/1", "their Pis reach each other", "a VLAN of its own", false},
	{"a Pi is in the VLAN of another", func(r *rack) {
		r.sim.Tagged = func(port int) []int { return map[int][]int{2: {101}}[port] }
	}, "vlans", doctor.Failure, "sw1/2", "it is in VLANs [101], too", "take the port out", false},
	{"the switch has fewer ports", func(r *rack) { r.cfg.Switches[0].Ports = ports + 2 },
		"switch-tables", doctor.Warning, "sw1", "no power at ports 5, 6", "ports =", false},
	{"the profile is another vendor's", func(r *rack) { r.cfg.Switches[0].Profile = "tp-link" },
		"switch-tables", doctor.Failure, "sw1", "ports 1, 2, which have Pis", "profile", false},
	{"the database is damaged", func(r *rack) { overwrite(r.t, daemon.Database(r.cfg)) },
		"database", doctor.Failure, "picloud.db", "damaged", "picloud restore " + "/", false},
	{"the newest backup is damaged", func(r *rack) {
		names, err := store.Backups(daemon.BackupFolder(r.cfg))
		must(r.t, err)
		overwrite(r.t, names[0])
	}, "database", doctor.Failure, "backups/picloud-", "cannot be restored", "picloud backup", false},
	{"the backups are old", func(r *rack) { ageBackups(r, 5*24*time.Hour) },
		"backup", doctor.Warning, "backups", "lacks 5 days", "picloud backup", false},
	{"the backups are ancient", func(r *rack) { ageBackups(r, 50*24*time.Hour) },
		"backup", doctor.Failure, "backups", "lacks 50 days", "picloud backup", false},
	{"a boot file is missing", func(r *rack) { must(r.t, os.Remove(r.image("boot/firmware/bcm2711-rpi-4-b.dtb"))) },
		"images", doctor.Failure, "builtin", "Pi 4B boards do not boot from it: no bcm2711-rpi-4-b.dtb", "picloud image add", false},
	{"a kernel is empty", func(r *rack) { must(r.t, os.Truncate(r.image("boot/firmware/kernel8.img"), 0)) },
		"images", doctor.Failure, "builtin", "no kernel8.img or kernel7l.img", "picloud image add", false},
	{"an image is no operating system", func(r *rack) { must(r.t, os.Remove(r.image("etc/os-release"))) },
		"images", doctor.Failure, "builtin", "no os-release", "Debian", false},
	{"an image was never added", func(r *rack) { r.cfg.Images = append(r.cfg.Images, config.Image{Name: "trixie"}) },
		"images", doctor.Failure, "trixie", "no such image", "picloud image add trixie", false},
	{"the pool is nearly full", func(r *rack) {
		r.env = func(e *doctor.Env) {
			e.Pool = func(context.Context) (volume.Pool, error) {
				return volume.Pool{Size: 100e9, Used: 93e9, NearlyFull: true}, nil
			}
		}
	}, "volumes", doctor.Warning, "folder", "93 % of 100.0 GB", "larger disk", false},
	{"the pool's metadata is full", func(r *rack) {
		r.env = func(e *doctor.Env) {
			e.Pool = func(context.Context) (volume.Pool, error) {
				return volume.Pool{Size: 100e9, Used: 50e9, Metadata: 0.99, NearlyFull: true}, nil
			}
		}
	}, "volumes", doctor.Failure, "folder", "99 %", "disk", false},
	{"everybody can read the host key", func(r *rack) { must(r.t, os.Chmod(r.state("host_ed25519"), 0o644)) },
		"file-modes", doctor.Failure, "host_ed25519", "others may read", "chmod 600", false},
	{"everybody can write the configuration", func(r *rack) { must(r.t, os.Chmod(r.file, 0o666)) },
		"file-modes", doctor.Failure, "rack.toml", "others may write", "chmod 644", false},
	{"the clock is not synchronised", func(r *rack) {
		r.env = func(e *doctor.Env) { e.Clock = func() (doctor.Clock, error) { return doctor.Clock{}, nil } }
	}, "clock", doctor.Warning, "", "not synchronised", "timedatectl", false},
	{"the clock was set back", func(r *rack) {
		r.env = func(e *doctor.Env) { e.Now = func() time.Time { return time.Now().Add(-48 * time.Hour) } }
	}, "clock", doctor.Failure, "", "set back", "timedatectl", false},
	{"the clock is at its beginning", func(r *rack) {
		r.env = func(e *doctor.Env) { e.Now = func() time.Time { return time.Unix(3600, 0) } }
	}, "clock", doctor.Failure, "", "1970", "timedatectl", false},
	{"there is no NFS server", func(r *rack) {
		r.cfg.NFS.Driver = config.NFSAuto
		r.t.Setenv("PATH", r.t.TempDir())
	}, "nfs-server", doctor.Failure, "", "exportfs", "apt install nfs-kernel-server", true},
	{"the NFS server would not part the Pis", func(r *rack) {
		r.cfg.NFS.Driver = "ganesha"
		dir := r.t.TempDir()
		for _, name := range []string{"ganesha.nfsd", "rpcbind", "dbus-daemon", "dbus-send"} {
			must(r.t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/false\n"), 0o755))
		}
		r.t.Setenv("PATH", dir)
	}, "nfs-server", doctor.Failure, "", "", "nfs-kernel-server", true},
	{"LVM is not installed", func(r *rack) {
		r.cfg.Volumes = config.Volumes{Driver: config.VolumesLVM, Group: "vg0", Pool: "picloud", NearlyFull: 90}
		r.t.Setenv("PATH", r.t.TempDir())
		r.cfg.Images = nil
	}, "volumes", doctor.Failure, "lvm", "no lvs", "apt install lvm2", true},
	{"btrfs is not there", func(r *rack) { r.cfg.Volumes.Driver = "btrfs" },
		"volumes", doctor.Failure, "btrfs", "not on btrfs", "mkfs.btrfs", false},
}

// Each thing that is broken on purpose is found, with what to do, and nothing
// else is said to be broken.
func TestBroken(t *testing.T) {
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			if !b.alone {
				t.Parallel()
			}
			r := newRack(t)
			b.do(r)
			if b.name == "the NFS server would not part the Pis" && os.Getuid() != 0 {
				t.Skip("nfs-ganesha needs root")
			}
			report := r.examine()
			hit := slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool {
				return f.Check == b.check && f.Level == b.level && strings.Contains(f.Subject, b.subject) &&
					strings.Contains(f.Text, b.text) && strings.Contains(f.Remedy, b.remedy)
			})
			if !hit || report.Worst != b.level {
				t.Errorf("not found; %s in all", report.Worst)
			}
			for _, f := range report.Findings {
				if f.Level > doctor.OK && (!hit || f.Check != b.check) {
					t.Errorf("%s %s: %s: %s (%s)", f.Level, f.Check, f.Subject, f.Text, f.Remedy)
				}
				if f.Level > doctor.OK && f.Remedy == "" {
					t.Errorf("no remedy: %+v", f)
				}
			}
		})
	}
}

// overwrite damages a database in its middle.
func overwrite(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	_, err = f.WriteAt(slices.Repeat([]byte{0xA5}, int(info.Size())-8192), 4096)
	must(t, err)
}

// ageBackups makes the only backup one of before.
func ageBackups(r *rack, age time.Duration) {
	names, err := store.Backups(daemon.BackupFolder(r.cfg))
	must(r.t, err)
	old := store.BackupName(store.BackupTime(names[0]).Add(-age))
	must(r.t, os.Rename(names[0], filepath.Join(filepath.Dir(names[0]), old)))
}
