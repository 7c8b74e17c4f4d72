package poe

// The standard objects, without instances.
const (
	oidSysDescr    = ".1.3.6.1.2.1.1.1.0"
	oidSysUpTime   = ".1.3.6.1.2.1.1.3.0"
	oidSysObjectID = ".1.3.6.1.2.1.1.2.0"
	oidSysName     = ".1.3.6.1.2.1.1.5.0"

	// POWER-ETHERNET-MIB, RFC 3621.
	oidPethAdminEnable     = ".1.3.6.1.2.1.105.1.1.1.3"
	oidPethDetectionStatus = ".1.3.6.1.2.1.105.1.1.1.6"
	oidPethClass           = ".1.3.6.1.2.1.105.1.1.1.10"
	oidPethDenied          = ".1.3.6.1.2.1.105.1.1.1.12"
	oidPethOverload        = ".1.3.6.1.2.1.105.1.1.1.13"
	oidPethShort           = ".1.3.6.1.2.1.105.1.1.1.14"
	oidPethMainPower       = ".1.3.6.1.2.1.105.1.3.1.1.2"
	oidPethMainStatus      = ".1.3.6.1.2.1.105.1.3.1.1.3"
	oidPethMainConsumption = ".1.3.6.1.2.1.105.1.3.1.1.4"

	// IF-MIB, RFC 2863.
	oidIfDescr      = ".1.3.6.1.2.1.2.2.1.2"
	oidIfType       = ".1.3.6.1.2.1.2.2.1.3"
	oidIfOperStatus = ".1.3.6.1.2.1.2.2.1.8"
	oidIfName       = ".1.3.6.1.2.1.31.1.1.1.1"
	oidIfAlias      = ".1.3.6.1.2.1.31.1.1.1.18"

	// BRIDGE-MIB, RFC 4188.
	oidBasePortIfIndex = ".1.3.6.1.2.1.17.1.4.1.2"
	oidStpPortState    = ".1.3.6.1.2.1.17.2.15.1.3"
	oidStpPortEnable   = ".1.3.6.1.2.1.17.2.15.1.4"
	oidTpFdbPort       = ".1.3.6.1.2.1.17.4.3.1.2"
	oidTpFdbStatus     = ".1.3.6.1.2.1.17.4.3.1.3"

	// RSTP-MIB, RFC 4318.
	oidStpAdminEdge = ".1.3.6.1.2.1.17.2.19.1.2"
	oidStpOperEdge  = ".1.3.6.1.2.1.17.2.19.1.3"

	// Q-BRIDGE-MIB, RFC 4363.
	oidQTpFdbPort   = ".1.3.6.1.2.1.17.7.1.2.2.1.2"
	oidQTpFdbStatus = ".1.3.6.1.2.1.17.7.1.2.2.1.3"
	oidVlanFdbID    = ".1.3.6.1.2.1.17.7.1.4.2.1.3"
	oidVlanEgress   = ".1.3.6.1.2.1.17.7.1.4.2.1.4"
	oidVlanUntagged = ".1.3.6.1.2.1.17.7.1.4.2.1.5"
	// What was configured, which some switches tell in place of what is.
	oidVlanStaticEgress   = ".1.3.6.1.2.1.17.7.1.4.3.1.2"
	oidVlanStaticUntagged = ".1.3.6.1.2.1.17.7.1.4.3.1.4"
	oidPvid               = ".1.3.6.1.2.1.17.7.1.4.5.1.1"

	// LLDP-MIB, IEEE 802.1AB: the entries of lldpRemTable and lldpLocPortTable.
	oidLLDPRemote = ".1.0.8802.1.1.2.1.4.1.1"
	oidLLDPLocal  = ".1.0.8802.1.1.2.1.3.7.1"

	// ENTITY-MIB, RFC 6933, and CISCO-POWER-ETHERNET-EXT-MIB, for the way from
	// a PSE port to its interface.
	oidEntAlias       = ".1.3.6.1.2.1.47.1.3.2.1.2"
	oidCiscoEntPhyIdx = ".1.3.6.1.4.1.9.9.402.1.2.1.11"
)
