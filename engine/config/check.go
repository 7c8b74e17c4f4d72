package config

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"picloud/engine"
)

// within checks a whole number.
func within(low, high int) func(any) *fault {
	return on(func(n int) *fault {
		if n < low || n > high {
			return faultf(fmt.Sprintf("a number from %d to %d", low, high), "%d is too %s", n, side(n < low, "small", "large"))
		}
		return nil
	})
}

// between checks a duration.
func between(low, high time.Duration) func(any) *fault {
	return on(func(d time.Duration) *fault {
		if d < low || d > high {
			return faultf(fmt.Sprintf("%s to %s", formatDuration(low), formatDuration(high)),
				"%s is too %s", formatDuration(d), side(d < low, "short", "long"))
		}
		return nil
	})
}

func side(below bool, under, over string) string {
	if below {
		return under
	}
	return over
}

// socketPort checks the number of a socket that the server opens.
func socketPort() func(any) *fault { return within(0, 65535) }

// oneOf checks a text against a list; a nil list checks nothing.
func oneOf[T ~string](list []T) func(any) *fault {
	return on(func(s T) *fault {
		if list == nil || slices.Contains(list, s) {
			return nil
		}
		names := make([]string, len(list))
		for i, n := range list {
			names[i] = string(n)
		}
		return notOneOf(string(s), names)
	})
}

func notOneOf(s string, list []string) *fault {
	remedy := quoted(list)
	if len(list) > 1 {
		remedy = "one of " + remedy
	}
	if meant := nearest(s, list); meant != "" {
		remedy = quote(meant)
	}
	return faultf(remedy, "%s is not known", show(s))
}

func quoted(list []string) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = quote(s)
	}
	return strings.Join(parts, ", ")
}

var (
	labelForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	plainForm     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	imageForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)
	interfaceForm = regexp.MustCompile(`^[A-Za-z0-9._@-]+$`)
	exportForm    = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)
	notLabel      = regexp.MustCompile(`[^a-z0-9]+`)
)

// longestLabel is RFC 1035's limit of a label, section 2.3.4.
const longestLabel = 63

// hostLabel checks what becomes a host name: one label of RFC 1123, section
// 2.1, in lower case so that two names never differ by case alone.
func hostLabel[T ~string](v T) *fault {
	s := string(v)
	if len(s) <= longestLabel && labelForm.MatchString(s) {
		return nil
	}
	f := faultf("lower-case letters, digits and hyphens, at most 63", "%s cannot be a host name", show(s))
	fixed := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if fixed != "" && len(fixed) <= longestLabel {
		f.remedy = quote(fixed)
	}
	return f
}

// form checks a text against a pattern and a length.
func form(pattern *regexp.Regexp, most int, remedy string) func(any) *fault {
	return on(func(s string) *fault {
		if len(s) > most || !pattern.MatchString(s) {
			return faultf(remedy, "%s cannot be used", show(s))
		}
		return nil
	})
}

func plainName() func(any) *fault {
	return form(plainForm, longestLabel, "letters, digits and . _ - between them, at most 63")
}

// interfaceName follows the kernel's dev_valid_name: at most 15 bytes, no
// slash, colon or space.
func interfaceName() func(any) *fault {
	return form(interfaceForm, 15, `a name of "ip link", such as "eth0.101", at most 15 characters`)
}

// text checks what people read: it must not move a terminal's cursor.
func text(s string) *fault {
	const most = 128
	if len(s) > most {
		return faultf(fmt.Sprintf("at most %d bytes", most), "%d bytes are too long", len(s))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return faultf("letters, digits, signs and spaces", "%s has a character that cannot be printed", show(s))
		}
	}
	return nil
}

// cleanPath checks the path of a file or folder on the server.
func cleanPath(s string) *fault {
	const most = 4095 // PATH_MAX without its NUL
	switch {
	case len(s) > most || strings.ContainsFunc(s, unicode.IsControl):
		return faultf(`such as "/srv/picloud"`, "%s is not a path", show(s))
	case !path.IsAbs(s):
		return faultf(quote(path.Join("/", s)), "%s is not a whole path", show(s))
	case path.Clean(s) != s:
		return faultf(quote(path.Clean(s)), "%s is not in its shortest form", show(s))
	}
	return nil
}

