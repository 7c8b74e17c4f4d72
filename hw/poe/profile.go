package poe

import (
	"slices"
	"strconv"
)

// Index is how a column names a port's row.
type Index uint8

// The kinds of Index.
const (
	ByGroupPort Index = iota // RFC 3621: pethPsePortGroupIndex.pethPsePortIndex
	ByPort                   // the port index alone
	ByIfIndex                // ifIndex
)

// of is the row of a port.
func (i Index) of(p PortIndex) string {
	switch i {
	case ByPort:
		return "." + strconv.Itoa(p.Port)
	case ByIfIndex:
		return "." + strconv.Itoa(p.IfIndex)
	default:
		return "." + strconv.Itoa(p.Group) + "." + strconv.Itoa(p.Port)
	}
}

// Column is one object of a port's row; the zero value is none.
type Column struct {
	OID   string // with a leading dot
	Index Index
}

// IndexRule is how discovery guesses the ifIndex of a PSE port. RFC 3621 has
// no such map.
type IndexRule uint8

// The rules.
const (
	// SameAsIfIndex: the port's index is its ifIndex where there is such an
	// interface, else InOrder.
	SameAsIfIndex IndexRule = iota
	// InOrder: the n-th PSE port is the n-th Ethernet interface.
	InOrder
	// GroupThousand: ifIndex is group*1000 + port.
	GroupThousand
	// CiscoEntity: cpeExtPsePortEntPhyIndex, then entAliasMappingIdentifier.
	CiscoEntity
	// JuniperName: group is FPC+1 and port is port+1 of the interface's name,
	// ge-FPC/0/PORT.
	JuniperName
)

// Profile is how one vendor's switches are driven.
type Profile struct {
	Name   string
	Vendor string
	Source string // where the columns come from

	// Enable is written with On or Off. It reads as enabled with any of
	// OnValues and as disabled with Off.
	Enable   Column
	On, Off  int
	OnValues []int

	Detection Column
	// DetectionMap translates a vendor's numbers; nil means RFC 3621's.
	DetectionMap map[int]Detection
	// IdleIsOff marks a vendor that has one number for "switched off" and
	// "no device": with power enabled it means searching.
	IdleIsOff bool
	// AdminFromDetection marks a vendor without an Enable column to read.
	AdminFromDetection bool

	Class     Column
	ClassZero int // the value that means class 0

	Counters bool // Denied, Overload, Short of RFC 3621
	MainPSE  bool // pethMainPseTable

	Watts          Column
	MilliwattsUnit int // milliwatts in one unit of Watts

	Rule     IndexRule
	ReadOnly bool // power cannot be set over SNMP
}

// rfc3621 is what all profiles but three build upon.
var rfc3621 = Profile{
	Name: "rfc3621", Vendor: "any switch with POWER-ETHERNET-MIB", Source: "RFC 3621",
	Enable: Column{OID: oidPethAdminEnable}, On: 1, Off: 2, OnValues: []int{1},
	Detection: Column{OID: oidPethDetectionStatus},
	Class:     Column{OID: oidPethClass}, ClassZero: 1,
	Counters: true, MainPSE: true,
}

// with is RFC 3621 with a vendor's column for watts.
func with(name, vendor, source string, watts Column, unit int) Profile {
	p := rfc3621
	p.Name, p.Vendor, p.Source, p.Watts, p.MilliwattsUnit = name, vendor, source, watts, unit
	return p
}

func withRule(p Profile, rule IndexRule) Profile {
	p.Rule = rule
	return p
}

