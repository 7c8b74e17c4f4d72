package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"picloud/engine"
)

// Validate returns every mistake in c, nil if there is none. For a value built
// in code the problems have no file and no line.
func (c *Config) Validate(known Known) []Problem {
	list := &problems{}
	if c.source != nil {
		list.file = c.source.file
	}
	c.validate(schema(known), list)
	return list.sorted()
}

func (c *Config) validate(tables []table, list *problems) {
	k := &checker{c: c, source: c.source, tables: tables, list: list}
	k.fields()
	for _, check := range []func(*checker){
		(*checker).guards, (*checker).servers, (*checker).nfs, (*checker).volumes, (*checker).switches, (*checker).portMaps,
		(*checker).images, (*checker).names, (*checker).segments, (*checker).overlaps, (*checker).boards,
		(*checker).customers, (*checker).addresses, (*checker).locals, (*checker).orders, (*checker).plans, (*checker).api,
	} {
		check(k)
	}
}

// checker looks for mistakes in a Config whose values have all been read.
type checker struct {
	c      *Config
	source *source
	tables []table
	list   *problems
}

// say reports what is wrong with the value at p; name is what to call it.
func (k *checker) say(p place, name string, f *fault) {
	if f != nil && !k.source.spoilt(p) {
		k.list.add(k.source.position(p), name+": "+f.message, f.remedy)
	}
}

// fields checks every value by itself.
func (k *checker) fields() {
	for i := range k.tables {
		t := &k.tables[i]
		t.owners(k.c, func(i, j int, owner any) {
			for n := range t.fields {
				k.field(t, &t.fields[n], place{table: t.path, i: i, j: j, key: t.fields[n].key}, owner)
			}
		})
	}
}

func (k *checker) field(t *table, f *field, p place, owner any) {
	value := f.ref(owner)
	if isZero(value) {
		if f.required {
			k.missing(t, f, p, owner)
			return
		}
		switch value.(type) {
		case *int, *time.Duration: // a zero is a value
		default:
			return
		}
	}
	if f.check == nil {
		return
	}
	if wrong := f.check(value); wrong != nil {
		k.say(p, t.name(owner, f.key), wrong)
	}
}

// missing reports a value that has to be there, at its own line if the file
// has it empty, else at its table's.
func (k *checker) missing(t *table, f *field, p place, owner any) {
	if k.source.spoilt(p) {
		return
	}
	example := f.example
	if example == "" {
		example = format(f.ref(t.fresh()))
	}
	message := "no " + f.key
	switch {
	case t.many:
		message = t.title(owner) + ": " + message
	case t.path != "":
		message = t.header() + ": " + message
	}
	k.list.add(k.source.position(p), message, f.key+" = "+example)
}

// guards wants each verb to be there once and to be one; a file cannot say
// otherwise, code can.
func (k *checker) guards() {
	seen := make(map[engine.VerbName]bool)
	for _, g := range k.c.Guard {
		if _, ok := engine.FindVerb(g.Verb); !ok {
			k.list.add(position{}, fmt.Sprintf("guard: there is no verb %s", show(string(g.Verb))), "a verb of engine.Verbs")
		}
		if seen[g.Verb] {
			k.list.add(position{}, fmt.Sprintf("guard: %s is there twice", g.Verb), "delete one of them")
		}
		seen[g.Verb] = true
	}
}

// locals wants each user to be one operator.
func (k *checker) locals() {
	seen := first[string]{}
	for i, l := range k.c.Locals {
		if l.User != "" {
			unique(k, seen, l.User, place{table: "local", i: i, key: "user"}, title("local", l.User), "user "+l.User)
		}
	}
}

