package pi

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"picloud/netboot/bootfs/order"
)

// ErrUnknownFault means that no fault has the name.
var ErrUnknownFault = errors.New("unknown fault")

// Place is what has to be wrong for a fault to happen.
type Place string

// Places of faults.
const (
	// InPi: the simulated Pi behaves so by itself.
	InPi Place = "pi"
	// InPort: the simulated switch port has to be told.
	InPort Place = "port"
	// InInventory: another board is on the port than the inventory says.
	InInventory Place = "inventory"
)

// Fault is one thing that keeps a Pi from coming up.
type Fault struct {
	// Name is how it is chosen: lower case words with hyphens.
	Name string
	// Families are those that can have it.
	Families []order.Family
	// Place is what simulates it.
	Place Place
	// Does is what happens.
	Does string
	// Shows is where it can be seen from outside.
	Shows string
	// Cause is what a diagnosis should say.
	Cause string
}

// Fits reports whether a board of the family can have the fault.
func (f Fault) Fits(fam order.Family) bool { return slices.Contains(f.Families, fam) }

// Names of the faults that keep a Pi from coming up. Those that an examination
// finds are in exam.go.
const (
	NoLink       = "no-link"
	NoNetboot    = "no-netboot"
	STPBlocked   = "stp-blocked"
	Swapped      = "swapped"
	PoEFault     = "poe-fault"
	PoEDenied    = "poe-denied"
	PoELie       = "poe-lie"
	OfferIgnored = "offer-ignored"
	BadFirmware  = "bad-firmware"
	TFTPStall    = "tftp-stall"
	EEPROMHang   = "eeprom-hang"
	KernelHang   = "kernel-hang"
	NFSStuck     = "nfs-stuck"
	NoSSH        = "no-ssh"
	BootLoop     = "boot-loop"
)

// Faults returns every fault that keeps a Pi from coming up, in the order in which
// a boot would meet them.
func Faults() []Fault { return slices.Clone(faults) }

// FaultNamed returns the fault of that name, or an error that wraps
// [ErrUnknownFault] and lists the names.
func FaultNamed(name string) (Fault, error) {
	all := slices.Concat(faults, examFaults)
	for _, f := range all {
		if f.Name == name {
			return f, nil
		}
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	return Fault{}, fmt.Errorf("pi: %w %q (have %s)", ErrUnknownFault, name, strings.Join(names, ", "))
}

var (
	allFamilies    = []order.Family{order.Pi3B, order.Pi3BPlus, order.Pi4B, order.Pi5}
	eepromFamilies = []order.Family{order.Pi4B, order.Pi5}
)

var faults = []Fault{
	{PoELie, allFamilies, InPort,
		"the switch answers a power command with success and does nothing",
		"the admin state reads back as it was, or no power follows it",
		"the switch accepts the command but the port does not change"},
	{PoEDenied, allFamilies, InPort,
		"the switch refuses power because the class asked for is above what the port may give",
		"pethPsePortPowerDeniedCounter rises, detection stays at searching",
		"the switch denies power: class above the port's limit or budget used up"},
	{PoEFault, allFamilies, InPort,
		"the port finds a short circuit",
		"pethPsePortDetectionStatus is fault, pethPsePortShortCounter rises",
		"the switch reports a fault on the port: HAT or cable"},
	{NoLink, allFamilies, InPi,
		"the board takes power, its Ethernet never comes up",
		"watts flow, ifOperStatus stays down, no DISCOVER",
		"power but no link: cable, connector or Ethernet chip"},
	{NoNetboot, allFamilies, InPi,
		"link comes up, but the board never asks for an address: OTP bit not set (3B), or BOOT_ORDER without network",
		"link is up and the port forwards, no DISCOVER",
		"link but no DISCOVER: network boot is not enabled on the board"},
	{STPBlocked, allFamilies, InPort,
		"spanning tree never lets the switch port forward, so every DISCOVER is lost",
		"dot1dStpPortState is listening or learning, link is up, no DISCOVER",
		"spanning tree holds the port: make it an edge port"},
	{Swapped, allFamilies, InInventory,
		"another board is on the port than the inventory says",
		"DISCOVER from an unknown MAC address on the port; option 97 tells another serial number",
		"another Pi is on this port"},
	{OfferIgnored, allFamilies, InPi,
		"the board never takes the OFFER and sends DISCOVERs until it gives up",
		"DISCOVERs answered, no file asked for",
		"the Pi does not accept the answers"},
	{BadFirmware, allFamilies, InPi,
		"the board asks for a start file or device tree that its boot folder cannot have, as a board newer than the image does, and stops",
		"the last file asked for was answered with file not found",
		"a needed boot file is missing"},
	{BootLoop, allFamilies, InPi,
		"the board resets in the middle of its firmware, again and again, as it does at too low a voltage",
		"DISCOVERs again and again with no power cycle, files never whole",
		"the Pi restarts in its firmware: too little power"},
	{EEPROMHang, eepromFamilies, InPi,
		"the bootloader loses the answers in the middle of a file, waits for TFTP_FILE_TIMEOUT and then hangs for good (rpi-eeprom issue 687)",
		"a firmware file stops half way; no further packet, no DISCOVER",
		"the bootloader hung after a TFTP time-out: power-cycle it"},
	{TFTPStall, allFamilies, InPi,
		"the board stops acknowledging in the middle of the kernel",
		"the kernel's transfer stops half way",
		"the transfer of the kernel stopped"},
	{KernelHang, allFamilies, InPi,
		"the kernel is loaded whole and hangs before it has network",
		"the kernel was served, no NFS connection follows",
		"the kernel was loaded but did not mount its root"},
	{NFSStuck, allFamilies, InPi,
		"the kernel asks for an export that the server does not have, and again, for ever",
		"connections to MOUNT come and are refused, no NFS connection stays",
		"the NFS root is refused"},
	{NoSSH, allFamilies, InPi,
		"the root is mounted, SSH never answers",
		"an NFS connection is open, no SSH banner",
		"the root is mounted but SSH does not answer"},
}
