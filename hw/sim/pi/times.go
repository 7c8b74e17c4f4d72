package pi

import (
	"math/rand/v2"
	"time"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/dhcp/wire"
)

// Span is a duration that differs from boot to boot.
type Span struct{ Min, Max time.Duration }

// pick draws a duration from the span.
func (s Span) pick(rng *rand.Rand) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(rng.Int64N(int64(s.Max-s.Min)))
}

// Times are the waiting times of one family's firmware, in real time.
type Times struct {
	// Link is from power to link.
	Link Span
	// Discover is from link to the first DISCOVER.
	Discover Span
	// Firmware is from one program to the next: bootcode.bin starting, start.elf
	// starting.
	Firmware Span
	// Kernel is from the kernel's last block to its driver having link again, the
	// interface having been reset.
	Kernel Span
	// Userspace is from the mounted root to sshd listening.
	Userspace Span
	// Rate is how fast the firmware takes blocks over TFTP, in octets a second.
	Rate float64
}

const (
	ms  = time.Millisecond
	sec = time.Second
	mb  = 1e6
)

// TimesOf returns the firmware times of a family.
//
// Sources: the ROM waits 5 s for an SD card and 2 s for USB before it turns to
// the network (bootflow-legacy.adoc), and its link comes about 5 s after power
// (boot-net.adoc); 1.7 MB/s and 4.9 MB/s on a Pi 4 (rpi-eeprom issue 87). All
// else is from memory.
func TimesOf(f order.Family) Times { return times[f] }

var times = map[order.Family]Times{
	order.Pi3B: {
		Link: Span{5 * sec, 6 * sec}, Discover: Span{1500 * ms, 4 * sec},
		Firmware: Span{700 * ms, 1200 * ms}, Kernel: Span{3 * sec, 4 * sec},
		Userspace: Span{16 * sec, 22 * sec}, Rate: 1.0 * mb,
	},
	order.Pi3BPlus: {
		Link: Span{5 * sec, 6 * sec}, Discover: Span{1500 * ms, 4 * sec},
		Firmware: Span{700 * ms, 1200 * ms}, Kernel: Span{3 * sec, 4 * sec},
		Userspace: Span{14 * sec, 20 * sec}, Rate: 1.2 * mb,
	},
	order.Pi4B: {
		Link: Span{3500 * ms, 4500 * ms}, Discover: Span{300 * ms, 900 * ms},
		Firmware: Span{400 * ms, 700 * ms}, Kernel: Span{3 * sec, 5 * sec},
		Userspace: Span{9 * sec, 13 * sec}, Rate: 3.3 * mb,
	},
	order.Pi5: {
		Link: Span{3 * sec, 4 * sec}, Discover: Span{300 * ms, 900 * ms},
		Firmware: Span{200 * ms, 400 * ms}, Kernel: Span{3 * sec, 5 * sec},
		Userspace: Span{5 * sec, 8 * sec}, Rate: 6 * mb,
	},
}

// Times that are the same on all boards of a kind.
const (
	// romInterval and romAttempts: five DISCOVERs, five seconds apart, then nothing
	// for ever (boot-net.adoc).
	romInterval = wire.ROMInterval
	romAttempts = wire.ROMAttempts
	// romTooSoon is how soon after its DISCOVER the 3B's ROM does not yet listen
	// for an answer. That an immediate answer is lost and one after 1 s is not is
	// from raspberrypi/firmware issues 862 and 934; the limit between is a guess.
	romTooSoon = 800 * ms
	// bootcodeAttempts is how often bootcode.bin asks before it gives up. Twelve
	// attempts that came to a good end have been seen (firmware issue 941); the
	// limit is a guess.
	bootcodeAttempts = 24

	// eepromRequest and eepromDHCP are DHCP_REQ_TIMEOUT and DHCP_TIMEOUT, and
	// eepromFile is TFTP_FILE_TIMEOUT (eeprom-bootloader.adoc).
	eepromRequest = 4 * sec
	eepromDHCP    = 45 * sec
	eepromFile    = 30 * sec
	// eepromRetry is the pause after a failed network boot (rpi-eeprom release
	// notes, 2020-06-03).
	eepromRetry = 5 * sec

	// tftpResend is when an unanswered packet is sent again, and romTFTPTries how
	// often the ROM does so (both from memory).
	tftpResend   = 1 * sec
	romTFTPTries = 10

	// mountRetryMin and mountRetryMax are the pauses between attempts to mount the
	// root (NFSROOT_TIMEOUT_MIN and _MAX in the kernel's init/do_mounts.c).
	mountRetryMin = 5 * sec
	mountRetryMax = 30 * sec
)

// What waits for a peer cannot shrink as the firmware's own times do, because the
// peer and the packets between do not get faster: no such wait becomes shorter
// than these, in true time.
const (
	minPacketWait = 500 * ms
	minFileWait   = 20 * sec
)
