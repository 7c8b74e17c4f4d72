// Package order lists which files each Raspberry Pi family asks for when it
// boots over TFTP, in which order and with which TFTP options.
//
// The lists are what public captures show. They serve two readers: a simulator,
// which must ask as the real firmware does, and a server's own checks, which
// must know that a missing autoboot.txt is normal and a missing kernel is not.
//
// Sources: raspberrypi/documentation boot-net.adoc and eeprom-bootloader.adoc;
// raspberrypi/firmware issues 1012, 1041 and 1605; raspberrypi/rpi-eeprom issues
// 74, 87 and 720; raspberrypi/rpi-eeprom release notes; raspberrypi/piserver
// issue 125; PexMor/raspi-netboot README (the order of the 3B+).
package order

import "strings"

// Family is a generation of boards with one boot ROM behaviour.
type Family string

// The families that can boot over a network with DHCP and TFTP.
const (
	// Pi3B is the 3B, and the 2B v1.2 and CM3 of the same mask ROM. They netboot
	// once program_usb_boot_mode has been burnt into OTP.
	Pi3B Family = "3B"
	// Pi3BPlus is the 3B+ and CM3+, whose mask ROM has most bugs of the 3B fixed.
	Pi3BPlus Family = "3B+"
	// Pi4B is the 4B, 400 and CM4: BCM2711, bootloader in EEPROM.
	Pi4B Family = "4B"
	// Pi5 is the 5, 500 and CM5: BCM2712, bootloader and firmware in EEPROM.
	Pi5 Family = "5"
)

// Families returns every known family, oldest first.
func Families() []Family { return []Family{Pi3B, Pi3BPlus, Pi4B, Pi5} }

// UsesBootcode reports whether the family's mask ROM downloads bootcode.bin,
// rather than starting a bootloader from EEPROM.
func (f Family) UsesBootcode() bool { return f == Pi3B || f == Pi3BPlus }

// Stage tells which program on the board sends a request.
type Stage string

// Stages in the order in which they run.
const (
	// ROM is the mask ROM (families that use bootcode.bin only).
	ROM Stage = "rom"
	// Bootcode is bootcode.bin, or the EEPROM bootloader in its place. It finds
	// the prefix and loads the firmware. bootcode.bin does DHCP again first.
	Bootcode Stage = "bootcode"
	// Firmware is start.elf, start4.elf, or on a Pi 5 the firmware in EEPROM. It
	// reads the configuration and loads the device tree and the kernel.
	Firmware Stage = "firmware"
)

// Options are the TFTP options that a request carries.
type Options struct {
	// TSize is whether tsize with the value 0 is sent (RFC 2349, section 3): "tell
	// me the size".
	TSize bool
	// BlkSize is the wanted block size in octets (RFC 2348), or 0 when the option
	// is not sent and blocks are of 512 octets.
	BlkSize int
}

// The option sets seen on the wire.
var (
	// noOptions: the mask ROM (boot-net.adoc trace, a 21 octet request).
	noOptions = Options{}
	// tsizeOnly: bootcode.bin and start.elf (firmware issue 1041, rpi-eeprom
	// issue 74).
	tsizeOnly = Options{TSize: true}
	// blksize1024: the Pi 4 bootloader (rpi-eeprom issue 74).
	blksize1024 = Options{TSize: true, BlkSize: 1024}
	// blksize1468: the Pi 5, and bootloaders since 2022 (TFTP_MAX_BLOCKSIZE in the
	// release notes; rpi-eeprom issue 720).
	blksize1468 = Options{TSize: true, BlkSize: 1468}
)

// Request is one read request of a boot.
type Request struct {
	// Name is the file name without the prefix.
	Name string
	// Prefixed is whether the board puts its prefix, as a rule "<serial>/", before
	// the name.
	Prefixed bool
	// Optional is whether "file not found" is a normal answer, after which the
	// boot goes on. Some optional names are mutually exclusive: of several kernel
	// names one has to exist. See Need.
	Optional bool
	// Probe is whether the board ends the transfer with ERROR 0 "Early terminate"
	// after the OACK or the first block, having learnt what it wanted to know.
	Probe bool
	// Stage is which program asks.
	Stage Stage
	// Options are the TFTP options of the request.
	Options Options
}

