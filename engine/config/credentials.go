package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
)

// Credentials are what a switch's SNMP agent wants to be shown: communities
// for version 2c, or a user for version 3. They print as "[hidden]".
type Credentials struct {
	ReadCommunity  string
	WriteCommunity string

	User         string
	AuthProtocol string // see AuthProtocols
	AuthPassword string
	PrivProtocol string // see PrivProtocols; "" = not encrypted
	PrivPassword string
}

// AuthProtocols and PrivProtocols are the names that credentials may have for
// SNMPv3's protocols (RFC 3414, RFC 7860; RFC 3826 and its longer-keyed
// drafts, of which the ones ending in C are Cisco's).
func AuthProtocols() []string { return []string{"MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512"} }

// PrivProtocols: see AuthProtocols.
func PrivProtocols() []string {
	return []string{"DES", "AES", "AES192", "AES256", "AES192C", "AES256C"}
}

const hidden = "[hidden]"

// String hides the secrets from logs and messages.
func (Credentials) String() string { return hidden }

// GoString hides the secrets from %#v.
func (Credentials) GoString() string { return hidden }

// LogValue hides the secrets from slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue(hidden) }

// shortestPassword is RFC 3414's least, section 11.2.
const shortestPassword = 8

// maxCredentials bounds a credentials file, in bytes.
const maxCredentials = 64 << 10

// credentialsFile is what a credentials file holds.
type credentialsFile struct {
	Credentials

	Community string // for both reading and writing
}

// communityFields and userFields are the keys of a credentials file, for SNMP
// 2c and 3.
func communityFields() []field {
	return []field{
		{key: "community", secret: true, ref: ref(func(f *credentialsFile) any { return &f.Community })},
		{key: "read_community", secret: true, ref: ref(func(f *credentialsFile) any { return &f.ReadCommunity })},
		{key: "write_community", secret: true, ref: ref(func(f *credentialsFile) any { return &f.WriteCommunity })},
	}
}

func userFields() []field {
	return []field{
		{key: "user", secret: true, ref: ref(func(f *credentialsFile) any { return &f.User })},
		{key: "auth_protocol", ref: ref(func(f *credentialsFile) any { return &f.AuthProtocol }), check: oneOf(AuthProtocols())},
		{key: "auth_password", secret: true, ref: ref(func(f *credentialsFile) any { return &f.AuthPassword }), check: on(password)},
		{key: "priv_protocol", ref: ref(func(f *credentialsFile) any { return &f.PrivProtocol }), check: oneOf(PrivProtocols())},
		{key: "priv_password", secret: true, ref: ref(func(f *credentialsFile) any { return &f.PrivPassword }), check: on(password)},
	}
}

// password says nothing of the password but its length.
func password(s string) *fault {
	if len(s) < shortestPassword {
		return faultf("a longer one, on the switch too", "shorter than %d characters, which SNMP does not allow", shortestPassword)
	}
	return nil
}

func credentialsDoc() string {
	names := func(fields []field) string {
		var keys []string
		for _, f := range fields {
			keys = append(keys, f.key)
		}
		return strings.Join(keys, ", ")
	}
	communities := communityFields()
	return fmt.Sprintf("A TOML file that not everyone may read (chmod 640). For version \"2c\": %s, or\n%s. For \"3\":\n%s.\nauth: %s. priv: %s.",
		names(communities[:1]), names(communities[1:]), names(userFields()),
		strings.Join(AuthProtocols(), ", "), strings.Join(PrivProtocols(), ", "))
}

// ReadCredentials reads the secrets of a switch. It refuses a file that
// everyone may read or write, and never puts a secret into a problem. A problem
// without a line is about the file as a whole.
func ReadCredentials(path string) (Credentials, []Problem) {
	data, f := readSecret(path)
	if f != nil {
		return Credentials{}, []Problem{{File: path, Message: f.message, Remedy: f.remedy}}
	}
	return parseCredentials(path, data)
}

func parseCredentials(path string, data []byte) (Credentials, []Problem) {
	var file credentialsFile
	list := &problems{file: path}
	src := &source{file: path, at: make(map[place]position), bad: make(map[place]bool)}
	tables := []table{single("", "", func(*Config) *credentialsFile { return &file },
		append(communityFields(), userFields()...)...)}
	c := &Config{source: src}
	readTables(c, tables, data, src, list)
	(&checker{c: c, source: src, tables: tables, list: list}).fields()
	if file.Community != "" {
		if file.ReadCommunity != "" || file.WriteCommunity != "" {
			list.add(src.position(place{key: "community"}), "community stands for both read_community and write_community",
				"either community, or the other two")
		}
		file.ReadCommunity, file.WriteCommunity = file.Community, file.Community
	}
	if found := list.sorted(); len(found) > 0 {
		return Credentials{}, found
	}
	return file.Credentials, nil
}

// readSecret reads a small regular file that not everyone may read.
func readSecret(path string) ([]byte, *fault) { return readSmall(path, 0o007) }

// readSmall reads a small regular file that has none of the forbidden bits in
// its mode.
func readSmall(path string, forbidden fs.FileMode) ([]byte, *fault) {
	// Opening a pipe would wait for a writer; the mode is the open file's, so
	// that it cannot be exchanged in between.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, faultf("let whoever runs picloud read it: give it their group and mode 640, or use sudo", "%s", cause(err))
	}
	if err != nil {
		return nil, faultf("write it, with mode 640", "%s", cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, faultf("", "%s", cause(err))
	case !info.Mode().IsRegular():
		return nil, faultf("a file with mode 640", "is not a file")
	case info.Mode().Perm()&forbidden != 0:
		return nil, faultf("chmod 640 "+path, "everyone may read or write it (mode %04o)", info.Mode().Perm())
	}
	data, err := readAll(f, maxCredentials)
	if err != nil {
		return nil, faultf("", "%s", cause(err))
	}
	return data, nil
}

// fits tells what a version of SNMP lacks in the credentials.
func (c Credentials) fits(version string) *fault {
	communities := c.ReadCommunity != "" || c.WriteCommunity != ""
	user := c.User != "" || c.AuthProtocol != "" || c.AuthPassword != "" || c.PrivProtocol != "" || c.PrivPassword != ""
	switch {
	case communities && user:
		return faultf("communities for version 2c, or a user for version 3", "has both communities and a user")
	case version == SNMPv2c && (c.ReadCommunity == "" || c.WriteCommunity == ""):
		return faultf(`community = "…", or read_community and write_community`, "has no communities, which version 2c needs")
	case version == SNMPv3 && c.User == "":
		return faultf(`user = "…", auth_protocol = "SHA256", auth_password = "…"`, "has no user, which version 3 needs")
	case version == SNMPv3 && (c.AuthProtocol == "" || c.AuthPassword == ""):
		return faultf(`auth_protocol = "SHA256", auth_password = "…"`, "has no authentication, without which nothing may be switched")
	case version == SNMPv3 && (c.PrivProtocol == "") != (c.PrivPassword == ""):
		return faultf("both or neither", "has one of priv_protocol and priv_password")
	}
	return nil
}
