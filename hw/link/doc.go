// Package link looks after the server's side of the Pis' Ethernet segments
// over rtnetlink: permanent neighbour entries, and whether an interface is
// there, up, and has the address that its segment needs.
//
// The boot ROM of the Pi 3B stops answering ARP as soon as a transfer starts
// (Raspberry Pi documentation, "Network Booting", known problems). When the
// kernel's neighbour entry goes stale in the middle of a file, the transfer
// dies. A permanent entry for each Pi prevents it, and keeps a neighbour on a
// shared segment from taking a Pi's address by ARP.
//
// Servers have public IPv6 addresses, which go with them from Pi to Pi: each is
// routed by the interface of its Pi, whose next hop is a link-local address
// there.
package link
