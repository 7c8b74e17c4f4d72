package config

import (
	"fmt"
	"strings"
	"time"

	"picloud/engine"
)

// Known is what the program that reads the configuration has to offer. A nil
// list is not checked against.
type Known struct {
	Profiles   []string // switch profiles
	NFSDrivers []string
	// VolumeDrivers are the values of volumes.driver.
	VolumeDrivers []string
}

// day is the longest time that any setting can mean.
const day = 24 * time.Hour

const portDoc = "A port that the switch numbers otherwise; belongs to the [[switch]] above it."

// schema is every table and key of the file, in the order they are printed.
func schema(known Known) []table {
	tables := []table{topTable(), bootTable(), dhcpTable(), tftpTable(), nfsTable(known), volumesTable(known), guestTable(), sshTable(), consoleTable(), localTable(), backupTable(), httpTable(), ordersTable(), examTable(), apiTable(), guardParent()}
	for i, g := range defaultGuards() {
		tables = append(tables, guardTable(i, g))
	}
	return append(tables, switchTable(known), portMapTable(), segmentTable(), serverTable(), imageTable(), planTable())
}

func topTable() table {
	return single("", "The configuration of picloud serve.", func(c *Config) *Config { return c },
		field{key: "rack", doc: "The rack's name, as people call it.", required: true, example: `"A3"`, show: true,
			ref: ref(func(c *Config) any { return &c.Rack }), check: plainName()},
		field{key: "state", doc: "Folder of the database, the volumes and the images.", required: true,
			ref: ref(func(c *Config) any { return &c.State }), check: on(cleanPath)},
	)
}

func bootTable() table {
	fields := []field{
		limit("power", engine.StagePower, "From power-on until something is heard. For each limit: a Pi that makes no\nprogress for so long is stalled; \"0s\" = no limit."),
		limit("dhcp", engine.StageDHCP, "From the first DISCOVER until a boot file is asked for."),
		limit("firmware", engine.StageFirmware, "From one block of a boot file to the next."),
		limit("kernel", engine.StageKernel, "From the kernel being served until the root is mounted."),
		limit("root", engine.StageRoot, "From the root being mounted until SSH answers."),
	}
	return single("boot", "How Pis are started and watched.", func(c *Config) *Boot { return &c.Boot }, append(fields,
		field{key: "starting", doc: "So many Pis at once may be between power-on and kernel.",
			ref: ref(func(b *Boot) any { return &b.Starting }), check: within(1, 10000)},
		field{key: "hold", doc: "A power-cycle keeps the port off for so long.",
			ref: ref(func(b *Boot) any { return &b.Hold }), check: between(100*time.Millisecond, 5*time.Minute)},
		field{key: "failures", doc: "A batch stops after so many failed jobs.",
			ref: ref(func(b *Boot) any { return &b.Failures }), check: within(1, 10000)},
	)...)
}

func limit(key string, stage engine.Stage, doc string) field {
	return field{key: key, doc: doc, ref: ref(func(b *Boot) any { return &b.Limits[stage] }), check: between(0, day)}
}

func dhcpTable() table {
	return single("dhcp", "The DHCP server. It answers only the Pis below.", func(c *Config) *DHCP { return &c.DHCP },
		field{key: "port", doc: "UDP port; the boot ROMs ask 67 only. 0 = any free one.",
			ref: ref(func(d *DHCP) any { return &d.Port }), check: socketPort()},
		field{key: "client_port", doc: "UDP port of the Pis.",
			ref: ref(func(d *DHCP) any { return &d.ClientPort }), check: within(1, 65535)},
		field{key: "reply", doc: "Where answers go: \"broadcast\", or \"unicast\" to the Pi's MAC.",
			ref: ref(func(d *DHCP) any { return &d.Reply }), required: true, check: oneOf([]Reply{ReplyBroadcast, ReplyUnicast})},
		field{key: "delay_3b", doc: "The Pi 3 boot ROM loops if it is answered at once.",
			ref: ref(func(d *DHCP) any { return &d.Delay3B }), check: between(0, 10*time.Second)},
		field{key: "nudge", doc: "Some Pi 3 boot ROMs look at a packet only when the next one comes: extra\nframes are sent to them, so far apart. \"0s\" = none.",
			ref: ref(func(d *DHCP) any { return &d.Nudge }), check: between(0, 10*time.Second)},
		field{key: "device", doc: "Bind to one interface, \"\" = all that the segments name.",
			ref: ref(func(d *DHCP) any { return &d.Device }), check: interfaceName()},
	)
}

