// Package bootfs is the boot folder of one Raspberry Pi as it sees it over TFTP.
//
// Two files are made from the state of the Pi: config.txt and cmdline.txt. All
// others come from its own root on the file server, so that a kernel that its
// user installs is the one that boots, and where that has none, from the image
// that the root was made of. A rescue system has an initramfs that is made for it,
// and the rest from its image alone.
//
// Names come from the network, and what is in the root is written by whoever rents
// the Pi. So names are checked before anything is opened, files are opened beneath
// the boot folder and never through a link out of it, and only regular files of a
// sensible size are read. What could take hold of the board itself is never
// served: the bootloader in EEPROM updates itself from its boot folder.
//
// The folder is the same with the Pi's prefix ("<serial>/" or its MAC address) and
// without. A Pi looks for a start file beneath its prefix and if there is none,
// as may be for a Pi 5, asks for all without it: it finds the same files.
package bootfs