// servers wants different ports for DHCP and TFTP, and for SSH, HTTP and the API.
func (k *checker) servers() {
	if k.c.DHCP.Port != 0 && k.c.DHCP.Port == k.c.TFTP.Port {
		k.say(place{table: "tftp", key: "port"}, "tftp.port", faultf("69", "%d is dhcp.port too", k.c.TFTP.Port))
	}
	if l := k.c.HTTP.Listen; l.IsValid() && l == k.c.Console.Listen {
		k.say(place{table: "http", key: "listen"}, "http.listen", faultf(quote(Default().HTTP.Listen.String()), "%s is console.listen too", l))
	}
	for _, other := range []struct {
		name   string
		listen netip.AddrPort
	}{{"console.listen", k.c.Console.Listen}, {"http.listen", k.c.HTTP.Listen}} {
		if l := k.c.API.Listen; l.IsValid() && l == other.listen {
			k.say(place{table: "api", key: "listen"}, "api.listen", faultf("another port", "%s is %s too", l, other.name))
		}
	}
}

// first finds out whether keys come twice, and where they came first.
type first[K comparable] map[K]struct {
	title string
	at    position
}

// unique reports key, and returns false, if an element before had it. what says
// what it is.
func unique[K comparable](k *checker, seen first[K], key K, p place, title, what string) bool {
	at := k.source.position(p)
	before, ok := seen[key]
	if !ok {
		seen[key] = struct {
			title string
			at    position
		}{title, at}
		return true
	}
	where := ""
	if before.at.line > 0 {
		where = fmt.Sprintf(" (line %d)", before.at.line)
	}
	k.say(p, title, faultf("give each its own", "%s is also that of %s%s", what, before.title, where))
	return false
}

func (k *checker) switches() {
	names, addresses := first[string]{}, first[netip.AddrPort]{}
	for i, s := range k.c.Switches {
		p, name := place{table: "switch", i: i}, title("switch", s.Name)
		if s.Name != "" {
			p.key = "name"
			unique(k, names, s.Name, p, name, "the name")
		}
		if s.Address.IsValid() {
			p.key = "address"
			unique(k, addresses, s.Address, p, name, "address "+s.Address.String())
		}
		p.key = "credentials"
		switch {
		case s.CredentialsFile == "" && s.Credentials == (Credentials{}):
			if !k.source.spoilt(p) {
				k.list.add(k.source.position(p), name+": no credentials", `credentials = "/etc/picloud/sw1.secret"`)
			}
		case s.Credentials != (Credentials{}):
			k.say(p, name+" credentials", s.Credentials.fits(s.Version))
		}
	}
	if len(k.c.Switches) == 0 && !k.source.anyBad("switch", "") {
		k.list.add(position{}, "no [[switch]]: nothing gives power", "picloud config template")
	}
}

func (k *checker) portMaps() {
	for i, s := range k.c.Switches {
		ports := first[int]{}
		for j, m := range s.Overrides {
			p := place{table: "switch.port", i: i, j: j, key: "port"}
			if m.Port > s.Ports {
				k.say(p, "switch.port port", beyond(m.Port, &s))
			}
			unique(k, ports, m.Port, p, fmt.Sprintf("switch.port %d", m.Port), "the port")
		}
	}
}

func beyond(port int, s *Switch) *fault {
	return faultf(fmt.Sprintf("1 to %d, or ports = %d for that switch", s.Ports, port),
		"%d is beyond the %d ports of %s", port, s.Ports, title("switch", s.Name))
}

func (k *checker) images() {
	names := first[string]{}
	for i, image := range k.c.Images {
		p := place{table: "image", i: i, key: "name"}
		if image.Name == "" {
			continue
		}
		unique(k, names, image.Name, p, title("image", image.Name), "the name")
		if p.key = "path"; image.Name == BuiltinImage && image.Path != "" {
			k.say(p, title("image", image.Name)+" path", faultf("give an image of your own another name", "the built-in image has no folder"))
		}
	}
}

