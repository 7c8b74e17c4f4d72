package cli

import (
	"fmt"
	"strconv"
	"strings"
)

// size is how large a root is wanted, as in the console.
type size struct {
	bytes int64
	more  bool // bytes are on top of what it has
}

// maxSize is the largest size that is taken, in bytes: a thousand terabytes.
const maxSize = 1e15

// sizeUnits are decimal, as disks are sold: powers of ten.
var sizeUnits = map[string]int{"M": 6, "MB": 6, "G": 9, "GB": 9, "T": 12, "TB": 12}

// parseSize reads "20G", "20GB", "1.5T" or "+5G".
func parseSize(text string) (size, error) {
	number, more := strings.CutPrefix(strings.TrimSpace(text), "+")
	end := strings.IndexFunc(number, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(number)
	}
	unit := strings.ToUpper(strings.TrimSpace(number[end:]))
	whole, part, hasPart := strings.Cut(number[:end], ".")
	if whole == "" || hasPart && part == "" || strings.Contains(part, ".") {
		return size{}, fmt.Errorf("%q is no size: say 20G, 500M, or +5G for so much more", clip(text))
	}
	exp, ok := sizeUnits[unit]
	if !ok {
		return size{}, fmt.Errorf("%q is no size with a unit: M, G or T, where 1G is 10^9 bytes", clip(text))
	}
	n, ok := decimal(whole, strings.TrimRight(part, "0"), exp)
	if !ok || n == 0 {
		return size{}, fmt.Errorf("%q is not between 1M and 1000T", clip(text))
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
