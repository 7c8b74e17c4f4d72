// Package virtualpi gives simulated Raspberry Pis a processor that runs a real
// Linux. The boot ROM and the firmware stay those of package pi, with their DHCP
// and TFTP on a veth pair in a network namespace; then QEMU gets the kernel, the
// initramfs and the command line that were fetched, and the guest's network card
// takes the place of the Pi's on the same cable, with the same MAC address.
//
// The guest is an x86 machine, emulated (TCG), because that is quick enough for
// a test and there need not be a KVM that works. So the files that the Pi
// fetches must be x86 ones: [Image] makes an image of Debian with them, laid out
// as Raspberry Pi OS is.
//
// It needs root, and nothing outside tests uses it.
package virtualpi