func tftpTable() table {
	return single("tftp", "The TFTP server, which gives the Pis their boot files.", func(c *Config) *TFTP { return &c.TFTP },
		field{key: "port", doc: "UDP port; the boot ROMs ask 69 only. 0 = any free one.",
			ref: ref(func(t *TFTP) any { return &t.Port }), check: socketPort()},
		field{key: "max_transfers", doc: "So many transfers at once, of all Pis.",
			ref: ref(func(t *TFTP) any { return &t.MaxTransfers }), check: within(1, 10000)},
		field{key: "max_per_pi", doc: "So many transfers at once, of one Pi.",
			ref: ref(func(t *TFTP) any { return &t.MaxPerPi }), check: within(1, 100)},
		field{key: "timeout", doc: "A block that was not acknowledged is sent again after so long.",
			ref: ref(func(t *TFTP) any { return &t.Timeout }), check: between(50*time.Millisecond, time.Minute)},
	)
}

func nfsTable(known Known) table {
	return single("nfs", "What gives the Pis their roots.", func(c *Config) *NFS { return &c.NFS },
		field{key: "driver", doc: "\"kernel\": the kernel's server. \"ganesha\": nfs-ganesha, which picloud runs, for a\nkernel without one. \"auto\": the first of these that is there. \"demo\": a\nread-only server inside picloud, for a try.",
			ref: ref(func(n *NFS) any { return &n.Driver }), required: true, check: oneOf(known.NFSDrivers)},
		field{key: "port", doc: "TCP port; the kernel's server has 2049. 0 = any free one, with \"demo\" only.",
			ref: ref(func(n *NFS) any { return &n.Port }), check: socketPort()},
		field{key: "path", doc: "The exports are below this path, as the Pi's kernel command line has it. The\nkernel's server has the roots bound there: nothing else may be in it.",
			ref: ref(func(n *NFS) any { return &n.Path }), required: true, check: exportPath()},
		field{key: "shared", doc: "Let nfs-ganesha export roots that share a file system, as those of \"folder\" do.\nWhoever is root on one Pi can then read and write the roots of all others, and\nall else on that file system: only where all Pis are one person's.",
			ref: ref(func(n *NFS) any { return &n.Shared })},
	)
}

func volumesTable(known Known) table {
	return single("volumes", "Where the Pis' roots are kept, below the state folder.", func(c *Config) *Volumes { return &c.Volumes },
		field{key: "driver", doc: "\"folder\": plain folders, copied. \"btrfs\": subvolumes, where the state folder is\non btrfs: a new root takes no time and no room. \"lvm\": a file system of its own\nfor each root, in an LVM thin pool: the one for customers.",
			ref: ref(func(v *Volumes) any { return &v.Driver }), required: true, check: oneOf(known.VolumeDrivers)},
		field{key: "nearly_full", doc: "Per cent of the disk at which no new root is made: the rest is for the\nroots that run.",
			ref: ref(func(v *Volumes) any { return &v.NearlyFull }), check: within(1, 99)},
		field{key: "keep_days", doc: "A former root is kept for so many days, for undo. 0 = until the next reimage.",
			ref: ref(func(v *Volumes) any { return &v.KeepDays }), check: within(0, 3650)},
		field{key: "disk_gb", doc: "Size of a root in GB (10^9 bytes), unless its [[server]] has another. 0 = as its\nimage. A folder has no limit, whatever this says.",
			ref: ref(func(v *Volumes) any { return &v.DiskGB }), check: within(0, largestDisk)},
		field{key: "group", doc: "With \"lvm\": the volume group, and the thin pool in it, which is for picloud alone\n(lvcreate --type thin-pool --name picloud --extents 95%FREE GROUP).", example: `"vg0"`,
			ref: ref(func(v *Volumes) any { return &v.Group }), check: lvmName()},
		field{key: "pool", example: `"picloud"`,
			ref: ref(func(v *Volumes) any { return &v.Pool }), check: lvmName()},
	)
}

// largestDisk is the size of a root at which it is taken for a mistake, in GB:
// an ext4 file system has 16 TB.
const largestDisk = 16_000

func guestTable() table {
	return single("guest", "What is written into every root, at each reimage.", func(c *Config) *Guest { return &c.Guest },
		field{key: "resolvers", doc: "DNS servers, at most 3; none: the image's own. Servers with IPv6 only need one\nthat does DNS64 (RFC 6147).", example: `["2001:db8::64"]`,
			ref: ref(func(g *Guest) any { return &g.Resolvers }), check: on(resolvers)},
		field{key: "time_zone", doc: "Of the tz database, \"\" = the image's own.", example: `"Europe/London"`,
			ref: ref(func(g *Guest) any { return &g.TimeZone }), check: form(zoneForm, 95, `a name such as "Europe/London"`)},
	)
}

