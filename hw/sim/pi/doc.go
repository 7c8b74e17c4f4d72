// Package pi simulates Raspberry Pis that boot over the network.
//
// A simulated Pi starts when its switch port delivers power and stops at once
// when the power goes. In between it runs its boot ROM's own exchange over real
// sockets: DHCP with the bytes of the real boot ROM, TFTP with the requests of
// the real firmware, and then what the kernel does with the command line that it
// has just fetched: it mounts the NFS root, reads /etc/hostname and opens SSH.
//
// The faults of the boot ROMs that every board of a family has (the constant
// xid of the 3B, its five attempts, the OFFER that comes too soon) are always
// on. What is wrong with a single board is a [Fault] and is chosen by name.
//
// Only time and the cable are simulated. All waiting of the firmware is divided
// by Config.Speed; see [Times]. The cable is a [NIC]: [Loopback] needs no
// privileges, [NetNS] is a veth end in a network namespace.
//
// Facts are from raspberrypi/documentation boot-net.adoc, bootflow-eeprom.adoc
// and eeprom-bootloader.adoc, from captures in raspberrypi/firmware and
// raspberrypi/rpi-eeprom issues, and marked "from memory" where no source was
// found.
package pi
