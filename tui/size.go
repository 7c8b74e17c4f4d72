package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"picloud/engine"
)

// size is how large a person wants a root to be.
type size struct {
	bytes int64
	more  bool // bytes are on top of what it has
}

// maxSize is the largest size that is taken, in bytes: a thousand terabytes.
const maxSize = 1e15

// sizeUnits are decimal, as disks are sold; the exponents are of ten.
var sizeUnits = []struct {
	letter byte
	exp    int
}{{'M', 6}, {'G', 9}, {'T', 12}}

// parseSize reads "20G", "20 GB", "1.5T" or "+5G".
func parseSize(text string) (size, error) {
	rest, more := strings.CutPrefix(strings.TrimSpace(text), "+")
	number := strings.TrimSpace(rest)
	end := strings.IndexFunc(number, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	unit := ""
	if end >= 0 {
		number, unit = number[:end], strings.ToUpper(strings.TrimSpace(number[end:]))
	}
	whole, part, hasPart := strings.Cut(number, ".")
	switch {
	case whole == "" || hasPart && part == "" || strings.Contains(part, "."):
		return size{}, fmt.Errorf("%q is no size: say 20G, 500M, or +5G for so much more", clip(text))
	case unit == "" || unit == "B":
		return size{}, fmt.Errorf("%s of what? Say %sG or %sM", clip(number), clip(number), clip(number))
	}
	exp := -1
	for _, u := range sizeUnits {
		if unit[0] == u.letter && (unit[1:] == "" || unit[1:] == "B") {
			exp = u.exp
		}
	}
	if exp < 0 {
		return size{}, fmt.Errorf("%q is no unit here: M, G or T, where 1G is 10^9 bytes", clip(unit))
	}
	n, ok := decimal(whole, strings.TrimRight(part, "0"), exp)
	switch {
	case !ok:
		return size{}, fmt.Errorf("%s is not between 1M and 1000T", clip(strings.TrimSpace(rest)))
	case n == 0:
		return size{}, fmt.Errorf("a size is more than nothing")
	}
	return size{n, more}, nil
}

// decimal is whole.part times ten to the power of exp, if it is a whole number
// up to maxSize.
func decimal(whole, part string, exp int) (int64, bool) {
	whole = strings.TrimLeft(whole, "0")
	if len(part) > exp || len(whole)+exp > 18 {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", exp-len(part)), 10, 64)
	return n, err == nil && n <= maxSize
}

// of is the size for a Pi, in bytes, and why it cannot have it.
func (s size) of(p *engine.PiView) (n int64, why string) {
	has := p.RootVolume.Use.Size
	n = s.bytes
	if s.more && has == 0 {
		return 0, "its present size is not known: say the whole size"
	}
	if s.more {
		n += has
	}
	switch {
	case n > maxSize:
		return 0, "that is more than 1000T"
	case has > 0 && n < has:
		return 0, "it has " + bytesIn(has, 3) + ", and a root does not shrink"
	case has > 0 && n == has:
		return 0, "it has just that"
	}
	return n, ""
}

// bytesIn writes a byte count in its unit with at most so many decimals, none
// of them a zero at the end.
func bytesIn(n int64, decimals int) string {
	f, unit := scaled(n, n)
	return trimmed(f, decimals) + unit
}

// scaled is a byte count in the unit that fits by.
func scaled(n, by int64) (float64, string) {
	const units = "kMGTP"
	f, b, i := float64(max(n, 0)), float64(max(by, 0)), -1
	for ; b >= 999.5 && i < len(units)-1; i++ {
		f, b = f/1000, b/1000
	}
	if i < 0 {
		return f, " B"
	}
	return f, " " + units[i:i+1] + "B"
}

func trimmed(f float64, decimals int) string {
	s := strconv.FormatFloat(f, 'f', decimals, 64)
	if decimals == 0 {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// roomOf writes "2.1 of 10 GB", in one unit if that shows what is used.
func roomOf(u engine.VolumeUse) string {
	if u.Size <= 0 {
		return bytesIn(u.Used, 1)
	}
	if u.Used < u.Size/20 {
		return bytesIn(u.Used, 1) + " of " + bytesIn(u.Size, 1)
	}
	f, unit := scaled(u.Size, u.Size)
	used, _ := scaled(u.Used, u.Size)
	return trimmed(used, 1) + " of " + trimmed(f, 1) + unit
}

// percent is how full something is, at most 999, rounded down so that 100 means
// full.
func percent(used, size int64) int {
	if size <= 0 {
		return 0
	}
	return int(min(float64(max(used, 0))/float64(size)*100, 999))
}

// Use of a volume at which a person should look, in per cent.
const nearlyFull = 90

// isFull tells whether a Pi's root is nearly full.
func isFull(p *engine.PiView) bool {
	u := p.RootVolume.Use
	return u.Size > 0 && percent(u.Used, u.Size) >= nearlyFull
}

// lateUse is how old the news of a volume's use may be before the table marks
// it: volumes are looked at one after the other, which takes a while.
const lateUse = 5 * time.Minute

// useCell writes how full a Pi's root is: per cent, or for one without a limit
// how much is in it. A "?" in the unit's place: it was long ago.
func (m *Model) useCell(b []byte, p *engine.PiView) []byte {
	v := &p.RootVolume
	if v.UseAt.IsZero() {
		return append(b, '-')
	}
	late := m.stamp().Sub(v.UseAt) > lateUse
	if v.Use.Size > 0 {
		b = strconv.AppendInt(b, int64(percent(v.Use.Used, v.Use.Size)), 10)
		return append(b, pick(late, '?', '%'))
	}
	f, unit := scaled(v.Use.Used, v.Use.Used)
	decimals := 1
	if f >= 9.95 {
		decimals = 0
	}
	b = append(b, trimmed(f, decimals)...)
	return append(b, pick(late, '?', unit[1]))
}
