// Package snmpagent is a small SNMPv2c agent (RFC 3416, RFC 3417) for simulated
// hardware. It answers Get, GetNext, GetBulk and Set from an ordered set of
// variables that getter and setter functions stand behind, and it answers as
// the agent of a real switch does: noSuchObject apart from noSuchInstance,
// endOfMibView, notWritable, wrongType, tooBig, a GetBulk cut to what fits a
// packet, and silence for a community it does not know.
//
// SNMPv3 is not spoken: the wire codec is gosnmp's, which keeps the agent's
// side of the user-based security model to itself.
package snmpagent
