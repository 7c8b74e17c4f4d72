package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/metrics"
	"picloud/engine/daemon/webhook"
	"picloud/hw/poe"
	"picloud/hw/volume"
	"picloud/hw/volume/lvmthin"
	"picloud/netboot/bootfs"
	"picloud/netboot/dhcp"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/knfsd"
	"picloud/netboot/sshprobe"
	"picloud/netboot/tftp"
	"picloud/store"
)

// Options are what a Daemon is made from.
type Options struct {
	Config *config.Config
	// Speed is how many times faster than real the rack's hardware runs: 1,
	// but for a simulated rack. It shortens waits that only hardware needs.
	Speed float64
	// Volatile says that the state folder is temporary: volumes are not
	// flushed to the disk.
	Volatile bool
	// Door opens the way in for people and scripts that the configuration
	// describes; else the engine is only this process's.
	Door    bool
	Version string // of picloud, for people
	// Stage is engine.Config's.
	Stage func(engine.StageChange)
	// Beat is engine.Config's.
	Beat func()
	// Mounts mounts where the kernel's NFS server sees it and where it stays when
	// this process ends. nil mounts in this process's own mount namespace, which
	// must then be the host's.
	Mounts Mounter
	Log    *slog.Logger // nil discards
}

// Mounter is what lvmthin and knfsd want of one.
type Mounter interface {
	lvmthin.Mounter
	knfsd.Mounter
}

// Known is what a configuration is checked against.
func Known() config.Known {
	known := config.Known{NFSDrivers: NFSDrivers(), VolumeDrivers: VolumeDrivers()}
	for _, p := range poe.Profiles() {
		known.Profiles = append(known.Profiles, p.Name)
	}
	return known
}

// Daemon is a rack that is ready to run: its store is open and its sockets are
// bound.
type Daemon struct {
	opts     Options
	engine   *engine.Engine
	store    *store.Store
	routes   *routes
	switches *switches
	roots    *roots
	near     *neighbours
	public   *addresses
	dhcp     *dhcp.Server
	tftp     *tftp.Server
	volumes  volume.Driver
	exports  *exporter
	ports    Ports
	entrance *entrance // nil: there is none
	metrics  *metrics.Metrics
	monitor  net.Listener // of metrics and health; nil: there is none
	orders   orders
	locals   atomic.Pointer[[]config.Local]
	staff    bell // rings when operators have changed
	close    []func()

	current atomic.Pointer[config.Config] // that was taken over last
}

// Ports are the ports that the sockets are bound to.
type Ports struct{ DHCP, TFTP, NFS uint16 }

