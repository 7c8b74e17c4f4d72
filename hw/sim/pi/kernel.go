package pi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"picloud/hw/sim/nfs3"
	"picloud/netboot/report"
)

// Errors of the kernel's part.
var (
	errNFS4  = errors.New("NFS version 4 is not simulated")
	errKlibc = errors.New("nfsmount in the initramfs refuses")
	errNoSSH = errors.New("sshd does not answer")
)

const (
	// callTimeout bounds each call to the NFS server, in true time.
	callTimeout = 10 * time.Second
	// keepAlive is how often a running Pi looks at its root, in true time. A real
	// one does so all the time.
	keepAlive = 20 * time.Second
	// redialMin and redialMax are the pauses between attempts to reach an NFS
	// server that has gone, in true time.
	redialMin = 500 * ms
	redialMax = 8 * time.Second

	portmapPort = 111
	maxFile     = 4096 // of /etc/hostname and /etc/os-release
)

// runKernel is all that follows the firmware: address, root, userspace, SSH.
func (b *boot) runKernel(k loaded, idleMW int) error {
	b.setState(StageKernel, "")
	b.reset()
	if b.fault == KernelHang {
		return fmt.Errorf("%w: kernel", errHung)
	}
	// The kernel's driver resets the chip, and the link goes down.
	b.cfg.Port.SetLink(false)
	if err := b.wait(b.times.Kernel); err != nil {
		return err
	}
	b.cfg.Port.SetLink(true)
	b.cfg.Port.Learn(b.cfg.Board.MAC)
	if o, err := report.ParseOrder(k.cmdline); err == nil {
		return b.examine(o, k.initramfs)
	} else if !errors.Is(err, report.ErrNoOrder) {
		return err
	}
	root, err := b.rootOf(k)
	if err != nil {
		return err
	}
	if err := b.cfg.NIC.Configure(Addressing{Prefix: root.addr, Gateway: root.gateway}); err != nil {
		return err
	}
	m, err := b.mount(root)
	if err != nil {
		return err
	}
	return b.userspace(m, idleMW)
}

// rootOf reads the command line as the kernel, or the initramfs, does.
func (b *boot) rootOf(k loaded) (nfsRoot, error) {
	root, err := parseCmdline(k.cmdline)
	switch {
	case err != nil:
		return root, err
	case k.initramfs && len(root.klibc) > 0:
		return root, fmt.Errorf("%w %s", errKlibc, strings.Join(root.klibc, ","))
	case root.v4:
		return root, errNFS4
	}
	if b.fault == NFSStuck {
		root.path += ".gone"
	}
	return root, nil
}

// mounted is an NFS root.
type mounted struct {
	root   nfsRoot
	port   uint16
	handle nfs3.Handle
	conn   net.Conn
	nfs    *nfs3.Conn
	stop   func() bool
}

func (m *mounted) close() {
	m.stop()
	m.conn.Close()
}

// mount mounts the root, again and again if it must (raspberrypi/linux issue
// 589).
func (b *boot) mount(root nfsRoot) (*mounted, error) {
	pause := Span{Min: mountRetryMin}
	for {
		m, err := b.tryMount(root)
		if err == nil {
			b.counters.mounts.Add(1)
			return m, nil
		}
		if b.ctx.Err() != nil {
			return nil, b.ctx.Err()
		}
		b.setState(StageKernel, err.Error())
		if err := b.sleep(b.packetWait(pause.Min)); err != nil {
			return nil, err
		}
		pause.Min = min(2*pause.Min, mountRetryMax)
	}
}

