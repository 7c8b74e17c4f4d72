// Package netns lays cables for simulated Pis out of network namespaces: one for
// the server and one for each Pi, joined by a veth pair each. The server's end
// stands for the VLAN interface of a segment, the Pi's end is its network port.
//
// It needs root, and touches nothing outside the namespaces that it makes.
package netns
