package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"picloud/engine"
	"picloud/hw/link"
)

// loopback is the interface of a simulated rack, which has all addresses of
// 127.0.0.0/8 at once.
const loopback = "lo"

// vlanName is how interfaces of VLANs are named: eth0.101 is VLAN 101 on eth0.
var vlanName = regexp.MustCompile(`^(.+)\.([0-9]{1,4})$`)

// checkInterfaces: each segment needs its interface up, with its address, and
// on the VLAN that its name tells.
func checkInterfaces(_ context.Context, e *Env) []Finding {
	if e.Links == nil {
		return nil
	}
	var found []Finding
	good := 0
	silent := map[string]bool{} // trunks without carrier, said once
	for i := range e.Pis {
		s := &e.Pis[i].Segment
		if s.Interface == loopback {
			good++
			continue
		}
		f := e.checkInterface(s, silent)
		found = append(found, f...)
		if len(f) == 0 {
			good++
		}
	}
	if good > 0 {
		found = append([]Finding{okf("", "%d of %d segments have their interface and address", good, len(e.Pis))}, found...)
	}
	return found
}

func (e *Env) checkInterface(s *engine.Segment, silent map[string]bool) []Finding {
	subject := "segment " + s.Name
	want := netip.PrefixFrom(s.Server, s.Addr.Bits())
	if err := e.Links.CheckAddress(s.Interface, want); err != nil {
		return []Finding{ofError(Failure, subject, err)}
	}
	i, err := e.Links.Lookup(s.Interface)
	if err != nil {
		return []Finding{ofError(Failure, subject, err)}
	}
	var found []Finding
	if f, bad := checkVLANName(subject, i); bad {
		found = append(found, f)
	}
	switch {
	case i.Carrier:
	case i.VLAN == 0:
		found = append(found, warnf(subject, "check its cable, unless its Pi is off", "%s has no carrier", i.Name))
	case !silent[i.Parent]:
		silent[i.Parent] = true
		found = append(found, failf(i.Parent, "check the cable to the switch, and ip link show "+i.Parent, "the trunk of %s has no carrier", i.Name))
	}
	return found
}

// checkVLANName: an interface whose name tells another VLAN than it has leads
// whoever reads the configuration to the wrong Pi.
func checkVLANName(subject string, i link.Interface) (Finding, bool) {
	m := vlanName.FindStringSubmatch(i.Name)
	if m == nil {
		return Finding{}, false
	}
	told, _ := strconv.Atoi(m[2])
	const again = "ip link del %s; ip link add link %s name %s type vlan id %d"
	switch {
	case i.VLAN == 0:
		return warnf(subject, "", "%s is named as VLAN %d of %s and is no VLAN interface", i.Name, told, m[1]), true
	case i.VLAN != told:
		return failf(subject, fmt.Sprintf(again, i.Name, i.Parent, i.Name, told), "%s is VLAN %d", i.Name, i.VLAN), true
	case i.Parent != m[1]:
		return warnf(subject, fmt.Sprintf(again, i.Name, m[1], i.Name, told), "%s is on %s", i.Name, i.Parent), true
	}
	return Finding{}, false
}

// vlanOf is the VLAN that the host has a segment on, 0 = not known.
func (e *Env) vlanOf(s *engine.Segment) int {
	if e.Links == nil || s.Interface == loopback {
		return 0
	}
	i, err := e.Links.Lookup(s.Interface)
	if err != nil {
		return 0
	}
	return i.VLAN
}

// checkNeighbours: the boot ROM of a Pi 3B answers no ARP while it loads, so
// that the service keeps an entry for each board it knows.
func checkNeighbours(_ context.Context, e *Env) []Finding {
	if e.Links == nil {
		return nil
	}
	var found []Finding
	good := 0
	for i := range e.Pis {
		p := &e.Pis[i]
		if p.MAC == (engine.MAC{}) || p.Segment.Interface == loopback {
			continue
		}
		if f, bad := e.checkNeighbour(p); bad {
			found = append(found, f)
		} else {
			good++
		}
	}
	if good > 0 {
		found = append([]Finding{okf("", "nothing is wrong with the neighbour entries of %d known Pis", good)}, found...)
	}
	return found
}

func (e *Env) checkNeighbour(p *engine.Pi) (Finding, bool) {
	entries, err := e.Links.Neighbours(p.Segment.Interface)
	if errors.Is(err, link.ErrNoInterface) {
		return Finding{}, false // the interfaces are checked by themselves
	}
	if err != nil {
		return ofError(Warning, string(p.Name), err), true
	}
	addr := p.Segment.Addr.Addr()
	for _, n := range entries {
		if n.Addr != addr || n.MAC == [6]byte{} {
			continue
		}
		if n.MAC == p.MAC {
			if !n.Permanent && e.Service != 0 {
				break
			}
			return Finding{}, false
		}
		remedy := fmt.Sprintf("ip neighbour del %s dev %s", addr, p.Segment.Interface)
		if n.Permanent {
			return failf(string(p.Name), remedy, "the entry of %s is for %s, and its board is %s", addr, engine.MAC(n.MAC), p.MAC), true
		}
		return warnf(string(p.Name), "see which board is on its port: picloud pi show "+string(p.Name), "%s is answered for by %s, and its board is %s", addr, engine.MAC(n.MAC), p.MAC), true
	}
	if e.Service == 0 {
		return Finding{}, false // the service makes it
	}
	return warnf(string(p.Name), "systemctl reload picloud; the log says why there is none", "%s has no permanent neighbour entry for %s: a Pi 3B may not boot", p.Segment.Interface, addr), true
}

// forwardingFile says whether this host forwards at all (ip-sysctl.rst).
const forwardingFile = "/proc/sys/net/ipv6/conf/all/forwarding"

// checkForwarding: servers with public addresses are reached through this
// host.
func checkForwarding(_ context.Context, e *Env) []Finding {
	n := 0
	for _, s := range e.Config.Servers {
		if s.Address.IsValid() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	b, err := os.ReadFile(forwardingFile)
	if err != nil {
		return []Finding{warnf("", "", "whether IPv6 is forwarded cannot be told: %v", err)}
	}
	if strings.TrimSpace(string(b)) == "0" {
		return []Finding{failf("", "sysctl -w net.ipv6.conf.all.forwarding=1", "this host forwards no IPv6, so that %d servers reach only it", n)}
	}
	return []Finding{okf("", "IPv6 is forwarded to %d servers", n)}
}
