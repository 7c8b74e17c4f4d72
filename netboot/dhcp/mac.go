package dhcp

import (
	"errors"
	"fmt"
	"net"
)

// ErrMAC is the cause of [ParseMAC]'s errors.
var ErrMAC = errors.New("not an Ethernet address such as b8:27:eb:00:00:01")

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads six bytes in hexadecimal, parted by colons, by dashes, or as
// three groups by dots.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("dhcp: parse MAC %.64q: %w", s, ErrMAC)
	}
	return MAC(hw), nil
}

// String returns the address with colons, in lower case.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsUnicast says whether one network card can have the address: it is not
// zero, and neither a group's nor everybody's.
func (m MAC) IsUnicast() bool { return m != MAC{} && m[0]&1 == 0 }
