package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/ganesha"
	"picloud/netboot/nfs/knfsd"
	"picloud/netboot/nfs/nfs3"
)

// exporter is an NFS server that is ready: its exports can be listed, and
// changed once it runs.
type exporter struct {
	nfs.Exporter
	name     string // nfs.driver, as the console has it
	people   string // what it is, for the log
	readOnly bool
	// port is the TCP port of NFS. mount is that of MOUNT, 0 = the portmapper
	// tells it.
	port, mount uint16
	run         func(context.Context) error // nil: it runs by itself
	// ready waits until the server runs; nil: it does. began is when it was
	// started to, and ran is set once it did.
	ready func(context.Context) error
	began time.Time
	ran   atomic.Bool
	// patient servers must not answer before the exports are back: a file
	// handle is stale while its export is not there.
	patient bool
	binds   *binds // nil: it exports any folder
	close   func()
}

// nfsDriver is a value of nfs.driver.
type nfsDriver struct {
	name      string
	available func() error
	auto      bool // "auto" may choose it
	open      func(ctx context.Context, d *Daemon) (*exporter, error)
}

// nfsGanesha is nfs.driver of nfs-ganesha.
const nfsGanesha = "ganesha"

// nfsDrivers are in the order that "auto" tries them.
var nfsDrivers = []nfsDriver{
	{config.NFSKernel, knfsd.Available, true, openKernel},
	{nfsGanesha, ganesha.Available, true, openGanesha},
	{config.NFSDemo, func() error { return nil }, false, openDemo},
}

// NFSDrivers are the values of nfs.driver that this program has.
func NFSDrivers() []string {
	list := []string{config.NFSAuto}
	for _, d := range nfsDrivers {
		list = append(list, d.name)
	}
	return list
}

// errNoNFS means that this host has no NFS server that roots can be on.
var errNoNFS = errors.New("no NFS server")

// chooseNFS finds the driver that the configuration wants, or the first that
// works here.
func chooseNFS(wanted string, drivers []nfsDriver) (nfsDriver, error) {
	var missing []error
	for _, d := range drivers {
		if wanted != d.name && (wanted != config.NFSAuto || !d.auto) {
			continue
		}
		err := d.available()
		if err == nil {
			return d, nil
		}
		missing = append(missing, err)
	}
	switch {
	case len(missing) == 0:
		return nfsDriver{}, fmt.Errorf("nfs.driver %q: there is none", wanted)
	case wanted == config.NFSAuto:
		return nfsDriver{}, fmt.Errorf("%w to put roots on; one of these is needed (for a try, with read-only roots: driver = %q below [nfs]):\n%w",
			errNoNFS, config.NFSDemo, errors.Join(missing...))
	}
	return nfsDriver{}, fmt.Errorf("nfs.driver %q: %w", wanted, missing[0])
}

// openExports opens the NFS server. The volumes have been recovered: what was
// exported before is there.
func (d *Daemon) openExports(ctx context.Context) error {
	driver, err := chooseNFS(d.opts.Config.NFS.Driver, nfsDrivers)
	if err != nil {
		return err
	}
	if d.exports, err = driver.open(ctx, d); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	d.exports.name = driver.name
	d.ports.NFS = d.exports.port
	if d.exports.close != nil {
		d.close = append(d.close, d.exports.close)
	}
	d.opts.Log.Info("nfs: "+d.exports.people, "driver", driver.name, "port", d.exports.port)
	return nil
}

func errKernelPort(port int) error {
	return fmt.Errorf("the kernel's server has port %d, not %d (leave port = out below [nfs], or say driver = %q)", standardNFS, port, nfsGanesha)
}

func openKernel(ctx context.Context, d *Daemon) (*exporter, error) {
	cfg := d.opts.Config
	if port := cfg.NFS.Port; port != standardNFS {
		return nil, errKernelPort(port)
	}
	s, err := knfsd.Open(knfsd.Config{State: filepath.Join(cfg.State, "nfs", "kernel"), Prefix: cfg.NFS.Path, Mounts: d.opts.Mounts, Logger: d.opts.Log})
	if err != nil {
		return nil, err
	}
	// One export that cannot be is no reason to leave the others alone.
	if err := s.Recover(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		d.opts.Log.Error("not every export is back", "err", err)
	}
	return &exporter{Exporter: s, people: "the kernel's server", port: standardNFS}, nil
}

// errShared means that each Pi could read the roots of the others.
var errShared = errors.New("nfs-ganesha lets whoever is root on a Pi read and write all of the file system that its root is on, and these volumes share one")

