package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picloud/engine"
)

// Orders sets how customers' servers are ordered, and what they cost beside
// their boards.
type Orders struct {
	Disk       engine.Pence // a month of each 10 GB
	Spares     int          // ready Pis of each spec that are held back
	Tries      int          // Pis that a server is tried on
	Pool       netip.Prefix // of public IPv6 addresses; zero = servers have none
	PoolBits   int          // length of the prefix that each is given with
	Gateway    netip.Addr   // zero = DefaultGateway
	SSHPorts   int          // first port of the IPv4 proxy for SSH; 0 = there is none
	Quarantine int          // days that an address is nobody's after a release
	KeepDays   int          // days that the root of a released server is kept
	Image      string       // of an order that names none; "" = the first
	Examine    bool         // boards are examined before they are ready
	ExamImage  string       // whose kernel the examination has
}

// Plan is what a board costs a month. The first plan that a board meets is its
// price; a 0 meets any.
type Plan struct {
	Model  int // 3, 4 or 5
	Memory int // MB
	CPU    int // MHz
	Month  engine.Pence
}

// noPrice is the month of a plan that says none: a free one says "0".
const noPrice engine.Pence = -1

// DefaultPlan returns a plan for any board, without a price yet.
func DefaultPlan() Plan { return Plan{Month: noPrice} }

// what is the plan's boards in words, "" = all.
func (p *Plan) what() string {
	var parts []string
	for _, v := range []struct {
		form string
		n    int
	}{{"model %d", p.Model}, {"%d MB", p.Memory}, {"%d MHz", p.CPU}} {
		if v.n != 0 {
			parts = append(parts, fmt.Sprintf(v.form, v.n))
		}
	}
	return strings.Join(parts, " ")
}

func (p *Plan) spec() engine.Spec { return engine.Spec{Model: p.Model, Memory: p.Memory, CPU: p.CPU} }

// meets tells whether all boards of this plan are also those of other.
func (p *Plan) meets(other *Plan) bool {
	for _, v := range [][2]int{{p.Model, other.Model}, {p.Memory, other.Memory}, {p.CPU, other.CPU}} {
		if v[1] != 0 && v[0] != v[1] {
			return false
		}
	}
	return true
}

// rules are how servers are ordered, for the engine.
func (c *Config) rules() engine.Rules {
	o := &c.Orders
	r := engine.Rules{
		Disk: o.Disk, Spares: o.Spares, Tries: o.Tries, Ports: o.SSHPorts,
		Quarantine: time.Duration(o.Quarantine) * day, Keep: time.Duration(o.KeepDays) * day,
		Image: o.Image, Examine: o.Examine, Exam: o.ExamImage,
	}
	if o.Pool.IsValid() {
		r.Pool, r.Bits, r.Gateway = o.Pool, o.PoolBits, o.gateway()
	}
	for i := range c.Plans {
		r.Plans = append(r.Plans, engine.Plan{Spec: c.Plans[i].spec(), Month: c.Plans[i].Month})
	}
	return r
}

func (o *Orders) gateway() netip.Addr {
	if !o.Gateway.IsValid() {
		return DefaultGateway
	}
	return o.Gateway
}

func ordersTable() table {
	return single("orders", "Servers that customers order by the API, and what they cost beside their boards:\nsee [[plan]].", func(c *Config) *Orders { return &c.Orders },
		field{key: "disk", doc: "What each 10 GB of disk cost a month, in pounds.",
			ref: ref(func(o *Orders) any { return &o.Disk })},
		field{key: "spares", doc: "So many ready Pis of each kind are held back, for servers whose Pi fails.",
			ref: ref(func(o *Orders) any { return &o.Spares }), check: within(0, 10000)},
		field{key: "tries", doc: "A server is tried on so many Pis, each of which is broken if it does not boot.",
			ref: ref(func(o *Orders) any { return &o.Tries }), check: within(1, 10)},
		field{key: "pool", doc: "Public IPv6 addresses, one a server. Not set: servers have none.", example: `"2001:db8:0:2::/64"`,
			ref: ref(func(o *Orders) any { return &o.Pool }), check: on(poolPrefix)},
		field{key: "pool_bits", doc: "Length of the prefix that the Pi has on its wire.",
			ref: ref(func(o *Orders) any { return &o.PoolBits }), check: within(1, 128)},
		field{key: "gateway", doc: "Next hop of these addresses, which picloud has on the Pi's interface. If not\nset: fe80::1.", example: `"fe80::1"`,
			ref: ref(func(o *Orders) any { return &o.Gateway }), check: on(gatewayAddress)},
		field{key: "ssh_ports", doc: "Servers have a port each for SSH at the IPv4 proxy, from the one after this on.\n0 = there is no proxy.",
			ref: ref(func(o *Orders) any { return &o.SSHPorts }), check: on(firstPort)},
		field{key: "quarantine_days", doc: "An address and a port are nobody's for so many days after a server is released.",
			ref: ref(func(o *Orders) any { return &o.Quarantine }), check: within(0, 3650)},
		field{key: "keep_days", doc: "The root of a released server is kept for so many days.",
			ref: ref(func(o *Orders) any { return &o.KeepDays }), check: within(0, 3650)},
		field{key: "image", doc: "The [[image]] of an order that names none. If not set: the first.", example: `"builtin"`,
			ref: ref(func(o *Orders) any { return &o.Image })},
		field{key: "examine", doc: "New and returned boards boot a system in memory that examines them, and are\nready after that.",
			ref: ref(func(o *Orders) any { return &o.Examine })},
		field{key: "exam_image", doc: "The [[image]] whose kernel that system has.", example: `"builtin"`,
			ref: ref(func(o *Orders) any { return &o.ExamImage })},
	)
}

