package rescue

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/netbootable"
)

const customer = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl customer"

func newPerson(t testing.TB) Person {
	t.Helper()
	key, _, err := netbootable.NewHostKey("p01-rescue")
	if err != nil {
		t.Fatal(err)
	}
	return Person{
		Person: rootfs.Person{
			Hostname: "p01", AuthorizedKeys: []string{" " + customer + " "},
			Network:   rootfs.Network{Address: netip.MustParsePrefix("2001:db8::2/64"), Gateway: netip.MustParseAddr("fe80::1")},
			Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("10.77.0.1")},
		},
		Address: netip.MustParsePrefix("10.77.0.2/30"), HostKey: key,
		Root:   Root{Server: netip.MustParseAddr("10.77.0.1"), Path: "/srv/pi/p01"},
		Clock:  time.Unix(1_800_000_000, 5),
		Notice: "Ask staff to end it.\n",
	}
}

func TestPerson(t *testing.T) {
	p := newPerson(t)
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	all := map[string]unpacked{"etc": {}, "etc/ssh": {}, "root": {}}
	unpackPlain(t, b.Bytes(), all)
	for name, want := range map[string]struct {
		perm uint32
		data string
	}{
		"etc/hostname":                 {0o644, "p01\n"},
		"etc/hosts":                    {0o644, "127.0.0.1\tlocalhost\n::1\t\tlocalhost\n127.0.1.1\tp01\n"},
		"etc/resolv.conf":              {0o644, "nameserver 2001:db8::53\nnameserver 10.77.0.1\n"},
		"etc/ssh/ssh_host_ed25519_key": {0o600, string(p.HostKey)},
		"root/.ssh":                    {0o700, ""},
		"root/.ssh/authorized_keys":    {0o600, customer + "\n"},
		"etc/rescue.conf": {0o644, `INTERFACE='eth0'
ADDRESS='10.77.0.2/30'
GATEWAY=''
ADDRESS6='2001:db8::2/64'
GATEWAY6='fe80::1'
ROOT='10.77.0.1:/srv/pi/p01'
ROOT_OPTIONS='vers=4.1,proto=tcp,hard,addr=10.77.0.1'
CLOCK='1800000000'
`},
	} {
		if got := all[name]; got.mode&0o7777 != want.perm || got.data != want.data {
			t.Errorf("%s: %o %q, want %o %q", name, got.mode, got.data, want.perm, want.data)
		}
	}
	if m := all["etc/motd"].data; !strings.Contains(m, "rescue system of p01.") || !strings.HasSuffix(m, "\n\nAsk staff to end it.\n\n") {
		t.Errorf("%q", m)
	}
	if len(all) != 3+8 {
		t.Errorf("%v", all)
	}
}

// A shell reads back what was meant, for all that passes.
func TestConf(t *testing.T) {
	p := newPerson(t)
	p.Network = rootfs.Network{}
	p.Interface = "enp1s0"
	p.Gateway = netip.MustParseAddr("10.77.0.1")
	p.Clock = time.Time{}
	p.Root = Root{Server: netip.MustParseAddr("10.77.0.1"), Path: "/a@b/._+-", Version: "3", Port: 2050, MountPort: 20050}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	script := string(p.conf()) + `echo "$INTERFACE|$ADDRESS|$GATEWAY|$ADDRESS6|$GATEWAY6|$ROOT|$ROOT_OPTIONS|$CLOCK"`
	out, err := exec.Command("sh", "-euc", script).CombinedOutput()
	const want = "enp1s0|10.77.0.2/30|10.77.0.1|||10.77.0.1:/a@b/._+-|vers=3,proto=tcp,mountproto=tcp,hard,nolock,addr=10.77.0.1,port=2050,mountport=20050|0\n"
	if err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestPersonRefuses(t *testing.T) {
	for name, change := range map[string]func(*Person){
		"no name":           func(p *Person) { p.Hostname = "" },
		"name with a quote": func(p *Person) { p.Hostname = "a'b" },
		"no key":            func(p *Person) { p.AuthorizedKeys = nil },
		"no key at all":     func(p *Person) { p.AuthorizedKeys = []string{"x"} },
		"two keys in one":   func(p *Person) { p.AuthorizedKeys = []string{customer + "\n" + customer} },
		"no host key":       func(p *Person) { p.HostKey = nil },
		"another host key":  func(p *Person) { p.HostKey = []byte("-----BEGIN RSA PRIVATE KEY-----\n") },
		"interface":         func(p *Person) { p.Interface = "eth0'; reboot" },
		"interfaces":        func(p *Person) { p.Network.Interface = "eth1" },
		"no address":        func(p *Person) { p.Address = netip.Prefix{} },
		"IPv6 address":      func(p *Person) { p.Address = netip.MustParsePrefix("2001:db8::2/64") },
		"length 0":          func(p *Person) { p.Address = netip.MustParsePrefix("10.0.0.1/0") },
		"gateway":           func(p *Person) { p.Gateway = netip.MustParseAddr("10.78.0.1") },
		"public address":    func(p *Person) { p.Network.Gateway = netip.Addr{} },
		"resolver":          func(p *Person) { p.Resolvers = []netip.Addr{netip.IPv6Unspecified()} },
		"no server":         func(p *Person) { p.Root.Server = netip.Addr{} },
		"IPv6 server":       func(p *Person) { p.Root.Server = netip.MustParseAddr("::1") },
		"no path":           func(p *Person) { p.Root.Path = "" },
		"path, relative":    func(p *Person) { p.Root.Path = "srv" },
		"path, options":     func(p *Person) { p.Root.Path = "/srv,vers=2" },
		"path, quote":       func(p *Person) { p.Root.Path = "/srv'" },
		"path, up":          func(p *Person) { p.Root.Path = "/srv/../etc" },
		"path, break":       func(p *Person) { p.Root.Path = "/srv\n" },
		"path, long":        func(p *Person) { p.Root.Path = "/" + strings.Repeat("x", maxExport) },
		"version":           func(p *Person) { p.Root.Version = "2" },
		"MOUNT port":        func(p *Person) { p.Root.MountPort = 1 },
		"notice":            func(p *Person) { p.Notice = "\x1b[2J" },
		"long notice":       func(p *Person) { p.Notice = strings.Repeat("x", maxNotice+1) },
	} {
		p := newPerson(t)
		change(&p)
		var b bytes.Buffer
		if err := p.Write(&b); !errors.Is(err, ErrInvalidPerson) || b.Len() != 0 {
			t.Errorf("%s: %v, %d bytes", name, err, b.Len())
		}
		if f, err := Open("/dev/null", p); !errors.Is(err, ErrInvalidPerson) {
			t.Errorf("%s: opened %v, %v", name, f, err)
		}
	}
	if err := newPerson(t).Write(failing{io.ErrShortWrite}); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

// Both parts are unpacked, and the personal one has the last word.
func TestOpenWhole(t *testing.T) {
	r, _ := buildFrom(t, makeImage(t, debian()))
	f, err := Open(r.File, newPerson(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || int64(len(b)) != f.Size() {
		t.Fatalf("%d bytes, want %d, %v", len(b), f.Size(), err)
	}
	all := unpack(t, b)
	for _, name := range []string{"init", "usr/sbin/sshd", "etc/rescue.conf", "root/.ssh/authorized_keys", "etc/ssh/ssh_host_ed25519_key"} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	odd := filepath.Join(t.TempDir(), "odd")
	if err := os.WriteFile(odd, []byte("odd"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{odd, t.TempDir(), "/does/not/exist"} {
		if f, err := Open(name, newPerson(t)); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}
