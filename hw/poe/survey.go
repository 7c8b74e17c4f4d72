package poe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// ProfileAuto makes Survey find out the profile itself.
const ProfileAuto = "auto"

// Survey is what a switch tells somebody who sees it for the first time.
type Survey struct {
	SysName  string
	SysDescr string
	ObjectID string // sysObjectID: the vendor's number of the model
	Profile  string
	Why      string       // how the profile was chosen
	Ports    []SurveyPort // with power, ordered by number
	// Elsewhere are neighbours on ports without power: the way to the rest of
	// the network.
	Elsewhere []Neighbour
	// Missing is what could not be read, and why: a switch may have a table that
	// makes no sense, and yet be of use.
	Missing []error
}

// SurveyPort is a port with power, and all that was seen at it.
type SurveyPort struct {
	Found
	State      PortState
	PVID       int         // VLAN of its untagged frames, 0 where it is not told
	Tagged     []int       // VLANs that it is in with a tag, ordered
	Stations   []FDBEntry  // learned at it, at most MaxStations, ordered by VLAN and address
	Neighbours []Neighbour // at most MaxStations
	More       int         // stations and neighbours beyond those
}

// MaxStations is how many learned addresses of a port a survey has.
const MaxStations = 8

// LookAt reads a switch and changes nothing: what it is, its PSE ports with what
// they deliver, the VLANs, the learned addresses and the LLDP neighbours. The
// ports of cfg are not used; its profile may be ProfileAuto.
func LookAt(ctx context.Context, cfg Config) (Survey, error) {
	cfg.Ports = nil
	s := Survey{Profile: cfg.Profile, Why: "as asked for"}
	if cfg.Profile == ProfileAuto {
		cfg.Profile = ""
		var err error
		if s.Profile, s.Why, err = findProfile(ctx, cfg); err != nil {
			return s, err
		}
	}
	cfg.Profile = s.Profile
	d, err := New(cfg)
	if err != nil {
		return s, err
	}
	defer d.Close()
	s.Profile = d.profile.Name
	if err := d.introduce(ctx, &s); err != nil {
		return s, err
	}
	found, err := d.Discover(ctx)
	if err != nil {
		return s, err
	}
	if err := d.use(ctx, found); err != nil {
		return s, err
	}
	reading, err := d.Poll(ctx)
	if err != nil {
		return s, err
	}
	for i, f := range found {
		s.Ports = append(s.Ports, SurveyPort{Found: f, State: reading.Ports[i]})
	}
	return s, d.lookAround(ctx, &s)
}

// use takes the ports found, in the driver's turn.
func (d *SNMP) use(ctx context.Context, found []Found) error {
	_, done, err := d.begin(ctx)
	if err != nil {
		return d.fail("discover", 0, err)
	}
	defer done()
	return d.fail("discover", 0, d.adopt(found))
}

// introduce reads the system group (RFC 3418).
func (d *SNMP) introduce(ctx context.Context, s *Survey) error {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return d.fail("discover", 0, err)
	}
	defer done()
	limited, cancel := context.WithTimeout(inner, pollLimit)
	defer cancel()
	vars, err := d.get(limited, []string{oidSysDescr, oidSysObjectID, oidSysName})
	if err != nil {
		return d.fail("discover", 0, late(inner, pollLimit, err))
	}
	s.SysDescr, s.ObjectID, s.SysName = strings.TrimSpace(printable(vars[0])), objectID(vars[1]), strings.TrimSpace(printable(vars[2]))
	return nil
}

// objectID reads an OBJECT IDENTIFIER, "" if it is none.
func objectID(v gosnmp.SnmpPDU) string {
	name, ok := v.Value.(string)
	if !ok || v.Type != gosnmp.ObjectIdentifier {
		return ""
	}
	oid, err := parseOID(name)
	if err != nil {
		return ""
	}
	return formatOID(oid)
}

// lookAround adds the VLANs, the stations and the neighbours.
func (d *SNMP) lookAround(ctx context.Context, s *Survey) error {
	bridge, err := d.Bridge(ctx)
	if err = s.lacks(err); err != nil {
		return err
	}
	stations, err := d.FDB(ctx)
	if err = s.lacks(err); err != nil {
		return err
	}
	neighbours, err := d.Neighbours(ctx)
	if err = s.lacks(err); err != nil {
		return err
	}
	s.addBridge(bridge)
	s.addStations(stations)
	s.addNeighbours(neighbours)
	return nil
}

// lacks notes a table that could not be made sense of; other errors it returns.
func (s *Survey) lacks(err error) error {
	if errors.Is(err, ErrAnswer) {
		s.Missing = append(s.Missing, err)
		return nil
	}
	return err
}

