package pi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// errCmdline means that the kernel cannot find its root with the command line.
var errCmdline = errors.New("kernel command line")

// nfsRoot is what the kernel takes from its command line (torvalds/linux
// Documentation/admin-guide/nfs/nfsroot.rst).
type nfsRoot struct {
	addr    netip.Prefix
	gateway netip.Addr
	host    string
	server  netip.Addr
	path    string
	// nfsPort and mountPort are port= and mountport=; 0 means to ask the
	// portmapper.
	nfsPort, mountPort uint16
	// v4 is whether version 4 is asked for.
	v4 bool
	// klibc lists options that klibc's nfsmount, which an initramfs runs, refuses
	// (raspberrypi/documentation issue 3205).
	klibc []string
}

// parseCmdline reads ip=, root= and nfsroot=. The last of each wins, as in the
// kernel. ip=dhcp and the like are not simulated: the boot ROM's exchange is the
// only DHCP of a simulated Pi.
func parseCmdline(line string) (nfsRoot, error) {
	args := make(map[string]string)
	for _, w := range strings.Fields(line) {
		if k, v, ok := strings.Cut(w, "="); ok {
			args[k] = v
		}
	}
	var r nfsRoot
	if args["root"] != "/dev/nfs" {
		return r, fmt.Errorf("%w: root=%q, want /dev/nfs", errCmdline, args["root"])
	}
	if err := r.parseIP(args["ip"]); err != nil {
		return r, fmt.Errorf("%w: ip=%q: %w", errCmdline, args["ip"], err)
	}
	if err := r.parseRoot(args["nfsroot"]); err != nil {
		return r, fmt.Errorf("%w: nfsroot=%q: %w", errCmdline, args["nfsroot"], err)
	}
	return r, nil
}

// parseIP reads client:server:gateway:mask:host:device:autoconf.
func (r *nfsRoot) parseIP(v string) error {
	f := append(strings.Split(v, ":"), make([]string, 7)...)
	client, err := netip.ParseAddr(f[0])
	if err != nil || !client.Is4() {
		return errors.New("want a static IPv4 address first")
	}
	bits := 0
	if mask, err := netip.ParseAddr(f[3]); err == nil && mask.Is4() {
		bits, _ = net.IPMask(mask.AsSlice()).Size()
	}
	if bits == 0 {
		return errors.New("want a netmask in the fourth field")
	}
	r.addr = netip.PrefixFrom(client, bits)
	if r.server, err = optionalAddr(f[1]); err != nil {
		return err
	}
	if r.gateway, err = optionalAddr(f[2]); err != nil {
		return err
	}
	r.host = f[4]
	if auto := f[6]; auto != "" && auto != "off" && auto != "none" {
		return fmt.Errorf("autoconfiguration %q is not simulated", auto)
	}
	return nil
}

func optionalAddr(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(s)
}

// parseRoot reads [server:]dir[,option...]. %s in dir is the client's address.
func (r *nfsRoot) parseRoot(v string) error {
	v, options, _ := strings.Cut(v, ",")
	if server, dir, ok := strings.Cut(v, ":"); ok {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			return err
		}
		r.server, v = addr, dir
	}
	if !r.server.Is4() || r.server.IsUnspecified() {
		return errors.New("no server address")
	}
	if !strings.HasPrefix(v, "/") {
		return errors.New("want an absolute path")
	}
	r.path = strings.ReplaceAll(v, "%s", r.addr.Addr().String())
	for o := range strings.SplitSeq(options, ",") {
		if err := r.parseOption(o); err != nil {
			return err
		}
	}
	return nil
}

func (r *nfsRoot) parseOption(o string) error {
	k, v, _ := strings.Cut(o, "=")
	switch k {
	case "port", "mountport":
		port, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		if k == "port" {
			r.nfsPort = uint16(port)
		} else {
			r.mountPort = uint16(port)
			r.klibc = append(r.klibc, o)
		}
	case "vers", "nfsvers":
		r.v4 = strings.HasPrefix(v, "4")
		if r.v4 {
			r.klibc = append(r.klibc, o)
		}
	case "proto":
		r.klibc = append(r.klibc, o)
	case "v4", "v4.1", "v4.2":
		r.v4 = true
	case "udp":
		return errors.New("udp: gone from today's kernels")
	}
	return nil
}
