// Package nfs3 is a small NFS client for simulated Raspberry Pis: portmapper
// (RFC 1833), MOUNT and NFS version 3 (RFC 1813) over a TCP connection that the
// caller has opened, so that each Pi speaks from its own address.
//
// It reads and never writes. It starts no goroutine, and it ends as soon as the
// connection is closed, which is what a Pi whose power is cut needs: the client
// of willscott/go-nfs-client dials from any address, reconnects by itself for
// ten seconds and panics on some answers.
package nfs3