func planTable() table {
	return many("plan", "What boards cost, one table each. The first that fits a board is its price; one\nthat none fits cannot be ordered.", func(c *Config) *[]Plan { return &c.Plans },
		DefaultPlan, func(p *Plan) string { return title("plan", p.what()) },
		field{key: "model", doc: "3, 4 or 5; 0 = any. So it is with the next two.", example: "4",
			ref: ref(func(p *Plan) any { return &p.Model }), check: on(generation)},
		field{key: "memory", doc: "In MB.", example: "4096",
			ref: ref(func(p *Plan) any { return &p.Memory }), check: on(memorySize)},
		field{key: "cpu", doc: "In MHz.",
			ref: ref(func(p *Plan) any { return &p.CPU }), check: within(0, 10000)},
		field{key: "month", doc: "Pounds a month.", example: `"5.75"`,
			ref: ref(func(p *Plan) any { return &p.Month }), check: on(monthPrice)},
	)
}

func generation(n int) *fault {
	if n != 0 && (n < 3 || n > 5) {
		return faultf("3, 4 or 5; 0 = any", "%d is no model that can be booted", n)
	}
	return nil
}

// memorySizes are those that boards were made with, in MB.
var memorySizes = []int{512, 1024, 2048, 4096, 8192, 16384}

func memorySize(n int) *fault {
	if n == 0 || slices.Contains(memorySizes, n) {
		return nil
	}
	remedy := fmt.Sprintf("one of %s", strings.Trim(fmt.Sprint(memorySizes), "[]"))
	if slices.Contains(memorySizes, n*1024) {
		remedy = fmt.Sprint(n * 1024)
	}
	return faultf(remedy, "no board has %d MB", n)
}

func monthPrice(p engine.Pence) *fault {
	if p < 0 {
		return faultf(`month = "5.75", or "0" if it is free`, "is not set")
	}
	return nil
}

// largestPool is the shortest length of a pool, and smallestPool the longest: one
// of 65,536 addresses, which is more than a rack has Pis.
const (
	largestPool  = 16
	smallestPool = 112
)

func poolPrefix(p netip.Prefix) *fault {
	const remedy = `a network of public IPv6 addresses, such as "2001:db8:0:2::/64"`
	switch {
	case !public(p.Addr()):
		return faultf(remedy, "%s is not of public IPv6 addresses", p)
	case p.Bits() < largestPool || p.Bits() > smallestPool:
		return faultf(fmt.Sprintf("a length from %d to %d", largestPool, smallestPool), "%s is too %s", p, side(p.Bits() < largestPool, "large", "small"))
	case p != p.Masked():
		return faultf(fmt.Sprintf("%q", p.Masked()), "%s is an address within its network", p)
	}
	return nil
}

// firstPort checks the port before the first of the proxy.
func firstPort(n int) *fault {
	const low, high = 1023, 60000
	if n != 0 && (n < low || n > high) {
		return faultf(fmt.Sprintf("a number from %d to %d, or 0", low, high), "%d is too %s", n, side(n < low, "small", "large"))
	}
	return nil
}

// orders wants what orders refer to, and that the pool is nobody's yet.
func (k *checker) orders() {
	o := &k.c.Orders
	at := func(key string) place { return place{table: "orders", key: key} }
	w := k.newWiring()
	w.image(o.Image, at("image"), "orders.image")
	w.image(o.ExamImage, at("exam_image"), "orders.exam_image")
	if o.Examine && o.ExamImage == "" && !k.source.spoilt(at("exam_image")) {
		k.list.add(k.source.position(at("exam_image")), "[orders]: no exam_image, which examine = true needs", `exam_image = "…", the name of an [[image]]`)
	}
	if !o.Pool.IsValid() || poolPrefix(o.Pool) != nil {
		if o.Gateway.IsValid() && !o.Pool.IsValid() && !k.source.spoilt(at("pool")) {
			k.say(at("gateway"), "orders.gateway", faultf("pool = \"2001:db8:0:2::/64\"", "there is no pool that it would be for"))
		}
		return
	}
	switch g := o.Gateway; {
	case !g.IsValid() || gatewayAddress(g) != nil || g.IsLinkLocalUnicast():
	case o.Pool.Contains(g):
		k.say(at("gateway"), "orders.gateway", faultf(fmt.Sprintf("%q", DefaultGateway), "%s is within the pool", g))
	case !netip.PrefixFrom(o.Pool.Addr(), min(o.PoolBits, o.Pool.Bits())).Contains(g):
		k.say(at("gateway"), "orders.gateway", faultf(fmt.Sprintf("%q", DefaultGateway), "%s is neither link-local nor on the wire of the pool", g))
	}
	for i, s := range k.c.Servers {
		if s.Address.IsValid() && o.Pool.Contains(s.Address.Addr()) {
			k.say(place{table: "server", i: i, key: "address"}, title("server", s.Name)+" address",
				faultf("an address outside of the pool", "%s is within orders.pool, %s", s.Address.Addr(), o.Pool))
		}
	}
}

// plans wants every plan to be some board's.
func (k *checker) plans() {
	for i := range k.c.Plans {
		p := &k.c.Plans[i]
		before := slices.IndexFunc(k.c.Plans[:i], func(other Plan) bool { return p.meets(&other) })
		if before < 0 {
			continue
		}
		where := ""
		if at := k.source.position(place{table: "plan", i: before}); at.line > 0 {
			where = fmt.Sprintf(" (line %d)", at.line)
		}
		k.say(place{table: "plan", i: i}, title("plan", p.what()), faultf("put the plan for more kinds of boards last",
			"is nobody's: its boards meet %s first%s", cmp.Or(title("plan", k.c.Plans[before].what()), "plan"), where))
	}
}
