package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"picloud/engine"
)

// snmpPort is taken for a switch address without a port (RFC 3417, section 3).
const snmpPort = 161

// decode reads a TOML value, other than a list, into what target points to.
func decode(v *unstable.Node, target any) *fault {
	switch t := target.(type) {
	case *int:
		return decodeInt(v, t)
	case *bool:
		if v.Kind != unstable.Bool {
			return faultf("true or false, without quotes", "want true or false, got %s", kindName(v))
		}
		*t = string(v.Data) == "true"
		return nil
	}
	if v.Kind != unstable.String {
		f := wantText(v)
		if _, ok := target.(*time.Duration); ok && v.Kind == unstable.Integer && f.remedy != "" {
			f.remedy = quote(string(v.Data) + "s") // a duration needs its unit too
		}
		return f
	}
	return decodeText(string(v.Data), target)
}

func wantText(v *unstable.Node) *fault {
	return faultf(quoteRemedy(v), "want text in quotes, got %s", kindName(v))
}

// quoteRemedy shows the value as the text it should have been, if it is short.
func quoteRemedy(v *unstable.Node) string {
	if len(v.Data) == 0 || len(v.Data) > 40 {
		return ""
	}
	return quote(string(v.Data))
}

func decodeInt(v *unstable.Node, target *int) *fault {
	if v.Kind != unstable.Integer {
		remedy := "a number without quotes"
		if n, err := strconv.ParseInt(string(v.Data), 10, 32); err == nil {
			remedy = strconv.FormatInt(n, 10)
		}
		return faultf(remedy, "want a whole number, got %s", kindName(v))
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(string(v.Data), "_", ""), 0, 32)
	if err != nil {
		return faultf("a number of at most ten digits", "number %s is out of range", show(string(v.Data)))
	}
	*target = int(n)
	return nil
}

// decodeText reads those values that stand in quotes. An empty text is the
// zero value.
func decodeText(s string, target any) *fault {
	switch t := target.(type) {
	case *time.Duration:
		return set(s, t, parseDuration)
	case *netip.Addr:
		return set(s, t, parseAddr)
	case *netip.AddrPort:
		return set(s, t, parseAddrPort)
	case *netip.Prefix:
		return set(s, t, parsePrefix)
	case *engine.MAC:
		return set(s, t, parseMAC)
	case *Serial:
		return set(s, t, parseSerial)
	case *engine.GuardKind:
		return set(s, t, parseGuard)
	case *engine.Pence:
		return set(s, t, parsePence)
	}
	reflect.ValueOf(target).Elem().SetString(s)
	return nil
}

func set[T any](s string, target *T, parse func(string) (T, *fault)) *fault {
	v, f := parse(s)
	if f == nil {
		*target = v
	}
	return f
}

func parseDuration(s string) (time.Duration, *fault) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, faultf(`a number with its unit (ms, s, m, h), such as "30s" or "1m30s"`, "%s is not a duration", show(s))
	}
	return d, nil
}

func parseAddr(s string) (netip.Addr, *fault) {
	a, err := netip.ParseAddr(s)
	if s != "" && err != nil {
		return a, faultf(`an address such as "10.64.0.2"`, "%s is not an IP address", show(s))
	}
	return a, nil
}

func parseAddrPort(s string) (netip.AddrPort, *fault) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, snmpPort), nil
	}
	a, err := netip.ParseAddrPort(s)
	if s != "" && err != nil {
		return a, faultf(`an IP address with its port, such as "10.0.0.2:161"; names are not looked up`,
			"%s is not an address with a port", show(s))
	}
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, *fault) {
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); aerr == nil && a.Is6() {
		return p, faultf(fmt.Sprintf("%q", s+"/64"), "%s has no length of its prefix", show(s))
	}
	if s != "" && err != nil {
		return p, faultf(`the server's address with its mask, such as "10.64.0.1/30"`,
			"%s is not an address with a mask", show(s))
	}
	return p, nil
}

// parseNetwork reads a network, or an address as a network of its own.
func parseNetwork(s string) (netip.Prefix, *fault) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, faultf(`a network such as "10.20.0.0/16"`, "%s is not a network", show(s))
	}
	return p, nil
}

func parsePence(s string) (engine.Pence, *fault) {
	p, err := engine.ParsePence(s)
	if err != nil {
		return 0, faultf(`pounds and pence such as "5.75", at most 1000000`, "%s is not an amount of money", show(s))
	}
	return p, nil
}

func parseMAC(s string) (engine.MAC, *fault) {
	if s == "" {
		return engine.MAC{}, nil
	}
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(engine.MAC{}) {
		return engine.MAC{}, faultf(`six bytes such as "b8:27:eb:12:34:56"`, "%s is not a MAC address", show(s))
	}
	return engine.MAC(hw), nil
}

func parseSerial(s string) (Serial, *fault) {
	if s == "" {
		return 0, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, faultf("the last 8 hex digits of Serial in the Pi's /proc/cpuinfo", "%s is not 8 hex digits", show(s))
	}
	return Serial(b[0])<<24 | Serial(b[1])<<16 | Serial(b[2])<<8 | Serial(b[3]), nil
}

func parseGuard(s string) (engine.GuardKind, *fault) {
	names := guardNames()
	for i, n := range names {
		if n == s {
			return engine.GuardKind(i), nil
		}
	}
	return 0, notOneOf(s, names)
}

// guardNames lists the engine's guards, weakest first.
func guardNames() []string {
	var names []string
	for k := engine.GuardNone; ; k++ {
		if _, err := engine.ParseGuard(k.String()); err != nil {
			return names
		}
		names = append(names, k.String())
	}
}

// kindName says what a TOML value is.
func kindName(v *unstable.Node) string {
	switch v.Kind {
	case unstable.String:
		return "text"
	case unstable.Bool, unstable.Integer:
		return clip(string(v.Data))
	case unstable.Float:
		return "the number " + clip(string(v.Data))
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

func clip(s string) string {
	const most = 30
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// format writes a value as TOML.
func format(value any) string {
	switch v := value.(type) {
	case *int:
		return strconv.Itoa(*v)
	case *bool:
		return strconv.FormatBool(*v)
	case *[]string:
		return formatList(*v)
	case *[]netip.Addr:
		list := make([]string, len(*v))
		for i, a := range *v {
			list[i] = a.String()
		}
		return formatList(list)
	case *[]netip.Prefix:
		list := make([]string, len(*v))
		for i, p := range *v {
			list[i] = p.String()
		}
		return formatList(list)
	}
	return quote(formatText(value))
}

func formatList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func formatText(value any) string {
	switch v := value.(type) {
	case *time.Duration:
		return formatDuration(*v)
	case *Serial:
		if *v == 0 {
			return ""
		}
		return fmt.Sprintf("%08x", uint32(*v))
	case *engine.MAC:
		return v.String()
	case *engine.GuardKind:
		return v.String()
	case *engine.Pence:
		return v.String()
	case *netip.Addr, *netip.AddrPort, *netip.Prefix:
		if isZero(v) {
			return ""
		}
		return v.(fmt.Stringer).String()
	}
	return reflect.ValueOf(value).Elem().String()
}

// formatDuration leaves out the zero parts of 1m0s and 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// isZero tells whether value points to a zero value or an empty list.
func isZero(value any) bool {
	v := reflect.ValueOf(value).Elem()
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