// exportPath checks what is put on a kernel command line, where a space ends
// it and a comma starts the options (nfsroot.rst).
func exportPath() func(any) *fault {
	return form(exportForm, 128, `letters, digits and . _ - between slashes, such as "/srv/pi"`)
}

// unicastMAC refuses group addresses (IEEE 802, bit 0 of the first byte).
func unicastMAC(m engine.MAC) *fault {
	if m[0]&1 != 0 {
		return faultf("the board's own address", "%s is a group address", m)
	}
	return nil
}

// largestNetwork is the shortest mask that a network has, that of 10.0.0.0/8
// (RFC 1918).
const largestNetwork = 8

// segmentAddress checks the server's side of a segment.
func segmentAddress(p netip.Prefix) *fault {
	switch {
	case !p.Addr().Is4():
		return faultf(`an IPv4 address: the boot ROMs know no other`, "%s is not IPv4", p)
	case p.Bits() > 30:
		return faultf(fmt.Sprintf(`a /30, such as "%s"`, netip.PrefixFrom(p.Addr(), 30)),
			"%s has no room for a server and a Pi", p)
	case p.Bits() < largestNetwork:
		return faultf(fmt.Sprintf("%q", netip.PrefixFrom(p.Addr(), 30)), "%s is larger than any network", p)
	}
	free := netip.PrefixFrom(freeHost(p), p.Bits())
	return hostAddress(p.Addr(), p, fmt.Sprintf("%q", free))
}

// hostAddress refuses those addresses of a prefix that no host can have.
func hostAddress(a netip.Addr, p netip.Prefix, remedy string) *fault {
	switch {
	case a == p.Masked().Addr():
		return faultf(remedy, "%s is the address of the network %s itself", a, p.Masked())
	case a == lastAddr(p):
		return faultf(remedy, "%s is the broadcast address of %s", a, p.Masked())
	case a.IsMulticast() || a.IsUnspecified():
		return faultf(`a private address (RFC 1918), such as "10.64.0.1/30"`, "%s is no host's address", a)
	}
	return nil
}

// freeHost is the first host of a prefix that is not the one it is given with.
func freeHost(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().Next()
	if a == p.Addr() {
		return a.Next()
	}
	return a
}

// agentAddress checks where a switch is asked.
func agentAddress(a netip.AddrPort) *fault {
	if a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
		return faultf(`such as "10.0.0.2:161"`, "%s is no host's address", a)
	}
	return nil
}

// socketPath checks the path of a Unix socket (unix(7), sun_path).
func socketPath(s string) *fault {
	const most = 107
	if len(s) > most {
		return faultf("at most 107 bytes", "%s is too long for a socket", show(s))
	}
	return cleanPath(s)
}

// listenAddress checks where a service listens.
func listenAddress(a netip.AddrPort) *fault {
	if a.Port() == 0 || a.Addr().IsMulticast() {
		return faultf(`such as "0.0.0.0:2222"`, "%s is nothing to listen on", a)
	}
	return nil
}

var keyKinds = []string{
	"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// authorizedKey checks a line of authorized_keys (sshd(8)): a known kind of key
// followed by its base64, which starts with that kind again (RFC 4253, section
// 6.6).
func authorizedKey(line string) *fault {
	const most = 8192 // sshd's own limit of a line
	const remedy = `the one line of a .pub file, such as "ssh-ed25519 AAAA… name"`
	if len(line) > most || strings.ContainsFunc(line, unicode.IsControl) {
		return faultf(remedy, "is not one line")
	}
	fields := strings.Fields(line)
	for i, word := range fields {
		if !slices.Contains(keyKinds, word) {
			continue
		}
		if i+1 == len(fields) || !blobOf(fields[i+1], word) {
			return faultf(remedy, "is cut off or not a key of the kind %s", word)
		}
		return nil
	}
	return faultf(remedy, "(%s) is not a public key", show(line))
}

// blobOf tells whether data is the base64 of a key blob of that kind.
func blobOf(data, kind string) bool {
	blob, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(blob) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(blob)
	rest := blob[4:]
	return uint64(n) < uint64(len(rest)) && string(rest[:n]) == kind
}
