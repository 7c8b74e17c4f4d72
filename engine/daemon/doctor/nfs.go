package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"picloud/engine/config"
)

// checkNFS: without a server there are no roots.
func checkNFS(_ context.Context, e *Env) []Finding {
	if e.NFS == nil {
		return nil
	}
	driver, err := e.NFS()
	switch {
	case err != nil:
		return notAvailable(err)
	case driver == config.NFSDemo:
		return []Finding{warnf("", `apt install nfs-kernel-server, and driver = "auto" below [nfs]`, "the roots are on picloud's own server, which is read-only")}
	}
	return []Finding{okf("", "%s", driver)}
}

// notAvailable is a finding for each line of an error that says what is
// missing: any one of them would do.
func notAvailable(err error) []Finding {
	var text, remedies []string
	for line := range strings.Lines(err.Error()) {
		f := ofError(Failure, "", errors.New(strings.TrimSpace(line)))
		text = append(text, strings.TrimSuffix(f.Text, ":"))
		if f.Remedy != "" {
			remedies = append(remedies, f.Remedy)
		}
	}
	return []Finding{failf("", strings.Join(remedies, "; or: "), "%s", strings.Join(text, "; "))}
}

// Programs that a kernel with NFS 3 roots asks the portmapper for (RFC 1813).
const (
	progPortmap = 100000
	progNFS     = 100003
	progMount   = 100005
	nfsVersion  = 3
	protocolTCP = 6
)

// checkPortmapper: a Pi that mounts with NFS 3 asks rpcbind for the ports of
// NFS and of MOUNT.
func checkPortmapper(ctx context.Context, e *Env) []Finding {
	if e.NFS == nil {
		return nil
	}
	driver, err := e.NFS()
	if err != nil || driver == config.NFSDemo || driver != config.NFSKernel && e.Service == 0 {
		return nil // it is not needed, or starts with the service
	}
	for _, p := range []struct {
		program uint32
		name    string
	}{{progNFS, "NFS"}, {progMount, "MOUNT"}} {
		n, err := getPort(ctx, e.Portmapper, p.program)
		if err != nil {
			return []Finding{failf("tcp 111", "systemctl enable --now rpcbind", "the portmapper does not answer: %v", err)}
		}
		if n == 0 {
			remedy := "systemctl restart nfs-server"
			if driver != config.NFSKernel {
				remedy = "systemctl restart picloud"
			}
			return []Finding{failf("tcp 111", remedy, "the portmapper knows no %s version %d over TCP", p.name, nfsVersion)}
		}
	}
	return []Finding{okf("tcp 111", "the portmapper knows NFS and MOUNT")}
}

const portmapTimeout = 3 * time.Second

// getPort is PMAPPROC_GETPORT (RFC 1833, section 3.2); 0 = not registered.
func getPort(ctx context.Context, addr string, program uint32) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, portmapTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	const number, getport, lastFragment = 1, 3, 1 << 31
	// RFC 5531, section 9: call, RPC version 2, program, version 2, procedure,
	// no credentials, no verifier; then the mapping.
	words := []uint32{0, number, 0, 2, progPortmap, 2, getport, 0, 0, 0, 0, program, nfsVersion, protocolTCP, 0}
	words[0] = lastFragment | uint32(4*(len(words)-1))
	var call []byte
	for _, w := range words {
		call = binary.BigEndian.AppendUint32(call, w)
	}
	if _, err := c.Write(call); err != nil {
		return 0, err
	}
	// An accepted reply with an empty verifier and the port.
	answer := make([]byte, 4+7*4)
	if _, err := io.ReadFull(c, answer); err != nil {
		return 0, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(answer[4*i:]) }
	port := word(7)
	if word(1) != number || word(2) != 1 || word(3)|word(4)|word(5)|word(6) != 0 || port > 65535 {
		return 0, fmt.Errorf("not a portmapper's answer: %x", answer[4:])
	}
	return int(port), nil
}