// Open opens the store, binds every socket and loads the engine. After an
// error nothing is left open. Nothing is answered and no port is switched
// before Run.
func Open(ctx context.Context, opts Options) (_ *Daemon, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{opts: opts, routes: &routes{}, staff: make(bell, 1), metrics: metrics.New(opts.Version)}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.openLinks(opts.Config.Layout()); err != nil {
		return nil, err
	}
	if err := d.openStore(ctx); err != nil {
		return nil, err
	}
	if err := d.openSockets(ctx); err != nil {
		return nil, err
	}
	if d.volumes, err = openVolumeStore(ctx, opts.Config, opts.Volatile, opts.Mounts, opts.Log); err != nil {
		return nil, err
	}
	if err := d.openExports(ctx); err != nil {
		return nil, err
	}
	if err := d.openEngine(ctx); err != nil {
		return nil, err
	}
	d.locals.Store(&opts.Config.Locals)
	d.current.Store(opts.Config)
	if err := d.openAPI(ctx); err != nil {
		return nil, err
	}
	if opts.Door {
		if err := d.openDoor(); err != nil {
			return nil, err
		}
		if err := d.openMonitor(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Engine is the rack's engine.
func (d *Daemon) Engine() *engine.Engine { return d.engine }

// Ports returns the ports bound.
func (d *Daemon) Ports() Ports { return d.ports }

// Close releases what Open took. It is called after Run, or instead of it.
func (d *Daemon) Close() {
	for i := len(d.close) - 1; i >= 0; i-- {
		d.close[i]()
	}
	d.close = nil
}

func (d *Daemon) openLinks(l engine.Layout) error {
	if err := d.routes.set(l); err != nil {
		return err
	}
	d.near = newNeighbours(d.routes, d.opts.Log)
	d.close = append(d.close, d.near.close)
	if err := d.near.check(l); err != nil {
		return err
	}
	d.public = newAddresses(d.routes, d.opts.Log)
	d.close = append(d.close, d.public.close)
	return d.public.layout(l)
}

func (d *Daemon) openStore(ctx context.Context) error {
	cfg := d.opts.Config
	if err := closeState(cfg.State); err != nil {
		return err
	}
	if err := missesDatabase(cfg); err != nil {
		return err
	}
	s, err := store.Open(ctx, Database(cfg), store.Options{Log: d.opts.Log})
	if errors.Is(err, store.ErrCorrupt) {
		return withBackup(ctx, cfg, err)
	}
	if err != nil {
		return err
	}
	d.store = s
	d.close = append(d.close, func() {
		if err := s.Close(); err != nil {
			d.opts.Log.Error("store not closed cleanly", "err", err)
		}
	})
	return nil
}

// openEngine comes last: from its New on, what happens is written down.
func (d *Daemon) openEngine(ctx context.Context) error {
	cfg := d.opts.Config
	layout, err := layoutOf(ctx, cfg, d.volumes)
	if err != nil {
		return err
	}
	if d.roots, err = openRoots(ctx, cfg, d.volumes, d.exports, d.opts.Log); err != nil {
		return err
	}
	d.switches = &switches{observe: d.observe, log: d.opts.Log, speed: d.opts.Speed}
	if err := d.switches.set(cfg.Switches, cfg.Boot.Hold); err != nil {
		return err
	}
	d.engine, err = engine.New(ctx, engine.Config{
		Layout: layout, Inventory: d.metrics.Inventory(d.store), Power: d.switches, Roots: d.roots,
		Guards: cfg.Guards(), Limits: cfg.Limits(), Hold: cfg.Boot.Hold,
		Starting: cfg.Boot.Starting, Failures: cfg.Boot.Failures, Keep: cfg.Volumes.Keep(),
		Stage: d.stage, Served: d.metrics.Served, Staff: d.staff.ring, Beat: d.opts.Beat, Log: d.opts.Log,
		Webhook: webhook.Check(cfg.API.PrivateWebhooks),
	})
	return err
}

func (d *Daemon) observe(o engine.Observation) {
	d.metrics.Observed(o)
	d.engine.Observe(o)
}

func (d *Daemon) stage(c engine.StageChange) {
	d.metrics.Stage(c)
	if d.opts.Stage != nil {
		d.opts.Stage(c)
	}
}

func (d *Daemon) bootTable() *engine.BootTable { return d.engine.BootTable() }

// openSockets binds DHCP and TFTP. A port that is taken is an error now,
// not a Pi that does not boot later.
func (d *Daemon) openSockets(ctx context.Context) error {
	cfg := d.opts.Config
	device := cfg.DHCP.Device
	conn, err := dhcp.Listen(ctx, dhcp.ListenConfig{Addr: anyAddr(cfg.DHCP.Port), Device: device})
	if err != nil {
		return err
	}
	d.close = append(d.close, func() { _ = conn.Close() })
	d.ports.DHCP = conn.Addr().Port()
	if d.dhcp, err = dhcp.New(d.dhcpConfig(conn)); err != nil {
		return err
	}

	tftpConn, err := tftp.Listen(ctx, anyAddr(cfg.TFTP.Port).String(), device)
	if err != nil {
		return err
	}
	d.close = append(d.close, func() { _ = tftpConn.Close() })
	d.ports.TFTP = portOf(tftpConn.LocalAddr())
	d.tftp, err = tftp.New(tftp.Config{
		Conn: tftpConn,
		Tree: bootTree{routes: d.routes, table: d.bootTable, folder: d.bootFolder},
		Events: func(e tftp.Event) {
			d.metrics.TFTP(e)
			d.observe(tftpObservation(e))
		},
		MaxTransfers: cfg.TFTP.MaxTransfers, MaxPerClient: cfg.TFTP.MaxPerPi, Timeout: cfg.TFTP.Timeout,
		Log: d.opts.Log,
	})
	return err
}

// secretKey reads a key that outlives the process, or makes it. what says whose
// it is.
func secretKey(path, what string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == keyLen {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of %s: %w", what, err)
	}
	key = make([]byte, keyLen)
	rand.Read(key)
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("write the key of %s: %w", what, err)
	}
	return key, nil
}

const keyLen = 32

func anyAddr(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port))
}