func (b *boot) tryMount(root nfsRoot) (*mounted, error) {
	m := &mounted{root: root, port: root.nfsPort}
	mountPort := root.mountPort
	if err := b.findPorts(root, &mountPort, &m.port); err != nil {
		return nil, err
	}
	err := b.call(root, mountPort, func(c *nfs3.Conn) (err error) {
		m.handle, err = c.Mount(root.path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := b.connect(m); err != nil {
		return nil, err
	}
	if err := errors.Join(m.nfs.FSInfo(m.handle), m.nfs.GetAttr(m.handle)); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// findPorts asks the server's portmapper for the ports that the command line
// does not give.
func (b *boot) findPorts(root nfsRoot, mountPort, nfsPort *uint16) error {
	if *mountPort != 0 && *nfsPort != 0 {
		return nil
	}
	return b.call(root, portmapPort, func(c *nfs3.Conn) error {
		for prog, port := range map[uint32]*uint16{nfs3.ProgMount: mountPort, nfs3.ProgNFS: nfsPort} {
			if *port != 0 {
				continue
			}
			got, err := c.GetPort(prog)
			if err != nil {
				return err
			}
			if got == 0 {
				return fmt.Errorf("program %d is not registered at %v", prog, root.server)
			}
			*port = got
		}
		return nil
	})
}

// call opens a connection for one program, runs f and closes it.
func (b *boot) call(root nfsRoot, port uint16, f func(*nfs3.Conn) error) error {
	conn, c, err := b.dial(root, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer b.cutOff(conn)()
	return f(c)
}

func (b *boot) dial(root nfsRoot, port uint16) (net.Conn, *nfs3.Conn, error) {
	ctx, cancel := context.WithTimeout(b.ctx, callTimeout)
	defer cancel()
	conn, err := b.cfg.NIC.DialTCP(ctx, netip.AddrPortFrom(root.server, port))
	if err != nil {
		return nil, nil, err
	}
	c := nfs3.New(conn, nfs3.Cred{Machine: root.host}, b.rng.Uint32())
	c.Timeout = callTimeout
	return conn, c, nil
}

// connect opens the connection that the root stays on.
func (b *boot) connect(m *mounted) error {
	conn, c, err := b.dial(m.root, m.port)
	if err != nil {
		return err
	}
	m.conn, m.nfs, m.stop = conn, c, b.cutOff(conn)
	return nil
}

// userspace reads what names the system, starts SSH and lives on until the power
// goes or the root does.
func (b *boot) userspace(m *mounted, idleMW int) error {
	defer func() { m.close() }()
	b.setState(StageRoot, "")
	host, err := m.nfs.ReadFile(m.handle, "etc/hostname", maxFile)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	release, err := m.nfs.ReadFile(m.handle, "etc/os-release", maxFile)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := b.wait(b.times.Userspace); err != nil {
		return err
	}
	name := strings.TrimSpace(string(host))
	if b.fault == NoSSH {
		b.setState(StageRoot, name+": "+errNoSSH.Error())
		return b.live(m)
	}
	l, err := b.cfg.NIC.ListenTCP(b.ctx, b.cfg.SSHPort)
	if err != nil {
		return fmt.Errorf("sshd: %w", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.serveSSH(l, sshBanner(string(release))) })
	b.cfg.Port.SetDraw(idleMW)
	b.setState(StageUp, name)
	err = b.live(m)
	// Without its root sshd can start no session.
	l.Close()
	wg.Wait()
	return err
}

// live keeps the root's connection until the power goes. A server that is gone is
// waited for; a root that is gone ends the Pi.
func (b *boot) live(m *mounted) error {
	for {
		if err := b.sleep(keepAlive - time.Duration(b.rng.Int64N(int64(keepAlive/2)))); err != nil {
			return err
		}
		err := m.nfs.GetAttr(m.handle)
		var status nfs3.Status
		if errors.As(err, &status) {
			return fmt.Errorf("root file system: %w", err)
		}
		for pause := redialMin; err != nil; pause = min(2*pause, redialMax) {
			m.close()
			if err := b.sleep(pause); err != nil {
				return err
			}
			if err = b.connect(m); err == nil {
				b.counters.reconnects.Add(1)
			}
		}
	}
}
