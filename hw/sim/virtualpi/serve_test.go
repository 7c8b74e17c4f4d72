//go:build e2e

package virtualpi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"picloud/hw/link"
	"picloud/netboot/bootfs"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/dhcp"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/ganesha"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/sshprobe"
	"picloud/netboot/tftp"
)

// site is one Pi with all that serving it takes: what a configuration of the
// service and its state would say.
type site struct {
	Dir       string // for the servers' own files
	Interface string
	Server    netip.Prefix
	Pi        netip.Addr
	Family    order.Family
	MAC       string
	Serial    string
	Host      string
	Root      string // folder
	Export    string // path of the root as the Pi mounts it
	Boot      netbootable.Boot
	Args      []string // further ones for the kernel

	nfsLog io.Writer
}

// nfsLogName is the file with what the NFS server says.
const nfsLogName = "nfs.log"

// serveEnv names the file with the site that this process is to serve.
const serveEnv = "PICLOUD_E2E_SITE"

// said is a line of the service's log.
type said struct {
	Msg  string // dhcp, tftp, up, failed
	What string // offer; the event's kind
	Name string // of a file; the banner
	Size int64  `json:",omitempty"`
	Err  string `json:",omitempty"`
}

func say(s said) {
	b, _ := json.Marshal(s)
	fmt.Println(string(b))
}

// TestMain is the service, if this process was started as that: DHCP, TFTP and
// NFS of the product on the interfaces of the namespace that it is in. It takes
// the place of `picloud serve`.
func TestMain(m *testing.M) {
	file := os.Getenv(serveEnv)
	if file == "" {
		os.Exit(m.Run())
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		// Whoever has started this process holds the other end, and ends with it.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := serveSite(ctx, file); err != nil {
		say(said{Msg: "failed", Err: err.Error()})
		os.Exit(1)
	}
}

func serveSite(ctx context.Context, file string) error {
	var s site
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.Dir, nfsLogName))
	if err != nil {
		return err
	}
	defer log.Close()
	s.nfsLog = log
	boot, err := bootfs.New(s.bootSpec())
	if err != nil {
		return err
	}
	for _, n := range []string{"config.txt", "cmdline.txt"} {
		text, _ := boot.Generated(n)
		say(said{Msg: "boot folder", What: n, Name: text})
	}
	mac, err := net.ParseMAC(s.MAC)
	if err != nil {
		return err
	}
	links, err := link.Open()
	if err != nil {
		return err
	}
	defer links.Close()
	if err := links.SetNeighbour(s.Interface, s.Pi, [6]byte(mac)); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for what, run := range map[string]func(context.Context) error{
		"dhcp": func(ctx context.Context) error { return s.serveDHCP(ctx, dhcp.MAC(mac)) },
		"tftp": func(ctx context.Context) error { return s.serveTFTP(ctx, boot) },
		"nfs":  s.serveNFS,
		"ssh":  s.probeSSH,
	} {
		g.Go(func() error {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *site) bootSpec() bootfs.Spec {
	return bootfs.Spec{
		Family: s.Family, Serial: s.Serial, Root: s.Root, Folders: s.Boot.Folders,
		Config: bootfs.Config{UART: true, Kernel: s.Boot.Kernel, Extra: s.Boot.ConfigLines},
		Cmdline: bootfs.Cmdline{
			Server: s.Server.Addr(), Client: netip.PrefixFrom(s.Pi, s.Server.Bits()), Hostname: s.Host,
			ExportPath: s.Export, NFSVersion: s.Boot.NFSVersion, Initramfs: s.Boot.Initramfs,
			// The other way round, so that what systemd says can be read.
			Console: []string{"tty1", "serial0,115200"}, Extra: slices.Concat(s.Boot.KernelArgs, s.Args),
		},
	}
}

// table has the one reservation.
type table struct {
	*site
	mac dhcp.MAC
}

func (t table) Lookup(_ dhcp.Ingress, mac dhcp.MAC) (dhcp.Reservation, dhcp.Verdict) {
	r := dhcp.Reservation{
		Pi: t.Host, Segment: t.Interface, Server: t.Server.Addr(),
		Addr: netip.PrefixFrom(t.Pi, t.Server.Bits()), HostName: t.Host,
	}
	if mac != t.mac {
		return r, dhcp.UnknownPi
	}
	return r, dhcp.Known
}

func (s *site) serveDHCP(ctx context.Context, mac dhcp.MAC) error {
	conn, err := dhcp.Listen(ctx, dhcp.ListenConfig{Addr: netip.MustParseAddrPort("0.0.0.0:67")})
	if err != nil {
		return err
	}
	server, err := dhcp.New(dhcp.Config{
		Conn: conn, Table: table{s, mac},
		Events: func(e dhcp.Event) { say(said{Msg: "dhcp", What: e.Kind.String()}) },
	})
	if err != nil {
		return err
	}
	return server.Serve(ctx)
}

// tree serves the one folder.
type tree struct{ *bootfs.Folder }

func (t tree) Open(_ context.Context, r tftp.Request) (tftp.File, error) {
	f, err := t.Folder.Open(r.Name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *site) serveTFTP(ctx context.Context, boot *bootfs.Folder) error {
	conn, err := tftp.Listen(ctx, "0.0.0.0:69", "")
	if err != nil {
		return err
	}
	server, err := tftp.New(tftp.Config{
		Conn: conn, Tree: tree{boot},
		Events: func(e tftp.Event) {
			if e.Kind == tftp.Served || e.Kind == tftp.Failed {
				say(said{Msg: "tftp", What: string(e.Kind), Name: e.Name, Size: e.Size})
			}
		},
	})
	if err != nil {
		return err
	}
	return server.Serve(ctx)
}

// serveNFS exports the root by nfs-ganesha. The folder is on the file system of
// everything else, which an only Pi in a test may have.
func (s *site) serveNFS(ctx context.Context) error {
	server, err := ganesha.New(ganesha.Config{
		State: filepath.Join(s.Dir, "exports"), AllowShared: true,
		Logger: slog.New(slog.NewTextHandler(s.nfsLog, nil)),
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx) })
	g.Go(func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not come up"))
		defer cancel()
		return server.Add(ctx, nfs.Export{ID: s.Host, Dir: s.Root, Path: s.Export, Client: s.Pi})
	})
	return g.Wait()
}

// probeSSH tells once when SSH answers.
func (s *site) probeSSH(ctx context.Context) error {
	for {
		banner, err := sshprobe.Probe(ctx, netip.AddrPortFrom(s.Pi, 22))
		if err == nil {
			say(said{Msg: "up", Name: banner})
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
