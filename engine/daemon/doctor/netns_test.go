//go:build netns

package doctor_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/doctor"
	"picloud/hw/link"
	"picloud/hw/volume"
	"picloud/hw/volume/folder"
)

// inNamespace moves the test into network and mount namespaces of its own.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("namespaces need root, and CI must run this test")
		}
		t.Skip("namespaces need root: run with sudo go test -tags netns")
	}
	runtime.LockOSThread() // and ends with the test, with its namespaces
	fresh, err := netns.New()
	must(t, err)
	t.Cleanup(func() { _ = fresh.Close() })
}

// wired is an environment with one segment on the interface seg0.
func wired(t *testing.T) *doctor.Env {
	t.Helper()
	links, err := link.Open()
	must(t, err)
	t.Cleanup(links.Close)
	return &doctor.Env{Config: config.Default(), Links: links, Service: os.Getpid(), Pis: []engine.Pi{{
		Name: "a3-001", MAC: engine.MAC{0xdc, 0xa6, 0x32, 0, 0, 1}, Segment: engine.Segment{
			Name: "a3-001", Interface: "seg0", Server: netip.MustParseAddr("10.77.0.1"),
			Addr: netip.MustParsePrefix("10.77.0.2/30"), Port: engine.PortID{Switch: "sw1", Port: 1},
		},
	}}}
}

func network(t *testing.T, e *doctor.Env) doctor.Report {
	t.Helper()
	return doctor.Examine(t.Context(), e, func(c doctor.Check) bool { return c.Group == "network" })
}

func expect(t *testing.T, r doctor.Report, level doctor.Level, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
			return f.Level == level && strings.Contains(f.Text+" ("+f.Remedy+")", text)
		}) {
			t.Errorf("no %v with %q in %+v", level, text, r.Findings)
		}
	}
	if r.Worst != level {
		t.Errorf("%v in all, want %v: %+v", r.Worst, level, r.Findings)
	}
}

// A segment is taken from nothing to working, each time by what the doctor
// says is to be done.
func TestInterfaces(t *testing.T) {
	inNamespace(t)
	e := wired(t)
	expect(t, network(t, e), doctor.Failure, "no such interface")

	attrs := netlink.NewLinkAttrs()
	attrs.Name = "seg0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"}))
	seg, err := netlink.LinkByName("seg0")
	must(t, err)
	far, err := netlink.LinkByName("far")
	must(t, err)
	expect(t, network(t, e), doctor.Failure, "ip link set seg0 up")

	must(t, netlink.LinkSetUp(seg))
	expect(t, network(t, e), doctor.Failure, "ip address add 10.77.0.1/30 dev seg0")

	address := &net.IPNet{IP: net.IPv4(10, 77, 0, 1).To4(), Mask: net.CIDRMask(30, 32)}
	must(t, netlink.AddrAdd(seg, &netlink.Addr{IPNet: address}))
	expect(t, network(t, e), doctor.Warning, "no carrier", "no permanent neighbour entry for 10.77.0.2")

	must(t, netlink.LinkSetUp(far))
	must(t, e.Links.(*link.Links).SetNeighbour("seg0", netip.MustParseAddr("10.77.0.2"), [6]byte{2}))
	expect(t, network(t, e), doctor.Failure, "ip neighbour del 10.77.0.2 dev seg0")

	must(t, e.Links.(*link.Links).SetNeighbour("seg0", netip.MustParseAddr("10.77.0.2"), e.Pis[0].MAC))
	expect(t, network(t, e), doctor.OK, "1 of 1 segments", "1 known Pis")
}

// The ports of another namespace are nobody's here.
func TestPortsOfNamespace(t *testing.T) {
	ours, err := net.ListenPacket("udp", "0.0.0.0:0")
	must(t, err)
	defer ours.Close()
	e := &doctor.Env{Config: config.Default()}
	e.Config.DHCP.Port = ours.LocalAddr().(*net.UDPAddr).Port
	look := func() doctor.Report {
		return doctor.Examine(t.Context(), e, func(c doctor.Check) bool { return c.Name == "ports" })
	}
	expect(t, look(), doctor.Failure, "taken by")
	inNamespace(t)
	if r := look(); slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return strings.Contains(f.Text, "DHCP") && f.Level != doctor.OK }) {
		t.Errorf("%+v", r.Findings)
	}
}

// A disk that is really full.
func TestFullDisk(t *testing.T) {
	inNamespace(t)
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"))
	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	driver, err := folder.Open(dir, folder.Options{})
	must(t, err)
	e := &doctor.Env{Config: config.Default(), Pool: func(ctx context.Context) (volume.Pool, error) { return driver.Pool(ctx) }}
	e.Config.State = dir
	look := func() doctor.Report {
		return doctor.Examine(t.Context(), e, func(c doctor.Check) bool { return c.Group == "volumes" })
	}
	expect(t, look(), doctor.OK, "of 8 MB used")
	for _, c := range []struct {
		bytes int
		level doctor.Level
		text  string
	}{{7600 << 10, doctor.Warning, "no new roots are made"}, {500 << 10, doctor.Failure, "running Pis stop"}} {
		err := os.WriteFile(filepath.Join(dir, c.text), make([]byte, c.bytes), 0o600)
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		expect(t, look(), c.level, c.text)
	}
}