func errNotApart() error {
	return fmt.Errorf("%w (volumes.driver = %q gives each its own; the kernel's server, apt install nfs-kernel-server, keeps them apart; where all Pis are one person's: shared = true below [nfs])",
		errShared, config.VolumesLVM)
}

func openGanesha(ctx context.Context, d *Daemon) (*exporter, error) {
	cfg := d.opts.Config
	if !d.volumes.Features().OwnFileSystem && !cfg.NFS.Shared {
		return nil, errNotApart()
	}
	mounts := &binds{filepath.Join(cfg.State, "mounts")}
	if err := mounts.restore(ctx, d.volumes); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		d.opts.Log.Error("not every root can be exported", "err", err)
	}
	port := uint16(cmp.Or(cfg.NFS.Port, standardNFS))
	s, err := ganesha.New(ganesha.Config{
		State: filepath.Join(cfg.State, "nfs", "ganesha"), NFSPort: port, MountPort: ganesha.DefaultMountPort,
		AllowShared: cfg.NFS.Shared, Logger: d.opts.Log,
	})
	if err != nil {
		return nil, err
	}
	return &exporter{Exporter: s, people: "nfs-ganesha", port: port, mount: ganesha.DefaultMountPort, run: s.Serve, ready: s.Ready, began: time.Now(), binds: mounts}, nil
}

func openDemo(ctx context.Context, d *Daemon) (*exporter, error) {
	cfg := d.opts.Config
	l, err := nfs.Listen(ctx, anyAddr(cfg.NFS.Port), cfg.DHCP.Device)
	if err != nil {
		return nil, err
	}
	key, err := secretKey(filepath.Join(cfg.State, "nfs.key"), "the NFS handles")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := nfs3.New(nfs3.Config{Logger: d.opts.Log, Key: key, OnEvent: func(e nfs3.Event) {
		if o, ok := nfsObservation(e); ok {
			d.observe(o)
		}
	}})
	port := portOf(l.Addr())
	return &exporter{
		Exporter: s, people: "picloud's own server, read-only", readOnly: true, port: port, mount: port, patient: true,
		run:   func(ctx context.Context) error { return s.Serve(ctx, l) },
		close: func() { _ = l.Close() },
	}, nil
}

// serve runs the server, if it does not by itself. published is closed when
// the exports are back.
func (e *exporter) serve(ctx context.Context, published <-chan struct{}) error {
	if e.run == nil {
		return nil
	}
	if e.patient {
		select {
		case <-published:
		case <-ctx.Done():
			return nil
		}
	}
	return e.run(ctx)
}

// How long a root waits for the server to run. At the start of the service all
// roots are exported before anything else is done, so that the first wait must
// end; after it none waits until the server runs for the first time. Later it
// is away only to be started again.
const (
	firstReady = 60 * time.Second
	laterReady = 20 * time.Second
	hardlyAny  = 100 * time.Millisecond
)

// errNotRunning means that the NFS server does not start; the log says why.
var errNotRunning = errors.New("the NFS server does not run (the log says why)")

// await waits until the server runs, within bounds.
func (e *exporter) await(ctx context.Context) error {
	if e.ready == nil {
		return nil
	}
	patience := laterReady
	if !e.ran.Load() {
		patience = max(hardlyAny, time.Until(e.began.Add(firstReady)))
	}
	limited, cancel := context.WithTimeoutCause(ctx, patience, errNotRunning)
	defer cancel()
	if err := e.ready(limited); err != nil {
		return fmt.Errorf("%s: %w", e.people, err)
	}
	e.ran.Store(true)
	return nil
}

// access is how the exports are mounted.
func (e *exporter) access() string {
	if e.readOnly {
		return "ro"
	}
	return "rw"
}

// prune withdraws what the server exports and no Pi has any more, such as what
// a crash or another configuration left.
func (r *roots) prune(ctx context.Context, log *slog.Logger) error {
	if r.exports.ready != nil {
		if err := r.exports.ready(ctx); err != nil {
			return err
		}
	}
	list, err := r.exports.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		errs = append(errs, r.pruneOne(ctx, e, log))
	}
	return errors.Join(errs...)
}

func (r *roots) pruneOne(ctx context.Context, e nfs.Export, log *slog.Logger) error {
	r.mu.Lock() // nobody publishes it meanwhile
	defer r.mu.Unlock()
	if r.published[engine.PiName(e.ID)] {
		return nil
	}
	log.Warn("withdrawing an export that no Pi has any more", "pi", e.ID, "path", e.Path, "client", e.Client)
	limited, cancel := context.WithTimeoutCause(ctx, laterReady, errNotRunning)
	defer cancel()
	return r.exports.Remove(limited, e.ID)
}