func sshTable() table {
	return single("ssh", "The probe that tells that a Pi is up: its SSH banner.", func(c *Config) *SSH { return &c.SSH },
		field{key: "port", doc: "TCP port on the Pi.",
			ref: ref(func(s *SSH) any { return &s.Port }), check: within(1, 65535)},
		field{key: "every", doc: "Time between two probes of one Pi.",
			ref: ref(func(s *SSH) any { return &s.Every }), check: between(100*time.Millisecond, time.Hour)},
		field{key: "timeout", doc: "For the connection and the banner.",
			ref: ref(func(s *SSH) any { return &s.Timeout }), check: between(50*time.Millisecond, time.Minute)},
	)
}

func consoleTable() table {
	return single("console", "How people and scripts reach the service.", func(c *Config) *Console { return &c.Console },
		field{key: "socket", doc: "Unix socket of the rack terminal and of picloud VERB.", required: true,
			ref: ref(func(c *Console) any { return &c.Socket }), check: on(socketPath)},
		field{key: "listen", doc: "TCP address of the console over SSH; not set: there is none.", example: `"0.0.0.0:2222"`,
			ref: ref(func(c *Console) any { return &c.Listen }), check: on(listenAddress)},
	)
}

func backupTable() table {
	return single("backup", "Daily copies of the database, in the folder backups of the state folder.", func(c *Config) *Backup { return &c.Backup },
		field{key: "keep", doc: "So many are kept; 0 = none are made.",
			ref: ref(func(b *Backup) any { return &b.Keep }), check: within(0, 1000)},
	)
}

func httpTable() table {
	return single("http", "What monitoring asks: /metrics for Prometheus, /healthz and /readyz. Nobody is\nasked who they are, and nothing of customers is told.", func(c *Config) *HTTP { return &c.HTTP },
		field{key: "listen", doc: "TCP address; \"\" = none.",
			ref: ref(func(h *HTTP) any { return &h.Listen }), check: on(listenAddress)},
	)
}

func localTable() table {
	return many("local", "A user of this computer and the operator that they are, one table each. root\nis an admin without one.",
		func(c *Config) *[]Local { return &c.Locals },
		func() Local { return Local{} }, func(l *Local) string { return title("local", l.User) },
		field{key: "user", doc: "As the system knows the user.", required: true, example: `"alice"`,
			ref: ref(func(l *Local) any { return &l.User }), check: plainName()},
		field{key: "operator", doc: "As picloud operator add named them.", required: true, example: `"alice"`,
			ref: ref(func(l *Local) any { return &l.Operator }), check: plainName()},
	)
}

// guardParent lets [guard] stand above the verbs' tables; it has no keys.
func guardParent() table {
	return single("guard", "", func(c *Config) *Config { return c })
}

// guardTable is the table of the i-th verb. What its keys mean is said once.
func guardTable(i int, g Guard) table {
	verb, _ := engine.FindVerb(g.Verb)
	doc, free, rented, delay := "", "", "", ""
	if i == 0 {
		kinds := strings.Join(guardNames(), ", ")
		doc = "What stands between a key and what it does, by verb.\n\n"
		free = "For a Pi that nobody has: " + kinds + "."
		rented = "For a Pi that a customer has: the same."
		delay = "Length of a count-down."
	}
	t := single("guard."+string(g.Verb), fmt.Sprintf("%s%s: %s.", doc, g.Verb, verb.Help),
		func(c *Config) *Guard { return &c.Guard[i] },
		field{key: "free", doc: free, ref: ref(func(g *Guard) any { return &g.Free })},
		field{key: "rented", doc: rented, ref: ref(func(g *Guard) any { return &g.Rented })},
		field{key: "delay", doc: delay, ref: ref(func(g *Guard) any { return &g.Delay }),
			check: between(time.Second, time.Minute)},
	)
	t.owners = func(c *Config, yield func(i, j int, owner any)) {
		for i := range c.Guard {
			if c.Guard[i].Verb == g.Verb {
				yield(0, 0, &c.Guard[i])
			}
		}
	}
	return t
}

