// Package daemon joins the parts into a running rack: the store, the switch
// workers, DHCP, TFTP, NFS and the probes around one engine, as a
// configuration says. It is the composition root that `picloud serve` and
// `picloud demo` share, and the only package beside main that imports all the
// others; it holds adapters between their types and no rules of its own.
package daemon
