package virtualpi

import (
	"strconv"
	"strings"

	"picloud/hw/sim/pi"
)

// Model is a kind of machine that QEMU emulates.
type Model string

const (
	// X86 is an x86 machine with a virtio network card: no Pi, but quick.
	X86 Model = ""
	// Pi3B is QEMU's Raspberry Pi 3B: four ARM cores of 64 bits, 1 GiB, the device
	// tree that the firmware has fetched, and a USB network card behind the Pi's own
	// USB controller. It has no boot ROM of its own.
	Pi3B Model = "raspi3b"
)

// model is what there is to know of a Model.
type model struct {
	// emulator is the program, and debian the package that has it.
	emulator, debian string
	// arguments are those of the machine itself. It has memoryMB unless
	// [Machine] says otherwise.
	arguments []string
	memoryMB  int
	// card is the network card, "-device" less its netdev and its MAC address.
	card string
	// deviceTree is whether the kernel gets the device tree, without which a
	// machine whose devices cannot be asked for is nothing.
	deviceTree bool
	// uarts is how many serial ports there are before the console, which is what
	// Pi's firmware calls serial0, and serial0 what the kernel calls that.
	uarts   int
	serial0 string
	// format is what a kernel is for the error, and isKernel looks at it.
	format   string
	isKernel func([]byte) bool
}

var models = map[Model]model{
	X86: {
		emulator: "qemu-system-x86_64", debian: "qemu-system-x86",
		arguments: []string{"-cpu", "max", "-smp", "1"}, memoryMB: 1024,
		card: "virtio-net-pci,romfile=", serial0: "ttyS0",
		format: "the boot header of x86", isKernel: isX86Kernel,
	},
	Pi3B: {
		emulator: "qemu-system-aarch64", debian: "qemu-system-arm",
		arguments: []string{"-M", "raspi3b"}, memoryMB: 1024,
		card: "usb-net", deviceTree: true,
		// Linux numbers them by the device tree's aliases; ttyAMA0 is Bluetooth's.
		uarts: 1, serial0: "ttyS1",
		format: "the header of a 64-bit ARM kernel", isKernel: isARM64Kernel,
	},
}

// isX86Kernel looks for the magic number of the boot protocol (Linux,
// Documentation/arch/x86/boot.rst, "header").
func isX86Kernel(b []byte) bool { return len(b) > 0x206 && string(b[0x202:0x206]) == "HdrS" }

// isARM64Kernel looks for the magic number (Linux, Documentation/arch/arm64/
// booting.rst, "Call the kernel image"), or that of a gzip archive, which
// firmware and QEMU unpack.
func isARM64Kernel(b []byte) bool {
	return len(b) > 64 && (string(b[56:60]) == "ARM\x64" || string(b[:2]) == "\x1f\x8b")
}

// hardware are QEMU's arguments for the machine with a board's card in it, whose
// other ends are the given chardev and netdev.
func (m *model) hardware(board pi.Board, memoryMB int, console, netdev string) []string {
	if memoryMB == 0 {
		memoryMB = m.memoryMB
	}
	args := append([]string{"-accel", "tcg,thread=multi", "-m", strconv.Itoa(memoryMB)}, m.arguments...)
	for range m.uarts {
		args = append(args, "-serial", "null")
	}
	return append(args, "-serial", "chardev:"+console, "-device", m.card+",netdev="+netdev+",mac="+board.MAC.String())
}

// cmdline does the firmware's part: it knows which serial port is serial0
// (raspberrypi/documentation configuration/uart.adoc).
func (m *model) cmdline(served string) string {
	words := strings.Fields(served)
	for i, w := range words {
		if v, ok := strings.CutPrefix(w, "console=serial0"); ok {
			words[i] = "console=" + m.serial0 + v
		}
	}
	return strings.Join(words, " ")
}
