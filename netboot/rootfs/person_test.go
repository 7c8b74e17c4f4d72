package rootfs

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func whole() Person {
	return Person{
		Hostname:       "pi-07",
		AuthorizedKeys: []string{ed25519Key},
		Network:        Network{Address: netip.MustParsePrefix("2001:db8:1:2::5/64"), Gateway: netip.MustParseAddr("fe80::1")},
		Resolvers:      []netip.Addr{netip.MustParseAddr("2001:db8::64"), netip.MustParseAddr("10.0.0.1")},
		TimeZone:       "Europe/London",
	}
}

// withUser makes a small root with a first user, time zones and cloud-init, in
// memory where that can be had.
func withUser(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "rootfs")
	if err != nil {
		base = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	top := filepath.Join(base, "images", "root")
	for _, d := range []string{"home/pi", "usr/share/zoneinfo/Europe", "etc/cloud/cloud.cfg.d"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"etc/hostname":                      "picloud-demo\n",
		"etc/passwd":                        "root:x:0:0:root:/root:/bin/sh\nlast:x:1001:1001::/home/last:/bin/sh\npi:x:1000:1005:,,,:/home/pi:/bin/bash\n",
		"usr/share/zoneinfo/Europe/London":  "TZif2 and so on",
		"usr/share/zoneinfo/Europe/nothing": "text",
	} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestPersonaliseWhole(t *testing.T) {
	top := withUser(t)
	if err := os.Symlink("../run/systemd/resolve/stub-resolv.conf", filepath.Join(top, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Personalise(top, whole()); err != nil {
			t.Fatal(err)
		}
	}
	unit := read(t, top, unitPath)
	for _, want := range []string{
		"\nExecStart=/sbin/ip -6 address replace 2001:db8:1:2::5/64 dev eth0 nodad\n",
		"\nExecStart=/sbin/ip -6 route replace default via fe80::1 dev eth0\n",
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("no %q in %s", want, unit)
		}
	}
	for name, want := range map[string]string{
		"etc/resolv.conf":                                "# Written by picloud at each reimage.\nnameserver 2001:db8::64\nnameserver 10.0.0.1\n",
		"etc/timezone":                                   "Europe/London\n",
		"home/pi/.ssh/authorized_keys":                   ed25519Key + "\n",
		"root/.ssh/authorized_keys":                      ed25519Key + "\n",
		"etc/cloud/cloud.cfg.d/99_zz_picloud_person.cfg": "timezone: Europe/London\n",
	} {
		if got := read(t, top, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, want := range map[string]string{
		"etc/localtime":          "/usr/share/zoneinfo/Europe/London",
		wantDir + "/" + unitName: "/" + unitPath,
	} {
		if got, err := os.Readlink(filepath.Join(top, name)); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"home/pi/.ssh": fs.ModeDir | 0o700, "home/pi/.ssh/authorized_keys": 0o600} {
		info, err := os.Lstat(filepath.Join(top, name))
		if err != nil || info.Mode() != mode {
			t.Fatalf("%s: %v, %v", name, info, err)
		}
		if st := info.Sys().(*syscall.Stat_t); os.Getuid() == 0 && (st.Uid != 1000 || st.Gid != 1005) {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	// Without an address the former goes; the rest stays.
	if err := Personalise(top, Person{Hostname: "pi"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{unitPath, wantDir + "/" + unitName} {
		if _, err := os.Lstat(filepath.Join(top, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if read(t, top, "home/pi/.ssh/authorized_keys") != "" || read(t, top, "etc/timezone") != "Europe/London\n" {
		t.Error("keys stayed, or the time zone went")
	}
}

func TestValidateNetwork(t *testing.T) {
	addr := func(s string) netip.Addr { a, _ := netip.ParseAddr(s); return a }
	prefix := func(s string) netip.Prefix { p, _ := netip.ParsePrefix(s); return p }
	for name, tt := range map[string]struct {
		change func(*Person)
		ok     bool
	}{
		"whole":                   {func(*Person) {}, true},
		"nothing":                 {func(p *Person) { *p = Person{Hostname: "pi"} }, true},
		"gateway in the prefix":   {func(p *Person) { p.Network.Gateway = addr("2001:db8:1:2::1") }, true},
		"a single address":        {func(p *Person) { p.Network.Address = prefix("2001:db8::7/128") }, true},
		"unique local":            {func(p *Person) { p.Network.Address = prefix("fd00::7/64") }, true},
		"another interface":       {func(p *Person) { p.Network.Interface = "end0" }, true},
		"zone of one word":        {func(p *Person) { p.TimeZone = "UTC" }, true},
		"zone of three":           {func(p *Person) { p.TimeZone = "America/Argentina/Buenos_Aires" }, true},
		"zone with a sign":        {func(p *Person) { p.TimeZone = "Etc/GMT+3" }, true},
		"IPv4":                    {func(p *Person) { p.Network.Address = prefix("10.0.0.1/24") }, false},
		"IPv4 in IPv6":            {func(p *Person) { p.Network.Address = prefix("::ffff:10.0.0.1/120") }, false},
		"link-local address":      {func(p *Person) { p.Network.Address = prefix("fe80::5/64") }, false},
		"multicast":               {func(p *Person) { p.Network.Address = prefix("ff02::1/64") }, false},
		"loopback":                {func(p *Person) { p.Network.Address = prefix("::1/128") }, false},
		"prefix of nothing":       {func(p *Person) { p.Network.Address = prefix("2001:db8::5/0") }, false},
		"no address":              {func(p *Person) { p.Network.Address = netip.Prefix{} }, false},
		"no gateway":              {func(p *Person) { p.Network.Gateway = netip.Addr{} }, false},
		"gateway elsewhere":       {func(p *Person) { p.Network.Gateway = addr("2001:db8:9::1") }, false},
		"gateway is the address":  {func(p *Person) { p.Network.Gateway = p.Network.Address.Addr() }, false},
		"gateway with a zone":     {func(p *Person) { p.Network.Gateway = addr("fe80::1%eth0; reboot") }, false},
		"gateway is IPv4":         {func(p *Person) { p.Network.Gateway = addr("10.0.0.1") }, false},
		"interface with a space":  {func(p *Person) { p.Network.Interface = "eth0 up" }, false},
		"interface with a line":   {func(p *Person) { p.Network.Interface = "eth0\n" }, false},
		"four resolvers":          {func(p *Person) { p.Resolvers = make([]netip.Addr, 4) }, false},
		"resolver of nothing":     {func(p *Person) { p.Resolvers = make([]netip.Addr, 1) }, false},
		"resolver is unspecified": {func(p *Person) { p.Resolvers[0] = addr("0.0.0.0") }, false},
		"resolver with a zone":    {func(p *Person) { p.Resolvers[0] = addr("fe80::1%x") }, false},
		"zone up":                 {func(p *Person) { p.TimeZone = "../../etc/passwd" }, false},
		"absolute zone":           {func(p *Person) { p.TimeZone = "/etc/passwd" }, false},
		"zone with a line":        {func(p *Person) { p.TimeZone = "Europe/London\nx: y" }, false},
		"zone with a dot":         {func(p *Person) { p.TimeZone = "Europe/." }, false},
	} {
		p := whole()
		tt.change(&p)
		if err := p.Validate(); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrInvalidPerson) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownZone: a zone that the root does not have is refused before
// anything is written.
func TestUnknownZone(t *testing.T) {
	top := withUser(t)
	for _, zone := range []string{"Europe/Atlantis", "Europe", "Europe/nothing"} {
		p := whole()
		p.TimeZone = zone
		if err := Personalise(top, p); !errors.Is(err, ErrInvalidPerson) {
			t.Errorf("%s: %v", zone, err)
		}
	}
	if got := read(t, top, "etc/hostname"); got != "picloud-demo\n" {
		t.Errorf("written all the same: %q", got)
	}
	if err := Personalise(newImage(t), whole()); err != nil {
		t.Errorf("without a database: %v", err)
	}
}

func TestFirstUser(t *testing.T) {
	for passwd, want := range map[string]user{
		"":                                 {},
		"pi:x:1000:1000::/home/pi:/bin/sh": {1000, 1000, "home/pi"},
		"b:x:1002:2::/home/b:/x\na:x:1001:1::/home/a:/x\n": {1001, 1, "home/a"},
		"root:x:0:0::/home/root:/bin/sh":                   {},
		"nobody:x:65534:65534::/home/nobody:/bin/sh":       {},
		"pi:x:1000:0::/home/pi:/bin/sh":                    {},
		"pi:x:-1:1000::/home/pi:/bin/sh":                   {},
		"pi:x:99999999999999999999:1::/home/pi:/bin/sh":    {},
		"pi:x:1000:1000::/home/../root:/bin/sh":            {},
		"pi:x:1000:1000::/home/a/b:/bin/sh":                {},
		"pi:x:1000:1000::/root:/bin/sh":                    {},
		"pi:x:1000:1000::home/pi:/bin/sh":                  {},
		"pi:x:1000":                                        {},
	} {
		if got, ok := firstUser([]byte(passwd)); got != want || ok != (want != user{}) {
			t.Errorf("%q: %+v, %v", passwd, got, ok)
		}
	}
}

// TestFirstUserGetsIn: keys are of no use to a user without a shell.
func TestFirstUserGetsIn(t *testing.T) {
	const root = "root:x:0:0:root:/root:/bin/bash\n"
	const svc = "svc:x:999:999::/home/svc:/usr/sbin/nologin\n"
	keys := whole().AuthorizedKeys
	for name, tt := range map[string]struct {
		passwd, want string
		bash         bool
		keys         []string
	}{
		"a shell":         {root + "pi:x:1000:1000::/home/pi:/bin/dash\n" + svc, root + "pi:x:1000:1000::/home/pi:/bin/dash\n" + svc, true, keys},
		"no login":        {root + "pi:x:1000:1000::/home/pi:/usr/sbin/nologin\n" + svc, root + "pi:x:1000:1000::/home/pi:/bin/bash\n" + svc, true, keys},
		"no bash":         {root + "pi:x:1000:1000:,,,:/home/pi:/bin/false", root + "pi:x:1000:1000:,,,:/home/pi:/bin/sh", false, keys},
		"no keys":         {root + "pi:x:1000:1000::/home/pi:/usr/sbin/nologin\n", root + "pi:x:1000:1000::/home/pi:/usr/sbin/nologin\n", true, nil},
		"another's shell": {root + "pi:x:1000:1000::/home/pi:/bin/sh\nb:x:1001:1001::/home/b:/bin/false\n", root + "pi:x:1000:1000::/home/pi:/bin/sh\nb:x:1001:1001::/home/b:/bin/false\n", true, keys},
	} {
		t.Run(name, func(t *testing.T) {
			top := withUser(t)
			write := func(name, text string) {
				t.Helper()
				p := filepath.Join(top, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			write("etc/passwd", tt.passwd)
			if tt.bash {
				write("bin/bash", "")
			}
			for range 2 {
				if err := Personalise(top, Person{Hostname: "pi", AuthorizedKeys: tt.keys}); err != nil {
					t.Fatal(err)
				}
				if got := read(t, top, "etc/passwd"); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			}
		})
	}
}

// TestPersonaliseHostileUser: traps at the places of the first user, the
// network and the time zone.
func TestPersonaliseHostileUser(t *testing.T) {
	for _, place := range []string{
		"home", "home/pi", "home/pi/.ssh", "home/pi/.ssh/authorized_keys", "etc/passwd", "etc/resolv.conf", "etc/localtime",
		"etc/timezone", "etc/systemd", "etc/systemd/system", unitPath, wantDir, "etc/cloud", "etc/cloud/cloud.cfg.d",
		"usr/share/zoneinfo", "usr/share/zoneinfo/Europe/London",
	} {
		for _, target := range []string{"OUT", "../../../outside", "loop"} {
			top := withUser(t)
			outside := filepath.Join(filepath.Dir(top), "outside")
			for _, d := range []string{"pi/.ssh", "system/multi-user.target.wants", "Europe"} {
				if err := os.MkdirAll(filepath.Join(outside, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range []string{"authorized_keys", "London", "system/" + unitName, unitName} {
				if err := os.WriteFile(filepath.Join(outside, f), []byte("mine"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			trap := filepath.Join(top, place)
			if err := errors.Join(os.RemoveAll(trap), os.MkdirAll(filepath.Dir(trap), 0o755)); err != nil {
				t.Fatal(err)
			}
			to := strings.ReplaceAll(target, "OUT", outside)
			if target == "loop" {
				to = filepath.Base(trap)
			}
			if err := os.Symlink(to, trap); err != nil {
				t.Fatal(err)
			}
			for _, p := range []Person{whole(), {Hostname: "pi"}} {
				if err := Personalise(top, p); err != nil && !errors.Is(err, ErrInvalidPerson) {
					t.Errorf("%s to %s: %v", place, target, err)
				}
			}
			n := 0
			err := filepath.WalkDir(outside, func(p string, d fs.DirEntry, err error) error {
				if n++; err == nil && !d.IsDir() && read(t, outside, strings.TrimPrefix(p, outside)) != "mine" {
					t.Errorf("%s to %s: %s changed", place, target, p)
				}
				return err
			})
			if err != nil || n != 10 {
				t.Fatalf("%s to %s: %d files outside, %v", place, target, n, err)
			}
		}
	}
}

func FuzzFirstUser(f *testing.F) {
	f.Add([]byte("pi:x:1000:1000::/home/pi:/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, ok := firstUser(b); ok && (u.uid < 1000 || u.gid < 1 || !filepath.IsLocal(u.home) || !strings.HasPrefix(u.home, "home/")) {
			t.Fatalf("%+v", u)
		}
	})
}
