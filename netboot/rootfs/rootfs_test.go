package rootfs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picloud/netboot/bootfs/order"
)

// sshString is the string of RFC 4251, section 5.
func sshString(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func keyLine(kind string, parts ...[]byte) string {
	return kind + " " + base64.StdEncoding.EncodeToString(sshString(append([][]byte{[]byte(kind)}, parts...)...))
}

var (
	ed25519Key = keyLine("ssh-ed25519", ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	// From ssh-keygen -t ed25519.
	realKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFoAqG5D+FopuCm9xL6Bp8CZ6t0OVDnLGxzR90Cuws5 me@here"
)

func rsaKey(bits uint) string {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return keyLine("ssh-rsa", []byte{1, 0, 1}, append([]byte{0}, n.SetBit(n, 0, 1).Bytes()...))
}

func point(c elliptic.Curve) []byte {
	n := (c.Params().BitSize + 7) / 8
	p := make([]byte, 1+2*n)
	p[0] = 4
	c.Params().Gx.FillBytes(p[1 : 1+n])
	c.Params().Gy.FillBytes(p[1+n:])
	return p
}

var keys = []struct {
	name, in string
	ok       bool
}{
	{"ssh-keygen's", realKey, true},
	{"ssh-keygen's ecdsa", "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIUmPGT4omUfaQUc15w64Op3FbIo7IqQ1buc7XX1O3cmu4SDx9aF3gmLZ6ZqHYUcl4mMERTshCAVOT1Ui1dVa1DAExKhw6LRHyTzVp9Z+rP4prJrCWlZvKeanfCS9goyrg== me@here", true},
	{"ed25519", ed25519Key, true},
	{"with a comment", ed25519Key + " Anna B. <anna@example.org>", true},
	{"with a line end", ed25519Key + "\r\n", true},
	{"rsa 2048", rsaKey(2048), true},
	{"rsa 4096", rsaKey(4096), true},
	{"nistp256", keyLine("ecdsa-sha2-nistp256", []byte("nistp256"), point(elliptic.P256())), true},
	{"nistp521", keyLine("ecdsa-sha2-nistp521", []byte("nistp521"), point(elliptic.P521())), true},
	{"security key", keyLine("sk-ssh-ed25519@openssh.com", make([]byte, 32), []byte("ssh:")), true},

	{"empty", "", false},
	{"type only", "ssh-ed25519", false},
	{"rsa 1024", rsaKey(1024), false},
	{"dss", keyLine("ssh-dss", []byte{1}, []byte{1}, []byte{1}, []byte{1}), false},
	{"options", `command="/bin/sh" ` + ed25519Key, false},
	{"options in front of the type", "restrict,pty " + ed25519Key, false},
	{"two lines", ed25519Key + "\n" + ed25519Key, false},
	{"carriage return inside", ed25519Key + "\rssh-rsa AAAA", false},
	{"NUL", ed25519Key + " a\x00b", false},
	{"comment with an escape", ed25519Key + " \x1b[2J", false},
	{"other type inside", strings.Replace(ed25519Key, "ssh-ed25519", "ssh-rsa", 1), false},
	{"wrong curve", keyLine("ecdsa-sha2-nistp256", []byte("nistp384"), point(elliptic.P384())), false},
	{"short", keyLine("ssh-ed25519", make([]byte, 31)), false},
	{"more behind it", keyLine("ssh-ed25519", make([]byte, 32), []byte("x")), false},
	{"not base64", "ssh-ed25519 AAAA!", false},
	{"length beyond the end", "ssh-ed25519 /////w==", false},
	{"private key", "-----BEGIN OPENSSH PRIVATE KEY-----", false},
	{"huge", "ssh-ed25519 " + strings.Repeat("A", 64<<10), false},
}

func TestKeys(t *testing.T) {
	for _, test := range keys {
		t.Run(test.name, func(t *testing.T) {
			got, err := checkKey(test.in)
			if (err == nil) != test.ok || test.ok && got != strings.TrimSpace(test.in) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzKey(f *testing.F) {
	for _, test := range keys {
		f.Add(test.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := checkKey(in)
		if err != nil {
			return
		}
		kind, _, _ := strings.Cut(got, " ")
		if keyTypes[kind] == nil || strings.ContainsAny(got, "\n\r\x00") {
			t.Fatalf("%q", got)
		}
		if again, err := checkKey(got); again != got || err != nil {
			t.Fatalf("%q becomes %q, %v", got, again, err)
		}
	})
}

func TestHostnames(t *testing.T) {
	for name, ok := range map[string]bool{
		"pi": true, "a": true, "3b-plus-07": true, strings.Repeat("a", 63): true,
		"": false, "-pi": false, "pi-": false, "Pi": false, "pi.example": false, "pi\n": false, "pi 1": false,
		"../etc": false, "pi_1": false, "pi\x00": false, "píc": false, strings.Repeat("a", 64): false,
	} {
		if err := (Person{Hostname: name}).Validate(); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalidPerson) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := (Person{Hostname: "pi", AuthorizedKeys: make([]string, maxKeys+1)}).Validate(); !errors.Is(err, ErrInvalidPerson) {
		t.Errorf("too many keys: %v", err)
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newImage(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "images", "demo")
	if err := Builtin(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	return top
}

func TestBuiltin(t *testing.T) {
	top := newImage(t)
	if s := read(t, top, "etc/os-release"); !strings.Contains(s, "picloud built-in demo image") {
		t.Errorf("os-release %q", s)
	}
	for _, e := range builtin {
		if !e.isIn(top) {
			t.Errorf("%s is not as it should be", e.path)
		}
	}
	if s := read(t, top, "boot/firmware/kernel8.img"); !strings.HasPrefix(s, "picloud built-in demo image: stand-in for kernel8.img.") {
		t.Errorf("kernel8.img %.80q", s)
	}
	if len(read(t, top, "sbin/init")) == 0 {
		t.Error("no init")
	}
	entries, err := os.ReadDir(filepath.Dir(top))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the image: %v, %v", entries, err)
	}
}

// TestBuiltinBoots: every family finds what it needs.
func TestBuiltinBoots(t *testing.T) {
	firmware := filepath.Join(newImage(t), "boot/firmware")
	for _, f := range order.Families() {
		for _, oneOf := range order.Need(f) {
			found := false
			for _, name := range oneOf {
				_, err := os.Stat(filepath.Join(firmware, name))
				found = found || err == nil || name == "config.txt" || name == "cmdline.txt"
			}
			if !found {
				t.Errorf("%s finds none of %v", f, oneOf)
			}
		}
	}
}

func TestBuiltinAgain(t *testing.T) {
	top := newImage(t)
	before, err := os.Stat(top)
	if err != nil {
		t.Fatal(err)
	}
	same := func() bool {
		if err := Builtin(t.Context(), top); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(top)
		if err != nil {
			t.Fatal(err)
		}
		return os.SameFile(before, after)
	}
	if !same() {
		t.Error("a good image was made anew")
	}
	if err := os.WriteFile(filepath.Join(top, stampName), []byte("older\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(filepath.Dir(top), ".demo.new", "half")
	if err := os.MkdirAll(crashed, 0o755); err != nil {
		t.Fatal(err)
	}
	if same() {
		t.Error("an outdated image was kept")
	}
	if read(t, top, stampName) != stamp() {
		t.Error("not the new version")
	}
	if _, err := os.Stat(filepath.Dir(crashed)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left of a crash: %v", err)
	}
	if before, err = os.Stat(top); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(top, "boot/firmware/start.elf"), 5); err != nil {
		t.Fatal(err)
	}
	if same() || len(read(t, top, "boot/firmware/start.elf")) != 96*kib {
		t.Error("a damaged image was kept")
	}
}

func TestBuiltinForeign(t *testing.T) {
	top := t.TempDir()
	precious := filepath.Join(top, "precious")
	if err := os.WriteFile(precious, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{top, precious} {
		if err := Builtin(t.Context(), p); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestBuiltinCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := t.TempDir()
	if err := Builtin(ctx, filepath.Join(parent, "demo")); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestPersonalise(t *testing.T) {
	top := newImage(t)
	for _, d := range []string{"var/lib/dbus"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"var/lib/dbus/machine-id", "etc/machine-id"} {
		os.Remove(filepath.Join(top, name))
		if err := os.WriteFile(filepath.Join(top, name), []byte("0123456789abcdef0123456789abcdef\n"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := Personalise(top, Person{Hostname: "old", AuthorizedKeys: []string{ed25519Key}}); err != nil {
		t.Fatal(err)
	}
	p := Person{Hostname: "pi-07", AuthorizedKeys: []string{realKey, rsaKey(2048)}}
	for range 2 {
		if err := Personalise(top, p); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"etc/hostname":              "pi-07\n",
		"etc/hosts":                 defaultHosts + "127.0.1.1\tpi-07\n",
		"etc/machine-id":            "",
		"root/.ssh/authorized_keys": realKey + "\n" + rsaKey(2048) + "\n",
	} {
		if got := read(t, top, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	wantModes(t, top)
	if _, err := os.Stat(filepath.Join(top, "var/lib/dbus/machine-id")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("D-Bus's machine-id: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(top, "etc/.*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func wantModes(t *testing.T, top string) {
	t.Helper()
	for name, want := range map[string]fs.FileMode{
		"root/.ssh":                 fs.ModeDir | 0o700,
		"root/.ssh/authorized_keys": 0o600,
		"etc/hostname":              0o644,
		"etc/hosts":                 0o644,
	} {
		if info, err := os.Lstat(filepath.Join(top, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestPersonaliseKeepsHosts(t *testing.T) {
	top := newImage(t)
	if err := os.WriteFile(filepath.Join(top, "etc/hosts"), []byte("10.0.0.1 db\r\n 127.0.1.1 old older\n# end"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Personalise(top, Person{Hostname: "pi"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, top, "etc/hosts"); got != "10.0.0.1 db\n# end\n127.0.1.1\tpi\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, top, "root/.ssh/authorized_keys"); got != "" {
		t.Errorf("keys without any: %q", got)
	}
}

// trap puts something into a customer's tree that leads out of it or does harm to
// who writes there.
type trap func(t *testing.T, top, outside string)

func linkTo(name, target string) trap {
	return func(t *testing.T, top, outside string) {
		p := filepath.Join(top, name)
		if err := os.RemoveAll(p); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(strings.ReplaceAll(target, "OUT", outside), p); err != nil {
			t.Fatal(err)
		}
	}
}

// traps are at every place that is written.
var traps = map[string]trap{
	"etc is a link out":                linkTo("etc", "OUT"),
	"etc is a link up":                 linkTo("etc", "../outside"),
	"etc is a link to itself":          linkTo("etc", "etc"),
	"hostname is a link out":           linkTo("etc/hostname", "OUT/file"),
	"hosts is a link out":              linkTo("etc/hosts", "OUT/file"),
	"hosts is a link to a device":      linkTo("etc/hosts", "/dev/zero"),
	"root is a link out":               linkTo("root", "OUT"),
	"ssh folder is a link out":         linkTo("root/.ssh", "OUT"),
	"keys are a link out":              linkTo("root/.ssh/authorized_keys", "OUT/file"),
	"temporary name is taken":          linkTo("etc/.hostname.picloud-new", "OUT/file"),
	"D-Bus folder is a link out":       linkTo("var/lib", "OUT"),
	"ssh folder is a link in the root": linkTo("root/.ssh", "../etc"),
	"hosts is a pipe": func(t *testing.T, top, _ string) {
		os.Remove(filepath.Join(top, "etc/hosts"))
		if err := syscall.Mkfifo(filepath.Join(top, "etc/hosts"), 0o644); err != nil {
			t.Fatal(err)
		}
	},
	"hosts is huge": func(t *testing.T, top, _ string) {
		if err := os.Truncate(filepath.Join(top, "etc/hosts"), 1<<40); err != nil {
			t.Fatal(err)
		}
	},
	"hostname is a full folder": func(t *testing.T, top, _ string) {
		os.Remove(filepath.Join(top, "etc/hostname"))
		if err := os.MkdirAll(filepath.Join(top, "etc/hostname/a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
	},
	"keys are open to all": func(t *testing.T, top, _ string) {
		if err := os.Chmod(filepath.Join(top, "root/.ssh"), 0o777); err != nil {
			t.Fatal(err)
		}
	},
	"etc is a file": func(t *testing.T, top, _ string) {
		os.RemoveAll(filepath.Join(top, "etc"))
		if err := os.WriteFile(filepath.Join(top, "etc"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	},
}

// springTraps runs write on a tree with each of the traps, and wants what is
// outside to be as before.
func springTraps(t *testing.T, write func(t *testing.T, top string)) {
	t.Helper()
	for name, set := range traps {
		t.Run(name, func(t *testing.T) {
			top := newImage(t)
			outside := filepath.Join(filepath.Dir(top), "outside")
			if err := os.Mkdir(outside, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"file", "hosts", "hostname", "machine-id", "authorized_keys"} {
				if err := os.WriteFile(filepath.Join(outside, f), []byte("mine"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			set(t, top, outside)
			write(t, top)
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 5 {
				t.Errorf("outside: %v, %v", entries, err)
			}
			for _, e := range entries {
				if got := read(t, outside, e.Name()); got != "mine" {
					t.Errorf("outside %s: %q", e.Name(), got)
				}
			}
		})
	}
}

// TestPersonaliseHostile: a customer's tree holds traps at every place that
// is written.
func TestPersonaliseHostile(t *testing.T) {
	springTraps(t, func(t *testing.T, top string) {
		if err := Personalise(top, Person{Hostname: "pi", AuthorizedKeys: []string{ed25519Key}}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"etc/hostname": "pi\n", "root/.ssh/authorized_keys": ed25519Key + "\n",
		} {
			if got := read(t, top, name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if !bytes.HasSuffix([]byte(read(t, top, "etc/hosts")), []byte("127.0.1.1\tpi\n")) {
			t.Error("hosts has no line")
		}
		wantModes(t, top)
	})
}

func TestPersonaliseInvalid(t *testing.T) {
	top := newImage(t)
	for _, p := range []Person{{Hostname: "A"}, {Hostname: "pi", AuthorizedKeys: []string{"command=\"x\" " + ed25519Key}}} {
		if err := Personalise(top, p); !errors.Is(err, ErrInvalidPerson) {
			t.Errorf("%v", err)
		}
	}
	if got := read(t, top, "etc/hostname"); got != "picloud-demo\n" {
		t.Errorf("written all the same: %q", got)
	}
	if err := Personalise(filepath.Join(top, "none"), Person{Hostname: "pi"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte(defaultHosts), "pi")
	f.Add([]byte("127.0.1.1"), "a-b")
	f.Fuzz(func(t *testing.T, old []byte, name string) {
		if checkHostname(name) != nil {
			return
		}
		got := hosts(old, name)
		if !bytes.HasSuffix(got, fmt.Appendf(nil, "127.0.1.1\t%s\n", name)) {
			t.Fatalf("%q", got)
		}
		if again := hosts(got, name); !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q", got, again)
		}
	})
}