// port finds the port of which is true, nil if there is none.
func (s *Survey) port(is func(*SurveyPort) bool) *SurveyPort {
	for i := range s.Ports {
		if is(&s.Ports[i]) {
			return &s.Ports[i]
		}
	}
	return nil
}

func (s *Survey) addBridge(b Bridge) {
	for _, port := range b.Ports {
		if p := s.port(func(p *SurveyPort) bool { return p.Number == port.Port }); p != nil {
			p.PVID = port.PVID
		}
	}
	for _, v := range b.VLANs {
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.BridgePort > 0 && slices.Contains(v.Egress, p.BridgePort) && !slices.Contains(v.Untagged, p.BridgePort) {
				p.Tagged = append(p.Tagged, v.ID)
			}
		}
	}
}

func (s *Survey) addStations(stations []FDBEntry) {
	slices.SortFunc(stations, func(a, b FDBEntry) int {
		return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	for _, e := range stations {
		p := s.port(func(p *SurveyPort) bool { return p.Number == e.Port })
		switch {
		case p == nil:
		case len(p.Stations) < MaxStations:
			p.Stations = append(p.Stations, e)
		default:
			p.More++
		}
	}
}

// addNeighbours puts neighbours at the ports that they were heard at: by the
// interface's name where LLDP tells it, else by the bridge port.
func (s *Survey) addNeighbours(list []Neighbour) {
	for _, n := range list {
		p := s.port(func(p *SurveyPort) bool { return n.LocalPort != "" && p.IfName == n.LocalPort })
		if p == nil {
			p = s.port(func(p *SurveyPort) bool { return n.BridgePort > 0 && p.BridgePort == n.BridgePort })
		}
		switch {
		case p == nil:
			s.Elsewhere = append(s.Elsewhere, n)
		case len(p.Neighbours) < MaxStations:
			p.Neighbours = append(p.Neighbours, n)
		default:
			p.More++
		}
	}
}

// vendors are what sysObjectID begins with; the numbers are IANA's enterprises.
var vendors = []struct{ prefix, profile string }{
	{".1.3.6.1.4.1.9.6.1.", "cisco-smb"},
	{".1.3.6.1.4.1.9.1.", "cisco-ios"},
	{".1.3.6.1.4.1.11.2.3.7.11.", "hp-procurve"},
	{".1.3.6.1.4.1.47196.", "aruba-cx"},
	{".1.3.6.1.4.1.4526.", "netgear"},
	{".1.3.6.1.4.1.4413.", "edgeswitch"},
	{".1.3.6.1.4.1.1916.", "extreme"},
	{".1.3.6.1.4.1.25506.", "h3c"},
	{".1.3.6.1.4.1.2011.", "huawei"},
	{".1.3.6.1.4.1.1991.", "ruckus-icx"},
	{".1.3.6.1.4.1.2636.", "juniper"},
	{".1.3.6.1.4.1.6486.", "alcatel"},
	{".1.3.6.1.4.1.11863.", "tp-link"},
	{".1.3.6.1.4.1.14988.", "mikrotik"},
}

// findProfile tells the profile by the vendor, or where that is not known by
// whose table of watts the switch has.
func findProfile(ctx context.Context, cfg Config) (name, why string, err error) {
	d, err := New(cfg)
	if err != nil {
		return "", "", err
	}
	defer d.Close()
	var s Survey
	if err := d.introduce(ctx, &s); err != nil {
		return "", "", err
	}
	for _, v := range vendors {
		if strings.HasPrefix(s.ObjectID+".", v.prefix) {
			return v.profile, "its sysObjectID is " + s.ObjectID[1:], nil
		}
	}
	for _, p := range profiles {
		if p.Watts.OID == "" {
			continue
		}
		ok, err := d.has(ctx, p.Watts.OID)
		if err != nil {
			return "", "", err
		}
		if ok {
			return p.Name, "it has that vendor's table of watts", nil
		}
	}
	return rfc3621.Name, "no vendor's table was found", nil
}

// has tells whether a column has a row.
func (d *SNMP) has(ctx context.Context, column string) (bool, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return false, d.fail("discover", 0, err)
	}
	defer done()
	pkt, err := d.sess.do(inner, func(g *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) { return g.GetNext([]string{column}) })
	var status *statusError
	switch {
	case errors.As(err, &status) && status.status == gosnmp.NoSuchName:
		return false, nil // how some agents say that the MIB ends here
	case err != nil:
		return false, d.fail("discover", 0, err)
	}
	if len(pkt.Variables) != 1 {
		return false, d.fail("discover", 0, fmt.Errorf("%w: %d objects, asked for one", ErrAnswer, len(pkt.Variables)))
	}
	v := pkt.Variables[0]
	_, err = number(v)
	return err == nil && strings.HasPrefix(v.Name, column+"."), nil
}