// Path returns the name as it is sent by a board whose prefix is the given one,
// such as "b66c4c16/". An empty prefix is what a board uses after it found no
// start file beneath its prefix.
func (r Request) Path(prefix string) string {
	if !r.Prefixed {
		return r.Name
	}
	return prefix + r.Name
}

// Sequence returns the requests of one whole boot from a folder that holds all
// that the family needs, in order, or nil for an unknown family. A board stops
// early when a request that is not optional fails. The slice is the caller's.
//
// The first probe of a start file, and on an EEPROM board the second one too, is
// special: when it fails the board drops its prefix and asks for that name and
// all later ones without it (boot-net.adoc; TFTP_PREFIX in
// eeprom-bootloader.adoc).
//
// Alternatives are listed in the order in which the board tries them. A board
// that has loaded one of them does not ask for those that follow: see Need.
//
// The names of overlays (overlays/*.dtbo) are left out, since they depend on
// config.txt: each is asked for once after overlays/overlay_map.dtb.
//
// The order for the 3B+ and the 4B is that of captures; that of the 3B differs
// only in the name of its device tree. No full capture of a Pi 5 was found: its
// files are documented, but their order and its probes are uncertain.
func Sequence(f Family) []Request {
	switch f {
	case Pi3B:
		return rom("bcm2710-rpi-3-b.dtb")
	case Pi3BPlus:
		return rom("bcm2710-rpi-3-b-plus.dtb")
	case Pi4B:
		return pi4()
	case Pi5:
		return pi5()
	}
	return nil
}

// rom is the sequence of the families with bootcode.bin (PexMor/raspi-netboot;
// firmware issues 1012, 1605; piserver issue 125).
func rom(dtb string) []Request {
	s := []Request{
		{Name: "bootcode.bin", Stage: ROM, Options: noOptions},
		// A signature for boards with secure boot; asked for by the ROM, too.
		{Name: "bootsig.bin", Optional: true, Stage: ROM, Options: noOptions},
	}
	s = append(s, list(Bootcode, tsizeOnly,
		"start.elf probe",
		"start.elf probe",
		"autoboot.txt optional",
		"config.txt optional",
		"recovery.elf optional",
		"start.elf",
		"fixup.dat optional",
	)...)
	return append(s, list(Firmware, tsizeOnly,
		"recovery.elf optional",
		"config.txt optional probe",
		"config.txt optional",
		"dt-blob.bin optional",
		"recovery.elf optional",
		"config.txt optional probe",
		"config.txt optional",
		"bootcfg.txt optional",
		dtb+" probe",
		dtb,
		"overlays/overlay_map.dtb optional",
		"config.txt optional probe",
		"config.txt optional",
		"cmdline.txt optional probe",
		"cmdline.txt optional",
		"recovery8.img optional",
		"recovery7.img optional",
		"kernel8.img optional probe",
		"kernel8-32.img optional probe",
		"kernel7.img optional probe",
		"armstub8-32.bin optional",
		"armstub7.bin optional",
		// Asked for only with auto_initramfs=1, which is later than the captures.
		"initramfs8 optional",
		"kernel8.img optional",
		"kernel8-32.img optional",
		"kernel7.img optional",
	)...)
}

