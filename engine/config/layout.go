package config

import (
	"cmp"
	"net/netip"
	"time"

	"picloud/engine"
)

// Layout is the rack as the engine takes it, in the file's order. Call it only
// on a Config that Validate, Parse or Load found no problem in.
func (c *Config) Layout() engine.Layout {
	layout := engine.Layout{Rack: c.Rack, Rules: c.rules()}
	for _, s := range c.Switches {
		layout.Switches = append(layout.Switches, engine.Switch{Name: s.Name, Ports: s.Ports})
	}
	on := make(map[engine.PiName]string, len(c.Servers))
	for _, s := range c.Servers {
		on[s.Pi] = s.Name
		layout.Servers = append(layout.Servers, engine.Server{
			Name: s.Name, Owner: s.Owner, Keys: append([]string(nil), s.Keys...),
			Address: s.Address, Gateway: s.gateway(), Disk: int64(cmp.Or(s.DiskGB, c.Volumes.DiskGB)) * gigabyte,
		})
	}
	for i := range c.Segments {
		s := &c.Segments[i]
		layout.Pis = append(layout.Pis, s.pi(on[s.piName()]))
	}
	for _, i := range c.Images {
		layout.Images = append(layout.Images, engine.Image{Name: i.Name, Label: i.Label})
	}
	return layout
}

// gigabyte is the unit of sizes in the file.
const gigabyte = 1_000_000_000

// gateway is the server's next hop, zero if it has no address.
func (s *Server) gateway() netip.Addr {
	if s.Address.IsValid() && !s.Gateway.IsValid() {
		return DefaultGateway
	}
	return s.Gateway
}

// Keep is how long a former root is kept; 0 = until the next reimage.
func (v Volumes) Keep() time.Duration { return time.Duration(v.KeepDays) * day }

// Disk is the size of a root whose server says nothing else, in bytes; 0 = as
// its image.
func (v Volumes) Disk() int64 { return int64(v.DiskGB) * gigabyte }

// pi makes the segment's place for a Pi; server is the customer's on it.
func (s *Segment) pi(server string) engine.Pi {
	return engine.Pi{
		Name: s.piName(),
		Segment: engine.Segment{
			Name:      s.Name,
			Interface: s.Interface,
			Server:    s.Address.Addr(),
			Addr:      netip.PrefixFrom(s.piAddress(), s.Address.Bits()),
			Port:      engine.PortID{Switch: s.Switch, Port: s.Port},
		},
		Model:  s.Model,
		Memory: s.Memory,
		Serial: uint32(s.Serial),
		MAC:    s.MAC,
		Life:   s.life(server),
		Server: server,
		Power:  s.Power,
		Image:  s.Image,
	}
}

// piName is the Pi's name: the segment's, unless it was given one.
func (s *Segment) piName() engine.PiName {
	if s.Pi != "" {
		return s.Pi
	}
	return engine.PiName(s.Name)
}

// life is the first value of the Pi's life: what the file says, else what
// follows from who has it and from what is known of its board.
func (s *Segment) life(server string) engine.Life {
	switch {
	case s.Life != "":
		return s.Life
	case server != "":
		return engine.LifeLive
	case s.MAC != engine.MAC{} || s.Serial != 0:
		return engine.LifeReady
	}
	return engine.LifeNew
}

// piAddress is the Pi's address: the given one, else the other host of a /30.
// It is the zero Addr where neither is to be had.
func (s *Segment) piAddress() netip.Addr {
	if s.PiAddress.IsValid() || !usablePrefix(s.Address) || s.Address.Bits() != 30 {
		return s.PiAddress
	}
	return freeHost(s.Address)
}

// usablePrefix tells whether p is IPv4, has room for two hosts and is no larger
// than networks are.
func usablePrefix(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && p.Bits() >= largestNetwork && p.Bits() <= 30
}

// lastAddr is the highest address of an IPv4 prefix, its broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}
