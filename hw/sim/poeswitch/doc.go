// Package poeswitch simulates a managed PoE switch: the power and link of its
// ports as a model with real delays, and an SNMP agent over it that answers
// with POWER-ETHERNET-MIB (RFC 3621), IF-MIB (RFC 2863), BRIDGE-MIB (RFC 4188),
// Q-BRIDGE-MIB (RFC 4363) and, for watts, the column of one real vendor
// (CISCOSB-POE-MIB rlPethPsePortOutputPower).
//
// The switch says in sysDescr and sysObjectID that it is simulated. It can be
// told to fail as real ones do: answer late or never, say yes to a SET and do
// nothing, deny power, report a fault.
package poeswitch
