package pi

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"picloud/netboot/bootfs/order"
)

// meter is a Port that remembers.
type meter struct {
	mu   sync.Mutex
	link bool
	draw int
	macs []string
}

func (m *meter) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *meter) SetLink(up bool)            { m.with(func() { m.link = up }) }
func (m *meter) SetDraw(mw int)             { m.with(func() { m.draw = mw }) }
func (m *meter) Learn(mac net.HardwareAddr) { m.with(func() { m.macs = append(m.macs, mac.String()) }) }
func (m *meter) Forwarding() bool           { return true }

func (m *meter) read() (link bool, draw int) {
	m.with(func() { link, draw = m.link, m.draw })
	return link, draw
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The DISCOVERs of published captures: boot-net.adoc (3B), a 3B+ with serial
// 4c69202e, and a Pi 4 of revision c03112. Written out here and not taken from
// constants that the product shares.
func TestDiscoverBytes(t *testing.T) {
	const class = "3c20 505845436c69656e743a417263683a30303030303a554e44493a303032303031"
	for _, tt := range []struct {
		name    string
		dialect dialect
		board   Board
		xid     uint32
		options string
		length  int
	}{
		{"3B", dialect3B, Board{Family: order.Pi3B, MAC: mac(t, "b8:27:eb:28:f6:6d")}, romXIDofCapture,
			"350101 370c 2b3c438081828384858687 42 5d020000 5e03010201 6111 00" + strings.Repeat("44", 16) + class + "ff", 320},
		{"3B+", dialect3BPlus, Board{Family: order.Pi3BPlus, Serial: 0x4c69202e, MAC: mac(t, "b8:27:eb:69:20:2e")}, romXIDofCapture,
			"350101 370e 2b3c43808182838485868742 0103 5d020000 5e03010201 6111 00 2e20694c 2e20694c 2e20694c 2e20694c" + class + "ff", 322},
		{"4B", dialectEEPROM, Board{Family: order.Pi4B, Revision: 0xc03112, Serial: 0xe5ef6e9d, MAC: mac(t, "dc:a6:32:a7:ed:89")}, 0xd5ec86d6,
			"350101 370e 01032b3c42438081828384858687" + class + "5d020000 5e03010201 6111 00 52506934 1231c000 32a7ed89 9d6eefe5 ff", 322},
		{"5", dialectEEPROM, Board{Family: order.Pi5, Revision: 0xc04170, Serial: 0xbd989ae1, MAC: mac(t, "2c:cf:67:01:02:03")}, 7,
			"350101 370e 01032b3c42438081828384858687" + class + "5d020000 5e03010201 6111 00 52506935 7041c000 67010203 e19a98bd ff", 322},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.dialect.discover(tt.board, tt.xid)
			want := unhex(t, "01010600"+hex.EncodeToString([]byte{byte(tt.xid >> 24), byte(tt.xid >> 16), byte(tt.xid >> 8), byte(tt.xid)})+
				strings.Repeat("00", 20)+hex.EncodeToString(tt.board.MAC)+strings.Repeat("00", 202)+"63825363"+tt.options)
			if !bytes.Equal(got, want) {
				t.Errorf("DISCOVER\n%x\nwant\n%x", got, want)
			}
			if len(got) != tt.length {
				t.Errorf("%d octets, want %d as captured", len(got), tt.length)
			}
		})
	}
}

const romXIDofCapture = 0x26f30339

// The frame of boot-net.adoc: tos 0, ttl 128, id 0, IP length 348, no UDP
// checksum, to all.
func TestROMFrame(t *testing.T) {
	b := Board{Family: order.Pi3B, MAC: mac(t, "b8:27:eb:28:f6:6d")}
	f := broadcastFrame(b.MAC, dialect3B.discover(b, romXIDofCapture), romDatagram)
	want := unhex(t, "ffffffffffff b827eb28f66d 0800 4500 015c 0000 0000 8011 3992 00000000 ffffffff 0044 0043 0148 0000")
	if !bytes.Equal(f[:42], want) {
		t.Errorf("headers\n%x\nwant\n%x", f[:42], want)
	}
	if sum(0, f[14:34]) != 0xffff {
		t.Error("IP checksum is wrong")
	}
}

