package sim

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// Inventory is what staff know of a rack and have typed into the product: labels
// and cables. It has no faults in it.
type Inventory struct {
	Rack     string
	Switches []Switch
	Pis      []Pi
}

// Switch is a switch of the inventory.
type Switch struct {
	Name string
	// Addr is where its SNMP agent listens.
	Addr netip.AddrPort
	// ReadCommunity and WriteCommunity are SNMPv2c's.
	ReadCommunity, WriteCommunity string
	Ports                         int
	// Profile names the vendor whose column tells watts.
	Profile string
}

// Pi is a Pi of the inventory.
type Pi struct {
	Name string // such as "a3-001"
	// The board's own data are zero for a new one.
	Model    string // "3B", "3B+", "4B" or "5"
	Revision uint32
	Serial   uint32 // low half
	MAC      [6]byte
	MemoryMB int
	Switch   string
	Port     int // from 1
	// Server and Addr are the two addresses of its /30.
	Server, Addr netip.Addr
	// Customer is who has it, empty if nobody; ServerName is what that customer
	// calls it and Keys the lines of authorized_keys. All are made up.
	Customer, ServerName string
	Keys                 []string
}

// profile is the vendor profile of the simulated switches' watts.
const profile = "cisco-smb"

// rent makes up a customer.
func rent(p *Pi, rng *rand.Rand) {
	p.Customer = fmt.Sprintf("t-%03d", rng.IntN(1000))
	p.ServerName = fmt.Sprintf("srv-%s", p.Name)
	p.Keys = []string{fmt.Sprintf("%s %s@example", publicKey(rng), p.Customer)}
}

// publicKey makes a public key whose private half is not kept (RFC 8709, section
// 4).
func publicKey(rng *rand.Rand) string {
	seed := make([]byte, ed25519.SeedSize)
	for i := 0; i < len(seed); i += 8 {
		binary.BigEndian.PutUint64(seed[i:], rng.Uint64())
	}
	const kind = "ssh-ed25519"
	key := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	blob := binary.BigEndian.AppendUint32(nil, uint32(len(kind)))
	blob = append(blob, kind...)
	blob = binary.BigEndian.AppendUint32(blob, uint32(len(key)))
	blob = append(blob, key...)
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}
