// Package propose turns what a switch tells of itself into the part of a
// configuration that describes it: its [[switch]] and a [[segment]] for each
// port that looks like the place of one Pi. Each line of it says where it comes
// from, for a person reads it before a rack runs by it.
package propose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"picloud/engine/config"
	"picloud/hw/poe"
)

// Options are what a switch cannot tell.
type Options struct {
	Address     netip.AddrPort // of the switch's SNMP agent
	Version     string         // config.SNMPv2c or config.SNMPv3
	Credentials string         // the file of its credentials
	Name        string         // of the switch; "" = as it calls itself
	Prefix      string         // of the Pis' names, before the port's number; "" = the switch's name
	Net         netip.Prefix   // port n has the n-th /30 of it
	Interface   string         // that has all VLANs with a tag
	At          time.Time
}

// ErrOptions means that the options do not fit the switch.
var ErrOptions = errors.New("propose")

// Write writes the proposal to w and returns how many segments it has: a port
// that is doubtful is there as comments only, with the reason. Joined to a
// rack's name it is a configuration, if it has a segment.
func Write(w io.Writer, s *poe.Survey, o Options) (segments int, err error) {
	p := proposal{s: s, o: o, vlans: make(map[int][]int), names: make(map[string]bool)}
	if err := p.check(); err != nil {
		return 0, err
	}
	p.header()
	p.theSwitch()
	for i := range s.Ports {
		if p.segment(&s.Ports[i]) {
			segments++
		}
	}
	if _, err := w.Write(p.out.Bytes()); err != nil {
		return segments, fmt.Errorf("propose: write: %w", err)
	}
	return segments, nil
}

type proposal struct {
	s     *poe.Survey
	o     Options
	sw    config.Switch
	out   bytes.Buffer
	vlans map[int][]int // the ports whose frames without a tag a VLAN has
	names map[string]bool
}

var (
	notPlain      = regexp.MustCompile(`[^A-Za-z0-9_-]+`)
	notLabel      = regexp.MustCompile(`[^a-z0-9]+`)
	interfaceForm = regexp.MustCompile(`^[A-Za-z0-9._@-]+$`)
)

const (
	longestLabel     = 63
	longestInterface = 15 - len(".4094") // the kernel's 15, less the VLAN
)

func (p *proposal) check() error {
	switch n := p.o.Net; {
	case !n.IsValid() || !n.Addr().Is4() || n.Bits() > 30 || n != n.Masked():
		return fmt.Errorf("%w: the net %v is no IPv4 network with room for a /30, such as 10.64.0.0/16", ErrOptions, n)
	case len(p.o.Interface) > longestInterface || !interfaceForm.MatchString(p.o.Interface):
		return fmt.Errorf("%w: the interface %q: a name of at most %d letters and digits, such as eth0", ErrOptions, p.o.Interface, longestInterface)
	}
	if p.o.Name == "" {
		p.o.Name = trimmed(notPlain.ReplaceAllString(p.s.SysName, "-"))
	}
	if p.o.Name == "" {
		p.o.Name = "sw1"
	}
	if p.o.Prefix == "" {
		p.o.Prefix = p.o.Name
	}
	p.o.Prefix = label(p.o.Prefix)
	if p.o.Prefix == "" || len(p.o.Prefix) > longestLabel-5 || p.o.Name != trimmed(notPlain.ReplaceAllString(p.o.Name, "-")) {
		return fmt.Errorf("%w: the name %q of the switch, or %q before the Pis', cannot be used", ErrOptions, p.o.Name, p.o.Prefix)
	}
	last := 0
	for i := range p.s.Ports {
		port := &p.s.Ports[i]
		last = max(last, port.Number)
		if isVLAN(port.PVID) {
			p.vlans[port.PVID] = append(p.vlans[port.PVID], port.Number)
		}
	}
	if last > 0 && !p.o.Net.Contains(p.network(last).Addr()) {
		return fmt.Errorf("%w: %v has no room for the /30 of port %d", ErrOptions, p.o.Net, last)
	}
	return nil
}

func label(s string) string { return trimmed(notLabel.ReplaceAllString(strings.ToLower(s), "-")) }

