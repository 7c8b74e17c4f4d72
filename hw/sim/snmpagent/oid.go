package snmpagent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxSubIDs is the longest object identifier that SMIv2 allows (RFC 2578,
// section 3.5).
const maxSubIDs = 128

// OID is an object identifier as a list of sub-identifiers.
type OID []uint32

// ParseOID reads the dotted form, with or without a leading dot.
func ParseOID(s string) (OID, error) {
	parts := strings.Split(strings.TrimPrefix(s, "."), ".")
	if len(parts) > maxSubIDs {
		return nil, fmt.Errorf("snmpagent: object identifier of %d parts, the longest is %d", len(parts), maxSubIDs)
	}
	oid := make(OID, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("snmpagent: object identifier %.64q: part %d is not a number from 0 to 4294967295", s, i+1)
		}
		oid[i] = uint32(n)
	}
	return oid, nil
}

// MustOID is ParseOID for constants; it panics where ParseOID fails.
func MustOID(s string) OID {
	oid, err := ParseOID(s)
	if err != nil {
		panic(err)
	}
	return oid
}

// Append returns o followed by suffix, in memory of its own.
func (o OID) Append(suffix ...uint32) OID { return slices.Concat(o, suffix) }

// Compare orders object identifiers lexicographically, as GetNext walks them
// (RFC 3416, section 4.2.2).
func (o OID) Compare(other OID) int { return slices.Compare(o, other) }

// HasPrefix tells whether o is prefix or lies beneath it.
func (o OID) HasPrefix(prefix OID) bool {
	return len(o) >= len(prefix) && slices.Equal(o[:len(prefix)], prefix)
}

// String is the dotted form with a leading dot.
func (o OID) String() string {
	b := make([]byte, 0, len(o)*4)
	for _, n := range o {
		b = append(b, '.')
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return string(b)
}

// encodedLen is the length of o's content octets in BER (X.690, 8.19).
func (o OID) encodedLen() int {
	n := 0
	for i, sub := range o {
		if i == 1 { // the first two share one sub-identifier
			continue
		}
		n++
		for sub >>= 7; sub > 0; sub >>= 7 {
			n++
		}
	}
	return n
}
