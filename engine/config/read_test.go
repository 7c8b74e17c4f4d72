package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWholeFiles has mistakes that are not in a line of small.
func TestWholeFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", `
rack.toml: no rack
  try: rack = "A3"
rack.toml: no [[switch]]: nothing gives power
  try: picloud config template
rack.toml: no [[segment]]: there is no Pi
  try: picloud config template`},
		{"too large", strings.Repeat("# filler\n", MaxSize/9+1), `
rack.toml: larger than 4096 KiB`},
		{"UTF-16", "\xff\xfer\x00a\x00", `
rack.toml:1:1: invalid character at start of key: U+00FF 'ÿ'
  try: save the file as UTF-8 text`},
		{"byte order mark, Windows line ends", "\xef\xbb\xbf" + strings.ReplaceAll(small, "\n", "\r\n"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, found := Parse("rack.toml", []byte(tt.text), known)
			if diff := cmp.Diff(strings.TrimSpace(tt.want), printed(found)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestHostile: files made to hurt end soon, with a bounded number of problems.
func TestHostile(t *testing.T) {
	// An eighth of what is read: enough to show work that grows too fast.
	const size = MaxSize / 8
	repeat := func(s string, most int) string { return strings.Repeat(s, most/len(s)) }
	for name, text := range map[string]string{
		"nested lists":      "a = " + repeat("[", size),
		"nested tables":     "a = " + repeat("{a=", size),
		"dotted key":        repeat("a.", size) + "a = 1",
		"dotted header":     "[" + repeat("a.", size) + "a]",
		"long key":          repeat("a", size) + " = 1",
		"long list":         small + "[[server]]\nkeys = [" + repeat(`"",`, size) + "]",
		"syntax errors":     repeat("=\n", size),
		"unclosed strings":  repeat("a=\"\"\"\n", size),
		"unknown keys":      repeat("bbb=1\n", size),
		"empty segments":    repeat("[[segment]]\n", size),
		"same segment":      repeat(small[strings.Index(small, "[[segment]]"):], size),
		"unknown switches":  manySegments(5000),
		"NUL":               repeat("\x00", size),
		"not text":          repeat("\xff\xfe", size),
		"long line of text": "rack = \"" + repeat("A", size) + "\"",
	} {
		t.Run(name, func(t *testing.T) {
			c, found := Parse("rack.toml", []byte(text), known)
			if c != nil || len(found) == 0 || len(found) > maxProblems+1 {
				t.Errorf("%d problems", len(found))
			}
			for _, p := range found {
				if len(p.Error()) > 2000 {
					t.Errorf("a message of %d bytes", len(p.Error()))
				}
			}
		})
	}
}

// manySegments are wired to switches that are nearly there.
func manySegments(n int) string {
	var b strings.Builder
	b.WriteString("rack = \"A3\"\n")
	for k := range n {
		fmt.Fprintf(&b, "[[switch]]\nname = \"switch-%d\"\n[[segment]]\nname = \"a3-%d\"\nswitch = \"swithc-%d\"\nport = 1\n", k, k, k)
	}
	return b.String()
}

func TestRead(t *testing.T) {
	if _, found := Read("-", strings.NewReader(small), known); found != nil {
		t.Error(found)
	}
	_, found := Read("-", bytes.NewReader(make([]byte, MaxSize+1)), known)
	if got := printed(found); got != "-: larger than 4096 KiB" {
		t.Error(got)
	}
	_, found = Read("-", failing{}, known)
	if got := printed(found); got != "-: broken" {
		t.Error(got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

// write makes a file of that mode and returns its path.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	secret := write(t, "sw1.secret", "community = \"s3cret\"\n", 0o640)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "boot/firmware"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(small, "/etc/picloud/sw1.secret", secret) +
		"[[image]]\nname = \"mine\"\npath = \"" + root + "\"\n"
	c, found := Load(write(t, "rack.toml", text, 0o644), known)
	if found != nil {
		t.Fatal(printed(found))
	}
	if got := c.Switches[0].Credentials; got.ReadCommunity != "s3cret" || got.WriteCommunity != "s3cret" {
		t.Error("credentials were not read")
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c.Switches[0]); strings.Contains(s, "s3cret") {
			t.Errorf("%s prints the secret: %s", format, s)
		}
	}
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil || strings.Contains(b.String(), "s3cret") {
		t.Errorf("Encode writes the secret (%v)", err)
	}
}

func TestLoadMistakes(t *testing.T) {
	dir := t.TempDir()
	open := write(t, "open.secret", "community = \"x\"\n", 0o644)
	bad := write(t, "bad.secret", "community = 12345678\ncommunty = \"s3cret\"\n", 0o600)
	file := write(t, "file", "", 0o644)
	for _, tt := range []struct{ name, text, want string }{
		{"no credentials file", strings.ReplaceAll(small, "/etc/picloud/sw1.secret", dir+"/sw1.secret"), `
