package doctor

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// socket is an open port of this host.
type socket struct {
	network string // tcp, udp
	addr    netip.AddrPort
	inode   uint64
}

// tables are the kernel's lists of sockets in this network namespace
// (proc_net(5)), and the state of those that are open to all.
var tables = []struct {
	network, file string
	state         uint64
}{
	{"udp", "udp", 0x07}, {"udp", "udp6", 0x07}, // TCP_CLOSE: not connected
	{"tcp", "tcp", 0x0A}, {"tcp", "tcp6", 0x0A}, // TCP_LISTEN
}

// maxTable bounds what is read of a list, in bytes: some 100,000 sockets.
const maxTable = 16 << 20

// sockets returns the open ports of this host.
func sockets() ([]socket, error) {
	var all []socket
	for _, t := range tables {
		f, err := os.Open("/proc/thread-self/net/" + t.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		list, err := parseSockets(io.LimitReader(f, maxTable), t.network, t.state)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// parseSockets reads one list. Lines that are none are left out.
func parseSockets(r io.Reader, network string, state uint64) ([]socket, error) {
	var list []socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		addr, ok := parseLocal(f[1])
		st, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if ok && err1 == nil && err2 == nil && st == state {
			list = append(list, socket{network, addr, inode})
		}
	}
	return list, lines.Err()
}

// parseLocal reads ADDRESS:PORT, in hexadecimal; the address is in words of 32
// bits in the host's order.
func parseLocal(s string) (netip.AddrPort, bool) {
	a, p, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(p, 16, 16)
	b, err2 := hex.DecodeString(a)
	if err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

// owner is a process that has a socket open.
type owner struct {
	pid  int
	name string // comm of proc(5): whatever the process calls itself
	unit string // systemd's, as dnsmasq.service; "" = none
}

func (o owner) String() string {
	if o.unit != "" {
		return fmt.Sprintf("%s (process %d of %s)", o.name, o.pid, o.unit)
	}
	return fmt.Sprintf("%s (process %d)", o.name, o.pid)
}

// stop is how to end it.
func (o owner) stop() string {
	if o.unit != "" {
		return "systemctl disable --now " + o.unit
	}
	return fmt.Sprintf("see what it is with ps -fp %d, and stop it", o.pid)
}

// owners finds the processes of sockets. Those of other users are seen by root
// alone.
func owners(want map[uint64]bool) map[uint64]owner {
	found := make(map[uint64]owner, len(want))
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || len(found) == len(want) {
			continue
		}
		for _, inode := range socketsOf(pid) {
			if _, have := found[inode]; want[inode] && !have {
				found[inode] = owner{pid, processName(pid), unitOf(pid)}
			}
		}
	}
	return found
}

func socketsOf(pid int) []uint64 {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, _ := os.ReadDir(dir)
	var inodes []uint64
	for _, f := range files {
		target, _ := os.Readlink(filepath.Join(dir, f.Name()))
		number, ok := strings.CutPrefix(target, "socket:[")
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); ok && err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

func processName(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "a process that has ended"
	}
	return strings.TrimSpace(string(b))
}

// unitForm is what may stand in a command that people copy.
var unitForm = regexp.MustCompile(`/system\.slice/(?:[A-Za-z0-9:_.@-]+/)*([A-Za-z0-9:_.@-]+\.(?:service|socket))`)

// unitOf reads which of systemd's units a process belongs to (cgroups(7)).
func unitOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if m := unitForm.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// within tells whether a process is another or was started by it.
func within(pid, ancestor int) bool {
	for range 64 { // deeper is nonsense
		if pid == ancestor {
			return true
		}
		if pid = parent(pid); pid <= 1 {
			return false
		}
	}
	return false
}

// parent reads ppid of proc_pid_stat(5), which follows the name in
// parentheses and the state; 0 = none.
func parent(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// ServiceAt returns the process that listens at the console's socket, 0 if
// none does.
func ServiceAt(path string) int {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(who.Pid)
		}
	})
	return pid
}