func portOf(a net.Addr) uint16 {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return 0
	}
	return ap.Port()
}

func (d *Daemon) dhcpConfig(conn *dhcp.Conn) dhcp.Config {
	cfg := d.opts.Config.DHCP
	delay := dhcp.DefaultDelay()
	delay[dhcp.Family3B] = cfg.Delay3B
	c := dhcp.Config{
		Conn: conn, Table: reservations{d.routes, d.bootTable}, ClientPort: uint16(cfg.ClientPort),
		Delay: delay, Log: d.opts.Log,
		Events: func(e dhcp.Event) {
			d.metrics.DHCP(e)
			if o, ok := dhcpObservation(e); ok {
				d.observe(o)
			}
		},
	}
	if cfg.Reply == config.ReplyUnicast {
		c.Reply = dhcp.ReplyUnicast
		// Any datagram wakes the ROM. Where answers are unicast no port below
		// 1024 may be open to the Pi, as on loopback.
		c.Nudge.Port = c.ClientPort
	}
	c.Nudge.Off = cfg.Nudge == 0
	c.Nudge.After = []time.Duration{cfg.Nudge, 2 * cfg.Nudge}
	return c
}

func (d *Daemon) bootFolder(e engine.BootEntry) (*bootfs.Folder, error) { return d.roots.bootFolder(e) }