func trimmed(s string) string { return strings.Trim(s[:min(len(s), longestLabel)], "-_.") }

// network is the /30 of a port, with the server's address.
func (p *proposal) network(port int) netip.Prefix {
	b := p.o.Net.Addr().As4()
	n := uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	n += 4*uint64(port-1) + 1
	if n > 1<<32-1 {
		return netip.Prefix{} // in no network
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 30)
}

// say writes lines of comment. What switches and neighbours tell stands in it
// quoted and clipped: it is theirs.
func (p *proposal) say(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		p.out.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}

func (p *proposal) header() {
	on := 0
	for i := range p.s.Ports {
		if p.s.Ports[i].State.On() {
			on++
		}
	}
	p.say("What %s says of itself, read by picloud switch discover on %s.", p.o.Address, p.o.At.UTC().Format("2006-01-02 15:04 UTC"))
	p.say("%s, %s", quoted(p.s.SysName), quoted(p.s.SysDescr))
	p.say("%d ports with PoE, of which %d deliver power.", len(p.s.Ports), on)
	for _, n := range p.s.Elsewhere {
		p.say("LLDP: %s. It has no PoE: let it carry every VLAN with a tag, if it leads here.", neighbour(n))
	}
	for _, err := range p.s.Missing {
		p.say("Not read: %s", quoted(err.Error()))
	}
}

// neighbour is a sentence about one.
func neighbour(n poe.Neighbour) string {
	at := "port " + quoted(n.LocalPort)
	if n.LocalPort == "" {
		at = fmt.Sprintf("bridge port %d", n.BridgePort)
	}
	who := n.SysName
	if who == "" {
		who = n.ChassisID
	}
	s := fmt.Sprintf("%s leads to %s of %s", at, quoted(n.PortID), quoted(who))
	if n.Forwards {
		s += ", a bridge, router or access point"
	}
	return s
}

func (p *proposal) theSwitch() {
	sw := config.DefaultSwitch()
	sw.Name, sw.Address, sw.Profile = p.o.Name, p.o.Address, p.s.Profile
	sw.Version, sw.CredentialsFile = p.o.Version, p.o.Credentials
	sw.Ports = 0
	groups := make(map[int]int)
	for i := range p.s.Ports {
		port := &p.s.Ports[i]
		sw.Ports = max(sw.Ports, port.Number)
		groups[port.Group]++
		if groups[port.Group] > groups[sw.Group] {
			sw.Group = port.Group
		}
	}
	for i := range p.s.Ports {
		if m, differs := override(&p.s.Ports[i], sw.Group); differs {
			sw.Overrides = append(sw.Overrides, m)
		}
	}
	p.sw = sw
	p.out.WriteByte('\n')
	p.say("The profile: %s.", p.s.Why)
	if len(sw.Overrides) > 0 {
		p.say("Each [[switch.port]] is one that the switch numbers otherwise than the profile:\nfrom POWER-ETHERNET-MIB, IF-MIB and dot1dBasePortIfIndex.")
	}
	p.encode("", &config.Config{Switches: []config.Switch{sw}})
}

// override is what a port's place in the tables is, where it is not the one
// that the configuration takes for granted.
func override(port *poe.SurveyPort, group int) (m config.PortMap, differs bool) {
	m.Port = port.Number
	for _, f := range []struct {
		to          *int
		is, granted int
	}{
		{&m.Group, port.Group, group},
		{&m.Index, port.Port, port.Number},
		{&m.IfIndex, port.IfIndex, port.Number},
		{&m.BridgePort, port.BridgePort, port.Number},
	} {
		if f.is != f.granted && f.is != 0 {
			*f.to, differs = f.is, true
		}
	}
	return m, differs
}

// encode writes a part of a configuration, each line behind a prefix.
func (p *proposal) encode(prefix string, part *config.Config) {
	c := config.Default()
	c.Switches, c.Segments = part.Switches, part.Segments
	var b strings.Builder
	_ = c.Encode(&b) // to memory: it cannot fail
	for line := range strings.Lines(strings.TrimPrefix(b.String(), "\n")) {
		if line != "\n" || prefix == "" {
			p.out.WriteString(prefix + line)
		}
	}
}
