// Package poe drives the power of managed PoE switches over SNMP (v2c and v3)
// with POWER-ETHERNET-MIB (RFC 3621), the columns of the vendor for watts, and
// IF-MIB, BRIDGE-MIB and Q-BRIDGE-MIB for link, spanning tree and addresses.
//
// Three rules hold everywhere:
//
//   - A state is what the switch answered, with the time of the answer. Where
//     the switch did not answer, or answered nonsense, the state is unknown;
//     it is never the last one known.
//   - The answer to a SET proves nothing. Power counts as changed when the
//     switch's own detection status says so.
//   - What comes from a switch is hostile input: everything read is bounded and
//     checked, and an agent that walks in circles, answers other objects or
//     sends damaged packets causes an error.
//
// SNMP is the driver of one switch; Worker polls it and carries out changes.
package poe