// The EEPROM's frames have a UDP checksum, and it is right.
func TestEEPROMFrame(t *testing.T) {
	b := testBoard(order.Pi4B)
	f := broadcastFrame(b.MAC, dialectEEPROM.discover(b, 1), Datagram{TTL: eepromTTL, ID: 20586, Checksum: true})
	pseudo := sum(protoUDP+uint32(len(f)-34), f[26:34])
	if f[22] != 64 || sum(uint32(pseudo), f[34:]) != 0xffff {
		t.Errorf("ttl %d, sum %x", f[22], sum(uint32(pseudo), f[34:]))
	}
}

// How options decide where the ROM turns to: the last of 66 and 43.
func TestReply(t *testing.T) {
	src := netip.MustParseAddr("10.0.0.9")
	b := Board{Family: order.Pi3B, MAC: mac(t, "b8:27:eb:28:f6:6d")}
	head := func(hops string) string {
		return "020106" + hops + "26f30339" + strings.Repeat("00", 8) + "0a000002" + "0a000001" + "00000000" +
			"b827eb28f66d" + strings.Repeat("00", 202) + "63825363 350102"
	}
	const (
		text   = "52617370626572727920506920426f6f74"
		blanks = "2b14" + text + "202020"
		none   = "2b11" + text
		tftp   = "4208 31302e302e302e35" // 10.0.0.5
	)
	for _, tt := range []struct {
		name, packet string
		dialect      dialect
		ok           bool
		server       string
	}{
		{"text with blanks", head("00") + blanks + "ff", dialect3B, true, "10.0.0.9"},
		{"text without blanks, 3B", head("00") + none + "ff", dialect3B, true, ""},
		{"text without blanks, 3B+", head("00") + none + "ff", dialect3BPlus, true, "10.0.0.9"},
		{"66 last", head("00") + blanks + tftp + "ff", dialect3B, true, "10.0.0.5"},
		{"43 last", head("00") + tftp + blanks + "ff", dialect3B, true, "10.0.0.9"},
		{"66 with a NUL behind", head("00") + "4209 31302e302e302e3500" + "ff", dialect3B, true, ""},
		{"66 is a name", head("00") + "4204 74667470" + "ff", dialect3B, true, ""},
		{"padding", head("00") + "0000" + blanks + "ff", dialect3B, true, "10.0.0.9"},
		{"through a relay, 3B", head("01") + blanks + "ff", dialect3B, false, ""},
		{"through a relay, 3B+", head("01") + blanks + "ff", dialect3BPlus, true, "10.0.0.9"},
		{"option over the end", head("00") + "2bff" + text, dialect3B, false, ""},
		{"cut off", "0201", dialect3B, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := tt.dialect.parseReply(unhex(t, tt.packet), src, b.MAC, romXIDofCapture)
			server := ""
			if r.romServer.IsValid() {
				server = r.romServer.String()
			}
			if ok != tt.ok || server != tt.server && tt.ok {
				t.Errorf("%t, server %q; want %t, %q", ok, server, tt.ok, tt.server)
			}
		})
	}
}

func FuzzReply(f *testing.F) {
	b := testBoard(order.Pi4B)
	s := &server{addr: netip.MustParseAddr("10.0.0.1"), pi: netip.MustParseAddr("10.0.0.2"), next: "10.0.0.1", vendor: menuText3B}
	f.Add(s.offer(dialectEEPROM.discover(b, romXIDofCapture)))
	f.Add(s.offer(dialect3B.discover(b, romXIDofCapture)))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, d := range []dialect{dialect3B, dialectEEPROM} {
			if r, ok := d.parseReply(p, s.addr, b.MAC, romXIDofCapture); ok {
				r.eepromServer()
				r.addressing(true)
			}
		}
	})
}

func FuzzFrame(f *testing.F) {
	b := testBoard(order.Pi4B)
	f.Add(broadcastFrame(b.MAC, dialectEEPROM.discover(b, 1), romDatagram))
	f.Fuzz(func(t *testing.T, p []byte) {
		if payload, _ := dhcpPayload(p); len(payload) > max(0, len(p)-etherLen-ipLen-udpLen) {
			t.Errorf("%d octets of payload in %d", len(payload), len(p))
		}
	})
}

