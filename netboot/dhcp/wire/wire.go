// Package wire holds the fixed bytes of the DHCP messages that Raspberry Pi
// boot ROMs send, and of the answer that they accept.
//
// It is shared by the server and by whatever plays the part of a Pi, and so
// holds only what stands on the wire: no policy, and nothing that changes.
// Byte strings are constants, which makes them safe to share.
//
// # Sources
//
//   - The 3B ROM's DISCOVER: the tcpdump trace in the Raspberry Pi
//     documentation, "Network Booting" (boot-net.adoc).
//   - The 14-entry option 55 and the 322-byte message of bootcode.bin:
//     the trace in github.com/raspberrypi/firmware issue 941.
//   - The EEPROM's DISCOVER, option by option: the traces in
//     github.com/raspberrypi/rpi-eeprom issue 58 and
//     github.com/TechnitiumSoftware/DnsServer issue 183.
//   - The order of the words in the EEPROM's option 97: the dnsmasq logs in
//     github.com/raspberrypi/cmprovision issues 5 and 16, see [EEPROMGUID].
package wire

import "time"

// Ports of RFC 2131 section 4.1.
const (
	ServerPort = 67
	ClientPort = 68
)

// How the boot ROM of the Pi 2B v1.2, 3B, CM3 and 3B+ puts a DISCOVER on the
// wire, and when.
const (
	// ROMTransactionID is the xid of every message that the ROM and
	// bootcode.bin send, on every board and at every boot. It tells that the
	// sender is one of them, and nothing of which.
	ROMTransactionID = 0x26f30339

	// ROMTTL is the IPv4 time to live of the ROM's packets. Their IPv4
	// identification and their UDP checksum are 0.
	ROMTTL = 128

	// ROMAttempts is how many DISCOVERs the 3B ROM sends before it gives up
	// until the next power cycle, one every ROMInterval.
	ROMAttempts = 5
	ROMInterval = 5 * time.Second
)

// Lengths in bytes of the DHCP messages (UDP payload): the ROM asks for two
// options fewer than everybody else.
const (
	DiscoverLen3B = 320
	DiscoverLen   = 322
)

// VendorClass is option 60 of every DISCOVER of a Pi, of whatever family. The
// architecture in it ("x86 BIOS") is as untrue as that in option 93.
const VendorClass = "PXEClient:Arch:00000:UNDI:002001"

// ServerVendorClass is option 60 of the answer, and the prefix that makes
// option 60 of a request a PXE client's (PXE specification 2.1, section 2.2).
const ServerVendorClass = "PXEClient"

// BootText is what every Pi looks for in option 43 of the answer.
const BootText = "Raspberry Pi Boot"

// VendorOptions is option 43 of the answer, 35 bytes: discovery control 3 (no
// broadcast, no multicast), the prompt "PXE" with no time-out, and a boot menu
// of one entry. The three blanks behind [BootText] are for the 3B ROM, which
// gets the length wrong; all others ignore them.
const VendorOptions = "\x06\x01\x03" +
	"\x0a\x04\x00PXE" +
	"\x09\x17\x00\x00\x14" + BootText + "   " +
	"\xff"

// Option 55, the parameter request list, in the order of the wire.
const (
	// ParameterList3B is the list of the 3B ROM.
	ParameterList3B = "\x2b\x3c\x43\x80\x81\x82\x83\x84\x85\x86\x87\x42"

	// ParameterList3BPlus is the list of the 3B+ ROM and of bootcode.bin on
	// any board: the ROM's with subnet mask and router behind it.
	ParameterList3BPlus = ParameterList3B + "\x01\x03"

	// ParameterListEEPROM is the list of the Pi 4 and 5 families.
	ParameterListEEPROM = "\x01\x03\x2b\x3c\x42\x43\x80\x81\x82\x83\x84\x85\x86\x87"
)

// Options 93 and 94 of every DISCOVER of a Pi (RFC 4578 sections 2.1, 2.2).
const (
	ClientArchitecture = "\x00\x00"
	ClientInterface    = "\x01\x02\x01"
)

// GUIDLen is the length of option 97 (RFC 4578 section 2.3): a type byte,
// which is 0, and 16 bytes.
const GUIDLen = 17

// GUID3B is option 97 of the 3B ROM, the same on every board.
const GUID3B = "\x00DDDDDDDDDDDDDDDD"

// FourCC values that open option 97 of the EEPROM families, behind the type
// byte. Both orders are on record: "RPi4" is documented and logged, and
// "4iPR" was sent by the Pi 4 boot loader of January 2023 (cmprovision issue
// 16); a CM5 is matched by "5iPR" (cmprovision issue 61). The words behind
// them kept their order.
const (
	FourCC4         = "RPi4"
	FourCC4Reversed = "4iPR"
	FourCC5         = "RPi5"
	FourCC5Reversed = "5iPR"
)

// DHCP option codes that the boot ROMs use (RFC 2132 and RFC 4578).
const (
	OptSubnetMask         = 1
	OptRouter             = 3
	OptBroadcastAddress   = 28
	OptVendorSpecific     = 43
	OptRequestedAddress   = 50
	OptLeaseTime          = 51
	OptMessageType        = 53
	OptServerIdentifier   = 54
	OptParameterList      = 55
	OptMessage            = 56
	OptRenewalTime        = 58
	OptRebindingTime      = 59
	OptVendorClass        = 60
	OptClientIdentifier   = 61
	OptTFTPServerName     = 66
	OptClientArchitecture = 93
	OptClientInterface    = 94
	OptClientGUID         = 97
	OptEnd                = 255
)

// Offsets of the BOOTP header (RFC 2131 section 2), and its length with the
// magic cookie.
const (
	OffXID    = 4
	OffFlags  = 10
	OffCIAddr = 12
	OffYIAddr = 16
	OffSIAddr = 20
	OffGIAddr = 24
	OffCHAddr = 28
	OffSName  = 44
	OffFile   = 108
	OffCookie = 236
	HeaderLen = 240
)

// Cookie is the magic cookie of RFC 2131 section 3.
const Cookie = "\x63\x82\x53\x63"

// MinLen is the least length of a BOOTP message in bytes (RFC 951).
const MinLen = 300
