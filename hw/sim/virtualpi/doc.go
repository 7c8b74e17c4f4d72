// Package virtualpi gives simulated Raspberry Pis a processor that runs a real
// Linux. The boot ROM and the firmware stay those of package pi, with their DHCP
// and TFTP on a veth pair in a network namespace; then QEMU gets the kernel, the
// initramfs and the command line that were fetched, and the guest's network card
// takes the place of the Pi's on the same cable, with the same MAC address.
//
// There are two machines, both emulated (TCG), since there need not be a KVM that
// works. [X86] is quick enough for every day. [Pi3B] is QEMU's own Raspberry Pi 3B
// and runs the kernel, the device tree and the drivers of a Pi, for longer. What
// the Pi fetches must be for its machine: [ImageOf] makes an image of Debian that
// is, laid out as the card of a Pi.
//
// It needs root, and nothing outside tests uses it.
package virtualpi