// names wants segments, Pis and servers to be told apart.
func (k *checker) names() {
	segments, pis, servers := first[string]{}, first[engine.PiName]{}, first[string]{}
	for i := range k.c.Segments {
		s := &k.c.Segments[i]
		name, fresh := title("segment", s.Name), true
		if s.Name != "" {
			fresh = unique(k, segments, s.Name, place{table: "segment", i: i, key: "name"}, name, "the name")
		}
		// A segment's name that comes twice is a Pi's name that does: one
		// mistake.
		if s.Pi != "" || s.Name != "" && fresh {
			unique(k, pis, s.piName(), place{table: "segment", i: i, key: "pi"}, name+" pi", "the Pi's name "+string(s.piName()))
		}
	}
	for i, s := range k.c.Servers {
		if s.Name != "" {
			unique(k, servers, s.Name, place{table: "server", i: i, key: "name"}, title("server", s.Name), "the name")
		}
	}
	if len(k.c.Segments) == 0 && !k.source.anyBad("segment", "") {
		k.list.add(position{}, "no [[segment]]: there is no Pi", "picloud config template")
	}
}

// segments checks the wiring: addresses, interfaces and switch ports.
func (k *checker) segments() {
	w := k.newWiring()
	for i := range k.c.Segments {
		s := &k.c.Segments[i]
		at := func(key string) place { return place{table: "segment", i: i, key: key} }
		name := title("segment", s.Name)
		k.piAddress(s, at("pi_address"), name)
		w.port(s, at, name)
		w.image(s.Image, at("image"), name+" image")
		if s.Interface != "" && !s.Address.Addr().IsLoopback() {
			unique(k, w.interfaces, s.Interface, at("interface"), name, "interface "+s.Interface)
		}
	}
}

func (k *checker) piAddress(s *Segment, p place, name string) {
	if !usablePrefix(s.Address) {
		return
	}
	a, network := s.PiAddress, s.Address.Masked()
	remedy := fmt.Sprintf("%q", freeHost(s.Address).String())
	switch {
	case !a.IsValid() && s.Address.Bits() < 30:
		if !k.source.spoilt(p) {
			k.list.add(k.source.position(p), fmt.Sprintf("%s: no pi_address, and %s has room for several", name, network),
				fmt.Sprintf("pi_address = %q, or a /30", freeHost(s.Address)))
		}
	case !a.IsValid():
	case !network.Contains(a):
		k.say(p, name+" pi_address", faultf(remedy, "%s is outside %s", a, network))
	case a == s.Address.Addr():
		k.say(p, name+" pi_address", faultf(remedy, "%s is the server's own address", a))
	default:
		k.say(p, name+" pi_address", hostAddress(a, s.Address, remedy))
	}
}

// wiring is what segments refer to and must not share.
type wiring struct {
	*checker
	switches   map[string]*Switch
	names      []string
	images     map[string]bool
	imageNames []string
	ports      first[engine.PortID]
	interfaces first[string]
	// unsure: a switch or an image has no name or one that could not be read,
	// so that one which seems missing may be there.
	unsureSwitch, unsureImage bool
}

func (k *checker) newWiring() *wiring {
	w := &wiring{
		checker: k, switches: make(map[string]*Switch, len(k.c.Switches)),
		images: make(map[string]bool), ports: first[engine.PortID]{}, interfaces: first[string]{},
		unsureSwitch: k.source.anyBad("switch", "name"), unsureImage: k.source.anyBad("image", "name"),
	}
	for i := range k.c.Switches {
		s := &k.c.Switches[i]
		w.switches[s.Name] = s
		w.unsureSwitch = w.unsureSwitch || s.Name == ""
		w.names = append(w.names, s.Name)
	}
	for _, image := range k.c.Images {
		w.images[image.Name] = true
		w.unsureImage = w.unsureImage || image.Name == ""
		w.imageNames = append(w.imageNames, image.Name)
	}
	return w
}

// port checks that the segment's switch port is there and is its alone.
func (w *wiring) port(s *Segment, at func(string) place, name string) {
	if s.Switch == "" {
		return
	}
	sw := w.switches[s.Switch]
	if sw == nil {
		if !w.unsureSwitch {
			w.say(at("switch"), name+" switch", w.absent("[[switch]]", s.Switch, w.names))
		}
		return
	}
	if s.Port > sw.Ports && sw.Ports > 0 {
		w.say(at("port"), name+" port", beyond(s.Port, sw))
	}
	if s.Port > 0 {
		id := engine.PortID{Switch: s.Switch, Port: s.Port}
		unique(w.checker, w.ports, id, at("port"), name, "switch port "+id.String())
	}
}