func switchTable(known Known) table {
	profile := `"rfc3621"`
	doc := "Which tables and columns the switch has."
	if len(known.Profiles) > 0 {
		profile = quote(known.Profiles[0])
		doc = "Which tables and columns the switch has: " + strings.Join(known.Profiles, ", ") + "."
	}
	return many("switch", "A PoE switch, one table each.", func(c *Config) *[]Switch { return &c.Switches }, DefaultSwitch,
		func(s *Switch) string { return title("switch", s.Name) },
		field{key: "name", doc: "As it is called in the rack.", required: true, example: `"sw1"`, show: true,
			ref: ref(func(s *Switch) any { return &s.Name }), check: plainName()},
		field{key: "address", doc: "Of its SNMP agent, with the UDP port.", required: true, example: `"10.0.0.2:161"`, show: true,
			ref: ref(func(s *Switch) any { return &s.Address }), check: on(agentAddress)},
		field{key: "profile", doc: doc, required: true, example: profile, show: true,
			ref: ref(func(s *Switch) any { return &s.Profile }), check: oneOf(known.Profiles)},
		field{key: "version", doc: "SNMP version: \"2c\" or \"3\".", required: true,
			ref: ref(func(s *Switch) any { return &s.Version }), check: oneOf([]string{SNMPv2c, SNMPv3})},
		field{key: "credentials", doc: credentialsDoc(), example: `"/etc/picloud/sw1.secret"`, show: true,
			ref: ref(func(s *Switch) any { return &s.CredentialsFile }), check: on(cleanPath)},
		field{key: "ports", doc: "Number of ports on the faceplate.",
			ref: ref(func(s *Switch) any { return &s.Ports }), check: within(1, 1024)},
		field{key: "poll", doc: "Time between two readings of all ports.",
			ref: ref(func(s *Switch) any { return &s.Poll }), check: between(100*time.Millisecond, time.Hour)},
		field{key: "group", doc: "pethPsePortGroupIndex (RFC 3621) of its ports.",
			ref: ref(func(s *Switch) any { return &s.Group }), check: within(1, 65535)},
		field{key: "timeout", doc: "For one answer.",
			ref: ref(func(s *Switch) any { return &s.Timeout }), check: between(10*time.Millisecond, time.Minute)},
		field{key: "retries", doc: "After the first try.",
			ref: ref(func(s *Switch) any { return &s.Retries }), check: within(0, 10)},
	)
}

func portMapTable() table {
	return portTable(
		field{key: "port", doc: "On the faceplate.", required: true, example: "1",
			ref: ref(func(p *PortMap) any { return &p.Port }), check: within(1, 1024)},
		field{key: "group", doc: "pethPsePortGroupIndex (RFC 3621). 0, here and below: as the profile has it.",
			ref: ref(func(p *PortMap) any { return &p.Group }), check: within(0, 65535)},
		field{key: "index", doc: "pethPsePortIndex (RFC 3621).",
			ref: ref(func(p *PortMap) any { return &p.Index }), check: within(0, 65535)},
		field{key: "ifindex", doc: "ifIndex (RFC 2863).",
			ref: ref(func(p *PortMap) any { return &p.IfIndex }), check: within(0, 1<<31-1)},
		field{key: "bridge_port", doc: "dot1dBasePort (RFC 4188).",
			ref: ref(func(p *PortMap) any { return &p.BridgePort }), check: within(0, 65535)},
	)
}

