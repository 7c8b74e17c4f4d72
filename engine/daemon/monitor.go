package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"picloud/engine/daemon/metrics"
	"picloud/netboot/nfs"
	"picloud/store"
)

// openMonitor binds the socket of metrics and health, if there is to be one.
func (d *Daemon) openMonitor(ctx context.Context) error {
	at := d.opts.Config.HTTP.Listen
	if !at.IsValid() {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("metrics and health (http.listen): %w", err)
	}
	d.monitor = l
	d.close = append(d.close, func() { _ = l.Close() })
	return nil
}

// serveMonitor answers monitoring until ctx ends. Without a socket it waits.
func (d *Daemon) serveMonitor(ctx context.Context) error {
	if d.monitor == nil {
		<-ctx.Done()
		return nil
	}
	src := d.monitored()
	if err := d.metrics.Follow(src); err != nil {
		return err
	}
	return metrics.Serve(ctx, d.monitor, d.metrics.Handler(src, d.opts.Log), d.opts.Log)
}

func (d *Daemon) monitored() metrics.Source {
	return metrics.Source{
		Snapshot: d.engine.Snapshot, Turned: d.engine.Turned, Published: d.engine.Published(),
		Sessions: d.entrance.sessions, Backup: d.newestBackup, NFS: d.pingNFS,
		Accounts: d.engine.Accounts, Rules: d.engine.Rules,
	}
}

// pingTime bounds how long the NFS server may take to say that it is there.
const pingTime = time.Second

// pingNFS asks the NFS server at the address where the first Pi looks for it.
func (d *Daemon) pingNFS() error {
	at := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if list := d.current.Load().Segments; len(list) > 0 {
		at = list[0].Address.Addr()
	}
	ctx, cancel := context.WithTimeout(context.Background(), pingTime)
	defer cancel()
	return nfs.Ping(ctx, netip.AddrPortFrom(at, d.ports.NFS))
}

// sessions counts the consoles and the commands that are open.
func (e *entrance) sessions() (consoles, commands int) {
	if e == nil {
		return 0, 0
	}
	for _, s := range e.server.Sessions() {
		if len(s.Command) == 0 {
			consoles++
		} else {
			commands++
		}
	}
	return consoles, commands
}

// newestBackup tells when the newest copy of the database was made, by its name.
func (d *Daemon) newestBackup() (newest time.Time, wanted bool) {
	cfg := d.opts.Config
	if names, err := store.Backups(BackupFolder(cfg)); err == nil && len(names) > 0 {
		newest = store.BackupTime(names[0])
	}
	return newest, cfg.Backup.Keep > 0
}