// Run works until ctx ends, and then returns nil when all has stopped cleanly.
// It returns early when a part fails that the rest cannot do without.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.Close()
	g, ctx := errgroup.WithContext(ctx)
	cfg := d.opts.Config
	prober := sshprobe.NewProber(sshprobe.Config{
		Every: cfg.SSH.Every, Timeout: cfg.SSH.Timeout,
		Report: func(r sshprobe.Result) { d.observe(sshObservation(r)) },
	})
	watch := &peers{observe: d.observe}
	reports := d.newReports()
	room := newSpace(d.volumes, cfg.Volumes.Driver, d.observe)
	for what, run := range map[string]func() error{
		"engine":   func() error { return d.engine.Run(ctx) },
		"dhcp":     func() error { return d.dhcp.Serve(ctx) },
		"tftp":     func() error { return d.tftp.Serve(ctx) },
		"nfs":      func() error { return d.exports.serve(ctx, d.engine.Published()) },
		"prune":    func() error { return d.prune(ctx) },
		"switches": func() error { return d.switches.run(ctx) },
		"ssh":      func() error { return prober.Run(ctx) },
		"watch": func() error {
			every := min(nfs.DefaultWatchEvery, cfg.SSH.Every)
			return nfs.Watch(ctx, nfs.WatchConfig{Port: d.ports.NFS, Every: every, Logger: d.opts.Log}, watch.report)
		},
		"reports":  func() error { return reports.Serve(ctx) },
		"space":    func() error { return room.run(ctx) },
		"trim":     func() error { return trim(ctx, d.volumes, d.opts.Log) },
		"webhooks": func() error { return d.sendWebhooks(ctx) },
		"door":     func() error { return d.entrance.serve(ctx) },
		"staff":    func() error { return d.recheck(ctx) },
		"http":     func() error { return d.serveMonitor(ctx) },
		"api":      func() error { return d.serveAPI(ctx) },
		"acts":     func() error { return d.takeActs(ctx) },
		"backup": func() error {
			return backups{d.store, BackupFolder(cfg), cfg.Backup.Keep, d.opts.Log}.run(ctx)
		},
		"doctor": func() error {
			return d.examine(ctx)
		},
		"follow": func() error {
			follow(ctx, d.engine, func(s *engine.Snapshot) {
				prober.Set(probeTargets(s, cfg.SSH.Port))
				d.near.follow(d.bootTable())
				reports.Follow(d.examPlaces())
				d.public.follow(s)
				room.follow(s)
			})
			return nil
		},
	} {
		g.Go(func() error {
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// prune withdraws the exports that no Pi has, once those that Pis have are back.
func (d *Daemon) prune(ctx context.Context) error {
	select {
	case <-d.engine.Published():
	case <-ctx.Done():
		return nil
	}
	if err := d.roots.prune(ctx, d.opts.Log); err != nil && ctx.Err() == nil {
		d.opts.Log.Error("exports that no Pi has any more stay", "err", err)
	}
	return nil
}

// ErrRestart means that a reload asked for something that only a restart does.
var ErrRestart = errors.New("takes effect after a restart")

// Reload takes over a new configuration while the rack runs: segments, Pis,
// servers, images, switches, and how servers are ordered and priced. Ports, the
// state folder and timings of what already runs need a restart; the error names
// them, and the rest is done. It is an act, and in the audit.
func (d *Daemon) Reload(ctx context.Context, cfg *config.Config) error {
	return d.noted(ctx, "reload", "configuration", func() (string, error) { return describeLayout(cfg), d.reload(ctx, cfg) })
}

func (d *Daemon) reload(ctx context.Context, cfg *config.Config) error {
	old := d.opts.Config // what was started with: what needs a restart stays as there
	layout, err := layoutOf(ctx, cfg, d.volumes)
	if err != nil {
		return err
	}
	next := &routes{}
	if err := next.set(layout); err != nil {
		return err
	}
	if err := d.near.check(layout); err != nil {
		return err
	}
	if err := d.roots.setImages(ctx, cfg.Images); err != nil {
		return err
	}
	if err := d.switches.set(cfg.Switches, old.Boot.Hold); err != nil {
		return err
	}
	d.routes.table.Store(next.table.Load())
	if err := d.public.layout(layout); err != nil {
		return err
	}
	if err := d.engine.Relayout(ctx, layout); err != nil {
		return err
	}
	d.locals.Store(&cfg.Locals)
	d.current.Store(cfg)
	d.entrance.recheck()
	if err := d.prune(ctx); err != nil {
		return err
	}
	var late []error
	for what, changed := range map[string]bool{
		"state": cfg.State != old.State, "[boot]": cfg.Boot != old.Boot, "[dhcp]": cfg.DHCP != old.DHCP,
		"[tftp]": cfg.TFTP != old.TFTP, "[nfs]": cfg.NFS != old.NFS, "[volumes]": cfg.Volumes != old.Volumes, "[ssh]": cfg.SSH != old.SSH,
		"[console]": cfg.Console != old.Console, "[backup]": cfg.Backup != old.Backup, "[http]": cfg.HTTP != old.HTTP,
		"[exam]": cfg.Exam != old.Exam, "[guest]": !sameGuest(cfg.Guest, old.Guest), "[api]": !cfg.API.Equal(old.API),
		"[guard]": !slices.Equal(cfg.Guard, old.Guard),
	} {
		if changed {
			late = append(late, fmt.Errorf("%s: %w", what, ErrRestart))
		}
	}
	return errors.Join(late...)
}

func sameGuest(a, b config.Guest) bool {
	return a.TimeZone == b.TimeZone && slices.Equal(a.Resolvers, b.Resolvers)
}