RACK:7:15: switch "sw1" credentials: DIR/sw1.secret: open: no such file or directory
  try: write it, with mode 640`},
		{"all may read them, and an unknown image folder", strings.ReplaceAll(small, "/etc/picloud/sw1.secret", open) +
			"[[image]]\nname = \"x\"\npath = \"" + dir + "/x\"\n", `
RACK:7:15: switch "sw1" credentials: OPEN: everyone may read or write it (mode 0644)
  try: chmod 640 OPEN
RACK:17:8: image "x" path: DIR/x: stat: no such file or directory
  try: a folder with the image's root, its boot partition in boot/firmware`},
		{"mistakes in them", strings.ReplaceAll(small, "/etc/picloud/sw1.secret", bad) + "[oops]\n", `
RACK:15:1: unknown table "oops"
  try: tables: boot, dhcp, tftp, nfs, volumes, guest, ssh, console, local, backup, http, orders, exam, api, guard.VERB, switch, switch.port, segment, server, image, plan
BAD:1:13: community: want text in quotes
  try: quotes around it
BAD:2:1: unknown key "communty"
  try: did you mean community?`},
		{"wrong version, no boot folder, state is a file", "state = \"" + file + "\"\n" +
			strings.ReplaceAll(strings.ReplaceAll(small, "/etc/picloud/sw1.secret", "SECRET"), "[[segment]]", "version = \"3\"\n[[segment]]") +
			"[[image]]\nname = \"x\"\npath = \"" + dir + "\"\n", `
RACK:1:9: state: FILE is not a folder
  try: a folder, or a path where nothing is yet
RACK:8:15: switch "sw1" credentials: SECRET has no user, which version 3 needs
  try: user = "…", auth_protocol = "SHA256", auth_password = "…"
RACK:19:8: image "x" path: DIR/boot/firmware: stat: no such file or directory
  try: a folder with the image's root, its boot partition in boot/firmware`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret := write(t, "sw1.secret", "community = \"s3cret\"\n", 0o640)
			path := write(t, "rack.toml", strings.ReplaceAll(tt.text, "SECRET", secret), 0o644)
			c, found := Load(path, known)
			if c != nil {
				t.Error("a Config in spite of mistakes")
			}
			got := strings.NewReplacer(path, "RACK", secret, "SECRET", open, "OPEN", bad, "BAD", file, "FILE", dir, "DIR").
				Replace(printed(found))
			if diff := cmp.Diff(strings.TrimSpace(tt.want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	_, found := Load(dir+"/none.toml", known)
	want := fmt.Sprintf("%[1]s/none.toml: open: no such file or directory\n  try: picloud config template > %[1]s/none.toml", dir)
	if got := printed(found); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if _, found = Load(dir, known); len(found) != 1 {
		t.Errorf("a folder as a file: %v", found)
	}
}

func TestCredentials(t *testing.T) {
	for _, tt := range []struct{ name, text, version, want string }{
		{"one community", `community = "a"`, SNMPv2c, ""},
		{"two communities", "read_community = \"a\"\nwrite_community = \"b\"", SNMPv2c, ""},
		{"read only", `read_community = "a"`, SNMPv2c, "fit: has no communities, which version 2c needs"},
		{"all three", "read_community = \"a\"\ncommunity = \"b\"", SNMPv2c,
			"2:13: community stands for both read_community and write_community\n  try: either community, or the other two"},
		{"user", "user = \"u\"\nauth_protocol = \"SHA256\"\nauth_password = \"12345678\"\npriv_protocol = \"AES\"\npriv_password = \"12345678\"", SNMPv3, ""},
		{"user without encryption", "user = \"u\"\nauth_protocol = \"SHA\"\nauth_password = \"12345678\"", SNMPv3, ""},
		{"user without anything", `user = "u"`, SNMPv3, "fit: has no authentication, without which nothing may be switched"},
		{"half encryption", "user = \"u\"\nauth_protocol = \"SHA\"\nauth_password = \"12345678\"\npriv_protocol = \"AES\"", SNMPv3,
			"fit: has one of priv_protocol and priv_password"},
		{"both", "user = \"u\"\ncommunity = \"c\"", SNMPv3, "fit: has both communities and a user"},
		{"short password", "user = \"u\"\nauth_protocol = \"sha\"\nauth_password = \"1234567\"", SNMPv3,
			"2:17: auth_protocol: \"sha\" is not known\n  try: \"SHA\"\n" +
				"3:17: auth_password: shorter than 8 characters, which SNMP does not allow\n  try: a longer one, on the switch too"},
		{"a table", "[user]\n", SNMPv3, "1:1: unknown table \"user\"\n  try: this file has no tables"},
		{"nothing", "", SNMPv2c, "fit: has no communities, which version 2c needs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "x.secret", tt.text, 0o600)
			c, found := ReadCredentials(path)
			got := strings.ReplaceAll(printed(found), path+":", "")
			if f := c.fits(tt.version); found == nil && f != nil {
				got = "fit: " + f.message
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestCredentialsPipe: a pipe in the file's place is refused, not waited for.
func TestCredentialsPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, found := ReadCredentials(path); printed(found) != path+": is not a file\n  try: a file with mode 640" {
		t.Error(printed(found))
	}
}