// profiles is every profile, in the order of Profiles. None but rfc3621 and
// cisco-smb was tried against an agent that serves it; the sources say where
// the numbers were read.
var profiles = []Profile{
	rfc3621,
	ciscoIOS(),
	with("cisco-smb", "Cisco Small Business SG, CBS",
		"CISCOSB-POE-MIB rlPethPsePortOutputPower", Column{OID: ".1.3.6.1.4.1.9.6.1.101.108.1.1.5"}, 1),
	with("hp-procurve", "HP ProCurve, Aruba OS-S",
		"HP-ICF-POE-MIB hpicfPoePethPsePortPower", Column{OID: ".1.3.6.1.4.1.11.2.14.11.1.9.1.1.1.3"}, 1),
	with("aruba-cx", "Aruba AOS-CX",
		"ARUBAWIRED-POE-MIB arubaWiredPoePethPsePortPowerDrawn", Column{OID: ".1.3.6.1.4.1.47196.4.1.1.3.8.1.1.1.7"}, 1),
	with("netgear", "Netgear managed (FASTPATH)",
		"NETGEAR-POWER-ETHERNET-MIB agentPethOutputPower", Column{OID: ".1.3.6.1.4.1.4526.10.15.1.1.1.2"}, 1),
	with("edgeswitch", "Ubiquiti EdgeSwitch, Broadcom FASTPATH",
		"EdgeSwitch-POWER-ETHERNET-MIB agentPethOutputPower, from memory", Column{OID: ".1.3.6.1.4.1.4413.1.1.15.1.1.1.2"}, 1),
	with("extreme", "Extreme EXOS",
		"EXTREME-POE-MIB extremePethPortMeasuredPower", Column{OID: ".1.3.6.1.4.1.1916.1.27.2.1.1.6"}, 1),
	with("h3c", "H3C, HPE Comware",
		"HH3C-POWER-ETH-EXT-MIB hh3cPsePortCurrentPower", Column{OID: ".1.3.6.1.4.1.25506.2.14.1.1.5"}, 1),
	with("huawei", "Huawei VRP",
		"HUAWEI-POE-MIB hwPoePortConsumingPower", Column{".1.3.6.1.4.1.2011.5.25.195.3.1.10", ByIfIndex}, 1),
	with("ruckus-icx", "Foundry, Brocade, Ruckus ICX",
		"FOUNDRY-POE-MIB snAgentPoePortConsumed", Column{".1.3.6.1.4.1.1991.1.1.2.14.2.2.1.6", ByIfIndex}, 1),
	withRule(with("juniper", "Juniper EX",
		"RFC 3621 only; index rule of SNMP::Info", Column{}, 0), JuniperName),
	withRule(with("alcatel", "Alcatel-Lucent OmniSwitch",
		"RFC 3621 only; index rule of SNMP::Info", Column{}, 0), GroupThousand),
	tpLink,
	mikrotik,
}

func ciscoIOS() Profile {
	p := with("cisco-ios", "Cisco IOS, IOS-XE",
		"CISCO-POWER-ETHERNET-EXT-MIB cpeExtPsePortEnable, cpeExtPsePortPwrConsumption",
		Column{OID: ".1.3.6.1.4.1.9.9.402.1.2.1.9"}, 1)
	p.Enable = Column{OID: ".1.3.6.1.4.1.9.9.402.1.2.1.1"}
	p.On, p.Off, p.OnValues = 1, 4, []int{1, 2, 3} // auto, static, limit; disable
	p.Rule = CiscoEntity
	return p
}

// tpLink has no RFC 3621.
var tpLink = Profile{
	Name: "tp-link", Vendor: "TP-Link JetStream", Source: "TPLINK-POWER-OVER-ETHERNET-MIB tpPoePortConfigTable",
	Enable: Column{".1.3.6.1.4.1.11863.6.56.1.1.2.1.1.2", ByPort}, On: 1, Off: 0, OnValues: []int{1},
	Detection: Column{".1.3.6.1.4.1.11863.6.56.1.1.2.1.1.11", ByPort}, IdleIsOff: true,
	DetectionMap: map[int]Detection{
		0: DetectionDisabled, 1: DetectionSearching, 2: DetectionDeliveringPower,
		3: DetectionFault, 4: DetectionFault, // overload, short
		5: DetectionOtherFault,                         // nonstandard device
		6: DetectionOtherFault, 7: DetectionOtherFault, // voltage high, low
		8: DetectionOtherFault, 9: DetectionOtherFault, // hardware, temperature
	},
	Class: Column{".1.3.6.1.4.1.11863.6.56.1.1.2.1.1.10", ByPort}, ClassZero: 0,
	Watts: Column{".1.3.6.1.4.1.11863.6.56.1.1.2.1.1.7", ByPort}, MilliwattsUnit: 100,
}

// mikrotik has no RFC 3621 and no SET: power is switched through its own API.
var mikrotik = Profile{
	Name: "mikrotik", Vendor: "MikroTik RouterOS", Source: "MIKROTIK-MIB mtxrPOETable",
	Detection: Column{".1.3.6.1.4.1.14988.1.1.15.1.1.3", ByIfIndex}, AdminFromDetection: true,
	DetectionMap: map[int]Detection{
		1: DetectionDisabled, 2: DetectionSearching, 3: DetectionDeliveringPower,
		4: DetectionFault, 5: DetectionFault, // overload, short
		6: DetectionOtherFault, 7: DetectionOtherFault, 8: DetectionOtherFault,
		9: DetectionOtherFault, 10: DetectionOtherFault, 11: DetectionOtherFault,
	},
	Watts: Column{".1.3.6.1.4.1.14988.1.1.15.1.1.6", ByIfIndex}, MilliwattsUnit: 100,
	ReadOnly: true,
}

// Profiles returns every profile, the general one first.
func Profiles() []Profile { return slices.Clone(profiles) }

// FindProfile returns the profile of that name.
func FindProfile(name string) (Profile, bool) {
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return profiles[i], true
}