func TestCmdline(t *testing.T) {
	const ip = " ip=10.0.0.2:10.0.0.1::255.255.255.252:a3-001:eth0:off"
	for _, tt := range []struct {
		name, line, err string
		want            nfsRoot
	}{
		{"the product's", "root=/dev/nfs nfsroot=10.0.0.1:/srv/pi/x,vers=3,tcp,port=2049,mountport=20048,nolock" + ip, "",
			nfsRoot{path: "/srv/pi/x", nfsPort: 2049, mountPort: 20048, klibc: []string{"mountport=20048"}}},
		{"server from ip=", "root=/dev/nfs nfsroot=/srv/%s" + ip, "", nfsRoot{path: "/srv/10.0.0.2"}},
		{"version 4", "root=/dev/nfs nfsroot=10.0.0.1:/x,vers=4.1,proto=tcp" + ip, "",
			nfsRoot{path: "/x", v4: true, klibc: []string{"vers=4.1", "proto=tcp"}}},
		{"no NFS root", "root=/dev/mmcblk0p2" + ip, `root="/dev/mmcblk0p2"`, nfsRoot{}},
		{"ip=dhcp", "root=/dev/nfs nfsroot=10.0.0.1:/x ip=dhcp", "static IPv4 address", nfsRoot{}},
		{"no mask", "root=/dev/nfs nfsroot=10.0.0.1:/x ip=10.0.0.2", "netmask", nfsRoot{}},
		{"port", "root=/dev/nfs nfsroot=10.0.0.1:/x,port=70000" + ip, "port", nfsRoot{}},
		{"relative path", "root=/dev/nfs nfsroot=10.0.0.1:x" + ip, "absolute", nfsRoot{}},
		{"no server", "root=/dev/nfs nfsroot=/x ip=10.0.0.2:::255.255.255.252::eth0:off", "no server", nfsRoot{}},
		{"UDP", "root=/dev/nfs nfsroot=10.0.0.1:/x,udp" + ip, "udp", nfsRoot{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseCmdline(tt.line)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			tt.want.addr, tt.want.server, tt.want.host = netip.MustParsePrefix("10.0.0.2/30"), netip.MustParseAddr("10.0.0.1"), "a3-001"
			if err != nil || !equalRoot(got, tt.want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func equalRoot(a, b nfsRoot) bool {
	ka, kb := strings.Join(a.klibc, " "), strings.Join(b.klibc, " ")
	a.klibc, b.klibc = nil, nil
	return ka == kb && a.addr == b.addr && a.gateway == b.gateway && a.host == b.host && a.server == b.server &&
		a.path == b.path && a.nfsPort == b.nfsPort && a.mountPort == b.mountPort && a.v4 == b.v4
}

func FuzzCmdline(f *testing.F) {
	f.Add("console=tty1 root=/dev/nfs nfsroot=10.0.0.1:/srv/pi/x,vers=3,tcp,port=1,mountport=2 ro ip=10.0.0.2:10.0.0.1::255.255.255.252:a:eth0:off")
	f.Fuzz(func(t *testing.T, line string) {
		if r, err := parseCmdline(line); err == nil && (!r.addr.IsValid() || !r.server.IsValid() || !strings.HasPrefix(r.path, "/")) {
			t.Errorf("%q: %+v", line, r)
		}
	})
}

func TestSettings(t *testing.T) {
	var s settings
	s.read("kernel=a.img\n[pi4]\nkernel=b.img # comment\nauto_initramfs=1\n[pi5]\nkernel=c.img\n[all]\ndtoverlay=disable-bt\ndtoverlay=vc4,cma\n", order.Pi4B)
	if s.kernel != "b.img" || !s.autoInitramfs || strings.Join(s.overlays, " ") != "disable-bt vc4" {
		t.Errorf("%+v", s)
	}
	s.read("[pi3]\ninitramfs no.img\n[pi4]\n  initramfs a.img,b.img followkernel # both\ninitramfs\ninitramfs=x\n", order.Pi4B)
	if strings.Join(s.initramfs, " ") != "a.img b.img" {
		t.Errorf("initramfs %q", s.initramfs)
	}
	s.read("initramfs "+strings.Repeat("x,", 100)+"\n", order.Pi4B)
	if len(s.initramfs) != maxInitramfs {
		t.Errorf("an initramfs of %d parts", len(s.initramfs))
	}
	s.read("", order.Pi4B)
	if s.kernel != "" || s.initramfs != nil || s.overlays != nil {
		t.Errorf("second reading: %+v", s)
	}
}