// pi4 is the sequence of the 4B (rpi-eeprom issues 74 and 87; firmware issue
// 1012; names in the EEPROM images).
func pi4() []Request {
	s := list(Bootcode, blksize1024,
		"start4.elf probe",
		"config.txt optional",
		"autoboot.txt optional",
		"recover4.elf optional",
		"fixup4rc.dat optional",
		"recovery.elf optional",
		"fixup_rc.dat optional",
		// Self-update of the EEPROM: pieeprom.upd and vl805.bin are only asked for
		// when these differ from what is installed.
		"pieeprom.sig optional",
		"vl805.sig optional",
		"start4.elf",
		"fixup4.dat optional",
	)
	return append(s, list(Firmware, blksize1024,
		"config.txt optional",
		"config.txt optional",
		"dt-blob.bin optional",
		"config.txt optional",
		"overlays/overlay_map.dtb optional",
		"bcm2711-rpi-4-b.dtb",
		"cmdline.txt optional",
		// Asked for only with auto_initramfs=1.
		"initramfs8 optional",
		"armstub8-gic.bin optional",
		"kernel8.img optional",
		"kernel7l.img optional",
	)...)
}

// pi5 is the sequence of the Pi 5. The names are from bootflow-eeprom.adoc and
// config_txt/boot.adoc, the probes of the start files from the description of
// TFTP_PREFIX in eeprom-bootloader.adoc. Their order is uncertain.
func pi5() []Request {
	s := list(Bootcode, blksize1468,
		// Never loaded (the firmware is in EEPROM), but asked for to find out
		// whether the prefix is in use.
		"start4.elf optional probe",
		"start.elf optional probe",
		"autoboot.txt optional",
		"config.txt",
		"pieeprom.sig optional",
	)
	return append(s, list(Firmware, blksize1468,
		"bcm2712d0-rpi-5-b.dtb optional",
		"bcm2712-rpi-5-b.dtb",
		"overlays/overlay_map.dtb optional",
		"cmdline.txt optional",
		// Asked for only with auto_initramfs=1.
		"initramfs_2712 optional",
		"armstub8-2712.bin optional",
		"kernel_2712.img optional",
		"kernel8.img optional",
	)...)
}

// list makes prefixed requests from names, each of which may be followed by the
// words "optional" and "probe".
func list(stage Stage, o Options, names ...string) []Request {
	rs := make([]Request, 0, len(names))
	for _, n := range names {
		w := strings.Fields(n)
		r := Request{Name: w[0], Prefixed: true, Stage: stage, Options: o}
		for _, flag := range w[1:] {
			switch flag {
			case "optional":
				r.Optional = true
			case "probe":
				r.Probe = true
			}
		}
		rs = append(rs, r)
	}
	return rs
}

// Need returns what must be served whole for the family to reach its kernel, as
// groups of alternatives: of each group one file suffices. The last group is
// that of the kernels; serving one of them whole is the evidence that the
// kernel has been loaded. It returns nil for an unknown family.
func Need(f Family) [][]string {
	switch f {
	case Pi3B:
		return [][]string{{"bootcode.bin"}, {"start.elf"}, {"bcm2710-rpi-3-b.dtb"}, kernels(f)}
	case Pi3BPlus:
		return [][]string{{"bootcode.bin"}, {"start.elf"}, {"bcm2710-rpi-3-b-plus.dtb"}, kernels(f)}
	case Pi4B:
		return [][]string{{"start4.elf"}, {"bcm2711-rpi-4-b.dtb"}, kernels(f)}
	case Pi5:
		return [][]string{{"config.txt"}, {"bcm2712-rpi-5-b.dtb", "bcm2712d0-rpi-5-b.dtb"}, kernels(f)}
	}
	return nil
}

// kernels are the default kernel names of a family, the 64-bit ones first
// (config_txt/boot.adoc, "kernel" and "arm_64bit").
func kernels(f Family) []string {
	switch f {
	case Pi3B, Pi3BPlus:
		return []string{"kernel8.img", "kernel8-32.img", "kernel7.img"}
	case Pi4B:
		return []string{"kernel8.img", "kernel7l.img"}
	case Pi5:
		return []string{"kernel_2712.img", "kernel8.img"}
	}
	return nil
}

// IsKernel reports whether name, without its prefix, is a default kernel name of
// the family.
func IsKernel(f Family, name string) bool {
	for _, k := range kernels(f) {
		if k == name {
			return true
		}
	}
	return false
}