func (w *wiring) image(image string, p place, name string) {
	if image != "" && !w.images[image] && !w.unsureImage {
		w.say(p, name, w.absent("[[image]]", image, w.imageNames))
	}
}

// absent is a reference to something that is not there.
func (k *checker) absent(kind, name string, have []string) *fault {
	f := faultf("add it, or name one that is there", "there is no %s %s", kind, show(name))
	if len(k.list.found) >= maxProblems {
		return f // no one sees it: the search would be for nothing
	}
	if meant := nearest(name, have); meant != "" {
		f.remedy = quote(meant)
	}
	return f
}

// overlaps wants every segment to have its addresses for itself. Of two that
// overlap, the later one in the file is reported.
func (k *checker) overlaps() {
	var order []int
	for i := range k.c.Segments {
		if usablePrefix(k.c.Segments[i].Address) {
			order = append(order, i)
		}
	}
	network := func(i int) netip.Prefix { return k.c.Segments[i].Address.Masked() }
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(network(a).Addr().Compare(network(b).Addr()), cmp.Compare(a, b))
	})
	widest := -1 // the one that reaches furthest so far
	for _, i := range order {
		if widest >= 0 && network(i).Overlaps(network(widest)) {
			k.overlap(min(i, widest), max(i, widest))
		}
		if widest < 0 || lastAddr(network(widest)).Less(lastAddr(network(i))) {
			widest = i
		}
	}
}

func (k *checker) overlap(a, b int) {
	other, s := &k.c.Segments[a], &k.c.Segments[b]
	where := ""
	if at := k.source.position(place{table: "segment", i: a, key: "address"}); at.line > 0 {
		where = fmt.Sprintf(" (line %d)", at.line)
	}
	k.say(place{table: "segment", i: b, key: "address"}, title("segment", s.Name)+" address",
		faultf("give each segment a network of its own", "%s overlaps %s of %s%s", s.Address.Masked(), other.Address.Masked(), title("segment", other.Name), where))
}

// boards wants every board to be in one place.
func (k *checker) boards() {
	macs, serials := first[engine.MAC]{}, first[Serial]{}
	for i := range k.c.Segments {
		s := &k.c.Segments[i]
		name := title("segment", s.Name)
		if s.MAC != (engine.MAC{}) {
			unique(k, macs, s.MAC, place{table: "segment", i: i, key: "mac"}, name, "MAC "+s.MAC.String())
		}
		if s.Serial != 0 {
			unique(k, serials, s.Serial, place{table: "segment", i: i, key: "serial"}, name, "serial "+formatText(&s.Serial))
		}
	}
}

// customers wants every customer's server to have a Pi of its own and keys.
func (k *checker) customers() {
	pis := make([]string, len(k.c.Segments))
	have := make(map[engine.PiName]bool, len(pis))
	for i := range k.c.Segments {
		have[k.c.Segments[i].piName()] = true
		pis[i] = string(k.c.Segments[i].piName())
	}
	unsure := have[""] || k.source.anyBad("segment", "name") || k.source.anyBad("segment", "pi")
	taken := first[engine.PiName]{}
	for i, s := range k.c.Servers {
		p, name := place{table: "server", i: i, key: "pi"}, title("server", s.Name)
		switch {
		case s.Pi == "":
		case have[s.Pi]:
			unique(k, taken, s.Pi, p, name, "Pi "+string(s.Pi))
		case !unsure:
			k.say(p, name+" pi", k.absent("Pi", string(s.Pi), pis))
		}
		for n, key := range s.Keys {
			p.key = element("keys", n)
			k.say(p, name+" "+p.key, authorizedKey(key))
		}
	}
}