func segmentTable() table {
	return many("segment", "One VLAN to one Pi, one table each.", func(c *Config) *[]Segment { return &c.Segments },
		func() Segment { return Segment{} }, func(s *Segment) string { return title("segment", s.Name) },
		field{key: "name", doc: "Also the Pi's name and host name, unless pi is set.", required: true, example: `"a3-001"`, show: true,
			ref: ref(func(s *Segment) any { return &s.Name }), check: on(hostLabel[string])},
		field{key: "interface", doc: "The server's network interface.", required: true, example: `"eth0.101"`, show: true,
			ref: ref(func(s *Segment) any { return &s.Interface }), check: interfaceName()},
		field{key: "address", doc: "The server's address on it, with the mask.", required: true, example: `"10.64.0.1/30"`, show: true,
			ref: ref(func(s *Segment) any { return &s.Address }), check: on(segmentAddress)},
		field{key: "switch", doc: "The switch and its port that power the Pi.", required: true, example: `"sw1"`, show: true,
			ref: ref(func(s *Segment) any { return &s.Switch })},
		field{key: "port", required: true, example: "1", show: true,
			ref: ref(func(s *Segment) any { return &s.Port }), check: within(1, 1024)},
		field{key: "power", doc: "Whether the port gives power when the rack is first started. What a verb\nsays later is kept and wins; so it is with all that follows.",
			ref: ref(func(s *Segment) any { return &s.Power })},
		field{key: "pi", doc: "The Pi's name, if not the segment's.", example: `"a3-001"`,
			ref: ref(func(s *Segment) any { return &s.Pi }), check: on(hostLabel[engine.PiName])},
		field{key: "pi_address", doc: "The Pi's address; in a /30 it is the other one.", example: `"10.64.0.2"`,
			ref: ref(func(s *Segment) any { return &s.PiAddress })},
		field{key: "mac", doc: "What is known of the board.", example: `"b8:27:eb:12:34:56"`,
			ref: ref(func(s *Segment) any { return &s.MAC }), check: on(unicastMAC)},
		field{key: "serial", doc: "The last 8 hex digits.", example: `"12345678"`,
			ref: ref(func(s *Segment) any { return &s.Serial })},
		field{key: "model", doc: "3B, 3B+, 4B or 5.", example: `"4B"`,
			ref:   ref(func(s *Segment) any { return &s.Model }),
			check: oneOf([]engine.Model{engine.Model3B, engine.Model3BPlus, engine.Model4B, engine.Model5})},
		field{key: "memory", doc: "In MB; 0 = not known.", example: "4096",
			ref: ref(func(s *Segment) any { return &s.Memory }), check: on(memorySize)},
		field{key: "image", doc: "The [[image]] of its first root.", example: `"builtin"`,
			ref: ref(func(s *Segment) any { return &s.Image })},
		field{key: "life", doc: "new, ready or broken. If not set: live with a [[server]], ready with a mac\nor serial, else new.", example: `"ready"`,
			ref:   ref(func(s *Segment) any { return &s.Life }),
			check: oneOf([]engine.Life{engine.LifeNew, engine.LifeReady, engine.LifeBroken})},
	)
}

func serverTable() table {
	return many("server", "What a customer has, one table each.", func(c *Config) *[]Server { return &c.Servers },
		func() Server { return Server{} }, func(s *Server) string { return title("server", s.Name) },
		field{key: "name", doc: "The server's host name.", required: true, example: `"shop-web"`,
			ref: ref(func(s *Server) any { return &s.Name }), check: on(hostLabel[string])},
		field{key: "owner", doc: "Whose it is.", required: true, example: `"customer 1042"`,
			ref: ref(func(s *Server) any { return &s.Owner }), check: on(text)},
		field{key: "pi", doc: "The Pi it is on.", required: true, example: `"a3-001"`,
			ref: ref(func(s *Server) any { return &s.Pi })},
		field{key: "keys", doc: "Lines of root's authorized_keys.", example: exampleKey,
			ref: ref(func(s *Server) any { return &s.Keys })},
		field{key: "address", doc: "Its public IPv6 address, with the length of the prefix that the Pi has on its\nwire. picloud routes the address to the Pi, also after a move.", example: `"2001:db8:0:1::2/64"`,
			ref: ref(func(s *Server) any { return &s.Address }), check: on(publicAddress)},
		field{key: "gateway", doc: "Its next hop, which picloud has on the Pi's interface. If not set: fe80::1.", example: `"fe80::1"`,
			ref: ref(func(s *Server) any { return &s.Gateway }), check: on(gatewayAddress)},
		field{key: "disk_gb", doc: "Size of its root in GB. 0 = volumes.disk_gb.",
			ref: ref(func(s *Server) any { return &s.DiskGB }), check: within(0, largestDisk)},
	)
}

// exampleKey has the form of a key and is nobody's: its 32 bytes are SHA-256 of
// "picloud example key".
const exampleKey = `["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51 alice"]`

func imageTable() table {
	return many("image", "An operating system that roots are made from, one table each.", func(c *Config) *[]Image { return &c.Images },
		func() Image { return Image{} }, func(i *Image) string { return title("image", i.Name) },
		field{key: "name", doc: "\"builtin\" is the small one inside picloud.", required: true, example: `"builtin"`, show: true,
			ref: ref(func(i *Image) any { return &i.Name }), check: form(imageForm, longestLabel, "lower-case letters, digits and . _ - between them, at most 63")},
		field{key: "label", doc: "For people.", example: `"Built-in"`,
			ref: ref(func(i *Image) any { return &i.Label }), check: on(text)},
		field{key: "path", doc: "A folder with a whole root, boot/firmware in it. Not for \"builtin\", nor for one\nthat picloud image add has added.", example: `"/srv/images/trixie-lite"`,
			ref: ref(func(i *Image) any { return &i.Path }), check: on(cleanPath)},
	)
}

// title names an element of a [[table]] in messages.
func title(kind, name string) string {
	if name == "" {
		return kind
	}
	return kind + " " + show(name)
}
