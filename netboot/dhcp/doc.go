// Package dhcp answers the DHCP messages of Raspberry Pi boot ROMs, boot
// loaders and operating systems, as described in RFC 2131, RFC 2132 and
// RFC 4578, with what the boot ROMs want beyond and against them.
//
// # Whom it answers
//
// A Pi is known by its segment (the interface that its message came in by, or
// on loopback the address that it was sent to) and then by its MAC address;
// never by the transaction id, which is one constant on every Pi 3, and never
// by the first half of the MAC address. The caller's [Table] decides. There
// are no leases to lose: an address belongs to a segment, and the 3B ROM,
// which takes an offer without ever sending a DHCPREQUEST, gets the same one
// every time. Everybody else gets silence, and is reported.
//
// # What it answers
//
// Server identifier, siaddr, option 66 and the IP source address of the answer
// are one address, because each family of boot ROM takes its TFTP server from
// another of them. Option 43 is [wire.VendorOptions] for all. The file field
// and option 67 stay empty: no Pi reads them. The answer to a Pi 3B's ROM is
// held back for a second ([DefaultDelay]), since it loops when it is answered
// at once.
//
// # Nudges
//
// The 3B ROM does not look at a packet that it has received until another one
// arrives. The known work-around (github.com/openSUSE/netboot-rpi3b) sends it
// Wake-on-LAN frames 0.6 s and 1.2 s after its DISCOVER: the first keeps the
// attempt alive until the delayed OFFER, and the second makes the ROM process
// it. Any packet will do. Ours are Wake-on-LAN packets in UDP to the Pi's
// address, port 9, so that no raw socket is needed; the server must have a
// static neighbour entry for the Pi, as it must for TFTP, because the 3B stops
// answering ARP.
package dhcp
